//! What every part of the daemon may look at: set at the start, never changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use abide_holder::{BootId, Inherited, Paths, Spec};
use abide_journal::{Durability, Journal, Level, Retention};
use abide_wire::Code;
use rustix::time::{ClockId, clock_gettime};

use super::screens::Screens;
use crate::dirs::Layout;
use crate::ids::{DaemonEpoch, Incarnation, SessionId};
use crate::options::{Sync, Terminal};
use crate::program::{self, Account, Environment, EnvironmentError, Failure, Program, SHELL_FALLBACK, Wish};
use crate::protocol::RecoveryReport;
use crate::record::RestoreAs;
use crate::session::{Limits, Now};
use crate::store::{Created, Facts};

/// The daemon's fixed surroundings.
pub(super) struct Shared {
    pub(super) options: Terminal,
    pub(super) journal: Journal,
    pub(super) dirs: Layout,
    pub(super) boot: BootId,
    pub(super) daemon_id: String,
    pub(super) daemon_epoch: AtomicU64,
    pub(super) version: String,
    pub(super) account: Account,
    /// The daemon's own environment as it was at its start.
    pub(super) environment: BTreeMap<OsString, OsString>,
    /// Limits, umask and weight that programs get back.
    pub(super) inherited: Inherited,
    /// What is executed as a holder.
    pub(super) holder_program: PathBuf,
    pub(super) screens: Screens,
}

/// What a session's program is started with.
pub(super) struct Launch {
    pub(super) program: Program,
    pub(super) environment: Environment,
}

/// Why a program cannot be started, before anything is recorded.
pub(super) enum Unfit {
    Environment(EnvironmentError),
    Program(Failure),
}

/// The present moment, by the clocks that deadlines and people use.
pub(super) fn now() -> Now {
    let ms = |clock| {
        let time = clock_gettime(clock);
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
    };
    Now { boot_ms: ms(ClockId::Boottime), wall_ms: ms(ClockId::Realtime) }
}

impl Shared {
    /// The epoch in which holders are adopted: above that of every daemon before, as far as it is known.
    pub(super) fn daemon_epoch(&self) -> DaemonEpoch {
        DaemonEpoch(self.daemon_epoch.load(Ordering::Relaxed))
    }

    pub(super) fn session_limits(&self) -> Limits {
        Limits {
            owner_grace_ms: self.options.owner_grace_ms,
            drain_ms_max: self.options.drain_ms_max,
            observers_max: self.options.observers_max as usize,
        }
    }

    /// The level at which output is shown: what viewers see survives what it was written to survive.
    pub(super) fn output_level(&self) -> Level {
        if self.options.journal_sync == Sync::Always { Level::Durable } else { Level::Written }
    }

    /// The level at which output is acknowledged.
    pub(super) fn output_durability(&self) -> Durability {
        match self.options.journal_sync {
            Sync::Os => Durability::Os,
            Sync::Interval => Durability::Interval,
            Sync::Always => Durability::Always,
        }
    }

    /// How much of a session's output is kept.
    pub(super) fn retention(&self, created: &Created) -> Retention {
        Retention {
            bytes_max: created.retention_bytes.unwrap_or(self.options.retention_bytes),
            age_ms_max: created.retention_age_ms.unwrap_or(self.options.retention_age_ms),
            trim_at_checkpoint: true,
        }
    }

    /// The report of a start that found nothing yet.
    pub(super) fn empty_report(&self) -> RecoveryReport {
        RecoveryReport {
            daemon_epoch: self.daemon_epoch(),
            boot_id: self.boot.to_string(),
            at: now().wall_ms,
            took_ms: 0,
            upgrade: None,
            sessions: Vec::new(),
        }
    }

    /// Finds program, directory and environment of a session, or says why it cannot be started.
    pub(super) fn prepare(
        &self,
        facts: &Facts,
        env: &BTreeMap<String, String>,
        login: Option<bool>,
        command: Option<&str>,
    ) -> Result<Launch, Unfit> {
        let record = facts.record();
        let agent_link = self.dirs.agents.path().join(record.id.to_string());
        let wish = Wish {
            daemon: &self.environment,
            env,
            clear_env: facts.created.clear_env,
            session: record.id,
            name: &record.name,
            incarnation: record.incarnation,
            cwd: &record.cwd,
            account: &self.account,
            term: &self.options.term,
            agent_link: &agent_link,
        };
        let environment = program::assemble(&wish, program::has_terminfo).map_err(Unfit::Environment)?;
        program::check_cwd(&record.cwd).map_err(Unfit::Program)?;
        let path = environment.variables.get(std::ffi::OsStr::new("PATH")).cloned().unwrap_or_default();
        let program = program::find(command, &record.args, login, self.shell(), &path, &record.cwd);
        Ok(Launch { program: program.map_err(Unfit::Program)?, environment })
    }

    /// The same for a program that is started without a request: after a crash, or in the place of a lost one.
    pub(super) fn prepare_again(&self, facts: &Facts) -> Result<Launch, Unfit> {
        // After a crash the daemon's own environment stands for one that was not stored.
        let none = BTreeMap::new();
        let env = facts.created.env.as_ref().unwrap_or(&none);
        if facts.restored_as != Some(RestoreAs::Shell) {
            return self.prepare(facts, env, Some(facts.created.login), Some(&facts.record().command));
        }
        let mut alone = facts.clone();
        alone.created.record.args.clear();
        match self.prepare(&alone, env, Some(true), None) {
            Err(Unfit::Program(failure)) if failure.code() == Code::ShellNotFound => {
                self.prepare(&alone, env, Some(true), Some(SHELL_FALLBACK))
            }
            prepared => prepared,
        }
    }

    pub(super) fn shell(&self) -> &std::path::Path {
        self.options.shell.as_deref().unwrap_or(&self.account.shell)
    }

    /// What the holder of a session is told.
    pub(super) fn holder_spec(&self, facts: &Facts, launch: &Launch, output_base: u64) -> Spec {
        let record = facts.record();
        // A variable or argument that is not UTF-8 cannot stand in the holder's JSON.
        let text = |text: &OsString| text.to_str().map(str::to_owned);
        let pair = |(name, value): (&OsString, &OsString)| Some((text(name)?, text(value)?));
        Spec {
            session: record.id.to_bytes(),
            incarnation: record.incarnation.0,
            boot_id: self.boot,
            output_base,
            owner_epoch: record.owner_epoch.0,
            command: launch.program.path.to_string_lossy().into_owned(),
            args: launch.program.argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            env: launch.environment.variables.iter().filter_map(pair).collect(),
            cwd: record.cwd.clone(),
            cols: record.cols,
            rows: record.rows,
            ring_bytes: self.options.ring_bytes,
            spill_bytes_max: self.options.spill_bytes_max,
            paths: self.holder_paths(record.id, record.incarnation),
            rlimits: self.inherited.rlimits.clone(),
            umask: self.inherited.umask,
            oom_score_adj: self.inherited.oom_score_adj,
            cgroup: None,
        }
    }

    pub(super) fn holder_paths(&self, id: SessionId, incarnation: Incarnation) -> Paths {
        Paths {
            socket: self.dirs.holder_sockets.path().join(holder_socket(id)),
            exit_file: self.dirs.exits.path().join(exit_file(id, incarnation)),
            spill_dir: self.dirs.exits.path().to_path_buf(),
        }
    }
}

/// Name of the socket of a session's holder.
pub(super) fn holder_socket(id: SessionId) -> String {
    format!("{id}.sock")
}

/// The session and the program start that an exit record of this name is of.
pub(super) fn of_exit_file(name: &str) -> Option<(SessionId, Incarnation)> {
    let (session, incarnation) = name.strip_suffix(".exit")?.split_once('.')?;
    Some((session.parse().ok()?, Incarnation(incarnation.parse().ok()?)))
}

/// Name of the exit record of a session's program.
pub(super) fn exit_file(id: SessionId, incarnation: Incarnation) -> String {
    format!("{id}.{incarnation}.exit")
}
