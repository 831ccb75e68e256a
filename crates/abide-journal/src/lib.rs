//! Many append-only logs in one store: group commit, positions, checkpoints, and recovery from any crash.

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
    At, Checkpoint, Follower, From, Journal, Log, LogInfo, Outcome, PositionAnswer, PositionQuery, ReadLimit, ReadOut,
    RecoveryReport, SpaceWatch, Tail, TailWatch, Ticket,
};
