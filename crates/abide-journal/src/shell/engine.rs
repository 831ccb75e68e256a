//! The owner of the core: whoever has its lock. That is the writer thread; a caller whose small append finds nobody at
//! work, which then writes it itself instead of waking a thread for it; and in a store without threads who calls `turn`.

use super::cache::Ages;
use super::io::Job;
use super::log::queued_bytes;
use super::shared::{LogShared, Message, Shared, Submission, locked};
use super::sync::mpsc::{SyncSender, sync_channel};
use super::sync::thread::{self, JoinHandle};
use crate::core::{Done, Effect, Event, LogView, PlannedRecord, Store, TicketId, WritePlan};
use crate::entry::{Content, Record};
use crate::error::Error;
use crate::format::{Kind, Placement};
use crate::position::{ByteOffset, Epoch, LogId, Lsn, Position};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

/// Where an answer goes.
pub(crate) type Answer = oneshot::Sender<Result<Done, Error>>;

/// Who asked for something.
#[derive(Debug)]
struct Pending {
    /// Bytes that it takes in the queue; no longer once it was appended.
    bytes: usize,
    answer: Answer,
}

/// Answers that are ready. They are sent when nobody waits for the engine any more: waking many threads takes long.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<(Answer, Result<Done, Error>)>);

impl Answers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }

    pub(crate) fn send(self) {
        for (to, result) in self.0 {
            // A caller that went away does not want to know.
            let _ = to.send(result);
        }
    }
}

/// The core with what it does not hold itself: waiting callers, the published views.
#[derive(Debug)]
pub(crate) struct Engine {
    store: Store,
    pending: HashMap<TicketId, Pending>,
    next_ticket: TicketId,
    answers: Answers,
    jobs: VecDeque<Job>,
    logs: BTreeMap<LogId, Arc<LogShared>>,
    ages: Ages,
    abandoned: bool,
    /// Threads for what takes long; none in a store without threads.
    helpers: Option<Helpers>,
    /// Empty, but for the room that they keep from one event to the next.
    effects: Vec<Effect>,
    messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Helpers {
    syncer: JoinHandle<()>,
    upkeep: Helper,
}

impl Engine {
    pub(crate) fn new(store: Store, logs: Vec<Arc<LogShared>>) -> Self {
        Self {
            store,
            pending: HashMap::new(),
            next_ticket: 0,
            answers: Answers::default(),
            jobs: VecDeque::new(),
            logs: logs.into_iter().map(|log| (log.id, log)).collect(),
            ages: Ages::default(),
            abandoned: false,
            helpers: None,
            effects: Vec::new(),
            messages: VecDeque::new(),
        }
    }

    /// Takes what callers and helpers have sent. Says whether there was anything.
    fn take(&mut self, shared: &Shared) -> bool {
        let mut messages = std::mem::take(&mut self.messages);
        shared.take_messages(&mut messages);
        let some = !messages.is_empty();
        for message in messages.drain(..) {
            match message {
                Message::Submit(submission) => self.submit(shared, submission),
                Message::Event(event) => self.event(shared, event),
                Message::Close { answer } => {
                    let ticket = self.ticket(0, answer);
                    self.event(shared, Event::Close { ticket });
                }
                Message::Abandon => self.abandoned = true,
            }
        }
        self.messages = messages;
        some
    }

    fn ticket(&mut self, bytes: usize, answer: Answer) -> TicketId {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.pending.insert(ticket, Pending { bytes, answer });
        ticket
    }

    fn submit(&mut self, shared: &Shared, submission: Submission) {
        let Submission { request, bytes, answer } = submission;
        let ticket = self.ticket(bytes, answer);
        self.event(shared, Event::Submit { ticket, request });
    }

    fn event(&mut self, shared: &Shared, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        self.store.handle(shared.now(), event, &mut effects);
        for effect in effects.drain(..) {
            self.perform(shared, effect);
        }
        self.effects = effects;
    }

    fn perform(&mut self, shared: &Shared, effect: Effect) {
        match effect {
            Effect::Write(plan) => self.jobs.push_back(Job::Write(plan)),
            Effect::Sync { segment, batch } => self.jobs.push_back(Job::Sync { segment, batch }),
            Effect::Prepare { ahead, origin, from, to } => {
                self.jobs.push_back(Job::Prepare { ahead, origin, from, to });
            }
            Effect::GiveUpReserve => self.jobs.push_back(Job::GiveUpReserve),
            Effect::WriteCheckpoint(new) => self.jobs.push_back(Job::WriteCheckpoint(new)),
            Effect::RemoveCheckpoint { log, lsn } => self.jobs.push_back(Job::RemoveCheckpoint { log, lsn }),
            Effect::FindTrim { log } => self.jobs.push_back(Job::FindTrim { log }),
            Effect::Read { piece } => self.jobs.push_back(Job::Read { piece }),
            Effect::WriteIndex { batch, file } => self.jobs.push_back(Job::WriteIndex { batch, file }),
            Effect::RemoveIndex { batch } => self.jobs.push_back(Job::RemoveIndex { batch }),
            Effect::Free { segment, spare } => self.jobs.push_back(Job::Free { segment, spare }),
            Effect::Measure => self.jobs.push_back(Job::Measure),
            Effect::Reply { ticket, result } => self.reply(shared, ticket, result),
            Effect::Wake { log, view } => self.publish(shared, log, view),
            Effect::Durable { log, end } => {
                if let Some(log) = self.logs.get(&log) {
                    log.durable(end);
                }
            }
            Effect::Space(space) => shared.space.set(space),
            Effect::Poisoned(cause) => {
                self.jobs.clear();
                shared.end(&Error::Poisoned(cause));
            }
        }
    }

    fn reply(&mut self, shared: &Shared, ticket: TicketId, result: Result<Done, Error>) {
        let Some(pending) = self.pending.remove(&ticket) else { return };
        // Appends make room when they are written.
        if !matches!(result, Ok(Done::Appended(_))) {
            shared.release(pending.bytes);
        }
        self.answers.0.push((pending.answer, result));
    }

    pub(crate) fn take_answers(&mut self) -> Answers {
        std::mem::take(&mut self.answers)
    }

    fn publish(&mut self, shared: &Shared, id: LogId, view: Option<Arc<LogView>>) {
        let Some(view) = view else {
            if let Some(log) = self.logs.remove(&id) {
                let mut registry = shared.registry.write().unwrap_or_else(PoisonError::into_inner);
                registry.by_id.remove(&id);
                // The name may belong to a new log already.
                if registry.by_name.get(&log.name) == Some(&id) {
                    registry.by_name.remove(&log.name);
                }
                drop(registry);
                log.seen.set(None);
            }
            return;
        };
        if let Some(log) = self.logs.get(&id) {
            log.written(view);
            return;
        }
        let log = shared.register(id, view);
        self.logs.insert(id, log);
    }

    /// After a batch has been written: its records go to the shared tail, its bytes no longer count as queued.
    fn written(&mut self, shared: &Shared, plan: &WritePlan) {
        let mut released = 0;
        for PlannedRecord { written, payload, .. } in &plan.records {
            let header = &written.header;
            if header.placement == Placement::Moved {
                continue;
            }
            let Some(content) = content(header.kind, &payload.bytes) else { continue };
            released += queued_bytes(payload.bytes.len());
            let Some(log) = self.logs.get(&header.log) else { continue };
            let lsn = Lsn::new(header.lsn).unwrap_or(Lsn::FIRST);
            let record = Record {
                position: Position { epoch: Epoch(header.epoch), lsn },
                offset: ByteOffset(header.offset),
                time_us: header.time_us,
                tag: header.tag,
                content,
            };
            self.ages.add(log, record);
        }
        self.ages.shrink(shared.tail_cache_bytes);
        shared.release(released);
    }

    /// Carries out a job here and now.
    fn run(&mut self, shared: &Shared, job: &Job) {
        let event = shared.carry_out(job);
        if let (Job::Write(plan), Some(Event::Written { .. })) = (job, &event) {
            self.written(shared, plan);
        }
        if let Some(event) = event {
            self.event(shared, event);
        }
    }

    /// Callers' requests and due timers, then one piece of I/O. Says whether there was anything to do.
    pub(crate) fn turn(&mut self, shared: &Shared) -> bool {
        let mut worked = self.take(shared);
        if self.store.deadline().is_some_and(|deadline| deadline <= shared.clock.tick_ms()) {
            self.event(shared, Event::Tick);
            worked = true;
        }
        self.event(shared, Event::Turn);
        if let Some(job) = self.jobs.pop_front() {
            self.run(shared, &job);
            worked = true;
        }
        worked
    }

    /// When the store will next do something by itself.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.store.deadline()
    }

    /// Closed or poisoned; or nobody has a handle any more and all that was asked for is done.
    pub(crate) fn is_finished(&self) -> bool {
        self.store.is_closed() || (self.abandoned && self.pending.is_empty() && self.jobs.is_empty())
    }

    /// The end: whoever still asks is refused. A poisoned store keeps its lock until its owner lets it go.
    pub(crate) fn finish(&mut self, shared: &Shared) {
        if let Some(Helpers { syncer, upkeep }) = self.helpers.take() {
            shared.stop_syncs();
            let _ = syncer.join();
            upkeep.stop();
        }
        shared.end(&Error::Closed);
        self.pending.clear();
    }

    /// Starts the helper threads.
    pub(crate) fn start_helpers(&mut self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let owned = Arc::clone(shared);
        let syncer = thread::Builder::new().name("journal-sync".to_owned()).spawn(move || owned.run_syncs())?;
        self.helpers = Some(Helpers { syncer, upkeep: Helper::start(shared, "journal-upkeep")? });
        Ok(())
    }

    /// Takes what was sent and carries it out, but for what takes long: helpers do that. With `once` only one batch is
    /// written. Says whether anything is left.
    pub(crate) fn pass(&mut self, shared: &Shared, once: bool) -> bool {
        self.take(shared);
        if self.store.deadline().is_some_and(|deadline| deadline <= shared.clock.tick_ms()) {
            self.event(shared, Event::Tick);
        }
        self.event(shared, Event::Turn);
        let mut written = false;
        while let Some(job) = self.jobs.pop_front() {
            match job {
                Job::Write(_) if once && written => {
                    self.jobs.push_front(job);
                    return true;
                }
                Job::Write(_) => {
                    // What has come in meanwhile goes into the next batch, which `Written` closes.
                    self.run_write(shared, &job);
                    written = true;
                }
                Job::RemoveIndex { .. } => self.run(shared, &job),
                _ => self.dispatch(shared, job),
            }
        }
        false
    }

    /// The writer thread.
    pub(crate) fn run_thread(shared: &Shared) {
        let mut deadline = locked(&shared.engine).as_ref().and_then(Self::deadline);
        loop {
            let mut answers = shared.wait_for_work(deadline);
            let mut engine = locked(&shared.engine);
            let Some(owner) = engine.as_mut() else { return };
            owner.pass(shared, false);
            let finished = owner.is_finished();
            if finished {
                owner.finish(shared);
            }
            deadline = owner.deadline();
            answers.append(shared.take_answers());
            answers.append(owner.take_answers());
            if finished {
                *engine = None;
            }
            drop(engine);
            answers.send();
            if finished {
                return;
            }
        }
    }

    fn run_write(&mut self, shared: &Shared, job: &Job) {
        let event = shared.carry_out(job);
        if let (Job::Write(plan), Some(Event::Written { .. })) = (job, &event) {
            self.written(shared, plan);
        }
        self.take(shared);
        if let Some(event) = event {
            self.event(shared, event);
        }
    }

    fn dispatch(&mut self, shared: &Shared, job: Job) {
        let Some(helpers) = &self.helpers else { return };
        match job {
            Job::Sync { .. } => shared.ask_for_sync(job),
            _ => helpers.upkeep.send(job),
        }
    }
}

/// How content is stored.
pub(crate) fn payload(content: Content) -> (Kind, bytes::Bytes) {
    match content {
        Content::Data(bytes) => (Kind::Data, bytes),
        Content::Mark(bytes) => (Kind::Mark, bytes),
        Content::Gap(length) => (Kind::Gap, bytes::Bytes::copy_from_slice(&length.to_le_bytes())),
    }
}

/// What a record with an LSN holds.
pub(crate) fn content(kind: Kind, payload: &bytes::Bytes) -> Option<Content> {
    match kind {
        Kind::Data => Some(Content::Data(payload.clone())),
        Kind::Mark => Some(Content::Mark(payload.clone())),
        Kind::Gap => payload.first_chunk().map(|length| Content::Gap(u64::from_le_bytes(*length))),
        _ => None,
    }
}

/// A thread that carries out jobs and reports each to the owner.
#[derive(Debug)]
struct Helper {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

/// Jobs that wait for a helper: the core has at most a few under way.
const HELPER_JOBS_MAX: usize = 256;

impl Helper {
    fn start(shared: &Arc<Shared>, name: &str) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(HELPER_JOBS_MAX);
        let shared = Arc::clone(shared);
        let run = move || {
            for job in queue {
                if let Some(event) = shared.carry_out(&job) {
                    shared.report(event);
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { jobs, thread })
    }

    fn send(&self, job: Job) {
        // Fails only if the thread has ended; its jobs then stay unanswered, and nothing is acknowledged.
        let _ = self.jobs.send(job);
    }

    fn stop(self) {
        drop(self.jobs);
        let _ = self.thread.join();
    }
}
