//! Processes that need not be children, and directories, each watched through a descriptor.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::SOON;

fn id(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Whether there is something to read before the time is over.
fn is_readable_within(watched: impl AsFd, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
        match poll(&mut [PollFd::new(&watched, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    !ends_within(pid, Duration::ZERO)
}

/// Whether a process ends in time; a zombie has ended.
pub(crate) fn ends_within(pid: u32, within: Duration) -> bool {
    pidfd_open(id(pid), PidfdFlags::empty()).map_or(true, |process| is_readable_within(process, within))
}

/// Sends a signal to a process, if it is still there.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(id(pid), signal);
}

/// Kills a process and waits until it is gone.
#[track_caller]
pub(crate) fn kill(pid: u32) {
    let Ok(process) = pidfd_open(id(pid), PidfdFlags::empty()) else { return };
    signal(pid, Signal::KILL);
    assert!(is_readable_within(process, SOON), "a killed process ends: {pid}");
}

/// What a process was started with.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

/// The parent of a process that runs.
pub(crate) fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Looks into a directory at first and whenever something in it changes, until there is what is waited for.
#[track_caller]
pub(crate) fn wait_in<T>(directory: &Path, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    let changes =
        WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
    add_watch(&watch, directory, changes).unwrap();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(is_readable_within(&watch, left), "not in time: {what}");
        // Which changes they were does not matter: what there is now does.
        while rustix::io::read(&watch, &mut [0; 4096]).is_ok() {}
    }
}
