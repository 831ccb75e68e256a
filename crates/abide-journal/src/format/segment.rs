use super::codec::{Malformed, Put, Take};
use super::{BLOCK_BYTES, FORMAT, crc};
use crate::position::Incarnation;

/// First block of a segment. It is written only after everything before it was synced, so it proves all that.
///
/// | at | field | at | field | at | field |
/// | --- | --- | --- | --- | --- | --- |
/// | 0 | magic `ABJSEG01` | 32 | segment u64 | 64 | prev_segment u64 |
/// | 8 | format u32 = 1 | 40 | segment_bytes u64 | 72 | prev_end u64 |
/// | 12 | block_bytes u32 = 4,096 | 48 | first_batch u64 | 80 | salt u32 |
/// | 16 | store_id `[16]` | 56 | incarnation u64 | 84 | crc of 0..84 |
///
/// Zeros follow up to byte 4,096, where batches begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store that it belongs to.
    pub store_id: [u8; 16],
    /// Number of the segment, dense from 1.
    pub segment: u64,
    /// Length of every segment of the store.
    pub segment_bytes: u64,
    /// Number of the first batch in it.
    pub first_batch: u64,
    /// The open of the store that wrote it.
    pub incarnation: Incarnation,
    /// The segment before it in the chain, 0: it is the first. Segments numbered between the two are ignored.
    pub prev_segment: u64,
    /// Bytes of `prev_segment` that count.
    pub prev_end: u64,
    /// Random; all batches of the segment are checked with it, so old bytes of a reused file never count.
    pub salt: u32,
}

impl SegmentHeader {
    /// Bytes that carry something; the rest of the block is zero.
    pub const BYTES: usize = 88;
    const MAGIC: &[u8; 8] = b"ABJSEG01";

    /// The first 88 bytes of the block.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.put(Self::MAGIC);
        out.put_u32(FORMAT);
        out.put_u32(u32::try_from(BLOCK_BYTES).unwrap_or(0));
        out.put(&self.store_id);
        out.put_u64(self.segment);
        out.put_u64(self.segment_bytes);
        out.put_u64(self.first_batch);
        out.put_u64(self.incarnation.0);
        out.put_u64(self.prev_segment);
        out.put_u64(self.prev_end);
        out.put_u32(self.salt);
        let crc = crc::of(&out);
        out.put_u32(crc);
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads a header; anything that this format does not write is an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes.get(..Self::BYTES).ok_or(Malformed("the segment header is cut off"))?);
        let stored = u32::from_le_bytes(*bytes[84..].first_chunk().ok_or(Malformed("cut off"))?);
        if take.array::<8>()? != *Self::MAGIC {
            return Err(Malformed("not a segment"));
        }
        if crc::of(&bytes[..84]) != stored {
            return Err(Malformed("the segment header's checksum does not hold"));
        }
        if take.u32()? != FORMAT {
            return Err(Malformed("unknown format of a segment"));
        }
        if u64::from(take.u32()?) != BLOCK_BYTES {
            return Err(Malformed("unknown block size of a segment"));
        }
        Ok(Self {
            store_id: take.array()?,
            segment: take.u64()?,
            segment_bytes: take.u64()?,
            first_batch: take.u64()?,
            incarnation: Incarnation(take.u64()?),
            prev_segment: take.u64()?,
            prev_end: take.u64()?,
            salt: take.u32()?,
        })
    }
}
