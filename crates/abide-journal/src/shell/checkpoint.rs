//! Checkpoints are trusted only as far as they were verified.

use super::digest::Digests;
use super::read::Reader;
use super::scan::read_all;
use super::shared::locked;
use crate::error::Error;
use crate::format::{
    BLOCK_BYTES, CheckpointFileHeader, CheckpointPlace, Control, Kind, RecordHeader, SnapshotCheckpoint,
};
use bytes::Bytes;

impl Reader<'_> {
    /// The bytes of a checkpoint, verified.
    pub(crate) fn checkpoint(&self, lsn: u64) -> Result<Bytes, Error> {
        let none = Error::CheckpointInvalid { lsn, reason: "there is none" };
        let mut stored = *self.view.facts.checkpoints.get(&lsn).ok_or(none)?;
        loop {
            let read = match stored.place {
                CheckpointPlace::Inline { segment, position } => self.inline_checkpoint(&stored, segment, position),
                CheckpointPlace::File { digest } => self.checkpoint_file(&stored, digest),
            };
            // It may have been moved, or replaced, since this view was taken.
            let now = self.log.seen.get().ok_or(Error::LogGone)?.view.facts.checkpoints.get(&lsn).copied();
            match (read, now) {
                (Err(_), Some(now)) if now != stored => stored = now,
                (read, _) => {
                    self.note(&stored, read.is_ok());
                    return read;
                }
            }
        }
    }

    /// Whether a checkpoint holds. It is read at the first use in an open.
    pub(crate) fn trusts(&self, checkpoint: &SnapshotCheckpoint) -> bool {
        match self.known(checkpoint) {
            Some(known) => known,
            None => self.checkpoint(checkpoint.lsn).is_ok(),
        }
    }

    /// What is known of a checkpoint without reading it.
    pub(crate) fn known(&self, checkpoint: &SnapshotCheckpoint) -> Option<bool> {
        let verified = locked(&self.log.verified);
        verified.get(&checkpoint.lsn).filter(|(known, _)| known == checkpoint).map(|(_, holds)| *holds)
    }

    fn note(&self, checkpoint: &SnapshotCheckpoint, holds: bool) {
        let mut verified = locked(&self.log.verified);
        verified.insert(checkpoint.lsn, (*checkpoint, holds));
        if verified.len() > 2 * self.view.facts.checkpoints.len() + 8 {
            verified.retain(|lsn, _| self.view.facts.checkpoints.contains_key(lsn));
        }
    }

    fn checkpoint_file(&self, checkpoint: &SnapshotCheckpoint, digest: [u8; 32]) -> Result<Bytes, Error> {
        let invalid = |reason| Error::CheckpointInvalid { lsn: checkpoint.lsn, reason };
        let path = self.shared.paths.checkpoint(self.log.id, checkpoint.lsn);
        let file = self.shared.disk.open(&path).map_err(|_| invalid("its file cannot be opened"))?;
        let bytes = Bytes::from(read_all(file.as_ref()).map_err(|_| invalid("its file cannot be read"))?);
        let header = CheckpointFileHeader::decode(&bytes).map_err(|_| invalid("it does not verify"))?;
        let SnapshotCheckpoint { lsn, offset, epoch, .. } = *checkpoint;
        let block = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        let start = usize::try_from(header.chunks).ok().and_then(|chunks| chunks.checked_mul(32)?.checked_add(block));
        let start = start.filter(|start| *start <= bytes.len()).ok_or(invalid("it does not verify"))?;
        let content = bytes.slice(start..);
        let digests = Digests::of(&content, header.chunk_bytes);
        let expected = CheckpointFileHeader {
            store_id: self.shared.store_id,
            uid: self.log.uid,
            lsn,
            offset,
            epoch,
            bytes: checkpoint.bytes,
            digest,
            ..header
        };
        let holds = header == expected
            && content.len() as u64 == header.bytes
            && bytes[block..start] == digests.chunks[..]
            && digests.whole == digest;
        if holds { Ok(content) } else { Err(invalid("it does not verify")) }
    }

    fn inline_checkpoint(&self, checkpoint: &SnapshotCheckpoint, segment: u64, position: u64) -> Result<Bytes, Error> {
        let invalid = |reason| Error::CheckpointInvalid { lsn: checkpoint.lsn, reason };
        let file = self.shared.segment(segment).map_err(|_| invalid("its segment cannot be opened"))?.file;
        let payload = Control::INLINE_HEAD_BYTES + usize::try_from(checkpoint.bytes).unwrap_or(0);
        let mut bytes = vec![0; RecordHeader::BYTES + payload];
        match file.read_at(position, &mut bytes) {
            Ok(count) if count == bytes.len() => {}
            _ => return Err(invalid("its segment cannot be read")),
        }
        let mut head = Bytes::from(bytes);
        let payload = head.split_off(RecordHeader::BYTES);
        let header = RecordHeader::decode(&head).map_err(|_| invalid("it does not verify"))?;
        let whole = header.kind == Kind::CheckpointInline
            && header.log == self.log.id
            && header.verifies(self.log.uid, &payload);
        match Control::decode(header.kind, &payload) {
            Ok(Control::CheckpointInline { lsn, offset, epoch, .. })
                if whole && (lsn, offset, epoch) == (checkpoint.lsn, checkpoint.offset, checkpoint.epoch) =>
            {
                Ok(payload.slice(Control::INLINE_HEAD_BYTES..))
            }
            _ => Err(invalid("it does not verify")),
        }
    }
}
