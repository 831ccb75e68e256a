//! The systems: how each one is started, attached to and ended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal};
use serde::Serialize;

use crate::drain::Terminal;
use crate::sys::SIZE;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    /// The program in the draining client's PTY, nothing between: the physical limit.
    Bare,
    Dtach,
    Abduco,
    Tmux,
    Abide,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Dtach => "dtach",
            Self::Abduco => "abduco",
            Self::Tmux => "tmux",
            Self::Abide => "abide",
        }
    }

    /// Whether the client passes on the program's bytes as they are (tmux draws a screen).
    pub(crate) fn is_stream(self) -> bool {
        self != Self::Tmux
    }
}

/// Where things are.
pub(crate) struct Setup {
    pub abide: PathBuf,
    program: PathBuf,
}

impl Setup {
    pub(crate) fn new(abide: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { abide, program: std::env::current_exe()? })
    }
}

/// A system in use: a directory of its own, so that no run sees another's sessions, and none of the user's.
pub(crate) struct Instance<'a> {
    setup: &'a Setup,
    system: System,
    directory: PathBuf,
    flood: Option<Flood>,
    /// Programs of sessions that nobody is attached to.
    programs: Vec<u32>,
}

struct Flood {
    pid: u32,
    /// The bare PTY's flood has no system that reads it.
    reader: Option<(Terminal, std::thread::JoinHandle<()>)>,
}

impl<'a> Instance<'a> {
    pub(crate) fn new(setup: &'a Setup, system: System) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("bench-terminal.{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        Ok(Self { setup, system, directory, flood: None, programs: Vec::new() })
    }

    /// Starts a session that runs this binary's `program` with `args`, attached in a new PTY.
    pub(crate) fn attach(&self, args: &[&str]) -> anyhow::Result<Terminal> {
        let session = self.directory.join("session");
        let mut command = match self.system {
            System::Bare => self.command(&self.setup.program),
            System::Dtach => {
                let mut command = self.command("dtach");
                command.arg("-A").arg(session).args(["-z", "-r", "none"]).arg(&self.setup.program);
                command
            }
            System::Abduco => {
                let mut command = self.command("abduco");
                command.arg("-c").arg(session).arg(&self.setup.program);
                command
            }
            System::Tmux => {
                let mut new = self.tmux_new("bench");
                new.arg(&self.setup.program).arg("program").args(args);
                succeed(new)?;
                let mut command = self.tmux();
                command.args(["attach", "-t", "bench"]);
                return Terminal::spawn(command);
            }
            System::Abide => {
                let mut command = self.command(&self.setup.abide);
                command.args(["run", "--name", "bench", "--"]).arg(&self.setup.program);
                command
            }
        };
        command.arg("program").args(args);
        Terminal::spawn(command)
    }

    /// Starts a second session, which nobody is attached to and whose program prints without end.
    pub(crate) fn start_flood(&mut self) -> anyhow::Result<()> {
        let pid_file = self.directory.join("flood.pid");
        let _ = std::fs::remove_file(&pid_file);
        let mut command = self.detached("flood");
        command.args(["program", "flood"]).arg(&pid_file);
        let terminal = if self.system == System::Bare {
            Some(Terminal::spawn(command)?)
        } else {
            succeed(command)?;
            None
        };
        let pid = wait_pid(&pid_file)?;
        let reader = match terminal {
            Some(terminal) => Some(terminal.read_on_thread()?),
            None => None,
        };
        self.flood = Some(Flood { pid, reader });
        Ok(())
    }

    /// Starts sessions that nobody is attached to, each with a program that prints 1 KiB and waits.
    pub(crate) fn start_many(&mut self, sessions: usize) -> anyhow::Result<&[u32]> {
        for number in 0..sessions {
            let name = format!("s{number}");
            let pid_file = self.directory.join(format!("{name}.pid"));
            let mut command = self.detached(&name);
            command.args(["program", "small"]).arg(&pid_file);
            succeed(command)?;
            self.programs.push(wait_pid(&pid_file)?);
        }
        Ok(&self.programs)
    }

    /// The processes that hold the sessions of [`Self::start_many`].
    pub(crate) fn carriers(&self) -> anyhow::Result<Vec<u32>> {
        let mut all: Vec<u32> = self.programs.iter().map(|&program| parent(program)).collect::<Result<_, _>>()?;
        all.sort_unstable();
        all.dedup();
        if self.system == System::Abide {
            all.push(self.daemon()?);
        }
        Ok(all)
    }

    /// What serves the clients: for dtach and abduco the process of each session.
    pub(crate) fn servers(&self) -> anyhow::Result<Vec<u32>> {
        if self.system == System::Abide { Ok(vec![self.daemon()?]) } else { self.carriers() }
    }

    /// Starts the daemon again; its log from then on.
    pub(crate) fn start_again(&self) -> anyhow::Result<()> {
        let mut command = self.command(&self.setup.abide);
        command.arg("up").env("ABIDE_LOG", "abide_terminal=debug");
        succeed(command)
    }

    /// What the daemon wrote to its log.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.directory.join("abide/daemon.log"))?)
    }

    fn daemon(&self) -> anyhow::Result<u32> {
        let lock = std::fs::read(self.directory.join("abide/run/daemon.lock"))?;
        let lock: serde_json::Value = serde_json::from_slice(&lock)?;
        lock["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("daemon.lock has no pid")
    }

    /// Starts a session of this name that nobody is attached to; what it runs is to be added.
    fn detached(&self, name: &str) -> Command {
        let session = self.directory.join(name);
        match self.system {
            System::Bare => self.command(&self.setup.program),
            System::Dtach => {
                let mut command = self.command("dtach");
                command.arg("-n").arg(session).args(["-z", "-r", "none"]).arg(&self.setup.program);
                command
            }
            System::Abduco => {
                let mut command = self.command("abduco");
                command.arg("-n").arg(session).arg(&self.setup.program);
                command
            }
            System::Tmux => {
                let mut command = self.tmux_new(name);
                command.arg(&self.setup.program);
                command
            }
            System::Abide => {
                let mut command = self.command(&self.setup.abide);
                command.args(["run", "-d", "--name", name, "--"]).arg(&self.setup.program);
                command
            }
        }
    }

    /// The flooding program, if there is one.
    pub(crate) fn flood_pid(&self) -> Option<u32> {
        self.flood.as_ref().map(|flood| flood.pid)
    }

    /// The processes that carry a byte from `program` to the draining client, by role.
    pub(crate) fn processes(&self, program: u32, client: u32) -> anyhow::Result<Vec<(&'static str, u32)>> {
        let mut all = vec![("program", program)];
        if self.system != System::Bare {
            all.push((if self.system == System::Tmux { "server" } else { "holder" }, parent(program)?));
        }
        if self.system == System::Abide {
            all.push(("daemon", self.daemon()?));
        }
        if self.system != System::Bare {
            all.push(("client", client));
        }
        all.push(("drain", std::process::id()));
        Ok(all)
    }

    /// How many bytes of the session's output are in the journal.
    pub(crate) fn journalled_bytes(&self) -> anyhow::Result<Option<u64>> {
        if self.system != System::Abide {
            return Ok(None);
        }
        let out = self.command(&self.setup.abide).args(["inspect", "bench"]).output()?;
        let value: serde_json::Value = serde_json::from_slice(&out.stdout)
            .with_context(|| format!("abide inspect: {}", String::from_utf8_lossy(&out.stderr)))?;
        Ok(value.pointer("/session/end_offset").and_then(serde_json::Value::as_u64))
    }

    fn tmux(&self) -> Command {
        let mut command = self.command("tmux");
        command.args(["-L", "b", "-f", "/dev/null"]);
        command
    }

    fn tmux_new(&self, name: &str) -> Command {
        let mut command = self.tmux();
        command.args(["new", "-d", "-s", name, "-x", &SIZE.0.to_string(), "-y", &SIZE.1.to_string()]);
        command
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("TERM", "xterm-256color").env("TMUX_TMPDIR", &self.directory);
        command.env("XDG_STATE_HOME", &self.directory).env("XDG_CONFIG_HOME", &self.directory);
        for name in ["XDG_RUNTIME_DIR", "TMUX", "ABIDE_SESSION", "ABIDE_SESSION_NAME", "ABIDE_INCARNATION"] {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        for &program in &self.programs {
            kill(program);
        }
        if let Some(flood) = self.flood.take() {
            kill(flood.pid);
            if let Some((terminal, thread)) = flood.reader {
                drop(terminal);
                let _ = thread.join();
            }
        }
        let end = match self.system {
            System::Abide => {
                let mut command = self.command(&self.setup.abide);
                command.args(["stop", "--terminate"]);
                Some(command)
            }
            System::Tmux => {
                let mut command = self.tmux();
                command.arg("kill-server");
                Some(command)
            }
            System::Bare | System::Dtach | System::Abduco => None,
        };
        if let Some(mut end) = end {
            let _ = end.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn succeed(mut command: Command) -> anyhow::Result<()> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

fn wait_pid(file: &Path) -> anyhow::Result<u32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.parse().ok()) {
            return Ok(pid);
        }
        if Instant::now() > deadline {
            bail!("the program did not start");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Field 4 of `/proc/<pid>/stat`.
fn parent(pid: u32) -> anyhow::Result<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("stat without a name")?.1;
    Ok(after_name.split_ascii_whitespace().nth(1).context("stat without a parent")?.parse()?)
}
