//! The session itself: what it knows, the one transition under way, and who waits for it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use super::io::{Asker, Frame, Input, Limits, Now, Output, Size, StreamId};
use super::kill::KillRun;
use super::owner::Confirmed;
use super::restore::Restore;
use super::transition::{Due, Recording, Then, answer};
use super::window::{Accepted, Window};
use crate::ids::{ByteOffset, ClientId, EventNumber, InputOffset, OwnerEpoch};
use crate::protocol::{Mode, WireError};
use crate::record::State;
use crate::store::{Event, Facts};

/// The rules of one session. One task owns it, and carries out what it asks for.
#[derive(Debug)]
pub struct Session {
    pub(super) facts: Facts,
    pub(super) limits: Limits,
    pub(super) busy: Busy,
    /// Inputs that came while a transition was under way. Bounded by what connections may leave unanswered.
    pub(super) deferred: VecDeque<Input>,
    /// An operation whose transition was just recorded: it is looked at again before anything else.
    pub(super) again: Option<Box<Input>>,
    /// Transitions of what has happened that wait for their turn or for room, in the order in which they are due.
    pub(super) owed: VecDeque<Recording>,
    /// Whether the store has room, as far as it was tried.
    pub(super) room: bool,
    /// What follows from a transition once it is durable.
    pub(super) when_durable: Vec<(EventNumber, Due)>,
    pub(super) holder: Holder,
    pub(super) launches: u8,
    /// Who asked for this session and waits for the program to start.
    pub(super) creator: Option<Asker>,
    /// The program must have started by then.
    pub(super) start_by: Option<u64>,
    /// Attaches that wait for the program, and until when.
    pub(super) waiting: Vec<(u64, Input)>,
    /// Removes that wait for the end of the session.
    pub(super) leaving: Vec<Input>,
    /// When it was removed, wall clock in milliseconds.
    pub(super) removed_at: Option<u64>,
    pub(super) streams: BTreeMap<StreamId, Viewer>,
    /// When ownership lapses, while the owner has no connection.
    pub(super) grace_until: Option<u64>,
    /// The owner has no connection.
    pub(super) owner_away: bool,
    pub(super) window: Window,
    /// The owner epoch that the holder knew when it was adopted; one that the registry lost is not used again.
    pub(super) epoch_known: OwnerEpoch,
    /// The last owner epoch before this one in which input was written, and how much.
    pub(super) former: Option<(OwnerEpoch, InputOffset)>,
    /// The newest owner epoch that a stream has had, or may have had under a daemon before this one.
    pub(super) had_epoch: OwnerEpoch,
    /// A size that came too soon after the last one, and when it is due.
    pub(super) resize_due: Option<(u64, ClientId, Size)>,
    pub(super) resized_at: Option<u64>,
    /// Width and height of the terminal in pixels; not journalled.
    pub(super) pixels: (u16, u16),
    pub(super) kill: Option<KillRun>,
    /// The program's wait status, once its holder told it.
    pub(super) ended: Option<u32>,
    /// How far output is journalled, and whether that is all.
    pub(super) drained: (ByteOffset, bool),
    /// Output is taken until then.
    pub(super) drain_by: Option<u64>,
    /// The rest of the output was given up then.
    pub(super) cut_off: bool,
    /// A restore that is being prepared.
    pub(super) restore: Option<Restore>,
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
    /// It was there before its session's record.
    Found,
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

impl Session {
    /// A session as the registry tells it: one that was just accepted, or one that a daemon before this one left.
    pub fn new(facts: Facts, limits: Limits) -> Self {
        let window = Window::new(facts.record().owner_epoch, InputOffset(0));
        let head = facts.record().end_offset;
        let pixels = facts.created.pixels;
        let had_epoch = facts.record().owner_epoch;
        Self {
            facts,
            limits,
            busy: Busy::Free,
            deferred: VecDeque::new(),
            again: None,
            owed: VecDeque::new(),
            room: true,
            when_durable: Vec::new(),
            holder: Holder::None,
            launches: 0,
            creator: None,
            start_by: None,
            waiting: Vec::new(),
            leaving: Vec::new(),
            removed_at: None,
            streams: BTreeMap::new(),
            grace_until: None,
            owner_away: false,
            window,
            epoch_known: OwnerEpoch(0),
            former: None,
            had_epoch,
            resize_due: None,
            resized_at: None,
            pixels,
            kill: None,
            ended: None,
            drained: (head, false),
            drain_by: None,
            cut_off: false,
            restore: None,
        }
    }

    /// What the registry tells of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// When it was removed, wall clock in ms; its log goes once that is durable.
    pub fn removed_at(&self) -> Option<u64> {
        self.removed_at
    }

    /// Whether its program has ended and nothing of it is left to be done.
    pub fn is_over(&self) -> bool {
        self.facts.state() == State::Finalized && self.when_durable.is_empty() && self.holder == Holder::None
    }

    /// Whether output of its holder still belongs to it: not once it is over, or was given up before its program started.
    pub fn takes_output(&self) -> bool {
        match self.facts.state() {
            State::Starting | State::Running | State::Terminating => true,
            State::Exited => self.facts.record().started_at.is_some(),
            State::Finalized => false,
        }
    }

    /// Whether its end is being recorded: nothing is added to its output any more.
    pub fn is_finalizing(&self) -> bool {
        let recording = matches!(&self.busy, Busy::Recording(recording) if recording.unit.has("finalized"));
        recording || self.owes("finalized")
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

    /// The stream that types from the change of owner on that is under way; without one, the stream that types.
    pub fn next_owner_stream(&self) -> Option<StreamId> {
        let (coming, then) = match &self.busy {
            Busy::Recording(recording) => match recording.owner_changed() {
                Some(Event::OwnerChanged { owner, .. }) => (owner.as_ref(), &recording.then),
                _ => return self.owner_stream(),
            },
            Busy::Handing { then, .. } => (self.facts.record().owner.as_ref(), then),
            Busy::Free => return self.owner_stream(),
        };
        // An epoch that begins with an attach is that of its stream.
        if then.is_of_attach() {
            return None;
        }
        let theirs = |(_, viewer): &(&StreamId, &Viewer)| Some(&viewer.client) == coming;
        let types = |(_, viewer): &(&StreamId, &Viewer)| viewer.mode == Mode::Owner;
        let mut streams = self.streams.iter().filter(theirs);
        let typing = streams.clone().find(types);
        typing.or(streams.next_back()).map(|(id, _)| *id)
    }

    /// What a stream may do in the owner epoch that its session's facts tell.
    pub fn mode_in_epoch(&self, stream: StreamId) -> Mode {
        // While the holder is told of an owner, that owner's epoch is on record already.
        let types = if self.is_handing_over() { self.next_owner_stream() } else { self.owner_stream() };
        if types == Some(stream) { Mode::Owner } else { Mode::Observer }
    }

    /// The owner epoch from the change of owner on that is under way; without one, the present one.
    fn next_owner_epoch(&self) -> OwnerEpoch {
        let recorded = match &self.busy {
            Busy::Recording(recording) => recording.owner_changed(),
            _ => None,
        };
        match recorded {
            Some(Event::OwnerChanged { owner_epoch, .. }) => *owner_epoch,
            _ => self.facts.record().owner_epoch,
        }
    }

    /// Whether an owner's terminal is attached, or may be from the next byte on: it answers the program's queries then.
    pub fn terminal_answers(&self) -> bool {
        self.owner_stream().is_some() || self.next_owner_stream().is_some()
    }

    /// Whether the holder is being told of a new owner: its count of input is nobody's then.
    pub fn is_handing_over(&self) -> bool {
        matches!(self.busy, Busy::Handing { .. })
    }

    /// Takes an input in; what follows is pushed to `out`, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Written(number, at) => self.written(now, number, at, out),
            Input::Refused(refusal) => self.refused(now, refusal, out),
            Input::Space => self.space(now),
            Input::Durable(number) => self.durable(number, out),
            Input::Timeout => self.timeout(now, out),
            Input::Found(processes) => self.found(now, &processes, out),
            Input::StreamGone(stream) => self.stream_gone(stream, out),
            Input::Holder(answer) if matches!(self.busy, Busy::Handing { .. }) => self.handing(now, answer, out),
            input => self.deferred.push_back(input),
        }
        while matches!(self.busy, Busy::Free) {
            if let Some(again) = self.again.take() {
                self.step(now, *again, out);
            } else if !self.pay(out) {
                let Some(next) = self.deferred.pop_front() else { break };
                self.step(now, next, out);
            }
        }
    }

    /// When [`Input::Timeout`] is due next, in CLOCK_BOOTTIME milliseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        let kill = self.kill_due_at();
        match self.busy {
            // A kill goes on, whatever else is under way.
            Busy::Handing { until, .. } => return [Some(until), kill].into_iter().flatten().min(),
            Busy::Recording(_) => return kill,
            Busy::Free => {}
        }
        let waiting = self.waiting.iter().map(|(until, _)| *until).min();
        let resize = self.resize_due.as_ref().map(|(at, ..)| *at);
        // Without room nobody loses a session, and no output is given up.
        let [grace, drain] = [self.grace_until, self.drain_by].map(|due| due.filter(|_| self.room));
        [self.start_by, grace, drain, waiting, resize, kill].into_iter().flatten().min()
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
        self.accept(epoch, offset, len, applied).map(Some)
    }

    /// The same for a write that [`Output::Write`] has asked for: in which epoch, where it begins, and from which of its
    /// bytes on it is passed to the holder.
    pub fn write(
        &mut self,
        offset: Option<InputOffset>,
        len: usize,
        applied: InputOffset,
    ) -> Result<(OwnerEpoch, InputOffset, usize), WireError> {
        let (epoch, end) = self.input_end();
        let offset = offset.unwrap_or(end);
        self.accept(epoch, offset, len, applied).map(|known| (epoch, offset, known))
    }

    fn accept(
        &mut self,
        epoch: OwnerEpoch,
        offset: InputOffset,
        len: usize,
        applied: InputOffset,
    ) -> Result<usize, WireError> {
        match self.window.accept(epoch, offset, len, applied) {
            Accepted::From(known) => Ok(known),
            Accepted::Gap(end) => Err(WireError::input_gap(end)),
            Accepted::Full => Err(WireError::input_queue_full(offset)),
            Accepted::Stale => Err(self.role_forbidden()),
        }
    }

    /// How much of a former epoch's input was applied, finally; `None` where nobody can tell any more.
    pub fn final_count(&self, epoch: OwnerEpoch) -> Option<InputOffset> {
        let (written, applied) = self.former?;
        match written.cmp(&epoch) {
            Ordering::Less => Some(InputOffset(0)),
            Ordering::Equal => Some(applied),
            Ordering::Greater => None,
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
            Input::LogCreated => self.log_created(now, out),
            Input::Holder(event) => self.holder_event(now, &event, out),
            Input::Drained { head, end } => self.output_taken(now, head, end, out),
            Input::OutOfReach => self.out_of_reach(now, out),
            Input::Recovered(outcome, code) => self.recovered(now, outcome, code, out),
            Input::Expired(cause) => self.expire(cause, out),
            Input::RestorePrepared(prepared) => self.restore_prepared(prepared, out),
            // Handled before they could be deferred.
            Input::Written(..)
            | Input::Durable(_)
            | Input::Refused(_)
            | Input::Space
            | Input::Timeout
            | Input::Found(_)
            | Input::StreamGone(_) => {}
        }
    }

    /// A stream has ended: it is forgotten, and its attach, if that is under way.
    fn stream_gone(&mut self, stream: StreamId, out: &mut Vec<Output>) {
        // The mark may have told it already that it types from there on.
        if self.next_owner_stream() == Some(stream) {
            self.had_epoch = self.next_owner_epoch();
        }
        self.streams.remove(&stream);
        let mut gone = |input: &Input| match input {
            Input::Attach(asker, attach) if attach.stream == stream => {
                answer(Some(*asker), WireError::detached(), out);
                true
            }
            _ => false,
        };
        self.waiting.retain(|(_, input)| !gone(input));
        self.deferred.retain(|input| !gone(input));
        if let Busy::Recording(Recording { then, .. }) | Busy::Handing { then, .. } = &mut self.busy
            && let Then::Again(input) = then
            && gone(input)
        {
            *then = Then::Left;
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
        self.kill_due(now, out);
        match self.busy {
            // What waited for it comes before every other timer: it may be what that timer waits for.
            Busy::Handing { until, .. } if due(Some(until)) => return self.handed(now, &Confirmed::No, out),
            Busy::Handing { .. } | Busy::Recording(_) => return,
            Busy::Free => {}
        }
        self.give_up_waiting(now, out);
        if matches!(self.busy, Busy::Free) && due(self.start_by) {
            self.start_overdue(out);
        }
        if matches!(self.busy, Busy::Free) && self.room && due(self.drain_by) {
            self.drain_overdue(now, out);
        }
        if matches!(self.busy, Busy::Free) && self.room && due(self.grace_until) {
            self.lapse(out);
        }
        if matches!(self.busy, Busy::Free) && due(self.resize_due.as_ref().map(|(at, ..)| *at)) {
            self.resize_now();
        }
    }
}
