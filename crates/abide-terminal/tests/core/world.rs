//! A session, and small models of all that is around it: journal, holder, clients, time.

use std::collections::{BTreeMap, BTreeSet};

use abide_terminal::procs::{Process, ProcessId};
use abide_terminal::protocol::Mode;
use abide_terminal::session::{
    Asker, Attach, Frame, Gone, HolderInput, Input, Limits, Now, Op, Output, Refusal, Reply, Restart, Session, Size,
    StreamId, Target, Unit,
};
use abide_terminal::store::{Created, Event, Facts};
use abide_terminal::{
    ByteOffset, Cause, ClientId, ExitKind, Incarnation, InputOffset, OwnerEpoch, Record, Restore, SessionId, State,
    Takeover,
};

use crate::coverage::Coverage;
use crate::holder::{Holder, LEADER, Program, Sent};
use crate::journal::Journal;
use abide_sim::Rng;

mod actions;

pub(crate) const LIMITS: Limits = Limits { owner_grace_ms: 10_000, drain_ms_max: 2_000, observers_max: 3 };
const WINDOW: u64 = 65_536;
const KINDS: [&str; 4] = ["ada", "bob", "cy", "dan"];

/// Somebody who waits for an answer.
#[derive(Debug, Clone)]
struct Asked {
    what: What,
    /// Where the session stood when the question was looked at, if that was at once.
    state: Option<State>,
    /// What may be answered then.
    expected: Option<Vec<&'static str>>,
    refusals: u64,
    handled_at: u64,
}

#[derive(Debug, Clone)]
enum What {
    Create,
    Attach(Attach),
    Op(ClientId, Op, Option<OwnerEpoch>),
}

#[derive(Debug, Default)]
struct Client {
    connected: bool,
    gone_at: u64,
}

/// What a kill under way may do when.
#[derive(Debug, Clone, Copy)]
struct KillModel {
    deadline: u64,
    sigkill_at: Option<u64>,
}

#[expect(clippy::struct_excessive_bools, reason = "what is under way around a session is so many things")]
pub(crate) struct World<'a> {
    pub(crate) random: Rng,
    coverage: &'a mut Coverage,
    pub(crate) now: Now,
    id: SessionId,
    pub(crate) core: Session,
    pub(crate) journal: Journal,
    pub(crate) holder: Option<Holder>,
    /// A launch that is under way.
    launching: bool,
    launches: u32,
    /// This daemon was told that the program runs.
    runs: bool,
    /// The daemon has adopted the holder, and may append its output.
    adopted: bool,
    /// It was not told yet that the holder is gone.
    hoping: bool,
    draining: bool,
    /// What the holder left is still to be told of: it is gone, and how its program ended.
    lost: Option<Gone>,
    rest_due: bool,
    end_told: bool,
    log_due: bool,
    log_there: bool,
    finding: bool,
    /// A restore is being prepared.
    preparing: bool,
    /// Whether it can be started was said behind a transition: it is not looked at yet.
    prepared_behind: bool,
    clients: BTreeMap<ClientId, Client>,
    /// Streams that are attached, or wait for it, and whose they are.
    streams: BTreeMap<StreamId, ClientId>,
    replaced: BTreeSet<StreamId>,
    /// Who had a stream that counted its input in each epoch.
    pub(crate) typists: BTreeMap<OwnerEpoch, ClientId>,
    asked: BTreeMap<Asker, Asked>,
    next: u64,
    refusals: u64,
    /// Accepted input of the present epoch.
    accepted: (OwnerEpoch, u64),
    /// How much input was written in each epoch, finally.
    written: BTreeMap<OwnerEpoch, u64>,
    kill: Option<KillModel>,
    /// A kill was forced at a time that nobody knows.
    forced: bool,
    start_by: Option<u64>,
    head: u64,
    pub(crate) removed: bool,
    pub(crate) dropped: bool,
    /// The session was refused: it never was.
    pub(crate) never_was: bool,
    stubborn: bool,
    /// The journal refuses even what needs the registry alone.
    essential_full: bool,
    pub(crate) trace: bool,
}

/// What a session is made of.
pub(crate) fn created(owner: Option<ClientId>, takeover: Takeover) -> Created {
    Created {
        record: record(SessionId::from_parts(1, 7), owner, takeover),
        login: false,
        pixels: (0, 0),
        env: None,
        clear_env: false,
        retention_bytes: None,
        retention_age_ms: None,
        boot_id: String::new(),
    }
}

fn record(id: SessionId, owner: Option<ClientId>, takeover: Takeover) -> Record {
    Record {
        id,
        name: "it".into(),
        key: None,
        incarnation: Incarnation(1),
        state: State::Starting,
        owner_epoch: OwnerEpoch(u32::from(owner.is_some())),
        owner,
        observers: 0,
        pid: None,
        command: "sh".into(),
        args: vec![],
        cwd: "/".into(),
        created_at: 1,
        started_at: None,
        exited_at: None,
        exit: None,
        kill: None,
        detached_at: None,
        cols: 80,
        rows: 24,
        base_offset: ByteOffset(0),
        end_offset: ByteOffset(0),
        last_output_at: None,
        title: None,
        current_dir: None,
        restore: Restore::Never,
        takeover,
        recovery: None,
        labels: BTreeMap::new(),
    }
}

impl<'a> World<'a> {
    /// A session that was just asked for.
    pub(crate) fn new(seed: u64, coverage: &'a mut Coverage, trace: bool) -> Self {
        let mut random = Rng::new(seed);
        let names = KINDS.map(|name| ClientId::try_from(name.to_owned()).unwrap());
        let owner = (!random.one_in(6)).then(|| names[0].clone());
        let takeover = if random.one_in(5) { Takeover::Deny } else { Takeover::Allow };
        let mut created = created(owner, takeover);
        created.record.restore =
            [Restore::Never, Restore::Never, Restore::Offer, Restore::Shell, Restore::Command][random.index(5)];
        let now = Now { boot_ms: 50_000, wall_ms: 1_760_000_000_000 };
        let stubborn = random.one_in(5);
        let mut world = Self {
            random,
            coverage,
            now,
            id: created.record.id,
            core: Session::new(Facts::new(created), LIMITS),
            journal: Journal::new(),
            holder: None,
            launching: false,
            launches: 0,
            runs: false,
            adopted: false,
            hoping: false,
            draining: false,
            lost: None,
            rest_due: false,
            end_told: false,
            log_due: false,
            log_there: false,
            finding: false,
            preparing: false,
            prepared_behind: false,
            clients: names.into_iter().map(|name| (name, Client { connected: true, gone_at: 0 })).collect(),
            streams: BTreeMap::new(),
            replaced: BTreeSet::new(),
            typists: BTreeMap::new(),
            asked: BTreeMap::new(),
            next: 0,
            refusals: 0,
            accepted: (OwnerEpoch(0), 0),
            written: BTreeMap::new(),
            kill: None,
            forced: false,
            start_by: Some(now.boot_ms + 10_000),
            head: 0,
            removed: false,
            dropped: false,
            never_was: false,
            stubborn,
            essential_full: false,
            trace,
        };
        let asker = world.asker(What::Create, None);
        let mut out = Vec::new();
        world.core.create(world.now, asker, &mut out);
        world.carry_out(out);
        world
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            #[expect(clippy::print_stderr, reason = "the history of a failure")]
            {
                eprintln!("{:>8} {:?} {}", self.now.boot_ms, self.core.facts().state(), text());
            }
        }
    }

    pub(crate) fn state(&self) -> State {
        self.core.facts().state()
    }

    /// Whether an input is looked at at once.
    fn idle(&self) -> bool {
        self.journal.under_way.is_none() && !self.core.is_handing_over()
    }

    fn asker(&mut self, what: What, expected: Option<Vec<&'static str>>) -> Asker {
        self.next += 1;
        let asker = Asker(self.next);
        let state = (self.idle() && !matches!(what, What::Create)).then(|| self.state());
        let refusals = self.refusals;
        let handled_at = self.now.boot_ms;
        self.asked.insert(asker, Asked { what, state, expected, refusals, handled_at });
        asker
    }

    pub(crate) fn feed(&mut self, input: Input) {
        if self.dropped || self.never_was {
            return;
        }
        self.say(|| format!("<- {input:?}"));
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.say(|| format!("-> {output:?}"));
            self.effect(output);
        }
        self.note_typist();
        self.rules();
    }

    /// A stream counts its input in the present epoch.
    fn note_typist(&mut self) {
        let record = self.core.facts().record();
        let typing = self.core.owner_stream().filter(|_| !self.core.is_handing_over());
        if let Some(client) = typing.and_then(|stream| self.streams.get(&stream)) {
            self.typists.entry(record.owner_epoch).or_insert_with(|| client.clone());
        }
    }

    /// A kill hangs up, and so does a start that nobody answered and that was given up.
    fn hung_up(&self) {
        let facts = self.core.facts();
        if facts.state() == State::Exited {
            let code = ExitKind::Lost("HOLDER_UNRESPONSIVE".to_owned());
            return assert_eq!(facts.record().exit.as_ref().map(|exit| &exit.kind), Some(&code));
        }
        let kill = self.kill.expect("only a kill hangs up");
        assert!(self.forced || self.now.boot_ms >= kill.deadline, "hung up before its time");
        assert!(!self.adopted, "a holder that listens is told");
    }

    fn effect(&mut self, output: Output) {
        match output {
            Output::Append(unit) => {
                self.check_unit(&unit);
                self.journal.append(unit);
            }
            Output::Adopt => panic!("every holder has a record"),
            Output::HangUp => self.hung_up(),
            Output::PrepareRestore(_) => {
                let facts = self.core.facts();
                let policy = facts.record().restore;
                assert_ne!(policy, Restore::Never, "nothing is stored to restore it from");
                if facts.state() == State::Exited {
                    assert!(facts.loss().is_some() && facts.kill.is_none(), "{:?}", facts.record());
                    assert!(policy.acts().is_some());
                }
                self.preparing = true;
            }
            Output::CreateLog => {
                assert_eq!(self.journal.count(|event| matches!(event, Event::Created(_))), 1);
                self.log_due = true;
            }
            Output::Launch => {
                let accepted = |event: &Event| matches!(event, Event::Created(_) | Event::Restoring { .. });
                let accepted = self.journal.number_of(accepted).unwrap();
                assert!(accepted <= self.journal.durable, "no holder before the session is durable");
                assert!(!self.core.facts().start_recorded && self.holder.is_none() && !self.launching);
                self.launching = true;
                self.launches += 1;
                if self.launches > 1 {
                    self.coverage.saw("gone before start: launched again");
                }
            }
            Output::ToHolder(frame) => self.tell_holder(frame),
            Output::Drain => {
                assert!(self.core.facts().record().started_at.is_some(), "output is drained behind `started`");
                self.draining = true;
            }
            Output::Answer(asker, reply) => self.answered(asker, &reply),
            Output::Write(asker, _) => self.may_write(asker),
            Output::InputFinal(stream, epoch, applied) => {
                let record = self.core.facts().record();
                assert!(epoch < record.owner_epoch);
                assert_ne!(self.core.owner_stream(), Some(stream), "the epoch of this stream has not ended");
                assert_eq!(self.written.get(&epoch).copied().unwrap_or(0), applied.0, "the count is exact");
                self.coverage.saw("input final");
            }
            Output::Complain(client, _) => assert!(self.clients.contains_key(&client)),
            Output::Replaced(stream) => {
                self.replaced.insert(stream);
                self.coverage.saw("owner stream replaced");
            }
            Output::DropLog(asker) => self.drops_log(asker),
            Output::FindProcesses { leader, reaped } => self.looks_for_processes(leader, reaped),
            Output::Screen => assert_eq!(self.state(), State::Finalized),
            Output::RemoveFiles(incarnation) => {
                // One end for each incarnation.
                let mut ends = self.journal.events.iter().filter(|(_, event)| matches!(event, Event::Finalized { .. }));
                let (end, _) = *ends.nth(usize::try_from(incarnation.0 - 1).unwrap()).unwrap();
                assert!(end <= self.journal.durable, "files are removed once the end is durable");
                self.coverage.saw("finalized without a holder");
            }
            Output::Forget => {
                assert!(self.journal.events.is_empty(), "what is recorded is not forgotten");
                self.never_was = true;
                self.coverage.saw("create without room");
            }
        }
    }

    fn drops_log(&mut self, asker: Option<Asker>) {
        let removed = self.journal.number_of(|event| matches!(event, Event::Removed { .. })).unwrap();
        assert!(removed <= self.journal.durable, "a log is dropped once that is durable");
        if let Some(asker) = asker {
            let asked = self.asked.remove(&asker).expect("answered once");
            assert!(matches!(asked.what, What::Op(_, Op::Remove, _)));
            self.count(&asked, "ok");
        }
        self.dropped = true;
    }

    fn looks_for_processes(&mut self, leader: ProcessId, reaped: bool) {
        assert!(!self.finding, "one search at a time");
        assert_eq!(leader, LEADER);
        if let Some(holder) = &self.holder
            && reaped
        {
            assert!(matches!(holder.program, Program::Ended(_)));
        }
        self.finding = true;
        // The round of SIGKILL begins with this look, where the program itself has ended.
        let now = self.now.boot_ms;
        if let Some(kill) = self.kill.as_mut().filter(|kill| kill.deadline <= now) {
            kill.sigkill_at.get_or_insert(now);
        }
    }

    fn tell_holder(&mut self, frame: Frame) {
        assert!(self.hoping, "{frame:?} to nobody");
        let facts = self.core.facts();
        match &frame {
            Frame::Start(_) => assert!(facts.start_recorded && facts.state() == State::Starting),
            Frame::Owner(epoch) => assert_eq!(*epoch, facts.record().owner_epoch),
            Frame::Resize(size) => assert_eq!((size.cols, size.rows), (facts.record().cols, facts.record().rows)),
            Frame::Collect(end) => {
                let finalized = self.journal.number_of(|event| matches!(event, Event::Finalized { .. })).unwrap();
                assert!(finalized <= self.journal.durable, "a holder is collected once its end is durable");
                assert_eq!(*end, facts.record().end_offset);
                self.coverage.saw("finalized, collected");
            }
            Frame::Abandon => {
                assert!(facts.state() == State::Exited, "abandoned in {:?}", facts.state());
                if facts.record().exit.as_ref().is_some_and(|exit| !exit.forced) {
                    self.coverage.saw("drain deadline");
                }
            }
            Frame::Signal(2, _) => assert_eq!(facts.state(), State::Running),
            Frame::Signal(number, _) | Frame::SignalProcess(_, number) => self.kill_signals(*number),
            Frame::Hangup => {}
        }
        if let Some(holder) = self.holder.as_mut().filter(|_| self.adopted) {
            holder.inbox.push_back(Sent::Frame(frame));
        }
    }

    fn kill_signals(&mut self, number: u8) {
        let kill = self.kill.as_mut().expect("only a kill signals by itself");
        match number {
            9 => {
                assert!(self.forced || self.now.boot_ms >= kill.deadline, "SIGKILL before its time");
                kill.sigkill_at.get_or_insert(self.now.boot_ms);
                self.coverage.saw("signal 9");
            }
            1 => self.coverage.saw("signal 1"),
            15 => self.coverage.saw("signal 15"),
            _ => {}
        }
    }

    fn check_unit(&mut self, unit: &Unit) {
        for (event, _) in unit.iter() {
            self.check_event(event);
        }
        let Event::Restoring { incarnation, code, .. } = unit.event() else { return };
        let facts = self.core.facts();
        let record = facts.record();
        assert_eq!(*incarnation, record.incarnation.next());
        assert_eq!(Some(code.as_str()), facts.recoverable(), "only what was lost is restored");
        assert!(unit.has("finalized") == (record.state == State::Exited) && unit.has("owner_changed"), "{unit:?}");
        assert!(self.holder.is_none(), "two holders of one session");
    }

    /// What an event must be preceded by.
    fn check_event(&mut self, event: &Event) {
        let facts = self.core.facts();
        let record = facts.record();
        match event {
            Event::Start { .. } => assert!(self.hoping && !facts.start_recorded),
            Event::Started { .. } => assert!(facts.start_recorded),
            Event::OwnerChanged { owner, former, owner_epoch, cause } => {
                let ahead = self.holder.as_ref().is_some_and(|holder| holder.epoch >= *owner_epoch);
                assert_eq!(former, &record.owner);
                assert!(!ahead, "the holder knows this epoch already");
                let jumped = *owner_epoch != record.owner_epoch.next();
                let known = self.holder.as_ref().map(|holder| holder.epoch.next());
                assert!(!jumped || !self.adopted || known == Some(*owner_epoch), "one change, one epoch");
                if *cause == Cause::Lapsed && !jumped {
                    let client = &self.clients[former.as_ref().expect("somebody's ownership lapses")];
                    assert!(!client.connected, "the owner is there");
                    assert!(self.now.boot_ms >= client.gone_at + LIMITS.owner_grace_ms, "the grace is not over");
                    assert!(record.state < State::Exited);
                }
                if *cause == Cause::Takeover {
                    assert_eq!(record.takeover, Takeover::Allow);
                }
                if let Some(owner) = owner {
                    assert!(self.clients.contains_key(owner));
                }
            }
            Event::Exited { exit } => {
                assert!(!self.runs || record.started_at.is_some(), "the end passes the start");
                if !exit.forced {
                    return;
                }
                let kill = self.kill.expect("only a kill ends by force");
                assert!(self.forced || self.now.boot_ms >= kill.deadline + 1_000, "given up before its time");
                let ended = self.holder.as_ref().is_none_or(|holder| holder.program != Program::Runs);
                assert!(kill.sigkill_at.is_some() || !self.hoping || ended, "given up without SIGKILL");
            }
            Event::Finalized { .. } if self.adopted && record.started_at.is_some() => {
                assert!(self.end_told, "output is still to come");
            }
            Event::Removed { .. } => assert!(matches!(record.state, State::Exited | State::Finalized)),
            _ => {}
        }
    }

    /// What holds after every step.
    fn rules(&mut self) {
        self.coverage.steps += 1;
        let facts = self.core.facts();
        if !self.never_was
            && !self.removed
            && let Some(told) = self.journal.facts(self.id)
        {
            assert_eq!(told, facts, "the registry tells the same");
        }
        let owners: Vec<_> = self.streams.keys().filter(|id| self.core.mode(**id) == Some(Mode::Owner)).collect();
        assert!(owners.len() <= 1, "two streams may write: {owners:?}");
        if self.idle() && !self.removed {
            if let Some(stream) = owners.first() {
                assert_eq!(self.streams.get(stream), facts.record().owner.as_ref(), "who writes owns it");
            }
            if let Some(owner) = &facts.record().owner
                && facts.state() < State::Exited
                && !self.clients[owner].connected
                && !self.journal.full
                && !self.never_was
            {
                let due = self.core.poll_timeout().expect("an owner that stays away loses it");
                assert!(due <= self.now.boot_ms + LIMITS.owner_grace_ms.max(60_000));
            }
        }
        if facts.state() == State::Finalized {
            assert_eq!(facts.record().owner, None);
            assert_eq!(facts.kill, None);
            if self.journal.under_way.is_none() {
                assert_eq!(self.core.poll_timeout(), None, "what has ended waits for nothing");
            }
        }
        let once = |wanted: fn(&Event) -> bool| assert!(self.journal.count(wanted) <= 1, "{:?}", self.journal.events);
        once(|event| matches!(event, Event::Exited { .. }));
        once(|event| matches!(event, Event::Finalized { .. }));
        once(|event| matches!(event, Event::Started { .. }));
        once(|event| matches!(event, Event::Start { .. }));
        once(|event| matches!(event, Event::Removed { .. }));
        once(|event| matches!(event, Event::Kill { .. }));
    }

    /// The present transition is written.
    pub(crate) fn write(&mut self) {
        let before = self.state();
        let started = self.core.facts().start_recorded;
        let former = self.core.facts().kill;
        let Some((number, unit)) = self.journal.write(self.id, self.now.wall_ms) else { return };
        let event = unit.event();
        self.saw_event(event, before, started, former.is_some());
        self.saw_unit(&unit);
        if let Event::Kill { t0_boot_ms, grace_ms, .. } = event {
            self.kill_begins(t0_boot_ms + grace_ms);
        }
        if matches!(event, Event::Exited { .. }) {
            self.start_by = None;
        }
        if matches!(event, Event::Removed { .. }) {
            self.removed = true;
        }
        let restored = matches!(event, Event::Restoring { .. });
        if restored {
            self.begins_anew();
        }
        self.feed(Input::Written(number, self.now.wall_ms));
        assert!(restored || self.state() >= before, "a session goes back by a restore alone");
    }

    /// Another program is accepted in the place of a lost one.
    fn begins_anew(&mut self) {
        (self.adopted, self.hoping, self.draining) = (false, false, false);
        (self.runs, self.end_told, self.forced) = (false, false, false);
        (self.kill, self.launches) = (None, 0);
        self.start_by = Some(self.now.boot_ms + 10_000);
    }

    fn saw_unit(&mut self, unit: &Unit) {
        let facts = self.core.facts();
        match unit.event() {
            Event::Restoring { .. } if unit.has("finalized") => self.coverage.saw("restored at once"),
            Event::Restoring { .. } => self.coverage.saw("restored on request"),
            Event::Finalized { .. } if unit.has("recovered") => {
                let offered =
                    |(event, _): &(Event, _)| matches!(event, Event::Recovered { outcome, .. } if outcome == "offered");
                self.coverage.saw(if unit.iter().any(offered) { "offered" } else { "restore refused" });
            }
            Event::Finalized { .. }
                if facts.loss().is_some() && facts.kill.is_some() && facts.record().restore.acts().is_some() =>
            {
                self.coverage.saw("killed, so not restored");
            }
            _ => {}
        }
        let owned = |(event, _): &(Event, _)| {
            matches!(event, Event::OwnerChanged { owner: Some(_), cause: Cause::Restored, .. })
        };
        if unit.iter().any(owned) {
            self.coverage.saw("restored with its owner");
        }
    }

    fn kill_begins(&mut self, deadline: u64) {
        self.kill.get_or_insert(KillModel { deadline, sigkill_at: None });
    }

    fn saw_event(&mut self, event: &Event, before: State, start_recorded: bool, killed: bool) {
        let row = match event {
            Event::Created(_) => "created",
            Event::Start { .. } => "adopted: start",
            Event::Started { .. } if killed => "remembered kill",
            Event::Started { .. } => "started",
            Event::Kill { .. } if before == State::Starting => "killed while starting",
            Event::Kill { .. } => "kill",
            Event::Exited { exit } => match (&exit.kind, before) {
                _ if exit.forced => "given up",
                (ExitKind::NeverStarted(_), _) => "killed before start",
                (ExitKind::SpawnFailed(_), _) if start_recorded => "failed",
                (ExitKind::SpawnFailed(_), _) => "launched three times in vain",
                (ExitKind::Lost(code), _) if code == "HOLDER_UNRESPONSIVE" => "not started in time",
                (ExitKind::Lost(_), State::Starting) => "lost while starting",
                (ExitKind::Lost(_), State::Running) => "lost while running",
                (ExitKind::Lost(_), _) => "lost while terminating",
                _ if self.holder.is_none() => "lost, but its end is known",
                (_, State::Running) => "ended",
                _ => "ended, none left",
            },
            Event::Removed { .. } if before == State::Exited => "removed without its end",
            Event::Removed { .. } => "removed",
            Event::OwnerChanged { cause: Cause::Lapsed, owner_epoch, .. }
                if *owner_epoch != self.core.facts().next_owner_epoch() =>
            {
                "owner epoch ahead at the holder"
            }
            Event::OwnerChanged { cause, owner, .. } => match (cause, owner) {
                (Cause::Takeover, _) => "takeover",
                (Cause::Released, None) => "released to nobody",
                (Cause::Released, Some(_)) => "released to another",
                (Cause::Lapsed, _) => "lapsed",
                (Cause::Claimed, owner) if *owner == self.core.facts().record().owner => "claimed anew by its owner",
                _ => "claimed",
            },
            _ => return,
        };
        self.coverage.saw(row);
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        if let Some(unit) = self.journal.under_way.take() {
            let event = unit.event();
            self.refusals += 1;
            self.journal.full = true;
            if let Event::Kill { t0_boot_ms, grace_ms, .. } = event {
                self.kill_begins(t0_boot_ms + grace_ms);
                self.coverage.saw("kill without room");
            }
            self.feed(Input::Refused(refusal));
        }
    }

    fn space(&mut self) {
        self.journal.full = false;
        self.essential_full = false;
        self.feed(Input::Space);
    }

    fn sync(&mut self) {
        self.journal.durable = self.journal.last();
        self.feed(Input::Durable(self.journal.durable));
    }

    /// A write that is no stream's is let through: how its bytes are counted is the streams' story.
    fn may_write(&mut self, asker: Asker) {
        let asked = self.asked.remove(&asker).expect("answered once");
        let record = self.core.facts().record();
        let What::Op(client, ..) = &asked.what else { panic!("{asked:?}") };
        assert_eq!((record.state, record.owner.as_ref()), (State::Running, Some(client)));
        self.count(&asked, "ok");
    }

    /// A request is answered.
    fn answered(&mut self, asker: Asker, reply: &Reply) {
        let asked = self.asked.remove(&asker).expect("answered once");
        let outcome = match reply {
            Reply::Error(error) => error.code.as_str(),
            Reply::Kill { already: true, .. } => "already",
            _ => "ok",
        };
        let facts = self.core.facts();
        let record = facts.record();
        match (&asked.what, reply) {
            (_, Reply::Error(_)) => self.check_refusal(&asked, outcome),
            (What::Create, Reply::Created) => assert!(record.started_at.is_some()),
            (What::Op(_, Op::Recover(_), _), Reply::Recovered) => {
                assert!(record.started_at.is_some() && record.incarnation > Incarnation(1));
            }
            (What::Op(_, Op::Kill { .. }, _), Reply::Kill { kill_id, deadline_at, .. }) => {
                assert!(record.kill.is_some() || record.state >= State::Exited);
                if let Some(kill) = &record.kill {
                    assert_eq!((kill_id, deadline_at), (&kill.kill_id, &kill.deadline_at));
                } else {
                    assert_eq!(*deadline_at, record.exited_at.unwrap());
                }
            }
            (What::Op(client, Op::Signal(..), _), Reply::Signalled) => {
                assert_eq!((record.state, record.owner.as_ref()), (State::Running, Some(client)));
            }
            (What::Op(client, Op::Resize(size), _), Reply::Resized(cols, rows)) => {
                assert_eq!((*cols, *rows), (record.cols, record.rows));
                assert_eq!(record.owner.as_ref(), Some(client));
                assert!(size.is_none_or(|size| (size.cols, size.rows) == (*cols, *rows)));
            }
            (What::Op(client, Op::Takeover(_), _), Reply::TakenOver(epoch)) => {
                assert_eq!(*epoch, record.owner_epoch);
                assert!(record.state >= State::Exited || record.owner.as_ref() == Some(client));
            }
            (What::Op(_, Op::Rename(name), _), Reply::Renamed) => assert_eq!(*name, record.name),
            (What::Op(_, Op::Release { .. }, _), Reply::Released(epoch)) => assert_eq!(*epoch, record.owner_epoch),
            (What::Attach(attach), Reply::Attached(attached)) => {
                assert!(record.state > State::Starting);
                assert!(self.streams.contains_key(&attach.stream), "a stream that is gone is not attached");
                let mode = if record.state < State::Exited { attach.mode } else { Mode::Observer };
                assert_eq!(attached.mode, mode);
                assert!(mode == Mode::Observer || record.owner.as_ref() == Some(&attach.client));
                let goes_on = attach.owner_epoch == Some(record.owner_epoch);
                assert!(
                    mode == Mode::Observer || goes_on || !self.typists.contains_key(&record.owner_epoch),
                    "two streams count their input in one epoch"
                );
                if let Some((epoch, applied)) = attached.former {
                    assert_eq!(self.written.get(&epoch).copied().unwrap_or(0), applied.0, "former is exact");
                    let between = |at: OwnerEpoch| epoch < at && at < record.owner_epoch;
                    let later = self.written.iter().filter(|(at, applied)| between(**at) && **applied > 0);
                    assert_eq!(later.count(), 0, "former is the last one");
                    let unread = self.holder.as_ref().filter(|holder| between(holder.epoch));
                    assert!(
                        unread.is_none_or(|holder| holder.applied.0 == 0),
                        "nobody told of what the holder has written"
                    );
                }
            }
            (what, reply) => panic!("{reply:?} to {what:?}"),
        }
        self.count(&asked, outcome);
    }

    fn count(&mut self, asked: &Asked, outcome: &str) {
        let (operation, client) = match &asked.what {
            What::Create => return,
            What::Attach(attach) => ("attach", Some(&attach.client)),
            What::Op(client, op, _) => (name_of(op), Some(client)),
        };
        let Some(state) = asked.state else { return };
        if let Some(expected) = &asked.expected {
            let refused = outcome.starts_with("JOURNAL_") && self.was_refused(asked);
            assert!(
                refused || expected.contains(&outcome),
                "{operation} by {client:?} in {state:?}: {outcome}, not {expected:?}"
            );
        }
        self.coverage.asked(operation, format!("{state:?}"), outcome.to_owned());
        let row = match (operation, outcome) {
            ("attach", "SESSION_STARTING") => "attach gave up waiting",
            ("attach", "SESSION_OWNED") => "session owned",
            ("takeover", "TAKEOVER_DENIED") => "takeover denied",
            ("kill", "already") if state == State::Terminating => "killed again",
            (_, "OWNER_CHANGED") => "stale owner epoch",
            ("recover", "BAD_REQUEST") => "recover of what was not lost",
            _ => return,
        };
        self.coverage.saw(row);
    }

    /// Whether the journal refused something since; a kill may meet one whose record still waits.
    fn was_refused(&self, asked: &Asked) -> bool {
        let before = if matches!(asked.what, What::Op(_, Op::Kill { .. }, _)) { 0 } else { asked.refusals };
        self.refusals > before
    }

    /// A refusal fits what is so.
    fn check_refusal(&self, asked: &Asked, code: &str) {
        let record = self.core.facts().record();
        let (client, epoch) = match &asked.what {
            What::Create => (None, None),
            What::Attach(attach) => (Some(&attach.client), None),
            What::Op(client, _, epoch) => (Some(client), *epoch),
        };
        let fits = match code {
            "SESSION_STARTING" if matches!(asked.what, What::Op(_, Op::Recover(_), _)) => {
                let prepares = self.preparing || self.prepared_behind;
                record.state == State::Finalized && (prepares || self.hoping || self.launching)
            }
            "BAD_REQUEST" if matches!(asked.what, What::Op(_, Op::Recover(_), _)) => {
                record.restore == Restore::Never || self.core.facts().recoverable().is_none()
            }
            "RESTORE_FAILED" => matches!(asked.what, What::Op(_, Op::Recover(_), _)),
            "SESSION_STARTING" => {
                // What types also waits for the holder of a program that runs already.
                let uncounted = record.state < State::Exited
                    && !self.adopted
                    && match &asked.what {
                        What::Attach(attach) => attach.mode == Mode::Owner,
                        What::Op(_, op, _) => matches!(op, Op::Write(_)),
                        What::Create => false,
                    };
                (record.state == State::Starting || uncounted)
                    && (!(record.state != State::Starting || matches!(asked.what, What::Attach(_)))
                        || self.now.boot_ms >= asked.handled_at + 5_000)
            }
            "INPUT_ON_STREAM" => self.core.owner_stream().is_some(),
            "SESSION_TERMINATING" => record.state == State::Terminating,
            "SESSION_EXITED" => record.state >= State::Exited,
            "SESSION_RUNNING" => record.state < State::Exited,
            "ROLE_FORBIDDEN" => record.owner.as_ref() != client,
            "OWNER_CHANGED" => epoch.is_some_and(|epoch| epoch != record.owner_epoch),
            "SESSION_OWNED" | "TAKEOVER_DENIED" => record.owner.is_some() && record.owner.as_ref() != client,
            "LIMIT_OBSERVERS" => self.core.observers() >= LIMITS.observers_max,
            "SESSION_GONE" => self.removed,
            "SESSION_NOT_FOUND" => self.journal.events.is_empty(),
            "JOURNAL_FULL" | "JOURNAL_FAILED" => self.was_refused(asked),
            "DETACHED" => match &asked.what {
                What::Attach(attach) => !self.streams.contains_key(&attach.stream),
                _ => false,
            },
            "BAD_REQUEST" => matches!(&asked.what, What::Op(_, Op::Release { to: Some(_) }, _)),
            "COMMAND_NOT_FOUND" | "SPAWN_FAILED" | "HOLDER_UNRESPONSIVE" | "HOLDER_LOST" | "HOST_REBOOTED" => {
                assert!(record.state >= State::Exited, "a create is answered once its end is on record");
                matches!(asked.what, What::Create | What::Op(_, Op::Recover(_), _))
            }
            _ => false,
        };
        assert!(fits, "{code} to {asked:?}");
    }
}

fn name_of(op: &Op) -> &'static str {
    match op {
        Op::Kill { .. } => "kill",
        Op::Signal(..) => "signal",
        Op::Resize(_) => "resize",
        Op::Write(_) => "write request",
        Op::Takeover(_) => "takeover",
        Op::Release { .. } => "release",
        Op::Recover(_) => "recover",
        Op::Rename(_) => "rename",
        Op::Remove => "remove",
    }
}
