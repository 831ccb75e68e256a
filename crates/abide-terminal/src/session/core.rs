//! The session itself: what it knows, the one transition under way, and who waits for it.

use std::collections::{BTreeMap, VecDeque};

use super::io::{Asker, Frame, Input, Limits, Now, Output, Refusal, Reply, Size, StreamId};
use super::kill::KillRun;
use super::owner::Confirmed;
use super::window::{Accepted, Window};
use crate::ids::{ByteOffset, ClientId, EventNumber, InputOffset, OwnerEpoch};
use crate::protocol::{Mode, WireError};
use crate::record::State;
use crate::store::{Event, Facts, MarkKind};

/// The rules of one session. One task owns it, and carries out what it asks for.
#[derive(Debug)]
pub struct Session {
    pub(super) facts: Facts,
    pub(super) limits: Limits,
    pub(super) busy: Busy,
    /// Inputs that came while a transition was under way. Bounded by what connections may leave unanswered.
    deferred: VecDeque<Input>,
    /// What follows from a transition once it is durable.
    pub(super) when_durable: Vec<(EventNumber, Output)>,
    pub(super) holder: Holder,
    pub(super) launches: u8,
    /// Who asked for this session and waits for the program to start.
    pub(super) creator: Option<Asker>,
    /// The program must have started by then.
    pub(super) start_by: Option<u64>,
    /// Attaches that wait for the program, and until when.
    pub(super) waiting: Vec<(u64, Input)>,
    pub(super) streams: BTreeMap<StreamId, Viewer>,
    /// When ownership lapses, while the owner has no connection.
    pub(super) grace_until: Option<u64>,
    pub(super) window: Window,
    /// The last owner epoch before this one in which input was written, and how much.
    pub(super) former: Option<(OwnerEpoch, InputOffset)>,
    /// A size that came too soon after the last one, and when it is due.
    pub(super) resize_due: Option<(u64, ClientId, Size)>,
    pub(super) resized_at: Option<u64>,
    pub(super) kill: Option<KillRun>,
    /// The program's wait status, once its holder told it.
    pub(super) ended: Option<u32>,
    /// How far output is journalled, and whether that is all.
    pub(super) drained: (ByteOffset, bool),
    /// Output is taken until then.
    pub(super) drain_by: Option<u64>,
}

/// A stream of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Viewer {
    pub(super) client: ClientId,
    pub(super) mode: Mode,
}

/// The session's holder, as far as this daemon has come with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    None,
    Launching,
    Adopted,
}

/// What keeps every other input waiting.
#[derive(Debug)]
pub(super) enum Busy {
    Free,
    /// A transition is being appended.
    Recording(Recording),
    /// The holder is being told of a new owner.
    Handing {
        until: u64,
        former: Option<ClientId>,
        then: Then,
    },
}

#[derive(Debug)]
pub(super) struct Recording {
    pub(super) event: Event,
    pub(super) mark: Option<MarkKind>,
    pub(super) then: Then,
    /// What happened already cannot be refused: it waits for room.
    pub(super) patient: bool,
}

/// What is done after a transition, beside its effects.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    /// The operation that asked for it is looked at again: it may need another one, or be done.
    Again(Box<Input>),
    /// A kill, or a remove, is answered.
    Answer(Option<Asker>),
}

impl Session {
    /// A session as the registry tells it: one that was just accepted, or one that a daemon before this one left.
    pub fn new(facts: Facts, limits: Limits) -> Self {
        let window = Window::new(facts.record().owner_epoch, InputOffset(0));
        let head = facts.record().end_offset;
        Self {
            facts,
            limits,
            busy: Busy::Free,
            deferred: VecDeque::new(),
            when_durable: Vec::new(),
            holder: Holder::None,
            launches: 0,
            creator: None,
            start_by: None,
            waiting: Vec::new(),
            streams: BTreeMap::new(),
            grace_until: None,
            window,
            former: None,
            resize_due: None,
            resized_at: None,
            kill: None,
            ended: None,
            drained: (head, false),
            drain_by: None,
        }
    }

    /// What the registry tells of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How many streams observe it.
    pub fn observers(&self) -> usize {
        self.streams.values().filter(|viewer| viewer.mode == Mode::Observer).count()
    }

    /// What a stream may do at present; `None` if it is not of this session.
    pub fn mode(&self, stream: StreamId) -> Option<Mode> {
        self.streams.get(&stream).map(|viewer| viewer.mode)
    }

    /// The stream that may type.
    pub fn owner_stream(&self) -> Option<StreamId> {
        self.streams.iter().find(|(_, viewer)| viewer.mode == Mode::Owner).map(|(id, _)| *id)
    }

    /// Whether an owner's terminal is attached, or may be from the next byte on: it answers the program's queries then.
    pub fn terminal_answers(&self) -> bool {
        let coming = match &self.busy {
            Busy::Recording(Recording { event: Event::OwnerChanged { owner, .. }, .. }) => owner.as_ref(),
            Busy::Handing { .. } => self.facts.record().owner.as_ref(),
            _ => None,
        };
        self.owner_stream().is_some()
            || coming.is_some_and(|owner| self.streams.values().any(|viewer| viewer.client == *owner))
    }

    /// Whether the holder is being told of a new owner: its count of input is nobody's then.
    pub fn is_handing_over(&self) -> bool {
        matches!(self.busy, Busy::Handing { .. })
    }

    /// Takes an input in; what follows is pushed to `out`, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Written(number, at) => self.written(now, number, at, out),
            Input::Refused(refusal) => self.refused(refusal, out),
            Input::Space => self.space(out),
            Input::Durable(number) => self.durable(number, out),
            Input::Timeout => self.timeout(now, out),
            Input::StreamGone(stream) => {
                self.streams.remove(&stream);
                self.waiting.retain(|(_, input)| !matches!(input, Input::Attach(_, attach) if attach.stream == stream));
                self.deferred.retain(|input| !matches!(input, Input::Attach(_, attach) if attach.stream == stream));
            }
            Input::Holder(answer) if matches!(self.busy, Busy::Handing { .. }) => self.handing(answer, out),
            input => self.deferred.push_back(input),
        }
        while matches!(self.busy, Busy::Free) {
            let Some(next) = self.deferred.pop_front() else { break };
            self.step(now, next, out);
        }
    }

    /// When [`Input::Timeout`] is due next, in CLOCK_BOOTTIME milliseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.busy {
            Busy::Handing { until, .. } => return Some(until),
            Busy::Recording(_) => return None,
            Busy::Free => {}
        }
        let waiting = self.waiting.iter().map(|(until, _)| *until).min();
        let resize = self.resize_due.as_ref().map(|(at, ..)| *at);
        let kill = self.kill.as_ref().and_then(KillRun::due);
        [self.start_by, self.grace_until, self.drain_by, waiting, resize, kill].into_iter().flatten().min()
    }

    /// Whether a frame of input may be passed to the holder, and from which of its bytes on. `applied` is what the
    /// holder's header says at this moment. `None`: an owner is being handed in, the frame waits.
    pub fn input(
        &mut self,
        stream: StreamId,
        epoch: OwnerEpoch,
        offset: InputOffset,
        len: usize,
        applied: InputOffset,
    ) -> Result<Option<usize>, WireError> {
        self.may_write(stream, epoch)?;
        if matches!(self.busy, Busy::Handing { .. }) || self.window.epoch() != epoch {
            return Ok(None);
        }
        match self.window.accept(epoch, offset, len, applied) {
            Accepted::From(known) => Ok(Some(known)),
            Accepted::Gap(end) => Err(WireError::input_gap(end)),
            Accepted::Full => Err(WireError::input_queue_full(offset)),
            Accepted::Stale => Err(self.role_forbidden()),
        }
    }

    /// The offset after the last byte of input accepted in this epoch, and the epoch.
    pub fn input_end(&self) -> (OwnerEpoch, InputOffset) {
        (self.window.epoch(), self.window.end())
    }

    fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Request { asker, client, owner_epoch, op } => {
                self.request(now, asker, &client, owner_epoch, op, out);
            }
            Input::Attach(asker, attach) => self.attach(now, asker, attach, out),
            Input::ClientHere(client) => self.client_here(&client),
            Input::ClientGone(client) => self.client_gone(now, &client),
            Input::Terminate { grace_ms } => self.kill_by(now, None, None, (grace_ms, false, None), out),
            Input::LogCreated => self.log_created(out),
            Input::Holder(event) => self.holder_event(now, &event, out),
            Input::Drained { head, end } => self.output_taken(head, end, out),
            Input::Found(processes) => self.found(now, processes, out),
            Input::Recovered(outcome, code) => self.recovered(outcome, code, out),
            // Handled before they could be deferred.
            Input::Written(..)
            | Input::Durable(_)
            | Input::Refused(_)
            | Input::Space
            | Input::Timeout
            | Input::StreamGone(_) => {}
        }
    }

    /// Appends a transition of something that may be refused.
    pub(super) fn propose(&mut self, event: Event, mark: Option<MarkKind>, then: Then, out: &mut Vec<Output>) {
        self.append(Recording { event, mark, then, patient: false }, out);
    }

    /// Appends a transition of something that has happened: it waits for room.
    pub(super) fn report(&mut self, event: Event, mark: Option<MarkKind>, out: &mut Vec<Output>) {
        self.append(Recording { event, mark, then: Then::Nothing, patient: true }, out);
    }

    fn append(&mut self, recording: Recording, out: &mut Vec<Output>) {
        assert!(matches!(self.busy, Busy::Free), "one transition at a time");
        assert!(legal(self.facts.state(), &recording.event), "{:?} in {:?}", recording.event, self.facts.state());
        out.push(Output::Append(recording.event.clone(), recording.mark.clone()));
        self.busy = Busy::Recording(recording);
    }

    fn written(&mut self, now: Now, number: EventNumber, at: u64, out: &mut Vec<Output>) {
        let Busy::Recording(recording) = std::mem::replace(&mut self.busy, Busy::Free) else {
            return;
        };
        self.facts.apply(number, at, &recording.event);
        self.after(now, number, recording, out);
    }

    fn refused(&mut self, refusal: Refusal, out: &mut Vec<Output>) {
        if matches!(&self.busy, Busy::Recording(recording) if recording.patient) {
            return;
        }
        let Busy::Recording(recording) = std::mem::replace(&mut self.busy, Busy::Free) else {
            return;
        };
        let error = match refusal {
            Refusal::Full => WireError::journal_full(),
            Refusal::Failed => WireError::journal_failed(),
        };
        let asker = match recording.then {
            Then::Nothing => self.creator.take(),
            Then::Answer(asker) => asker,
            Then::Again(input) => match *input {
                Input::Request { asker, .. } => asker,
                Input::Attach(asker, _) => Some(asker),
                _ => None,
            },
        };
        if let Some(asker) = asker {
            out.push(Output::Answer(asker, Reply::Error(error)));
        }
    }

    fn space(&mut self, out: &mut Vec<Output>) {
        if let Busy::Recording(recording) = &self.busy
            && recording.patient
        {
            out.push(Output::Append(recording.event.clone(), recording.mark.clone()));
        }
    }

    fn durable(&mut self, number: EventNumber, out: &mut Vec<Output>) {
        self.when_durable.retain(|(due, output)| {
            let keep = *due > number;
            if !keep {
                out.push(output.clone());
            }
            keep
        });
    }

    pub(super) fn then(&mut self, then: Then) {
        if let Then::Again(input) = then {
            self.deferred.push_front(*input);
        }
    }

    pub(super) fn defer(&mut self, input: Input) {
        self.deferred.push_back(input);
    }

    pub(super) fn to_holder(&self, frame: Frame, out: &mut Vec<Output>) {
        if self.holder == Holder::Adopted {
            out.push(Output::ToHolder(frame));
        }
    }

    fn timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now.boot_ms);
        if let Busy::Handing { until, .. } = self.busy {
            if due(Some(until)) {
                self.handed(&Confirmed::No, out);
            }
            return;
        }
        self.give_up_waiting(now, out);
        if matches!(self.busy, Busy::Free) && due(self.start_by) {
            self.start_overdue(out);
        }
        if matches!(self.busy, Busy::Free) && due(self.drain_by) {
            self.drain_overdue(out);
        }
        if matches!(self.busy, Busy::Free) && due(self.grace_until) {
            self.lapse(out);
        }
        if matches!(self.busy, Busy::Free) && due(self.resize_due.as_ref().map(|(at, ..)| *at)) {
            self.resize_now(now, out);
        }
        if matches!(self.busy, Busy::Free) {
            self.kill_due(now, out);
        }
    }
}

/// Which events may follow in which state: the table of the life cycle, asserted at each append.
fn legal(state: State, event: &Event) -> bool {
    match event {
        Event::Boot { .. } => false,
        Event::Created(_) | Event::Start { .. } | Event::Started { .. } => state == State::Starting,
        Event::Kill { .. } => matches!(state, State::Starting | State::Running),
        Event::Exited { .. } => matches!(state, State::Starting | State::Running | State::Terminating),
        Event::Finalized { .. } => state == State::Exited,
        Event::OwnerChanged { .. } | Event::Recovered { .. } => state != State::Finalized,
        Event::Resized { .. } => matches!(state, State::Starting | State::Running),
        Event::Removed { .. } => matches!(state, State::Exited | State::Finalized),
    }
}
