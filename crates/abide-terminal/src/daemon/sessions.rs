//! The one task that owns all sessions: it takes messages, lets the rules of [`crate::session`] decide, and carries
//! out what they ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use abide_journal::{Error as JournalError, Log, Lsn, SpaceState};
use abide_wire::RequestId;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::client_queue::ClientQueue;
use super::connection::{ConnectionId, json_frame};
use super::events::Subscription;
use super::fail_point;
use super::hub::{Granted, Hub, Msg, Standing, StreamInput};
use super::levels::{self, Meter, Queue};
use super::link::Link;
use super::outbox::Outbox;
use super::pump;
use super::screens::Followed;
use super::shared::{Launch, Shared, now};
use super::typing::Write;
use super::view::View;
use crate::ids::{ByteOffset, ClientId, DaemonEpoch, EventNumber, InputOffset, OwnerEpoch, SessionId};
use crate::lock::Lock;
use crate::procs::Members;
use crate::protocol::{self, Detached, Hello, HelloOk, Mode, Role, StreamMessage, UpgradeFailure, WireError};
use crate::record::State;
use crate::recover;
use crate::session::{Asker, Input, Op, Session, Size, StreamId, Unit};
use crate::store::{Event, Facts, Registry, Table, Tombstone};
use crate::stream;

/// All sessions, connections and clients.
pub(super) struct Sessions {
    pub(super) shared: Arc<Shared>,
    pub(super) hub: Hub,
    pub(super) registry: Registry,
    pub(super) entries: BTreeMap<SessionId, Entry>,
    /// Names of sessions that are not Finalized.
    pub(super) names: BTreeMap<String, SessionId>,
    pub(super) keys: BTreeMap<String, SessionId>,
    pub(super) tombstones: VecDeque<Tombstone>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) clients: BTreeMap<ClientId, BTreeSet<ConnectionId>>,
    pub(super) askers: BTreeMap<Asker, Waiting>,
    /// Names that sessions are about to get, by who asked for them.
    pub(super) renames: BTreeMap<Asker, String>,
    pub(super) streams: BTreeMap<StreamId, SessionId>,
    /// Removed sessions whose logs are being dropped, and who waits for that.
    pub(super) removals: BTreeMap<SessionId, Waiting>,
    /// Who asked the daemon to stop, and is answered when it does.
    pub(super) stop_askers: Vec<Waiting>,
    /// All sessions are being killed; the daemon stops when none is left.
    pub(super) terminating: bool,
    pub(super) report: protocol::RecoveryReport,
    /// The holders that answered when this daemon started.
    pub(super) probed: BTreeSet<u32>,
    lock: Lock,
    timers: BTreeSet<(u64, SessionId)>,
    /// A higher epoch on its way into the registry, and the sessions whose holders ask for it.
    raising: Option<(DaemonEpoch, BTreeSet<SessionId>)>,
    pub(super) launches: Arc<Semaphore>,
    pub(super) full: bool,
    /// The newest event that is taken in.
    last_event: EventNumber,
    /// The newest event that the table's checkpoint stands for.
    table_event: EventNumber,
    next_asker: u64,
    pub(super) next_stream: u64,
    /// When the next session that has ended is to go.
    pub(super) expires_at: Option<u64>,
    /// Where changes of levels go, and where they come from.
    pub(super) levels: levels::Changes,
    moved: mpsc::Receiver<levels::Moved>,
    end: Option<Stop>,
}

/// How the daemon ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// It was asked to.
    Asked,
    /// Another binary is to take its place.
    Replaced(PathBuf),
    /// The service manager that started it starts another one.
    Restarted,
    /// The journal takes nothing more.
    Poisoned(JournalError),
    /// A newer daemon has the holders.
    Stale,
}

impl Stop {
    /// Whether another daemon follows, so that clients come back.
    fn is_followed(&self) -> bool {
        !matches!(self, Self::Asked)
    }

    /// Whether the journal is this daemon's still. Where another one has it, nothing more is written.
    pub(super) fn has_journal(&self) -> bool {
        matches!(self, Self::Asked | Self::Replaced(_) | Self::Restarted)
    }
}

/// A connection that has greeted.
pub(super) struct Connection {
    pub(super) client: ClientId,
    pub(super) role: Role,
    pub(super) outbox: Outbox,
    pub(super) stream: Option<StreamId>,
    /// Answers under way that wait for something beside the rules; they end with the connection.
    pub(super) looking: JoinSet<()>,
    pub(super) subscription: Option<Subscription>,
}

/// A request that is not answered yet.
pub(super) enum Waiting {
    Control {
        connection: ConnectionId,
        id: RequestId,
        /// What a write types; of all others nothing.
        input: Bytes,
        _permit: OwnedSemaphorePermit,
    },
    Attach {
        connection: ConnectionId,
        id: RequestId,
        attach: Box<protocol::Attach>,
        stream: StreamId,
        reply: oneshot::Sender<Granted>,
    },
}

/// A session, and what the daemon has of it beside the rules.
pub(super) struct Entry {
    pub(super) core: Session,
    pub(super) log: Option<Log>,
    pub(super) link: Option<Link>,
    pub(super) followed: Option<Followed>,
    /// How much of its program's output waits for the journal.
    pub(super) meter: Option<Meter>,
    pub(super) view: watch::Sender<View>,
    pub(super) viewers: BTreeMap<StreamId, ViewerHandle>,
    /// What its program is started with; gone once it runs.
    pub(super) launch: Option<Launch>,
    /// Its processes, as far as a kill has come to know them.
    pub(super) members: Option<Members>,
    /// Input of the next owner that came while the owner is handed in. At most one window of it.
    pub(super) held: VecDeque<(StreamId, OwnerEpoch, InputOffset, Bytes)>,
    /// Writes whose bytes have not all reached the terminal, oldest first.
    pub(super) writes: Vec<Write>,
    /// What was told of the owner's input last, and when the next look is due.
    pub(super) told: (OwnerEpoch, InputOffset),
    pub(super) look_at: Option<u64>,
    timer: Option<u64>,
}

/// The hub's side of a stream.
pub(super) struct ViewerHandle {
    pub(super) client: ClientId,
    pub(super) outbox: Outbox,
    pub(super) end: Option<oneshot::Sender<Detached>>,
    pub(super) progress: watch::Receiver<ByteOffset>,
    /// The ssh agent of its client.
    pub(super) agent: Option<PathBuf>,
}

impl Entry {
    pub(super) fn new(core: Session) -> Self {
        let (view, _) = watch::channel(view_of(&core, false));
        Self {
            core,
            log: None,
            link: None,
            followed: None,
            meter: None,
            view,
            viewers: BTreeMap::new(),
            launch: None,
            members: None,
            held: VecDeque::new(),
            writes: Vec::new(),
            told: (OwnerEpoch(0), InputOffset(0)),
            look_at: None,
            timer: None,
        }
    }

    pub(super) fn facts(&self) -> &Facts {
        self.core.facts()
    }

    /// What a holder prints after its session was given up is not its output.
    pub(super) fn end_output_if_over(&self) {
        if let Some(link) = self.link.as_ref().filter(|_| !self.core.takes_output()) {
            link.end();
        }
    }

    /// How much of the owner's input the holder has written. Not to be asked while an owner is handed in.
    pub(super) fn applied(&self) -> InputOffset {
        let epoch = self.facts().record().owner_epoch;
        self.link.as_ref().map_or(InputOffset(0), |link| link.input_applied(epoch))
    }
}

fn view_of(core: &Session, removed: bool) -> View {
    let record = core.facts().record();
    View {
        state: record.state,
        exit: record.exit.clone(),
        exited_at: record.exited_at,
        owner_stream: core.next_owner_stream(),
        removed,
    }
}

impl Sessions {
    pub(super) fn new(shared: Arc<Shared>, hub: Hub, registry: Registry, table: Table, lock: Lock) -> Self {
        let launches = Arc::new(Semaphore::new(shared.options.starts_concurrent_max as usize));
        let (levels, moved) = mpsc::channel(levels::CHANGES_MAX);
        let mut sessions = Self {
            hub,
            registry,
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
            keys: BTreeMap::new(),
            tombstones: table.tombstones,
            connections: BTreeMap::new(),
            clients: BTreeMap::new(),
            askers: BTreeMap::new(),
            renames: BTreeMap::new(),
            streams: BTreeMap::new(),
            removals: BTreeMap::new(),
            stop_askers: Vec::new(),
            terminating: false,
            report: shared.empty_report(),
            probed: BTreeSet::new(),
            lock,
            timers: BTreeSet::new(),
            raising: None,
            launches,
            full: false,
            last_event: EventNumber(0),
            table_event: EventNumber(0),
            next_asker: 0,
            next_stream: 0,
            expires_at: None,
            levels,
            moved,
            end: None,
            shared,
        };
        for tombstone in &sessions.tombstones {
            if let Some(key) = &tombstone.key {
                sessions.keys.insert(key.clone(), tombstone.id);
            }
        }
        for (id, facts) in table.sessions {
            sessions.index(id, &facts);
            let core = Session::new(facts, sessions.shared.session_limits());
            sessions.entries.insert(id, Entry::new(core));
        }
        sessions
    }

    pub(super) fn index(&mut self, id: SessionId, facts: &Facts) {
        let record = facts.record();
        if record.state != State::Finalized {
            self.names.insert(record.name.clone(), id);
        }
        if let Some(key) = &record.key {
            self.keys.insert(key.clone(), id);
        }
    }

    /// Serves until the daemon is to stop.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Msg>) -> (Stop, Lock) {
        let mut tail = self.registry.tail();
        let mut space = self.shared.journal.space();
        loop {
            self.append();
            if self.registry.since_table() >= self.shared.options.events_bytes / 8 {
                self.save_table();
            }
            if self.terminating && self.entries.values().all(|entry| entry.core.is_over()) {
                self.stop(Stop::Asked);
            }
            if let Some(end) = self.end.take() {
                if end.has_journal() && self.last_event > self.table_event {
                    self.save_table();
                }
                self.say_goodbye(&end);
                return (end, self.lock);
            }
            let timer = self.timers.first().map(|(due, _)| *due).into_iter().chain(self.expires_at).min();
            tokio::select! {
                message = messages.recv() => {
                    let Some(message) = message else { return (Stop::Asked, self.lock) };
                    self.take(message);
                    while let Ok(message) = messages.try_recv() {
                        self.take(message);
                    }
                }
                moved = tail.changed() => match moved {
                    Ok(_) => self.settle(),
                    Err(error) => self.stop(Stop::Poisoned(error)),
                },
                moved = self.moved.recv() => if let Some(moved) = moved { self.warn(&moved) },
                space = space.changed() => self.space(space.state == SpaceState::Full),
                () = Self::sleep_until(timer), if timer.is_some() => self.tick(),
            }
        }
    }

    async fn sleep_until(due: Option<u64>) {
        let left = due.unwrap_or(0).saturating_sub(now().boot_ms);
        tokio::time::sleep(Duration::from_millis(left)).await;
    }

    /// Gives the journal the transitions that are due; who is refused hears of it.
    fn append(&mut self) {
        for (lsn, ticket) in self.registry.pump() {
            let hub = self.hub.clone();
            tokio::spawn(async move {
                if let Err(error) = ticket.await {
                    hub.tell(Msg::AppendFailed(lsn, error)).await;
                }
            });
        }
    }

    /// Adds a checkpoint of all sessions to the registry log: a start reads it and the events behind it.
    fn save_table(&mut self) {
        self.table_event = self.last_event;
        let mut table =
            Table { daemon_epoch: self.shared.daemon_epoch(), tombstones: self.tombstones.clone(), ..Table::default() };
        for (id, entry) in &self.entries {
            match entry.core.removed_at() {
                Some(removed_at) => {
                    let key = entry.facts().record().key.clone();
                    table.tombstones.push_back(Tombstone { id: *id, key, removed_at });
                }
                None => drop(table.sessions.insert(*id, entry.facts().clone())),
            }
        }
        self.registry.save(self.last_event, &table);
    }

    /// The registry log has moved on.
    fn settle(&mut self) {
        for written in self.registry.written() {
            self.last_event = written.last;
            for event in &written.events {
                fail_point::pass(&format!("{event}_recorded"));
            }
            if let Some(session) = written.session {
                self.feed(session, Input::Written(written.first, written.at));
                if written.events.iter().any(|event| matches!(*event, "recovered" | "restoring")) {
                    self.report_outcome(session);
                }
                if written.events.contains(&"finalized") {
                    self.make_room();
                }
            }
        }
        for (number, session) in self.registry.durable() {
            match session {
                Some(session) => self.feed(session, Input::Durable(number)),
                None => self.epoch_raised(),
            }
        }
    }

    fn append_failed(&mut self, lsn: Lsn, error: JournalError) {
        if is_fatal(&error) {
            self.stop(Stop::Poisoned(error));
            return;
        }
        if let Some((session, refusal)) = self.registry.failed(lsn, &error) {
            let Some(session) = session else {
                // The next start raises it.
                self.stop(Stop::Stale);
                return;
            };
            self.feed(session, Input::Refused(refusal));
            self.name_unless_ended(session);
            // Room that was made before the session heard of this is not told of again.
            if self.shared.journal.space().get().state != SpaceState::Full {
                self.feed(session, Input::Space);
            }
        }
    }

    /// The daemon ends; the first reason holds.
    pub(super) fn stop(&mut self, stop: Stop) {
        self.end.get_or_insert(stop);
    }

    /// A holder was adopted in this or a higher epoch. If the lock is gone, another daemon took this one's place; if not,
    /// the registry is older than the holder: a higher epoch is recorded, and the holder adopted in it.
    fn stale(&mut self, id: SessionId, epoch: u64) {
        let current = self.lock.is_current(&self.shared.dirs.run).unwrap_or(false);
        tracing::error!(code = %abide_wire::Code::StaleDaemon, epoch, current, "a holder knows a newer daemon");
        if !current {
            self.stop(Stop::Stale);
            return;
        }
        let above = recover::next_epoch(self.shared.daemon_epoch(), [DaemonEpoch(epoch)]);
        let (_, asked) = self.raising.get_or_insert_with(|| {
            let event = Event::boot(above, self.shared.boot, &self.shared.version);
            let _queued = self.registry.append(None, Unit::of(event, None), None);
            (above, BTreeSet::new())
        });
        asked.insert(id);
    }

    /// The higher epoch stands. Holders that were adopted before keep theirs: nobody else has a higher one.
    fn epoch_raised(&mut self) {
        let Some((epoch, asked)) = self.raising.take() else { return };
        self.shared.daemon_epoch.store(epoch.0, Ordering::Relaxed);
        let _ = self.lock.write(&super::owner(&self.shared.version, epoch));
        for context in asked.into_iter().filter_map(|id| self.context(id)) {
            tokio::spawn(pump::adopt(context));
        }
    }

    fn not_replaced(&mut self, failed: &UpgradeFailure) {
        for waiting in std::mem::take(&mut self.stop_askers) {
            self.refuse(waiting, WireError::upgrade_failed(failed));
        }
    }

    fn space(&mut self, full: bool) {
        self.full = full;
        if !full {
            self.tell_all(&Input::Space);
        }
    }

    fn tick(&mut self) {
        let now = now().boot_ms;
        while let Some((due, id)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.timer = None;
            }
            self.look_at_input(id);
            self.feed(id, Input::Timeout);
        }
        if self.expires_at.is_some_and(|due| due <= now) {
            self.make_room();
        }
    }

    fn take(&mut self, message: Msg) {
        match message {
            Msg::Hello { connection, hello, outbox, reply } => {
                let _ = reply.send(self.hello(connection, hello, outbox));
            }
            Msg::Request { connection, id, request, permit } => self.request(connection, id, request, permit),
            Msg::Attach { connection, id, attach, reply } => self.attach(connection, id, attach, reply),
            Msg::FromStream(stream, input) => self.stream_said(stream, input),
            Msg::Skips { session, stream, from, to, reply } => {
                if let Some(standing) = self.skips(session, stream, from, to) {
                    let _ = reply.send(standing);
                }
            }
            Msg::Closed(connection) => self.closed(connection),
            Msg::Session(id, input) => self.feed(id, input),
            Msg::Adopted(id, link) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.link = Some(link);
                    entry.end_output_if_over();
                }
            }
            Msg::Applied(id) => self.look_at_input(id),
            Msg::LogCreated(id, created) => self.log_created(id, created),
            Msg::CreateLog(id) => self.create_log(id),
            Msg::LogDropped(id) => self.log_dropped(id),
            Msg::AppendFailed(lsn, error) => self.append_failed(lsn, error),
            Msg::Poisoned(error) => self.stop(Stop::Poisoned(error)),
            Msg::Inject(id, answers) => {
                if let Some(link) = self.entries.get(&id).and_then(|entry| entry.link.as_ref()) {
                    link.inject(&answers);
                }
            }
            Msg::ScreenKept => self.make_room(),
            Msg::Found(id, members, found) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.members = Some(members);
                }
                self.feed(id, Input::Found(found));
            }
            Msg::LeftEnded(id) => self.left_ended(id),
            Msg::HolderLost(id, head) => self.holder_lost(id, head),
            Msg::NotAdopted(id) => self.not_adopted(id),
            Msg::Probed(id, probe) => self.decide(id, probe),
            Msg::Stale(id, epoch) => self.stale(id, epoch),
            Msg::Checked(Ok(stop)) => self.stop(stop),
            Msg::Checked(Err(failed)) => self.not_replaced(&failed),
            Msg::Stop => self.stop(Stop::Asked),
        }
    }

    /// Lets a session take an input in, and carries out what follows.
    pub(super) fn feed(&mut self, id: SessionId, input: Input) {
        let now = now();
        let mut out = Vec::new();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.core.handle(now, input, &mut out);
        self.carry_out(id, out);
        self.publish(id);
    }

    /// Shows what changed to the tasks around the session.
    pub(super) fn publish(&mut self, id: SessionId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let view = view_of(&entry.core, false);
        let owner_stream = view.owner_stream;
        let mut another_types = false;
        entry.view.send_if_modified(|shown| {
            another_types = shown.owner_stream != view.owner_stream;
            let changed = shown.state != view.state || another_types;
            *shown = view;
            changed
        });
        if let (Some(followed), Some(log)) = (&entry.followed, &entry.log) {
            let end = ByteOffset(stream::written(log).offset.0);
            followed.answers(end, !entry.core.terminal_answers());
            if another_types {
                followed.forget_kept(end);
            }
        }
        let due = [entry.core.poll_timeout(), entry.look_at].into_iter().flatten().min();
        if due != entry.timer {
            if let Some(timer) = entry.timer.take() {
                self.timers.remove(&(timer, id));
            }
            if let Some(due) = due {
                self.timers.insert((due, id));
                entry.timer = Some(due);
            }
        }
        if let Some(stream) = owner_stream.filter(|_| another_types) {
            self.agent_of_owner(id, stream);
        }
        self.answer_writes(id);
        self.take_held_input(id);
    }

    pub(super) fn asker(&mut self, waiting: Waiting) -> Asker {
        self.next_asker += 1;
        let asker = Asker(self.next_asker);
        self.askers.insert(asker, waiting);
        asker
    }

    fn hello(&mut self, id: ConnectionId, hello: Hello, outbox: Outbox) -> Result<Bytes, WireError> {
        let client = hello.client_id.clone();
        if !self.clients.contains_key(&client) && self.clients.len() >= self.shared.options.clients_max as usize {
            return Err(WireError::clients_limit());
        }
        if hello.role == Role::Control {
            self.replace_control(&client);
        }
        let others = self.clients.get(&client).and_then(BTreeSet::first).and_then(|other| self.connections.get(other));
        let queue = others.and_then(|other| other.outbox.client()).cloned();
        let limits = self.hub.limits();
        let queue = queue.unwrap_or_else(|| {
            let bytes_max = limits.client_queue_bytes_max;
            Arc::new(ClientQueue::new(bytes_max, Some(self.meter(Queue::Client(client.clone()), bytes_max as u64))))
        });
        let socket = || self.meter(Queue::Socket(id, client.clone()), limits.outbox.high as u64);
        outbox.belongs_to(queue, (hello.role == Role::Stream).then(socket));
        let connection = Connection {
            client: client.clone(),
            role: hello.role,
            outbox,
            stream: None,
            looking: JoinSet::new(),
            subscription: None,
        };
        self.connections.insert(id, connection);
        self.clients.entry(client.clone()).or_default().insert(id);
        let owned = self.owned_by(&client);
        self.tell_all(&Input::ClientHere(client));
        Ok(json_frame(&StreamMessage::HelloOk(self.shared.hello_ok(hello.id, owned))))
    }

    /// A client has one control connection: a half-dead one must not keep its successor out.
    fn replace_control(&mut self, client: &ClientId) {
        let former = self.clients.get(client).into_iter().flatten();
        for connection in former.filter_map(|id| self.connections.get(id)) {
            if connection.role == Role::Control {
                let event = protocol::ControlEvent::Detached { code: abide_wire::Code::ClientReplaced, restart: false };
                connection.outbox.push(&[json_frame(&protocol::ControlMessage::Event(event))]);
                connection.outbox.close();
            }
        }
    }

    fn owned_by(&self, client: &ClientId) -> Vec<SessionId> {
        let owned = |entry: &&Entry| entry.facts().record().owner.as_ref() == Some(client);
        self.entries.values().filter(owned).map(|entry| entry.facts().id()).collect()
    }

    fn closed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(stream) = connection.stream {
            self.stream_gone(stream);
        }
        let Some(connections) = self.clients.get_mut(&connection.client) else { return };
        connections.remove(&id);
        if connections.is_empty() {
            self.clients.remove(&connection.client);
            self.tell_all(&Input::ClientGone(connection.client));
        }
    }

    /// Tells every session: a client that does not own it yet may be about to.
    fn tell_all(&mut self, input: &Input) {
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        for id in ids {
            self.feed(id, input.clone());
        }
    }

    fn stream_gone(&mut self, stream: StreamId) {
        if let Some(session) = self.streams.remove(&stream) {
            if let Some(entry) = self.entries.get_mut(&session) {
                entry.viewers.remove(&stream);
            }
            self.feed(session, Input::StreamGone(stream));
        }
    }

    /// A stream skips a part of its session's output. What its terminal would have answered there falls to the model; what
    /// it must know of the marks there is told here, and everything that stands in the log by now is in it.
    fn skips(&mut self, id: SessionId, stream: StreamId, from: ByteOffset, to: ByteOffset) -> Option<Standing> {
        self.settle();
        let entry = self.entries.get(&id)?;
        let mode = entry.core.mode_in_epoch(stream);
        if mode == Mode::Owner
            && let Some(followed) = &entry.followed
            && let Some(link) = &entry.link
        {
            let answers = followed.answers_skipped(from, to);
            if !answers.is_empty() {
                link.inject(&answers);
            }
        }
        let record = entry.facts().record();
        Some(Standing {
            incarnation: record.incarnation,
            owner: record.owner.clone(),
            owner_epoch: record.owner_epoch,
            mode,
        })
    }

    fn stream_said(&mut self, stream: StreamId, input: StreamInput) {
        let Some(session) = self.streams.get(&stream).copied() else { return };
        let Some(entry) = self.entries.get_mut(&session) else { return };
        match input {
            StreamInput::Bytes { epoch, offset, bytes } => {
                self.input(session, stream, epoch, offset, bytes);
                self.look_soon(session);
            }
            StreamInput::Resize(size) => {
                let Some(client) = entry.viewers.get(&stream).map(|viewer| viewer.client.clone()) else { return };
                if let Some(size) = known_size(size.cols, size.rows, (size.xpixel, size.ypixel)) {
                    self.feed(
                        session,
                        Input::Request { asker: None, client, owner_epoch: None, op: Op::Resize(Some(size)) },
                    );
                }
            }
            StreamInput::InputState => self.tell_applied(session, true),
            StreamInput::Detach => self.end_stream(session, stream, Detached::new(abide_wire::Code::Detached)),
        }
    }

    pub(super) fn end_stream(&mut self, session: SessionId, stream: StreamId, detached: Detached) {
        let viewer = self.entries.get_mut(&session).and_then(|entry| entry.viewers.get_mut(&stream));
        if let Some(end) = viewer.and_then(|viewer| viewer.end.take()) {
            let _ = end.send(detached);
        }
    }

    /// Tells everybody that the daemon ends; what they do next depends on whether another one follows.
    fn say_goodbye(&mut self, end: &Stop) {
        let restart = end.is_followed();
        for waiting in std::mem::take(&mut self.stop_askers) {
            self.answer_now(waiting, protocol::Nothing {});
        }
        let detached = Detached { restart, ..Detached::new(abide_wire::Code::DaemonStopping) };
        let streams: Vec<(StreamId, SessionId)> = self.streams.iter().map(|(s, id)| (*s, *id)).collect();
        for (stream, session) in streams {
            self.end_stream(session, stream, detached.clone());
        }
        for (_, waiting) in std::mem::take(&mut self.askers) {
            // What a request asked for may have been recorded; a stream just comes back.
            let unknown = matches!((end, &waiting), (Stop::Poisoned(_), Waiting::Control { .. }));
            self.refuse(waiting, if unknown { WireError::journal_failed() } else { WireError::stopping(restart) });
        }
        for connection in self.connections.values().filter(|connection| connection.role == Role::Control) {
            let event = protocol::ControlEvent::Detached { code: abide_wire::Code::DaemonStopping, restart };
            connection.outbox.push(&[json_frame(&protocol::ControlMessage::Event(event))]);
            connection.outbox.close();
        }
    }
}

/// Columns and rows that a client said; `None` if either is unknown.
pub(super) fn known_size(cols: u16, rows: u16, pixels: (u16, u16)) -> Option<Size> {
    (cols > 0 && rows > 0).then_some(Size { cols, rows, pixels })
}

/// Whether this error means that the journal takes nothing more.
pub(super) fn is_fatal(error: &JournalError) -> bool {
    matches!(error, JournalError::Poisoned(_) | JournalError::Unknown { .. } | JournalError::Closed)
}

/// What a connection is told of this daemon.
impl Shared {
    fn hello_ok(&self, id: RequestId, owned: Vec<SessionId>) -> HelloOk {
        HelloOk {
            id,
            version: protocol::limits::VERSION,
            daemon_id: self.daemon_id.clone(),
            daemon_epoch: self.daemon_epoch(),
            boot_id: self.boot.to_string(),
            daemon_version: self.version.clone(),
            limits: protocol::Limits::new(self.options.observers_max),
            owned,
        }
    }
}
