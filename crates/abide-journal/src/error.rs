//! Errors of the journal. Each has a stable code and says what the caller does next.

use crate::position::{ByteOffset, Epoch, Lsn, Place, Position};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a call was refused. Cheap to clone: one failure of the store answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Another process has the store. Give up, or ask that process.
    #[error("{path}: locked by {}", pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What it says about its holder.
        pid: Option<u32>,
    },
    /// The store has another format or other sizes than this program or these options. Give up.
    #[error("{file}: {reason}")]
    Format {
        /// The file that says so.
        file: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Bytes that were proven durable cannot be read. Resume behind the range, if the log is named.
    #[error(transparent)]
    Corrupt(Arc<Corruption>),
    /// No room of the kind needed; nothing was written, no number used. Wait on [`space`](crate::Journal::space).
    #[error("no room in the store for this append")]
    Full,
    /// The queue is full. Try again when some appends have been answered.
    #[error("the queue of appends is full")]
    Busy,
    /// A write or sync failed earlier: this open writes nothing more. Open the store again.
    #[error("the store is poisoned: {0}")]
    Poisoned(Cause),
    /// Under way when the store was poisoned or the log dropped. Ask `outcome(position)` after the next open.
    #[error("the fate of the append is unknown")]
    Unknown {
        /// The number that it had been given.
        position: Option<Position>,
    },
    /// The store was closed by its owner. Give up.
    #[error("the store is closed")]
    Closed,
    /// A log of this name exists. Use it, or choose another name.
    #[error("a log of this name exists")]
    LogExists,
    /// No log has this name.
    #[error("no log has this name")]
    LogNotFound,
    /// The log was dropped.
    #[error("the log was dropped")]
    LogGone,
    /// Nothing is appended here: the log is quarantined until its damage is accepted, or the store was opened for reading
    /// only.
    #[error("opened for reading only, or quarantined")]
    ReadOnly,
    /// The end of the log is not where the append expected it. Drop the overlap and go on from here.
    #[error("the log goes on at record {next_lsn}, offset {next_offset}")]
    AppendConflict {
        /// LSN of the next record.
        next_lsn: Lsn,
        /// Its offset.
        next_offset: ByteOffset,
        /// Epoch of the next append.
        epoch: Epoch,
    },
    /// Below what is kept. Resume from the base.
    #[error("the log begins at record {}, offset {}", base.lsn, base.offset)]
    PositionTrimmed {
        /// First record kept.
        base: Place,
    },
    /// Beyond the end. Resume from the end.
    #[error("the log ends before record {}, offset {}", next.lsn, next.offset)]
    PositionAhead {
        /// Where the next record will lie.
        next: Place,
    },
    /// What the pin is to keep is no longer there. Resume from the base, or rebuild.
    #[error("the log begins at record {}, offset {}: nothing to pin before it", base.lsn, base.offset)]
    PinBelowBase {
        /// First record kept.
        base: Place,
    },
    /// The pin held back too much, or was not moved for too long, and what it kept was trimmed. Resume from the base, or
    /// rebuild.
    #[error("the pin was passed over: the log begins at record {}, offset {}", base.lsn, base.offset)]
    PinLost {
        /// First record kept.
        base: Place,
    },
    /// A record or unit that no store with these options takes. Make it smaller.
    #[error("{what} of {size} bytes, {max} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// One more than there may be.
    #[error("too many or too large: {what}, limit {max}")]
    LimitExceeded {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// A log name has 1 to 128 bytes of `A-Za-z0-9._@/-` and does not begin with `@`.
    #[error("{name:?} is no name for a log")]
    NameInvalid {
        /// The name asked for.
        name: String,
    },
    /// No checkpoint can lie there, or none does, or it cannot be removed.
    #[error("checkpoint at record {lsn}: {reason}")]
    CheckpointInvalid {
        /// The record asked for, 0 before the first.
        lsn: u64,
        /// Why not.
        reason: &'static str,
    },
}

/// Why a store was poisoned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    /// A call of the operating system failed.
    #[error("{action} {}: {source}", file.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: PathBuf,
        /// The answer.
        source: Arc<io::Error>,
    },
    /// The lock file is no longer the one that this process holds: another process may have the store.
    #[error("the lock was taken away")]
    LockLost,
}

/// Where unreadable bytes lie, and what they held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, byte {position}: {reason}", file.display())]
pub struct Corruption {
    /// The damaged file.
    pub file: PathBuf,
    /// Byte in it.
    pub position: u64,
    /// What does not hold.
    pub reason: &'static str,
    /// The records that cannot be read, if one log's range is known.
    pub range: Option<DamagedRange>,
}

/// Records of one log that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRange {
    /// Name of the log.
    pub log: String,
    /// First record that cannot be read.
    pub from: Lsn,
    /// Last one.
    pub to: Lsn,
    /// First record behind it.
    pub behind: Place,
}

impl Error {
    /// The stable code, as in the registry of errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } | Self::Poisoned(Cause::LockLost) => "journal_locked",
            Self::Format { .. } => "journal_format",
            Self::Corrupt(_) => "journal_corrupt",
            Self::Full => "journal_full",
            Self::Busy => "journal_busy",
            Self::Poisoned(_) | Self::Closed => "journal_poisoned",
            Self::Unknown { .. } => "journal_unknown",
            Self::LogExists => "log_exists",
            Self::LogNotFound => "log_not_found",
            Self::LogGone => "log_gone",
            Self::ReadOnly => "log_read_only",
            Self::AppendConflict { .. } => "append_conflict",
            Self::PositionTrimmed { .. } => "position_trimmed",
            Self::PositionAhead { .. } => "position_ahead",
            Self::PinBelowBase { .. } => "pin_below_base",
            Self::PinLost { .. } => "pin_lost",
            Self::TooLarge { .. } => "too_large",
            Self::LimitExceeded { .. } | Self::NameInvalid { .. } => "limit_exceeded",
            Self::CheckpointInvalid { .. } => "checkpoint_invalid",
        }
    }

    pub(crate) fn disk(action: &'static str, file: impl Into<PathBuf>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::Full;
        }
        Self::Poisoned(Cause::Disk { action, file: file.into(), source: Arc::new(source) })
    }

    pub(crate) fn corrupt(file: impl Into<PathBuf>, position: u64, reason: &'static str) -> Self {
        Self::Corrupt(Arc::new(Corruption { file: file.into(), position, reason, range: None }))
    }
}
