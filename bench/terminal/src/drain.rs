//! The draining client: a terminal that reads and types, and knows nothing of what it reads but the markers.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use memchr::memmem;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal};

use crate::program;
use crate::sys;

/// A run that takes longer has failed: its client is killed, and the read ends.
pub(crate) const RUN_MAX: Duration = Duration::from_mins(2);
/// How often the program is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Silence after which all answers have come in.
const QUIET: Duration = Duration::from_millis(150);
const BUFFER_BYTES: usize = 64 * 1024;

/// A PTY with a client (or the program itself) in it.
pub(crate) struct Terminal {
    master: OwnedFd,
    client: Child,
    watchdog: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    buffer: Vec<u8>,
}

/// What was received up to a marker.
pub(crate) struct Received {
    /// From the first byte to the one that completed the marker.
    pub time: Duration,
    pub bytes: usize,
    pub reads: u64,
}

impl Terminal {
    pub(crate) fn spawn(command: Command) -> anyhow::Result<Self> {
        let what = command.get_program().to_owned();
        let (master, client) = sys::spawn(command).with_context(|| format!("cannot start {}", what.display()))?;
        let pid = Pid::from_child(&client);
        let (sender, ended) = mpsc::channel();
        let watchdog = std::thread::spawn(move || {
            if ended.recv_timeout(RUN_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        });
        Ok(Self { master, client, watchdog: Some((sender, watchdog)), buffer: vec![0; BUFFER_BYTES] })
    }

    pub(crate) fn client_pid(&self) -> u32 {
        self.client.id()
    }

    pub(crate) fn type_bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&self.master, rest)?..];
        }
        Ok(())
    }

    /// Waits until the program is there, reached through its client, and all is silent. Returns the program's pid.
    pub(crate) fn wait_ready(&mut self) -> anyhow::Result<u32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut seen = Vec::new();
        let pid = loop {
            if Instant::now() > deadline {
                bail!("the program did not answer; seen: {}", String::from_utf8_lossy(&seen).escape_debug());
            }
            self.type_bytes(b"r")?;
            while self.readable(ASK_EVERY)? {
                let count = self.read()?;
                seen.extend_from_slice(&self.buffer[..count]);
            }
            if let Some(pid) = ready_pid(&seen) {
                break pid;
            }
        };
        while self.readable(QUIET)? {
            self.read()?;
        }
        Ok(pid)
    }

    /// Starts the work and waits for the answer.
    pub(crate) fn go_and_wait(&mut self) -> anyhow::Result<()> {
        self.type_bytes(b"g")?;
        self.drain_to(program::GO)?;
        Ok(())
    }

    /// Reads up to `marker`. The clock starts with the first byte.
    pub(crate) fn drain_to(&mut self, marker: &[u8]) -> anyhow::Result<Received> {
        let finder = memmem::Finder::new(marker);
        // The end of what was read before stays in front, in case the marker is cut.
        let mut kept = 0;
        let (mut bytes, mut reads) = (0, 0);
        let mut started = None;
        loop {
            let count = rustix::io::read(&self.master, &mut self.buffer[kept..]).context("the client ended early")?;
            let now = Instant::now();
            let first = *started.get_or_insert(now);
            if count == 0 {
                bail!("the client closed its terminal");
            }
            bytes += count;
            reads += 1;
            let filled = kept + count;
            if finder.find(&self.buffer[..filled]).is_some() {
                return Ok(Received { time: now - first, bytes, reads });
            }
            let keep = filled.min(marker.len() - 1);
            self.buffer.copy_within(filled - keep..filled, 0);
            kept = keep;
        }
    }

    /// Types `key` and waits until it comes out.
    pub(crate) fn echo(&mut self, key: u8) -> anyhow::Result<Duration> {
        let typed = Instant::now();
        self.type_bytes(&[key])?;
        loop {
            let count = self.read()?;
            if memchr::memchr(key, &self.buffer[..count]).is_some() {
                return Ok(typed.elapsed());
            }
        }
    }

    /// Drains the terminal on a thread of its own until the client ends.
    pub(crate) fn read_on_thread(self) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let master = self.master.try_clone()?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let thread =
            std::thread::spawn(move || while rustix::io::read(&master, &mut buffer).is_ok_and(|count| count > 0) {});
        Ok((self, thread))
    }

    /// Ends the program and waits for its client.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        self.type_bytes(b"q")?;
        while self.read().is_ok_and(|count| count > 0) {}
        self.client.wait()?;
        Ok(())
    }

    fn readable(&self, timeout: Duration) -> anyhow::Result<bool> {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&timeout.try_into()?))? > 0)
    }

    fn read(&mut self) -> anyhow::Result<usize> {
        rustix::io::read(&self.master, &mut self.buffer).context("the client ended early")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.client.try_wait() {
            let _ = self.client.kill();
            let _ = self.client.wait();
        }
        if let Some((ended, thread)) = self.watchdog.take() {
            let _ = ended.send(());
            let _ = thread.join();
        }
    }
}

fn ready_pid(seen: &[u8]) -> Option<u32> {
    let from = memmem::rfind(seen, program::READY)? + program::READY.len();
    let to = from + memmem::find(&seen[from..], program::READY_END)?;
    std::str::from_utf8(&seen[from..to]).ok()?.parse().ok()
}
