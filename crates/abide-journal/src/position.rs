//! The numbers by which records are found: one newtype each, so that they cannot be mixed up.

use std::fmt;
use std::num::NonZeroU64;

/// Number of a record in its log, dense from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(NonZeroU64);

impl Lsn {
    /// The first record of every log.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// `None` for 0, which on disk and wire means "no record".
    pub fn new(lsn: u64) -> Option<Self> {
        NonZeroU64::new(lsn).map(Self)
    }

    /// The number itself, at least 1.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The number that the next record gets.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The record before this one, if this is not the first.
    pub fn previous(self) -> Option<Self> {
        Self::new(self.get() - 1)
    }

    /// For counters that are kept as plain integers and start at 1.
    pub(crate) fn at_least_first(lsn: u64) -> Self {
        Self::new(lsn).unwrap_or(Self::FIRST)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One reign of one writer incarnation over a log. Epochs of a log rise. 0 stands for the time before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sum of the lengths of all data and gap records before a place in a log, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteOffset(pub u64);

impl fmt::Display for ByteOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one record for ever: two copies of a log that share a position share everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The reign in which the record was appended.
    pub epoch: Epoch,
    /// Its number.
    pub lsn: Lsn,
}

/// Where a reader of the byte view goes on. Several records can lie at one offset (marks): with `lsn` reading begins at
/// that record, without it at the first record at that offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Offset of the next byte.
    pub offset: ByteOffset,
    /// The record that holds it, or stands at it.
    pub lsn: Option<Lsn>,
}

impl Cursor {
    /// The first record at an offset.
    pub fn at(offset: u64) -> Self {
        Self { offset: ByteOffset(offset), lsn: None }
    }
}

/// A place between two records: the LSN and the offset of the record that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// LSN of the record at this place.
    pub lsn: Lsn,
    /// Its offset.
    pub offset: ByteOffset,
}

impl Place {
    /// The start of every log.
    pub const START: Self = Self { lsn: Lsn::FIRST, offset: ByteOffset(0) };

    /// This place as a full cursor.
    pub fn cursor(self) -> Cursor {
        Cursor { offset: self.offset, lsn: Some(self.lsn) }
    }

    /// The last record before this place.
    pub fn last(self) -> Option<Lsn> {
        self.lsn.previous()
    }
}

/// Identity of a log, equal on all nodes that hold a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogUid(pub [u8; 16]);

impl fmt::Display for LogUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Local number of a log in its store, never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

/// Number of opens of a store, durable before the first append of that open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);
