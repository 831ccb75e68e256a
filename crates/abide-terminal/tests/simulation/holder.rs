//! A holder: the real rules of its input and output and its real frames, around a program from a script.

mod terminal;

use abide_holder::core::{Accepted, Input, Output};
use abide_holder::frames::{FromHolder, Target, ToHolder};
use abide_holder::{BootId, EXIT_RECORD_VERSION, ExitRecord, Header};
use abide_ring::{Identity, Page, Producer};
use abide_terminal::procs::ProcessId;
use abide_terminal::{Incarnation, SessionId};

use crate::machine::{Handed, HolderId, Machine, Spill};
use crate::mutant::Mutant;
use crate::network::{End, Read, WireId};
use crate::program::{Leaves, Script};

/// From `hangup` to SIGKILL, and from there to the holder's end.
const HANGUP_MS: u64 = 1_000;
const UNSTARTED_MS_MAX: u64 = 10_000;
/// A terminal that nobody has open is looked at again after this.
const LOOK_MS: u64 = 1_000;

/// What a holder is launched with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch {
    pub(crate) session: SessionId,
    pub(crate) incarnation: Incarnation,
    pub(crate) output_base: u64,
    pub(crate) owner_epoch: u32,
    pub(crate) size: (u16, u16),
    pub(crate) script: Script,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Waiting,
    Running(ProcessId),
    Ended(ProcessId),
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    Asked(u64),
    Killed(u64),
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set in one place")]
pub(crate) struct Holder {
    process: ProcessId,
    launch: Launch,
    boot: BootId,
    output: Output,
    input: Input,
    spill: Spill,
    life: Life,
    /// A process that the program left behind.
    background: Option<ProcessId>,
    /// The program has, or had, its terminal closed until then.
    closed_until: Option<u64>,
    /// The master is not polled while its terminal is closed, but looked at now and then.
    look_at: u64,
    /// Bytes that the program wrote to the terminal.
    written: u64,
    /// Input that the program has not read.
    unread: u64,
    eof: bool,
    abandoned: bool,
    collect: Option<u64>,
    leaving: Leaving,
    link: Option<WireId>,
    inbox: Vec<u8>,
    probes: Vec<(WireId, Vec<u8>)>,
    unstarted_until: u64,
    /// It says nothing until then.
    pub(crate) silent_until: u64,
    /// It speaks a version that nobody knows.
    pub(crate) is_foreign: bool,
    done: bool,
}

impl Holder {
    pub(crate) fn new(machine: &Machine, process: ProcessId, launch: Launch) -> Self {
        let identity = Identity {
            ring_bytes: machine.limits.ring_bytes,
            boot_id: machine.boot.0,
            session: launch.session.to_bytes(),
            incarnation: launch.incarnation.0,
            output_base: launch.output_base,
            owner_epoch: launch.owner_epoch,
        };
        let mut output = Output::new(Producer::heap(&identity).unwrap(), machine.limits.spill_bytes_max);
        output.ring_mut().set_size(launch.size.0, launch.size.1);
        Self {
            process,
            launch,
            boot: machine.boot,
            output,
            input: Input::new(launch.owner_epoch),
            spill: Spill::default(),
            life: Life::Waiting,
            background: None,
            closed_until: None,
            look_at: 0,
            written: 0,
            unread: 0,
            eof: false,
            abandoned: false,
            collect: None,
            leaving: Leaving::No,
            link: None,
            inbox: Vec::new(),
            probes: Vec::new(),
            unstarted_until: machine.clock.tick_ms() + UNSTARTED_MS_MAX,
            silent_until: 0,
            is_foreign: false,
            done: false,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid
    }

    pub(crate) fn session(&self) -> SessionId {
        self.launch.session
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.launch.incarnation
    }

    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }

    pub(crate) fn header(&self) -> Header {
        self.output.ring().header()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    pub(crate) fn accept(&mut self, wire: WireId) {
        self.probes.push((wire, Vec::new()));
    }

    /// One step of this kind, if there is anything to do.
    pub(crate) fn step(&mut self, machine: &mut Machine, kind: u64) -> bool {
        let now = machine.clock.tick_ms();
        match kind % 6 {
            0 if self.silent_until <= now => self.read_link(machine),
            1 if self.silent_until <= now => self.read_probe(machine),
            2 => self.program_step(machine),
            3 => self.read_output(machine),
            4 => self.write_input(machine),
            5 => self.settle(machine) | self.pass_deadlines(machine),
            _ => false,
        }
    }

    /// When it will do something by itself.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let unstarted = (self.life == Life::Waiting && self.link.is_none()).then_some(self.unstarted_until);
        let leaving = match self.leaving {
            Leaving::No => None,
            Leaving::Asked(at) | Leaving::Killed(at) => Some(at),
        };
        let silent = (self.silent_until > 0).then_some(self.silent_until);
        let closed = self.closed_until.filter(|_| self.runs()).map(|until| until.max(self.look_at));
        [unstarted, leaving, silent, closed].into_iter().flatten().min()
    }

    // Connections.

    fn read_probe(&mut self, machine: &mut Machine) -> bool {
        if self.probes.is_empty() {
            return false;
        }
        let slot = machine.rng.index(self.probes.len());
        let (wire, mut buffer) = self.probes.remove(slot);
        let now = machine.clock.tick_ms();
        match machine.net.read(wire, End::Server, now, 64, &mut machine.rng) {
            Read::Bytes(bytes) => {
                machine.leave_trace(&bytes);
                buffer.extend(bytes);
            }
            Read::Nothing => {
                self.probes.push((wire, buffer));
                return false;
            }
            Read::End => {
                machine.net.close(wire, End::Server);
                return true;
            }
        }
        loop {
            let (frame, used) = match ToHolder::decode(&buffer) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) => {
                    machine.net.close(wire, End::Server);
                    return true;
                }
            };
            match frame {
                ToHolder::Ping if !self.is_foreign => {
                    let pong = FromHolder::Pong(self.pong());
                    send(machine, wire, &pong);
                }
                ToHolder::Adopt { daemon_epoch, session, version } => {
                    let ours = session == self.launch.session.to_bytes() && version == abide_holder::VERSION;
                    if !ours || self.is_foreign || self.leaving != Leaving::No {
                        machine.net.close(wire, End::Server);
                        return true;
                    }
                    let last = self.header().daemon_epoch;
                    if daemon_epoch > last || machine.is(Mutant::NoFenceOfDaemonEpoch) {
                        let rest = buffer.split_off(used);
                        self.adopt(machine, wire, daemon_epoch, &rest);
                        return true;
                    }
                    machine.tally.count("a former daemon was refused");
                    send(machine, wire, &FromHolder::Refused { daemon_epoch: last });
                }
                ToHolder::Hangup => self.hang_up(machine),
                _ => {
                    machine.net.close(wire, End::Server);
                    return true;
                }
            }
            buffer.drain(..used);
        }
        self.probes.push((wire, buffer));
        true
    }

    fn pong(&self) -> abide_holder::Pong {
        let header = self.header();
        abide_holder::Pong {
            version: abide_holder::VERSION,
            pid: self.process.pid,
            start_time: self.process.start_time,
            boot_id: self.boot.0,
            session: self.launch.session.to_bytes(),
            incarnation: self.launch.incarnation.0,
            state: Some(header.state),
            child_pid: header.child_pid,
            daemon_epoch: header.daemon_epoch,
        }
    }

    fn adopt(&mut self, machine: &mut Machine, wire: WireId, epoch: u64, rest: &[u8]) {
        self.drop_link(machine);
        let page = Page::heap();
        let ring = self.output.ring().heap_consumer(&page, epoch).unwrap();
        self.output.ring_mut().adopt(page, epoch);
        self.output.adopted();
        let spill = (!self.output.ring().spill().is_empty()).then(|| self.spill.clone());
        machine.handed.insert(wire, Handed { ring, spill });
        send(machine, wire, &FromHolder::Adopted(self.header()));
        machine.tally.count("adoptions");
        self.link = Some(wire);
        self.inbox.extend_from_slice(rest);
        self.answer_frames(machine);
    }

    pub(crate) fn drop_link(&mut self, machine: &mut Machine) {
        if let Some(wire) = self.link.take() {
            machine.net.close(wire, End::Server);
        }
        self.inbox.clear();
        self.output.ring_mut().release();
    }

    fn read_link(&mut self, machine: &mut Machine) -> bool {
        let Some(wire) = self.link else { return false };
        let now = machine.clock.tick_ms();
        match machine.net.read(wire, End::Server, now, 4_096, &mut machine.rng) {
            Read::Bytes(bytes) => {
                machine.leave_trace(&bytes);
                self.inbox.extend(bytes);
                self.answer_frames(machine);
                true
            }
            Read::Nothing => false,
            Read::End => {
                self.drop_link(machine);
                true
            }
        }
    }

    fn answer_frames(&mut self, machine: &mut Machine) {
        let inbox = std::mem::take(&mut self.inbox);
        let mut used = 0;
        while self.link.is_some() {
            match ToHolder::decode(&inbox[used..]) {
                Ok(Some((frame, bytes))) => {
                    used += bytes;
                    self.answer(machine, frame);
                }
                Ok(None) => break,
                Err(_) => self.drop_link(machine),
            }
        }
        if self.link.is_some() {
            self.inbox = inbox[used..].to_vec();
        }
    }

    fn answer(&mut self, machine: &mut Machine, frame: ToHolder<'_>) {
        let session = self.launch.session;
        machine.tell(|| format!("holder {session:?}: {frame:?}"));
        match frame {
            ToHolder::Ping => self.say(machine, &FromHolder::Pong(self.pong())),
            ToHolder::Adopt { .. } => self.drop_link(machine),
            ToHolder::Start { incarnation } => self.start(machine, incarnation),
            ToHolder::Input { owner_epoch, input_offset, bytes } if !self.eof => {
                self.take_input(machine, owner_epoch, input_offset, bytes);
            }
            ToHolder::Input { .. } | ToHolder::Inject { .. } => {}
            ToHolder::Resize { cols, rows, .. } => self.output.ring_mut().set_size(cols, rows),
            ToHolder::Signal { number, target } => self.signal(machine, number, target),
            ToHolder::SignalProcess { pid, start_time, number } => {
                let id = ProcessId { pid, start_time };
                if machine.signal(id, number) {
                    machine.end(id);
                    machine.reap(id);
                    if self.background == Some(id) {
                        self.background = None;
                    }
                }
                self.say(machine, &FromHolder::Done { errno: 0 });
            }
            ToHolder::Owner { owner_epoch } => {
                let changed = self.input.own(owner_epoch);
                let (former_epoch, former_applied) = self.input.former();
                let owner_epoch = self.input.owner_epoch();
                if changed {
                    self.output.ring_mut().set_owner(owner_epoch, former_epoch, former_applied);
                }
                self.say(machine, &FromHolder::OwnerOk { owner_epoch, former_epoch, former_applied });
            }
            ToHolder::Hangup => self.hang_up(machine),
            ToHolder::Collect { eof_offset } => self.collect = Some(eof_offset),
            ToHolder::Abandon => {
                if matches!(self.life, Life::Running(_) | Life::Ended(_)) {
                    self.abandoned = true;
                    self.end_output();
                }
            }
        }
    }

    fn take_input(&mut self, machine: &mut Machine, epoch: u32, offset: u64, bytes: &[u8]) {
        let (epoch, offset) = if machine.is(Mutant::NoFenceOfOwnerEpoch) || machine.is(Mutant::ResendWithoutCut) {
            let end = self.input.applied() + self.held();
            (self.input.owner_epoch(), if machine.is(Mutant::ResendWithoutCut) { end } else { offset.min(end) })
        } else {
            (epoch, offset)
        };
        match self.input.accept(epoch, offset, bytes) {
            Accepted::Bytes(new) if new < bytes.len() => machine.tally.count("input was known to the holder"),
            Accepted::Bytes(_) => {}
            Accepted::Dropped => machine.tally.count("input was dropped by the holder"),
        }
    }

    fn held(&self) -> u64 {
        self.input.due().map_or(0, |(_, bytes)| bytes.len() as u64)
    }

    fn say(&mut self, machine: &mut Machine, frame: &FromHolder) {
        if let Some(wire) = self.link {
            send(machine, wire, frame);
        }
    }

    // The program.

    fn start(&mut self, machine: &mut Machine, incarnation: u64) {
        if incarnation != self.launch.incarnation.0 || self.leaving != Leaving::No {
            return self.drop_link(machine);
        }
        if self.life == Life::Waiting || (machine.is(Mutant::StartTwice) && self.runs()) {
            self.spawn(machine);
        }
        match self.life {
            Life::Running(id) | Life::Ended(id) => {
                self.say(machine, &FromHolder::Started { pid: id.pid, start_time: id.start_time });
            }
            Life::Failed => self.say(machine, &FromHolder::Failed { step: 6, errno: 2 }),
            Life::Waiting => {}
        }
    }

    fn spawn(&mut self, machine: &mut Machine) {
        if self.launch.script.fails {
            self.life = Life::Failed;
            self.output.ring_mut().set_failed(6, 2);
            return self.end_output();
        }
        machine.truth.started(self.launch.session, self.launch.incarnation);
        let ignores = self.launch.script.ignores;
        let id = machine.spawn(Some(self.launch.session), None, ignores);
        match self.launch.script.leaves {
            Some(Leaves::InTheTerminal) => {
                self.background = Some(machine.spawn(Some(self.launch.session), Some(id.pid), ignores));
            }
            Some(Leaves::OutOfIt) => {
                let away = machine.spawn(Some(self.launch.session), None, ignores);
                machine.leave_terminal(away);
            }
            None => {}
        }
        self.life = Life::Running(id);
        self.output.ring_mut().set_running(id.pid, id.start_time);
    }

    /// The program has ended: exit record, then header, then frame.
    fn ended(&mut self, machine: &mut Machine, leader: ProcessId, status: u32) {
        machine.end(leader);
        if self.leaving != Leaving::No {
            self.life = Life::Ended(leader);
            self.done = true;
            return;
        }
        self.take_output(machine);
        let key = (self.launch.session, self.launch.incarnation);
        let record = ExitRecord {
            version: EXIT_RECORD_VERSION,
            session: key.0.to_bytes(),
            incarnation: key.1.0,
            boot_id: self.boot,
            pid: leader.pid,
            wait_status: status,
            exited_ms: machine.now().wall_ms,
            output_head: self.output.ring().head(),
        };
        let safe = !machine.rng.one_in(machine.limits.exit_record_fails_one_in);
        if safe {
            machine.exits.insert(key, record);
        } else {
            machine.tally.count("an exit record could not be written");
        }
        machine.truth.ended(key.0, key.1, status, safe);
        self.life = Life::Ended(leader);
        self.output.ring_mut().set_ended(status, record.exited_ms);
        self.say(machine, &FromHolder::Ended { wait_status: status });
    }

    fn signal(&mut self, machine: &mut Machine, number: u8, target: Target) {
        if let Life::Running(leader) = self.life
            && machine.signal(leader, number)
        {
            self.ended(machine, leader, u32::from(number));
        }
        // Whom the terminal's groups contain beside the program.
        if target != Target::Leader
            && let Some(left) = self.background
            && machine.signal(left, number)
        {
            machine.end(left);
            machine.reap(left);
            self.background = None;
        }
        self.say(machine, &FromHolder::Done { errno: 0 });
    }

    fn hang_up(&mut self, machine: &mut Machine) {
        if self.leaving != Leaving::No {
            return;
        }
        machine.tally.count("hangups");
        machine.truth.hung_up(self.launch.session, self.launch.incarnation);
        self.end_output();
        if let Life::Running(_) = self.life {
            self.leaving = Leaving::Asked(machine.clock.tick_ms() + HANGUP_MS);
            self.close_terminal(machine);
        } else {
            self.done = true;
        }
    }

    /// The terminal is closed: who is in it is told.
    fn close_terminal(&mut self, machine: &mut Machine) {
        if let Some(left) = self.background
            && machine.signal(left, 1)
        {
            machine.end(left);
            machine.reap(left);
            self.background = None;
        }
        if let Life::Running(leader) = self.life
            && machine.signal(leader, 1)
        {
            self.ended(machine, leader, 1);
        }
    }

    // The end.

    fn settle(&mut self, machine: &mut Machine) -> bool {
        let mut moved = false;
        if self.output.ring_mut().refresh().is_err() {
            self.drop_link(machine);
            moved = true;
        }
        if self.output.spill_is_over() {
            self.spill.borrow_mut().clear();
            self.output.spill_cut();
            moved = true;
        }
        let over = self.abandoned || matches!(self.life, Life::Ended(_) | Life::Failed);
        let ring = self.output.ring();
        if self.eof && over && self.collect == Some(ring.head()) && ring.acked() == ring.head() {
            machine.tally.count("collected");
            machine.truth.collected(self.launch.session, self.launch.incarnation);
            self.done = true;
            moved = true;
        }
        moved
    }

    fn pass_deadlines(&mut self, machine: &mut Machine) -> bool {
        let now = machine.clock.tick_ms();
        if self.life == Life::Waiting && self.link.is_none() && self.unstarted_until <= now {
            self.done = true;
            return true;
        }
        match self.leaving {
            Leaving::Asked(at) if at <= now => {
                if let Life::Running(leader) = self.life {
                    machine.end(leader);
                    self.life = Life::Ended(leader);
                }
                self.leaving = Leaving::Killed(now + HANGUP_MS);
                self.done = true;
                true
            }
            Leaving::Killed(at) if at <= now => {
                self.done = true;
                true
            }
            _ => false,
        }
    }

    /// It ends in order: its files go with it.
    pub(crate) fn leave(&mut self, machine: &mut Machine, id: HolderId) {
        machine.exits.remove(&(self.launch.session, self.launch.incarnation));
        if machine.sockets.get(&self.launch.session) == Some(&id) {
            machine.sockets.remove(&self.launch.session);
        }
        self.die(machine);
    }

    /// Its process is gone, however: connections and terminal are closed.
    pub(crate) fn die(&mut self, machine: &mut Machine) {
        self.drop_link(machine);
        for (wire, _) in std::mem::take(&mut self.probes) {
            machine.net.close(wire, End::Server);
        }
        self.leaving = Leaving::Killed(0);
        self.close_terminal(machine);
        // Who is left is nobody's child: it is reaped at once when it ends, as the program is now if it has ended.
        if let Life::Ended(leader) = self.life {
            machine.reap(leader);
        }
        machine.reap(self.process);
    }
}

fn send(machine: &mut Machine, wire: WireId, frame: &FromHolder) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    machine.net.write(wire, End::Server, &bytes);
}
