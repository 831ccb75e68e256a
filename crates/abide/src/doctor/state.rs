//! The state directory: whose it is, who has its lock, which holders answer.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use abide_holder::{ProbeError, ProbeTimeouts, probe};
use abide_terminal::client::answers;
use abide_terminal::dirs::{Dir, Error, SOCKET};
use abide_terminal::lock::{Owner, host_name};
use abide_terminal::procs;
use rustix::fs::{FlockOperation, flock};

use super::Finding;

/// How long a daemon may take to say something.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How long a holder may take to be reached, and to answer.
const PROBE_TIMES: ProbeTimeouts = ProbeTimeouts { connect: Duration::from_millis(250), pong: Duration::from_secs(2) };
/// A lock file is one short line.
const LOCK_BYTES_MAX: u64 = 4_096;

/// Whether the directories are this user's alone. Those that are missing are made by the first daemon.
pub(crate) fn directories(state: &Path, run: &Path, uid: u32) -> Vec<Finding> {
    let beside = [("state directory", state.to_owned()), ("socket directory", run.to_owned())];
    let below = [("state directory", state.join("holders")), ("socket directory", run.join("holders"))];
    let look = |(check, path): (&'static str, std::path::PathBuf)| match Dir::open(&path, uid) {
        Ok(_) => Finding::ok(check, path.display().to_string()),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Finding::ok(check, format!("{} is made by the first daemon", path.display()))
        }
        Err(Error::Forbidden { path, reason, mend }) => {
            Finding::error(check, format!("{} {reason}", path.display())).mended_by(mend)
        }
        Err(error) => Finding::error(check, error.to_string()),
    };
    let bad = below.into_iter().map(look).filter(|finding| finding.level > super::Level::Ok);
    beside.into_iter().map(look).chain(bad).collect()
}

/// Who has the lock, and whether it serves.
pub(crate) fn daemon(run: &Path) -> Finding {
    let found = read_lock(&run.join("daemon.lock"));
    said_of_daemon(found, &host_name(), answers(&run.join(SOCKET), ANSWER_TIME))
}

/// Who wrote the lock file, and whether somebody holds the lock.
fn read_lock(path: &Path) -> Option<(Option<Owner>, bool)> {
    let file = File::open(path).ok()?;
    // For a moment: a daemon that starts just now tries again.
    let is_held = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
    let mut text = String::new();
    (&file).take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some((serde_json::from_str(&text).ok(), is_held))
}

fn said_of_daemon(lock: Option<(Option<Owner>, bool)>, host: &str, serves: bool) -> Finding {
    let check = "daemon";
    let Some((owner, is_held)) = lock else {
        return Finding::ok(check, "none has run here yet; commands start one");
    };
    let who = owner.as_ref().map_or("somebody".to_owned(), |owner| {
        let there = if owner.host == host { String::new() } else { format!(" on {}", owner.host) };
        format!("process {}{there}, version {}", owner.pid, owner.version)
    });
    match (is_held, serves, owner) {
        (_, true, _) => Finding::ok(check, format!("{who} serves")),
        (true, false, Some(owner)) if owner.host != host => {
            Finding::error(check, format!("{who} has the lock: this directory is shared with that host"))
        }
        (true, false, owner) => {
            let finding = Finding::error(check, format!("{who} has the lock and does not answer"));
            match owner {
                Some(owner) => finding.mended_by(format!("kill -9 {}; the sessions live on", owner.pid)),
                None => finding,
            }
        }
        (false, false, Some(owner)) if owner.host == host && lives(&owner) => {
            Finding::warning(check, format!("{who} is about to start or to end"))
        }
        (false, false, _) => Finding::ok(check, "none runs; commands start one"),
    }
}

/// Whether the process is there and has not ended: one that nobody has buried yet has no arguments.
fn lives(owner: &Owner) -> bool {
    procs::start_time(owner.pid) == Some(owner.start_time) && !procs::arguments(owner.pid).is_empty()
}

/// Which holders answer; sockets that nobody listens at are stale, and removed if `fix` says so.
pub(crate) fn holders(run: &Path, uid: u32, fix: bool) -> Vec<Finding> {
    let check = "holders";
    let Ok(dir) = Dir::open(&run.join("holders"), uid) else { return Vec::new() };
    let (mut answering, mut silent, mut stale, mut removed) = (0, Vec::new(), Vec::new(), 0);
    for name in dir.names().unwrap_or_default() {
        // What a holder is about to put in its place has another name.
        let Some(name) = name.to_str().filter(|name| name.strip_suffix(".sock").is_some()) else { continue };
        let name = name.to_owned();
        match probe(&dir.path().join(&name), PROBE_TIMES) {
            Ok(_) => answering += 1,
            // One that ended between the look at the directory and this.
            Err(ProbeError::Absent) => {}
            Err(ProbeError::Stale) if fix && dir.remove_socket(&name).is_ok() => removed += 1,
            Err(ProbeError::Stale) => stale.push(name),
            Err(_) => silent.push(name),
        }
    }
    let mut findings = vec![Finding::ok(check, format!("{answering} answer"))];
    if removed > 0 {
        findings.push(Finding::ok(check, format!("{removed} stale sockets removed")));
    }
    if !stale.is_empty() {
        let finding = Finding::warning(check, format!("nobody listens at {}", stale.join(", ")));
        findings.push(finding.mended_by("abide doctor --fix"));
    }
    if !silent.is_empty() {
        findings.push(Finding::warning(check, format!("no answer from {}", silent.join(", "))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use abide_terminal::DaemonEpoch;

    use super::super::Level;
    use super::*;

    fn owner(host: &str, start_time: u64) -> Owner {
        let (host, version) = (host.to_owned(), "0.1.0".to_owned());
        Owner { pid: std::process::id(), start_time, host, version, daemon_epoch: DaemonEpoch(3) }
    }

    #[test]
    fn each_state_of_a_lock_has_its_words() {
        let own = procs::start_time(std::process::id()).unwrap();
        let who = format!("process {}, version 0.1.0", std::process::id());
        for (lock, serves, level, said) in [
            (None, false, Level::Ok, "none has run here yet; commands start one".to_owned()),
            (Some((Some(owner("here", own)), true)), true, Level::Ok, format!("{who} serves")),
            (
                Some((Some(owner("here", own)), true)),
                false,
                Level::Error,
                format!("{who} has the lock and does not answer"),
            ),
            (Some((None, true)), false, Level::Error, "somebody has the lock and does not answer".to_owned()),
            (
                Some((Some(owner("here", own)), false)),
                false,
                Level::Warning,
                format!("{who} is about to start or to end"),
            ),
            (Some((Some(owner("here", own + 1)), false)), false, Level::Ok, "none runs; commands start one".to_owned()),
            (Some((None, false)), false, Level::Ok, "none runs; commands start one".to_owned()),
        ] {
            let finding = said_of_daemon(lock, "here", serves);
            assert_eq!((finding.level, finding.message), (level, said));
        }
        let elsewhere = said_of_daemon(Some((Some(owner("there", 1)), true)), "here", false);
        assert!(elsewhere.message.contains("on there") && elsewhere.mend.is_none(), "{elsewhere:?}");
    }
}
