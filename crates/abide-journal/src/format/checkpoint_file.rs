use super::codec::{Malformed, Put, Take};
use super::{BLOCK_BYTES, crc};
use crate::position::LogUid;

/// Block 0 of a checkpoint file: magic `ABJCKP01`, store_id `[16]`, uid `[16]`, lsn, offset, epoch, bytes, chunk_bytes,
/// chunks u64, digest `[32]`, crc u32, zeros. The SHA-256 of each chunk follows, then the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointFileHeader {
    /// The store that wrote it.
    pub store_id: [u8; 16],
    /// The log.
    pub uid: LogUid,
    /// It stands for all records up to this one.
    pub lsn: u64,
    /// Offset behind them.
    pub offset: u64,
    /// Epoch of that record.
    pub epoch: u64,
    /// Length of the checkpoint.
    pub bytes: u64,
    /// Length of all chunks but the last.
    pub chunk_bytes: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// SHA-256 of (the SHA-256 of each chunk, in order, then `bytes` as u64).
    pub digest: [u8; 32],
}

impl CheckpointFileHeader {
    const MAGIC: &[u8; 8] = b"ABJCKP01";
    const BYTES: usize = 8 + 16 + 16 + 6 * 8 + 32;

    /// The whole block.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(Self::MAGIC);
        out.put(&self.store_id);
        out.put(&self.uid.0);
        for field in [self.lsn, self.offset, self.epoch, self.bytes, self.chunk_bytes, self.chunks] {
            out.put_u64(field);
        }
        out.put(&self.digest);
        let crc = crc::of(&out);
        out.put_u32(crc);
        out.resize(usize::try_from(BLOCK_BYTES).unwrap_or(0), 0);
        out
    }

    /// Reads the block.
    pub fn decode(block: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(block);
        if take.array::<8>()? != *Self::MAGIC {
            return Err(Malformed("not a checkpoint"));
        }
        let header = Self {
            store_id: take.array()?,
            uid: LogUid(take.array()?),
            lsn: take.u64()?,
            offset: take.u64()?,
            epoch: take.u64()?,
            bytes: take.u64()?,
            chunk_bytes: take.u64()?,
            chunks: take.u64()?,
            digest: take.array()?,
        };
        if take.u32()? != crc::of(&block[..Self::BYTES]) {
            return Err(Malformed("the checkpoint header's checksum does not hold"));
        }
        Ok(header)
    }
}
