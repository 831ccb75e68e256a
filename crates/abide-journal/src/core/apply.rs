//! What records change: the same for those just written and those replayed.

use super::LogState;
use super::batch::{Written, narrow};
use super::extents::RecordPlace;
use super::store::Store;
use crate::format::{CheckpointPlace, Control, Kind, RecordHeader, SnapshotCheckpoint};
use crate::position::LogId;
use std::sync::Arc;

impl Store {
    /// What a record changes: the same for one just written and for one replayed.
    pub(super) fn apply(&mut self, record: &Written, segment: u64, batch_end: u64) {
        let header = &record.header;
        let id = header.log;
        if let Some(Control::LogCreated { uid, name, options }) = &record.control {
            let epoch = self.incarnation.0;
            let log = self.logs.entry(id).or_insert_with(|| LogState { epoch, ..LogState::new(*uid, name, *options) });
            log.options = *options;
            let namesake = self.names.insert(Arc::clone(&log.name), id).filter(|older| *older != id);
            if let Some(older) = namesake
                && let Some(log) = self.logs.get_mut(&older)
            {
                // Its end was lost with a batch.
                log.name = format!("@lost/{:016x}", older.0).into();
                self.names.insert(Arc::clone(&log.name), older);
            }
            self.next_log = self.next_log.max(LogId(id.0 + 1));
            return;
        }
        if matches!(record.control, Some(Control::Dropped)) {
            if let Some(log) = self.logs.remove(&id) {
                self.names.remove(&log.name);
                log.segments().for_each(|segment| self.roots.release(segment, self.stream.segment));
            }
            return;
        }
        let current = self.stream.segment;
        let Some(log) = self.logs.get_mut(&id) else { return };
        match &record.control {
            None => {
                let at = RecordPlace {
                    segment,
                    place: narrow(record.place),
                    batch_end: narrow(batch_end),
                    stored_len: narrow(RecordHeader::record_bytes(header.payload_len as usize) as u64),
                };
                if log.apply_record(header, at, self.settings.extent_bytes) {
                    self.roots.hold(segment);
                }
            }
            Some(Control::EpochStart(entry)) => {
                Arc::make_mut(&mut log.epochs).push(*entry, self.settings.epoch_entries_max);
            }
            Some(Control::Meta { key, value }) => {
                let meta = Arc::make_mut(&mut log.meta);
                if value.is_empty() {
                    meta.remove(key)
                } else {
                    meta.insert(key.clone(), value.clone())
                };
            }
            Some(Control::CheckpointInline { lsn, offset, epoch, bytes }) => {
                let place = CheckpointPlace::Inline { segment, position: record.place };
                let checkpoint =
                    SnapshotCheckpoint { lsn: *lsn, offset: *offset, epoch: *epoch, bytes: bytes.len() as u64, place };
                let old = Arc::make_mut(&mut log.checkpoints).insert(*lsn, checkpoint);
                self.roots.hold(segment);
                self.release_checkpoint(old, current);
            }
            Some(Control::CheckpointRemoved { lsn }) => {
                let old = Arc::make_mut(&mut log.checkpoints).remove(lsn);
                self.release_checkpoint(old, current);
            }
            Some(Control::Damage(damage)) => log.note_damage(*damage),
            // Written by no call of this version; replay refuses a stream that holds one.
            Some(_) => {}
        }
    }

    fn release_checkpoint(&mut self, old: Option<SnapshotCheckpoint>, current: u64) {
        if let Some(SnapshotCheckpoint { place: CheckpointPlace::Inline { segment, .. }, .. }) = old {
            self.roots.release(segment, current);
        }
    }
}

impl LogState {
    /// Notes a record with an LSN; says whether it took a new extent.
    fn apply_record(&mut self, header: &RecordHeader, at: RecordPlace, window: u32) -> bool {
        if header.kind == Kind::Mark {
            self.last_mark = header.lsn;
        }
        self.last_time_us = self.last_time_us.max(header.time_us);
        self.cost += u64::from(header.payload_len) + 56;
        // An epoch begins an extent, so that the offset of its start is known without reading.
        let begins_epoch = self.epochs.entries().last().is_some_and(|entry| entry.start_lsn == header.lsn);
        self.extents.push(at, header.lsn, header.offset, header.payload_len.into(), !begins_epoch, window)
    }
}
