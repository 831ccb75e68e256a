//! A recording in the user's terminal, or in a pipe.

use std::io;
use std::time::Instant;

use abide_screen::QueryFilter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::modes::Modes;
use super::sys::{Signal, Signals};
use super::terminal::{self, RawTerminal, stdin, stdout};

/// Keys that end it: `q`, Escape, Ctrl-C, Ctrl-D, Ctrl-\.
const ENDING_KEYS: &[u8] = b"qQ\x1b\x03\x04\x1c";

/// Shows what was recorded. What it switched on in the terminal is put back once this is dropped.
pub(crate) struct Player {
    terminal: Option<RawTerminal>,
    signals: Signals,
    modes: Modes,
    /// The user's terminal must not answer what a program asked long ago.
    filter: Option<QueryFilter>,
}

impl Player {
    pub(crate) fn new() -> io::Result<Self> {
        let filter = rustix::termios::isatty(stdout()).then(QueryFilter::observer);
        Ok(Self { terminal: RawTerminal::enter()?, signals: Signals::new()?, modes: Modes::new(), filter })
    }

    /// Waits until then, or for ever; false: the user leaves.
    pub(crate) fn wait_until(&mut self, due: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if self.leaves()? {
                return Ok(false);
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(true);
            }
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
            if self.terminal.is_some() {
                watched.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
            }
            match poll(&mut watched, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Shows these bytes; false: nobody sees them any more.
    pub(crate) fn show(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if self.terminal.is_some() {
            self.modes.feed(bytes);
            terminal::set_alternate(self.modes.alternate);
        }
        let mut filtered = Vec::new();
        let shown = match &mut self.filter {
            Some(filter) => {
                filter.filter(bytes, &mut filtered);
                &filtered
            }
            None => bytes,
        };
        match terminal::write_all(shown) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the user has said so since the last look.
    fn leaves(&self) -> io::Result<bool> {
        while let Some(signal) = self.signals.next() {
            if signal == Signal::Leave {
                return Ok(true);
            }
        }
        if self.terminal.is_none() {
            return Ok(false);
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = match poll(&mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)], Some(&now)) {
            Ok(ready) => ready > 0,
            Err(Errno::INTR) => false,
            Err(errno) => return Err(errno.into()),
        };
        let mut typed = [0; 256];
        match if ready { rustix::io::read(stdin(), &mut typed) } else { return Ok(false) } {
            // A terminal that has ended is gone.
            Ok(0) => Ok(true),
            Ok(read) => Ok(typed.iter().take(read).any(|key| ENDING_KEYS.contains(key))),
            Err(Errno::INTR | Errno::AGAIN) => Ok(false),
            Err(_) => Ok(true),
        }
    }
}
