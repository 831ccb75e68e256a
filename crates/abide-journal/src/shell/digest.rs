//! Digests of checkpoint files.

use crate::core::NewFile;
use crate::format::CheckpointFileHeader;
use sha2::{Digest, Sha256};

/// The digest of each chunk, and of the whole.
pub(crate) struct Digests {
    /// One behind the other.
    pub(crate) chunks: Vec<u8>,
    pub(crate) whole: [u8; 32],
    chunk_bytes: u64,
}

impl Digests {
    pub(crate) fn of(bytes: &[u8], chunk_bytes: u64) -> Self {
        let chunk = usize::try_from(chunk_bytes.max(1)).unwrap_or(usize::MAX);
        let chunks: Vec<u8> = bytes.chunks(chunk).flat_map(|chunk| <[u8; 32]>::from(Sha256::digest(chunk))).collect();
        let whole = Sha256::new().chain_update(&chunks).chain_update((bytes.len() as u64).to_le_bytes()).finalize();
        Self { chunks, whole: whole.into(), chunk_bytes }
    }

    pub(crate) fn header(&self, store_id: [u8; 16], new: &NewFile) -> CheckpointFileHeader {
        CheckpointFileHeader {
            store_id,
            uid: new.uid,
            lsn: new.lsn,
            offset: new.offset,
            epoch: new.epoch,
            bytes: new.bytes.len() as u64,
            chunk_bytes: self.chunk_bytes,
            chunks: self.chunks.len() as u64 / 32,
            digest: self.whole,
        }
    }
}
