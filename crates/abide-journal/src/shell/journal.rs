//! The handle of a store.

use super::engine::Engine;
use super::log::{Log, LogInfo, append_request, info, plain};
use super::open::{Opened, RecoveryReport, open, open_read_only};
use super::scrub::Scrub;
use super::shared::{Inner, Seen, Shared, locked};
use super::sync::{Mutex, thread};
use super::ticket::Ticket;
use super::watch::SpaceWatch;
use crate::core::{Done, Request, Store};
use crate::disk::{Clock, Disk, Lock};
use crate::entry::{AppendOptions, Appended, Durability, Entry};
use crate::error::{Cause, Error};
use crate::format::{Damage, DamageState};
use crate::options::{LogOptions, OnDamage, Options};
use crate::position::{LogId, LogUid};
use std::sync::Arc;
use tokio::sync::oneshot;

/// One store: many logs in one stream. A cheap clone, usable from any thread. When the last handle of the store and its
/// logs is dropped, what was asked for is carried out and the lock given up, without the orderly end of
/// [`Journal::close`].
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all answers")]
fn created(inner: &Arc<Inner>, done: Done) -> Result<Log, Error> {
    match done {
        Done::Created(id) => {
            let shared = inner.shared.log(id).ok_or(Error::LogGone)?;
            Ok(Log { inner: Arc::clone(inner), shared })
        }
        _ => Err(Error::Closed),
    }
}

fn all_appended(_: &Arc<Inner>, done: Done) -> Result<Vec<Appended>, Error> {
    match done {
        Done::Appended(all) => Ok(all),
        _ => Err(Error::Closed),
    }
}

impl Journal {
    /// Opens a store, or makes it, after whatever crash. Blocks while it reads index and tail.
    ///
    /// Errors: `journal_locked`, `journal_format`, `journal_corrupt` (with file and position), `journal_full`,
    /// `limit_exceeded` (an option), and `journal_poisoned` for a failing disk.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        mut options: Options,
    ) -> Result<(Self, RecoveryReport), Error> {
        let opened = open(disk.as_ref(), &mut options)?;
        let (shared, store, report) = Self::share(disk, clock, &options, opened);
        let mut engine = Engine::new(store.ok_or(Error::ReadOnly)?, shared.logs());
        let failed = |error| {
            Error::Poisoned(Cause::Disk { action: "spawn", file: options.dir.clone(), source: Arc::new(error) })
        };
        if options.threads {
            engine.start_helpers(&shared).map_err(failed)?;
        }
        *locked(&shared.engine) = Some(engine);
        let owner = if options.threads {
            let owned = Arc::clone(&shared);
            let run = move || Engine::run_thread(&owned);
            Some(thread::Builder::new().name("journal-write".to_owned()).spawn(run).map_err(failed)?)
        } else {
            None
        };
        Ok((Self { inner: Arc::new(Inner { shared, owner: Mutex::new(owner) }) }, report))
    }

    /// Opens a store to look at it: nothing is written, and nothing is taken. A store that cannot be opened otherwise is
    /// shown up to the place where it cannot be read, which the report names. Of the options only `dir` and
    /// `tail_cache_bytes` count.
    ///
    /// Errors: `journal_locked` if a process has it open, `journal_format`, `journal_corrupt` if a segment's head is
    /// damaged.
    pub fn open_read_only(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: &Options,
    ) -> Result<(Self, RecoveryReport), Error> {
        let opened = open_read_only(disk.as_ref(), options)?;
        let (shared, _, report) = Self::share(disk, clock, options, opened);
        shared.end(&Error::ReadOnly);
        Ok((Self { inner: Arc::new(Inner { shared, owner: Mutex::new(None) }) }, report))
    }

    fn share(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: &Options,
        opened: Opened,
    ) -> (Arc<Shared>, Option<Store>, RecoveryReport) {
        let Opened { store, store_id, views, report, file, lock, random } = opened;
        let shared = Arc::new(Shared::new(disk, clock, options, store_id, lock, random));
        if let Some((segment, file)) = file {
            shared.keep_file(segment, file);
        }
        for (log, view) in views {
            shared.register(log, view);
        }
        (shared, store, report)
    }

    /// Makes a log. Durable when answered. `log_exists`, `limit_exceeded`.
    pub fn create_log(&self, name: &str, options: LogOptions) -> Ticket<Log> {
        let refused = |error| Ticket::refused(Arc::clone(&self.inner), error, created);
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._@/-".contains(&byte);
        if name.is_empty() || name.len() > 128 || name.starts_with('@') || !name.bytes().all(valid) {
            return refused(Error::NameInvalid { name: name.to_owned() });
        }
        let mut uid = [0; 16];
        if let Err(error) = locked(&self.inner.shared.random).fill(&mut uid) {
            return refused(Error::disk("getrandom", &self.inner.shared.paths.dir, error));
        }
        self.inner.ask(Request::Create { name: name.to_owned(), uid: LogUid(uid), options }, created)
    }

    /// A log that exists. `log_not_found`; `journal_corrupt` for a damaged log that refuses to serve
    /// ([`OnDamage::Refuse`](crate::OnDamage)), until its damage is accepted.
    pub fn log(&self, name: &str) -> Result<Log, Error> {
        let shared = self.inner.shared.log_named(name).ok_or(Error::LogNotFound)?;
        let log = Log { inner: Arc::clone(&self.inner), shared };
        let Seen { view, .. } = log.shared.seen.get().ok_or(Error::LogNotFound)?;
        match view.facts.damage.iter().find(|damage| damage.state == DamageState::Found) {
            Some(found) if view.facts.options.on_damage == OnDamage::Refuse => Err(log.damaged(found)),
            _ => Ok(log),
        }
    }

    /// The same without asking about damage.
    pub(super) fn any_log(&self, name: &str) -> Option<Log> {
        let shared = self.inner.shared.log_named(name)?;
        Some(Log { inner: Arc::clone(&self.inner), shared })
    }

    /// Begins a pass over all that is kept, to find what has rotted.
    pub fn scrub(&self) -> Scrub {
        Scrub::new(self.clone())
    }

    /// Takes a damage that [`Journal::logs`] tells of as a permanent gap: its records stay unreadable, but the log is given
    /// out again. What a lost control record said is taken as not said. Durable when answered. `log_not_found`.
    pub fn accept_loss(&self, name: &str, damage: Damage) -> Ticket<()> {
        match self.inner.shared.log_named(name) {
            Some(log) => {
                let damage = Damage { state: DamageState::Accepted, ..damage };
                self.inner.ask(Request::Damage { log: log.id, damage }, plain)
            }
            None => Ticket::refused(Arc::clone(&self.inner), Error::LogNotFound, plain),
        }
    }

    /// All logs by name, from memory.
    pub fn logs(&self) -> Vec<LogInfo> {
        self.inner.shared.logs().iter().filter_map(|log| log.seen.get()).map(|seen| info(&seen)).collect()
    }

    /// Appends one atomic unit of one or several logs: refused whole if one entry is, and after a crash there whole or
    /// not at all. `expect` speaks of the first entry's log. Otherwise as [`Log::append`].
    pub fn append_batch(&self, entries: Vec<(Log, Entry)>, options: AppendOptions) -> Ticket<Vec<Appended>> {
        self.inner.queue(append_request(ids(entries), options), all_appended)
    }

    /// The same without ever waiting: `journal_busy` if the queue is full.
    pub fn try_append_batch(
        &self,
        entries: Vec<(Log, Entry)>,
        options: AppendOptions,
    ) -> Result<Ticket<Vec<Appended>>, Error> {
        self.inner.try_queue(append_request(ids(entries), options), all_appended)
    }

    /// Asks for a sync of everything appended before this call, in all logs.
    pub fn sync(&self) -> Ticket<()> {
        self.inner.ask(Request::Sync { upto: None }, plain)
    }

    /// Room in the store.
    pub fn space(&self) -> SpaceWatch {
        SpaceWatch { watch: Arc::clone(&self.inner.shared.space), seen: 0 }
    }

    /// Why nothing is taken any more: poisoned or closed.
    pub fn ended(&self) -> Option<Error> {
        self.inner.shared.ended.get().cloned()
    }

    /// Ends in order: what was asked for is written and synced, the index is written, the lock given up. Other handles
    /// then get `journal_poisoned`. Blocking callers use `close().wait()`.
    pub fn close(&self) -> Ticket<()> {
        #[expect(clippy::unnecessary_wraps, reason = "one signature for all answers")]
        fn unlock(inner: &Arc<Inner>, _: Done) -> Result<(), Error> {
            inner.stop();
            drop(locked(&inner.shared.lock).take());
            Ok(())
        }
        self.ask_to_close(unlock)
    }

    /// Ends in order, or gives up a poisoned store, without giving up the lock: the descriptor is for
    /// [`Options::lock`](crate::Options) of the next open, here or over an exec (then its close-on-exec flag must be
    /// cleared).
    pub fn into_lock(self) -> Ticket<Lock> {
        fn lock(inner: &Arc<Inner>, _: Done) -> Result<Lock, Error> {
            inner.stop();
            locked(&inner.shared.lock).take().ok_or(Error::Closed)
        }
        self.ask_to_close(lock)
    }

    fn ask_to_close<T>(&self, convert: fn(&Arc<Inner>, Done) -> Result<T, Error>) -> Ticket<T> {
        let (answer, receiver) = oneshot::channel();
        self.inner.shared.close(answer);
        Ticket::new(Arc::clone(&self.inner), receiver, Durability::Always, convert)
    }

    /// One step of a store that was opened without threads: takes what was asked for and carries out the next piece of
    /// I/O on this thread. `false`: there is nothing to do until somebody asks for something or [`Journal::deadline_ms`]
    /// passes. In a store with threads always `false`.
    pub fn turn(&self) -> bool {
        !self.inner.shared.threads && self.inner.shared.turn()
    }

    /// When a store without threads will next have something to do by itself, on the clock that it was given. In a store with
    /// threads always `None`.
    pub fn deadline_ms(&self) -> Option<u64> {
        // Whoever has the engine while others append must look after what they left: see `Shared::take_care`.
        if self.inner.shared.threads {
            return None;
        }
        locked(&self.inner.shared.engine).as_ref().and_then(Engine::deadline)
    }
}

impl Inner {
    /// Waits until the owner and its helpers have stopped.
    fn stop(&self) {
        let owner = locked(&self.owner).take();
        if let Some(owner) = owner
            && owner.thread().id() != thread::current().id()
        {
            let _ = owner.join();
        }
    }
}

fn ids(entries: Vec<(Log, Entry)>) -> Vec<(LogId, Entry)> {
    entries.into_iter().map(|(log, entry)| (log.shared.id, entry)).collect()
}
