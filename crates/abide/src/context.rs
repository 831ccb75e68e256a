//! What every command needs: where the daemon is, who we are, and a connection to it.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use abide_terminal::client::{Address, Client, Identity};
use abide_terminal::dirs::{Dir, SOCKET, state_path};
use abide_terminal::options::Terminal;
use abide_terminal::protocol::{ClientInfo, ControlRequest, Inspect, List, Request, SessionRef, WireError};
use abide_terminal::{ClientId, Record, State};

use crate::args::Global;
use crate::configuration;
use crate::failure::Failure;
use crate::service;

/// How long a daemon that was started may take until it serves.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(5);
/// What a program of a session finds in its environment.
const SESSION_VARIABLES: [&str; 3] = ["ABIDE_SESSION", "ABIDE_SESSION_NAME", "ABIDE_INCARNATION"];
/// A longer log is set aside when a daemon starts.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Where the state directory is.
pub(crate) fn state_dir() -> Result<PathBuf, Failure> {
    Ok(state_path(|name| std::env::var_os(name), &configuration::home()?))
}

/// A command's connection to the daemon, made when it is first needed.
pub(crate) struct Context {
    /// The table `[terminal]` of the configuration.
    pub(crate) options: Terminal,
    /// The daemon's socket.
    pub(crate) socket: PathBuf,
    /// Whether nothing is to be said but data and errors.
    pub(crate) quiet: bool,
    /// The configuration that a daemon is started with, where it is not the usual one.
    config: Option<PathBuf>,
    client_id: ClientId,
    /// How long an answer is waited for.
    pub(crate) timeout: Duration,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Context {
    /// `starts`: whether a daemon is started where none runs.
    pub(crate) fn new(global: &Global, starts: bool) -> Result<Self, Failure> {
        let options = configuration::load(global)?.terminal;
        let config = configuration::named_file(global)?;
        let socket = state_dir()?.join(&options.socket_dir).join(SOCKET);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::system("the runtime", &error))?;
        let client_id = draw_client_id()?;
        let client = {
            let _inside = runtime.enter();
            let address = address(&socket, config.as_deref());
            let start = address.start.filter(|_| starts);
            Client::new(identity(client_id.clone())?, Address { start, ..address })
        };
        let (quiet, timeout) = (global.quiet, global.timeout);
        Ok(Self { options, socket, quiet, config, client_id, timeout, runtime, client })
    }

    /// Asks, and waits for the answer as long as `--timeout` says.
    pub(crate) fn call<R>(&mut self, request: R) -> Result<R::Answer, Failure>
    where
        R: Request + Into<ControlRequest>,
    {
        self.call_within(self.timeout, request)
    }

    /// As [`call`](Self::call), for as long as the answer may take.
    pub(crate) fn call_within<R>(&mut self, time: Duration, request: R) -> Result<R::Answer, Failure>
    where
        R: Request + Into<ControlRequest>,
    {
        let call = self.client.call(request);
        let answer = self.runtime.block_on(async { tokio::time::timeout(time, call).await });
        Ok(answer.map_err(|_| Failure::timed_out())??)
    }

    /// As [`call`](Self::call), for whoever handles the daemon's error itself.
    pub(crate) fn try_call<R>(&mut self, request: R) -> Result<R::Answer, WireError>
    where
        R: Request + Into<ControlRequest>,
    {
        let call = self.client.call(request);
        let answer = self.runtime.block_on(async { tokio::time::timeout(self.timeout, call).await });
        answer.unwrap_or_else(|_| Err(WireError::new(abide_wire::Code::DaemonUnreachable, "no answer in time")))
    }

    /// Waits for something else on the same runtime.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Who this program is, for a stream beside the control connection.
    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        identity(self.client_id.clone())
    }

    /// Where streams connect; a daemon that is lost is started again.
    pub(crate) fn address(&self) -> Address {
        address(&self.socket, self.config.as_deref())
    }

    /// All sessions that fit, page by page.
    pub(crate) fn list(&mut self, filter: &List) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::new();
        let mut after = None;
        loop {
            let page = self.call(List { after, ..filter.clone() })?;
            records.extend(page.sessions);
            after = page.next;
            if after.is_none() {
                return Ok(records);
            }
        }
    }

    /// One session, or a failure about it.
    pub(crate) fn inspect(&mut self, session: &SessionRef) -> Result<Record, Failure> {
        let inspected = self.call(Inspect { session: session.clone(), env: false });
        Ok(inspected.map_err(|failure| failure.about(session.to_string()))?.session)
    }

    /// The session that is named, or the only one that there is.
    pub(crate) fn named_or_only(&mut self, name: Option<&SessionRef>) -> Result<Record, Failure> {
        if let Some(name) = name {
            return self.inspect(name);
        }
        let mut records = self.list(&List::default())?;
        if records.iter().any(|record| record.state != State::Finalized) {
            records.retain(|record| record.state != State::Finalized);
        }
        match <[Record; 1]>::try_from(records) {
            Ok([only]) => Ok(only),
            Err(records) if records.is_empty() => Err(Failure::not_found("there is no session").hint("abide run")),
            Err(records) => {
                Err(Failure::usage(format!("there are {} sessions; name one", records.len())).hint("abide ls"))
            }
        }
    }
}

fn draw_client_id() -> Result<ClientId, Failure> {
    let number = getrandom::u64().map_err(|error| Failure::system("random numbers", &error))?;
    format!("cli-{number:016x}").parse().map_err(|error| Failure::usage(format!("{error}")))
}

fn identity(client_id: ClientId) -> Result<Identity, Failure> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|error| Failure::system("random numbers", &error))?;
    let program = ClientInfo { name: "abide".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    Ok(Identity { client_id, program: Some(program), seed: u128::from_ne_bytes(seed), may_start: true })
}

/// Where the daemon is, and how one is started that goes by this file.
fn address(socket: &Path, config: Option<&Path>) -> Address {
    let config = config.map(Path::to_owned);
    let start = move || ask_for_daemon(config.as_deref());
    Address { socket: socket.to_owned(), start: Some(Arc::new(start)) }
}

/// Has a daemon started by `abide up`, which ends when it serves: so the daemon is nobody's child, and this program may
/// live as long as it likes without having to bury it.
fn ask_for_daemon(config: Option<&Path>) -> io::Result<()> {
    let mut up = Command::new("/proc/self/exe");
    let up = up.arg("up").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    up.envs(config.map(|file| (configuration::VARIABLE, file)));
    let status = up.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("abide up failed")) }
}

/// Starts a daemon that outlives this program, and waits for its `ready` line, which it returns.
pub(crate) fn start_daemon(state: &Path) -> io::Result<String> {
    let uid = rustix::process::getuid().as_raw();
    // The daemon looks closer; here it is only made, so that there is a place for the log.
    Dir::create(state, uid).map_err(io::Error::other)?;
    let mut start = Command::new("/proc/self/exe");
    // A client inside a session starts a daemon that is no part of that session.
    // Nor is it the service that the client may be part of.
    for name in SESSION_VARIABLES.into_iter().chain([service::NOTIFY]) {
        start.env_remove(name);
    }
    let mut child = start
        .args(["up", "--foreground", "--own-session"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(open_log(state)?)
        .spawn()?;
    let ready = child.stdout.take().map_or(Ok(String::new()), ready_line);
    match ready {
        Ok(line) if !line.is_empty() => Ok(line),
        // It ended: it says why in its log, and whether it lost a race is what connecting shows.
        _ => Err(io::Error::other(format!("the daemon did not start; see {}", log_path(state).display()))),
    }
}

/// The first line of a daemon's output, waited for no longer than a start may take.
fn ready_line(output: ChildStdout) -> io::Result<String> {
    let (send, receive) = sync_channel(1);
    // The thread ends with the line, with the daemon, or with this program.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let _ = send.send(read.map(|_| line));
    });
    receive.recv_timeout(READY_WITHIN).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn log_path(state: &Path) -> PathBuf {
    state.join("daemon.log")
}

/// The daemon's log, at its end; a long one is set aside first.
fn open_log(state: &Path) -> io::Result<fs::File> {
    let path = log_path(state);
    if fs::symlink_metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        fs::rename(&path, state.join("daemon.log.1"))?;
    }
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)
}
