//! A user of one's own for each test: a home, a state directory, and nothing left of them afterwards.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use abide_drive::{Options, Terminal};
use abide_terminal::Record;
use abide_terminal::client::{Address, Identity};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// No step of a test takes longer, unless it says so.
pub(crate) const SOON: Duration = Duration::from_secs(20);

static PLACES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("p{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    /// The environment of everything that is started here.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.root.join(name).to_str().unwrap().to_owned();
        vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("HOME".to_owned(), path("")),
            ("XDG_STATE_HOME".to_owned(), path("state")),
            ("XDG_CONFIG_HOME".to_owned(), path("config")),
            ("SHELL".to_owned(), "/bin/sh".to_owned()),
            ("PS1".to_owned(), "$ ".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state/abide")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("run/terminal.sock")
    }

    /// A command, not started yet.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_abide"));
        command.args(args).env_clear().envs(self.env()).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn abide(&self, args: &[&str]) -> Output {
        let output = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&output);
        let waiter = thread::spawn(move || output.wait_with_output().unwrap());
        if !ends_within(pid, SOON) {
            let _ = kill_process(pid, Signal::KILL);
            let output = waiter.join().unwrap();
            panic!("abide {args:?} does not end: {output:?}");
        }
        waiter.join().unwrap()
    }

    /// Runs a command that must succeed; its output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.abide(args);
        assert!(output.status.success(), "abide {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A window with a program in it.
    pub(crate) fn window(&self, command: &[&str]) -> Terminal {
        let mut env = Options::default().env;
        env.extend(self.env());
        let options = Options { env, cwd: Some(self.root.clone()), ..Options::default() };
        Terminal::spawn(command, &options).unwrap()
    }

    /// A window with an `abide` command in it.
    pub(crate) fn abide_window(&self, args: &[&str]) -> Terminal {
        let command: Vec<&str> = std::iter::once(env!("CARGO_BIN_EXE_abide")).chain(args.iter().copied()).collect();
        self.window(&command)
    }

    pub(crate) fn sessions(&self) -> Vec<Record> {
        serde_json::from_str(&self.ok(&["ls", "-a", "-o", "json"])).unwrap()
    }

    pub(crate) fn session(&self, name: &str) -> Record {
        let sessions = self.sessions();
        sessions.into_iter().find(|record| record.name == name).expect("the session is there")
    }

    /// The daemon's process, from its lock file.
    pub(crate) fn daemon(&self) -> Pid {
        let text = fs::read_to_string(self.state().join("run/daemon.lock")).unwrap();
        let owner: serde_json::Value = serde_json::from_str(&text).unwrap();
        Pid::from_raw(i32::try_from(owner["pid"].as_i64().unwrap()).unwrap()).unwrap()
    }

    /// Kills the daemon as a crash would, and waits until it is gone.
    pub(crate) fn kill_daemon(&self) {
        let daemon = self.daemon();
        let gone = pidfd_open(daemon, PidfdFlags::empty()).unwrap();
        kill_process(daemon, Signal::KILL).unwrap();
        poll(&mut [PollFd::new(&gone, PollFlags::IN)], Some(&timespec(SOON))).unwrap();
    }

    /// Starts a daemon and waits until it serves.
    pub(crate) fn start_daemon(&self) {
        self.ok(&["up"]);
    }

    pub(crate) fn address(&self) -> Address {
        Address { socket: self.socket(), start: None }
    }

    /// A connection that has not said anything yet.
    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Every process that was started here and still runs.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        // With the slash: one place's name may begin with another's.
        let here = format!("{}/", self.root.display()).into_bytes();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
        let is_ours = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.windows(here.len()).any(|window| window == here)
        };
        pids.filter(is_ours).filter_map(Pid::from_raw).filter(|pid| *pid != rustix::process::getpid()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever starts a process is killed before it can start another one.
        for _ in 0..10 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
                ends_within(pid, Duration::from_secs(2));
            }
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.state().join("daemon.log")).unwrap_or_default();
            println!("the daemon's log:\n{log}");
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Whether a process ends in time; it need not be a child.
pub(crate) fn ends_within(pid: Pid, within: Duration) -> bool {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timespec(within))).unwrap() > 0,
        Err(_) => true,
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap()
}

/// Looks until something is so, for what tells nobody when it happens; panics at the deadline.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An identity for a client of the library.
pub(crate) fn identity(name: &str) -> Identity {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).unwrap();
    Identity { client_id: name.parse().unwrap(), program: None, seed: u128::from_ne_bytes(seed), may_start: false }
}

/// CI's number, or the larger one.
pub(crate) fn rounds(ci: u32, nightly: u32) -> u32 {
    if std::env::var_os("ABIDE_NIGHTLY").is_some() { nightly } else { ci }
}
