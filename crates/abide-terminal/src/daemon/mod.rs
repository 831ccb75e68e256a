//! The daemon: it owns the sockets, the journal and the rules, and may die at any time.
//!
//! ```text
//!  connection ──frames──► Hub ──Msg──► Sessions (one task: all rules) ──► Registry ──► journal
//!      ▲                                  │  ▲                                            │
//!   Outbox ◄── Viewer (a task a stream) ◄─┼──┼────────── output, marks ◄──────────────────┤
//!                                         ▼  │                                            │
//!                            holder ◄── Link  Pump (a task a holder) ── output ───────────┘
//! ```
//!
//! One thread runs all of these tasks; the journal has its own threads, and so have the screens.

mod agents;
mod answers;
mod client_queue;
mod connection;
mod create;
mod effects;
mod events;
mod fail_point;
mod faulty_disk;
mod hub;
mod levels;
mod link;
mod looking;
mod model;
mod orphans;
mod outbox;
mod pump;
mod recovery;
mod refusing;
mod rename;
mod requests;
mod restore;
mod room;
mod screens;
mod sessions;
mod shared;
mod socket;
mod typing;
mod upgrade;
mod view;
mod viewer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use abide_holder::{BootId, Inherited};
use abide_journal::{AppendOptions, Cause, Durability, Entry, Error as JournalError, Journal, Retention, SystemClock};

use serde::{Deserialize, Serialize};

use self::hub::Hub;
use self::screens::Screens;
use self::sessions::{Sessions, Stop};
use self::shared::Shared;
use crate::dirs::{self, Layout};
use crate::ids::{DaemonEpoch, EventNumber, SessionId};
use crate::lock::{self, Lock, Owner};
use crate::options::{Sync, Terminal};
use crate::procs;
use crate::program::Account;
use crate::protocol::{UpgradeFailure, WireError};
use crate::recover;
use crate::store::{self, Event, ReadError, Registry, Table, UnknownFormat};

pub use upgrade::Formats;

/// A journal that failed is not opened again sooner than this after the last time.
const ANEW_AFTER: Duration = Duration::from_secs(5);

/// Attempts to write what the daemon says when it ends are given up after this.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// How a daemon is started. The binary fills it in.
#[derive(Debug)]
pub struct Start {
    /// The configuration.
    pub options: Terminal,
    /// The configuration of the journal.
    pub journal: abide_journal::Options,
    /// The state directory.
    pub state_dir: PathBuf,
    /// `$XDG_RUNTIME_DIR`, where a link to the socket is made.
    pub runtime_dir: Option<PathBuf>,
    /// The daemon's own environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// Limits, umask and weight as this process found them.
    pub inherited: Inherited,
    /// The version that clients are told.
    pub version: String,
    /// Descriptor of a lock that is held already.
    pub lock_fd: Option<RawFd>,
    /// Descriptor of a socket that listens already.
    pub listen_fd: Option<RawFd>,
    /// Descriptor of the journal's lock, where a daemon whose journal failed started itself anew.
    pub journal_lock_fd: Option<RawFd>,
    /// Why it did so.
    pub failed: Option<Failed>,
    /// Why the upgrade before this start failed.
    pub upgrade: Option<UpgradeFailure>,
}

/// How a daemon ended.
#[derive(Debug)]
pub enum End {
    /// It was stopped, or another one has taken its place.
    Stopped,
    /// This program executes itself with these descriptors and says why.
    Anew {
        /// The lock, held.
        lock: OwnedFd,
        /// The socket, listening.
        listener: OwnedFd,
        /// Why.
        why: Anew,
    },
}

/// Why a daemon starts itself anew: there is one way from a failure back to a state, and that is the start.
#[derive(Debug)]
pub enum Anew {
    /// Its successor failed.
    Upgrade(UpgradeFailure),
    /// Its journal takes nothing more, or could not be opened.
    Journal {
        /// The journal's lock, held, where the journal had been opened.
        lock: Option<OwnedFd>,
        /// When and why, for the next start.
        failed: Failed,
    },
}

/// A failure of the journal after which the daemon started itself anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When, CLOCK_BOOTTIME in milliseconds.
    pub at_boot_ms: u64,
    /// What failed.
    pub reason: String,
}

/// Why a daemon did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory is not this user's alone, or cannot be made. A person mends it.
    #[error(transparent)]
    Dirs(#[from] dirs::Error),
    /// Another daemon has the lock.
    #[error("another daemon has the lock{}", of(.0.as_ref()))]
    Locked(Option<Owner>),
    /// The journal cannot be opened, or takes nothing more.
    #[error("journal: {0}")]
    Journal(#[from] JournalError),
    /// The registry is a newer version's.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// A record of the registry cannot be read.
    #[error("event {0} of the registry cannot be read")]
    Registry(EventNumber),
    /// A newer daemon has the holders.
    #[error("another daemon has the sessions")]
    Stale,
    /// The system refuses.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Journal(error) => Self::Journal(error),
            ReadError::Format(format) => Self::Format(format),
            ReadError::Record(number) => Self::Registry(number),
        }
    }
}

fn of(owner: Option<&Owner>) -> String {
    owner.map_or_else(String::new, |owner| format!(": process {} on {}", owner.pid, owner.host))
}

fn os(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Os { what, source }
}

/// A daemon that has its lock and its directories, and nothing else yet.
#[derive(Debug)]
pub struct Daemon {
    start: Start,
    dirs: Layout,
    lock: Lock,
}

impl Daemon {
    /// Takes the lock, or the one that is inherited. While another process has it, `again` says whether to try once more:
    /// another daemon, or a child of one that was killed, which has copies of its descriptors for a moment.
    pub fn lock(start: Start, mut again: impl FnMut() -> bool) -> Result<Self, Error> {
        let uid = rustix::process::geteuid().as_raw();
        let dirs = Layout::create(&start.state_dir, &start.options.socket_dir, uid)?;
        let lock = match start.lock_fd {
            Some(fd) => match Lock::inherit(fd, &dirs.run)? {
                lock::Attempt::Taken(lock) => lock,
                // While it was passed on, another daemon took this one's place.
                lock::Attempt::Held(_) => return Err(Error::Stale),
            },
            None => loop {
                match Lock::take(&dirs.run)? {
                    lock::Attempt::Taken(lock) => break lock,
                    lock::Attempt::Held(owner) if !again() => return Err(Error::Locked(owner)),
                    lock::Attempt::Held(_) => {}
                }
            },
        };
        Ok(Self { start, dirs, lock })
    }

    /// Limits, umask and weight that programs are started with.
    pub fn inherited(&self) -> &Inherited {
        &self.start.inherited
    }

    /// Recovers the sessions and serves until it is stopped. `ready` is called once connections are answered.
    pub fn run(self, ready: impl FnOnce(DaemonEpoch)) -> Result<End, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(os("runtime"))?;
        let inherited = self.start.inherited.clone();
        let Self { start, dirs, lock } = self;
        let listener = listen(&start, &dirs)?;
        // Held beside the daemon's own: a start that fails has to begin anew with it.
        let kept = lock.as_fd().try_clone_to_owned().map_err(os("lock"))?;
        let former = start.failed.clone();
        if let Some(Failed { reason, .. }) = &former {
            tracing::warn!(reason, "started anew after the journal failed");
        }
        let serving = async {
            let accepting = listener.try_clone().and_then(tokio::net::UnixListener::from_std).map_err(os("socket"))?;
            let (failed, journal_lock) = match serve(start, dirs, lock, &listener, ready).await {
                Ok(Ended { stop: Stop::Poisoned(error), journal_lock, .. }) => (error, journal_lock),
                Err(Error::Journal(error)) => (error, None),
                other => return other.map(Ok),
            };
            if !is_passing(&failed) {
                return Err(Error::Journal(failed));
            }
            tracing::error!(error = %failed, "the journal failed; the daemon starts itself anew");
            let full = matches!(failed, JournalError::Full);
            let told = if full { WireError::journal_full() } else { WireError::journal_failed() };
            let since_ms = former.map(|former| shared::now().boot_ms.saturating_sub(former.at_boot_ms));
            let pause = pause_before_anew(journal_lock.is_some(), since_ms.map(Duration::from_millis));
            refusing::refuse(&accepting, &told, pause).await;
            let failed = Failed { at_boot_ms: shared::now().boot_ms, reason: failed.to_string() };
            Ok(Err(Anew::Journal { lock: journal_lock, failed }))
        };
        let ended: Result<Ended, Anew> = runtime.block_on(serving)?;
        runtime.shutdown_timeout(GOODBYE_TIME);
        let why = match ended {
            Err(why) => why,
            Ok(Ended { stop: Stop::Replaced(binary), .. }) => {
                match upgrade::hand_over(&binary, kept.as_fd(), listener.as_fd(), &inherited) {
                    Ok(()) => return Ok(End::Stopped),
                    Err(upgrade) => Anew::Upgrade(upgrade),
                }
            }
            Ok(Ended { stop: Stop::Stale, .. }) => return Err(Error::Stale),
            Ok(_) => return Ok(End::Stopped),
        };
        Ok(End::Anew { lock: kept, listener: listener.into(), why })
    }
}

/// How serving ended.
struct Ended {
    stop: Stop,
    /// The lock of a journal that failed.
    journal_lock: Option<OwnedFd>,
    /// The daemon's own lock, held to the end.
    _lock: Lock,
}

/// How long everybody is refused before a daemon whose journal failed starts itself anew: what could not be opened is not
/// tried again at once, nor is what failed a moment ago.
fn pause_before_anew(was_open: bool, since_last: Option<Duration>) -> Duration {
    match since_last {
        None if was_open => Duration::ZERO,
        Some(since) if was_open => ANEW_AFTER.saturating_sub(since),
        _ => ANEW_AFTER,
    }
}

/// Whether a failure of the journal may pass: a full disk, an error of the disk. What is damaged, or another one's, does
/// not mend itself.
fn is_passing(error: &JournalError) -> bool {
    match error {
        JournalError::Full | JournalError::Unknown { .. } => true,
        JournalError::Poisoned(cause) => !matches!(cause, Cause::LockLost),
        _ => false,
    }
}

async fn serve(
    mut start: Start,
    dirs: Layout,
    lock: Lock,
    listener: &UnixListener,
    ready: impl FnOnce(DaemonEpoch),
) -> Result<Ended, Error> {
    let began = Instant::now();
    let journal = open_journal(&mut start)?;
    let durability = if start.options.journal_sync == Sync::Os { Durability::Os } else { Durability::Always };
    let registry_log = open_registry(&journal, start.options.events_bytes).await?;
    let (table, events_bytes) = Table::read(&registry_log)?;

    let sockets = holder_sockets(&dirs);
    let probes = recovery::probe_all(sockets).await;
    let daemon_epoch = recover::next_epoch(table.daemon_epoch, recovery::epochs(&probes));
    let boot = BootId::read().map_err(os("boot id"))?;
    fail_point::pass("probed");
    record_boot(&registry_log, daemon_epoch, boot, &start.version, durability).await?;
    fail_point::pass("boot_recorded");
    let _ = lock.write(&owner(&start.version, daemon_epoch));

    let (hub, messages) = Hub::new(limits(&start.options));
    let screens = Screens::start(screen_limits(&start.options), hub.clone()).map_err(os("screens"))?;
    let upgrade = start.upgrade.take();
    let shared = Arc::new(Shared {
        account: Account::of_user(rustix::process::getuid().as_raw()).map_err(os("password database"))?,
        daemon_id: registry_log.info()?.uid.to_string(),
        holder_program: PathBuf::from(abide_holder::SELF),
        options: start.options,
        journal: journal.clone(),
        dirs,
        boot,
        daemon_epoch: AtomicU64::new(daemon_epoch.0),
        version: start.version,
        environment: start.environment,
        inherited: start.inherited,
        screens,
    });
    let registry = Registry::new(journal.clone(), registry_log, durability, events_bytes);
    let mut sessions = Sessions::new(shared, hub.clone(), registry, table, lock);
    sessions.recover(probes);
    sessions.report.upgrade = upgrade;
    sessions.report.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);

    let accepting = tokio::net::UnixListener::from_std(listener.try_clone().map_err(os("socket"))?);
    let accepting = tokio::spawn(connection::accept(accepting.map_err(os("socket"))?, hub.clone()));
    end_by_signal(hub.clone())?;
    // This thread carries keystrokes; those of journal and screens, which run already, carry bulk.
    let _without = abide_holder::short_slices();
    ready(daemon_epoch);
    // A task among the others: the runtime looks for news outside before each turn of its first one.
    let sessions = tokio::spawn(sessions.run(messages));
    let (stop, lock) = sessions.await.map_err(|error| os("sessions")(error.into()))?;
    accepting.abort();
    // What was said last still goes out; whoever does not read it learns from the end of the connection.
    connection::let_go(&hub, GOODBYE_TIME).await;
    let journal_lock = match &stop {
        stop if stop.has_journal() => {
            // The next start recovers what was not written.
            if let Err(error) = journal.close().await {
                tracing::error!(%error, "the journal was not closed in order");
            }
            None
        }
        Stop::Poisoned(_) => match journal.into_lock().await {
            Ok(abide_journal::Lock::Descriptor(fd)) => Some(fd),
            Ok(abide_journal::Lock::Simulated(_)) | Err(_) => None,
        },
        _ => None,
    };
    Ok(Ended { stop, journal_lock, _lock: lock })
}

/// The socket: the one that was passed on, or a new one in the place of a stale one.
fn listen(start: &Start, dirs: &Layout) -> Result<UnixListener, Error> {
    let listener = match start.listen_fd {
        Some(fd) => UnixListener::from(crate::sys::inherit(fd).map_err(os("inherited socket"))?),
        None => dirs.run.listen(dirs::SOCKET)?,
    };
    listener.set_nonblocking(true).map_err(os("socket"))?;
    if let Some(runtime_dir) = &start.runtime_dir
        && let Err(error) = dirs::link_in_runtime_dir(runtime_dir, &dirs.run)
    {
        tracing::warn!(%error, "no link to the socket in the runtime directory");
    }
    Ok(listener)
}

/// Opens the journal, with the lock that is held already where there is one.
fn open_journal(start: &mut Start) -> Result<Journal, Error> {
    let mut options = std::mem::replace(&mut start.journal, abide_journal::Options::new(""));
    if let Some(fd) = start.journal_lock_fd {
        let lock = crate::sys::inherit(fd).map_err(os("journal's lock"))?;
        options.lock = Some(abide_journal::Lock::Descriptor(lock));
    }
    let (journal, report) = Journal::open(faulty_disk::disk(), Arc::new(SystemClock), options)?;
    tracing::info!(?report, "the journal is open");
    Ok(journal)
}

async fn open_registry(journal: &Journal, events_bytes: u64) -> Result<abide_journal::Log, Error> {
    let retention = Retention { bytes_max: events_bytes, age_ms_max: 0, trim_at_checkpoint: true };
    match journal.log(store::REGISTRY_LOG) {
        Ok(log) => {
            put_right(&log, retention);
            Ok(log)
        }
        Err(JournalError::LogNotFound) => {
            Ok(journal.create_log(store::REGISTRY_LOG, store::registry_options(retention)).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The configuration may have changed since the log was made. Where that cannot be recorded, the next start does.
fn put_right(log: &abide_journal::Log, retention: Retention) {
    if log.info().is_ok_and(|info| info.options.retention != retention) {
        drop(log.set_retention(retention));
    }
}

/// What the lock file says of this process.
fn owner(version: &str, daemon_epoch: DaemonEpoch) -> Owner {
    Owner {
        pid: std::process::id(),
        start_time: procs::start_time(std::process::id()).unwrap_or(0),
        host: lock::host_name(),
        version: version.to_owned(),
        daemon_epoch,
    }
}

fn holder_sockets(dirs: &Layout) -> Vec<(SessionId, PathBuf)> {
    let names = dirs.holder_sockets.names().unwrap_or_default();
    let socket = |name: &OsString| {
        let id = name.to_str()?.strip_suffix(".sock")?.parse().ok()?;
        Some((id, dirs.holder_sockets.path().join(name)))
    };
    names.iter().filter_map(socket).collect()
}

async fn record_boot(
    log: &abide_journal::Log,
    daemon_epoch: DaemonEpoch,
    boot: BootId,
    version: &str,
    durability: Durability,
) -> Result<(), Error> {
    let entry = serde_json::to_vec(&store::Entry { event: Event::boot(daemon_epoch, boot, version), session: None })
        .unwrap_or_default();
    log.append(Entry::data(0, entry), AppendOptions::at(durability)).await?;
    Ok(())
}

fn limits(options: &Terminal) -> hub::Limits {
    hub::Limits {
        connections_max: options.connections_max as usize,
        outbox: outbox::Limits {
            high: bytes(options.socket_high_bytes),
            low: bytes(options.socket_low_bytes),
            reserve: MESSAGES_BYTES_MAX,
            stall: Duration::from_millis(options.write_stall_ms),
        },
        client_queue_bytes_max: bytes(options.client_queue_bytes_max),
    }
}

/// What messages may take of a connection's queue beyond its limit.
const MESSAGES_BYTES_MAX: usize = 64 << 10;

fn screen_limits(options: &Terminal) -> screens::Limits {
    screens::Limits {
        models_max: options.models_max as usize,
        scrollback_lines_max: options.scrollback_lines_max as usize,
    }
}

/// A configured size as this machine counts memory.
fn bytes(configured: u64) -> usize {
    usize::try_from(configured).unwrap_or(usize::MAX)
}

/// SIGTERM and SIGINT stop the daemon; programs live on.
fn end_by_signal(hub: Hub) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).map_err(os("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(os("signals"))?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        hub.tell(hub::Msg::Stop).await;
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_journal_is_opened_again_at_once_but_not_again_and_again() {
        let since = |seconds| Some(Duration::from_secs(seconds));
        for (was_open, since_last, pause) in [
            (true, None, Duration::ZERO),
            (true, since(2), Duration::from_secs(3)),
            (true, since(60), Duration::ZERO),
            (false, None, ANEW_AFTER),
            (false, since(60), ANEW_AFTER),
        ] {
            assert_eq!(pause_before_anew(was_open, since_last), pause, "{was_open} {since_last:?}");
        }
    }
}
