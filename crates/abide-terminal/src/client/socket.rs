//! The socket of a link, on tokio: dialling, frames in, bytes out.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use abide_wire::RequestId;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::connection::Dial;
use crate::protocol::{Decoder, Frame, Hello, Role, message_frame};

/// Longest path that a socket address holds.
const PATH_BYTES_MAX: usize = 107;

/// Room made before each read: a whole chunk of output with its header.
const READ_BYTES: usize = 128 * 1024;

/// Starts a daemon and returns when it serves or has failed; what it says is for the log, the dial that follows decides.
pub type StartDaemon = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// Where the daemon is, and how to start one.
#[derive(Clone)]
pub struct Address {
    /// Its socket.
    pub socket: PathBuf,
    /// `None`: this client never starts one.
    pub start: Option<StartDaemon>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("socket", &self.socket).field("starts", &self.start.is_some()).finish()
    }
}

impl Address {
    /// Does what a link's [`Dial`] asks for. It blocks: until somebody accepts, and first until a daemon was started.
    pub fn dial(&self, dial: Dial) -> io::Result<StdUnixStream> {
        if let (true, Some(start)) = (dial.start_daemon, &self.start) {
            // A start that failed may have lost a race: whether somebody serves is what the connect finds out.
            let _ = start();
        }
        connect(&self.socket)
    }
}

/// Connects to a socket whose path may be longer than an address holds: then through a descriptor of its directory.
pub fn connect(path: &Path) -> io::Result<StdUnixStream> {
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) if path.as_os_str().len() > PATH_BYTES_MAX => {
            let directory = File::open(directory)?;
            let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
            StdUnixStream::connect(short)
        }
        _ => StdUnixStream::connect(path),
    }
}

/// Whether a daemon answers at this socket within this time. A daemon that is just dying, and one that hangs, accepts a
/// connection and says nothing.
pub fn answers(socket: &Path, within: Duration) -> bool {
    let greet = || -> io::Result<bool> {
        let client = "abide-up".parse().map_err(io::Error::other)?;
        let mut greeting = Vec::new();
        message_frame(&Hello::new(RequestId::from_number(0), client, Role::Stream), &mut greeting);
        let mut stream = connect(socket)?;
        stream.set_read_timeout(Some(within))?;
        stream.write_all(&greeting)?;
        Ok(stream.read(&mut [0])? > 0)
    };
    greet().unwrap_or(false)
}

/// What a link is told.
pub(super) enum Event {
    Connected,
    Unreachable,
    Frame(Frame),
    Closed,
    Timeout,
}

/// At most one connection, or one dial, at a time.
#[derive(Debug)]
pub(super) struct Socket {
    address: Address,
    dialling: Option<JoinHandle<io::Result<StdUnixStream>>>,
    stream: Option<UnixStream>,
    decoder: Decoder,
    unsent: BytesMut,
}

impl Socket {
    pub(super) fn new(address: Address) -> Self {
        Self { address, dialling: None, stream: None, decoder: Decoder::default(), unsent: BytesMut::new() }
    }

    pub(super) fn dial(&mut self, dial: Dial) {
        let address = self.address.clone();
        self.dialling = Some(tokio::task::spawn_blocking(move || address.dial(dial)));
    }

    /// Sends as much as the socket takes; the rest goes when [`event`](Self::event) is waited for.
    pub(super) fn send(&mut self, bytes: &Bytes) {
        self.unsent.extend_from_slice(bytes);
        // A failure shows at the next read.
        let _ = self.flush();
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
        self.decoder = Decoder::default();
        self.unsent.clear();
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &self.stream else { return Ok(()) };
        while !self.unsent.is_empty() {
            match stream.try_write(&self.unsent) {
                Ok(written) => self.unsent.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next thing that happens, at `deadline` at the latest. Safe to drop at any point.
    pub(super) async fn event(&mut self, deadline: Option<Instant>) -> Event {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => return Event::Frame(frame),
                Ok(None) => {}
                Err(_) => return Event::Closed,
            }
            tokio::select! {
                dialled = dialled(&mut self.dialling), if self.dialling.is_some() => {
                    self.dialling = None;
                    return self.connected(dialled);
                }
                ready = readable(self.stream.as_ref(), !self.unsent.is_empty()) => {
                    if ready.and_then(|()| self.flush()).is_err() || !self.read() {
                        return Event::Closed;
                    }
                }
                () = sleep(deadline) => return Event::Timeout,
            }
        }
    }

    fn connected(&mut self, dialled: io::Result<StdUnixStream>) -> Event {
        let stream = dialled.and_then(|stream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        });
        match stream {
            Ok(stream) => {
                self.stream = Some(stream);
                Event::Connected
            }
            Err(_) => Event::Unreachable,
        }
    }

    /// False once the socket has ended.
    fn read(&mut self) -> bool {
        let Some(stream) = &self.stream else { return true };
        let buffer = self.decoder.buffer();
        buffer.reserve(READ_BYTES);
        match stream.try_read_buf(buffer) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

async fn dialled(dialling: &mut Option<JoinHandle<io::Result<StdUnixStream>>>) -> io::Result<StdUnixStream> {
    match dialling {
        Some(dialling) => dialling.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}

async fn readable(stream: Option<&UnixStream>, writes: bool) -> io::Result<()> {
    match stream {
        Some(stream) => {
            let interest = if writes { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            stream.ready(interest).await.map(drop)
        }
        None => std::future::pending().await,
    }
}

async fn sleep(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
