//! What the daemon says on a control connection.

use std::collections::BTreeMap;

use abide_wire::{Code, RequestId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::error::{ErrorMessage, WireError};
use super::event::ControlEvent;
use super::hello::HelloOk;
use super::limits::FRAME_BYTES_MAX;
use super::stream::{BackpressureWarning, Mode};
use crate::ids::{ByteOffset, ClientId, DaemonEpoch, InputOffset, OwnerEpoch, SessionId};
use crate::level::Level;
use crate::record::Record;

/// Any message on a control connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlMessage {
    /// The answer to the hello.
    HelloOk(HelloOk),
    /// A request succeeded.
    Ok {
        /// Which request.
        id: RequestId,
        /// What it brought: the `Answer` of its [`Request`](super::Request).
        result: Value,
    },
    /// A request failed, or the connection is about to be closed (then without an id).
    Error(ErrorMessage),
    /// Something happened.
    Event(ControlEvent),
    /// A queue grows, or has shrunk.
    BackpressureWarning(BackpressureWarning),
}

/// An answer to one request, as the daemon makes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer<T> {
    /// It succeeded.
    Ok {
        /// Which request.
        id: RequestId,
        /// What it brought.
        result: T,
    },
    /// It failed.
    Error(ErrorMessage),
}

impl<T> Answer<T> {
    /// The answer that carries this outcome.
    pub fn new(id: RequestId, outcome: Result<T, WireError>) -> Self {
        match outcome {
            Ok(result) => Self::Ok { id, result },
            Err(error) => Self::Error(ErrorMessage { id: Some(id), error }),
        }
    }
}

/// Answer to `create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// False if a session with the key existed; it is the one returned.
    pub created: bool,
    /// The session.
    pub session: Record,
}

/// Answer to `rename`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Renamed {
    /// The session, with its new name.
    pub session: Record,
}

/// Answer to `recover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovered {
    /// The session, which runs.
    pub session: Record,
}

/// Answer to `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// By id.
    pub sessions: Vec<Record>,
    /// There are more behind this id: `after` of the next request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SessionId>,
}

/// What an answer to `list` has beside its records: the frame's header, an id of 64 characters, each perhaps escaped, and
/// the id where the next page begins.
const LISTED_AROUND_BYTES: usize = 1_024;

impl Listed {
    /// The first of these records: at most `limit` of them, and no more than fit one frame.
    pub fn page(records: impl Iterator<Item = Record>, limit: usize) -> Self {
        let mut left = FRAME_BYTES_MAX as usize - LISTED_AROUND_BYTES;
        let mut listed = Self { sessions: Vec::new(), next: None };
        for record in records {
            // With the comma behind it. A record is always text; one that were not would not be sent.
            let bytes = serde_json::to_string(&record).map_or(0, |text| text.len() + 1);
            let last = listed.sessions.last().map(|record| record.id);
            // One alone always fits: what is long in it was bounded when it came.
            if last.is_some() && (listed.sessions.len() == limit || bytes > left) {
                listed.next = last;
                break;
            }
            left = left.saturating_sub(bytes);
            listed.sessions.push(record);
        }
        listed
    }
}

/// Answer to `inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    /// The session.
    pub session: Record,
    /// The environment that is stored for a restore, if it was asked for and there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Who sees it.
    pub streams: Vec<StreamInfo>,
}

/// One stream of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// Whose it is.
    pub client_id: ClientId,
    /// What it may do.
    pub mode: Mode,
    /// Up to where it was sent.
    pub offset: ByteOffset,
    /// How full the queue of its connection is.
    pub level: Level,
}

/// Answer to `kill`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// Names the kill: the same again for a repeated request.
    pub kill_id: String,
    /// When SIGKILL is due, wall clock in milliseconds since 1970.
    pub deadline_ms: u64,
    /// True if a kill was under way, or the program had ended.
    pub already: bool,
}

/// Answer to a request that brings nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// Answer to `resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resized {
    /// Columns now.
    pub cols: u16,
    /// Rows now.
    pub rows: u16,
}

/// Answer to `takeover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The epoch of the new owner.
    pub owner_epoch: OwnerEpoch,
    /// Input applied in it: 0, unless the client owned the session already.
    pub input_applied: InputOffset,
}

/// Answer to `release`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The epoch that began.
    pub owner_epoch: OwnerEpoch,
}

/// Answer to `write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The epoch in which it was typed.
    pub owner_epoch: OwnerEpoch,
    /// Behind its last byte.
    pub input_offset: InputOffset,
    /// How much of the epoch's input has reached the program's terminal.
    pub input_applied: InputOffset,
}

/// Answer to `recovery_report`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecoveryReport {
    /// Which start.
    pub daemon_epoch: DaemonEpoch,
    /// The machine's boot.
    pub boot_id: String,
    /// When it began, wall clock in milliseconds since 1970.
    pub at: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Why an upgrade was refused, if this start followed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeFailure>,
    /// What became of each session that had not ended.
    pub sessions: Vec<ReportEntry>,
}

/// Why an upgrade did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeFailure {
    /// `check` or `start`.
    pub phase: String,
    /// One sentence.
    pub reason: String,
}

/// What a start of the daemon made of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryOutcome {
    /// Its program runs on.
    Alive,
    /// Its program had ended; its status is known.
    Ended,
    /// Its holder was gone, and processes of it were left.
    Zombie,
    /// Its program is gone.
    Unrecoverable,
    /// Its program was lost, and another one runs in its place.
    Restored,
    /// Its program was lost, and `recover` may start another one.
    Offered,
    /// A program without a record.
    Orphan,
    /// Its holder could not be asked yet.
    Pending,
}

impl EntryOutcome {
    /// The outcome of this name, as records and events have it.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(Value::String(name.to_owned())).ok()
    }
}

/// How much output is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lost {
    /// How many bytes; `None` (null) where nobody can know.
    pub bytes: Option<u64>,
}

/// One session in a recovery report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEntry {
    /// Which.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: EntryOutcome,
    /// The failure, for outcomes that are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Missing output; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub lost_bytes: Option<Lost>,
    /// More for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A field that is there says something, null included.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lost>, D::Error> {
    Lost::deserialize(deserializer).map(Some)
}
