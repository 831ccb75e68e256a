//! What is measured of each system, and how each is set up: what its users would give it for this work.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{fjall, journal, raft, raw};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// 4 KiB overwritten in a file of zeros, and fdatasync, in a loop: the physical limit of one writer
    Raw,
    Abide,
    RaftEngine,
    Fjall,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Abide => "abide",
            Self::RaftEngine => "raft-engine",
            Self::Fjall => "fjall",
        }
    }
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Appends: whatever can be made ready before is made ready, and is not measured.
    Append,
    /// Opening it, and reading: nothing is made ready.
    Read,
}

/// An open store. Logs are numbered from 0.
pub(crate) trait Store: Sync {
    /// A writer for one thread, which alone appends to its logs.
    fn writer(&self) -> Box<dyn Writer + '_>;
    /// Reads a log from end to end: records and bytes.
    fn scan(&self, log: u64) -> anyhow::Result<(u64, u64)>;
    /// Ends in order.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}

pub(crate) trait Writer {
    /// Appends one record and returns when it is written, or with `sync` when it is on the disk. The record copies
    /// `payload`; a system that wants its own numbers in it may overwrite the first 8 bytes.
    fn append(&mut self, log: u64, payload: &[u8], sync: bool) -> anyhow::Result<()>;
}

pub(crate) fn open(system: System, dir: &Path, logs: u64, purpose: Use) -> anyhow::Result<Box<dyn Store>> {
    Ok(match system {
        System::Raw => Box::new(raw::Overwritten::open(dir)?),
        System::Abide => Box::new(journal::Opened::open(dir, logs)?),
        System::RaftEngine => Box::new(raft::Opened::open(dir, logs, purpose)?),
        System::Fjall => Box::new(fjall::Opened::open(dir, logs)?),
    })
}
