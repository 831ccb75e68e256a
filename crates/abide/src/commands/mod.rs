//! A file for each group of commands. Each returns the exit status, or the failure that has one.

mod attach;
mod daemon;
mod journal;
mod kill;
mod logs;
mod look;
mod recover;
mod run;
mod sessions;
mod up;

use std::io;

use crate::failure::Failure;

pub(crate) use attach::attach;
pub(crate) use daemon::{restart, stop};
pub(crate) use journal::journal;
pub(crate) use kill::kill;
pub(crate) use logs::logs;
pub(crate) use look::{events, screen, wait};
pub(crate) use recover::recover;
pub(crate) use run::run;
pub(crate) use sessions::{completions, inspect, ls, overview, rename, rm};
pub(crate) use up::up;

/// The exit status of a command that did what it was asked to, or why it did not.
pub(crate) type Outcome = Result<u8, Failure>;

/// Standard output that nobody reads any more is no failure: `abide ls | head`.
fn printed(result: io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Failure::system("standard output", &error)),
    }
}
