//! What callers append, and what readers get back.

use crate::position::{ByteOffset, Epoch, Lsn, Position};
use bytes::Bytes;

/// One record to be appended. The payload is shared, not copied, on its way to the disk and to readers at the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Free for the caller; the journal stores it and returns it.
    pub tag: u8,
    /// What the record holds.
    pub content: Content,
}

/// The three kinds of records that use an LSN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes of the stream: advances the offset by their number.
    Data(Bytes),
    /// A fact that has a place in the stream but no length in it.
    Mark(Bytes),
    /// That many bytes (at least 1) are known to be lost for ever, so that later ones keep their true offsets.
    Gap(u64),
}

impl Content {
    /// By how much a record of this content advances the offset.
    pub fn advance(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Mark(_) => 0,
            Self::Gap(length) => *length,
        }
    }

    /// Bytes that the payload takes on disk, and counts against limits.
    pub(crate) fn payload_len(&self) -> usize {
        match self {
            Self::Data(bytes) | Self::Mark(bytes) => bytes.len(),
            Self::Gap(_) => 8,
        }
    }
}

impl Entry {
    /// Output, commits: advances the offset by the length of `bytes`.
    pub fn data(tag: u8, bytes: impl Into<Bytes>) -> Self {
        Self { tag, content: Content::Data(bytes.into()) }
    }

    /// A fact with a place in the stream: leaves the offset where it is.
    pub fn mark(tag: u8, bytes: impl Into<Bytes>) -> Self {
        Self { tag, content: Content::Mark(bytes.into()) }
    }

    /// `length` bytes that the writer knows to be lost for ever. 0 is refused as `too_large`.
    pub fn gap(length: u64) -> Self {
        Self { tag: 0, content: Content::Gap(length) }
    }
}

/// When an append is acknowledged. Ordered: each level includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The bytes are in the page cache: survives the death of any process.
    Os = 1,
    /// The same, and synced within `sync_interval_ms`.
    #[default]
    Interval = 2,
    /// The sync of its group commit returned: survives power loss.
    Always = 3,
    /// The replication mode's rule holds. In a log without replicas the same as `Always`.
    Committed = 4,
}

/// What a reader wants to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything written; a power loss may still take it back.
    #[default]
    Written,
    /// Everything synced here.
    Durable,
    /// Everything that the replication mode calls safe. In a log without replicas the same as `Durable`.
    Committed,
}

/// Where a returning writer believes the end of the log to be. Checked when the number is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The LSN that the entry must get.
    Lsn(Lsn),
    /// The offset that the entry must get.
    Offset(ByteOffset),
}

/// How an append is to be carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// Asks for more than the log's default level; less is raised to the default.
    pub durability: Option<Durability>,
    /// Refuses the append with `append_conflict` if the end of the log (of a unit: of its first entry's log) lies
    /// elsewhere.
    pub expect: Option<Expect>,
}

impl AppendOptions {
    /// At this level, wherever the end is.
    pub fn at(durability: Durability) -> Self {
        Self { durability: Some(durability), expect: None }
    }

    /// Only if the end of the log is here.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = Some(expect);
        self
    }
}

/// Where an acknowledged entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its name for ever.
    pub position: Position,
    /// Its offset.
    pub offset: ByteOffset,
    /// The offset behind it.
    pub end_offset: ByteOffset,
}

/// A record, or in the byte view a piece of one: a piece that begins inside its record has a greater `offset` and less
/// `content` than the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's name.
    pub position: Position,
    /// Offset of the first byte of `content`.
    pub offset: ByteOffset,
    /// Wall clock at the append in µs since 1970, never below that of the record before it in its log.
    pub time_us: u64,
    /// The caller's tag.
    pub tag: u8,
    /// What it holds.
    pub content: Content,
}

impl Record {
    /// The offset behind this record or piece.
    pub fn end_offset(&self) -> ByteOffset {
        ByteOffset(self.offset.0 + self.content.advance())
    }

    /// Its number.
    pub fn lsn(&self) -> Lsn {
        self.position.lsn
    }

    /// The reign in which it was appended.
    pub fn epoch(&self) -> Epoch {
        self.position.epoch
    }
}
