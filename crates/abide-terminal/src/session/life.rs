//! From `Starting` to `Finalized`: what the holder tells, and what follows from each transition.

use std::cmp::Ordering;

use abide_wire::Code;

use super::core::{Holder, Session};
use super::io::{Asker, Frame, Gone, HolderInput, Input, Now, Output, Reply, Size, Unit};
use super::transition::{Due, Recording, Then};
use crate::ids::{ByteOffset, EventNumber, OwnerEpoch};
use crate::kill::Signal;
use crate::program::{Failure, Step};
use crate::protocol::{Mode, WireError};
use crate::record::{Exit, ExitKind, State};
use crate::store::{Event, MarkKind};

/// A program that has not started by then is given up, in milliseconds.
pub(super) const START_MS_MAX: u64 = 10_000;

/// How often a holder is launched for one start.
const LAUNCHES_MAX: u8 = 3;

impl Session {
    /// Begins the life of a session that was just made: its first transition is `created`.
    pub fn create(&mut self, now: Now, asker: Asker, out: &mut Vec<Output>) {
        self.creator = Some(asker);
        self.start_by = Some(now.boot_ms + START_MS_MAX);
        self.had_epoch = OwnerEpoch(0);
        self.propose(Event::Created(Box::new(self.facts.created.clone())), None, Then::Nothing, out);
    }

    /// Begins the life of a session whose program runs already, in a holder that no record speaks of. That it was
    /// started is recorded with it: if its holder dies on the way it is lost, and not started again.
    pub fn take_in(&mut self, out: &mut Vec<Output>) {
        self.holder = Holder::Found;
        let incarnation = self.facts.record().incarnation;
        let created = Event::Created(Box::new(self.facts.created.clone()));
        let unit = Unit::of(created, None).and(Event::Start { incarnation }, None);
        self.report_unit(unit, Then::Nothing, out);
    }

    /// What follows from a transition that was just written.
    pub(super) fn after(&mut self, now: Now, number: EventNumber, recording: Recording, out: &mut Vec<Output>) {
        match recording.event() {
            Event::Created(_) => out.push(Output::CreateLog),
            Event::Start { .. } if recording.unit.has("created") => out.push(Output::CreateLog),
            Event::Start { incarnation } => self.to_holder(Frame::Start(*incarnation), out),
            Event::Started { .. } => self.started(now, out),
            Event::Kill { .. } => self.kill_recorded(now, out),
            Event::Exited { exit } => self.exited(now, exit, out),
            Event::Finalized { .. } => self.finalized(number, out),
            Event::OwnerChanged { former, .. } => {
                self.owner_changed(now, former.clone(), recording.then, out);
                return;
            }
            Event::Resized { .. } => self.resize_recorded(now, out),
            Event::Removed { .. } => self.removed(number, &recording.then, out),
            Event::Renamed { .. } | Event::Recovered { .. } | Event::Boot { .. } | Event::Restoring { .. } => {}
        }
        self.then(now, recording.then, out);
    }

    /// The start of this daemon has decided what to make of the session.
    pub(super) fn recovered(&mut self, now: Now, outcome: &str, code: Option<&str>, out: &mut Vec<Output>) {
        match self.facts.state() {
            State::Starting => self.start_by = Some(now.boot_ms + START_MS_MAX),
            State::Finalized => return,
            _ => {}
        }
        let event = Event::Recovered { outcome: outcome.to_owned(), code: code.map(str::to_owned) };
        self.report(event, None, Then::Nothing, out);
    }

    /// Its holder is there and cannot be adopted: what the daemon before had begun has its bound all the same.
    pub(super) fn out_of_reach(&mut self, now: Now, out: &mut Vec<Output>) {
        match self.facts.state() {
            State::Starting if self.start_by.is_none() => self.start_by = Some(now.boot_ms + START_MS_MAX),
            State::Terminating if self.kill.is_none() => self.kill_recorded(now, out),
            // It was hung up with that, if the daemon before lived long enough.
            State::Exited if self.facts.record().started_at.is_none() => out.push(Output::HangUp),
            _ => {}
        }
    }

    pub(super) fn log_created(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.facts.state() != State::Starting {
            return;
        }
        match self.holder {
            Holder::None if !self.facts.start_recorded => self.launch(out),
            Holder::Found => {
                self.start_by = Some(now.boot_ms + START_MS_MAX);
                self.holder = Holder::Launching;
                out.push(Output::Adopt);
            }
            Holder::None | Holder::Launching | Holder::Adopted => {}
        }
    }

    pub(super) fn launch(&mut self, out: &mut Vec<Output>) {
        self.launches += 1;
        self.holder = Holder::Launching;
        out.push(Output::Launch);
    }

    pub(super) fn holder_event(&mut self, now: Now, event: &HolderInput, out: &mut Vec<Output>) {
        // One that was given up already is hung up once that is recorded.
        let starting = self.facts.state() == State::Starting && !self.owes("exited");
        match *event {
            HolderInput::Adopted { .. } => self.adopted(now, event, out),
            HolderInput::Started { pid, start_time } if starting => {
                self.start_by = None;
                let record = self.facts.record();
                let mark =
                    MarkKind::Started { incarnation: record.incarnation, pid, cols: record.cols, rows: record.rows };
                self.report(Event::Started { pid, start_time }, Some(mark), Then::Nothing, out);
            }
            HolderInput::Failed { step, errno } if starting => {
                self.start_by = None;
                let failure = Failure {
                    step: Step::from_number(step).unwrap_or(Step::Holder),
                    errno: i32::try_from(errno).unwrap_or(0),
                    login_shell: self.facts.created.login,
                };
                self.not_started(failure, out);
            }
            HolderInput::Ended { status } => self.program_ended(status, out),
            HolderInput::Gone(gone) => self.holder_gone(now, gone, out),
            // It came too late to be told to the former owner, not too late to be known.
            HolderInput::OwnerOk { epoch, former } if epoch == self.facts.record().owner_epoch => self.former = former,
            // Answers to frames that were repeated.
            HolderInput::Started { .. } | HolderInput::Failed { .. } | HolderInput::OwnerOk { .. } => {}
        }
    }

    fn adopted(&mut self, now: Now, adopted: &HolderInput, out: &mut Vec<Output>) {
        let HolderInput::Adopted { owner_epoch, input_applied, former, size, .. } = *adopted else { return };
        self.holder = Holder::Adopted;
        self.former = former;
        self.epoch_known = owner_epoch;
        self.window = super::window::Window::new(owner_epoch, input_applied);
        let record = self.facts.record();
        if size != (record.cols, record.rows) {
            let size = Size { cols: record.cols, rows: record.rows, pixels: self.pixels };
            self.to_holder(Frame::Resize(size), out);
        }
        match owner_epoch.cmp(&self.facts.record().owner_epoch) {
            Ordering::Less => self.hand_over(now, None, Then::GoOn, out),
            Ordering::Greater if self.facts.state() < State::Exited => self.epoch_lost(Then::GoOn, out),
            _ => self.go_on(now, out),
        }
    }

    /// The holder is adopted, and knows owner and size: what is due next.
    pub(super) fn go_on(&mut self, now: Now, out: &mut Vec<Output>) {
        let incarnation = self.facts.record().incarnation;
        match self.facts.state() {
            State::Starting if self.facts.start_recorded => {
                self.to_holder(Frame::Start(incarnation), out);
                self.kill_recorded(now, out);
            }
            State::Starting if self.owes("exited") => self.to_holder(Frame::Hangup, out),
            State::Starting => self.report(Event::Start { incarnation }, None, Then::Nothing, out),
            State::Running => {
                out.push(Output::Drain);
                self.retry_waiting();
            }
            State::Terminating => {
                out.push(Output::Drain);
                self.retry_waiting();
                // The plan of the daemon before goes on where its time is.
                if self.kill.is_none() {
                    self.kill_recorded(now, out);
                }
            }
            State::Exited if self.facts.record().started_at.is_none() => self.to_holder(Frame::Hangup, out),
            State::Exited => {
                out.push(Output::Drain);
                self.drain_by = Some(now.boot_ms + self.limits.drain_ms_max);
            }
            State::Finalized => self.to_holder(Frame::Hangup, out),
        }
    }

    fn kill_recorded(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Some(kill) = self.facts.kill {
            self.kill_begins(now, kill, out);
        }
    }

    fn started(&mut self, now: Now, out: &mut Vec<Output>) {
        self.start_by = None;
        out.push(Output::Drain);
        if let Some(asker) = self.creator.take() {
            let restored = self.facts.restored_as.is_some();
            out.push(Output::Answer(asker, if restored { Reply::Recovered } else { Reply::Created }));
        }
        self.retry_waiting();
        self.kill_recorded(now, out);
        if let Some(status) = self.ended.take() {
            self.defer(Input::Holder(HolderInput::Ended { status }));
        }
    }

    /// Attaches that waited are looked at again.
    fn retry_waiting(&mut self) {
        for (_, input) in std::mem::take(&mut self.waiting) {
            self.defer(input);
        }
    }

    fn program_ended(&mut self, status: u32, out: &mut Vec<Output>) {
        self.ended = Some(status);
        match self.facts.state() {
            State::Running | State::Terminating if self.kill.is_some() => self.find_processes(out),
            State::Running | State::Terminating => self.exit(exit_of(status), Then::Nothing, out),
            State::Starting | State::Exited | State::Finalized => {}
        }
    }

    /// The holder has gone: its connection has ended, a probe found none, and all that it held is taken.
    fn holder_gone(&mut self, now: Now, gone: Gone, out: &mut Vec<Output>) {
        self.holder = Holder::None;
        match self.facts.state() {
            // It was given up; all that it had is taken.
            State::Starting if self.owes("exited") => self.drained.1 = true,
            State::Starting if !self.facts.start_recorded && !gone.rebooted => {
                if self.launches < LAUNCHES_MAX {
                    self.launch(out);
                } else {
                    self.not_started(Failure { step: Step::Holder, errno: gone.errno, login_shell: false }, out);
                }
            }
            State::Starting | State::Running | State::Terminating => {
                let lost = if gone.rebooted { Code::HostRebooted } else { Code::HolderLost };
                let kind = match gone.status.or(self.ended) {
                    Some(status) => exit_of(status),
                    None => ExitKind::Lost(lost.as_str().to_owned()),
                };
                self.drained.1 = true;
                self.exit(kind, Then::Refuse(WireError::holder_lost(lost)), out);
            }
            State::Exited => {
                self.drained.1 = true;
                self.finalize(now, out);
            }
            State::Finalized if self.when_durable.is_empty() => {
                out.push(Output::RemoveFiles(self.facts.record().incarnation));
            }
            State::Finalized => {}
        }
    }

    pub(super) fn exit(&mut self, kind: ExitKind, then: Then, out: &mut Vec<Output>) {
        self.exit_with(Exit { kind, forced: false, survivors: Vec::new(), drain: None }, then, out);
    }

    pub(super) fn exit_with(&mut self, exit: Exit, then: Then, out: &mut Vec<Output>) {
        self.kill = None;
        self.report(Event::Exited { exit }, None, then, out);
    }

    fn exited(&mut self, now: Now, exit: &Exit, out: &mut Vec<Output>) {
        self.start_by = None;
        self.kill = None;
        self.resize_due = None;
        self.grace_until = None;
        self.retry_waiting();
        match exit.kind {
            // No program ran: there is nothing to wait for.
            ExitKind::SpawnFailed(_) => self.drained.1 = true,
            ExitKind::NeverStarted(_) => {
                self.drained.1 = true;
                self.refuse_creator(WireError::exited(self.facts.record()), out);
                self.to_holder(Frame::Hangup, out);
            }
            ExitKind::Lost(ref code) if code == Code::HolderUnresponsive.as_str() && self.holder != Holder::Adopted => {
                out.push(Output::HangUp);
            }
            _ if self.facts.record().started_at.is_none() => self.to_holder(Frame::Hangup, out),
            _ if exit.forced => self.to_holder(Frame::Abandon, out),
            _ => {}
        }
        if self.drained.1 {
            self.finalize(now, out);
        } else if self.holder == Holder::Adopted {
            self.drain_by = Some(now.boot_ms + self.limits.drain_ms_max);
        }
    }

    pub(super) fn output_taken(&mut self, now: Now, head: ByteOffset, end: bool, out: &mut Vec<Output>) {
        self.drained = (head, self.drained.1 || end);
        if self.facts.state() == State::Exited && self.drained.1 {
            self.finalize(now, out);
        }
    }

    /// All output is taken: the end is recorded, and with it what follows a loss.
    fn finalize(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.restore.is_none()
            && let Some((event, mark)) = self.end_recorded()
        {
            self.after_loss(now, event, mark, out);
        }
    }

    /// The event of the end, and its mark.
    pub(super) fn end_recorded(&self) -> Option<(Event, MarkKind)> {
        let mut exit = self.facts.record().exit.clone()?;
        if self.cut_off {
            exit.drain = Some("deadline".to_owned());
        }
        let event = Event::Finalized { end_offset: self.drained.0, exit: exit.clone() };
        Some((event, MarkKind::Exited { exit }))
    }

    fn finalized(&mut self, number: EventNumber, out: &mut Vec<Output>) {
        self.drain_by = None;
        for viewer in self.streams.values_mut() {
            viewer.mode = Mode::Observer;
        }
        for input in std::mem::take(&mut self.leaving) {
            self.defer(input);
        }
        self.when_durable.push((number, Due::Collect));
        out.push(Output::Screen);
    }

    fn removed(&mut self, number: EventNumber, then: &Then, out: &mut Vec<Output>) {
        self.drain_by = None;
        self.owed.clear();
        self.give_up_restore(out);
        for input in std::mem::take(&mut self.leaving) {
            self.defer(input);
        }
        if let Then::Removed(asker) = then {
            self.when_durable.push((number, Due::DropLog(*asker)));
        }
    }

    pub(super) fn start_overdue(&mut self, out: &mut Vec<Output>) {
        self.start_by = None;
        if self.facts.state() == State::Starting {
            // One that was adopted may have printed: its end is waited for, as long as any drain.
            self.drained.1 = self.holder != Holder::Adopted;
            let kind = ExitKind::Lost(Code::HolderUnresponsive.as_str().to_owned());
            self.exit(kind, Then::Refuse(WireError::unresponsive()), out);
        }
    }

    pub(super) fn drain_overdue(&mut self, now: Now, out: &mut Vec<Output>) {
        self.drain_by = None;
        // A holder that was hung up takes no other word.
        if self.facts.record().started_at.is_none() {
            self.drained.1 = true;
            return self.finalize(now, out);
        }
        self.cut_off = true;
        self.to_holder(Frame::Abandon, out);
    }

    fn not_started(&mut self, failure: Failure, out: &mut Vec<Output>) {
        let kind = ExitKind::SpawnFailed(failure.code().as_str().to_owned());
        let restored = self.facts.restored_as.is_some();
        let error = if restored { WireError::not_restored(failure) } else { WireError::not_started(failure) };
        self.exit(kind, Then::Refuse(error), out);
    }

    /// What fails in the holder leaves a session, which the answer names.
    pub(super) fn refuse_creator(&mut self, error: WireError, out: &mut Vec<Output>) {
        if let Some(asker) = self.creator.take() {
            let error = error.with("session", self.facts.id().to_string());
            out.push(Output::Answer(asker, Reply::Error(error)));
        }
    }
}

/// How a program with this wait status ended.
pub(super) fn exit_of(status: u32) -> ExitKind {
    let signal = status & 0x7f;
    if signal == 0 {
        ExitKind::Code(((status >> 8) & 0xff) as u8)
    } else {
        let named = u8::try_from(signal).ok().and_then(Signal::from_number);
        ExitKind::Signal(named.map_or_else(|| signal.to_string(), |named| named.to_string()))
    }
}
