//! What records change: the same for those just written and those replayed.

use super::LogState;
use super::batch::{Written, narrow};
use super::compaction::Moved;
use super::extents::{Extent, RecordPlace};
use super::store::Store;
use crate::format::{CheckpointPlace, Control, Kind, Placement, RecordHeader, SnapshotCheckpoint};
use crate::options::LogOptions;
use crate::position::{ByteOffset, LogId, LogUid, Lsn, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Store {
    /// What the records of a batch change: the same for those just written and for those replayed.
    pub(super) fn apply_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Written>,
        segment: u64,
        batch_end: u64,
    ) {
        let mut moved: BTreeMap<LogId, Vec<Moved>> = BTreeMap::new();
        for record in records {
            match (record.header.placement, &record.control) {
                (Placement::First, _) => self.apply(record, segment, batch_end),
                (Placement::Moved, Some(_)) => self.apply_moved_checkpoint(record, segment),
                (Placement::Moved, None) => {
                    let at = place(record, segment, batch_end);
                    moved.entry(record.header.log).or_default().push(Moved::new(&record.header, at));
                }
            }
        }
        self.apply_moved(moved);
    }

    fn apply(&mut self, record: &Written, segment: u64, batch_end: u64) {
        let header = &record.header;
        let id = header.log;
        if let Some(Control::LogCreated { uid, name, options }) = record.control.as_deref() {
            return self.apply_created(id, *uid, name, *options);
        }
        if matches!(record.control.as_deref(), Some(Control::Dropped)) {
            if let Some(log) = self.logs.remove(&id) {
                self.names.remove(&log.facts.name);
                let extents: Vec<Extent> = log.extents.iter().copied().collect();
                let checkpoints: Vec<SnapshotCheckpoint> = log.facts.checkpoints.values().copied().collect();
                self.release(id, &extents, &checkpoints);
            }
            return;
        }
        let Some(log) = self.logs.get_mut(&id) else { return };
        match record.control.as_deref() {
            None => {
                let at = place(record, segment, batch_end);
                let new = log.apply_record(header, at, self.settings.extent_bytes);
                self.roots.hold(segment, u64::from(header.payload_len) + 56, new.into());
            }
            Some(Control::EpochStart(entry)) => {
                Arc::make_mut(&mut log.facts().epochs).push(*entry, self.settings.epoch_entries_max);
            }
            Some(Control::Meta { key, value }) => {
                let meta = Arc::make_mut(&mut log.facts().meta);
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
                let old = Arc::make_mut(&mut log.facts().checkpoints).insert(*lsn, checkpoint);
                self.roots.hold(segment, checkpoint.cost(), 0);
                self.release(id, &[], old.as_slice());
            }
            Some(Control::CheckpointRemoved { lsn }) => {
                let old = Arc::make_mut(&mut log.facts().checkpoints).remove(lsn);
                self.release(id, &[], old.as_slice());
            }
            Some(Control::CheckpointAdded { lsn, offset, epoch, bytes, digest }) => {
                let place = CheckpointPlace::File { digest: *digest };
                let checkpoint = SnapshotCheckpoint { lsn: *lsn, offset: *offset, epoch: *epoch, bytes: *bytes, place };
                let old = Arc::make_mut(&mut log.facts().checkpoints).insert(*lsn, checkpoint);
                self.release(id, &[], old.as_slice());
            }
            Some(Control::Trimmed { base_lsn, base_offset }) if *base_lsn > log.base.lsn.get() => {
                let base = Place { lsn: Lsn::at_least_first(*base_lsn), offset: ByteOffset(*base_offset) };
                let (extents, checkpoints) = log.trim(base);
                self.release(id, &extents, &checkpoints);
            }
            Some(Control::Damage(damage)) => log.note_damage(*damage),
            // Written by no call of this version; replay refuses a stream that holds one.
            Some(_) => {}
        }
    }

    /// A log that is there already gets these options.
    fn apply_created(&mut self, id: LogId, uid: LogUid, name: &str, options: LogOptions) {
        let epoch = self.incarnation.0;
        let log = self.logs.entry(id).or_insert_with(|| {
            let mut log = LogState::new(uid, name, options);
            log.facts().epoch = epoch;
            log
        });
        log.facts().options = options;
        let namesake = self.names.insert(Arc::clone(&log.facts.name), id).filter(|older| *older != id);
        if let Some(older) = namesake
            && let Some(log) = self.logs.get_mut(&older)
        {
            // Its end was lost with a batch.
            log.facts().name = format!("@lost/{:016x}", older.0).into();
            self.names.insert(Arc::clone(&log.facts.name), older);
        }
        self.next_log = self.next_log.max(LogId(id.0 + 1));
    }
}

fn place(record: &Written, segment: u64, batch_end: u64) -> RecordPlace {
    RecordPlace {
        segment,
        place: narrow(record.place),
        batch_end: narrow(batch_end),
        stored_len: narrow(RecordHeader::record_bytes(record.header.payload_len as usize) as u64),
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
        let begins_epoch = self.facts.epochs.entries().last().is_some_and(|entry| entry.start_lsn == header.lsn);
        self.extents.push(at, header.lsn, header.offset, header.payload_len.into(), !begins_epoch, window)
    }
}
