use super::codec::{Malformed, Take};
use super::crc;
use crate::position::{LogId, LogUid};
use bytes::Bytes;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each kind is described where its payload is: on Content and Control")]
pub enum Kind {
    Data = 1,
    Mark = 2,
    Gap = 3,
    LogCreated = 16,
    EpochStart = 17,
    Truncated = 18,
    Trimmed = 19,
    Meta = 20,
    CheckpointAdded = 21,
    CheckpointRemoved = 22,
    Dropped = 23,
    Replaced = 24,
    Damage = 25,
    CheckpointInline = 26,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Data,
        Self::Mark,
        Self::Gap,
        Self::LogCreated,
        Self::EpochStart,
        Self::Truncated,
        Self::Trimmed,
        Self::Meta,
        Self::CheckpointAdded,
        Self::CheckpointRemoved,
        Self::Dropped,
        Self::Replaced,
        Self::Damage,
        Self::CheckpointInline,
    ];

    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte).ok_or(Malformed("unknown kind of record"))
    }

    /// Whether records of this kind have an LSN. The others are facts about the log.
    pub fn has_lsn(self) -> bool {
        matches!(self, Self::Data | Self::Mark | Self::Gap)
    }
}

/// Whether a record lies where it was first written. Replay takes a moved one only if its original is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// As appended.
    First = 0,
    /// Appended again by compaction or repair.
    Moved = 1,
}

/// Head of a record: `0 log u64 · 8 crc u32 · 12 payload_len u32 · 16 epoch u64 · 24 lsn u64 · 32 offset u64 ·
/// 40 time_us u64 · 48 kind u8 · 49 tag u8 · 50 placement u8 · 51 zero [5] · 56 payload`, padded to 8.
///
/// The checksum covers the log's uid, bytes 12..50 and the payload: not log id and placement, so that what it covers is
/// the same on every node, and a flipped log id cannot pass one log's record off as another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// The log, by its local id.
    pub log: LogId,
    /// Checksum of uid, bytes 12..50 and payload.
    pub crc: u32,
    /// Length of the payload.
    pub payload_len: u32,
    /// The reign of the writer; of a control record that of the log at that time.
    pub epoch: u64,
    /// Number of the record, 0 for control records.
    pub lsn: u64,
    /// Its offset; of a control record the end of the log.
    pub offset: u64,
    /// Wall clock in µs.
    pub time_us: u64,
    /// What it is.
    pub kind: Kind,
    /// The caller's tag.
    pub tag: u8,
    /// Whether it lies where it was first written.
    pub placement: Placement,
}

/// A payload with its checksum.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub(crate) bytes: Bytes,
    pub(crate) crc: u32,
}

impl Sealed {
    /// Reads the payload once, for all checksums that it will lie in.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let crc = crc::of(&bytes);
        Self { bytes, crc }
    }
}

/// Length of a payload with its padding.
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

impl RecordHeader {
    /// Length of a header.
    pub const BYTES: usize = 56;

    /// Bytes that a record with this payload takes.
    pub fn record_bytes(payload_len: usize) -> usize {
        Self::BYTES + padded(payload_len)
    }

    /// The header as it stands before its payload; `crc` is taken as it is.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        // One for each record written: no buffer is allocated for it.
        let mut bytes = [0; Self::BYTES];
        bytes[0..8].copy_from_slice(&self.log.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.lsn.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[48..51].copy_from_slice(&[self.kind as u8, self.tag, self.placement as u8]);
        bytes
    }

    /// The header with the checksum for a payload whose own checksum is `payload_crc`.
    #[must_use]
    pub fn sealed(mut self, uid: LogUid, payload_crc: u32) -> Self {
        self.crc = crc::combine(self.head_crc(uid), payload_crc, self.payload_len as usize);
        self
    }

    /// Whether this header and this payload belong together, and to the log with this uid.
    pub fn verifies(&self, uid: LogUid, payload: &[u8]) -> bool {
        payload.len() == self.payload_len as usize && crc::append(self.head_crc(uid), payload) == self.crc
    }

    /// Checksum of what is covered before the payload.
    fn head_crc(&self, uid: LogUid) -> u32 {
        let mut covered = [0; 16 + 38];
        covered[..16].copy_from_slice(&uid.0);
        covered[16..].copy_from_slice(&self.encode()[12..50]);
        crc::of(&covered)
    }

    /// Reads a header. It is not verified: that takes the payload.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        let header = Self {
            log: LogId(take.u64()?),
            crc: take.u32()?,
            payload_len: take.u32()?,
            epoch: take.u64()?,
            lsn: take.u64()?,
            offset: take.u64()?,
            time_us: take.u64()?,
            kind: Kind::from_byte(take.u8()?)?,
            tag: take.u8()?,
            placement: match take.u8()? {
                0 => Placement::First,
                1 => Placement::Moved,
                _ => return Err(Malformed("unknown placement of a record")),
            },
        };
        if take.array::<5>()? != [0; 5] {
            return Err(Malformed("the reserved bytes of a record are not zero"));
        }
        Ok(header)
    }
}
