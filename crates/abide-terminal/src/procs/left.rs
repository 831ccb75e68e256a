//! Ending what a dead holder left of its program.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{ProcessId, signal};
use crate::kill::Signal;

/// Which signal is sent how many milliseconds after the loss.
const STEPS: [(u64, Signal); 4] = [(0, Signal::HUP), (500, Signal::KILL), (700, Signal::KILL), (900, Signal::KILL)];

/// Ends these processes, and returns once none is left to be signalled: within a second, whatever they do against it.
pub async fn end_left(left: &[ProcessId]) {
    let lost = Instant::now();
    for (at_ms, number) in STEPS {
        sleep_until(lost + Duration::from_millis(at_ms)).await;
        let found = left.iter().filter(|process| signal(**process, number)).count();
        if found == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::procs::start_time;

    /// A program that does not outlive the test.
    struct Program(Child);

    impl Drop for Program {
        fn drop(&mut self) {
            // One that has ended needs nothing.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A program that says when it runs, and how it is found.
    fn program(script: &str) -> (Program, ProcessId) {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("sh is there");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says that it runs");
        assert_eq!(line, "ready\n");
        let id = ProcessId { pid: child.id(), start_time: start_time(child.id()).expect("it runs") };
        (Program(child), id)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_gone_within_a_second() {
        let (mut obeys, first) = program("echo ready; exec sleep 1000");
        let (mut ignores, second) = program("trap '' HUP TERM; echo ready; exec sleep 1000");
        let (mut stranger, other) = program("echo ready; exec sleep 1000");
        let began = Instant::now();
        // A stranger with the number of a process that is gone.
        end_left(&[first, second, ProcessId { start_time: other.start_time + 1, ..other }]).await;
        assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
        // The clock runs ahead of the machine here: one that obeys may get the second signal before it came to the first.
        assert!(matches!(obeys.0.wait().expect("it has ended").signal(), Some(1 | 9)));
        assert_eq!(ignores.0.wait().expect("it has ended").signal(), Some(9));
        assert!(stranger.0.try_wait().expect("it is ours").is_none(), "the stranger lives");
        // Nobody is waited for who is not there.
        let began = Instant::now();
        end_left(&[first, second]).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
