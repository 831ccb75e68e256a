//! `abide up`: from the configuration to a daemon that serves, and what follows its end.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use abide_holder::Inherited;
use abide_terminal::client::answers;
use abide_terminal::daemon::{self, Anew, Daemon, End, Formats, Start};
use abide_terminal::dirs::SOCKET;
use abide_terminal::options::Options;
use abide_terminal::protocol::WireError;
use abide_wire::Code;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::Outcome;
use crate::args::{self, Global};
use crate::configuration;
use crate::context::{READY_WITHIN, start_daemon, state_dir};
use crate::failure::Failure;
use crate::service;

/// How long a daemon may stay silent before another one is started, and that one gives up.
const SILENT_TIME: Duration = Duration::from_secs(5);

/// How long a daemon may take to answer until it is looked whether it has the lock.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Between two looks whether it answers.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The bounds of `oom_score_adj`.
const OOM_RANGE: std::ops::RangeInclusive<i32> = -1_000..=1_000;

pub(crate) fn up(global: &Global, up: &args::Up) -> Outcome {
    if global.config.is_some() {
        return with_variable(global);
    }
    let options = configuration::load(global)?;
    if up.check {
        let formats = serde_json::to_string(&Formats::own()).map_err(|error| Failure::system("formats", &error))?;
        return super::printed(writeln!(io::stdout(), "{formats}"));
    }
    let state = state_dir()?;
    if !up.foreground {
        return background(&state, &options);
    }
    if up.own_session {
        // A process that leads its session already keeps it.
        let _ = rustix::process::setsid();
    }
    let socket = state.join(&options.terminal.socket_dir).join(SOCKET);
    let start = prepare(up, options, state)?;
    // Another daemon that has the lock serves, or will soon, or ends, or hangs.
    let deadline = Instant::now() + SILENT_TIME;
    let mut serves = false;
    let locked = Daemon::lock(start, || {
        thread::sleep(LOOK_AGAIN);
        serves = answers(&socket, deadline.saturating_duration_since(Instant::now()).max(LOOK_AGAIN));
        !serves && Instant::now() < deadline
    });
    let daemon = match locked {
        Err(daemon::Error::Locked(_)) if serves => return already(&socket),
        other => other.map_err(|error| failed(&error))?,
    };
    let inherited = daemon.inherited().clone();
    let end = daemon.run(|epoch| {
        let line = json!({"ready": true, "pid": std::process::id(), "daemon_epoch": epoch, "socket": socket});
        if let Err(error) = service::notify_ready() {
            let _ = writeln!(io::stderr(), "abide: the service manager cannot be told: {error}");
        }
        // Whoever started it may have gone.
        let _ = writeln!(io::stdout(), "{line}");
    });
    match end.map_err(|error| failed(&error))? {
        End::Stopped => Ok(0),
        End::Anew { lock, listener, why } => anew(&lock, &listener, &inherited, why),
    }
}

/// Starts a daemon that outlives this command, or finds that one runs.
fn background(state: &Path, options: &Options) -> Outcome {
    let socket = state.join(&options.terminal.socket_dir).join(SOCKET);
    if answers(&socket, ANSWER_TIME) {
        return already(&socket);
    }
    if service::starts() {
        // What starts a service returns when it serves; which directories it uses is its own business.
        match service::ask("systemctl", &["--user", "start", service::UNIT]) {
            Ok(()) if answers(&socket, READY_WITHIN) => {
                let line = json!({"ready": true, "unit": service::UNIT, "socket": socket});
                return super::printed(writeln!(io::stdout(), "{line}"));
            }
            Ok(()) => {}
            Err(error) => drop(writeln!(io::stderr(), "abide: {error}; the daemon is started without it")),
        }
    }
    let line = start_daemon(state).map_err(|error| Failure::system("the daemon", &error))?;
    super::printed(write!(io::stdout(), "{line}"))
}

/// Executes this program again with the file of `--config` in its environment: what a daemon starts, its successor above
/// all, has it from there.
fn with_variable(global: &Global) -> Outcome {
    let mut words = std::env::args_os().skip(1);
    let mut arguments = Vec::new();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--config") => drop(words.next()),
            Some(joined) if joined.starts_with("--config=") => {}
            _ => arguments.push(word),
        }
    }
    let file = configuration::named_file(global)?.unwrap_or_default();
    let error = Command::new(abide_holder::SELF).args(arguments).env(configuration::VARIABLE, file).exec();
    Err(Failure::system("abide cannot execute itself", &error))
}

/// The options of a store in `dir`.
pub(super) fn journal_options(journal: &abide_terminal::options::Journal, dir: PathBuf) -> abide_journal::Options {
    let number = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    abide_journal::Options {
        segment_bytes: journal.segment_bytes,
        record_bytes_max: journal.record_bytes_max,
        append_bytes_max: journal.append_bytes_max,
        queue_bytes_max: number(journal.queue_bytes_max),
        tail_cache_bytes: number(journal.tail_cache_bytes),
        sync_interval_ms: journal.sync_interval_ms,
        index_interval_bytes: journal.index_interval_bytes,
        checkpoint_inline_bytes_max: journal.checkpoint_inline_bytes_max,
        disk_reserve_bytes: journal.disk_reserve_bytes,
        bytes_max: journal.bytes_max,
        logs_max: journal.logs_max as usize,
        ..abide_journal::Options::new(dir)
    }
}

/// Collects what a daemon is started with, and makes this process one that programs do not notice.
fn prepare(up: &args::Up, options: Options, state: PathBuf) -> Result<Start, Failure> {
    log_to_stderr();
    let found = match &up.inherited {
        Some(json) => serde_json::from_str(json).map_err(|error| Failure::usage(format!("--inherited: {error}")))?,
        None => Inherited::read().map_err(|error| Failure::system("/proc/self", &error))?,
    };
    be_a_daemon(&found, options.terminal.oom_score_adj);
    let journal = options.journal;
    let dir = journal.dir.clone().unwrap_or_else(|| state.join("journal"));
    Ok(Start {
        journal: journal_options(&journal, dir),
        options: options.terminal,
        state_dir: state,
        runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        environment: std::env::vars_os().collect(),
        inherited: found,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lock_fd: up.lock_fd,
        listen_fd: up.listen_fd,
        journal_lock_fd: up.journal_lock_fd,
        failed: up.journal_failed.as_deref().and_then(|json| serde_json::from_str(json).ok()),
        upgrade: up.upgrade_failed.as_deref().and_then(|json| serde_json::from_str(json).ok()),
    })
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ABIDE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second subscriber is refused; there is only this one.
    let _ = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).with_env_filter(filter).try_init();
}

/// Files of this user alone, as many descriptors as allowed, and a weight that keeps holders and programs alive longer.
fn be_a_daemon(found: &Inherited, oom_score_adj: i32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let weight = (found.oom_score_adj + oom_score_adj).clamp(*OOM_RANGE.start(), *OOM_RANGE.end());
    // Lowering it takes a privilege; then it stays.
    let _ = std::fs::write("/proc/self/oom_score_adj", weight.to_string());
}

/// Another daemon serves: that is as good.
fn already(socket: &Path) -> Outcome {
    super::printed(writeln!(io::stdout(), "{}", json!({"ready": true, "already": true, "socket": socket})))
}

fn failed(error: &daemon::Error) -> Failure {
    let code = match error {
        daemon::Error::Dirs(error) => error.code().unwrap_or(Code::Internal),
        daemon::Error::Journal(abide_journal::Error::Full) => Code::JournalFull,
        daemon::Error::Stale
        | daemon::Error::Journal(abide_journal::Error::Poisoned(abide_journal::Cause::LockLost)) => Code::StaleDaemon,
        daemon::Error::Journal(_) | daemon::Error::Registry(_) | daemon::Error::Format(_) => Code::JournalFailed,
        daemon::Error::Locked(_) | daemon::Error::Os { .. } => Code::Internal,
    };
    Failure::new(WireError::new(code, error.to_string())).with_status(1)
}

/// Executes this program in its own place: what it inherits stays open, so nobody gets in between.
fn anew(lock: impl AsFd, listener: impl AsFd, inherited: &Inherited, why: Anew) -> Outcome {
    let json = |value: serde_json::Result<String>| value.map_err(|error| Failure::system("restart", &error));
    let pass = |fd: BorrowedFd<'_>| -> Result<i32, Failure> {
        fcntl_setfd(fd, FdFlags::empty()).map_err(|errno| Failure::system("an inherited descriptor", &errno))?;
        Ok(fd.as_raw_fd())
    };
    let mut again = Command::new(abide_holder::SELF);
    again
        .args(["up", "--foreground"])
        .arg(format!("--lock-fd={}", pass(lock.as_fd())?))
        .arg(format!("--listen-fd={}", pass(listener.as_fd())?))
        .arg(format!("--inherited={}", json(serde_json::to_string(inherited))?));
    // Kept open until the program is executed.
    let journal_lock = match why {
        Anew::Upgrade(upgrade) => {
            again.arg(format!("--upgrade-failed={}", json(serde_json::to_string(&upgrade))?));
            None
        }
        Anew::Journal { lock, failed } => {
            again.arg(format!("--journal-failed={}", json(serde_json::to_string(&failed))?));
            lock
        }
    };
    if let Some(lock) = &journal_lock {
        again.arg(format!("--journal-lock-fd={}", pass(lock.as_fd())?));
    }
    let error = again.exec();
    Err(Failure::system("the daemon cannot execute itself", &error))
}
