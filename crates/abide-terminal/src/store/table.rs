//! The table: all sessions that the registry knows, rebuilt from its newest checkpoint and the events behind it.

use std::collections::{BTreeMap, VecDeque};

use abide_journal::{Content, Error as JournalError, Level, Log, Lsn, ReadLimit};
use serde::{Deserialize, Serialize};

use super::event::{Entry, Event};
use super::facts::Facts;
use crate::ids::{DaemonEpoch, EventNumber, SessionId};

/// Most removed sessions that are remembered.
pub const TOMBSTONES_MAX: usize = 10_000;

/// How long a removed session is remembered, in milliseconds.
pub const TOMBSTONE_MS_MAX: u64 = 24 * 3_600_000;

/// A session that was removed: asking for it answers `SESSION_GONE`, not `SESSION_NOT_FOUND`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The session.
    pub id: SessionId,
    /// The key it was created with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it was removed, wall clock in milliseconds since 1970.
    pub removed_at: u64,
}

/// The registry's state: the checkpoint of the registry log, as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Table {
    /// Number of the newest daemon start.
    pub daemon_epoch: DaemonEpoch,
    /// All sessions, Finalized ones too.
    pub sessions: BTreeMap<SessionId, Facts>,
    /// Removed sessions, oldest first.
    pub tombstones: VecDeque<Tombstone>,
}

/// A newer daemon wrote the registry in a format that this one does not know. This one ends and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registry was written in format {found}, this version reads up to {}", Event::FORMAT)]
pub struct UnknownFormat {
    /// The format found.
    pub found: u32,
}

/// Why the registry cannot be read. The daemon ends, and has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal cannot.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A newer version wrote it.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// A record is no event.
    #[error("event {0} of the registry cannot be read")]
    Record(EventNumber),
}

/// Records of the registry that are read at once.
const READ: ReadLimit = ReadLimit { bytes: 1 << 20, records: 4_096 };

impl Table {
    /// The table of the newest checkpoint of the registry log and the events behind it, and how many bytes these take.
    pub fn read(log: &Log) -> Result<(Self, u64), ReadError> {
        let (mut table, mut next) = match log.last_checkpoint()? {
            Some(checkpoint) => {
                let bytes = log.open_checkpoint(checkpoint.lsn)?;
                let number = EventNumber(checkpoint.lsn.map_or(0, Lsn::get));
                let table = serde_json::from_slice(&bytes).map_err(|_| ReadError::Record(number))?;
                (table, checkpoint.lsn.map_or(Lsn::FIRST, Lsn::next))
            }
            None => (Self::default(), log.info()?.base.lsn),
        };
        let mut events_bytes = 0;
        loop {
            let read = log.read(next, READ, Level::Written)?;
            if read.records.is_empty() {
                return Ok((table, events_bytes));
            }
            for record in read.records {
                let number = EventNumber(record.lsn().get());
                next = record.lsn().next();
                if let Content::Data(bytes) = &record.content {
                    events_bytes += bytes.len() as u64;
                    let entry = serde_json::from_slice(bytes).map_err(|_| ReadError::Record(number))?;
                    table.apply(number, record.time_us / 1_000, entry)?;
                }
            }
        }
    }

    /// Takes in the event that was written at `at` (wall clock, ms) under number `number`.
    pub fn apply(&mut self, number: EventNumber, at: u64, entry: Entry) -> Result<(), UnknownFormat> {
        match (entry.event, entry.session) {
            (Event::Boot { daemon_epoch, format, .. }, _) => {
                if format > Event::FORMAT {
                    return Err(UnknownFormat { found: format });
                }
                self.daemon_epoch = self.daemon_epoch.max(daemon_epoch);
            }
            (Event::Created(created), _) => {
                let facts = Facts::new(*created);
                self.sessions.insert(facts.id(), facts);
            }
            (Event::Removed { .. }, Some(id)) => self.bury(id, at),
            (event, Some(id)) => {
                if let Some(facts) = self.sessions.get_mut(&id) {
                    facts.apply(number, at, &event);
                }
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn bury(&mut self, id: SessionId, at: u64) {
        if let Some(facts) = self.sessions.remove(&id) {
            self.tombstones.push_back(Tombstone { id, key: facts.created.record.key, removed_at: at });
        }
        self.expire_tombstones(at);
    }

    /// Forgets removed sessions that are too old or too many.
    pub fn expire_tombstones(&mut self, now: u64) {
        while self.tombstones.len() > TOMBSTONES_MAX
            || self.tombstones.front().is_some_and(|t| t.removed_at + TOMBSTONE_MS_MAX < now)
        {
            self.tombstones.pop_front();
        }
    }
}
