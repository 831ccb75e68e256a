//! The way to the one task that owns all sessions, and what it is told.

use std::sync::Arc;

use abide_journal::{Error as JournalError, Lsn};
use abide_wire::RequestId;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::connection::ConnectionId;
use super::link::Link;
use super::outbox::{self, Outbox};
use super::sessions::Stop;
use super::viewer::Viewer;
use crate::ids::{ByteOffset, ClientId, Incarnation, InputOffset, OwnerEpoch, SessionId};
use crate::procs::{Members, Process};
use crate::protocol::{self, ControlRequest, Hello, Mode, UpgradeFailure, WindowSize, WireError};
use crate::recover::Probe;
use crate::session::{Input, StreamId};

/// Messages that wait for the task; who sends more waits.
const QUEUE_MAX: usize = 1_024;

/// What connections need to know of the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) outbox: outbox::Limits,
    pub(super) client_queue_bytes_max: usize,
}

/// The way to the task. Clones are cheap.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    queue: mpsc::Sender<Msg>,
    limits: Arc<Limits>,
    /// One for each connection that may be open.
    slots: Arc<Semaphore>,
}

impl Hub {
    pub(super) fn new(limits: Limits) -> (Self, mpsc::Receiver<Msg>) {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        (Self { queue, limits: Arc::new(limits), slots }, messages)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The right to a connection; `None` if as many are open as may be.
    pub(super) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits until no connection is open.
    pub(super) async fn connections_ended(&self) {
        let all = u32::try_from(self.limits.connections_max).unwrap_or(u32::MAX);
        let _ = self.slots.acquire_many(all).await;
    }

    /// Tells the task, which may be busy: then this waits.
    pub(super) async fn tell(&self, message: Msg) {
        // The task ends last; a message that it takes no more is one that nobody needs.
        let _ = self.queue.send(message).await;
    }

    /// Tells the task, from within it.
    pub(super) fn tell_later(&self, message: Msg) {
        let hub = self.clone();
        tokio::spawn(async move { hub.tell(message).await });
    }

    /// Tells the task from a thread that may block.
    pub(super) fn tell_blocking(&self, message: Msg) {
        let _ = self.queue.blocking_send(message);
    }

    /// Tells the task unless its queue is full. Whether it was told.
    pub(super) fn try_tell(&self, message: Msg) -> bool {
        self.queue.try_send(message).is_ok()
    }
}

/// What a client sends on a stream.
#[derive(Debug)]
pub(super) enum StreamInput {
    /// Input of the owner.
    Bytes { epoch: OwnerEpoch, offset: InputOffset, bytes: Bytes },
    /// The owner's window changed its size.
    Resize(WindowSize),
    /// Asks how much input was applied.
    InputState,
    /// Ends the stream.
    Detach,
}

/// A session as a stream is told of it that skips a part of its log.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) incarnation: Incarnation,
    pub(super) owner: Option<ClientId>,
    pub(super) owner_epoch: OwnerEpoch,
    pub(super) mode: Mode,
}

/// A stream that was granted, or why not.
pub(super) type Granted = Result<(StreamId, Viewer), WireError>;

/// What the task is told.
pub(super) enum Msg {
    /// A connection greeted. The answer is the frame to send.
    Hello { connection: ConnectionId, hello: Hello, outbox: Outbox, reply: oneshot::Sender<Result<Bytes, WireError>> },
    /// A request of a control connection. The permit is one of those that bound what it leaves unanswered.
    Request { connection: ConnectionId, id: RequestId, request: ControlRequest, permit: OwnedSemaphorePermit },
    /// A stream connection attaches.
    Attach { connection: ConnectionId, id: RequestId, attach: protocol::Attach, reply: oneshot::Sender<Granted> },
    /// From a stream that is attached.
    FromStream(StreamId, StreamInput),
    /// A stream skips what its session printed from here to there.
    Skips { session: SessionId, stream: StreamId, from: ByteOffset, to: ByteOffset, reply: oneshot::Sender<Standing> },
    /// A connection has ended.
    Closed(ConnectionId),
    /// Something happened to a session.
    Session(SessionId, Input),
    /// A session's holder was adopted; its frames follow as inputs.
    Adopted(SessionId, Link),
    /// Input of a session may have been written to its PTY.
    Applied(SessionId),
    /// A session's log was created, or its creation was refused.
    LogCreated(SessionId, Result<abide_journal::Log, JournalError>),
    /// A session's log is to be created: there may be room now.
    CreateLog(SessionId),
    /// A session's log was dropped.
    LogDropped(SessionId),
    /// A transition that was given to the journal was not written.
    AppendFailed(Lsn, JournalError),
    /// The journal takes nothing more: the daemon must start anew.
    Poisoned(JournalError),
    /// Answers of a session's model to its program's queries.
    Inject(SessionId, Vec<u8>),
    /// A log got a screen: behind it room can be made.
    ScreenKept,
    /// Processes of a session that a look at the table found.
    Found(SessionId, Members, Vec<Process>),
    /// The holder of a session is gone, and all of its output up to this offset is taken.
    HolderLost(SessionId, ByteOffset),
    /// The holder that was to be adopted is gone.
    NotAdopted(SessionId),
    /// What was left of a session's program when its holder was dead is gone.
    LeftEnded(SessionId),
    /// A holder that did not answer was asked again.
    Probed(SessionId, Probe),
    /// A newer daemon has adopted a holder.
    Stale(SessionId, u64),
    /// Another binary was asked whether it could follow.
    Checked(Result<Stop, UpgradeFailure>),
    /// Stop.
    Stop,
}
