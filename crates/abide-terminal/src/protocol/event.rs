//! What the daemon tells of itself on a control connection.

use abide_wire::Code;
use serde::{Deserialize, Serialize};

use crate::ids::{ByteOffset, ClientId, DaemonEpoch, EventNumber, Incarnation, OwnerEpoch, SessionId};
use crate::record::{Cause, Exit, Record, RestoreAs};
use crate::store::{Entry, Event};

/// An event on a control connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ControlEvent {
    /// The connection is about to be closed: `CLIENT_REPLACED` or `DAEMON_STOPPING`.
    Detached {
        /// Why.
        code: Code,
        /// Whether another daemon follows.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        restart: bool,
    },
    /// Events up to this number were none of those that were asked for.
    Progress {
        /// The last of them.
        event_number: EventNumber,
    },
    /// A transition, from a subscription.
    #[serde(untagged)]
    Happened(Happened),
}

/// A transition that is on disk. Numbers are dense over all sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// Its number.
    pub event_number: EventNumber,
    /// When it was recorded, wall clock in milliseconds since 1970.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Transition,
    /// To which session; absent for `boot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// What happened: `event` and `data` on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Transition {
    /// The daemon started.
    Boot {
        /// Number of this start.
        daemon_epoch: DaemonEpoch,
    },
    /// A session was accepted.
    Created {
        /// As it was then.
        record: Box<Record>,
    },
    /// Its holder was told to start the program.
    Start,
    /// Its program runs.
    Started {
        /// The program's process id.
        pid: u32,
    },
    /// Its end was asked for.
    Kill {
        /// Names the kill.
        kill_id: String,
        /// When SIGKILL is due, wall clock in milliseconds since 1970.
        deadline_at: u64,
        /// The client that asked; absent: the daemon stops.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<ClientId>,
    },
    /// Its program has ended, could not be started, or was lost.
    Exited {
        /// How.
        exit: Exit,
    },
    /// All its output is journalled.
    Finalized {
        /// The offset after its last byte.
        end_offset: ByteOffset,
        /// How its program ended.
        exit: Exit,
    },
    /// Another client owns it, or nobody.
    OwnerChanged {
        /// Who owned it before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        former: Option<ClientId>,
        /// Who owns it now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<ClientId>,
        /// The epoch that begins.
        owner_epoch: OwnerEpoch,
        /// Why.
        cause: Cause,
    },
    /// Its terminal has another size.
    Resized {
        /// Columns, 1–4,096.
        cols: u16,
        /// Rows, 1–4,096.
        rows: u16,
    },
    /// It has another name.
    Renamed {
        /// The name.
        name: String,
    },
    /// A new program takes the place of one that was lost.
    Restoring {
        /// Which start of the session this is.
        incarnation: Incarnation,
        /// What is started.
        r#as: RestoreAs,
    },
    /// It is forgotten; its log is dropped.
    Removed {
        /// `request`, `expired` or `disk`.
        cause: String,
    },
    /// What a start of the daemon found of it.
    Recovered {
        /// The outcome's name.
        outcome: String,
        /// The failure code, for outcomes that have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
}

impl Happened {
    /// What is told of an entry of the registry: nothing of environments, nor what only a daemon needs.
    pub fn of(event_number: EventNumber, at: u64, entry: Entry) -> Self {
        let what = match entry.event {
            Event::Boot { daemon_epoch, .. } => Transition::Boot { daemon_epoch },
            Event::Created(created) => Transition::Created { record: Box::new(created.record) },
            Event::Start { .. } => Transition::Start,
            Event::Started { pid, .. } => Transition::Started { pid },
            Event::Kill { deadline_at, by, .. } => {
                Transition::Kill { kill_id: event_number.to_string(), deadline_at, by }
            }
            Event::Exited { exit } => Transition::Exited { exit },
            Event::Finalized { end_offset, exit } => Transition::Finalized { end_offset, exit },
            Event::OwnerChanged { former, owner, owner_epoch, cause } => {
                Transition::OwnerChanged { former, owner, owner_epoch, cause }
            }
            Event::Resized { cols, rows } => Transition::Resized { cols, rows },
            Event::Renamed { name } => Transition::Renamed { name },
            Event::Restoring { incarnation, r#as, .. } => Transition::Restoring { incarnation, r#as },
            Event::Removed { cause } => Transition::Removed { cause },
            Event::Recovered { outcome, code } => Transition::Recovered { outcome, code },
        };
        Self { event_number, at, what, session: entry.session }
    }
}
