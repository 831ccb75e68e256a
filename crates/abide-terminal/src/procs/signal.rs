//! Signalling one process, and no other that got its pid.

use rustix::process::{Pid, PidfdFlags, Signal as Number, pidfd_open, pidfd_send_signal};

use super::{ProcessId, start_time};
use crate::kill::Signal;

/// Sends a signal to this process, if it still lives. Whether it was sent.
///
/// The descriptor names whatever has the pid now; the start time, read while it is open, says whether that is the one.
pub fn signal(process: ProcessId, signal: Signal) -> bool {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let number = Number::from_named_raw(i32::from(signal.number()));
    let (Some(pid), Some(number)) = (pid, number) else { return false };
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    start_time(process.pid) == Some(process.start_time) && pidfd_send_signal(&descriptor, number).is_ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_the_process_of_that_start_time_is_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let start_time = start_time(child.id()).unwrap();
        let other = ProcessId { pid: child.id(), start_time: start_time + 1 };
        assert!(!signal(other, Signal::KILL));
        assert!(child.try_wait().unwrap().is_none());
        assert!(signal(ProcessId { start_time, ..other }, Signal::KILL));
        assert!(!child.wait().unwrap().success());
    }
}
