//! What a decision takes from the registry, and what it leaves in the log.

use abide_holder::BootId;
use abide_journal::{Entry, Log};
use abide_wire::Code;

use super::decide::{Missing, Session, Stage};
use crate::ids::ByteOffset;
use crate::intake;
use crate::record::State;
use crate::store::Facts;

impl Session {
    /// What the registry tells of a session whose log ends at `log_end`. `boot` is the present one.
    pub fn of(facts: &Facts, boot: BootId, log_end: ByteOffset) -> Self {
        let record = facts.record();
        let stage = match record.state {
            State::Starting if facts.start_recorded => Stage::Starting,
            State::Starting => Stage::Accepted,
            State::Running => Stage::Running,
            State::Terminating => Stage::Terminating,
            State::Exited => Stage::Exited,
            State::Finalized => Stage::Finalized,
        };
        // A boot id that cannot be read is none of this machine's.
        let launched_in = facts.created.boot_id.clone().try_into().unwrap_or(BootId([!boot.0[0]; 16]));
        Self { stage, incarnation: record.incarnation, boot: launched_in, log_end }
    }
}

impl Missing {
    /// What names it at the end of the log, with the code of the loss; none if nothing is missing.
    pub fn named(self, log: &Log, code: Code) -> Option<Vec<(Log, Entry)>> {
        match self {
            Self::Nothing => None,
            Self::Bytes(bytes) => Some(intake::missing(log, code, Some(bytes))),
            Self::Unknown => Some(intake::missing(log, code, None)),
        }
    }
}

/// Whether what a dead holder left of its program ends with it. `has_ended`: its exit record says how the program ended.
/// What a program leaves that ended by itself, or never was started, is not its holder's; what a kill was to end is.
pub fn left_ends(facts: &Facts, has_ended: bool) -> bool {
    match facts.state() {
        State::Starting => facts.start_recorded && !has_ended,
        State::Running => !has_ended,
        State::Terminating => true,
        State::Exited | State::Finalized => false,
    }
}
