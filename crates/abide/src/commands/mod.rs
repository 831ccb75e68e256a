//! A file for each group of commands. Each returns the exit status, or the failure that has one.

mod attach;
mod config;
mod daemon;
mod doctor;
mod export;
mod journal;
mod kill;
mod logs;
mod look;
mod manual;
mod owner;
mod recover;
mod replay;
mod run;
mod send;
mod service;
mod sessions;
mod up;

use std::io;

use crate::failure::Failure;

pub(crate) use attach::attach;
pub(crate) use config::config;
pub(crate) use daemon::{restart, stop};
pub(crate) use doctor::doctor;
pub(crate) use export::export;
pub(crate) use journal::journal;
pub(crate) use kill::kill;
pub(crate) use logs::logs;
pub(crate) use look::{events, screen, wait};
pub(crate) use manual::{completions, manual};
pub(crate) use owner::{release, resize, signal};
pub(crate) use recover::recover;
pub(crate) use replay::replay;
pub(crate) use run::run;
pub(crate) use send::send;
pub(crate) use service::service;
pub(crate) use sessions::{inspect, ls, overview, rename, rm};
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
