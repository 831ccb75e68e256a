//! From `Starting` to `Finalized`: what the holder tells, and what follows from each transition.

use abide_wire::Code;

use super::core::{Busy, Holder, Recording, Session, Then};
use super::io::{Asker, Frame, Gone, HolderInput, Input, Now, Output, Reply};
use crate::ids::{ByteOffset, EventNumber};
use crate::kill::Signal;
use crate::program::{Failure, Step};
use crate::protocol::WireError;
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
        self.propose(Event::Created(Box::new(self.facts.created.clone())), None, Then::Nothing, out);
    }

    /// What follows from a transition that was just written.
    pub(super) fn after(&mut self, now: Now, number: EventNumber, recording: Recording, out: &mut Vec<Output>) {
        match &recording.event {
            Event::Created(_) => out.push(Output::CreateLog),
            Event::Start { incarnation } => self.to_holder(Frame::Start(*incarnation), out),
            Event::Started { .. } => self.started(now, out),
            Event::Kill { .. } => self.kill_recorded(now, out),
            Event::Exited { exit } => self.exited(now, exit, out),
            Event::Finalized { end_offset, .. } => self.finalized(number, *end_offset, out),
            Event::OwnerChanged { former, .. } => {
                self.owner_changed(now, former.clone(), recording.then, out);
                return;
            }
            Event::Resized { .. } => self.resize_recorded(now, out),
            Event::Removed { .. } => {
                let Then::Answer(asker) = recording.then else { return };
                out.push(Output::Bury(asker));
                return;
            }
            Event::Recovered { .. } | Event::Boot { .. } => {}
        }
        match recording.then {
            Then::Answer(Some(asker)) => out.push(Output::Answer(asker, self.kill_reply(false))),
            then => self.then(then),
        }
    }

    /// The start of this daemon has decided what to make of the session.
    pub(super) fn recovered(&mut self, outcome: &str, code: Option<&str>, out: &mut Vec<Output>) {
        let event = Event::Recovered { outcome: outcome.to_owned(), code: code.map(str::to_owned) };
        self.report(event, None, out);
    }

    pub(super) fn log_created(&mut self, out: &mut Vec<Output>) {
        if self.facts.state() == State::Starting && !self.facts.start_recorded && self.holder == Holder::None {
            self.launch(out);
        }
    }

    fn launch(&mut self, out: &mut Vec<Output>) {
        self.launches += 1;
        self.holder = Holder::Launching;
        out.push(Output::Launch);
    }

    pub(super) fn holder_event(&mut self, now: Now, event: &HolderInput, out: &mut Vec<Output>) {
        match *event {
            HolderInput::Adopted { .. } => self.adopted(now, event, out),
            HolderInput::Started { pid, start_time } if self.facts.state() == State::Starting => {
                let record = self.facts.record();
                let mark =
                    MarkKind::Started { incarnation: record.incarnation, pid, cols: record.cols, rows: record.rows };
                self.report(Event::Started { pid, start_time }, Some(mark), out);
            }
            HolderInput::Failed { step, errno } if self.facts.state() == State::Starting => {
                let failure = Failure {
                    step: Step::from_number(step).unwrap_or(Step::Holder),
                    errno: i32::try_from(errno).unwrap_or(0),
                    login_shell: self.facts.created.login,
                };
                self.not_started(failure, out);
            }
            HolderInput::Ended { status } => self.program_ended(status, out),
            HolderInput::Gone(gone) => self.holder_gone(gone, out),
            // Answers to frames that were repeated.
            HolderInput::Started { .. } | HolderInput::Failed { .. } | HolderInput::OwnerOk { .. } => {}
        }
    }

    fn adopted(&mut self, now: Now, adopted: &HolderInput, out: &mut Vec<Output>) {
        let HolderInput::Adopted { owner_epoch, input_applied, former, size, .. } = *adopted else { return };
        self.holder = Holder::Adopted;
        self.former = former;
        self.window = super::window::Window::new(owner_epoch, input_applied);
        let record = self.facts.record();
        if size != (record.cols, record.rows) {
            let size = super::io::Size { cols: record.cols, rows: record.rows, pixels: self.facts.created.pixels };
            self.to_holder(Frame::Resize(size), out);
        }
        match self.facts.state() {
            State::Starting if self.facts.start_recorded => self.to_holder(Frame::Start(record.incarnation), out),
            State::Starting => {
                let incarnation = record.incarnation;
                self.report(Event::Start { incarnation }, None, out);
                return;
            }
            State::Running | State::Exited => out.push(Output::Drain),
            State::Terminating => {
                out.push(Output::Drain);
                // The plan of the daemon before goes on where its time is.
                if self.kill.is_none() {
                    self.kill_recorded(now, out);
                }
            }
            State::Finalized => self.to_holder(Frame::Hangup, out),
        }
        if owner_epoch < self.facts.record().owner_epoch {
            self.hand_over(now, None, Then::Nothing, out);
        }
    }

    fn started(&mut self, now: Now, out: &mut Vec<Output>) {
        self.start_by = None;
        out.push(Output::Drain);
        if let Some(asker) = self.creator.take() {
            out.push(Output::Answer(asker, Reply::Created));
        }
        for (_, input) in std::mem::take(&mut self.waiting) {
            self.defer(input);
        }
        if self.facts.state() == State::Terminating {
            self.kill_recorded(now, out);
        }
        if let Some(status) = self.ended.take() {
            self.defer(Input::Holder(HolderInput::Ended { status }));
        }
    }

    fn program_ended(&mut self, status: u32, out: &mut Vec<Output>) {
        self.ended = Some(status);
        match self.facts.state() {
            State::Running => self.exit(exit_of(status), out),
            State::Terminating => self.find_processes(out),
            State::Starting | State::Exited | State::Finalized => {}
        }
    }

    /// The holder has gone: its connection has ended, and a probe found none.
    fn holder_gone(&mut self, gone: Gone, out: &mut Vec<Output>) {
        self.holder = Holder::None;
        match self.facts.state() {
            State::Starting if !self.facts.start_recorded => {
                if self.launches < LAUNCHES_MAX {
                    self.launch(out);
                } else {
                    self.not_started(Failure { step: Step::Holder, errno: 0, login_shell: false }, out);
                }
            }
            State::Starting | State::Running | State::Terminating => {
                let lost = if gone.rebooted { Code::HostRebooted } else { Code::HolderLost };
                let kind = match gone.status.or(self.ended) {
                    Some(status) => exit_of(status),
                    None => ExitKind::Lost(lost.as_str().to_owned()),
                };
                self.refuse_creator(WireError::holder_lost(lost), out);
                self.exit(kind, out);
            }
            State::Exited if self.drained.1 => self.finalize(out),
            State::Exited | State::Finalized => {}
        }
    }

    pub(super) fn exit(&mut self, kind: ExitKind, out: &mut Vec<Output>) {
        self.exit_with(Exit { kind, forced: false, survivors: Vec::new(), drain: None }, out);
    }

    pub(super) fn exit_with(&mut self, exit: Exit, out: &mut Vec<Output>) {
        self.report(Event::Exited { exit }, None, out);
    }

    fn exited(&mut self, now: Now, exit: &Exit, out: &mut Vec<Output>) {
        self.start_by = None;
        self.kill = None;
        self.resize_due = None;
        self.grace_until = None;
        for (_, input) in std::mem::take(&mut self.waiting) {
            self.defer(input);
        }
        if exit.kind == ExitKind::NeverStarted(true) {
            self.to_holder(Frame::Hangup, out);
            self.refuse_creator(WireError::exited(self.facts.record()), out);
        }
        let started = !matches!(exit.kind, ExitKind::NeverStarted(_) | ExitKind::SpawnFailed(_));
        if !started {
            // No program ran: there is nothing to wait for.
            self.drained.1 = true;
        }
        if self.drained.1 {
            self.finalize(out);
        } else if self.holder == Holder::Adopted {
            self.drain_by = Some(now.boot_ms + self.limits.drain_ms_max);
        }
    }

    pub(super) fn output_taken(&mut self, head: ByteOffset, end: bool, out: &mut Vec<Output>) {
        self.drained = (head, self.drained.1 || end);
        if self.facts.state() == State::Exited && self.drained.1 {
            self.finalize(out);
        }
    }

    fn finalize(&mut self, out: &mut Vec<Output>) {
        if !matches!(self.busy, Busy::Free) {
            return;
        }
        let Some(exit) = self.facts.record().exit.clone() else { return };
        let event = Event::Finalized { end_offset: self.drained.0, exit: exit.clone() };
        self.report(event, Some(MarkKind::Exited { exit }), out);
    }

    fn finalized(&mut self, number: EventNumber, end: ByteOffset, out: &mut Vec<Output>) {
        self.drain_by = None;
        if self.holder == Holder::Adopted {
            self.when_durable.push((number, Output::ToHolder(Frame::Collect(end))));
        } else {
            self.when_durable.push((number, Output::RemoveFiles));
        }
        out.push(Output::Screen);
    }

    pub(super) fn start_overdue(&mut self, out: &mut Vec<Output>) {
        self.start_by = None;
        if self.facts.state() != State::Starting {
            return;
        }
        self.refuse_creator(WireError::unresponsive(), out);
        self.to_holder(Frame::Hangup, out);
        self.exit(ExitKind::Lost("HOLDER_UNRESPONSIVE".to_owned()), out);
        self.drained.1 = true;
    }

    pub(super) fn drain_overdue(&mut self, out: &mut Vec<Output>) {
        self.drain_by = None;
        self.to_holder(Frame::Abandon, out);
    }

    fn not_started(&mut self, failure: Failure, out: &mut Vec<Output>) {
        self.refuse_creator(WireError::not_started(failure), out);
        self.exit(ExitKind::SpawnFailed(failure.code().as_str().to_owned()), out);
    }

    /// What fails in the holder leaves a session, which the answer names.
    fn refuse_creator(&mut self, error: WireError, out: &mut Vec<Output>) {
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
