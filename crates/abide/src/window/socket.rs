//! The stream's socket in a poll loop.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, sync_channel};

use abide_terminal::client::{Address, Dial};
use abide_terminal::protocol::{Decoder, Frame, WireError};
use bytes::{Buf, BytesMut};
use rustix::event::PollFlags;

/// Room for a keystroke's echo and its neighbours.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Room for two chunks of output.
const READ_BYTES_MAX: usize = 128 * 1024;

/// What came.
pub(super) enum Received {
    /// The dial led to a socket.
    Connected,
    /// The dial led nowhere.
    Unreachable,
    /// Bytes; there may be frames.
    Bytes,
    /// The socket ended.
    Closed,
}

enum State {
    Idle,
    /// A dial that had its answer at once.
    Dialled(io::Result<UnixStream>),
    /// A dial that starts a daemon takes a while: a thread does it, and hangs up when it is done.
    Dialling(UnixStream, Receiver<io::Result<UnixStream>>),
    Open(UnixStream),
}

pub(super) struct Socket {
    address: Address,
    state: State,
    decoder: Decoder,
    unsent: BytesMut,
    /// Grows while reads are filled, so that a keystroke is not charged for a flood.
    read_bytes: usize,
}

impl Socket {
    pub(super) fn new(address: Address) -> Self {
        let (decoder, unsent) = (Decoder::default(), BytesMut::new());
        Self { address, state: State::Idle, decoder, unsent, read_bytes: READ_BYTES_MIN }
    }

    pub(super) fn dial(&mut self, dial: Dial) {
        let pair = if dial.start_daemon { UnixStream::pair().ok() } else { None };
        self.state = match pair {
            Some((wait, done)) => {
                let (result, answer) = sync_channel(1);
                let address = self.address.clone();
                std::thread::spawn(move || {
                    // Nobody waits for it any more if the window is gone.
                    let _ = result.send(address.dial(dial));
                    drop(done);
                });
                State::Dialling(wait, answer)
            }
            None => State::Dialled(self.address.dial(dial)),
        };
    }

    /// What to wait for. A dial that has its answer is waited for without need: the caller looks at it at once.
    pub(super) fn watched(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.state {
            State::Idle | State::Dialled(_) => None,
            State::Dialling(wait, _) => Some((wait.as_fd(), PollFlags::IN)),
            State::Open(stream) if self.unsent.is_empty() => Some((stream.as_fd(), PollFlags::IN)),
            State::Open(stream) => Some((stream.as_fd(), PollFlags::IN | PollFlags::OUT)),
        }
    }

    /// Whether there is something to receive without waiting.
    pub(super) fn has_answer(&self) -> bool {
        matches!(self.state, State::Dialled(_))
    }

    pub(super) fn receive(&mut self) -> Received {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => Received::Closed,
            State::Dialled(dialled) => self.connected(dialled),
            State::Dialling(_, answer) => {
                let dialled = answer.recv().unwrap_or_else(|gone| Err(io::Error::other(gone)));
                self.connected(dialled)
            }
            State::Open(stream) => {
                self.state = State::Open(stream);
                self.flush();
                self.read()
            }
        }
    }

    fn connected(&mut self, dialled: io::Result<UnixStream>) -> Received {
        let stream = dialled.and_then(|stream| stream.set_nonblocking(true).map(|()| stream));
        match stream {
            Ok(stream) => {
                self.state = State::Open(stream);
                Received::Connected
            }
            Err(_) => Received::Unreachable,
        }
    }

    fn read(&mut self) -> Received {
        let State::Open(stream) = &mut self.state else { return Received::Closed };
        let buffer = self.decoder.buffer();
        let before = buffer.len();
        buffer.resize(before + self.read_bytes, 0);
        let read = buffer.get_mut(before..).map_or(Ok(0), |room| stream.read(room));
        buffer.truncate(before + read.as_ref().ok().copied().unwrap_or(0));
        match read {
            Ok(0) => Received::Closed,
            Ok(read) => {
                let filled = read == self.read_bytes;
                self.read_bytes = if filled { (self.read_bytes * 4).min(READ_BYTES_MAX) } else { self.read_bytes };
                if read < READ_BYTES_MIN {
                    self.read_bytes = READ_BYTES_MIN;
                }
                Received::Bytes
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Received::Bytes
            }
            Err(_) => Received::Closed,
        }
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        self.decoder.next_frame()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        let State::Open(stream) = &mut self.state else { return };
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(written) => self.unsent.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A full socket is waited for; one that failed shows it at the next read.
                Err(_) => return,
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.state = State::Idle;
        self.decoder = Decoder::default();
        self.unsent.clear();
    }
}
