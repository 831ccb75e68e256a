//! What every promise needs: a place of its own, the processes in it, windows, clients, and bare connections.

mod client;
mod lines;
mod place;
mod process;
mod window;
mod wire;

use std::time::Duration;

pub(crate) use client::{BEGINNING, inspect};
pub(crate) use lines::{Lines, Numbers};
pub(crate) use place::{ABIDE, Place};
pub(crate) use process::{arguments, ends_within, is_alive, kill, parent, signal, wait_in};
pub(crate) use wire::{Peer, hello};

/// How long anything here may take that takes no time to speak of.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// `nightly` in nightly runs, `daily` in all others.
pub(crate) fn size(daily: usize, nightly: usize) -> usize {
    if std::env::var_os("ABIDE_NIGHTLY").is_some_and(|value| value == "1") { nightly } else { daily }
}
