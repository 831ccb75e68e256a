//! A socket of the daemon: one wake-up for what comes in, and none for what went out. Being writable is watched only
//! while something waits to be written; watched always, each keystroke would wake the daemon once more.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys;

/// A connected stream that does not block.
#[derive(Debug)]
pub(super) struct Socket {
    stream: AsyncFd<OwnedFd>,
    /// A second descriptor of it, watched for room; from the first time on that there was none.
    room: OnceLock<AsyncFd<OwnedFd>>,
}

impl Socket {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: sys::watched(stream.into(), Interest::READABLE)?, room: OnceLock::new() })
    }

    /// Reads into the free capacity of a buffer; 0 at the end of the connection. Cancel safe.
    pub(super) async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let free = buffer.capacity() - buffer.len();
        // Less than there is room for: nothing is left, and the next byte wakes again.
        self.receive(|stream| sys::read_into(stream, buffer), |count| count < free).await
    }

    /// Receives with `call`, which says how many bytes it took. `is_rest` says whether so many mean that nothing is
    /// left; if they do not, it takes one more call to learn it. Cancel safe.
    pub(super) async fn receive(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
        is_rest: impl Fn(usize) -> bool,
    ) -> io::Result<usize> {
        loop {
            let mut ready = self.stream.readable().await?;
            match ready.try_io(|stream| call(stream.as_fd())) {
                Ok(Ok(count)) => {
                    if is_rest(count) {
                        ready.clear_ready();
                    }
                    return Ok(count);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    /// Writes what the socket takes now; 0 if it takes nothing.
    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match rustix::io::writev(self, slices) {
            Ok(written) => Ok(written),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the socket takes bytes again, or the connection has ended.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let room = if let Some(room) = self.room.get() {
            room
        } else {
            let second = sys::watched(self.as_fd().try_clone_to_owned()?, Interest::WRITABLE)?;
            self.room.get_or_init(|| second)
        };
        room.writable().await?.clear_ready();
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
