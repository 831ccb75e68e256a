//! Another program in the place of a lost one: whether it can be started, and what the report of the start says of it.

use super::create::unfit;
use super::hub::Msg;
use super::sessions::Sessions;
use super::shared::Unfit;
use crate::ids::SessionId;
use crate::protocol::limits::KEY_BYTES_MAX;
use crate::protocol::{EntryOutcome, WireError};
use crate::record::{RestoreAs, State};
use crate::session::{Input, Restart};

impl Sessions {
    /// Finds program and directory for a restore, and a name that is free.
    pub(super) fn prepare_restore(&mut self, id: SessionId, what: RestoreAs) {
        let prepared = self.prepared(id, what);
        self.hub.tell_later(Msg::Session(id, Input::RestorePrepared(prepared)));
    }

    fn prepared(&mut self, id: SessionId, what: RestoreAs) -> Result<Restart, WireError> {
        let options = &self.shared.options;
        let living = self.living();
        let entry = self.entries.get(&id).ok_or_else(|| WireError::not_found(&id.to_string()))?;
        let had_ended = entry.facts().state() == State::Finalized;
        if self.terminating {
            return Err(WireError::stopping(false));
        }
        if had_ended && self.full {
            return Err(WireError::journal_full());
        }
        if had_ended && living >= options.sessions_max as usize {
            return Err(WireError::sessions_limit(options.sessions_max));
        }
        let mut next = entry.facts().clone();
        next.restored_as = Some(what);
        let record = &mut next.created.record;
        record.incarnation = record.incarnation.next();
        let free = |name: &str| self.names.get(name).is_none_or(|named| *named == id);
        let name = free_name(&record.name, free);
        record.name.clone_from(&name);
        let launch = self.shared.prepare_again(&next).map_err(|why| match why {
            Unfit::Program(failure) => WireError::not_restored(failure),
            environment @ Unfit::Environment(_) => unfit(environment),
        })?;
        let Some(entry) = self.entries.get_mut(&id) else { return Err(WireError::not_found(&id.to_string())) };
        entry.launch = Some(launch);
        let renamed = (name != entry.facts().record().name).then(|| name.clone());
        self.names.insert(name, id);
        Ok(Restart { boot_id: self.shared.boot.to_string(), name: renamed })
    }

    /// A session that has ended after all, because its restore was not recorded, has no name.
    pub(super) fn name_unless_ended(&mut self, id: SessionId) {
        if self.entries.get(&id).is_some_and(|entry| entry.facts().state() == State::Finalized) {
            self.release_name(id);
        }
    }

    /// What became of a session that this start decided on is told in its report.
    pub(super) fn report_outcome(&mut self, id: SessionId) {
        let Some(recovery) = self.entries.get(&id).and_then(|entry| entry.facts().record().recovery.clone()) else {
            return;
        };
        let Some(entry) = self.report.sessions.iter_mut().find(|entry| entry.session == id) else { return };
        if let Some(outcome) = EntryOutcome::named(&recovery.outcome) {
            entry.outcome = outcome;
            entry.code = recovery.code.and_then(|code| code.parse().ok());
            tracing::info!(session = %id, outcome = recovery.outcome, code = ?entry.code, "recovered");
        }
    }
}

/// The name itself if it is free, else with `-2`, `-3` … behind it.
fn free_name(name: &str, is_free: impl Fn(&str) -> bool) -> String {
    let numbered = |number: u64| {
        let ending = format!("-{number}");
        let kept = name.len().min(KEY_BYTES_MAX - ending.len());
        format!("{}{ending}", name.get(..kept).unwrap_or_default())
    };
    let mut numbers = 2..;
    let mut free = name.to_owned();
    while !is_free(&free) {
        free = numbers.next().map(numbered).unwrap_or_default();
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_the_next_number_and_stays_a_name() {
        let taken = ["build", "build-2"];
        assert_eq!(free_name("test", |name| !taken.contains(&name)), "test");
        assert_eq!(free_name("build", |name| !taken.contains(&name)), "build-3");
        let long = "x".repeat(KEY_BYTES_MAX);
        let free = free_name(&long, |name| name != long);
        assert_eq!((free.len(), free.ends_with("x-2")), (KEY_BYTES_MAX, true));
    }
}
