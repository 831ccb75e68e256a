use super::codec::{Malformed, Put, Take};
use super::crc;
use crate::position::LogId;

/// What a batch is beside its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchFlags(pub u32);

impl BatchFlags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// The store was closed in order; everything before this batch is durable.
    pub const CLEAN: Self = Self(1);
    /// Written only to prove what stands before it.
    pub const PROOF: Self = Self(2);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Head of one group commit.
///
/// | at | field | at | field | at | field |
/// | --- | --- | --- | --- | --- | --- |
/// | 0 | magic `ABJB` | 24 | synced u64 | 44 | flags u32 |
/// | 4 | body_crc u32 | 32 | body_len u32 | 48 | incarnation u32, low bits |
/// | 8 | batch u64 | 36 | records u32 | 52 | header_crc u32 of 0..52 |
/// | 16 | segment u64 | 40 | echoes u32 | | |
///
/// Both checksums continue the segment's salt. The body, echoes and then records, follows at once. A batch begins at
/// the end of the one before it, or at the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Checksum of the body.
    pub body_crc: u32,
    /// Dense in the store.
    pub batch: u64,
    /// The segment in which it lies.
    pub segment: u64,
    /// Batches up to this one were durable when this was written.
    pub synced: u64,
    /// Bytes of the body, a multiple of 8.
    pub body_len: u32,
    /// Number of records in it.
    pub records: u32,
    /// Number of echoes in it.
    pub echoes: u32,
    /// What it is beside its records.
    pub flags: BatchFlags,
    /// Low bits of the incarnation that wrote it.
    pub incarnation: u32,
}

impl BatchHeader {
    /// Length of a header.
    pub const BYTES: usize = 56;
    const MAGIC: &[u8; 4] = b"ABJB";

    /// The header as it lies in a segment with this salt.
    pub fn encode(&self, salt: u32) -> [u8; Self::BYTES] {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.put(Self::MAGIC);
        out.put_u32(self.body_crc);
        out.put_u64(self.batch);
        out.put_u64(self.segment);
        out.put_u64(self.synced);
        out.put_u32(self.body_len);
        out.put_u32(self.records);
        out.put_u32(self.echoes);
        out.put_u32(self.flags.0);
        out.put_u32(self.incarnation);
        let crc = crc::append(salt, &out);
        out.put_u32(crc);
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads a header and checks it, not its body.
    pub fn decode(bytes: &[u8], salt: u32) -> Result<Self, Malformed> {
        let header = Self::decode_unverified(bytes).ok_or(Malformed("no batch begins here"))?;
        let stored =
            bytes.get(52..).and_then(|rest| rest.first_chunk()).ok_or(Malformed("a batch header is cut off"))?;
        if u32::from_le_bytes(*stored) != crc::append(salt, &bytes[..52]) {
            return Err(Malformed("the batch header's checksum does not hold"));
        }
        Ok(header)
    }

    /// What stands where a header begins, whether its checksum holds or not.
    pub(crate) fn decode_unverified(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::BYTES).filter(|bytes| bytes.starts_with(Self::MAGIC))?;
        let mut take = Take(&bytes[Self::MAGIC.len()..]);
        Some(Self {
            body_crc: take.u32().ok()?,
            batch: take.u64().ok()?,
            segment: take.u64().ok()?,
            synced: take.u64().ok()?,
            body_len: take.u32().ok()?,
            records: take.u32().ok()?,
            echoes: take.u32().ok()?,
            flags: BatchFlags(take.u32().ok()?),
            incarnation: take.u32().ok()?,
        })
    }

    /// Whether `body` is the one that this header was written for.
    pub fn covers(&self, body: &[u8], salt: u32) -> bool {
        body.len() == self.body_len as usize && crc::append(salt, body) == self.body_crc
    }
}

/// What the batch before held of one log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EchoFlags(pub u64);

impl EchoFlags {
    /// It held control records other than inline checkpoints.
    pub const CONTROL: Self = Self(1);
    /// It held only moved records.
    pub const MOVED: Self = Self(2);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One log touched by the *previous* batch, 32 bytes: log u64 · last_lsn u64 · end_offset u64 · flags u64. If one batch
/// is unreadable, the next one says which logs it held and how far they went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// The log.
    pub log: LogId,
    /// Its last record after that batch, 0: none.
    pub last_lsn: u64,
    /// Its end after that batch.
    pub end_offset: u64,
    /// What the batch held of it.
    pub flags: EchoFlags,
}

impl Echo {
    /// Length of an echo.
    pub const BYTES: usize = 32;

    /// Appends the echo to a body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.log.0);
        out.put_u64(self.last_lsn);
        out.put_u64(self.end_offset);
        out.put_u64(self.flags.0);
    }

    /// Reads an echo.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        Ok(Self {
            log: LogId(take.u64()?),
            last_lsn: take.u64()?,
            end_offset: take.u64()?,
            flags: EchoFlags(take.u64()?),
        })
    }
}
