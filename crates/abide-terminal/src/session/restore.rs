//! What follows the loss of a program: nothing, an offer, or another program in its place.
//!
//! Whether that one can be started is asked first ([`Output::PrepareRestore`]). Then the end of the lost program, the
//! restore and the change of owner are one transition, so that no crash falls between.

use super::core::{Holder, Session};
use super::io::{Asker, Input, Now, Output, Restart, Unit};
use super::life::START_MS_MAX;
use super::transition::{Due, Recording, Then, answer};
use super::window::Window;
use crate::ids::{EventNumber, Incarnation, InputOffset};
use crate::protocol::WireError;
use crate::record::{Cause, Restore as Policy, RestoreAs, State};
use crate::store::{Event, MarkKind};

/// A restore that is being prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Restore {
    what: RestoreAs,
    /// Who asked; without anybody it is the policy.
    asker: Option<Asker>,
}

impl Session {
    /// Records the end of a program, and what its loss is followed by. A program that somebody had asked to kill stays
    /// dead.
    pub(super) fn after_loss(&mut self, now: Now, end: Event, mark: MarkKind, out: &mut Vec<Output>) {
        let killed = self.facts.kill.is_some();
        let loss = self.facts.loss().filter(|_| !killed).map(str::to_owned);
        let policy = self.facts.record().restore;
        match (loss, policy.acts()) {
            (Some(_), Some(_)) if self.facts.crash_loops(now.wall_ms) => {
                self.not_restored(WireError::crash_loop().code.as_str(), end, mark, out);
            }
            (Some(_), Some(what)) => {
                self.restore = Some(Restore { what, asker: None });
                out.push(Output::PrepareRestore(what));
            }
            (Some(code), None) if policy == Policy::Offer => {
                let offered = Event::Recovered { outcome: "offered".to_owned(), code: Some(code) };
                self.report_unit(Unit::of(offered, None).and(end, Some(mark)), Then::Nothing, out);
            }
            _ => self.report(end, Some(mark), Then::Nothing, out),
        }
    }

    /// The policy cannot be carried out: the session ends, and says what stood in the way.
    fn not_restored(&mut self, code: &str, end: Event, mark: MarkKind, out: &mut Vec<Output>) {
        let failed = Event::Recovered { outcome: "unrecoverable".to_owned(), code: Some(code.to_owned()) };
        self.report_unit(Unit::of(failed, None).and(end, Some(mark)), Then::Nothing, out);
    }

    pub(super) fn ask_recover(
        &mut self,
        now: Now,
        asker: Option<Asker>,
        wish: Option<RestoreAs>,
        again: Input,
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        let record = self.facts.record();
        match record.state {
            State::Finalized => {}
            State::Exited => {
                self.leaving.push(again);
                return Ok(());
            }
            _ => return Err(WireError::running(record)),
        }
        if self.facts.recoverable().is_none() {
            return Err(WireError::not_recoverable("not_lost"));
        }
        if record.restore == Policy::Never {
            return Err(WireError::not_recoverable("policy"));
        }
        // Another one is about to be started, or the last one is not gone yet.
        if self.restore.is_some() || self.holder != Holder::None {
            return Err(WireError::starting(record));
        }
        if self.facts.crash_loops(now.wall_ms) {
            return Err(WireError::crash_loop());
        }
        // A shell does no harm by being started once more.
        let what = wish.or(record.restore.acts()).unwrap_or(RestoreAs::Shell);
        self.restore = Some(Restore { what, asker });
        out.push(Output::PrepareRestore(what));
        Ok(())
    }

    /// Whether the program can be started is known now.
    pub(super) fn restore_prepared(&mut self, prepared: Result<Restart, WireError>, out: &mut Vec<Output>) {
        let Some(Restore { what, asker }) = self.restore.take() else { return };
        match (self.facts.state(), asker, prepared) {
            (State::Exited, None, Ok(restart)) => {
                let Some((end, mark)) = self.end_recorded() else { return };
                let unit = self.restoring_unit(Some(Unit::of(end, Some(mark))), what, restart);
                self.report_unit(unit, Then::Nothing, out);
            }
            (State::Exited, None, Err(error)) => {
                if let Some((end, mark)) = self.end_recorded() {
                    self.not_restored(error.code.as_str(), end, mark, out);
                }
            }
            (State::Finalized, Some(asker), Ok(restart)) if self.removed_at.is_none() => {
                let unit = self.restoring_unit(None, what, restart);
                self.propose_unit(unit, Then::Recovered(asker), out);
            }
            (_, _, Err(error)) => answer(asker, error, out),
            // Whoever waited was told when the session was removed.
            (_, _, Ok(_)) => {}
        }
    }

    /// The session is removed: nothing follows any more.
    pub(super) fn give_up_restore(&mut self, out: &mut Vec<Output>) {
        if let Some(Restore { asker, .. }) = self.restore.take() {
            let gone = WireError::gone(&self.facts.id().to_string(), self.removed_at.unwrap_or(0));
            answer(asker, gone, out);
        }
    }

    fn restoring_unit(&self, end: Option<Unit>, what: RestoreAs, restart: Restart) -> Unit {
        let incarnation = self.facts.record().incarnation.next();
        let code = self.facts.recoverable().unwrap_or_default().to_owned();
        let mark = MarkKind::Restoring { incarnation, r#as: what, code: code.clone() };
        let event = Event::Restoring { incarnation, r#as: what, code, boot_id: restart.boot_id, name: restart.name };
        // An owner who is there stays; nobody owns a session that had ended.
        let owner = self.facts.record().owner.clone().filter(|_| !self.owner_away);
        let (owner_changed, owner_mark) = self.change_of_owner(owner, Cause::Restored);
        let unit = match end {
            Some(end) => end.and(event, Some(mark)),
            None => Unit::of(event, Some(mark)),
        };
        unit.and(owner_changed, Some(owner_mark))
    }

    /// A restore is written: nothing of the lost program is left, and another one is started once that is durable.
    pub(super) fn restoring(
        &mut self,
        now: Now,
        number: EventNumber,
        lost: Incarnation,
        recording: Recording,
        out: &mut Vec<Output>,
    ) {
        self.holder = Holder::None;
        self.launches = 0;
        self.start_by = Some(now.boot_ms + START_MS_MAX);
        (self.kill, self.ended, self.former) = (None, None, None);
        self.drained = (self.drained.0, false);
        (self.drain_by, self.cut_off) = (None, false);
        (self.resize_due, self.resized_at) = (None, None);
        self.window = Window::new(self.facts.record().owner_epoch, InputOffset(0));
        for input in std::mem::take(&mut self.leaving) {
            self.defer(input);
        }
        self.change_modes(None, None, false, out);
        // The owner may have left while the restore waited for room.
        let owned = self.facts.record().owner.is_some();
        self.grace_until = (owned && self.owner_away).then_some(now.boot_ms + self.limits.owner_grace_ms);
        // What was due of the programs before is due with this.
        self.when_durable.retain(|(_, due)| !matches!(due, Due::Collect | Due::Relaunch(_)));
        self.when_durable.push((number, Due::Relaunch(lost)));
        self.then(now, recording.then, out);
    }

    /// A restore is durable: what the lost holder left goes, and the next one comes.
    pub(super) fn relaunch(&mut self, lost: Incarnation, out: &mut Vec<Output>) {
        out.push(Output::RemoveFiles(lost));
        let due = self.facts.state() == State::Starting && !self.facts.start_recorded;
        if due && self.holder == Holder::None {
            self.launch(out);
        }
    }
}
