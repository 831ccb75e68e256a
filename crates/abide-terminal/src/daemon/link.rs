//! One adopted holder: its connection, its ring, its eventfds.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abide_holder::Adopted as Output;
use abide_holder::frames::{self, FromHolder, ToHolder};
use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::outbox::{Limits, Outbox};
use super::shared::{Shared, holder_socket};
use super::socket::Socket;
use crate::ids::{InputOffset, OwnerEpoch, SessionId};
use crate::intake::Flow;
use crate::session::{Frame, HolderInput};

/// How long a holder may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// What may wait to be written to a holder: one window of input, and frames beside it.
const OUTBOX: Limits = Limits { high: 1 << 20, low: 256 << 10, reserve: 64 << 10, stall: Duration::from_hours(1) };

/// Room for one receive.
const READ_BYTES: usize = 16 << 10;

/// The hub's side of a holder. Clones share it.
#[derive(Clone)]
pub(super) struct Link(Arc<Shares>);

struct Shares {
    outbox: Outbox,
    output: Mutex<Output>,
    flow: watch::Sender<Flow>,
    /// A second descriptor of the eventfd that wakes the daemon.
    wake: AsyncFd<OwnedFd>,
    holder_pid: u32,
}

/// A holder that this daemon has adopted.
pub(super) struct Adopted {
    pub(super) link: Link,
    pub(super) frames: Frames,
    pub(super) flow: watch::Receiver<Flow>,
}

/// Why a holder was not adopted.
pub(super) enum Refused {
    /// A daemon of this or a higher epoch was there.
    Stale(u64),
    /// It could not be spoken with.
    Failed(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Connects to the holder of a session and makes it this daemon's.
pub(super) async fn adopt(shared: &Shared, session: SessionId) -> Result<Adopted, Refused> {
    let socket = abide_holder::connect(&shared.dirs.holder_sockets.path().join(holder_socket(session)))?;
    if rustix::net::sockopt::socket_peercred(&socket).map_err(io::Error::from)?.uid != rustix::process::geteuid() {
        return Err(Refused::Failed(broken("the holder is another user's")));
    }
    let socket = Arc::new(Socket::new(socket)?);
    let outbox = Outbox::new(Arc::clone(&socket), OUTBOX);
    tokio::spawn(outbox.clone().run());
    let mut frames = Frames { socket, outbox: outbox.clone(), buffer: Vec::new(), fds: Vec::new() };
    let epoch = shared.daemon_epoch().0;
    let adopt = ToHolder::Adopt { daemon_epoch: epoch, session: session.to_bytes(), version: abide_holder::VERSION };
    outbox.push(&[encoded(&ToHolder::Ping), encoded(&adopt)]);
    let answered = tokio::time::timeout(ANSWER_TIME, async {
        let pong = frames.frame().await;
        (pong, frames.frame().await)
    });
    let (holder_pid, header) = match answered.await {
        Ok((Some(FromHolder::Pong(pong)), Some(FromHolder::Adopted(header)))) => (pong.pid, header),
        Ok((_, Some(FromHolder::Refused { daemon_epoch }))) => return Err(Refused::Stale(daemon_epoch)),
        Ok(_) => return Err(Refused::Failed(broken("the holder closed the connection"))),
        Err(_) => return Err(Refused::Failed(io::ErrorKind::TimedOut.into())),
    };
    let output = Output::new(header, std::mem::take(&mut frames.fds), epoch);
    let output = output.map_err(|error| broken(&error.to_string()))?;
    let wake = output.wake_fd().try_clone_to_owned()?;
    let (flow, flows) = watch::channel(Flow::Waits);
    let link = Link(Arc::new(Shares {
        outbox,
        output: Mutex::new(output),
        flow,
        wake: crate::sys::watched(wake, Interest::READABLE)?,
        holder_pid,
    }));
    Ok(Adopted { link, frames, flow: flows })
}

fn encoded(frame: &ToHolder<'_>) -> Bytes {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    Bytes::from(bytes)
}

impl Link {
    /// Sends a frame.
    pub(super) fn send(&self, frame: &Frame) {
        self.0.outbox.push(&[encoded(&frame.to_holder())]);
        if matches!(frame, Frame::Hangup) {
            self.end();
        }
    }

    /// No output is appended any more.
    pub(super) fn end(&self) {
        self.0.flow.send_replace(Flow::Ended);
    }

    /// Passes input on.
    pub(super) fn input(&self, epoch: OwnerEpoch, offset: InputOffset, bytes: &[u8]) {
        let frame = ToHolder::Input { owner_epoch: epoch.0, input_offset: offset.0, bytes };
        self.0.outbox.push(&[encoded(&frame)]);
    }

    /// Passes answers of the model on; more than a frame holds is dropped.
    pub(super) fn inject(&self, answers: &[u8]) {
        let answers = &answers[..answers.len().min(frames::INJECT_BYTES_MAX)];
        self.0.outbox.push(&[encoded(&ToHolder::Inject { bytes: answers })]);
    }

    /// From now on output may be appended.
    pub(super) fn drain(&self) {
        self.0.flow.send_if_modified(|flow| {
            let waits = *flow == Flow::Waits;
            if waits {
                *flow = Flow::Goes;
            }
            waits
        });
    }

    /// How much of this owner's input is written to the PTY; nothing while the holder was not told of that owner.
    pub(super) fn input_applied(&self, epoch: OwnerEpoch) -> InputOffset {
        InputOffset(self.output().ring().input_applied_in(epoch.0))
    }

    /// Ring and spill.
    pub(super) fn output(&self) -> MutexGuard<'_, Output> {
        self.0.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The holder's process.
    pub(super) fn pid(&self) -> u32 {
        self.0.holder_pid
    }

    /// Waits until the holder says that there is something to see.
    pub(super) async fn woken(&self) -> io::Result<()> {
        let mut ready = self.0.wake.readable().await?;
        self.output().woken();
        ready.clear_ready();
        Ok(())
    }
}

/// Frames that come from a holder.
pub(super) struct Frames {
    socket: Arc<Socket>,
    outbox: Outbox,
    buffer: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Drop for Frames {
    /// Whoever does not hear the holder any more has nothing to tell it: the connection ends.
    fn drop(&mut self) {
        self.outbox.close();
    }
}

impl Frames {
    /// The next thing that the session must hear; `None` at the end of the connection. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<HolderInput> {
        loop {
            let frame = self.frame().await?;
            if let Some(input) = HolderInput::heard(&frame) {
                return Some(input);
            }
        }
    }

    async fn frame(&mut self) -> Option<FromHolder> {
        loop {
            match FromHolder::decode(&self.buffer) {
                Ok(Some((frame, length))) => {
                    self.buffer.drain(..length);
                    return Some(frame);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "a frame of a holder was not understood");
                    return None;
                }
            }
            let (buffer, fds) = (&mut self.buffer, &mut self.fds);
            let receive = |socket: BorrowedFd<'_>| {
                let mut bytes = [0; READ_BYTES];
                let count = abide_holder::recv_with_fds(socket, &mut bytes, fds)?;
                buffer.extend_from_slice(&bytes[..count]);
                Ok(count)
            };
            // What came with descriptors ends a receive before all is taken.
            if matches!(self.socket.receive(receive, |_| false).await, Ok(0) | Err(_)) {
                return None;
            }
        }
    }
}
