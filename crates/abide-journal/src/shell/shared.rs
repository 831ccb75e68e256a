//! What the owner, its helpers, readers and handles share.

use super::cache::LogCache;
use super::engine::{Answer, Answers, Engine};
use super::io::Job;
use super::paths::Paths;
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Mutex, MutexGuard, RwLock};
use super::watch::Watch;
use crate::core::{Done, Event, LogView, Now, Request, Space};
use crate::disk::{Clock, Disk, File, Lock};
use crate::entry::Durability;
use crate::error::Error;
use crate::format::{SegmentHeader, SnapshotCheckpoint};
use crate::options::Entropy;
use crate::position::{LogId, LogUid, Place};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

/// Payload of an append that its caller writes itself, in bytes: about what a keystroke or a prompt brings. Bulk goes to
/// the writer thread, so that its caller goes on meanwhile.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// Segment files kept open for readers.
const OPEN_FILES_MAX: usize = 32;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A log at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) view: Arc<LogView>,
    /// Behind the last record that is synced.
    pub(crate) durable: Place,
}

/// One log, as handles see it.
#[derive(Debug)]
pub(crate) struct LogShared {
    pub(crate) id: LogId,
    pub(crate) uid: LogUid,
    pub(crate) name: Arc<str>,
    /// `None`: the log was dropped.
    pub(crate) seen: Watch<Option<Seen>>,
    pub(crate) cache: LogCache,
    /// Checkpoints that were verified in this open, and whether they hold.
    pub(crate) verified: Mutex<BTreeMap<u64, (SnapshotCheckpoint, bool)>>,
}

impl LogShared {
    pub(crate) fn written(&self, view: Arc<LogView>) {
        self.seen.change(|seen| {
            if let Some(seen) = seen {
                seen.view = view;
            }
        });
    }

    pub(crate) fn durable(&self, end: Place) {
        self.seen.change(|seen| {
            if let Some(seen) = seen {
                seen.durable = end;
            }
        });
    }
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) by_id: HashMap<LogId, Arc<LogShared>>,
    pub(crate) by_name: BTreeMap<Arc<str>, LogId>,
}

/// What waits for the owner.
#[derive(Debug)]
pub(crate) enum Message {
    Submit(Submission),
    Event(Event),
    Close {
        answer: Answer,
    },
    /// The last handle is gone.
    Abandon,
}

/// A caller's request with what the core does not hold.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) request: Request,
    pub(crate) bytes: usize,
    pub(crate) answer: Answer,
}

#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<Message>,
    /// Answers that the writer thread sends, because whoever had them syncs.
    answers: Answers,
    /// Bytes of appends that are not written yet.
    queued: usize,
    /// Somebody must look: at messages, at work that is left, at a deadline that is earlier now, or at the end. Whoever is at
    /// work does so when done, else the writer thread.
    look: bool,
    /// A sync is under way, at whose end somebody looks.
    syncing: bool,
    /// What the writer thread waits for beside messages; `None`: it is at work.
    waits: Option<Wait>,
}

/// How long the writer thread sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Until it is woken.
    Forever,
    /// Until this tick of the clock.
    Until(u64),
}

/// The sync that is to be carried out, by whoever comes first.
#[derive(Debug, Default)]
struct Syncs {
    asked: Option<Job>,
    /// The thread for it is asleep.
    asleep: bool,
    stopped: bool,
}

/// A segment file with what reading it takes.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    pub(crate) file: Arc<dyn File>,
    pub(crate) salt: u32,
}

/// What is written is preceded by a look at the lock if the last one is so long ago.
const LOCK_LOOK_MS: u64 = 500;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) paths: Paths,
    pub(crate) queue_bytes_max: usize,
    pub(crate) tail_cache_bytes: usize,
    pub(crate) threads: bool,
    pub(crate) store_id: [u8; 16],
    pub(crate) chunk_bytes: u64,
    pub(crate) pin_bytes_max: u64,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    syncs: Mutex<Syncs>,
    sync_wake: Condvar,
    /// The owner's buffer for what it writes.
    pub(crate) heads: Mutex<Vec<u8>>,
    pub(crate) registry: RwLock<Registry>,
    files: Mutex<BTreeMap<u64, SegmentFile>>,
    pub(crate) space: Arc<Watch<Space>>,
    pub(crate) lock: Mutex<Option<Lock>>,
    /// When the lock was last seen to be this store's, in ticks.
    seen_locked_ms: AtomicU64,
    pub(crate) random: Mutex<Random>,
    /// Why nothing more is taken.
    pub(crate) ended: OnceLock<Error>,
    /// The owner's state; whoever has the lock is the owner.
    pub(crate) engine: Mutex<Option<Engine>>,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: &crate::Options,
        store_id: [u8; 16],
        lock: Lock,
        random: Random,
    ) -> Self {
        Self {
            seen_locked_ms: AtomicU64::new(clock.tick_ms()),
            disk,
            clock,
            paths: Paths { dir: options.dir.clone() },
            queue_bytes_max: options.queue_bytes_max,
            tail_cache_bytes: options.tail_cache_bytes,
            threads: options.threads,
            store_id,
            chunk_bytes: options.chunk_bytes,
            pin_bytes_max: options.pin_bytes_max,
            inbox: Mutex::default(),
            wake: Condvar::new(),
            syncs: Mutex::default(),
            sync_wake: Condvar::new(),
            heads: Mutex::default(),
            registry: RwLock::default(),
            files: Mutex::default(),
            space: Arc::new(Watch::new(Space::default())),
            lock: Mutex::new(Some(lock)),
            random: Mutex::new(random),
            ended: OnceLock::new(),
            engine: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall_us: self.clock.wall_us(), tick_ms: self.clock.tick_ms() }
    }

    /// Queues a message of the store itself.
    pub(crate) fn send(&self, message: Message) {
        let mut inbox = locked(&self.inbox);
        inbox.messages.push_back(message);
        inbox.look = true;
        self.wake_writer(inbox);
    }

    /// Queues a request. `wait`: even if the queue is full, to be served in turn. Who does not wait acts on what is written, and
    /// is not held up by a sync.
    pub(crate) fn submit(&self, submission: Submission, wait: bool) -> Result<(), Error> {
        let mut inbox = locked(&self.inbox);
        if let Some(error) = self.ended.get() {
            return Err(error.clone());
        }
        if !wait && inbox.queued > 0 && inbox.queued + submission.bytes > self.queue_bytes_max {
            return Err(Error::Busy);
        }
        inbox.queued += submission.bytes;
        let small = submission.bytes <= INLINE_BYTES_MAX;
        // What waits for a sync gains nothing by being written before the one under way has ended: it goes into the next
        // batch with all others that have come until then.
        let patient = wait && small && inbox.syncing && submission.request.level() >= Durability::Always;
        inbox.messages.push_back(Message::Submit(submission));
        if patient {
            return Ok(());
        }
        inbox.look = true;
        if small && self.threads {
            drop(inbox);
            self.take_care().send();
        } else {
            self.wake_writer(inbox);
        }
        Ok(())
    }

    /// A writer thread at work looks at the inbox before it sleeps.
    fn wake_writer(&self, inbox: MutexGuard<'_, Inbox>) {
        if inbox.waits.is_some() {
            drop(inbox);
            self.wake.notify_one();
        }
    }

    /// What a helper thread has done. If nothing else waits it also does what follows, such as answering whoever waited
    /// for a sync, without waking the writer thread for it.
    pub(crate) fn report(&self, event: Event) {
        self.reported(event).send();
    }

    fn reported(&self, event: Event) -> Answers {
        let mut inbox = locked(&self.inbox);
        if matches!(event, Event::Synced { .. } | Event::Failed { .. }) {
            inbox.syncing = false;
        }
        inbox.messages.push_back(Message::Event(event));
        inbox.look = true;
        drop(inbox);
        self.take_care()
    }

    /// Sees to what is in the inbox: here, if nobody is at it, so that a small append costs no change of threads; else
    /// whoever is at it looks once more when done. The writer thread is woken only for what it would miss. Returns the
    /// answers that are to be sent.
    fn take_care(&self) -> Answers {
        let Ok(mut engine) = self.engine.try_lock() else { return Answers::default() };
        let Some(owner) = engine.as_mut() else { return Answers::default() };
        let left = owner.pass(self, true) || owner.is_finished();
        let (deadline, answers) = (owner.deadline(), owner.take_answers());
        drop(engine);
        let mut inbox = locked(&self.inbox);
        let late = deadline.is_some_and(|deadline| match inbox.waits {
            Some(Wait::Until(until)) => until > deadline,
            Some(Wait::Forever) | None => true,
        });
        inbox.look |= left || late;
        if inbox.look {
            self.wake_writer(inbox);
        }
        answers
    }

    /// A sync is to be carried out: by the thread for it, or by a caller that waits for it.
    pub(crate) fn ask_for_sync(&self, job: Job) {
        locked(&self.inbox).syncing = true;
        let mut syncs = locked(&self.syncs);
        syncs.asked = Some(job);
        let asleep = syncs.asleep;
        drop(syncs);
        if asleep {
            self.sync_wake.notify_one();
        }
    }

    pub(crate) fn stop_syncs(&self) {
        locked(&self.syncs).stopped = true;
        self.sync_wake.notify_one();
    }

    /// Carries out the sync that is asked for, if there is one and nobody else has begun.
    pub(crate) fn sync_here(&self) -> bool {
        let Some(job) = locked(&self.syncs).asked.take() else { return false };
        if let Some(event) = self.carry_out(&job) {
            self.report(event);
        }
        true
    }

    /// The thread for syncs. While one follows the other it leaves the answers to the writer thread.
    pub(crate) fn run_syncs(&self) {
        let mut syncs = locked(&self.syncs);
        loop {
            let Some(job) = syncs.asked.take() else {
                if syncs.stopped {
                    return;
                }
                syncs.asleep = true;
                syncs = self.sync_wake.wait(syncs).unwrap_or_else(PoisonError::into_inner);
                syncs.asleep = false;
                continue;
            };
            drop(syncs);
            let answers = self.carry_out(&job).map(|event| self.reported(event)).unwrap_or_default();
            syncs = locked(&self.syncs);
            if syncs.asked.is_some() {
                let mut inbox = locked(&self.inbox);
                inbox.answers.append(answers);
                self.wake_writer(inbox);
            } else {
                drop(syncs);
                answers.send();
                syncs = locked(&self.syncs);
            }
        }
    }

    /// Asks the owner to stop; one that has stopped already needs no asking.
    pub(crate) fn close(&self, answer: Answer) {
        let mut inbox = locked(&self.inbox);
        if self.ended.get().is_some() {
            drop(inbox);
            let _ = answer.send(Ok(Done::Plain));
        } else {
            inbox.messages.push_back(Message::Close { answer });
            inbox.look = true;
            self.wake_writer(inbox);
        }
    }

    /// Bytes that are written or refused make room in the queue.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            let mut inbox = locked(&self.inbox);
            // At its end the store counts anew from zero, while those under way are still to be answered.
            inbox.queued = inbox.queued.saturating_sub(bytes);
        }
    }

    /// What has come in; `messages` is empty, and its room is used for what comes next.
    pub(crate) fn take_messages(&self, messages: &mut VecDeque<Message>) {
        let mut inbox = locked(&self.inbox);
        inbox.look = false;
        std::mem::swap(&mut inbox.messages, messages);
    }

    pub(crate) fn take_answers(&self) -> Answers {
        std::mem::take(&mut locked(&self.inbox).answers)
    }

    /// Blocks until there is something to do, or the clock reaches `deadline`. Returns answers that were left to be sent.
    pub(crate) fn wait_for_work(&self, deadline: Option<u64>) -> Answers {
        let mut inbox = locked(&self.inbox);
        inbox.waits = Some(deadline.map_or(Wait::Forever, Wait::Until));
        while inbox.answers.is_empty() && !inbox.look {
            inbox = match deadline {
                None => self.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_sub(self.clock.tick_ms());
                    if left == 0 {
                        break;
                    }
                    let waited = self.wake.wait_timeout(inbox, Duration::from_millis(left));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        inbox.waits = None;
        std::mem::take(&mut inbox.answers)
    }

    /// Nothing more is taken; what is in the inbox is answered.
    pub(crate) fn end(&self, error: &Error) {
        let messages = {
            let mut inbox = locked(&self.inbox);
            let _ = self.ended.set(error.clone());
            inbox.queued = 0;
            std::mem::take(&mut inbox.messages)
        };
        for message in messages {
            match message {
                Message::Submit(submission) => drop(submission.answer.send(Err(error.clone()))),
                Message::Close { answer } => drop(answer.send(Ok(Done::Plain))),
                Message::Event(_) | Message::Abandon => {}
            }
        }
        let logs: Vec<_> = self.logs();
        for log in logs {
            log.seen.change(|_| {});
        }
    }

    /// A log begins to exist for callers.
    pub(crate) fn register(&self, id: LogId, view: Arc<LogView>) -> Arc<LogShared> {
        let log = Arc::new(LogShared {
            id,
            uid: view.facts.uid,
            name: Arc::clone(&view.facts.name),
            // What an open finds is durable by then; a new log is empty.
            seen: Watch::new(Some(Seen { durable: view.written, view })),
            cache: LogCache::default(),
            verified: Mutex::default(),
        });
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        registry.by_name.insert(Arc::clone(&log.name), id);
        registry.by_id.insert(id, Arc::clone(&log));
        log
    }

    pub(crate) fn logs(&self) -> Vec<Arc<LogShared>> {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.by_name.values().filter_map(|id| registry.by_id.get(id)).cloned().collect()
    }

    pub(crate) fn log(&self, id: LogId) -> Option<Arc<LogShared>> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    pub(crate) fn log_named(&self, name: &str) -> Option<Arc<LogShared>> {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.by_name.get(name).and_then(|id| registry.by_id.get(id)).cloned()
    }

    /// A segment's file, for reading.
    pub(crate) fn segment(&self, segment: u64) -> std::io::Result<SegmentFile> {
        if let Some(found) = locked(&self.files).get(&segment) {
            return Ok(found.clone());
        }
        let file = self.disk.open(&self.paths.segment(segment))?;
        let mut header = [0; SegmentHeader::BYTES];
        file.read_at(0, &mut header)?;
        let header = SegmentHeader::decode(&header)
            .map_err(|malformed| std::io::Error::new(std::io::ErrorKind::InvalidData, malformed))?;
        let opened = SegmentFile { file, salt: header.salt };
        self.keep_file(segment, opened.clone());
        Ok(opened)
    }

    pub(crate) fn kept_file(&self, segment: u64) -> Option<Arc<dyn File>> {
        locked(&self.files).get(&segment).map(|kept| Arc::clone(&kept.file))
    }

    pub(crate) fn keep_file(&self, segment: u64, file: SegmentFile) {
        let mut files = locked(&self.files);
        files.insert(segment, file);
        while files.len() > OPEN_FILES_MAX {
            files.pop_first();
        }
    }

    pub(crate) fn forget_file(&self, segment: u64) {
        locked(&self.files).remove(&segment);
    }

    pub(crate) fn still_locked(&self) -> bool {
        let now = self.clock.tick_ms();
        let held = locked(&self.lock).as_ref().is_some_and(|lock| self.disk.still_locked(&self.paths.lock(), lock));
        if held {
            self.seen_locked_ms.store(now, Ordering::Relaxed);
        }
        held
    }

    /// The same for what comes too often to look each time: it was seen a moment ago, or is now. A process that stood
    /// still for longer has another one in its place, if somebody took its lock away, and must write nothing.
    pub(crate) fn was_just_locked(&self) -> bool {
        let seen = self.seen_locked_ms.load(Ordering::Relaxed);
        self.clock.tick_ms().saturating_sub(seen) < LOCK_LOOK_MS || self.still_locked()
    }

    /// One step of a store without threads.
    pub(crate) fn turn(&self) -> bool {
        let mut engine = locked(&self.engine);
        let Some(owner) = engine.as_mut() else { return false };
        let worked = owner.turn(self);
        let finished = owner.is_finished();
        if finished {
            owner.finish(self);
        }
        let answers = owner.take_answers();
        if finished {
            *engine = None;
        }
        drop(engine);
        answers.send();
        worked
    }
}

/// Source of identities and salts.
#[derive(Debug)]
pub(crate) struct Random(Option<u64>);

impl Random {
    pub(crate) fn new(entropy: Entropy) -> Self {
        match entropy {
            Entropy::System => Self(None),
            Entropy::Seeded(seed) => Self(Some(seed)),
        }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        let Some(state) = &mut self.0 else {
            return getrandom::fill(bytes).map_err(std::io::Error::other);
        };
        for byte in bytes {
            // SplitMix64, one step for each byte: only a simulation uses it.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = mixed.to_le_bytes()[7];
        }
        Ok(())
    }

    pub(crate) fn salt(&mut self) -> std::io::Result<u32> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

/// Kept alive by handles: when the last one goes, the owner stops.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owner: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.send(Message::Abandon);
        let owner = locked(&self.owner).take();
        match owner {
            // A waker may drop the last handle on the owner's own thread, which then ends by itself.
            Some(owner) if owner.thread().id() != thread::current().id() => drop(owner.join()),
            Some(_) => {}
            None => while self.shared.turn() {},
        }
    }
}
