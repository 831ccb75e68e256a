//! Segments of which little is live are emptied: what lives is written again, grouped by log, and the file is free.

use super::LogState;
use super::batch::{Draft, Written};
use super::extents::{Extent, Extents, RecordPlace};
use super::retention::NOBODY;
use super::roots::Segment;
use super::space::SpaceState;
use super::store::{Effect, Now, Phase, Request, Store};
use crate::format::{CheckpointPlace, Control, Placement, RecordHeader, Sealed, SnapshotCheckpoint};
use crate::position::LogId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Cost of what is read and written again at once, at most a 16th of a segment; one larger extent or checkpoint goes alone.
const PIECE_BYTES: u64 = 512 << 10;
/// Bytes that an extent takes in the index.
const EXTENT_BYTES: u64 = 48;

/// What is to be moved out of a segment in one batch.
#[derive(Debug, Clone, Default)]
pub struct Piece {
    /// Whole extents, by log.
    pub extents: Vec<(LogId, Extent)>,
    /// Inline checkpoints.
    pub checkpoints: Vec<(LogId, SnapshotCheckpoint)>,
}

/// Records with their payloads.
pub type Records = Vec<(RecordHeader, Sealed)>;

/// The same, as it was read and verified. What did not verify is not there.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in Piece, with headers and payloads")]
pub struct Moving {
    pub extents: Vec<(LogId, Extent, Records)>,
    pub checkpoints: Vec<(LogId, SnapshotCheckpoint, Bytes)>,
}

/// A segment that is being emptied.
#[derive(Debug)]
pub(super) struct Compacting {
    segment: u64,
    pieces: VecDeque<Piece>,
    /// A piece is being read, or written.
    busy: bool,
}

/// A record that was written again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    lsn: u64,
    offset: u64,
    payload: u64,
    at: RecordPlace,
}

impl Moved {
    pub(super) fn new(header: &RecordHeader, at: RecordPlace) -> Self {
        Self { lsn: header.lsn, offset: header.offset, payload: header.payload_len.into(), at }
    }
}

impl Store {
    /// Finds a segment to be emptied if something has died since, and reads the next piece of it.
    pub(super) fn advance_compaction(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.compact_due.is_some_and(|due| due > now.tick_ms) {
            return;
        }
        self.compact_due = None;
        if !matches!(self.phase, Phase::Ready) {
            return;
        }
        if self.compacting.is_none() && std::mem::take(&mut self.compact_look) {
            self.compacting =
                self.choose().map(|segment| Compacting { segment, pieces: self.pieces(segment), busy: false });
        }
        let Some(compacting) = self.compacting.as_mut().filter(|compacting| !compacting.busy) else { return };
        if let Some(piece) = compacting.pieces.pop_front() {
            compacting.busy = true;
            out.push(Effect::Read { piece });
        } else {
            // What could not be read stays where it is, and its segment with it.
            let segment = compacting.segment;
            self.packed.insert(segment, self.roots.segment(segment).live);
            self.compacting = None;
            self.compact_look = true;
        }
    }

    pub(super) fn read(&mut self, moving: Moving) {
        if matches!(self.phase, Phase::Ready) {
            self.queue.push_back((NOBODY, Request::Move(moving)));
        } else {
            self.compacting = None;
        }
    }

    /// The segment that is worth emptying most.
    fn choose(&self) -> Option<u64> {
        let tight = self.space.state != SpaceState::Ok;
        let sealed = |segment: u64| {
            let live = self.roots.segment(segment).live;
            // What was packed as well as it could be is not packed again until a good part of it has died.
            let packed = self.packed.get(&segment).is_some_and(|packed| live > packed - packed / 4);
            segment < self.stream.segment && !packed
        };
        let worth = |found: &Segment| {
            #[expect(clippy::cast_precision_loss, reason = "a ratio")]
            let ratio = found.live as f64 / found.file.max(1) as f64;
            (found.live > 0).then_some(ratio)
        };
        let ratio = if tight { 0.9 } else { self.settings.compact_live_ratio };
        let emptiest = self
            .roots
            .segments()
            .filter(|(segment, _)| sealed(*segment))
            .filter_map(|(segment, found)| worth(&found).filter(|worth| *worth < ratio).map(|worth| (segment, worth)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        emptiest.map(|(segment, _)| segment).or_else(|| self.scattered(sealed))
    }

    /// A segment whose records are so mixed that their index costs more than a 64th of them, and more than four times what
    /// grouping them by log would leave.
    fn scattered(&self, sealed: impl Fn(u64) -> bool) -> Option<u64> {
        let costly = |found: &Segment| found.extents * EXTENT_BYTES * 64 > found.live;
        let candidates: BTreeSet<u64> =
            self.roots.segments().filter(|(s, found)| sealed(*s) && costly(found)).map(|(s, _)| s).collect();
        if candidates.is_empty() {
            return None;
        }
        let mut grouped: BTreeMap<u64, u64> = BTreeMap::new();
        for log in self.logs.values() {
            let mut cost: BTreeMap<u64, u64> = BTreeMap::new();
            for extent in log.extents.iter().filter(|extent| candidates.contains(&extent.segment)) {
                *cost.entry(extent.segment).or_default() += extent.cost();
            }
            for (segment, cost) in cost {
                *grouped.entry(segment).or_default() += cost.div_ceil(self.settings.extent_bytes.into());
            }
        }
        let extents = |segment: u64| self.roots.segment(segment).extents;
        candidates.into_iter().find(|segment| extents(*segment) > 4 * grouped.get(segment).copied().unwrap_or(0))
    }

    fn pieces(&self, segment: u64) -> VecDeque<Piece> {
        let mut pieces = VecDeque::new();
        let piece_bytes = PIECE_BYTES.min(self.settings.segment_bytes / 16);
        let (mut piece, mut cost) = (Piece::default(), 0);
        let mut cut = |piece: &mut Piece, cost: &mut u64, more: u64| {
            *cost += more;
            if *cost > piece_bytes && *cost > more {
                pieces.push_back(std::mem::take(piece));
                *cost = more;
            }
        };
        for (id, log) in &self.logs {
            for extent in log.extents.iter().filter(|extent| extent.segment == segment) {
                cut(&mut piece, &mut cost, extent.cost() + 8 * u64::from(extent.records));
                piece.extents.push((*id, *extent));
            }
            for checkpoint in log.facts.checkpoints.values() {
                if matches!(checkpoint.place, CheckpointPlace::Inline { segment: of, .. } if of == segment) {
                    cut(&mut piece, &mut cost, checkpoint.cost() + 8);
                    piece.checkpoints.push((*id, *checkpoint));
                }
            }
        }
        pieces.push_back(piece);
        pieces
    }

    /// What still lies where it was read is written again.
    pub(super) fn number_move(&mut self, moving: Moving, now: Now, draft: &mut Draft) {
        let before = draft.cursor;
        for (id, extent, records) in moving.extents {
            let Some(log) = self.logs.get(&id).filter(|log| !log.dropping) else { continue };
            let base = log.coming_base().lsn.get();
            if log.extents.holding(extent.first_lsn.max(log.base.lsn.get())) != Some(extent) {
                continue;
            }
            for (header, payload) in records.into_iter().filter(|(header, _)| header.lsn >= base) {
                let header = RecordHeader { log: id, placement: Placement::Moved, ..header };
                draft.record(log, header, None, payload);
            }
        }
        for (id, checkpoint, bytes) in moving.checkpoints {
            let Some(log) = self.logs.get(&id).filter(|log| !log.dropping) else { continue };
            if log.facts.checkpoints.get(&checkpoint.lsn) != Some(&checkpoint) {
                continue;
            }
            let SnapshotCheckpoint { lsn, offset, epoch, .. } = checkpoint;
            draft.moved_control(id, log, now, Control::CheckpointInline { lsn, offset, epoch, bytes });
        }
        let rate = self.settings.compact_bytes_per_s.max(1);
        self.compact_due = Some(now.tick_ms + (draft.cursor - before) * 1_000 / rate);
        draft.moves = true;
    }

    /// A batch with moved records is in the page cache; or all of a piece has died meanwhile.
    pub(super) fn moved_on(&mut self, bytes: u64) {
        self.moved_here += bytes;
        if let Some(compacting) = &mut self.compacting {
            compacting.busy = false;
            if compacting.pieces.is_empty() {
                // Read once more only if something is left.
                let segment = compacting.segment;
                if self.roots.segment(segment).live == 0 {
                    self.compacting = None;
                }
                self.compact_look = true;
            }
        }
    }

    /// No more is written into this segment. One that holds much of what was written again is packed.
    pub(super) fn seal_packed(&mut self, segment: u64) {
        if std::mem::take(&mut self.moved_here) >= self.settings.segment_bytes / 4 {
            self.packed.insert(segment, self.roots.segment(segment).live);
        }
    }

    /// Whether a record that was written again still stands for one that is kept.
    pub(super) fn is_live(&self, header: &RecordHeader) -> bool {
        self.logs.get(&header.log).is_some_and(|log| {
            let wrote = log.facts.epochs.owner(header.lsn);
            (log.base.lsn.get()..log.next.lsn.get()).contains(&header.lsn)
                && wrote.is_none_or(|epoch| epoch == header.epoch)
                && log.extents.holding(header.lsn).is_some()
        })
    }

    /// The places of all moved records of a batch take effect together: by whole extents.
    pub(super) fn apply_moved(&mut self, moved: BTreeMap<LogId, Vec<Moved>>) {
        let (window, current) = (self.settings.extent_bytes, self.stream.segment);
        for (id, records) in moved {
            let Some(log) = self.logs.get_mut(&id) else { continue };
            let (gone, come) = log.relocate(records, window);
            for extent in come {
                self.roots.hold(extent.segment, extent.cost(), 1);
            }
            for extent in gone {
                self.roots.release(extent.segment, extent.cost(), 1, current);
            }
        }
    }

    /// An inline checkpoint was written again.
    pub(super) fn apply_moved_checkpoint(&mut self, record: &Written, segment: u64) {
        let Some(Control::CheckpointInline { lsn, offset, epoch, .. }) = record.control.as_deref() else { return };
        let current = self.stream.segment;
        let Some(log) = self.logs.get_mut(&record.header.log) else { return };
        let Some(checkpoint) = Arc::make_mut(&mut log.facts().checkpoints).get_mut(lsn) else { return };
        let CheckpointPlace::Inline { segment: old, .. } = checkpoint.place else { return };
        if (checkpoint.offset, checkpoint.epoch) == (*offset, *epoch) {
            checkpoint.place = CheckpointPlace::Inline { segment, position: record.place };
            let cost = checkpoint.cost();
            self.roots.hold(segment, cost, 0);
            self.roots.release(old, cost, 0, current);
        }
    }
}

impl LogState {
    /// Returns what went and what came.
    fn relocate(&mut self, mut records: Vec<Moved>, window: u32) -> (Vec<Extent>, Vec<Extent>) {
        records.sort_by_key(|moved| moved.lsn);
        let mut new = Extents::default();
        for Moved { lsn, offset, payload, at } in records {
            let begins_epoch = self.facts.epochs.entries().binary_search_by_key(&lsn, |entry| entry.start_lsn).is_ok();
            new.push(at, lsn, offset, payload, !begins_epoch, window);
        }
        let (gone, come) = self.extents.replace(&new, self.base.lsn.get());
        let cost = |extents: &[Extent]| extents.iter().map(Extent::cost).sum::<u64>();
        self.cost = self.cost + cost(&come) - cost(&gone);
        (gone, come)
    }
}
