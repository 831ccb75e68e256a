//! One seed: a time of faults, a time of rest, the end of every session, and the checks.

mod strike;

use abide_terminal::protocol::Mode;
use abide_terminal::{SessionId, State};

use crate::check::{self, check_end};
use crate::client::{Client, Past};
use crate::daemon::{Daemon, Stop};
use crate::faults::Fault;
use crate::machine::{HolderId, Machine};
use crate::mutant::Mutant;
use crate::tally::Tally;

/// What a seed gives.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) trace: (u64, u64),
    pub(crate) tally: Tally,
}

/// A daemon that stands still while another one has taken its place.
struct Paused {
    daemon: Daemon,
    until: u64,
}

struct World {
    machine: Machine,
    daemon: Option<Daemon>,
    paused: Option<Paused>,
    clients: Vec<Client>,
    pasts: Vec<Past>,
    faults: Vec<Fault>,
    /// When a daemon is started where none is.
    start_at: u64,
    /// It is killed again after each start, so often.
    kills_left: u64,
    /// The power fails at a planned call.
    power_fails: bool,
    /// The disk has room again then.
    room_at: Option<u64>,
    next_client: u64,
    /// Sessions whose holder was killed, and may record that program's exit when there is another one.
    killed: Vec<SessionId>,
}

/// Runs one seed. Panics where a check fails.
pub(crate) fn run(seed: u64, mutant: Option<Mutant>) -> Outcome {
    let mut world = World::new(seed, mutant);
    for _ in 0..world.machine.limits.steps {
        world.step();
    }
    world.calm();
    world.rest(20_000, |_| true);
    world.end_sessions();
    world.check();
    Outcome { trace: world.machine.trace(), tally: world.machine.tally }
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut machine = Machine::new(seed, mutant);
        let faults = Fault::draw(&mut machine.rng);
        machine.tell(|| format!("{:?} {faults:?}", "faults"));
        let mut world = Self {
            machine,
            daemon: None,
            paused: None,
            clients: Vec::new(),
            pasts: Vec::new(),
            faults,
            start_at: 0,
            kills_left: 0,
            power_fails: false,
            room_at: None,
            next_client: 0,
            killed: Vec::new(),
        };
        for _ in 0..world.machine.limits.clients {
            world.add_client();
        }
        world
    }

    fn add_client(&mut self) {
        self.next_client += 1;
        let id = format!("client-{}", self.next_client).parse().unwrap();
        let client = Client::new(&mut self.machine, id);
        self.clients.push(client);
    }

    // Steps.

    fn step(&mut self) {
        match self.machine.rng.below(100) {
            0..44 => {
                let kind = self.machine.rng.below(9);
                for _ in 0..=self.machine.rng.below(5) {
                    if let Some(daemon) = &mut self.daemon {
                        daemon.step(&mut self.machine, kind);
                    }
                }
            }
            44..62 => {
                let (holder, kind) = (self.some_holder(), self.machine.rng.below(6));
                if let Some(holder) = holder {
                    self.machine.step_holder(holder, kind);
                }
            }
            62..82 => {
                let (which, kind) = (self.machine.rng.index(self.clients.len()), self.machine.rng.below(4));
                for _ in 0..=self.machine.rng.below(5) {
                    self.clients[which].step(&mut self.machine, self.daemon.as_mut(), kind);
                }
            }
            82..86 => {
                let some = [1, 5, 20, 120][self.machine.rng.index(4)];
                let ms = 1 + self.machine.rng.below(some);
                self.machine.clock.advance_ms(ms);
            }
            86..97 => self.act(),
            _ => self.fault(),
        }
        self.look_after();
    }

    fn some_holder(&mut self) -> Option<HolderId> {
        let holders: Vec<HolderId> = self.machine.holders.keys().copied().collect();
        (!holders.is_empty()).then(|| holders[self.machine.rng.index(holders.len())])
    }

    fn some_session(&mut self) -> Option<SessionId> {
        let sessions = self.machine.truth.sessions();
        (!sessions.is_empty()).then(|| sessions[self.machine.rng.index(sessions.len())])
    }

    /// A client does something.
    fn act(&mut self) {
        let which = self.machine.rng.index(self.clients.len());
        if self.machine.rng.one_in(2) && self.clients.iter_mut().any(|client| client.type_some(&mut self.machine)) {
            return;
        }
        if self.clients[which].is_over() {
            let past = self.clients.swap_remove(which).vanish(&mut self.machine);
            self.pasts.extend(past);
            return self.add_client();
        }
        let sessions = self.machine.truth.sessions().len();
        let choice = self.machine.rng.below(20);
        if sessions == 0 || (choice == 0 && sessions < self.machine.limits.sessions_max) {
            if self.clients[which].asked.is_empty() {
                self.clients[which].create(&mut self.machine);
            }
            return;
        }
        let Some(session) = self.some_session() else { return };
        if choice == 1 {
            self.pasts.extend(self.clients[which].put_away());
        }
        let client = &mut self.clients[which];
        match choice {
            1..=3 if client.streams.len() < 6 => {
                let mine = client.some_of_mine(&mut self.machine.rng).filter(|_| choice < 3);
                let mode = if mine.is_some() || self.machine.rng.one_in(3) { Mode::Owner } else { Mode::Observer };
                let session = mine.unwrap_or(session);
                let from_begin = !self.machine.rng.one_in(4);
                client.attach(&mut self.machine, session, mode, from_begin);
            }
            4 | 5 => client.ask_about(&mut self.machine, session),
            _ => client.act(&mut self.machine),
        }
    }

    /// Starts a daemon where none is, and takes leave of one that has ended.
    fn look_after(&mut self) {
        let now = self.machine.clock.tick_ms();
        if let Some(stop) = self.daemon.as_ref().and_then(|daemon| daemon.stop.as_ref()) {
            match stop {
                Stop::Poisoned => {
                    self.machine.tally.count("the journal failed");
                    self.machine.truth.took_back();
                }
                Stop::Stale => self.machine.tally.count("a daemon found itself put aside"),
                Stop::Replaced | Stop::Killed => {}
            }
            self.lose_daemon();
        }
        if let Some(Paused { daemon, .. }) = self.paused.take_if(|paused| paused.until <= now) {
            self.resume(daemon);
        }
        if self.power_fails && self.machine.disk.is_dead() {
            self.reboot();
        }
        self.late_exits();
        if self.room_at.is_some_and(|at| at <= now) {
            self.room_at = None;
            self.machine.disk.set_capacity(u64::MAX);
        }
        if self.daemon.is_none() && (now >= self.start_at || std::mem::take(&mut self.machine.daemon_wanted)) {
            self.start_daemon();
        }
    }

    fn start_daemon(&mut self) {
        let dies_after = (self.kills_left > 0).then(|| self.machine.rng.below(25));
        self.kills_left = self.kills_left.saturating_sub(1);
        self.machine.daemon_wanted = false;
        match Daemon::start(&mut self.machine, dies_after) {
            Ok(daemon) => {
                self.machine.tally.count("starts of the daemon");
                self.daemon = Some(daemon);
            }
            Err(why) => {
                self.machine.tell(|| format!("the daemon did not start: {why:?}"));
                self.machine.tally.count("starts that failed");
                self.machine.disk.processes_die_keeping_faults();
                self.machine.truth.took_back();
                self.start_at = self.machine.clock.tick_ms() + 1 + self.machine.rng.below(5_000);
            }
        }
    }

    /// The daemon is gone; another one follows some time.
    fn lose_daemon(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.leave(&mut self.machine);
            if !self.power_fails || !self.machine.disk.is_dead() {
                self.machine.disk.processes_die_keeping_faults();
            }
            let away = [0, 10, 700, 12_000][self.machine.rng.index(4)];
            self.start_at = self.machine.clock.tick_ms() + self.machine.rng.below(away + 1);
        }
    }

    /// A daemon that was put aside goes on, until it sees that.
    fn resume(&mut self, mut daemon: Daemon) {
        self.machine.tally.count("a paused daemon went on");
        for _ in 0..400 {
            if daemon.stop.is_some() {
                break;
            }
            let kind = self.machine.rng.below(9);
            daemon.step(&mut self.machine, kind);
            if let Some(holder) = self.some_holder() {
                let kind = self.machine.rng.below(6);
                self.machine.step_holder(holder, kind);
            }
        }
        if daemon.stop.is_some() {
            self.machine.tally.count("a paused daemon saw that it was put aside");
        }
        daemon.leave(&mut self.machine);
    }

    fn reboot(&mut self) {
        self.power_fails = false;
        self.machine.tell(|| "the machine reboots".to_owned());
        if let Some(daemon) = self.daemon.take() {
            drop_dead(&mut self.machine, daemon);
        }
        if let Some(paused) = self.paused.take() {
            drop_dead(&mut self.machine, paused.daemon);
        }
        self.machine.reboot();
        self.start_at = self.machine.clock.tick_ms();
    }

    // Rest.

    /// No fault strikes any more.
    fn calm(&mut self) {
        self.machine.tell(|| "nothing goes wrong from here on".to_owned());
        if self.power_fails {
            self.reboot();
        }
        self.faults.clear();
        self.killed.clear();
        self.kills_left = 0;
        self.machine.disk.clear_faults();
        self.machine.disk.set_capacity(u64::MAX);
        self.room_at = None;
        self.machine.limits.launch_fails_one_in = u64::MAX;
        self.machine.slow_disk_until = 0;
        self.machine.net.nobody_is_slow();
        for client in &mut self.clients {
            client.rests_until = 0;
        }
        if let Some(Paused { daemon, .. }) = self.paused.take() {
            // Shorter pauses are not told from slowness.
            self.machine.clock.advance_ms(1_000);
            self.resume(daemon);
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.live_on();
        }
    }

    /// Everything has its turns until `done`, at most for so long.
    fn rest(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.machine.clock.tick_ms() + ms;
        loop {
            let mut moved = false;
            for kind in 0..9 {
                for _ in 0..3 {
                    if let Some(daemon) = &mut self.daemon {
                        moved |= daemon.step(&mut self.machine, kind);
                    }
                }
                self.look_after();
            }
            if let Some(daemon) = &mut self.daemon {
                moved |= daemon.step_all(&mut self.machine);
            }
            let holders: Vec<HolderId> = self.machine.holders.keys().copied().collect();
            for holder in holders {
                for kind in 0..6 {
                    moved |= self.machine.step_holder(holder, kind);
                }
            }
            for which in 0..self.clients.len() {
                for kind in 0..3 {
                    moved |= self.clients[which].step(&mut self.machine, self.daemon.as_mut(), kind);
                }
                moved |= self.clients[which].step_streams(&mut self.machine);
            }
            self.look_after();
            let now = self.machine.clock.tick_ms();
            if now >= until {
                return done(self);
            }
            if !moved {
                if self.daemon.is_some() && done(self) && ms != 20_000 {
                    return true;
                }
                let next = self.next_deadline().unwrap_or(u64::MAX).clamp(now + 1, now + 1_000);
                self.machine.clock.advance_ms(next - now);
            } else if self.machine.rng.one_in(20) {
                self.machine.clock.advance_ms(1);
            }
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let daemon = self.daemon.as_ref().map_or(Some(self.start_at), Daemon::deadline);
        let holders = self.machine.holders.values().filter_map(crate::holder::Holder::deadline);
        let clients = self.clients.iter().filter_map(Client::deadline);
        let net = self.machine.net.stuck_until();
        holders.chain(clients).chain(daemon).chain(net).filter(|at| *at > self.machine.clock.tick_ms()).min()
    }

    fn living(&self) -> Vec<SessionId> {
        let Some(daemon) = &self.daemon else { return Vec::new() };
        let open = daemon.entries.iter().filter(|(_, entry)| !entry.core.is_over());
        open.map(|(id, _)| *id).collect()
    }

    fn is_still(&self) -> bool {
        self.daemon.is_some()
            && self.living().is_empty()
            && self.clients.iter().all(|client| client.asked.is_empty())
            && self.clients.iter().flat_map(|client| &client.streams).all(|stream| stream.ended.is_some())
            && self.machine.holders.is_empty()
    }

    /// Every session is ended by a client of its own.
    fn end_sessions(&mut self) {
        let id = "the-last".parse().unwrap();
        let last = Client::new(&mut self.machine, id);
        self.clients.push(last);
        for round in 0..8 {
            let which = self.clients.len() - 1;
            assert!(!self.clients[which].is_over(), "the daemon is there: {:?}", self.daemon.is_some());
            let open = self.living();
            for session in open {
                let state = self.daemon.as_ref().map(|daemon| daemon.entries[&session].core.facts().state());
                if state.is_some_and(|state| state < State::Exited) {
                    self.clients[which].end(&mut self.machine, session);
                }
            }
            // Who owns a session may keep others from it.
            if round > 0
                && let Some(daemon) = &mut self.daemon
            {
                daemon.terminate_all(&mut self.machine);
            }
            if self.rest(30_000, Self::is_still) {
                return;
            }
        }
        self.fail_to_end();
    }

    fn fail_to_end(&self) -> ! {
        let sessions: Vec<_> = self
            .living()
            .into_iter()
            .map(|id| self.daemon.as_ref().map(|daemon| format!("{:?}", daemon.entries[&id].core)))
            .collect();
        let asked: Vec<_> = self.clients.iter().map(|client| (&client.id, &client.asked)).collect();
        let streams = self.clients.iter().flat_map(|client| &client.streams);
        let standing: Vec<_> =
            streams.filter(|stream| stream.ended.is_none()).map(|stream| (stream.session, stream.position)).collect();
        panic!(
            "it does not come to rest: daemon {}, sessions {sessions:?}, asked {asked:?}, streams {standing:?}, holders {:?}",
            self.daemon.is_some(),
            self.machine.holders.values().map(crate::holder::Holder::session).collect::<Vec<_>>(),
        );
    }

    fn check(&mut self) {
        let daemon = self.daemon.as_ref().expect("a daemon serves");
        check_end(&self.machine, daemon);
        for stream in self.clients.iter().flat_map(|client| &client.streams) {
            if stream.saw_all()
                && let Some(entry) = daemon.entries.get(&stream.session)
                // What it saw the end of may have been followed by another program.
                && entry.core.facts().record().incarnation.0 == stream.incarnation
            {
                let end = entry.core.facts().record().end_offset.0;
                assert_eq!(stream.position, Some(end), "a stream that saw the end saw all of {:?}", stream.session);
                let named = check::holes(daemon, stream.session);
                let told = stream.from_begin && named.iter().all(|hole| stream.holes.contains(hole));
                assert!(told || !stream.from_begin, "each hole of {:?} is told: {named:?}", stream.session);
                self.machine.tally.count("streams that saw all");
            }
        }
        let standing = self.clients.iter().flat_map(|client| &client.streams).map(|stream| &stream.past);
        let pasts: Vec<&Past> = self.pasts.iter().chain(standing).collect();
        self.machine.truth.check_input(&pasts);
        self.machine.tally.add("sessions that ended", daemon.entries.len() as u64);
        if let Some(daemon) = self.daemon.take() {
            drop_dead(&mut self.machine, daemon);
        }
    }
}

/// What is dropped does nothing more, as if its process had died before.
fn drop_dead(machine: &mut Machine, daemon: Daemon) {
    machine.disk.freeze();
    drop(daemon);
}
