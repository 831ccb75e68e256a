//! The core of a stream: output without gap or repetition, input exactly once, over any number of connections.

use abide_wire::{Code, RequestId, Retry};
use bytes::{Bytes, BytesMut};

use super::connection::{Change, Connection, Dial, Identity, Instant};
use super::input::Window;
use crate::ids::{ByteOffset, Incarnation, InputOffset, OwnerEpoch};
use crate::protocol::{
    Ack, Attach, Attached, BackpressureWarning, Detached, ErrorMessage, ExitTold, Frame, Hole, InputApplied, Lagged,
    Mode, OnLag, OwnershipChanged, Restored, Role, SessionRef, SizeChanged, StartAt, StreamMessage, StreamRequest,
    Time, WindowSize, WireError, input_frame,
};

/// Pause before a refused attach is repeated whose cause passes by itself.
const RETRY_MS: u64 = 100;
/// Refused attaches in a row after which a daemon is taken to be wrong rather than ahead of us.
const REFUSALS_MAX: u32 = 32;

/// What happens to a stream link.
#[derive(Debug)]
pub enum StreamInput {
    /// The dial led to a socket.
    Connected,
    /// The dial led nowhere.
    Unreachable,
    /// A frame came.
    Frame(Frame),
    /// The socket ended or failed, or what came over it was no frame.
    Closed,
    /// The window has this size now.
    Resize(WindowSize),
    /// Output below this was processed: for streams with `window_bytes`.
    Ack(ByteOffset),
    /// The next attach asks for a snapshot: what is on the screen cannot be trusted.
    Redraw,
    /// The caller wants to leave.
    Detach,
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What the shell carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamOutput {
    /// Connect.
    Dial(Dial),
    /// Write these bytes to the socket.
    Send(Bytes),
    /// Close the socket.
    Close,
    /// Something for the caller.
    Yield(StreamEvent),
    /// The stream is over; nothing follows.
    Ended(StreamEnd),
}

/// What a stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// It stands, for the first time or again. Boxed: it is rare and large.
    Attached(Box<Attached>),
    /// A piece of a snapshot: bytes that rebuild the screen.
    Snapshot {
        /// The piece.
        bytes: Bytes,
        /// Whether it is the last one; output follows from `Attached.offset`, or `Lagged.to`, on.
        is_last: bool,
    },
    /// Bytes of the program.
    Output {
        /// Offset of the first byte.
        offset: ByteOffset,
        /// At least one.
        bytes: Bytes,
    },
    /// The terminal's size changed.
    Resized(SizeChanged),
    /// Another owner, or none.
    OwnershipChanged(OwnershipChanged),
    /// Input of this stream reached the program's terminal.
    InputApplied(InputApplied),
    /// An epoch has ended with input that was accepted here and not applied, or of which nobody can tell.
    InputLost {
        /// The epoch.
        owner_epoch: OwnerEpoch,
        /// What is known to be applied; `None`: it cannot be told (`OUTCOME_UNKNOWN`).
        applied: Option<InputOffset>,
        /// End of what was accepted.
        accepted: InputOffset,
    },
    /// A new program begins here, in the place of one that was lost.
    Restored(Restored),
    /// Output that is missing in the journal.
    Hole(Hole),
    /// When what comes next was written; of streams that asked for it.
    Time(Time),
    /// The stream was too far behind: everything up to `to` is skipped, the pieces of a snapshot follow, then output from
    /// there. What the session is now stands in it too. Boxed: it is rare and large.
    Lagged(Box<Lagged>),
    /// The level of a queue on the way has changed.
    Backpressure(BackpressureWarning),
    /// Output that is not kept any more: the stream goes on at `to`, or with a snapshot.
    Skipped {
        /// Where the stream stood.
        from: ByteOffset,
        /// First byte that is kept.
        to: ByteOffset,
    },
    /// Output that was seen and does not stand: a power cut or a failed sync took it back.
    TakenBack {
        /// First byte that does not stand; the stream goes on there, or with a snapshot.
        from: ByteOffset,
        /// Where the stream stood.
        to: ByteOffset,
    },
    /// How the program ended; the stream ends next.
    Exited(ExitTold),
    /// A message or input of this stream was refused.
    Refused(WireError),
    /// The connection is lost; the stream is working on it.
    Away,
}

/// Why a stream is over.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEnd {
    /// As the caller or the session wanted: `DETACHED`, `END_REACHED`, `SESSION_EXITED`, `SESSION_GONE`, `REPLACED`; of one
    /// that asked for `disconnect`, `SLOW_SUBSCRIBER`.
    Finished(Code),
    /// A refusal that waiting does not mend.
    Failed(WireError),
}

/// Where a stream goes on when the place where it stood does not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenGone {
    /// With a picture of the screen: for terminals.
    Snapshot,
    /// At the nearest byte that stands: for recorders.
    Nearest,
}

/// What the link does next on its open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Attach when the connection is open and this time has come.
    Due(Instant),
    /// The attach is under way.
    Asked,
    /// The stream stands.
    Standing,
}

/// A stream that comes back, without its socket and its clock.
#[derive(Debug)]
pub struct StreamLink {
    connection: Connection,
    attach: Attach,
    when_gone: WhenGone,
    phase: Phase,
    /// Where output goes on; `None` until it is known.
    next: Option<ByteOffset>,
    log_epoch: Option<u64>,
    /// Bytes of the snapshot that have not come yet.
    snapshot_left: u64,
    incarnation: Incarnation,
    /// The newest owner epoch that is known: a stream that reads history is told of older ones.
    owner_epoch: OwnerEpoch,
    window_bytes: u64,
    input: Option<Window>,
    was_attached: bool,
    refusals: u32,
    leaving: bool,
    requests: u64,
}

impl StreamLink {
    /// A link that dials at once and attaches as `attach` says.
    pub fn new(identity: Identity, attach: Attach, when_gone: WhenGone, now: Instant) -> Self {
        Self {
            connection: Connection::new(identity, Role::Stream, now),
            attach,
            when_gone,
            phase: Phase::Due(now),
            next: None,
            log_epoch: None,
            snapshot_left: 0,
            incarnation: Incarnation(0),
            owner_epoch: OwnerEpoch(0),
            window_bytes: 0,
            input: None,
            was_attached: false,
            refusals: 0,
            leaving: false,
            requests: 0,
        }
    }

    /// When `Timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let attach = match self.phase {
            Phase::Due(at) if self.connection.is_open() => Some(at),
            _ => None,
        };
        attach.into_iter().chain(self.connection.poll_timeout()).min()
    }

    /// Since when the daemon is away; `None` while it is there.
    pub fn away_since(&self) -> Option<Instant> {
        self.connection.away_since()
    }

    /// What the stream may do, as far as is known.
    pub fn mode(&self) -> Mode {
        self.attach.mode
    }

    /// Offset of the next byte of output; `None` until it is known.
    pub fn offset(&self) -> Option<ByteOffset> {
        self.next
    }

    /// How many bytes of input can be accepted now: none for an observer, or before the stream first stands.
    pub fn input_room(&self) -> usize {
        if self.leaving { 0 } else { self.input.as_ref().map_or(0, Window::room) }
    }

    /// Whether every byte accepted so far has reached the program's terminal.
    pub fn is_input_applied(&self) -> bool {
        self.input.as_ref().is_none_or(Window::is_empty)
    }

    /// Accepts input, at most [`input_room`](Self::input_room) bytes, and tells how many.
    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<StreamOutput>) -> usize {
        let taken = if self.leaving { 0 } else { self.input.as_mut().map_or(0, |input| input.accept(bytes)) };
        self.send_input(out);
        taken
    }

    /// Takes one input; what follows from it is appended to `out`, in the order in which it must happen.
    pub fn handle(&mut self, now: Instant, input: StreamInput, out: &mut Vec<StreamOutput>) {
        if self.connection.is_ended() {
            return;
        }
        match input {
            StreamInput::Connected => out.push(StreamOutput::Send(self.connection.connected(now))),
            StreamInput::Unreachable => {
                let change = self.connection.unreachable(now);
                self.apply(now, change, out);
            }
            StreamInput::Frame(frame) => self.frame(now, frame, out),
            StreamInput::Closed => self.broken(now, out),
            StreamInput::Resize(size) => self.resize(size, out),
            StreamInput::Ack(offset) => {
                if self.phase == Phase::Standing {
                    send(&StreamRequest::Ack(Ack { offset }), out);
                }
            }
            StreamInput::Redraw => self.draw_anew(),
            StreamInput::Detach => self.detach(out),
            StreamInput::Timeout => self.timeout(now, out),
        }
    }

    fn timeout(&mut self, now: Instant, out: &mut Vec<StreamOutput>) {
        if let Some(dial) = self.connection.due(now) {
            out.push(StreamOutput::Dial(dial));
        } else if self.connection.is_silent(now) {
            self.broken(now, out);
        }
        self.attach_if_due(now, out);
    }

    fn resize(&mut self, size: WindowSize, out: &mut Vec<StreamOutput>) {
        let attach = &mut self.attach;
        (attach.cols, attach.rows, attach.xpixel, attach.ypixel) = (size.cols, size.rows, size.xpixel, size.ypixel);
        if self.phase == Phase::Standing && attach.mode == Mode::Owner {
            send(&StreamRequest::Resize(size), out);
        }
    }

    fn detach(&mut self, out: &mut Vec<StreamOutput>) {
        self.leaving = true;
        if self.phase == Phase::Standing {
            send(&StreamRequest::Detach, out);
        } else {
            self.finish(Code::Detached, out);
        }
    }

    fn attach_if_due(&mut self, now: Instant, out: &mut Vec<StreamOutput>) {
        match self.phase {
            Phase::Due(at) if at <= now && self.connection.is_open() => {
                self.phase = Phase::Asked;
                self.requests += 1;
                let owner_epoch = self.input.as_ref().map(|input| input.owner_epoch);
                let attach = Attach { from: self.begin(), owner_epoch, ..self.attach.clone() };
                send(&StreamRequest::Attach(RequestId::from_number(self.requests), attach), out);
            }
            _ => {}
        }
    }

    /// Where the next attach begins: where output goes on, once that is known.
    fn begin(&self) -> StartAt {
        match self.next {
            Some(offset) => StartAt::Offset { offset, epoch: self.log_epoch },
            None => self.attach.from,
        }
    }

    fn frame(&mut self, now: Instant, frame: Frame, out: &mut Vec<StreamOutput>) {
        match frame {
            Frame::Message(text) => match serde_json::from_slice(&text) {
                Ok(message) => self.message(now, message, out),
                Err(_) => self.broken(now, out),
            },
            Frame::Output { offset, bytes } => self.output(now, offset, bytes, out),
            Frame::Snapshot { bytes, .. } => self.snapshot(now, bytes, out),
            Frame::Input { .. } => self.broken(now, out),
        }
    }

    fn output(&mut self, now: Instant, offset: ByteOffset, mut bytes: Bytes, out: &mut Vec<StreamOutput>) {
        let standing = self.phase == Phase::Standing && self.snapshot_left == 0;
        let Some(next) = self.next.filter(|next| standing && *next >= offset) else { return self.broken(now, out) };
        // What was seen is cut off: a daemon that repeats costs nothing but its bytes.
        let known = usize::try_from(next.0 - offset.0).unwrap_or(usize::MAX);
        if known < bytes.len() {
            let fresh = bytes.split_off(known);
            self.next = Some(ByteOffset(next.0 + fresh.len() as u64));
            out.push(StreamOutput::Yield(StreamEvent::Output { offset: next, bytes: fresh }));
        }
    }

    fn snapshot(&mut self, now: Instant, bytes: Bytes, out: &mut Vec<StreamOutput>) {
        let len = bytes.len() as u64;
        if self.phase != Phase::Standing || len > self.snapshot_left {
            return self.broken(now, out);
        }
        self.snapshot_left -= len;
        out.push(StreamOutput::Yield(StreamEvent::Snapshot { bytes, is_last: self.snapshot_left == 0 }));
    }

    fn message(&mut self, now: Instant, message: StreamMessage, out: &mut Vec<StreamOutput>) {
        match message {
            StreamMessage::HelloOk(hello) => {
                let change = self.connection.greeted(hello);
                self.phase = Phase::Due(now);
                self.apply(now, change, out);
            }
            StreamMessage::Attached(attached) => self.attached(attached, out),
            StreamMessage::Error(message) => self.refused(now, message, out),
            StreamMessage::Resized(size) => out.push(StreamOutput::Yield(StreamEvent::Resized(size))),
            StreamMessage::OwnershipChanged(change) => self.owner_changed(change, out),
            StreamMessage::InputApplied(applied) => self.input_applied(applied, out),
            StreamMessage::Lagged(lagged) => self.lagged(now, lagged, out),
            StreamMessage::BackpressureWarning(warning) => {
                out.push(StreamOutput::Yield(StreamEvent::Backpressure(warning)));
            }
            StreamMessage::Restored(restored) => {
                self.incarnation = self.incarnation.max(restored.incarnation);
                out.push(StreamOutput::Yield(StreamEvent::Restored(restored)));
            }
            StreamMessage::Hole(hole) => {
                if let Some(next) = &mut self.next
                    && *next == hole.offset
                {
                    next.0 += hole.lost_bytes.unwrap_or(0);
                }
                out.push(StreamOutput::Yield(StreamEvent::Hole(hole)));
            }
            StreamMessage::Time(time) => out.push(StreamOutput::Yield(StreamEvent::Time(time))),
            StreamMessage::Exited(exit) => out.push(StreamOutput::Yield(StreamEvent::Exited(exit))),
            StreamMessage::Detached(detached) => self.detached(now, &detached, out),
        }
    }

    fn attached(&mut self, attached: Attached, out: &mut Vec<StreamOutput>) {
        self.phase = Phase::Standing;
        self.refusals = 0;
        self.was_attached = true;
        self.attach.session = SessionRef::Id(attached.session);
        self.attach.mode = attached.mode;
        self.log_epoch = Some(attached.epoch);
        self.next = Some(attached.offset);
        self.snapshot_left = attached.snapshot_bytes;
        self.incarnation = attached.incarnation;
        self.owner_epoch = attached.owner_epoch;
        self.window_bytes = attached.input_window;
        self.take_input_state(&attached, out);
        out.push(StreamOutput::Yield(StreamEvent::Attached(Box::new(attached))));
        self.send_input(out);
        if self.leaving {
            send(&StreamRequest::Detach, out);
        }
    }

    /// What the daemon knows of our input: go on in the same epoch, or settle the former one.
    fn take_input_state(&mut self, attached: &Attached, out: &mut Vec<StreamOutput>) {
        let is_owner = attached.mode == Mode::Owner;
        match &mut self.input {
            Some(input) if is_owner && input.owner_epoch == attached.owner_epoch => {
                input.applied_to(attached.input_applied);
                input.rewind(attached.input_applied);
            }
            _ => {
                let count =
                    |input: &Window| input.final_count(attached.incarnation, attached.owner_epoch, attached.former);
                let applied = self.input.as_ref().and_then(count);
                self.settle(applied, out);
                self.own(is_owner, attached.owner_epoch, attached.input_applied);
            }
        }
    }

    /// The present epoch of input has ended with this count.
    fn settle(&mut self, applied: Option<InputOffset>, out: &mut Vec<StreamOutput>) {
        let Some(mut input) = self.input.take() else { return };
        if let Some(applied) = applied {
            input.applied_to(applied);
        }
        if !input.is_empty() {
            let accepted = InputOffset(input.end());
            let lost = StreamEvent::InputLost { owner_epoch: input.owner_epoch, applied, accepted };
            out.push(StreamOutput::Yield(lost));
        }
    }

    fn own(&mut self, is_owner: bool, epoch: OwnerEpoch, applied: InputOffset) {
        self.input = is_owner.then(|| Window::new(epoch, self.incarnation, applied, self.window_bytes));
    }

    /// A part of the output is skipped, with the marks in it: what they told stands in the message.
    fn lagged(&mut self, now: Instant, lagged: Lagged, out: &mut Vec<StreamOutput>) {
        if self.phase != Phase::Standing || self.snapshot_left > 0 || self.next != Some(lagged.from) {
            return self.broken(now, out);
        }
        self.next = Some(lagged.to);
        self.snapshot_left = lagged.snapshot_bytes;
        // If the connection is lost before the picture is whole, another one is asked for.
        self.attach.from = StartAt::Snapshot;
        self.incarnation = self.incarnation.max(lagged.incarnation);
        self.own_from(lagged.owner_epoch, lagged.mode, out);
        out.push(StreamOutput::Yield(StreamEvent::Lagged(Box::new(lagged))));
    }

    /// From now on an epoch of ownership counts, if it is newer than the one that did.
    fn own_from(&mut self, owner_epoch: OwnerEpoch, mode: Mode, out: &mut Vec<StreamOutput>) {
        if owner_epoch > self.owner_epoch {
            self.owner_epoch = owner_epoch;
            self.attach.mode = mode;
            // The final count comes before this message; without it nobody can tell.
            self.settle(None, out);
            self.own(mode == Mode::Owner, owner_epoch, InputOffset(0));
        }
    }

    fn owner_changed(&mut self, mut change: OwnershipChanged, out: &mut Vec<StreamOutput>) {
        self.own_from(change.owner_epoch, change.mode, out);
        // What is past changes nothing of what this stream may do now.
        change.mode = self.attach.mode;
        out.push(StreamOutput::Yield(StreamEvent::OwnershipChanged(change)));
    }

    fn input_applied(&mut self, told: InputApplied, out: &mut Vec<StreamOutput>) {
        let Some(input) = self.input.as_mut().filter(|input| input.owner_epoch == told.owner_epoch) else { return };
        input.applied_to(told.input_offset);
        out.push(StreamOutput::Yield(StreamEvent::InputApplied(told)));
        if told.is_final {
            self.settle(Some(told.input_offset), out);
        } else {
            self.send_input(out);
        }
    }

    fn send_input(&mut self, out: &mut Vec<StreamOutput>) {
        if self.phase != Phase::Standing {
            return;
        }
        if let Some(input) = &mut self.input {
            let owner_epoch = input.owner_epoch;
            if let Some((offset, bytes)) = input.take_unsent() {
                let mut frame = BytesMut::with_capacity(bytes.len() + 32);
                input_frame(owner_epoch, offset, bytes, &mut frame);
                out.push(StreamOutput::Send(frame.freeze()));
            }
        }
    }

    fn refused(&mut self, now: Instant, message: ErrorMessage, out: &mut Vec<StreamOutput>) {
        if !self.connection.is_open() {
            let change = self.connection.refused(now, message);
            return self.apply(now, change, out);
        }
        if self.phase == Phase::Asked && message.id.is_some() {
            return self.attach_refused(now, message.error, out);
        }
        let error = message.error;
        match (error.code, error.number("input_offset"), &mut self.input) {
            // What begins there was not taken: it is sent again, at once or when there is room.
            (Code::InputGap, Some(offset), Some(input)) => {
                input.rewind(InputOffset(offset));
                self.send_input(out);
            }
            (Code::InputQueueFull, Some(offset), Some(input)) => input.rewind(InputOffset(offset)),
            _ => out.push(StreamOutput::Yield(StreamEvent::Refused(error))),
        }
    }

    fn attach_refused(&mut self, now: Instant, error: WireError, out: &mut Vec<StreamOutput>) {
        self.refusals += 1;
        if self.refusals > REFUSALS_MAX {
            return self.end(error, out);
        }
        let stood = self.next.or(match self.attach.from {
            StartAt::Offset { offset, .. } => Some(offset),
            StartAt::Snapshot | StartAt::Live => None,
        });
        match error.code {
            Code::OffsetTrimmed => {
                let to = ByteOffset(error.number("base_offset").unwrap_or(0));
                out.push(StreamOutput::Yield(StreamEvent::Skipped { from: stood.unwrap_or(to), to }));
                self.go_on(now, to, self.log_epoch, out);
            }
            Code::OffsetAhead => {
                let from = ByteOffset(error.number("resume_offset").unwrap_or(0));
                out.push(StreamOutput::Yield(StreamEvent::TakenBack { from, to: stood.unwrap_or(from) }));
                self.go_on(now, from, error.number("epoch"), out);
            }
            // While it was away another client took the session: it goes on as an observer.
            Code::SessionOwned if self.was_attached => {
                self.attach.mode = Mode::Observer;
                self.phase = Phase::Due(now);
                self.attach_if_due(now, out);
            }
            Code::SessionStarting | Code::HolderUnresponsive => self.attach_later(now),
            Code::DaemonStopping => {
                self.connection.stop_told(super::connection::is_restart(&error));
                self.broken(now, out);
            }
            _ if self.was_attached && error.retry == Retry::Retry => self.attach_later(now),
            _ => self.end(error, out),
        }
    }

    /// The place where the stream stood does not exist: go on elsewhere, or with a picture of the screen.
    fn go_on(&mut self, now: Instant, offset: ByteOffset, epoch: Option<u64>, out: &mut Vec<StreamOutput>) {
        self.log_epoch = epoch;
        self.move_to(offset);
        self.phase = Phase::Due(now);
        self.attach_if_due(now, out);
    }

    fn move_to(&mut self, offset: ByteOffset) {
        match self.when_gone {
            WhenGone::Nearest => self.next = Some(offset),
            WhenGone::Snapshot => self.draw_anew(),
        }
    }

    fn draw_anew(&mut self) {
        self.next = None;
        self.attach.from = StartAt::Snapshot;
    }

    fn attach_later(&mut self, now: Instant) {
        self.phase = Phase::Due(self.connection.pause(now, RETRY_MS));
    }

    fn detached(&mut self, now: Instant, detached: &Detached, out: &mut Vec<StreamOutput>) {
        match detached.code {
            Code::DaemonStopping => self.connection.stop_told(detached.restart),
            Code::JournalCorrupt => {
                let (from, to) = (detached.resume_offset, detached.lost_to);
                if let (Some(offset), Some(to)) = (from.or(self.next), to) {
                    let lost_bytes = Some(to.0.saturating_sub(offset.0));
                    let hole = Hole { offset, code: Code::JournalCorrupt, lost_bytes };
                    out.push(StreamOutput::Yield(StreamEvent::Hole(hole)));
                    self.move_to(to);
                }
            }
            Code::OffsetTrimmed => {
                if let (Some(from), Some(to)) = (self.next, detached.resume_offset) {
                    out.push(StreamOutput::Yield(StreamEvent::Skipped { from, to }));
                    self.move_to(to);
                }
            }
            // Whoever asked for this end decides what follows.
            Code::SlowSubscriber if self.attach.on_lag != OnLag::Disconnect => {}
            code => return self.finish(code, out),
        }
        self.broken(now, out);
    }

    fn finish(&mut self, code: Code, out: &mut Vec<StreamOutput>) {
        let change = self.connection.end(WireError::new(code, "the stream has ended"));
        debug_assert!(matches!(change, Change::Ended(_)));
        out.extend([StreamOutput::Close, StreamOutput::Ended(StreamEnd::Finished(code))]);
    }

    fn end(&mut self, error: WireError, out: &mut Vec<StreamOutput>) {
        self.connection.end(error.clone());
        out.extend([StreamOutput::Close, StreamOutput::Ended(StreamEnd::Failed(error))]);
    }

    fn broken(&mut self, now: Instant, out: &mut Vec<StreamOutput>) {
        let change = self.connection.lost(now);
        self.apply(now, change, out);
    }

    fn apply(&mut self, now: Instant, change: Change, out: &mut Vec<StreamOutput>) {
        match change {
            Change::None => {}
            Change::Opened(_) => self.attach_if_due(now, out),
            Change::Lost if self.leaving => self.finish(Code::Detached, out),
            Change::Lost => {
                out.push(StreamOutput::Close);
                if self.phase == Phase::Standing {
                    out.push(StreamOutput::Yield(StreamEvent::Away));
                }
                self.phase = Phase::Due(now);
                // Half a picture is none.
                if self.snapshot_left > 0 {
                    self.snapshot_left = 0;
                    self.next = None;
                }
            }
            Change::Ended(error) => {
                out.extend([StreamOutput::Close, StreamOutput::Ended(StreamEnd::Failed(error))]);
            }
        }
    }
}

fn send(request: &StreamRequest, out: &mut Vec<StreamOutput>) {
    let mut frame = BytesMut::new();
    request.encode(&mut frame);
    out.push(StreamOutput::Send(frame.freeze()));
}
