//! The levels of the daemon's queues: whoever fills or drains one says so, and who it concerns is told of each change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::{ConnectionId, json_frame};
use super::outbox::Outbox;
use super::sessions::Sessions;
use super::shared::now;
use crate::ids::{ClientId, SessionId};
use crate::level::{Change, Gauge, Level};
use crate::protocol::{BackpressureWarning, ControlMessage, Layer, Role};

/// Whose queue it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Queue {
    /// Output of a session's program that is not journalled.
    Session(SessionId),
    /// What waits for a client, over all of its connections.
    Client(ClientId),
    /// What waits on the connection of a stream, which is this client's.
    Socket(ConnectionId, ClientId),
}

/// A level that has changed.
#[derive(Debug)]
pub(super) struct Moved {
    queue: Queue,
    limit_bytes: u64,
    change: Change,
}

/// Where changes go.
pub(super) type Changes = mpsc::Sender<Moved>;

/// Changes that wait to be told of. A queue makes at most three in the time for which a level is held, and the task that
/// tells of them waits for nothing: one that finds no place here is seen by the gap in the numbers.
pub(super) const CHANGES_MAX: usize = 8_192;

/// The level of one queue. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Queue,
    state: Mutex<State>,
    changes: Changes,
}

#[derive(Debug)]
struct State {
    gauge: Gauge,
    /// A task waits for the time at which the level falls.
    timed: bool,
}

impl Meter {
    pub(super) fn new(queue: Queue, limit_bytes: u64, hold_ms: u64, changes: Changes) -> Self {
        let state = Mutex::new(State { gauge: Gauge::new(limit_bytes, hold_ms), timed: false });
        Self(Arc::new(Shared { queue, state, changes }))
    }

    /// The queue holds so many bytes now.
    pub(super) fn set(&self, queued_bytes: usize) {
        let queued_bytes = queued_bytes as u64;
        let mut state = self.0.lock();
        if state.gauge.ignores(queued_bytes) {
            return;
        }
        let now = now().boot_ms;
        // With this in the log everything that was told can be told again.
        tracing::trace!(target: "abide_terminal::levels", queue = ?self.0.queue, now, queued_bytes);
        let changes = state.gauge.set(now, queued_bytes);
        self.0.tell(&state, changes);
        if state.gauge.poll_timeout().is_some() && !state.timed {
            state.timed = true;
            // One that nobody else has any more has ended, and falls no further.
            tokio::spawn(fall(Arc::downgrade(&self.0)));
        }
    }

    pub(super) fn level(&self) -> Level {
        self.0.lock().gauge.level()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &State, changes: Vec<Change>) {
        let limit_bytes = state.gauge.limit_bytes();
        for change in changes {
            if self.changes.try_send(Moved { queue: self.queue.clone(), limit_bytes, change }).is_err() {
                tracing::warn!(queue = ?self.queue, "nobody is told of a level");
            }
        }
    }
}

/// Makes the falls of a level when they are due, until none is.
async fn fall(meter: std::sync::Weak<Shared>) {
    loop {
        let Some(left) = meter.upgrade().and_then(|meter| {
            let mut state = meter.lock();
            let now = now().boot_ms;
            let changes = state.gauge.settle(now);
            meter.tell(&state, changes);
            let left = state.gauge.poll_timeout().map(|due| due.saturating_sub(now));
            state.timed = left.is_some();
            left
        }) else {
            return;
        };
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
}

impl Sessions {
    /// A meter for a queue.
    pub(super) fn meter(&self, queue: Queue, limit_bytes: u64) -> Meter {
        Meter::new(queue, limit_bytes, self.shared.options.level_hold_ms, self.levels.clone())
    }

    /// Tells of a level that has changed: the client whose connection it is, or the owner of the session. Whoever is gone
    /// needs no word.
    pub(super) fn warn(&self, moved: &Moved) {
        let Change { number, previous, level, queued_bytes } = moved.change;
        let (layer, client, session) = match &moved.queue {
            Queue::Session(id) => (Layer::Session, self.owner_of(*id), Some(*id)),
            Queue::Client(client) => (Layer::Client, Some(client), None),
            Queue::Socket(connection, client) => {
                let Some(session) = self.session_of(*connection) else { return };
                (Layer::Socket, Some(client), Some(session))
            }
        };
        let Some(client) = client else { return };
        let warning = BackpressureWarning {
            session,
            layer,
            previous,
            level,
            queued_bytes,
            limit_bytes: moved.limit_bytes,
            change: number,
        };
        if let Some(outbox) = self.told_on(client, &moved.queue) {
            outbox.push(&[json_frame(&ControlMessage::BackpressureWarning(warning))]);
        }
    }

    fn owner_of(&self, id: SessionId) -> Option<&ClientId> {
        self.entries.get(&id)?.facts().record().owner.as_ref()
    }

    fn session_of(&self, connection: ConnectionId) -> Option<SessionId> {
        let stream = self.connections.get(&connection)?.stream?;
        self.streams.get(&stream).copied()
    }

    /// Where a client is told of a queue: on its control connection, else on the stream that it concerns.
    fn told_on(&self, client: &ClientId, queue: &Queue) -> Option<&Outbox> {
        let connections = || {
            let theirs = self.clients.get(client).into_iter().flatten();
            theirs.filter_map(|id| Some((id, self.connections.get(id)?)))
        };
        let concerns = |id: &ConnectionId| match queue {
            Queue::Session(session) => self.session_of(*id) == Some(*session),
            Queue::Client(_) => self.session_of(*id).is_some(),
            Queue::Socket(connection, _) => id == connection,
        };
        let control = connections().find(|(_, connection)| connection.role == Role::Control);
        control.or_else(|| connections().find(|(id, _)| concerns(id))).map(|(_, connection)| &connection.outbox)
    }
}
