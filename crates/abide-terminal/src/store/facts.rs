//! What the registry tells of one session, and how each event changes it. The daemon applies an event when it is
//! written, recovery applies the same events again: there is one way to a state.

use serde::{Deserialize, Serialize};

use super::event::{Created, Event};
use crate::ids::{EventNumber, OwnerEpoch, SessionId};
use crate::record::{Exit, ExitKind, KillRecord, Record, Recovery, RestoreAs, State};

/// One session as the registry tells it. It is what the table checkpoint holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// What it was created from, its record kept up to date.
    #[serde(flatten)]
    pub created: Created,
    /// True once its holder was told to start the program: from then on nobody can tell, without the holder,
    /// whether it ran.
    #[serde(default)]
    pub start_recorded: bool,
    /// Start time of the program in clock ticks since boot; 0 before it started.
    #[serde(default)]
    pub leader_start: u64,
    /// The kill under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<KillFacts>,
    /// What its present program is, if it took the place of a lost one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_as: Option<RestoreAs>,
    /// When it was restored, wall clock in milliseconds, the last [`RESTORES_MAX`] times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restored_at: Vec<u64>,
}

/// So many restores within [`RESTORES_MS`] are followed by none: a program that takes its holder down each time is not
/// started for ever.
pub const RESTORES_MAX: usize = 3;

/// The time in which restores are counted, in milliseconds.
pub const RESTORES_MS: u64 = 60_000;

/// What a daemon that returns needs to go on with a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillFacts {
    /// When it was accepted, CLOCK_BOOTTIME in milliseconds.
    pub t0_boot_ms: u64,
    /// The time from there to SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// The signal that replaces SIGHUP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
}

impl Facts {
    /// A session that was just accepted.
    pub fn new(created: Created) -> Self {
        Self { created, start_recorded: false, leader_start: 0, kill: None, restored_as: None, restored_at: Vec::new() }
    }

    /// Its record.
    pub fn record(&self) -> &Record {
        &self.created.record
    }

    /// Its identity.
    pub fn id(&self) -> SessionId {
        self.created.record.id
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.created.record.state
    }

    /// Takes in one event that was written at `at` (wall clock, ms) under number `number`.
    ///
    /// Events of a kind that does not speak of a living session (`boot`, `created`, `removed`) change nothing here:
    /// [`super::Table`] takes them in.
    pub fn apply(&mut self, number: EventNumber, at: u64, event: &Event) {
        let record = &mut self.created.record;
        match event {
            Event::Boot { .. } | Event::Created(_) | Event::Removed { .. } => {}
            Event::Start { .. } => self.start_recorded = true,
            Event::Started { pid, start_time } => {
                // A kill that was accepted while the program was being started goes on now.
                record.state = if self.kill.is_some() { State::Terminating } else { State::Running };
                record.pid = Some(*pid);
                record.started_at = Some(at);
                self.leader_start = *start_time;
            }
            Event::Kill { deadline_at, t0_boot_ms, grace_ms, signal, .. } => {
                if record.state == State::Running {
                    record.state = State::Terminating;
                }
                record.kill = Some(KillRecord { kill_id: number.to_string(), deadline_at: *deadline_at });
                self.kill = Some(KillFacts { t0_boot_ms: *t0_boot_ms, grace_ms: *grace_ms, signal: *signal });
            }
            Event::Exited { exit } => {
                record.state = State::Exited;
                record.exit = Some(exit.clone());
                record.exited_at = Some(at);
            }
            Event::Finalized { end_offset, exit } => {
                record.state = State::Finalized;
                record.exit = Some(exit.clone());
                record.end_offset = *end_offset;
                record.owner = None;
                self.kill = None;
            }
            Event::OwnerChanged { owner, owner_epoch, .. } => {
                record.owner.clone_from(owner);
                record.owner_epoch = *owner_epoch;
                record.detached_at = if owner.is_none() { Some(at) } else { None };
            }
            Event::Resized { cols, rows } => {
                record.cols = *cols;
                record.rows = *rows;
            }
            Event::Renamed { name } => record.name.clone_from(name),
            Event::Restoring { incarnation, r#as, code, boot_id, name } => {
                record.state = State::Starting;
                record.incarnation = *incarnation;
                (record.pid, record.started_at, record.exited_at) = (None, None, None);
                (record.exit, record.kill) = (None, None);
                if let Some(name) = name {
                    record.name.clone_from(name);
                }
                record.recovery = Some(Recovery { outcome: "restored".to_owned(), code: Some(code.clone()) });
                self.created.boot_id.clone_from(boot_id);
                (self.start_recorded, self.leader_start, self.kill) = (false, 0, None);
                self.restored_as = Some(*r#as);
                self.restored_at.push(at);
                let oldest = self.restored_at.len().saturating_sub(RESTORES_MAX);
                self.restored_at.drain(..oldest);
            }
            Event::Recovered { outcome, code } => {
                record.recovery = Some(Recovery { outcome: outcome.clone(), code: code.clone() });
            }
        }
    }

    /// The code of the loss of its program with its holder or its machine; none if it ended in any other way.
    pub fn loss(&self) -> Option<&str> {
        match self.record().exit.as_ref() {
            Some(Exit { kind: ExitKind::Lost(code), .. }) if code == "HOLDER_LOST" || code == "HOST_REBOOTED" => {
                Some(code)
            }
            _ => None,
        }
    }

    /// The code after which it may be restored on request: that of its loss, or of the restore that followed a loss and
    /// could not be started.
    pub fn recoverable(&self) -> Option<&str> {
        match self.record().exit.as_ref() {
            Some(Exit { kind: ExitKind::SpawnFailed(code) | ExitKind::Lost(code), .. })
                if self.restored_as.is_some() =>
            {
                Some(code)
            }
            _ => self.loss(),
        }
    }

    /// Whether it was restored so often just now that it is not restored again.
    pub fn crash_loops(&self, now_ms: u64) -> bool {
        self.restored_at.len() >= RESTORES_MAX
            && self.restored_at.first().is_some_and(|first| first.saturating_add(RESTORES_MS) > now_ms)
    }

    /// The epoch that the next change of ownership begins.
    pub fn next_owner_epoch(&self) -> OwnerEpoch {
        self.record().owner_epoch.next()
    }
}
