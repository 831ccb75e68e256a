//! One user's directories, and the daemon in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use abide_terminal::client::{Address, Client, Identity, Stream, WhenGone};
use abide_terminal::protocol::{Attach, Inspect, Mode, SessionRef, StartAt};
use abide_terminal::{ByteOffset, ClientId, Record};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// The program under test.
pub(crate) const ABIDE: &str = env!("CARGO_BIN_EXE_abide");

/// How long anything here may take that takes no time to speak of.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// `nightly` in nightly runs, `daily` in all others.
pub(crate) fn size(daily: usize, nightly: usize) -> usize {
    if std::env::var_os("ABIDE_NIGHTLY").is_some_and(|value| value == "1") { nightly } else { daily }
}

/// A home for one test.
pub(crate) struct House {
    root: PathBuf,
    variables: Vec<(String, String)>,
}

impl House {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("abide-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("work")).unwrap();
        Self { root, variables: Vec::new() }
    }

    /// The same with a configuration key or a hook in the environment of all that is started here.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("abide")
    }

    /// A directory for what programs write.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// `abide` with these arguments, as a user of this house would run it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ABIDE);
        command.args(arguments).env("XDG_STATE_HOME", &self.root).env("XDG_CONFIG_HOME", &self.root);
        command.env_remove("XDG_RUNTIME_DIR").env_remove("ABIDE_SESSION").current_dir(self.work());
        command.env("TMPDIR", &self.root).stdin(Stdio::null());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    /// Runs `abide` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs `abide`, which must succeed; what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "abide {arguments:?}: {}\n{errors}\n{}", output.status, self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts an unowned session of this name that runs `sh -c script`.
    pub(crate) fn session(&self, name: &str, script: &str) {
        self.ok(&["run", "-d", "--name", name, "--", "sh", "-c", script]);
    }

    /// What the daemon wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.state().join("daemon.log")).unwrap_or_default()
    }

    /// The daemon's process id, from its lock.
    pub(crate) fn daemon(&self) -> Option<u32> {
        let text = fs::read(self.lock()).ok()?;
        let owner: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let pid = u32::try_from(owner["pid"].as_u64()?).ok()?;
        is_alive(pid).then_some(pid)
    }

    /// Every process that is a daemon here, by its arguments.
    pub(crate) fn daemons(&self) -> BTreeSet<u32> {
        let is_daemon = |pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_alive(*pid) && arguments.split(|byte| *byte == 0).any(|argument| argument == b"--foreground")
        };
        residents(&self.root).into_iter().filter(is_daemon).collect()
    }

    /// Processes of this house with this command name.
    pub(crate) fn processes_named(&self, name: &str) -> Vec<u32> {
        let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        residents(&self.root).into_iter().filter(|pid| is_alive(*pid) && named(pid)).collect()
    }

    /// The process that holds the terminal of a session whose program runs.
    pub(crate) fn holder(&self, session: &str) -> u32 {
        let program = self.record(session).pid.unwrap();
        let stat = fs::read_to_string(format!("/proc/{program}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// How many holders have their socket in place.
    pub(crate) fn holders(&self) -> usize {
        fs::read_dir(self.state().join("run/holders")).unwrap().count()
    }

    /// The lock file of the daemon.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state().join("run/daemon.lock")
    }

    /// Kills the daemon with SIGKILL and waits until it is gone.
    pub(crate) fn kill_daemon(&self) {
        kill(self.daemon().expect("a daemon runs"));
    }

    /// Kills the daemon and starts the next one at once.
    pub(crate) fn renew_daemon(&self) {
        self.kill_daemon();
        self.ok(&["up"]);
    }

    /// The socket of protocol v1.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("run/terminal.sock")
    }

    /// A way to the daemon that starts one when none runs.
    pub(crate) fn address(&self) -> Address {
        let up = Arc::new(Starter { root: self.root.clone(), variables: self.variables.clone() });
        Address { socket: self.socket(), start: Some(Arc::new(move || up.start())) }
    }

    /// A client of this name, with its control connection.
    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(identity(name), self.address())
    }

    /// A stream of a client, from a place of the output on.
    pub(crate) fn stream(&self, client: &str, session: &str, mode: Mode, from: StartAt) -> Stream {
        let session: SessionRef = session.parse().unwrap();
        let attach = Attach { from, ..Attach::new(session, mode) };
        Stream::new(identity(client), self.address(), attach, WhenGone::Nearest)
    }

    /// How many streams a session has.
    pub(crate) fn streams(&self, session: &str) -> usize {
        let inspected: serde_json::Value = serde_json::from_str(&self.ok(&["inspect", session])).unwrap();
        inspected["streams"].as_array().map_or(0, Vec::len)
    }

    /// A session's record.
    pub(crate) fn record(&self, session: &str) -> Record {
        let text = self.ok(&["inspect", session]);
        let inspected: serde_json::Value = serde_json::from_str(&text).unwrap();
        let record = inspected.get("session").unwrap_or(&inspected);
        serde_json::from_value(record.clone()).unwrap()
    }
}

/// What starts a daemon for a client of the library.
struct Starter {
    root: PathBuf,
    variables: Vec<(String, String)>,
}

impl Starter {
    fn start(&self) -> std::io::Result<()> {
        let mut up = Command::new(ABIDE);
        up.arg("up").env("XDG_STATE_HOME", &self.root).env("XDG_CONFIG_HOME", &self.root).env_remove("XDG_RUNTIME_DIR");
        up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        up.envs(self.variables.iter().map(|(name, value)| (name, value))).status().map(drop)
    }
}

/// The first byte of a session's output.
pub(crate) const BEGINNING: StartAt = StartAt::Offset { offset: ByteOffset(0), epoch: None };

pub(crate) fn identity(name: &str) -> Identity {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let client_id: ClientId = name.parse().unwrap();
    let seed = u128::from(SEED.fetch_add(1, Ordering::Relaxed)) << 64 | u128::from(std::process::id());
    Identity { client_id, program: None, seed, may_start: true }
}

/// The record of a session, by a client of the library.
pub(crate) async fn inspect(client: &mut Client, session: &str) -> Record {
    client.call(Inspect { session: session.parse().unwrap() }).await.unwrap().session
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Kills a process and waits until it is gone.
pub(crate) fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(watched) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let _ = kill_process(pid, Signal::KILL);
    let mut ended = [rustix::event::PollFd::new(&watched, rustix::event::PollFlags::IN)];
    let wait = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&wait)), Ok(1), "a killed process ends");
}

/// Looks again and again until there is what is waited for.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        // Nothing tells of this; between two looks others get the processor.
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}

/// The processes whose environment names this house.
fn residents(root: &Path) -> Vec<u32> {
    let mark = format!("XDG_STATE_HOME={}", root.display());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .collect()
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.command(&["stop", "--terminate"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        for pid in residents(&self.root) {
            let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap_or(0)).unwrap_or(Pid::INIT), Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What a reader has seen of a program that prints the numbers from 0 on, one a line.
#[derive(Default)]
pub(crate) struct Lines {
    /// The number that must come next.
    pub(crate) next: u64,
    /// Bytes so far.
    pub(crate) bytes: u64,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes what came next: no line may be missing, and none may come twice.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let text = std::str::from_utf8(&self.partial).unwrap();
                let number: u64 = text.trim_end().parse().unwrap_or_else(|_| panic!("a line: {text:?}"));
                assert_eq!(number, self.next, "no line lost, none twice");
                self.next += 1;
                self.partial.clear();
            }
        }
    }

    /// Whether the last line has come to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.partial.is_empty()
    }
}

/// A small generator of numbers, the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
