//! Output without gap and repetition, input exactly once: over connections cut at any byte, daemons that die, owners that
//! change, output that is trimmed or taken back. What is missing was named.

use std::collections::BTreeMap;
use std::time::Duration;

use abide_terminal::client::{
    Identity, Instant, StreamEnd, StreamEvent, StreamInput, StreamLink, StreamOutput, WhenGone,
};
use abide_terminal::protocol::{
    Attach, Attached, Detached, ErrorMessage, Former, Frame, InputApplied, Lagged, Mode, OnLag, OwnershipChanged,
    StartAt, StreamMessage, StreamRequest, WireError, limits, message_frame, output_header, read_hello, read_stream,
    snapshot_header,
};
use abide_terminal::{ByteOffset, Cause, ClientId, Incarnation, InputOffset, OwnerEpoch, SessionId, State};
use abide_wire::{Code, RequestId};

use crate::wire::{Wire, hello_ok};
use abide_sim::Rng;

/// Large beside what is delivered at once, so that cuts fall into it.
const SNAPSHOT: &[u8] = &[b'#'; 2_000];

fn us() -> ClientId {
    "us".parse().unwrap()
}

/// The stream of the connection that stands.
struct Attachment {
    mode: Mode,
    on_lag: OnLag,
    cursor: u64,
    told_applied: u64,
}

/// A daemon with one session, and the holder behind it.
struct Daemon {
    wire: Option<Wire>,
    greeted: bool,
    attachment: Option<Attachment>,
    output: Vec<u8>,
    base: u64,
    log_epoch: u64,
    owner: Option<ClientId>,
    owner_epoch: u32,
    /// Input of the present epoch: what the holder has, and how much of it is written to the terminal.
    accepted: Vec<u8>,
    applied: usize,
    former: Former,
    /// What reached the program in each epoch of ours.
    reached: BTreeMap<u32, Vec<u8>>,
    /// Where the log was cut at the end of each of its epochs.
    log_cuts: Vec<u64>,
}

impl Daemon {
    fn new() -> Self {
        Self {
            wire: None,
            greeted: false,
            attachment: None,
            output: b"login: ".to_vec(),
            base: 0,
            log_epoch: 1,
            owner: None,
            owner_epoch: 0,
            accepted: Vec::new(),
            applied: 0,
            former: Former::default(),
            reached: BTreeMap::new(),
            log_cuts: Vec::new(),
        }
    }

    fn end(&self) -> u64 {
        self.output.len() as u64
    }

    fn cut(&mut self) {
        self.wire = None;
        self.greeted = false;
        self.attachment = None;
    }

    fn say(&mut self, message: &StreamMessage) {
        let mut bytes = Vec::new();
        message_frame(message, &mut bytes);
        if let Some(wire) = &mut self.wire {
            wire.to_client.extend(bytes);
        }
    }

    fn refuse(&mut self, id: Option<RequestId>, error: WireError) {
        self.say(&StreamMessage::Error(ErrorMessage { id, error }));
    }

    fn frame(&mut self, frame: Frame) {
        match frame {
            Frame::Message(text) if !self.greeted => {
                read_hello(&text).unwrap();
                self.greeted = true;
                self.say(&StreamMessage::HelloOk(hello_ok()));
            }
            Frame::Message(text) => match read_stream(&text).unwrap() {
                StreamRequest::Attach(id, attach) => self.attach(id, &attach),
                StreamRequest::Detach => self.say(&StreamMessage::Detached(Detached::new(Code::Detached))),
                StreamRequest::Resize(_) | StreamRequest::Ack(_) | StreamRequest::InputState => {}
            },
            Frame::Input { owner_epoch, input_offset, bytes } => self.input(owner_epoch, input_offset, &bytes),
            Frame::Output { .. } | Frame::Snapshot { .. } => panic!("a client sends neither"),
        }
    }

    fn attach(&mut self, id: RequestId, attach: &Attach) {
        let (offset, snapshot) = match attach.from {
            StartAt::Snapshot => (self.end(), true),
            StartAt::Live => (self.end(), false),
            StartAt::Offset { offset, epoch } => {
                // What was appended in an older epoch and cut off does not stand any more.
                let stands_to = epoch.map_or(u64::MAX, |epoch| self.stands_to(epoch)).min(self.end());
                if offset.0 < self.base {
                    let trimmed = WireError::new(Code::OffsetTrimmed, "trimmed").with("base_offset", self.base);
                    return self.refuse(Some(id), trimmed);
                }
                if offset.0 > stands_to {
                    let ahead = WireError::new(Code::OffsetAhead, "ahead")
                        .with("end_offset", self.end())
                        .with("epoch", self.log_epoch)
                        .with("resume_offset", stands_to);
                    return self.refuse(Some(id), ahead);
                }
                (offset.0, false)
            }
        };
        if attach.mode == Mode::Owner && self.owner.as_ref().is_some_and(|owner| *owner != us()) {
            return self.refuse(Some(id), WireError::new(Code::SessionOwned, "owned"));
        }
        if attach.mode == Mode::Owner && self.owner.is_none() {
            self.change_owner(Some(us()));
        }
        let mode = if self.owner == Some(us()) { attach.mode } else { Mode::Observer };
        let snapshot_bytes = if snapshot { SNAPSHOT.len() as u64 } else { 0 };
        self.attachment =
            Some(Attachment { mode, on_lag: attach.on_lag, cursor: offset, told_applied: self.applied as u64 });
        let attached = Attached {
            id,
            session: SessionId::from_parts(1, 1),
            incarnation: Incarnation(1),
            epoch: self.log_epoch,
            state: State::Running,
            mode,
            offset: ByteOffset(offset),
            base_offset: ByteOffset(self.base),
            end_offset: ByteOffset(self.end()),
            snapshot_bytes,
            cols: 80,
            rows: 24,
            owner: self.owner.clone(),
            owner_epoch: OwnerEpoch(self.owner_epoch),
            input_applied: InputOffset(self.applied as u64),
            input_window: limits::INPUT_WINDOW_BYTES,
            former: Some(self.former),
        };
        self.say(&StreamMessage::Attached(attached));
        if snapshot {
            self.send_snapshot();
        }
    }

    fn send_snapshot(&mut self) {
        for (position, part) in (0..).step_by(100).zip(SNAPSHOT.chunks(100)) {
            let wire = self.wire.as_mut().unwrap();
            wire.to_client.extend(snapshot_header(position, part.len()));
            wire.to_client.extend(part);
        }
    }

    /// Skips to the end, and at times over a change of owner.
    fn lag(&mut self, random: &mut Rng) {
        let follows = |attachment: &Attachment| attachment.on_lag == OnLag::Follow;
        if self.attachment.as_ref().is_none_or(follows) {
            return;
        }
        if random.one_in(3) {
            let owners = [None, Some(us()), Some("them".parse().unwrap())];
            self.set_owner(owners[random.index(3)].clone());
        }
        let end = self.end();
        let Some(attachment) = &mut self.attachment else { return };
        let from = std::mem::replace(&mut attachment.cursor, end);
        let mode = attachment.mode;
        self.say(&StreamMessage::Lagged(Lagged {
            from: ByteOffset(from),
            to: ByteOffset(end),
            snapshot_bytes: SNAPSHOT.len() as u64,
            cols: 80,
            rows: 24,
            incarnation: Incarnation(1),
            owner: self.owner.clone(),
            owner_epoch: OwnerEpoch(self.owner_epoch),
            mode,
        }));
        self.send_snapshot();
    }

    /// Up to where the log of this epoch and that of now agree.
    fn stands_to(&self, epoch: u64) -> u64 {
        let since = usize::try_from(epoch - 1).unwrap();
        self.log_cuts[since..].iter().copied().min().unwrap_or(u64::MAX)
    }

    /// The holder's rule: the known part is cut off, the rest is taken, a gap is refused.
    fn input(&mut self, epoch: OwnerEpoch, offset: InputOffset, bytes: &[u8]) {
        let end = self.accepted.len() as u64;
        let owner = self.attachment.as_ref().is_some_and(|attachment| attachment.mode == Mode::Owner);
        if !owner || epoch.0 != self.owner_epoch {
            return self.refuse(None, WireError::new(Code::RoleForbidden, "not the owner"));
        }
        if offset.0 > end {
            return self.refuse(None, WireError::new(Code::InputGap, "gap").with("input_offset", end));
        }
        let window = self.applied as u64 + limits::INPUT_WINDOW_BYTES;
        assert!(offset.0 + bytes.len() as u64 <= window, "the client keeps to the window");
        let known = usize::try_from(end - offset.0).unwrap().min(bytes.len());
        self.accepted.extend_from_slice(&bytes[known..]);
    }

    /// The holder writes some of what it has to the terminal.
    fn write_input(&mut self, random: &mut Rng) {
        let count = random.below((self.accepted.len() - self.applied) as u64 + 1);
        let to = self.applied + usize::try_from(count).unwrap();
        if self.owner == Some(us()) {
            let written = self.accepted[self.applied..to].to_vec();
            self.reached.entry(self.owner_epoch).or_default().extend(written);
        }
        self.applied = to;
    }

    fn tell_applied(&mut self, is_final: bool) {
        let (epoch, applied) = (OwnerEpoch(self.owner_epoch), self.applied as u64);
        let Some(attachment) = &mut self.attachment else { return };
        if attachment.mode == Mode::Owner && (is_final || attachment.told_applied < applied) {
            attachment.told_applied = applied;
            let told = InputApplied { owner_epoch: epoch, input_offset: InputOffset(applied), is_final };
            self.say(&StreamMessage::InputApplied(told));
        }
    }

    /// Another owner, of whom the stream is not told.
    fn set_owner(&mut self, owner: Option<ClientId>) -> Option<ClientId> {
        self.tell_applied(true);
        if self.applied > 0 {
            let (owner_epoch, input_applied) = (OwnerEpoch(self.owner_epoch), InputOffset(self.applied as u64));
            self.former = Former { owner_epoch, input_applied };
        }
        let former = std::mem::replace(&mut self.owner, owner);
        self.owner_epoch += 1;
        self.accepted.clear();
        self.applied = 0;
        if let Some(attachment) = &mut self.attachment {
            attachment.mode = if self.owner == Some(us()) { Mode::Owner } else { Mode::Observer };
            attachment.told_applied = 0;
        }
        former
    }

    fn change_owner(&mut self, owner: Option<ClientId>) {
        let former = self.set_owner(owner);
        let Some(attachment) = &self.attachment else { return };
        let (mode, offset) = (attachment.mode, ByteOffset(attachment.cursor));
        self.say(&StreamMessage::OwnershipChanged(OwnershipChanged {
            offset,
            former,
            owner: self.owner.clone(),
            owner_epoch: OwnerEpoch(self.owner_epoch),
            cause: Cause::Takeover,
            mode,
        }));
    }

    fn send_output(&mut self, random: &mut Rng) {
        let end = self.end();
        let Some(attachment) = &mut self.attachment else { return };
        let len = random.below(30).min(end - attachment.cursor);
        if len > 0 {
            let from = attachment.cursor;
            attachment.cursor += len;
            let bytes = self.output[usize::try_from(from).unwrap()..usize::try_from(from + len).unwrap()].to_vec();
            let wire = self.wire.as_mut().unwrap();
            wire.to_client.extend(output_header(ByteOffset(from), bytes.len()));
            wire.to_client.extend(bytes);
        }
    }

    /// A fault that needs no connection, or ends it.
    fn fault(&mut self, random: &mut Rng) -> bool {
        match random.below(10) {
            0 => {
                // What a stream has not got yet is not trimmed under it here: its connection ends first.
                self.base += random.below(self.end() - self.base + 1);
                self.cut();
                true
            }
            1 => {
                // A power cut: the end of the log is gone, and a new epoch of it begins.
                let keep = self.end() - random.below((self.end() - self.base).min(20) + 1);
                self.output.truncate(usize::try_from(keep).unwrap());
                self.log_cuts.push(keep);
                self.log_epoch += 1;
                self.cut();
                true
            }
            2 => {
                self.change_owner(Some("them".parse().unwrap()));
                if random.one_in(2) {
                    self.accepted = random.bytes(9);
                    self.applied = self.accepted.len();
                }
                false
            }
            3 => {
                self.change_owner(None);
                false
            }
            4 => {
                self.change_owner(Some(us()));
                false
            }
            _ => {
                self.cut();
                true
            }
        }
    }
}

/// What the caller of the link sees, checked as it comes.
struct Viewer {
    seed: u64,
    /// What was shown, by offset; a picture of the screen begins it anew.
    shown: BTreeMap<u64, u8>,
    next: Option<u64>,
    snapshot: Option<(u64, Vec<u8>)>,
    epoch: Option<u32>,
    typed: BTreeMap<u32, Vec<u8>>,
    lost: BTreeMap<u32, Option<u64>>,
    named: u64,
    lagged: u64,
    counts: [u64; 3],
}

impl Viewer {
    fn event(&mut self, event: StreamEvent) {
        let seed = self.seed;
        match event {
            StreamEvent::Attached(attached) => {
                self.epoch = (attached.mode == Mode::Owner).then_some(attached.owner_epoch.0);
                if attached.snapshot_bytes > 0 {
                    self.snapshot = Some((attached.offset.0, Vec::new()));
                    self.next = None;
                    self.shown.clear();
                } else {
                    assert!(self.snapshot.is_none(), "seed {seed}: half a picture is none");
                    let next = self.next.unwrap_or(attached.offset.0);
                    assert_eq!(next, attached.offset.0, "seed {seed}: it goes on where it stood");
                    self.next = Some(next);
                }
            }
            StreamEvent::Snapshot { bytes, is_last } => {
                let (offset, picture) = self.snapshot.as_mut().expect("a snapshot was announced");
                picture.extend_from_slice(&bytes);
                if is_last {
                    assert_eq!(picture, SNAPSHOT, "seed {seed}: the picture is whole");
                    self.next = Some(*offset);
                    self.snapshot = None;
                    self.counts[0] += 1;
                }
            }
            StreamEvent::Output { offset, bytes } => {
                assert_eq!(Some(offset.0), self.next, "seed {seed}: output is dense");
                self.shown.extend(bytes.iter().enumerate().map(|(at, byte)| (offset.0 + at as u64, *byte)));
                self.next = Some(offset.0 + bytes.len() as u64);
            }
            StreamEvent::Lagged(lagged) => {
                assert_eq!(Some(lagged.from.0), self.next, "seed {seed}: from where it stood");
                self.epoch = (lagged.mode == Mode::Owner).then_some(lagged.owner_epoch.0);
                self.snapshot = Some((lagged.to.0, Vec::new()));
                self.next = None;
                self.lagged += 1;
            }
            StreamEvent::Skipped { from, to } => {
                assert!(self.next.is_none_or(|next| next == from.0), "seed {seed}: from where it stood");
                self.next = self.next.map(|_| to.0);
                self.named += 1;
            }
            StreamEvent::TakenBack { from, to } => {
                assert!(self.next.is_none_or(|next| next == to.0), "seed {seed}: to where it stood");
                self.shown.split_off(&from.0);
                self.next = self.next.map(|_| from.0);
                self.named += 1;
            }
            StreamEvent::OwnershipChanged(change) => {
                self.epoch = (change.mode == Mode::Owner).then_some(change.owner_epoch.0);
            }
            StreamEvent::InputLost { owner_epoch, applied, accepted } => {
                assert_eq!(accepted.0, self.typed.get(&owner_epoch.0).map_or(0, |typed| typed.len() as u64));
                assert_eq!(
                    self.lost.insert(owner_epoch.0, applied.map(|applied| applied.0)),
                    None,
                    "seed {seed}: once"
                );
                self.counts[1] += 1;
            }
            StreamEvent::Away => self.counts[2] += 1,
            StreamEvent::InputApplied(_) | StreamEvent::Refused(_) | StreamEvent::Time(_) => {}
            StreamEvent::Backpressure(_)
            | StreamEvent::Resized(_)
            | StreamEvent::Hole(_)
            | StreamEvent::Restored(_)
            | StreamEvent::Exited(_) => {
                panic!("none of these was sent")
            }
        }
    }
}

struct History {
    link: StreamLink,
    daemon: Daemon,
    viewer: Viewer,
    now: Instant,
    out: Vec<StreamOutput>,
    dials: u64,
    end: Option<StreamEnd>,
}

impl History {
    fn new(seed: u64, mode: Mode, when_gone: WhenGone) -> Self {
        let identity = Identity { client_id: us(), program: None, seed: u128::from(seed), may_start: true };
        let from = match when_gone {
            WhenGone::Snapshot => StartAt::Snapshot,
            WhenGone::Nearest => StartAt::Offset { offset: ByteOffset(0), epoch: None },
        };
        let on_lag = if seed.is_multiple_of(3) { OnLag::Resync } else { OnLag::Follow };
        let attach = Attach { from, on_lag, ..Attach::new(SessionId::from_parts(1, 1).into(), mode) };
        let viewer = Viewer {
            seed,
            shown: BTreeMap::new(),
            next: None,
            snapshot: None,
            epoch: None,
            typed: BTreeMap::new(),
            lost: BTreeMap::new(),
            named: 0,
            lagged: 0,
            counts: [0; 3],
        };
        let link = StreamLink::new(identity, attach, when_gone, Instant::default());
        Self { link, daemon: Daemon::new(), viewer, now: Instant::default(), out: Vec::new(), dials: 0, end: None }
    }

    fn carry_out(&mut self, reachable: bool) {
        let mut dial = false;
        for output in std::mem::take(&mut self.out) {
            match output {
                StreamOutput::Dial(_) => dial = true,
                StreamOutput::Send(bytes) => {
                    if let Some(wire) = &mut self.daemon.wire {
                        wire.to_daemon.extend(bytes);
                    }
                }
                StreamOutput::Close => self.daemon.cut(),
                StreamOutput::Yield(event) => self.viewer.event(event),
                StreamOutput::Ended(end) => self.end = Some(end),
            }
        }
        if dial {
            self.dials += 1;
            let input = if reachable { StreamInput::Connected } else { StreamInput::Unreachable };
            self.daemon.cut();
            self.daemon.wire = reachable.then(Wire::default);
            self.handle(input, reachable);
        }
    }

    fn handle(&mut self, input: StreamInput, reachable: bool) {
        self.link.handle(self.now, input, &mut self.out);
        self.carry_out(reachable);
    }

    fn type_in(&mut self, bytes: &[u8]) {
        let taken = self.link.write(bytes, &mut self.out);
        if let Some(epoch) = self.viewer.epoch {
            self.viewer.typed.entry(epoch).or_default().extend_from_slice(&bytes[..taken]);
        } else {
            assert_eq!(taken, 0, "an observer types nothing");
        }
        self.carry_out(true);
    }

    fn step(&mut self, random: &mut Rng, faults: bool) {
        self.now = self.now.after(Duration::from_millis(random.below(20)));
        let reachable = !faults || self.dials == 0 || !random.one_in(4);
        if self.link.poll_timeout().is_some_and(|at| at <= self.now) {
            self.handle(StreamInput::Timeout, reachable);
        }
        let frames = self.daemon.wire.as_mut().map(|wire| wire.at_daemon(random)).unwrap_or_default();
        for frame in frames {
            self.daemon.frame(frame);
        }
        self.daemon.send_output(random);
        if faults && random.one_in(10) {
            self.daemon.lag(random);
        }
        self.daemon.write_input(random);
        if random.one_in(3) {
            self.daemon.tell_applied(false);
        }
        let frames = self.daemon.wire.as_mut().map(|wire| wire.at_client(random)).unwrap_or_default();
        for frame in frames {
            self.handle(StreamInput::Frame(frame), reachable);
        }
        if faults {
            let printed = random.bytes(20);
            self.daemon.output.extend(printed);
            if random.one_in(3) {
                let typed = random.bytes(20);
                self.type_in(&typed);
            }
            // A first attach to a session that somebody else owns ends: that is another story.
            let has_stood = self.viewer.next.is_some() || self.viewer.snapshot.is_some();
            if has_stood && random.one_in(12) && self.daemon.fault(random) {
                self.handle(StreamInput::Closed, reachable);
            }
        }
    }

    fn is_done(&self) -> bool {
        let caught_up = self.viewer.next == Some(self.daemon.end()) && self.link.is_input_applied();
        caught_up && self.daemon.wire.as_ref().is_some_and(Wire::is_quiet) && self.daemon.attachment.is_some()
    }
}

fn check(seed: u64, mode: Mode, when_gone: WhenGone) -> History {
    let mut random = Rng::new(seed);
    let mut history = History::new(seed, mode, when_gone);
    for _ in 0..200 {
        history.step(&mut random, true);
    }
    for _ in 0..20_000 {
        if history.is_done() {
            break;
        }
        history.daemon.tell_applied(false);
        history.step(&mut random, false);
    }
    assert_eq!(history.end, None, "seed {seed}: a stream ends when it is told to");
    assert!(history.is_done(), "seed {seed}: it catches up: {:?} of {}", history.viewer.next, history.daemon.end());
    for (offset, byte) in &history.viewer.shown {
        let stood = usize::try_from(*offset).ok().and_then(|at| history.daemon.output.get(at));
        assert_eq!(stood, Some(byte), "seed {seed}: the byte at {offset}");
    }
    for (epoch, typed) in &history.viewer.typed {
        let none = Vec::new();
        let reached = history.daemon.reached.get(epoch).unwrap_or(&none);
        assert!(
            typed.starts_with(reached),
            "seed {seed}: what reached the program in {epoch} is what was typed, in order"
        );
        match history.viewer.lost.get(epoch) {
            None => assert_eq!(reached, typed, "seed {seed}: nothing of {epoch} was said to be lost"),
            Some(Some(applied)) => assert_eq!(*applied, reached.len() as u64, "seed {seed}: the count of {epoch}"),
            Some(None) => {}
        }
    }
    let mut reached = history.daemon.reached.iter().filter(|(_, bytes)| !bytes.is_empty());
    assert!(reached.all(|(epoch, _)| history.viewer.typed.contains_key(epoch)), "seed {seed}: typed by nobody");
    history
}

#[test]
fn for_owners_and_observers_terminals_and_recorders() {
    let (mut dials, mut named, mut typed, mut counts, mut unknown) = (0, 0, 0, [0; 3], 0u64);
    let mut lagged = 0;
    for seed in crate::seeds(2_000, 100_000) {
        let mode = if seed % 4 == 3 { Mode::Observer } else { Mode::Owner };
        let when_gone = if seed % 2 == 0 { WhenGone::Snapshot } else { WhenGone::Nearest };
        let history = check(seed, mode, when_gone);
        dials += history.dials;
        named += history.viewer.named;
        lagged += history.viewer.lagged;
        typed += history.viewer.typed.values().map(Vec::len).sum::<usize>();
        counts = std::array::from_fn(|at| counts[at] + history.viewer.counts[at]);
        unknown += history.viewer.lost.values().filter(|applied| applied.is_none()).count() as u64;
    }
    let [pictures, lost, away] = counts;
    println!("{dials} dials, {away} losses, {named} named ranges, {pictures} pictures, {typed} bytes typed");
    println!("{lagged} skips to a picture");
    assert!(lagged > 2_000, "too few skips");
    println!("{lost} epochs with lost input, {unknown} of them untold");
    assert!(away > 4_000 && named > 400 && pictures > 1_000 && typed > 50_000 && lost > 200, "too few faults struck");
    assert!(unknown * 4 < lost, "nearly always it can be told what reached the program");
}
