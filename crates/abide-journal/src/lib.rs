//! Many append-only logs in one store: group commit, positions, checkpoints, and recovery from any crash.
//!
//! It is for whoever must not lose what it has acknowledged and wants to be read from any place: output of terminals,
//! commits of documents, events. It is no database: there are no keys, and nothing is changed in place.
//!
//! What holds here:
//! - `core` names no file, thread, clock or runtime: events go in, effects come out.
//! - No acknowledgement is sent but from the completion of the write or sync that it stands for.
//! - No byte is returned that was not verified; no number is used twice.
//! - No call of a reader waits for a writer, and nothing is queued for readers.
//! - Nothing wakes up in an idle store.
//!
//! ```text
//!  handles ──► inbox ──► writer thread ─────────────► segments/   one stream for all logs
//!     ▲                   │ core: queue, numbers,  ▲
//!     │ answers           │ epochs, index          │ Written, Synced
//!     └───────────────────┤                        │
//!                         ├──► sync thread, upkeep thread
//!                         ▼ published views, shared tail
//!                      readers, followers
//! ```
//!
//! The format is described in [`format`](mod@format), the whole in `docs/journal.md`.
//!
//! ```
//! use abide_journal::{AppendOptions, Durability, Entry, FileDisk, Journal, Level, LogOptions, Options, SystemClock};
//! use abide_journal::{Cursor, From};
//! use std::sync::Arc;
//!
//! # let dir = std::env::temp_dir().join(format!("abide-journal-doc-{}", std::process::id()));
//! let (journal, report) = Journal::open(Arc::new(FileDisk), Arc::new(SystemClock), Options::new(&dir))?;
//! assert_eq!(report.logs, 0);
//! let log = journal.create_log("terminal/1", LogOptions::default()).wait()?;
//! let appended = log.append(Entry::data(0, "hello"), AppendOptions::at(Durability::Always)).wait()?;
//! assert_eq!(appended.end_offset.0, 5);
//! let mut follower = log.follow(From::Cursor(Cursor::at(1)), Level::Durable)?;
//! assert_eq!(follower.try_next()?.map(|piece| piece.end_offset().0 - piece.offset.0), Some(4));
//! journal.close().wait()?;
//! # std::fs::remove_dir_all(&dir).ok();
//! # Ok::<(), abide_journal::Error>(())
//! ```

pub mod core;
mod disk;
mod entry;
mod error;
mod file_disk;
pub mod format;
mod options;
mod position;
mod shell;

pub use crate::core::{Space, SpaceState};
pub use disk::{Clock, Disk, DiskSpace, File, Lock};
pub use entry::{AppendOptions, Appended, Content, Durability, Entry, Expect, Level, Record};
pub use error::{Cause, Corruption, DamagedRange, Error};
pub use file_disk::{FileDisk, SystemClock};
pub use options::{Entropy, LogOptions, OnDamage, Options, Retention};
pub use position::{ByteOffset, Cursor, Epoch, Incarnation, LogId, LogUid, Lsn, Place, Position};
pub use shell::{
    At, Checkpoint, Follower, FoundDamage, From, Journal, Log, LogInfo, Outcome, Pin, PinStatus, PositionAnswer,
    PositionQuery, ReadLimit, ReadOut, RecoveryReport, Scrub, ScrubStep, SpaceWatch, Tail, TailWatch, Ticket,
};
