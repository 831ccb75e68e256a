//! Replacing the daemon by another one: the check before anything is touched, and the hand-over after the stop.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use abide_holder::Inherited;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::sessions::Stop;
use crate::protocol::UpgradeFailure;
use crate::store::Event;

/// How long the check of a new binary may take.
const CHECK_TIME: Duration = Duration::from_secs(5);

/// How long a new daemon may take until it is ready.
const READY_TIME: Duration = Duration::from_secs(10);

/// How often a check is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The program that runs, even if its file was replaced.
const SELF: &str = "/proc/self/exe";

/// What a version of the daemon can read: `abide up --check` prints it, and the daemon that is to be replaced compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// Formats of the journal's store.
    pub store: Vec<u32>,
    /// Newest format of events.
    pub boot: u32,
    /// Versions of holders.
    pub holders: Vec<u32>,
}

impl Formats {
    /// Those of this version.
    pub fn own() -> Self {
        Self { store: vec![abide_journal::format::FORMAT], boot: Event::FORMAT, holders: vec![abide_holder::VERSION] }
    }

    /// What a successor of these formats could not read of what this version has written.
    fn missing_in(&self, successor: &Self) -> Option<&'static str> {
        let lacks = |own: &[u32], other: &[u32]| own.iter().any(|version| !other.contains(version));
        if lacks(&self.store, &successor.store) {
            Some("it cannot read the store")
        } else if successor.boot < self.boot {
            Some("it cannot read the registry")
        } else if lacks(&self.holders, &successor.holders) {
            Some("it does not know the holders that run")
        } else {
            None
        }
    }
}

fn failure(phase: &str, reason: impl Into<String>) -> UpgradeFailure {
    UpgradeFailure { phase: phase.to_owned(), reason: reason.into() }
}

/// Asks a binary whether it could follow: then it takes this daemon's place. Nothing is touched. Blocks up to 5 s.
pub(super) fn check(binary: Option<PathBuf>) -> Result<Stop, UpgradeFailure> {
    let binary = binary.unwrap_or_else(|| PathBuf::from(SELF));
    ask(&binary).map(|()| Stop::Replaced(binary))
}

/// The same where a service manager has started this daemon: it starts the next one, with the program of its unit.
pub(super) fn restart_unit(binary: Option<&Path>) -> Result<Stop, UpgradeFailure> {
    if binary.is_some() {
        let reason = "a service starts the program of its unit: install the service with the other one first";
        return Err(failure("check", reason));
    }
    // Not the program that runs: a newer one may lie in its place.
    let program = std::fs::read_link(SELF).map_err(|error| failure("check", error.to_string()))?;
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    ask(replaced.map_or(&*program, Path::new))?;
    let asked = Command::new("systemctl")
        .args(["--user", "--no-block", "restart", "abide.service"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match asked {
        Ok(status) if status.success() => Ok(Stop::Restarted),
        Ok(status) => Err(failure("start", format!("systemctl ended with {status}"))),
        Err(error) => Err(failure("start", format!("systemctl: {error}"))),
    }
}

fn ask(binary: &Path) -> Result<(), UpgradeFailure> {
    let failed = |reason: String| failure("check", reason);
    let mut child = Command::new(binary)
        .args(["up", "--check"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("{} cannot be executed: {error}", binary.display())))?;
    let deadline = Instant::now() + CHECK_TIME;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(None) | Err(_) => {
                end(&mut child);
                return Err(failed("its check did not end in time".to_owned()));
            }
        }
    };
    if !status.success() {
        return Err(failed(format!("its check ended with {status}")));
    }
    let mut text = String::new();
    let told = child.stdout.take().map(|stdout| stdout.take(FORMATS_BYTES_MAX).read_to_string(&mut text));
    let formats: Option<Formats> = told.and_then(|_| serde_json::from_str(text.trim()).ok());
    match formats.map(|formats| Formats::own().missing_in(&formats)) {
        Some(None) => Ok(()),
        Some(Some(missing)) => Err(failed(missing.to_owned())),
        None => Err(failed("its check did not say which formats it knows".to_owned())),
    }
}

/// Longest answer of a check.
const FORMATS_BYTES_MAX: u64 = 4_096;

/// Longest word of a new daemon that is looked at.
const LINE_BYTES_MAX: usize = 4_096;

/// Starts the successor with the lock and the listening socket, and waits until it is ready. If it is not, it is ended
/// and this daemon has to start itself anew.
pub(super) fn hand_over(
    binary: &Path,
    lock: BorrowedFd<'_>,
    listener: BorrowedFd<'_>,
    inherited: &Inherited,
) -> Result<(), UpgradeFailure> {
    let failed = |reason: String| failure("start", reason);
    let inherited = serde_json::to_string(inherited).map_err(|error| failed(error.to_string()))?;
    let pass = |fd: BorrowedFd<'_>| fcntl_setfd(fd, FdFlags::empty()).map_err(|errno| failed(errno.to_string()));
    let keep = |fd: BorrowedFd<'_>| fcntl_setfd(fd, FdFlags::CLOEXEC);
    pass(lock)?;
    pass(listener)?;
    let child = Command::new(binary)
        .args(["up", "--foreground"])
        .arg(format!("--lock-fd={}", lock.as_raw_fd()))
        .arg(format!("--listen-fd={}", listener.as_raw_fd()))
        .arg(format!("--inherited={inherited}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn();
    // Nothing else is started between: the runtime has ended.
    let (_, _) = (keep(lock), keep(listener));
    let mut child = child.map_err(|error| failed(format!("{} cannot be executed: {error}", binary.display())))?;
    let Some(stdout) = child.stdout.take() else { return Err(failed("it has no output".to_owned())) };
    match first_line(stdout.into(), READY_TIME) {
        Some(line) if line.contains("ready") => Ok(()),
        Some(_) => {
            end(&mut child);
            Err(failed("it ended before it was ready".to_owned()))
        }
        None => {
            end(&mut child);
            Err(failed("it was not ready in time".to_owned()))
        }
    }
}

/// The first line that comes, or what there is of it at the end of output; `None` if neither comes in time.
fn first_line(output: OwnedFd, time: Duration) -> Option<String> {
    let deadline = Instant::now() + time;
    let mut line = Vec::new();
    let mut output = File::from(output);
    while !line.contains(&b'\n') && line.len() < LINE_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok()?;
        let mut polled = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Err(Errno::INTR) => continue,
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let mut bytes = [0; 256];
        match output.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => line.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// Ends a program that failed, and what it started: each would keep the lock that it inherited.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_must_read_what_this_version_wrote() {
        let own = Formats::own();
        assert_eq!(own.missing_in(&own), None);
        assert!(own.missing_in(&Formats { store: vec![], ..own.clone() }).is_some());
        assert!(own.missing_in(&Formats { boot: 0, ..own.clone() }).is_some());
        assert!(own.missing_in(&Formats { holders: vec![2], ..own.clone() }).is_some());
        assert_eq!(own.missing_in(&Formats { holders: vec![1, 2], boot: 9, ..own.clone() }), None);
    }
}
