//! What the owner, its helpers, readers and handles share.

use super::cache::LogCache;
use super::encode::Sealed;
use super::engine::Engine;
use super::paths::Paths;
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Mutex, MutexGuard, RwLock};
use super::watch::Watch;
use crate::core::{Done, Event, LogView, Now, Request, Space};
use crate::disk::{Clock, Disk, File, Lock};
use crate::error::Error;
use crate::format::{SegmentHeader, SnapshotCheckpoint};
use crate::options::Entropy;
use crate::position::{LogId, LogUid};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Payload of an append that its caller writes itself, in bytes: about what a keystroke or a prompt brings. Bulk goes to
/// the writer thread, so that its caller goes on meanwhile.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// Segment files kept open for readers.
const OPEN_FILES_MAX: usize = 32;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One log, as handles see it.
#[derive(Debug)]
pub(crate) struct LogShared {
    pub(crate) id: LogId,
    pub(crate) uid: LogUid,
    pub(crate) name: Arc<str>,
    /// `None`: the log was dropped.
    pub(crate) view: Watch<Option<Arc<LogView>>>,
    pub(crate) cache: LogCache,
    /// Checkpoints that were verified in this open, and whether they hold.
    pub(crate) verified: Mutex<BTreeMap<u64, (SnapshotCheckpoint, bool)>>,
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
        answer: oneshot::Sender<Result<Done, Error>>,
    },
    /// The last handle is gone.
    Abandon,
}

/// A caller's request with what the core does not hold.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) request: Request,
    pub(crate) payloads: Vec<Sealed>,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Done, Error>>,
}

#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<Message>,
    /// Bytes of appends that are not written yet.
    queued: usize,
    /// The writer thread must look: at work that is left, at a deadline that is earlier now, or at the end.
    look: bool,
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
        locked(&self.inbox).messages.push_back(message);
        self.wake.notify_one();
    }

    /// Queues a request. `wait`: even if the queue is full, to be served in turn.
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
        inbox.messages.push_back(Message::Submit(submission));
        let asleep = inbox.waits.is_some();
        drop(inbox);
        // A writer thread at work looks at the inbox before it sleeps.
        if !(small && self.threads && self.write_here()) && asleep {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// What a helper thread has done. If nothing else waits it also does what follows, such as answering whoever waited
    /// for a sync, without waking the writer thread for it.
    pub(crate) fn report(&self, event: Event) {
        let mut inbox = locked(&self.inbox);
        let alone = inbox.messages.is_empty();
        inbox.messages.push_back(Message::Event(event));
        let asleep = inbox.waits.is_some();
        drop(inbox);
        if !(alone && self.write_here()) && asleep {
            self.wake.notify_one();
        }
    }

    /// Writes what is queued on the caller's thread, if nobody is at it: a small append then costs no change of threads.
    /// The writer thread is woken only for what it would miss.
    fn write_here(&self) -> bool {
        let Ok(mut engine) = self.engine.try_lock() else { return false };
        let Some(owner) = engine.as_mut() else { return false };
        let left = owner.pass(self, true) || owner.is_finished();
        let mut inbox = locked(&self.inbox);
        let late = owner.deadline().is_some_and(|deadline| match inbox.waits {
            Some(Wait::Until(until)) => until > deadline,
            Some(Wait::Forever) | None => true,
        });
        if left || late {
            inbox.look = true;
            drop(inbox);
            self.wake.notify_one();
        }
        true
    }

    /// Asks the owner to stop; one that has stopped already needs no asking.
    pub(crate) fn close(&self, answer: oneshot::Sender<Result<Done, Error>>) {
        let mut inbox = locked(&self.inbox);
        if self.ended.get().is_some() {
            drop(inbox);
            let _ = answer.send(Ok(Done::Plain));
        } else {
            inbox.messages.push_back(Message::Close { answer });
            drop(inbox);
            self.wake.notify_one();
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

    pub(crate) fn take_messages(&self) -> VecDeque<Message> {
        std::mem::take(&mut locked(&self.inbox).messages)
    }

    /// Blocks until there is something to do, or the clock reaches `deadline`.
    pub(crate) fn wait_for_work(&self, deadline: Option<u64>) {
        let mut inbox = locked(&self.inbox);
        inbox.waits = Some(deadline.map_or(Wait::Forever, Wait::Until));
        while inbox.messages.is_empty() && !inbox.look {
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
        inbox.look = false;
        inbox.waits = None;
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
            log.view.set(log.view.get());
        }
    }

    /// A log begins to exist for callers.
    pub(crate) fn register(&self, id: LogId, view: Arc<LogView>) -> Arc<LogShared> {
        let log = Arc::new(LogShared {
            id,
            uid: view.uid,
            name: Arc::clone(&view.name),
            view: Watch::new(Some(view)),
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
        if owner.is_finished() {
            owner.finish(self);
            *engine = None;
        }
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
