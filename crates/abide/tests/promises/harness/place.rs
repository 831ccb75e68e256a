//! A user of one's own for each test: a home, a state directory, the daemon in it, and nothing left of them afterwards.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use abide_terminal::Record;

use super::process::{self, ends_within, is_alive, kill};

/// The program under test.
pub(crate) const ABIDE: &str = env!("CARGO_BIN_EXE_abide");

/// No command runs longer.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(90);

static PLACES: AtomicU32 = AtomicU32::new(0);

/// Directories for one test, and all that is started in them.
pub(crate) struct Place {
    root: PathBuf,
    variables: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("p{}-{number}", std::process::id()));
        fs::create_dir_all(root.join("work")).unwrap();
        Self { root, variables: Vec::new() }
    }

    /// The same with a configuration key or a hook in the environment of all that is started here.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Nothing is trimmed: no reader is so slow that what it has not read is gone.
    pub(crate) fn keeping_all(self) -> Self {
        self.with("ABIDE_TERMINAL_RETENTION_BYTES", &(16_u64 << 30).to_string())
    }

    /// The environment of everything that is started here.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.root.join(name).to_str().unwrap().to_owned();
        let mut env = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("HOME".to_owned(), path("")),
            ("XDG_STATE_HOME".to_owned(), path("state")),
            ("XDG_CONFIG_HOME".to_owned(), path("config")),
            ("SHELL".to_owned(), "/bin/sh".to_owned()),
            ("PS1".to_owned(), "$ ".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ];
        env.extend(self.variables.iter().cloned());
        env
    }

    /// The working directory of all that is started here; a test's own files are there.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state/abide")
    }

    /// The configuration, where a user would write it.
    pub(crate) fn configure(&self, text: &str) {
        let directory = self.root.join("config/abide");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("abide.toml"), text).unwrap();
    }

    /// The socket of protocol v1.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("run/terminal.sock")
    }

    /// The lock file of the daemon.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state().join("run/daemon.lock")
    }

    /// `abide` with these arguments, not started yet.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(ABIDE);
        command.args(args).env_clear().envs(self.env()).current_dir(self.work()).stdin(Stdio::null());
        command
    }

    /// Runs `abide` to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let waiter = thread::spawn(move || child.wait_with_output().unwrap());
        if !ends_within(pid, COMMAND_TIME_MAX) {
            kill(pid);
            panic!("abide {args:?} does not end: {:?}", waiter.join().unwrap());
        }
        waiter.join().unwrap()
    }

    /// Runs `abide`, which must succeed; what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "abide {args:?}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts an unowned session of this name that runs `sh -c script`.
    #[track_caller]
    pub(crate) fn session(&self, name: &str, script: &str) {
        self.ok(&["run", "-d", "--name", name, "--", "sh", "-c", script]);
    }

    /// A session's record.
    #[track_caller]
    pub(crate) fn record(&self, session: &str) -> Record {
        let inspected: serde_json::Value = serde_json::from_str(&self.ok(&["inspect", session])).unwrap();
        serde_json::from_value(inspected["session"].clone()).unwrap()
    }

    /// All records.
    #[track_caller]
    pub(crate) fn records(&self) -> Vec<Record> {
        serde_json::from_str(&self.ok(&["ls", "-a", "-o", "json"])).unwrap()
    }

    /// Where the store has its records: files here change with each append.
    pub(crate) fn segments(&self) -> PathBuf {
        self.state().join("journal/segments")
    }

    /// What the daemon wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.state().join("daemon.log")).unwrap_or_default()
    }

    /// Starts a daemon and waits until it serves.
    #[track_caller]
    pub(crate) fn start_daemon(&self) {
        self.ok(&["up"]);
    }

    /// Starts a daemon that is a child of this program, and waits until it serves. Its output must stay open.
    #[track_caller]
    pub(crate) fn daemon_in_foreground(&self) -> (Child, BufReader<ChildStdout>) {
        let mut up = self.command(["up", "--foreground"]);
        let mut child = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("ready"), "{line:?}");
        (child, stdout)
    }

    /// The daemon's process id, from its lock.
    pub(crate) fn daemon(&self) -> Option<u32> {
        let owner: serde_json::Value = serde_json::from_slice(&fs::read(self.lock()).ok()?).ok()?;
        let pid = u32::try_from(owner["pid"].as_u64()?).ok()?;
        is_alive(pid).then_some(pid)
    }

    /// Kills the daemon as a crash would, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill_daemon(&self) {
        kill(self.daemon().expect("a daemon runs"));
    }

    /// Kills the daemon and starts the next one at once.
    #[track_caller]
    pub(crate) fn renew_daemon(&self) {
        self.kill_daemon();
        self.start_daemon();
    }

    /// Every process that was started here and has not ended: it has this place in its environment, or (as a holder, which
    /// has none) one of its directories open.
    pub(crate) fn processes(&self) -> Vec<u32> {
        // With the slash: one place's name may begin with another's.
        let here = format!("{}/", self.root.display()).into_bytes();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            environ.windows(here.len()).any(|window| window == here)
                || open.any(|path| path.as_os_str().as_encoded_bytes().starts_with(&here))
        };
        pids.filter(|pid| *pid != std::process::id()).filter(is_ours).filter(|pid| is_alive(*pid)).collect()
    }

    /// Those of them that have this argument.
    pub(crate) fn processes_with(&self, argument: &str) -> Vec<u32> {
        let has = |pid: &u32| process::arguments(*pid).iter().any(|given| given == argument);
        self.processes().into_iter().filter(has).collect()
    }

    /// Every process that is a daemon here, or is about to find that another one is.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        self.processes_with("--foreground")
    }

    /// The process that holds the terminal of a session whose program runs.
    pub(crate) fn holder(&self, session: &str) -> u32 {
        process::parent(self.record(session).pid.unwrap())
    }

    /// Waits until every holder was collected and has removed its socket.
    #[track_caller]
    pub(crate) fn wait_without_holders(&self) {
        let holders = self.state().join("run/holders");
        process::wait_in(&holders, "the holders are collected", || {
            (fs::read_dir(&holders).unwrap().count() == 0).then_some(())
        });
    }

    /// Waits until a program of this place has written a process id to a file of the working directory.
    #[track_caller]
    pub(crate) fn pid_in(&self, file: &str) -> u32 {
        let path = self.work().join(file);
        process::wait_in(&self.work(), file, || fs::read_to_string(&path).ok()?.trim().parse().ok())
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
            left.into_iter().for_each(kill);
        }
        if thread::panicking() {
            println!("the daemon's log:\n{}", self.log());
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}
