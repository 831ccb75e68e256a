//! Transitions: appended first, applied when they are written, answered then, and followed when they are durable.
//!
//! What was asked for may be refused. What has happened cannot: it is owed until there is room, and the session goes
//! on meanwhile with what needs no room.

use super::core::{Busy, Holder, Session};
use super::io::{Asker, Attach, Frame, Input, Now, Op, Output, Refusal, Reply, Unit};
use crate::ids::{EventNumber, Incarnation};
use crate::protocol::WireError;
use crate::record::State;
use crate::store::{Event, KillFacts, MarkKind};

/// A transition that is being appended, or waits for it.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) unit: Unit,
    pub(super) then: Then,
    /// What happened already cannot be refused: it waits for room.
    pub(super) patient: bool,
}

impl Recording {
    pub(super) fn event(&self) -> &Event {
        self.unit.event()
    }

    /// The change of owner in it, if there is one.
    pub(super) fn owner_changed(&self) -> Option<&Event> {
        self.unit.iter().map(|(event, _)| event).find(|event| matches!(event, Event::OwnerChanged { .. }))
    }
}

/// What is done after a transition, beside its effects.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    /// The operation that asked for it is looked at again: it may need another one, or be done.
    Again(Box<Input>),
    /// The stream has left whose attach asked for it.
    Left,
    /// A kill is answered.
    Killed(Option<Asker>),
    /// A release is answered.
    Released(Option<Asker>),
    /// A rename is answered.
    Renamed(Option<Asker>),
    /// A recover is answered, once the program runs.
    Recovered(Asker),
    /// A remove is answered, once the log is dropped.
    Removed(Option<Asker>),
    /// Who asked for the session is told why its program does not run.
    Refuse(WireError),
    /// The holder that was adopted is told to go on.
    GoOn,
}

impl Then {
    /// Whether it comes of an attach: an owner epoch that begins then is its stream's alone.
    pub(super) fn is_of_attach(&self) -> bool {
        match self {
            Self::Again(input) => matches!(**input, Input::Attach(..)),
            Self::Left => true,
            _ => false,
        }
    }

    /// Who waits for it.
    pub(super) fn asker(&self) -> Option<Asker> {
        match self {
            Self::Again(input) => asker_of(input),
            Self::Killed(asker) | Self::Released(asker) | Self::Renamed(asker) | Self::Removed(asker) => *asker,
            Self::Recovered(asker) => Some(*asker),
            Self::Nothing | Self::Left | Self::Refuse(_) | Self::GoOn => None,
        }
    }
}

/// What follows from a transition once it is durable.
#[derive(Debug)]
pub(super) enum Due {
    /// The holder is collected; without one its files are removed.
    Collect,
    /// What the lost holder of this incarnation left is removed, and the next one is launched.
    Relaunch(Incarnation),
    /// The log of a removed session is dropped.
    DropLog(Option<Asker>),
}

impl Session {
    /// Appends a transition of something that may be refused.
    pub(super) fn propose(&mut self, event: Event, mark: Option<MarkKind>, then: Then, out: &mut Vec<Output>) {
        self.propose_unit(Unit::of(event, mark), then, out);
    }

    /// The same for several events in one unit.
    pub(super) fn propose_unit(&mut self, unit: Unit, then: Then, out: &mut Vec<Output>) {
        self.append(Recording { unit, then, patient: false }, out);
    }

    /// Appends a transition of something that has happened: it waits for its turn, and for room.
    pub(super) fn report(&mut self, event: Event, mark: Option<MarkKind>, then: Then, out: &mut Vec<Output>) {
        self.report_unit(Unit::of(event, mark), then, out);
    }

    /// The same for several events in one unit.
    pub(super) fn report_unit(&mut self, unit: Unit, then: Then, out: &mut Vec<Output>) {
        let recording = Recording { unit, then, patient: true };
        if self.removed_at.is_some() || self.owes(recording.event().name()) {
            return;
        }
        // The end of a program never passes its start; beyond that the registry alone may have room.
        let ends = matches!(recording.event(), Event::Exited { .. });
        let waits = ends && (self.owes("started") || self.owes("kill"));
        if waits || !matches!(self.busy, Busy::Free) {
            self.owed.push_back(recording);
        } else {
            self.append(recording, out);
        }
    }

    /// Whether a transition of this name waits for room.
    pub(super) fn owes(&self, event: &str) -> bool {
        self.owed.iter().any(|owed| owed.unit.has(event))
    }

    /// Appends the next transition that had no room, once there is some. Whether there was one.
    pub(super) fn pay(&mut self, out: &mut Vec<Output>) -> bool {
        while self.room
            && let Some(owed) = self.owed.pop_front()
        {
            if self.still_due(&owed) {
                self.append(owed, out);
                return true;
            }
        }
        false
    }

    /// Whether something that had no room is to be recorded still, after what was recorded meanwhile.
    fn still_due(&self, owed: &Recording) -> bool {
        let facts = &self.facts;
        self.removed_at.is_none()
            && legal(facts.state(), &owed.unit)
            && match owed.event() {
                Event::Start { .. } if owed.unit.has("created") => true,
                Event::Start { .. } => self.holder == Holder::Adopted && !facts.start_recorded,
                Event::Kill { .. } => facts.kill.is_none(),
                Event::OwnerChanged { owner_epoch, .. } => {
                    facts.state() < State::Exited && *owner_epoch > facts.record().owner_epoch
                }
                _ => true,
            }
    }

    fn append(&mut self, recording: Recording, out: &mut Vec<Output>) {
        assert!(matches!(self.busy, Busy::Free), "one transition at a time");
        assert!(legal(self.facts.state(), &recording.unit), "{:?} in {:?}", recording.unit, self.facts.state());
        out.push(Output::Append(recording.unit.clone()));
        self.busy = Busy::Recording(recording);
    }

    fn take_recording(&mut self) -> Option<Recording> {
        match std::mem::replace(&mut self.busy, Busy::Free) {
            Busy::Recording(recording) => Some(recording),
            other => {
                self.busy = other;
                None
            }
        }
    }

    pub(super) fn written(&mut self, now: Now, number: EventNumber, at: u64, out: &mut Vec<Output>) {
        let Some(recording) = self.take_recording() else { return };
        let before = self.facts.record().incarnation;
        let mut last = number;
        for (index, (event, _)) in recording.unit.iter().enumerate() {
            last = EventNumber(number.0 + index as u64);
            self.facts.apply(last, at, event);
        }
        match recording.event() {
            Event::Removed { .. } => self.removed_at = Some(at),
            Event::Restoring { .. } => return self.restoring(now, last, before, recording, out),
            _ => {}
        }
        self.after(now, last, recording, out);
    }

    /// Nothing was recorded. Who asked is told; what has happened is recorded when there is room.
    pub(super) fn refused(&mut self, now: Now, refusal: Refusal, out: &mut Vec<Output>) {
        let Some(mut recording) = self.take_recording() else { return };
        self.room = false;
        let error = match refusal {
            Refusal::Full => WireError::journal_full(),
            Refusal::Failed => WireError::journal_failed(),
        };
        match (recording.event(), &recording.then) {
            (Event::Created(_), _) if !recording.patient => return self.forget(&error, out),
            // The program is ended all the same.
            (Event::Kill { t0_boot_ms, grace_ms, signal, .. }, _) => {
                let kill = KillFacts { t0_boot_ms: *t0_boot_ms, grace_ms: *grace_ms, signal: *signal };
                answer(recording.then.asker(), error.with("signalled", true), out);
                recording.then = Then::Nothing;
                self.owed.push_front(recording);
                return self.kill_begins(now, kill, out);
            }
            (Event::Resized { .. }, Then::Again(input)) if refusal == Refusal::Full => {
                if let Some(input) = without_size(input) {
                    self.again = Some(Box::new(input));
                    return;
                }
            }
            (Event::Finalized { .. } | Event::Restoring { .. }, _) => {
                self.deferred.extend(std::mem::take(&mut self.leaving));
            }
            _ => {}
        }
        if recording.patient {
            let then = std::mem::replace(&mut recording.then, Then::Nothing);
            match then {
                Then::Killed(asker) => answer(asker, error.with("signalled", true), out),
                Then::GoOn => self.go_on(now, out),
                then => recording.then = then,
            }
            return self.owed.push_front(recording);
        }
        match &recording.then {
            Then::Again(input) => match &**input {
                Input::Request { asker: None, client, .. } => out.push(Output::Complain(client.clone(), error)),
                _ => answer(recording.then.asker(), error, out),
            },
            then => answer(then.asker(), error, out),
        }
    }

    /// The session was not recorded: it never was, also for those who found it already.
    fn forget(&mut self, error: &WireError, out: &mut Vec<Output>) {
        answer(self.creator.take(), error.clone(), out);
        self.start_by = None;
        let unknown = WireError::not_found(&self.facts.id().to_string());
        for input in std::mem::take(&mut self.deferred) {
            answer(Then::Again(Box::new(input)).asker(), unknown.clone(), out);
        }
        out.push(Output::Forget);
    }

    pub(super) fn space(&mut self, now: Now) {
        if !self.room {
            self.room = true;
            // Only time in which output can be taken counts.
            self.drain_by = self.drain_by.map(|_| now.boot_ms + self.limits.drain_ms_max);
        }
    }

    pub(super) fn durable(&mut self, number: EventNumber, out: &mut Vec<Output>) {
        for (at, due) in std::mem::take(&mut self.when_durable) {
            match due {
                due if at > number => self.when_durable.push((at, due)),
                Due::Collect if self.holder == Holder::Adopted => {
                    self.to_holder(Frame::Collect(self.facts.record().end_offset), out);
                }
                Due::Collect => out.push(Output::RemoveFiles(self.facts.record().incarnation)),
                Due::Relaunch(lost) => self.relaunch(lost, out),
                Due::DropLog(asker) => {
                    self.to_holder(Frame::Hangup, out);
                    out.push(Output::DropLog(asker));
                }
            }
        }
    }

    pub(super) fn then(&mut self, now: Now, then: Then, out: &mut Vec<Output>) {
        match then {
            Then::Nothing | Then::Left | Then::Removed(_) => {}
            Then::Recovered(asker) => self.creator = Some(asker),
            Then::Again(input) => self.again = Some(input),
            Then::Killed(asker) => reply(asker, self.kill_reply(false), out),
            Then::Released(asker) => reply(asker, Reply::Released(self.facts.record().owner_epoch), out),
            Then::Renamed(asker) => reply(asker, Reply::Renamed, out),
            Then::Refuse(error) => self.refuse_creator(error, out),
            Then::GoOn => self.go_on(now, out),
        }
    }
}

/// Who waits for what becomes of an input.
pub(super) fn asker_of(input: &Input) -> Option<Asker> {
    match *input {
        Input::Request { asker, .. } => asker,
        Input::Attach(asker, _) => Some(asker),
        _ => None,
    }
}

/// Answers with an error, if somebody waits.
pub(super) fn answer(asker: Option<Asker>, error: WireError, out: &mut Vec<Output>) {
    reply(asker, Reply::Error(error), out);
}

/// Answers, if somebody waits.
pub(super) fn reply(asker: Option<Asker>, reply: Reply, out: &mut Vec<Output>) {
    if let Some(asker) = asker {
        out.push(Output::Answer(asker, reply));
    }
}

/// The same operation, which goes on with the size as it is; `None` if it is about nothing else.
fn without_size(input: &Input) -> Option<Input> {
    match input.clone() {
        Input::Attach(asker, attach) => Some(Input::Attach(asker, Attach { size: None, ..attach })),
        Input::Request { asker, client, owner_epoch, op: Op::Takeover(_) } => {
            Some(Input::Request { asker, client, owner_epoch, op: Op::Takeover(None) })
        }
        _ => None,
    }
}

/// Which events may follow in which state: the table of the life cycle, asserted at each append.
fn legal(mut state: State, unit: &Unit) -> bool {
    unit.iter().all(|(event, _)| {
        let legal = is_legal(state, event);
        state = match event {
            Event::Finalized { .. } => State::Finalized,
            Event::Restoring { .. } => State::Starting,
            _ => state,
        };
        legal
    })
}

fn is_legal(state: State, event: &Event) -> bool {
    match event {
        Event::Boot { .. } => false,
        Event::Renamed { .. } => true,
        Event::Created(_) | Event::Start { .. } | Event::Started { .. } => state == State::Starting,
        Event::Kill { .. } => matches!(state, State::Starting | State::Running),
        Event::Exited { .. } => matches!(state, State::Starting | State::Running | State::Terminating),
        Event::Finalized { .. } => state == State::Exited,
        Event::OwnerChanged { .. } | Event::Recovered { .. } => state != State::Finalized,
        Event::Resized { .. } => matches!(state, State::Starting | State::Running),
        Event::Restoring { .. } => state == State::Finalized,
        Event::Removed { .. } => matches!(state, State::Exited | State::Finalized),
    }
}
