//! Checkpoints: in the stream or as files, and which one goes when one more comes.

use super::batch::Draft;
use super::number::live;
use super::store::{Done, Effect, NewFile, Now, Phase, Request, Store, TicketId};
use crate::entry::Durability;
use crate::error::Error;
use crate::format::{CheckpointPlace, Control, SnapshotCheckpoint};
use crate::position::LogId;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Of all but the base's and the newest two the one whose two neighbours are closest in offset.
fn to_thin_out(checkpoints: &BTreeMap<u64, SnapshotCheckpoint>, base: u64) -> Option<u64> {
    let all: Vec<&SnapshotCheckpoint> = checkpoints.values().collect();
    // The newest two of those that will be there are the newcomer and the last one here.
    let last = all.len().checked_sub(1)?;
    (0..last)
        .filter(|&index| all[index].lsn + 1 != base)
        .min_by_key(|&index| {
            let before = index.checked_sub(1).map_or(0, |before| all[before].offset);
            all[index + 1].offset.saturating_sub(before)
        })
        .map(|index| all[index].lsn)
}

impl SnapshotCheckpoint {
    /// What it takes in the stream: payload + 56.
    pub(crate) fn cost(&self) -> u64 {
        self.bytes + Control::INLINE_HEAD_BYTES as u64 + 56
    }
}

impl Store {
    /// Whether a checkpoint can lie there now.
    fn check_place(&self, id: LogId, lsn: u64) -> Result<(), Error> {
        let log = live(&self.logs, id)?;
        let base = log.coming_base().lsn;
        if lsn + 1 < base.get() || lsn >= log.written.lsn.get() {
            return Err(Error::CheckpointInvalid { lsn, reason: "not between base and head" });
        }
        Ok(())
    }

    /// One too large for the stream is written as a file first, off the way of the others.
    pub(super) fn submit_file(
        &mut self,
        ticket: TicketId,
        id: LogId,
        lsn: u64,
        offset: u64,
        bytes: Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        self.check_place(id, lsn)?;
        let log = live(&self.logs, id)?;
        let is_file = |c: &SnapshotCheckpoint| matches!(c.place, CheckpointPlace::File { .. });
        // Its file could not be replaced together with its record.
        if log.facts.checkpoints.get(&lsn).is_some_and(is_file) || self.files.contains_key(&(id, lsn)) {
            return Err(Error::CheckpointInvalid { lsn, reason: "there is one already" });
        }
        let epoch = log.facts.epochs.owner(lsn).unwrap_or(0);
        self.files.insert((id, lsn), ticket);
        let uid = log.facts.uid;
        out.push(Effect::WriteCheckpoint(NewFile { log: id, uid, lsn, offset, epoch, bytes }));
        Ok(())
    }

    pub(super) fn file_written(
        &mut self,
        log: LogId,
        lsn: u64,
        written: Result<SnapshotCheckpoint, Error>,
        out: &mut Vec<Effect>,
    ) {
        let Some(ticket) = self.files.get(&(log, lsn)).copied() else { return };
        match written {
            Ok(checkpoint) if matches!(self.phase, Phase::Ready | Phase::Closing { .. }) => {
                self.queue.push_back((ticket, Request::AddFile { log, checkpoint }));
            }
            Ok(_) => {}
            Err(error) => {
                self.files.remove(&(log, lsn));
                out.push(Effect::Reply { ticket, result: Err(error) });
            }
        }
    }

    pub(super) fn number_file(
        &mut self,
        id: LogId,
        checkpoint: SnapshotCheckpoint,
        now: Now,
        draft: &mut Draft,
    ) -> Result<(Done, Durability), Error> {
        self.files.remove(&(id, checkpoint.lsn));
        let SnapshotCheckpoint { lsn, offset, epoch, bytes, place } = checkpoint;
        let CheckpointPlace::File { digest } = place else {
            return Err(Error::CheckpointInvalid { lsn, reason: "it is no file" });
        };
        let thinned = self.check_place(id, lsn).and_then(|()| self.make_place(id, lsn, now, draft));
        if let Err(error) = thinned {
            self.unlinked.push((id, lsn));
            return Err(error);
        }
        draft.control(id, live(&self.logs, id)?, now, Control::CheckpointAdded { lsn, offset, epoch, bytes, digest });
        Ok((Done::Checkpoint(checkpoint), Durability::Always))
    }

    pub(super) fn number_inline(
        &mut self,
        id: LogId,
        lsn: u64,
        offset: u64,
        bytes: Bytes,
        now: Now,
        draft: &mut Draft,
    ) -> Result<(Done, Durability), Error> {
        self.check_place(id, lsn)?;
        self.make_place(id, lsn, now, draft)?;
        let log = live(&self.logs, id)?;
        let epoch = log.facts.epochs.owner(lsn).unwrap_or(0);
        let place = CheckpointPlace::Inline { segment: self.stream.segment, position: draft.cursor };
        let done = SnapshotCheckpoint { lsn, offset, epoch, bytes: bytes.len() as u64, place };
        draft.control(id, log, now, Control::CheckpointInline { lsn, offset, epoch, bytes });
        Ok((Done::Checkpoint(done), log.facts.options.durability))
    }

    /// One more than there may be: another one goes.
    fn make_place(&self, id: LogId, lsn: u64, now: Now, draft: &mut Draft) -> Result<(), Error> {
        let log = live(&self.logs, id)?;
        let max = log.facts.options.checkpoints_max();
        if !log.facts.checkpoints.contains_key(&lsn) && log.facts.checkpoints.len() >= max as usize {
            let Some(lsn) = to_thin_out(&log.facts.checkpoints, log.base.lsn.get()) else {
                return Err(Error::LimitExceeded { what: "checkpoints", max: max.into() });
            };
            draft.control(id, log, now, Control::CheckpointRemoved { lsn });
        }
        Ok(())
    }
}
