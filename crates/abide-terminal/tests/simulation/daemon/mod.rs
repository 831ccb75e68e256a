//! The plumbing of a daemon: what its tasks do, one step after the other. It may be killed before each of its effects.

mod attach;
mod effects;
mod pump;
mod recovery;
mod screens;
mod serve;
mod stream;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use abide_holder::BootId;
use abide_journal::{
    AppendOptions, Appended, Durability, Entry as LogEntry, Error as JournalError, Journal, Log, Lsn, SpaceState,
    Ticket,
};
use abide_terminal::procs::{Members, Process};
use abide_terminal::recover::{self, Probe};
use abide_terminal::session::{Asker, Input, Limits, Session, StreamId};
use abide_terminal::store::{self, Event, Registry, Table, Tombstone};
use abide_terminal::{ByteOffset, ClientId, DaemonEpoch, EventNumber, InputOffset, OwnerEpoch, SessionId};
use bytes::Bytes;

use self::pump::Pump;
use self::screens::Picture;
pub(crate) use self::screens::Sum;
use self::serve::{Connection, Waiting};
use self::stream::Viewer;
use crate::disk::{self, SimClock, SimDisk};
use crate::machine::Machine;
use crate::network::{End, WireId};

/// Events between two checkpoints of the table: few, so that starts read both.
const TABLE_EVENTS: u64 = 25;

/// Why a daemon ends.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Another one takes its place.
    Replaced,
    /// The journal takes nothing more.
    Poisoned,
    /// A newer daemon has the holders.
    Stale,
    /// It was killed between two effects.
    Killed,
}

/// What the tasks around the sessions tell them.
enum Msg {
    Session(SessionId, Input),
    Adopted(SessionId, WireId),
    LogCreated(SessionId, Result<Log, JournalError>),
    LogDropped(SessionId),
    CreateLog(SessionId),
    Poisoned,
    Stale(SessionId, u64),
    HolderLost(SessionId, ByteOffset),
    NotAdopted(SessionId),
    Probed(SessionId, Probe),
    LeftEnded(SessionId),
    Found(SessionId, Members, Vec<Process>),
}

/// What takes its time.
enum Task {
    CreateLog(SessionId, Ticket<Log>),
    /// The store had no room for a log.
    AwaitRoom(SessionId),
    DropLog(SessionId, Option<Ticket<()>>),
    Launch(SessionId, u64),
    /// What is missing is named, then the end is told.
    EndLost(recovery::Lost),
    /// Signals to what a dead holder left.
    EndLeft(SessionId, Vec<abide_terminal::procs::ProcessId>, usize, u64, recovery::AfterLeft),
    ProbeAgain(SessionId, u64),
    Append(Lsn, Ticket<Vec<Appended>>),
}

/// A session, and what the daemon has of it beside the rules.
pub(crate) struct Entry {
    pub(crate) core: Session,
    log: Option<Log>,
    pump: Option<Pump>,
    /// The connection to its holder, once the session knows of it.
    link: Option<WireId>,
    viewers: BTreeMap<StreamId, Viewer>,
    held: VecDeque<(StreamId, OwnerEpoch, InputOffset, Bytes)>,
    told: (OwnerEpoch, InputOffset),
    members: Option<Members>,
    picture: Option<Picture>,
    /// The session has ended: its last screen is worth keeping.
    keep_screen: bool,
}

impl Entry {
    fn new(core: Session) -> Self {
        Self {
            core,
            log: None,
            pump: None,
            link: None,
            viewers: BTreeMap::new(),
            held: VecDeque::new(),
            told: (OwnerEpoch(0), InputOffset(0)),
            members: None,
            picture: None,
            keep_screen: false,
        }
    }

    fn end_output_if_over(&mut self) {
        if let Some(pump) = self.pump.as_mut().filter(|_| !self.core.takes_output()) {
            pump.end();
        }
    }

    fn applied(&self) -> InputOffset {
        let epoch = self.core.facts().record().owner_epoch;
        let ring = self.link.and(self.pump.as_ref()).and_then(Pump::ring);
        ring.map_or(InputOffset(0), |ring| InputOffset(ring.input_applied_in(epoch.0)))
    }

    fn end(&self) -> ByteOffset {
        ByteOffset(self.log.as_ref().map_or(0, |log| abide_terminal::stream::written(log).offset.0))
    }
}

/// One life of the daemon.
pub(crate) struct Daemon {
    pub(crate) epoch: DaemonEpoch,
    boot: BootId,
    pub(crate) journal: Journal,
    pub(crate) registry_log: Log,
    registry: Registry,
    pub(crate) entries: BTreeMap<SessionId, Entry>,
    keys: BTreeMap<String, SessionId>,
    tombstones: VecDeque<Tombstone>,
    connections: BTreeMap<WireId, Connection>,
    clients: BTreeMap<ClientId, BTreeSet<WireId>>,
    askers: BTreeMap<Asker, Waiting>,
    streams: BTreeMap<StreamId, SessionId>,
    removals: BTreeMap<SessionId, Waiting>,
    messages: VecDeque<Msg>,
    tasks: VecDeque<Task>,
    raising: Option<(DaemonEpoch, BTreeSet<SessionId>)>,
    limits: Limits,
    full: bool,
    last_event: EventNumber,
    table_event: EventNumber,
    next_asker: u64,
    next_stream: u64,
    /// Effects until it is killed.
    dies_after: Option<u64>,
    pub(crate) stop: Option<Stop>,
}

/// Why a daemon did not start.
#[derive(Debug)]
pub(crate) enum NoStart {
    /// The journal failed, or is full: tried again.
    Journal,
    /// It was killed on the way.
    Killed,
}

impl Daemon {
    /// Takes the lock, reads what there is, and decides every session.
    pub(crate) fn start(machine: &mut Machine, dies_after: Option<u64>) -> Result<Self, NoStart> {
        let options = disk::options(machine.rng.next_u64(), machine.limits.store_bytes_max);
        let disk = Arc::new(SimDisk(machine.disk.clone()));
        let opened = Journal::open(disk, Arc::new(SimClock(machine.clock.clone())), options);
        let journal = match opened {
            Ok((journal, _)) => journal,
            Err(JournalError::Poisoned(_) | JournalError::Full) => return Err(NoStart::Journal),
            Err(error) => panic!("the store does not open: {error}"),
        };
        let mut fuse = dies_after;
        let failed = |_| NoStart::Journal;
        let registry_log = match journal.log(store::REGISTRY_LOG) {
            Ok(log) => log,
            Err(_) => journal
                .create_log(store::REGISTRY_LOG, store::registry_options(disk::retention(0)))
                .wait()
                .map_err(failed)?,
        };
        let (table, events_bytes) = match Table::read(&registry_log) {
            Ok(read) => read,
            Err(store::ReadError::Journal(_)) => return Err(NoStart::Journal),
            Err(error) => panic!("the registry cannot be read: {error}"),
        };
        let sockets: Vec<SessionId> = machine.sockets.keys().copied().collect();
        let probes: BTreeMap<SessionId, Probe> =
            sockets.into_iter().map(|session| (session, machine.probe(session))).collect();
        let seen = probes.values().filter_map(|probe| match probe {
            Probe::Pong(pong) => Some(pong.daemon_epoch),
            _ => None,
        });
        let epoch = recover::next_epoch(table.daemon_epoch, seen);
        if burn(&mut fuse) {
            return Err(NoStart::Killed);
        }
        let entry = store::Entry { event: boot_event(epoch, machine.boot), session: None };
        let entry = LogEntry::data(0, serde_json::to_vec(&entry).unwrap());
        registry_log.append(entry, AppendOptions::at(Durability::Always)).wait().map_err(failed)?;
        if burn(&mut fuse) {
            return Err(NoStart::Killed);
        }
        machine.tell(|| format!("daemon {epoch:?} starts"));
        let mut daemon = Self {
            epoch,
            boot: machine.boot,
            registry: Registry::new(journal.clone(), registry_log.clone(), Durability::Always, events_bytes),
            journal,
            registry_log,
            entries: BTreeMap::new(),
            keys: BTreeMap::new(),
            tombstones: table.tombstones,
            connections: BTreeMap::new(),
            clients: BTreeMap::new(),
            askers: BTreeMap::new(),
            streams: BTreeMap::new(),
            removals: BTreeMap::new(),
            messages: VecDeque::new(),
            tasks: VecDeque::new(),
            raising: None,
            limits: machine.limits.session,
            full: false,
            last_event: EventNumber(0),
            table_event: EventNumber(0),
            next_asker: 0,
            next_stream: 0,
            dies_after: fuse,
            stop: None,
        };
        for tombstone in &daemon.tombstones {
            if let Some(key) = &tombstone.key {
                daemon.keys.insert(key.clone(), tombstone.id);
            }
        }
        for (id, facts) in table.sessions {
            if let Some(key) = &facts.record().key {
                daemon.keys.insert(key.clone(), id);
            }
            daemon.entries.insert(id, Entry::new(Session::new(facts, daemon.limits)));
        }
        daemon.recover(machine, probes);
        Ok(daemon)
    }

    /// Whether the effect that is due is carried out: the daemon lives.
    fn lives(&mut self) -> bool {
        if self.stop.is_none() && burn(&mut self.dies_after) {
            self.stop = Some(Stop::Killed);
        }
        self.stop.is_none()
    }

    /// It is killed after so many effects.
    pub(crate) fn kill_after(&mut self, effects: u64) {
        self.dies_after.get_or_insert(effects);
    }

    /// Nobody kills it any more.
    pub(crate) fn live_on(&mut self) {
        self.dies_after = None;
    }

    /// All pumps and streams have a turn.
    pub(crate) fn step_all(&mut self, machine: &mut Machine) -> bool {
        let mut moved = false;
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        for id in ids {
            for _ in 0..6 {
                moved |= self.pump_step(machine, id);
            }
        }
        for _ in 0..self.streams.len() {
            moved |= self.stream_some(machine);
        }
        for _ in 0..self.tasks.len() {
            moved |= self.task_some(machine);
        }
        while self.take_message(machine) {
            moved = true;
        }
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        for id in ids {
            moved |= self.draw(machine, id);
        }
        moved
    }

    /// It is told to end all of its sessions.
    pub(crate) fn terminate_all(&mut self, machine: &mut Machine) {
        self.feed_all(machine, &Input::Terminate { grace_ms: 0 });
    }

    /// It ends; the first reason holds.
    fn end(&mut self, stop: Stop) {
        self.stop.get_or_insert(stop);
    }

    /// One step of one of its tasks. Whether it did anything.
    pub(crate) fn step(&mut self, machine: &mut Machine, kind: u64) -> bool {
        if !self.lives() {
            return true;
        }
        match kind % 9 {
            0 if machine.slow_disk_until > machine.clock.tick_ms() => false,
            0 => self.journal.turn(),
            1 => self.take_message(machine),
            2 => self.settle(machine),
            3 => self.serve_some(machine),
            4 => self.pump_some(machine),
            5 => self.stream_some(machine),
            6 => self.task_some(machine),
            7 => self.tick(machine),
            _ => self.draw_some(machine),
        }
    }

    /// When it will do something by itself.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let sessions = self.entries.values().filter_map(|entry| entry.core.poll_timeout());
        let pumps = self.entries.values().filter_map(|entry| entry.pump.as_ref()?.deadline());
        let tasks = self.tasks.iter().filter_map(|task| match task {
            Task::Launch(_, at) | Task::ProbeAgain(_, at) | Task::EndLeft(_, _, _, at, _) => Some(*at),
            _ => None,
        });
        let stalls = self.connections.values().filter_map(Connection::deadline);
        sessions.chain(pumps).chain(tasks).chain(stalls).chain(self.journal.deadline_ms()).min()
    }

    fn tell(&mut self, id: SessionId, input: Input) {
        self.messages.push_back(Msg::Session(id, input));
    }

    fn take_message(&mut self, machine: &mut Machine) -> bool {
        let Some(message) = self.messages.pop_front() else { return false };
        match message {
            Msg::Session(id, input) => self.feed(machine, id, input),
            Msg::Adopted(id, wire) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.link = Some(wire);
                    entry.end_output_if_over();
                }
            }
            Msg::LogCreated(id, created) => self.log_created(machine, id, created),
            Msg::CreateLog(id) => self.create_log(machine, id),
            Msg::LogDropped(id) => {
                if let Some(waiting) = self.removals.remove(&id) {
                    self.answer_ok(machine, waiting, &abide_terminal::protocol::Nothing {});
                }
            }
            Msg::Poisoned => self.end(Stop::Poisoned),
            Msg::Stale(id, epoch) => self.stale(machine, id, epoch),
            Msg::HolderLost(id, head) => self.holder_lost(machine, id, head),
            Msg::NotAdopted(id) => self.not_adopted(machine, id),
            Msg::Probed(id, probe) => self.decide(machine, id, probe),
            Msg::LeftEnded(id) => self.left_ended(machine, id),
            Msg::Found(id, members, found) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.members = Some(members);
                }
                self.feed(machine, id, Input::Found(found));
            }
        }
        true
    }

    /// The registry log has moved on, or the store's room has changed.
    fn settle(&mut self, machine: &mut Machine) -> bool {
        let mut moved = false;
        for (lsn, ticket) in self.registry.pump() {
            self.tasks.push_back(Task::Append(lsn, ticket));
            moved = true;
        }
        if self.journal.ended().is_some() {
            self.end(Stop::Poisoned);
            return true;
        }
        for written in self.registry.written() {
            moved = true;
            self.last_event = written.last;
            if !self.lives() {
                return true;
            }
            if let Some(session) = written.session {
                machine.tally.count("transitions");
                self.feed(machine, session, Input::Written(written.first, written.at));
            }
        }
        for (number, session) in self.registry.durable() {
            moved = true;
            match session {
                Some(session) => self.feed(machine, session, Input::Durable(number)),
                None => self.epoch_raised(machine),
            }
        }
        if self.last_event.0 - self.table_event.0 >= TABLE_EVENTS {
            self.save_table();
        }
        let full = self.journal.space().get().state == SpaceState::Full;
        if full != self.full {
            moved = true;
            self.full = full;
            machine.tally.count("the store became full or not full");
            if !full {
                self.space(machine);
            }
        }
        moved
    }

    fn space(&mut self, machine: &mut Machine) {
        for entry in self.entries.values_mut() {
            if let Some(pump) = &mut entry.pump {
                pump.space();
            }
        }
        self.feed_all(machine, &Input::Space);
    }

    fn save_table(&mut self) {
        self.table_event = self.last_event;
        let mut table = Table { daemon_epoch: self.epoch, tombstones: self.tombstones.clone(), ..Table::default() };
        for (id, entry) in &self.entries {
            match entry.core.removed_at() {
                Some(removed_at) => {
                    let key = entry.core.facts().record().key.clone();
                    table.tombstones.push_back(Tombstone { id: *id, key, removed_at });
                }
                None => drop(table.sessions.insert(*id, entry.core.facts().clone())),
            }
        }
        self.registry.save(self.last_event, &table);
    }

    fn append_failed(&mut self, machine: &mut Machine, lsn: Lsn, error: &JournalError) {
        if is_fatal(error) {
            return self.end(Stop::Poisoned);
        }
        if let Some((session, refusal)) = self.registry.failed(lsn, error) {
            let Some(session) = session else { return self.end(Stop::Stale) };
            machine.tally.count("transitions were refused");
            self.feed(machine, session, Input::Refused(refusal));
            if self.journal.space().get().state != SpaceState::Full {
                self.feed(machine, session, Input::Space);
            }
        }
    }

    fn tick(&mut self, machine: &mut Machine) -> bool {
        let now = machine.clock.tick_ms();
        let due = |entry: &Entry| entry.core.poll_timeout().is_some_and(|at| at <= now);
        let ids: Vec<SessionId> = self.entries.iter().filter(|(_, entry)| due(entry)).map(|(id, _)| *id).collect();
        for id in &ids {
            self.feed(machine, *id, Input::Timeout);
        }
        let told = self.tell_applied(machine);
        !ids.is_empty() || told
    }

    fn feed_all(&mut self, machine: &mut Machine, input: &Input) {
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        for id in ids {
            self.feed(machine, id, input.clone());
        }
    }

    /// Lets a session take an input in, and carries out what follows.
    fn feed(&mut self, machine: &mut Machine, id: SessionId, input: Input) {
        if !self.lives() {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        machine.tell(|| format!("{id:?} <- {input:?}"));
        let mut out = Vec::new();
        entry.core.handle(machine.now(), input, &mut out);
        for output in out {
            if !self.lives() {
                return;
            }
            machine.tell(|| format!("{id:?} -> {output:?}"));
            self.carry_out(machine, id, output);
        }
        self.take_held_input(machine, id);
    }

    /// A holder was adopted in this or a higher epoch.
    fn stale(&mut self, machine: &mut Machine, id: SessionId, epoch: u64) {
        // The lock file of the journal stands for the daemon's own here: both go to the successor.
        if self.boot != machine.boot || !machine.is_lock_ours(self.epoch) {
            return self.end(Stop::Stale);
        }
        machine.tally.count("an epoch was raised");
        let above = recover::next_epoch(self.epoch, [DaemonEpoch(epoch)]);
        let boot = self.boot;
        let (registry, raising) = (&mut self.registry, &mut self.raising);
        let (_, asked) = raising.get_or_insert_with(|| {
            let _queued = registry.append(None, abide_terminal::session::Unit::of(boot_event(above, boot), None), None);
            (above, BTreeSet::new())
        });
        asked.insert(id);
    }

    fn epoch_raised(&mut self, machine: &mut Machine) {
        let Some((epoch, asked)) = self.raising.take() else { return };
        self.epoch = epoch;
        machine.lock_is(epoch);
        for id in asked {
            self.adopt(machine, id);
        }
    }

    /// Says goodbye, as far as it ends by itself; then every connection ends.
    pub(crate) fn leave(mut self, machine: &mut Machine) {
        let stop = self.stop.take();
        machine.tell(|| format!("daemon {:?} ends: {stop:?}", self.epoch));
        match stop {
            Some(Stop::Killed) | None => {}
            Some(Stop::Replaced | Stop::Poisoned | Stop::Stale) => self.say_goodbye(machine),
        }
        if matches!(stop, Some(Stop::Replaced)) {
            self.save_table();
            let _closed = self.journal.close().wait();
        }
        for wire in self.connections.keys() {
            machine.net.close(*wire, End::Server);
        }
        for pump in self.entries.values().filter_map(|entry| entry.pump.as_ref()) {
            pump.close(machine);
        }
        // What is dropped now does nothing more, as if it had died here.
        machine.disk.freeze();
        drop(self);
        machine.disk.thaw();
    }
}

fn burn(fuse: &mut Option<u64>) -> bool {
    match fuse {
        Some(0) => true,
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn boot_event(daemon_epoch: DaemonEpoch, boot: BootId) -> Event {
    Event::Boot { daemon_epoch, boot_id: boot.to_string(), version: "simulated".to_owned(), format: Event::FORMAT }
}

fn is_fatal(error: &JournalError) -> bool {
    matches!(error, JournalError::Poisoned(_) | JournalError::Unknown { .. } | JournalError::Closed)
}
