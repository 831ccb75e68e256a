//! Clients: the real links over simulated sockets, a caller who asks and types at random, and the record of what was seen
//! and sent.

mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use abide_sim::Rng;
use abide_terminal::client::{
    ControlInput, ControlLink, ControlOutput, Identity, Instant, StreamEnd, StreamInput, StreamLink, StreamOutput,
    WhenGone,
};
use abide_terminal::protocol::{
    Attach, ControlRequest, Create, Decoder, Frame, Kill, Mode, Recover, Release, Remove, Resize, SessionRef, StartAt,
    Take, WindowSize,
};
use abide_terminal::{ByteOffset, ClientId, Restore, SessionId, Takeover};

use crate::daemon::Daemon;
use crate::machine::Machine;
use crate::network::{End, Read, WireId};

/// Input that a stream sent, by incarnation, epoch and offset.
pub(crate) type Sent = BTreeMap<(u64, u32), BTreeMap<u64, u8>>;

/// What is left of a stream that nobody looks at any more.
pub(crate) struct Past {
    pub(crate) session: SessionId,
    pub(crate) sent: Sent,
    /// What it was told to be applied, by incarnation and epoch.
    pub(crate) told: BTreeMap<(u64, u32), u64>,
}

#[derive(Default)]
struct Socket {
    wire: Option<WireId>,
    decoder: Decoder,
}

/// What came over a socket.
enum Came {
    Nothing,
    Frame(Frame),
    Something,
    End,
}

impl Socket {
    fn read(&mut self, machine: &mut Machine) -> Came {
        let Some(wire) = self.wire else { return Came::Nothing };
        if let Some(frame) = self.decoder.next_frame().expect("a daemon sends frames") {
            return Came::Frame(frame);
        }
        let now = machine.clock.tick_ms();
        match machine.net.read(wire, End::Client, now, 4_096, &mut machine.rng) {
            Read::Nothing => Came::Nothing,
            Read::Bytes(bytes) => {
                machine.leave_trace(&bytes);
                self.decoder.extend(&bytes);
                Came::Something
            }
            Read::End => Came::End,
        }
    }

    fn open(&mut self, wire: WireId) {
        *self = Self { wire: Some(wire), decoder: Decoder::default() };
    }

    fn close(&mut self, machine: &mut Machine) {
        if let Some(wire) = self.wire.take() {
            machine.net.close(wire, End::Client);
        }
    }

    fn send(&self, machine: &mut Machine, bytes: &[u8]) {
        if let Some(wire) = self.wire {
            machine.net.write(wire, End::Client, bytes);
        }
    }
}

/// One stream of a client.
pub(crate) struct Stream {
    number: u64,
    pub(crate) session: SessionId,
    link: StreamLink,
    socket: Socket,
    dials: bool,
    sent_frames: Decoder,
    typed: u64,
    pub(crate) incarnation: u64,
    epoch: u32,
    /// Where output goes on.
    pub(crate) position: Option<u64>,
    pub(crate) from_begin: bool,
    /// The places where output is missing that it was told of.
    pub(crate) holes: Vec<(u64, Option<u64>)>,
    pub(crate) past: Past,
    pub(crate) ended: Option<StreamEnd>,
    exited: bool,
}

/// A client program.
pub(crate) struct Client {
    pub(crate) id: ClientId,
    control: ControlLink,
    socket: Socket,
    dials: bool,
    over: bool,
    /// Calls that are not answered.
    pub(crate) asked: BTreeMap<u64, &'static str>,
    next_call: u64,
    /// Sessions that it asked for.
    mine: Vec<SessionId>,
    pub(crate) streams: Vec<Stream>,
    /// It reads nothing until then.
    pub(crate) rests_until: u64,
}

fn now(machine: &Machine) -> Instant {
    Instant(Duration::from_millis(machine.clock.tick_ms()))
}

fn identity(id: &ClientId, rng: &mut Rng) -> Identity {
    let seed = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    Identity { client_id: id.clone(), program: None, seed, may_start: true }
}

impl Client {
    pub(crate) fn new(machine: &mut Machine, id: ClientId) -> Self {
        let identity = identity(&id, &mut machine.rng);
        Self {
            control: ControlLink::new(identity, now(machine)),
            id,
            socket: Socket::default(),
            dials: false,
            over: false,
            asked: BTreeMap::new(),
            next_call: 0,
            mine: Vec::new(),
            streams: Vec::new(),
            rests_until: 0,
        }
    }

    /// The connections that it has now.
    pub(crate) fn wires(&self) -> Vec<WireId> {
        self.streams
            .iter()
            .map(|stream| &stream.socket)
            .chain([&self.socket])
            .filter_map(|socket| socket.wire)
            .collect()
    }

    /// Its process is gone, and its connections with it.
    pub(crate) fn vanish(mut self, machine: &mut Machine) -> Vec<Past> {
        self.socket.close(machine);
        for stream in &mut self.streams {
            stream.socket.close(machine);
        }
        self.streams.into_iter().map(|stream| stream.past).collect()
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let at = |instant: Instant| u64::try_from(instant.0.as_millis()).unwrap() + 1;
        let streams = self.streams.iter().filter(|stream| stream.ended.is_none());
        let timers = streams.filter_map(|stream| stream.link.poll_timeout()).chain(self.control.poll_timeout());
        timers.map(at).chain((self.rests_until > 0).then_some(self.rests_until)).min()
    }

    /// One step. Whether it did anything.
    pub(crate) fn step(&mut self, machine: &mut Machine, daemon: Option<&mut Daemon>, kind: u64) -> bool {
        match kind % 4 {
            0 => self.control_step(machine),
            1 => self.dial(machine, daemon),
            2 => self.time(machine),
            _ if self.streams.is_empty() => false,
            _ => {
                let which = machine.rng.index(self.streams.len());
                self.stream_step(machine, which)
            }
        }
    }

    /// Streams all have a turn.
    pub(crate) fn step_streams(&mut self, machine: &mut Machine) -> bool {
        (0..self.streams.len()).fold(false, |moved, which| self.stream_step(machine, which) | moved)
    }

    fn time(&mut self, machine: &mut Machine) -> bool {
        let now = now(machine);
        let mut moved = false;
        if self.control.poll_timeout().is_some_and(|at| at <= now) {
            self.tell_control(machine, ControlInput::Timeout);
            moved = true;
        }
        for which in 0..self.streams.len() {
            let stream = &self.streams[which];
            if stream.ended.is_none() && stream.link.poll_timeout().is_some_and(|at| at <= now) {
                self.tell_stream(machine, which, StreamInput::Timeout);
                moved = true;
            }
        }
        moved
    }

    fn dial(&mut self, machine: &mut Machine, daemon: Option<&mut Daemon>) -> bool {
        let Some(which) = self.streams.iter().position(|stream| stream.dials) else {
            if !std::mem::take(&mut self.dials) {
                return false;
            }
            let led = connected(machine, daemon);
            if let Some(wire) = led {
                self.socket.open(wire);
            }
            let input = if led.is_some() { ControlInput::Connected } else { ControlInput::Unreachable };
            self.tell_control(machine, input);
            return true;
        };
        self.streams[which].dials = false;
        let led = connected(machine, daemon);
        if let Some(wire) = led {
            self.streams[which].socket.open(wire);
        }
        let input = if led.is_some() { StreamInput::Connected } else { StreamInput::Unreachable };
        self.tell_stream(machine, which, input);
        true
    }

    // Requests.

    fn control_step(&mut self, machine: &mut Machine) -> bool {
        match self.socket.read(machine) {
            Came::Nothing => false,
            Came::Something => true,
            Came::Frame(frame) => {
                self.tell_control(machine, ControlInput::Frame(frame));
                true
            }
            Came::End => {
                self.socket.close(machine);
                self.tell_control(machine, ControlInput::Closed);
                true
            }
        }
    }

    fn tell_control(&mut self, machine: &mut Machine, input: ControlInput) {
        let mut out = Vec::new();
        self.control.handle(now(machine), input, &mut out);
        for output in out {
            match output {
                ControlOutput::Dial(dial) => {
                    self.dials = true;
                    machine.daemon_wanted |= dial.start_daemon;
                }
                ControlOutput::Send(bytes) => self.socket.send(machine, &bytes),
                ControlOutput::Close => self.socket.close(machine),
                ControlOutput::Complete(call, outcome) => {
                    let what = self.asked.remove(&call).expect("a call is answered once");
                    machine.tell(|| format!("{} {what}: {outcome:?}", self.id));
                    let named = outcome.as_ref().ok().and_then(|answer| answer["session"]["id"].as_str());
                    self.mine.extend(named.and_then(|id| id.parse::<SessionId>().ok()));
                    machine.tally.count(if outcome.is_ok() {
                        "requests were granted"
                    } else {
                        "requests were refused"
                    });
                }
                // Nothing is subscribed to.
                ControlOutput::Opened | ControlOutput::Event(_) => {}
                ControlOutput::Ended(_) => self.over = true,
            }
        }
    }

    /// Whether it can ask anything.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn ask(&mut self, machine: &mut Machine, request: ControlRequest) {
        self.next_call += 1;
        self.asked.insert(self.next_call, request.name());
        machine.tell(|| format!("{} asks {request:?}", self.id));
        self.tell_control(machine, ControlInput::Call(self.next_call, request));
    }

    /// One of the sessions that it asked for.
    pub(crate) fn some_of_mine(&self, rng: &mut Rng) -> Option<SessionId> {
        (!self.mine.is_empty()).then(|| self.mine[rng.index(self.mine.len())])
    }

    /// Asks for a session.
    pub(crate) fn create(&mut self, machine: &mut Machine) {
        let rng = &mut machine.rng;
        let create = Create {
            restore: Some([Restore::Never, Restore::Command, Restore::Shell, Restore::Offer][rng.index(4)]),
            takeover: Some(if rng.one_in(5) { Takeover::Deny } else { Takeover::Allow }),
            own: !rng.one_in(5),
            ..Create::new(80, 24)
        };
        self.ask(machine, create.into());
    }

    /// Asks something about a session.
    pub(crate) fn ask_about(&mut self, machine: &mut Machine, id: SessionId) {
        let session = SessionRef::Id(id);
        let request: ControlRequest = match machine.rng.below(14) {
            0 => Kill {
                session,
                grace_ms: Some(u32::try_from(machine.rng.below(3_000)).unwrap()),
                force: machine.rng.one_in(3),
                signal: None,
                owner_epoch: None,
            }
            .into(),
            1..=4 => Take { session, owner_epoch: None, cols: 0, rows: 0 }.into(),
            5 | 6 => Release { session, to: None, owner_epoch: None }.into(),
            7..=9 => {
                let cols = 10 + u16::try_from(machine.rng.below(90)).unwrap();
                Resize { session, cols, rows: 24, xpixel: 0, ypixel: 0, owner_epoch: None }.into()
            }
            10 => Remove { session }.into(),
            _ => Recover { session, what: None }.into(),
        };
        self.ask(machine, request);
    }

    /// Asks for the end of a session, as its owner.
    pub(crate) fn end(&mut self, machine: &mut Machine, id: SessionId) {
        let session = SessionRef::Id(id);
        self.ask(machine, Take { session: session.clone(), owner_epoch: None, cols: 0, rows: 0 }.into());
        let kill = Kill { session, grace_ms: Some(0), force: true, signal: None, owner_epoch: None };
        self.ask(machine, kill.into());
    }

    // Streams.

    /// Streams that are over are put away.
    pub(crate) fn put_away(&mut self) -> Vec<Past> {
        let over = self.streams.extract_if(.., |stream| stream.ended.is_some());
        over.map(|stream| stream.past).collect()
    }

    pub(crate) fn attach(&mut self, machine: &mut Machine, session: SessionId, mode: Mode, from_begin: bool) {
        let from = if from_begin { StartAt::Offset { offset: ByteOffset(0), epoch: None } } else { StartAt::Live };
        let attach = Attach { from, ..Attach::new(SessionRef::Id(session), mode) };
        let identity = identity(&self.id, &mut machine.rng);
        let number = machine.truth.next_stream();
        self.streams.push(Stream {
            number,
            session,
            link: StreamLink::new(identity, attach, WhenGone::Nearest, now(machine)),
            socket: Socket::default(),
            dials: false,
            sent_frames: Decoder::default(),
            typed: 0,
            incarnation: 0,
            epoch: 0,
            position: from_begin.then_some(0),
            from_begin,
            holes: Vec::new(),
            past: Past { session, sent: Sent::new(), told: BTreeMap::new() },
            ended: None,
            exited: false,
        });
    }

    /// Types something, where it may. Whether it may anywhere.
    pub(crate) fn type_some(&mut self, machine: &mut Machine) -> bool {
        let may = |stream: &Stream| stream.ended.is_none() && stream.link.input_room() > 0;
        let Some(which) = self.streams.iter().rposition(may) else { return false };
        self.type_on(machine, which);
        true
    }

    fn type_on(&mut self, machine: &mut Machine, which: usize) {
        let stream = &mut self.streams[which];
        let count = stream.link.input_room().min(1 + machine.rng.index(12));
        let bytes: Vec<u8> = (0..count as u64).map(|at| typed(stream.number, stream.typed + at)).collect();
        let mut out = Vec::new();
        let taken = stream.link.write(&bytes, &mut out);
        stream.typed += taken as u64;
        machine.tally.add("bytes typed", taken as u64);
        self.carry_out(machine, which, out);
    }

    /// Types something on one of its streams, or changes its window, or leaves.
    pub(crate) fn act(&mut self, machine: &mut Machine) {
        if self.streams.is_empty() {
            return;
        }
        let which = machine.rng.index(self.streams.len());
        let stream = &mut self.streams[which];
        if stream.ended.is_some() {
            return;
        }
        match machine.rng.below(40) {
            0 => self.tell_stream(machine, which, StreamInput::Detach),
            1..=4 => {
                let cols = 10 + u16::try_from(machine.rng.below(90)).unwrap();
                let size = WindowSize { cols, rows: 24, xpixel: 0, ypixel: 0 };
                self.tell_stream(machine, which, StreamInput::Resize(size));
            }
            _ if stream.link.input_room() > 0 => self.type_on(machine, which),
            _ => {}
        }
    }

    fn stream_step(&mut self, machine: &mut Machine, which: usize) -> bool {
        if self.rests_until > machine.clock.tick_ms() {
            return false;
        }
        match self.streams[which].socket.read(machine) {
            Came::Nothing => false,
            Came::Something => true,
            Came::Frame(frame) => {
                self.tell_stream(machine, which, StreamInput::Frame(frame));
                true
            }
            Came::End => {
                self.streams[which].socket.close(machine);
                self.tell_stream(machine, which, StreamInput::Closed);
                true
            }
        }
    }

    fn tell_stream(&mut self, machine: &mut Machine, which: usize, input: StreamInput) {
        let mut out = Vec::new();
        self.streams[which].link.handle(now(machine), input, &mut out);
        self.carry_out(machine, which, out);
    }

    fn carry_out(&mut self, machine: &mut Machine, which: usize, out: Vec<StreamOutput>) {
        let (id, stream) = (self.id.clone(), &mut self.streams[which]);
        for output in out {
            match output {
                StreamOutput::Dial(dial) => {
                    stream.dials = true;
                    machine.daemon_wanted |= dial.start_daemon;
                }
                StreamOutput::Send(bytes) => {
                    stream.note_sent(&bytes);
                    stream.socket.send(machine, &bytes);
                }
                StreamOutput::Close => stream.socket.close(machine),
                StreamOutput::Yield(event) => stream.see(machine, &id, event),
                StreamOutput::Ended(end) => {
                    machine.tell(|| format!("stream {} of {id}: {end:?}", stream.number));
                    stream.ended = Some(end);
                }
            }
        }
    }
}

fn connected(machine: &mut Machine, daemon: Option<&mut Daemon>) -> Option<WireId> {
    let daemon = daemon?;
    let wire = machine.net.connect();
    daemon.accept(machine, wire);
    Some(wire)
}

/// The byte that a stream types at this place of all that it types.
fn typed(stream: u64, at: u64) -> u8 {
    Rng::new(stream.wrapping_mul(0x5851_f42d) ^ (at << 24)).next_u64().to_le_bytes()[2]
}
