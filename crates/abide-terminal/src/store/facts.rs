//! What the registry tells of one session, and how each event changes it. The daemon applies an event when it is
//! written, recovery applies the same events again: there is one way to a state.

use serde::{Deserialize, Serialize};

use super::event::{Created, Event};
use crate::ids::{EventNumber, OwnerEpoch, SessionId};
use crate::record::{KillRecord, Record, Recovery, State};

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
}

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
        Self { created, start_recorded: false, leader_start: 0, kill: None }
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
            Event::Recovered { outcome, code } => {
                record.recovery = Some(Recovery { outcome: outcome.clone(), code: code.clone() });
            }
        }
    }

    /// The epoch that the next change of ownership begins.
    pub fn next_owner_epoch(&self) -> OwnerEpoch {
        self.record().owner_epoch.next()
    }
}
