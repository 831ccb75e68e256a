//! Reaching a holder: connecting, probing, and receiving frames with descriptors.

use std::io::{self, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

use crate::frames::{FrameError, FromHolder, Pong, ToHolder};

/// Longest path that an address holds.
const ADDRESS_BYTES_MAX: usize = 107;
/// Descriptors that one message may bring; `adopted` has five.
const FDS_MAX: usize = 8;
/// Between two attempts at a listener whose queue is full.
const RETRY_MS: u64 = 5;

/// How long a probe waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeTimeouts {
    /// For the connection.
    pub connect: Duration,
    /// From then on for the `pong`.
    pub pong: Duration,
}

impl Default for ProbeTimeouts {
    /// 250 ms and 2 s.
    fn default() -> Self {
        Self { connect: Duration::from_millis(250), pong: Duration::from_secs(2) }
    }
}

/// Why a probe has no `pong`.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No socket is there: no holder.
    #[error("no socket is there")]
    Absent,
    /// A socket that nobody listens on: stale for good, since a holder listens before its socket has that name.
    #[error("the socket refuses connections")]
    Stale,
    /// It exists, and does not answer in time. The caller leaves it alone and tries again later.
    #[error("no answer in time")]
    Silent,
    /// It answered in a way that no version does; or it closed the connection (it may have ended just now: ask again).
    #[error("it does not speak as a holder: {0}")]
    Foreign(#[source] io::Error),
    /// The system refused; nothing is known.
    #[error("the probe failed: {0}")]
    Os(#[from] io::Error),
}

/// Connects to a holder's socket (or to any Unix socket), non-blocking from then on. Paths longer than an address are
/// reached through their directory.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    } else {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let (dir, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
        let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name.as_bytes()].concat();
        rustix::net::connect(&socket, &SocketAddrUnix::new(short)?)?;
    }
    Ok(UnixStream::from(socket))
}

/// Asks who is there, and changes nothing. Blocks up to both timeouts.
pub fn probe(path: &Path, timeouts: ProbeTimeouts) -> Result<Pong, ProbeError> {
    let mut stream = connect_within(path, timeouts.connect)?;
    stream.set_nonblocking(false)?;
    let deadline = Instant::now() + timeouts.pong;
    let mut frame = Vec::new();
    ToHolder::Ping.encode(&mut frame);
    stream.set_write_timeout(Some(timeouts.pong.max(Duration::from_millis(1))))?;
    stream.write_all(&frame).map_err(silent_or_foreign)?;
    let mut answer = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ProbeError::Silent);
        }
        stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 256];
        match stream.read(&mut bytes) {
            Ok(0) => return Err(ProbeError::Foreign(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => answer.extend_from_slice(bytes.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(silent_or_foreign(error)),
        }
        let foreign = |error: FrameError| ProbeError::Foreign(io::Error::new(io::ErrorKind::InvalidData, error));
        match FromHolder::decode(&answer).map_err(foreign)? {
            Some((FromHolder::Pong(pong), _)) => return Ok(pong),
            Some(_) => return Err(ProbeError::Foreign(io::ErrorKind::InvalidData.into())),
            None => {}
        }
    }
}

fn silent_or_foreign(error: io::Error) -> ProbeError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ProbeError::Silent,
        _ => ProbeError::Foreign(error),
    }
}

fn connect_within(path: &Path, limit: Duration) -> Result<UnixStream, ProbeError> {
    let deadline = Instant::now() + limit;
    loop {
        match connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => return Err(ProbeError::Absent),
                io::ErrorKind::ConnectionRefused => return Err(ProbeError::Stale),
                // Its queue is full.
                io::ErrorKind::WouldBlock if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(RETRY_MS));
                }
                io::ErrorKind::WouldBlock => return Err(ProbeError::Silent),
                _ => return Err(ProbeError::Os(error)),
            },
        }
    }
}

/// Reads what a non-blocking socket has into `buffer`, and appends the descriptors that came with it (CLOEXEC) to
/// `fds`. Returns the bytes read; 0: the peer has closed. `WouldBlock`: nothing is there.
///
/// Descriptors come with the bytes of the frame that they belong to, in its order. More than a holder ever sends is
/// an error: the connection is of no more use then.
pub fn recv_with_fds(stream: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut parts = [IoSliceMut::new(buffer)];
    let message = rustix::io::retry_on_intr(|| rustix::net::recvmsg(&stream, &mut parts, &mut ancillary, flags))?;
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE.into());
    }
    Ok(message.bytes)
}
