//! What survives a daemon: the disk, processes, holders and their sockets, exit records; and what every step is decided
//! by: the generator and the clock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use abide_holder::{BootId, Consumer, ExitRecord};
use abide_sim::{Clock, Disk, Rng};
use abide_terminal::procs::{Process, ProcessId};
use abide_terminal::recover::{Child, Pong, Probe};
use abide_terminal::session::Now;
use abide_terminal::{DaemonEpoch, Incarnation, SessionId};

use crate::check::Truth;
use crate::faults::Limits;
use crate::holder::{Holder, Launch};
use crate::mutant::Mutant;
use crate::network::{Net, WireId};
use crate::tally::Tally;

/// The daemon's process; it is used by no other.
pub(crate) const DAEMON_PID: u32 = 900;
const UID: u32 = 1_000;

/// Names a holder process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HolderId(pub(crate) u64);

/// A spill is a file without a name that daemons get a descriptor of.
pub(crate) type Spill = Rc<RefCell<Vec<u8>>>;

/// What goes with a frame `adopted`.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) ring: Consumer,
    pub(crate) spill: Option<Spill>,
}

/// A process, and what only its environment says.
#[derive(Debug)]
struct Running {
    process: Process,
    marked: Option<SessionId>,
    ignores: bool,
}

/// The machine.
pub(crate) struct Machine {
    pub(crate) rng: Rng,
    pub(crate) clock: Clock,
    pub(crate) boot: BootId,
    pub(crate) boots: u8,
    pub(crate) disk: Disk,
    pub(crate) net: Net,
    pub(crate) holders: BTreeMap<HolderId, Holder>,
    /// Who listens, or listened, at a session's socket.
    pub(crate) sockets: BTreeMap<SessionId, HolderId>,
    pub(crate) exits: BTreeMap<(SessionId, Incarnation), ExitRecord>,
    pub(crate) handed: BTreeMap<WireId, Handed>,
    processes: BTreeMap<u32, Running>,
    next_start: u64,
    next_holder: u64,
    pub(crate) truth: Truth,
    pub(crate) tally: Tally,
    pub(crate) limits: Limits,
    pub(crate) mutant: Option<Mutant>,
    trace: u64,
    pub(crate) tells: bool,
    /// A client asks for a daemon.
    pub(crate) daemon_wanted: bool,
    /// The disk carries nothing out until then.
    pub(crate) slow_disk_until: u64,
    /// The daemon that has the lock.
    lock: DaemonEpoch,
}

impl Machine {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng::new(seed);
        let limits = Limits::draw(&mut rng);
        Self {
            disk: Disk::new(rng.next_u64()),
            clock: Clock::at_wall_us(1_700_000_000_000_000),
            boot: BootId([1; 16]),
            boots: 1,
            net: Net::default(),
            holders: BTreeMap::new(),
            sockets: BTreeMap::new(),
            exits: BTreeMap::new(),
            handed: BTreeMap::new(),
            processes: BTreeMap::new(),
            next_start: 1,
            next_holder: 0,
            truth: Truth::default(),
            tally: Tally::default(),
            limits,
            mutant,
            trace: 0xcbf2_9ce4_8422_2325,
            tells: std::env::var_os("ABIDE_SIM_TELL").is_some(),
            daemon_wanted: false,
            slow_disk_until: 0,
            lock: DaemonEpoch(0),
            rng,
        }
    }

    /// The daemon of this epoch has the lock.
    pub(crate) fn lock_is(&mut self, epoch: DaemonEpoch) {
        self.lock = epoch;
    }

    /// Whether the daemon of this epoch has it.
    pub(crate) fn is_lock_ours(&self, epoch: DaemonEpoch) -> bool {
        self.lock == epoch
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn now(&self) -> Now {
        Now { boot_ms: self.clock.tick_ms(), wall_ms: self.clock.wall_us() / 1_000 }
    }

    /// Everything that happens leaves a trace: equal runs leave equal ones.
    pub(crate) fn leave_trace(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// What happened, for people who look for the cause of a failure.
    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>8} {}", self.clock.tick_ms(), what());
        }
    }

    pub(crate) fn trace(&self) -> (u64, u64) {
        (self.trace, self.disk.trace())
    }

    // Processes.

    /// Starts a process. Numbers are few, and are used again soon.
    pub(crate) fn spawn(&mut self, marked: Option<SessionId>, of: Option<u32>, ignores: bool) -> ProcessId {
        let mut pid = 100 + u32::try_from(self.rng.below(60)).unwrap();
        while self.processes.contains_key(&pid) {
            pid += 1;
        }
        let id = ProcessId { pid, start_time: self.next_start };
        self.next_start += 1 + self.rng.below(2);
        let leader = of.unwrap_or(pid);
        let process = Process {
            id,
            parent: 1,
            group: leader,
            session: leader,
            terminal: if marked.is_some() { i32::try_from(leader).unwrap() } else { 0 },
            uid: UID,
            ended: false,
            command: "program".to_owned(),
        };
        self.processes.insert(pid, Running { process, marked, ignores });
        id
    }

    /// It goes on without a terminal.
    pub(crate) fn leave_terminal(&mut self, id: ProcessId) {
        if let Some(running) = self.processes.get_mut(&id.pid) {
            running.process.terminal = 0;
        }
        self.tally.count("habit: a program forks away from its terminal");
    }

    pub(crate) fn table(&self) -> Vec<Process> {
        self.processes.values().map(|running| running.process.clone()).collect()
    }

    pub(crate) fn marked(&self, session: SessionId) -> impl Iterator<Item = u32> {
        self.processes
            .values()
            .filter(move |running| running.marked == Some(session))
            .map(|running| running.process.id.pid)
    }

    pub(crate) fn lives(&self, id: ProcessId) -> bool {
        self.processes.get(&id.pid).is_some_and(|running| running.process.id == id && !running.process.ended)
    }

    /// Whether a process of a session lives, in its terminal or `anywhere`.
    pub(crate) fn has_living(&self, session: SessionId, anywhere: bool) -> bool {
        self.processes.values().any(|Running { process, marked, .. }| {
            *marked == Some(session) && !process.ended && (anywhere || process.terminal != 0)
        })
    }

    /// It has ended and waits for its parent.
    pub(crate) fn end(&mut self, id: ProcessId) {
        if let Some(running) = self.processes.get_mut(&id.pid)
            && running.process.id == id
        {
            running.process.ended = true;
        }
    }

    /// Its number is free.
    pub(crate) fn reap(&mut self, id: ProcessId) {
        if self.processes.get(&id.pid).is_some_and(|running| running.process.id == id) {
            self.processes.remove(&id.pid);
        }
    }

    /// Whether this signal ends a process. It must be one of a session.
    pub(crate) fn signal(&mut self, id: ProcessId, number: u8) -> bool {
        let Some(running) = self.processes.get(&id.pid).filter(|running| running.process.id == id) else {
            return false;
        };
        assert!(running.marked.is_some(), "a process of no session is signalled");
        let ends = number == 9 || (matches!(number, 1 | 2 | 15) && !running.ignores);
        ends && !running.process.ended
    }

    // Holders.

    /// Launches a holder at the session's place; `None` if that is taken.
    pub(crate) fn launch(&mut self, launch: Launch) -> Option<HolderId> {
        if self.sockets.contains_key(&launch.session) {
            return None;
        }
        self.next_holder += 1;
        let id = HolderId(self.next_holder);
        let process = self.spawn(None, None, true);
        let session = launch.session;
        self.truth.launched(&launch);
        let holder = Holder::new(self, process, launch);
        self.holders.insert(id, holder);
        self.sockets.insert(session, id);
        Some(id)
    }

    /// Who listens at a session's socket.
    pub(crate) fn listening(&self, session: SessionId) -> Option<HolderId> {
        self.sockets.get(&session).copied().filter(|holder| self.holders.contains_key(holder))
    }

    /// Connects to a session's holder.
    pub(crate) fn dial_holder(&mut self, session: SessionId) -> Option<WireId> {
        let holder = self.listening(session)?;
        let wire = self.net.connect();
        self.holders.get_mut(&holder).unwrap().accept(wire);
        Some(wire)
    }

    /// Asks who is there.
    pub(crate) fn probe(&mut self, session: SessionId) -> Probe {
        let Some(id) = self.listening(session) else { return Probe::None };
        let now = self.clock.tick_ms();
        let mut holder = self.holders.remove(&id).unwrap();
        if self.is(Mutant::ProbeAdopts) {
            holder.drop_link(self);
        }
        let probe = if holder.is_foreign {
            Probe::UnknownVersion
        } else if holder.silent_until > now {
            Probe::Silent
        } else {
            let header = holder.header();
            Probe::Pong(Pong {
                same_session: true,
                incarnation: holder.incarnation(),
                boot: holder.boot(),
                child: match header.state {
                    abide_holder::State::Waiting => Child::NotStarted,
                    abide_holder::State::Running => Child::Alive,
                    abide_holder::State::Ended | abide_holder::State::Failed => Child::Ended,
                },
                daemon_epoch: DaemonEpoch(header.daemon_epoch),
                program: header.child_pid,
            })
        };
        self.holders.insert(id, holder);
        probe
    }

    /// The pids of all holders.
    pub(crate) fn holder_pids(&self) -> std::collections::BTreeSet<u32> {
        self.holders.values().map(Holder::pid).collect()
    }

    /// One step of a holder. Whether it did anything.
    pub(crate) fn step_holder(&mut self, id: HolderId, kind: u64) -> bool {
        let Some(mut holder) = self.holders.remove(&id) else { return false };
        let moved = holder.step(self, kind);
        if holder.is_done() {
            holder.leave(self, id);
        } else {
            self.holders.insert(id, holder);
        }
        moved
    }

    /// A holder is killed: its terminal closes.
    pub(crate) fn kill_holder(&mut self, id: HolderId) {
        if let Some(mut holder) = self.holders.remove(&id) {
            holder.die(self);
        }
    }

    /// The machine goes down and comes up again. All processes are gone.
    pub(crate) fn reboot(&mut self) {
        for (_, mut holder) in std::mem::take(&mut self.holders) {
            holder.die(self);
        }
        self.processes.clear();
        self.net.cut_all();
        self.handed.clear();
        self.boots += 1;
        self.boot = BootId([self.boots; 16]);
        self.disk.power_loss();
        self.truth.took_back();
        self.clock.advance_ms(1_000);
    }
}
