//! Group commit: numbers are given when a batch is closed, and the state follows when it is written.

use super::LogState;
use super::store::{CloseStep, Done, Effect, NewEntry, Now, Phase, PlannedRecord, Request, Store, TicketId, WritePlan};
use crate::entry::Durability;
use crate::format::{
    BLOCK_BYTES, BatchFlags, BatchHeader, CheckpointPlace, Control, Echo, EchoFlags, Kind, Placement, RecordHeader,
    Sealed, SegmentHeader,
};
use crate::position::{LogId, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A batch takes further units up to this many bytes. One larger unit goes alone.
const BATCH_BYTES: u64 = 1 << 20;
/// Room that is kept for what makes room.
pub(super) const LAST_ROOM_BYTES: u64 = 1 << 20;
/// What an epoch start takes in the stream.
const EPOCH_START_BYTES: u64 = 56 + 24;

/// A batch that is being written.
#[derive(Debug)]
pub(super) struct InFlight {
    plan: Arc<WritePlan>,
    end: u64,
    bytes: u64,
    interval: bool,
    echo_flags: BTreeMap<LogId, EchoFlags>,
    moves: bool,
    pub(super) closed: Closed,
}

/// What waits for a batch.
#[derive(Debug, Default)]
pub(super) struct Closed {
    pub(super) batch: u64,
    /// Where its logs end after it.
    ends: Vec<(LogId, Place)>,
    /// It holds something that is promised to survive a power loss.
    promised: bool,
    pub(super) at_written: Vec<(TicketId, Done)>,
    pub(super) at_synced: Vec<(TicketId, Done)>,
    /// Checkpoint files that nothing refers to once it is durable.
    unlinked: Vec<(LogId, u64)>,
}

/// A record with its place.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) header: RecordHeader,
    pub(super) place: u64,
    /// Seldom there, and much larger than the rest.
    pub(super) control: Option<Box<Control>>,
}

impl Written {
    /// Whether a checkpoint was added with it, rather than moved.
    fn is_new_checkpoint(&self) -> bool {
        let is_checkpoint =
            matches!(self.control.as_deref(), Some(Control::CheckpointInline { .. } | Control::CheckpointAdded { .. }));
        is_checkpoint && self.header.placement == Placement::First
    }
}

/// A batch that is being put together.
#[derive(Debug)]
pub(super) struct Draft {
    /// Where the next record goes.
    pub(super) cursor: u64,
    pub(super) plan: Vec<PlannedRecord>,
    echo_flags: BTreeMap<LogId, EchoFlags>,
    /// Logs of which a small fact changes.
    facts: BTreeSet<LogId>,
    closed: Closed,
    interval: bool,
    wants_sync: bool,
    /// It holds what compaction writes again.
    pub(super) moves: bool,
}

impl Draft {
    pub(super) fn record(
        &mut self,
        log: &LogState,
        mut header: RecordHeader,
        control: Option<Box<Control>>,
        payload: Sealed,
    ) {
        header.payload_len = u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX);
        let moved = header.placement == Placement::Moved;
        let only_moved = if moved { EchoFlags::MOVED } else { EchoFlags::default() };
        let flags = self.echo_flags.entry(header.log).or_insert(only_moved);
        if !moved {
            flags.0 &= !EchoFlags::MOVED.0;
        }
        if !header.kind.has_lsn() && header.kind != Kind::CheckpointInline {
            flags.0 |= EchoFlags::CONTROL.0;
            self.wants_sync = true;
        }
        let written = Written { header, place: self.cursor, control };
        self.cursor += RecordHeader::record_bytes(payload.bytes.len()) as u64;
        self.plan.push(PlannedRecord { written, uid: log.facts.uid, payload });
    }

    pub(super) fn control(&mut self, id: LogId, log: &LogState, now: Now, control: Control) {
        self.placed_control(id, log, now, control, Placement::First);
    }

    /// The same for one that is written again.
    pub(super) fn moved_control(&mut self, id: LogId, log: &LogState, now: Now, control: Control) {
        self.placed_control(id, log, now, control, Placement::Moved);
    }

    fn placed_control(&mut self, id: LogId, log: &LogState, now: Now, control: Control, placement: Placement) {
        let header = RecordHeader {
            log: id,
            crc: 0,
            payload_len: 0,
            epoch: log.facts.epoch,
            lsn: 0,
            offset: log.next.offset.0,
            time_us: now.wall_us.max(log.last_time_us),
            kind: control.kind(),
            tag: 0,
            placement,
        };
        let payload = Sealed::new(control.encode());
        self.record(log, header, Some(Box::new(control)), payload);
    }

    pub(super) fn answer(&mut self, ticket: TicketId, done: Done, durability: Durability) {
        match durability {
            Durability::Os => self.closed.at_written.push((ticket, done)),
            Durability::Interval => {
                self.interval = true;
                self.closed.at_written.push((ticket, done));
            }
            Durability::Always | Durability::Committed => {
                self.wants_sync = true;
                self.closed.at_synced.push((ticket, done));
            }
        }
    }
}

impl Store {
    /// Logs in one batch, so that the echoes of the next leave room for its records.
    pub(super) fn echoes_max(&self) -> u64 {
        self.settings.segment_bytes / 8 / Echo::BYTES as u64
    }

    /// Bytes that a request takes in the stream at most, and logs that it touches.
    fn measure(&self, request: &Request) -> (u64, u64) {
        let begin = |log: &LogId| match self.logs.get(log) {
            Some(state) if !state.epoch_begun => EPOCH_START_BYTES,
            _ => 0,
        };
        let control = |payload: usize| RecordHeader::record_bytes(payload) as u64;
        match request {
            Request::Append { entries, .. } => {
                let starts: u64 = entries.iter().map(|entry| begin(&entry.log)).sum();
                (stored_bytes(entries) + starts, entries.len() as u64)
            }
            // An inline checkpoint may push an older one out.
            Request::AddCheckpoint { bytes, .. } => (control(Control::INLINE_HEAD_BYTES + bytes.len()) + control(8), 1),
            Request::Create { name, .. } => (control(64 + name.len()), 1),
            Request::SetOptions { .. } => (control(64 + 128), 1),
            Request::Damage { .. } => (control(33), 1),
            Request::SetMeta { key, value, .. } => (control(6 + key.len() + value.len()), 1),
            Request::Drop { .. } | Request::RemoveCheckpoint { .. } => (control(8), 1),
            Request::AddFile { .. } => (control(64) + control(8), 1),
            Request::Trim { .. } => (control(16), 1),
            Request::Move(moving) => {
                let records = moving.extents.iter().flat_map(|(_, _, records)| records);
                let records: u64 = records.map(|(_, payload)| control(payload.bytes.len())).sum();
                let checkpoints = moving.checkpoints.iter();
                let checkpoints: u64 =
                    checkpoints.map(|(_, _, bytes)| control(Control::INLINE_HEAD_BYTES + bytes.len())).sum();
                (records + checkpoints, (moving.extents.len() + moving.checkpoints.len()) as u64)
            }
            Request::Sync { .. } | Request::Pin { .. } | Request::AdvancePin { .. } | Request::Unpin { .. } => (0, 0),
        }
    }

    /// Closes and writes the next batch, if nothing is in flight and there is something to write and room for it.
    pub(super) fn close_batch(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.in_flight.is_none() && (!self.queue.is_empty() || self.proof_wanted) {
            let Some(at) = self.find_room(out) else { return };
            let head = (BatchHeader::BYTES + self.echoes.len() * Echo::BYTES) as u64;
            let draft = self.draft(now, at + head, out);
            if draft.moves && draft.plan.is_empty() {
                self.moved_on(0);
            }
            // If all that fitted was refused, what comes behind it may need other room.
            if !draft.plan.is_empty() || (self.proof_wanted && self.queue.is_empty()) {
                self.emit(at, draft, out);
            }
        }
    }

    /// Where the next batch goes, with room for the first request of the queue. `None`: it waits for room, or was
    /// refused for lack of it.
    fn find_room(&mut self, out: &mut Vec<Effect>) -> Option<u64> {
        let mut at = self.next_at();
        let needed = (BatchHeader::BYTES + self.echoes.len() * Echo::BYTES) as u64
            + self.queue.front().map_or(0, |(_, request)| self.measure(request).0);
        let kept = match self.queue.front() {
            Some((_, request)) => self.room_kept_from(request),
            None => self.room_kept_from_proof(),
        };
        let cannot_grow = self.stream.leaving && at + needed > self.stream.prepared;
        if at + needed + kept > self.settings.segment_bytes || cannot_grow {
            let clean = matches!(self.phase, Phase::Closing { step: CloseStep::Clean, .. }) && !self.no_room;
            if self.queue.is_empty() && self.stream.next.is_none() && !clean {
                // Nothing but a proof: it is not worth making a segment. In one that is there its header proves as much.
                self.proof_wanted = false;
                return None;
            }
            if !self.roll() {
                self.refuse_without_room(out);
                return None;
            }
            at = self.stream.end;
        }
        if at + needed > self.stream.prepared {
            self.stream.missing = at + needed - self.stream.end;
            self.refuse_without_room(out);
            return None;
        }
        self.stream.missing = 0;
        self.stream.leaving = false;
        Some(at)
    }

    /// Begins the next segment. The old one must be synced first: so its header proves all that lies before it.
    fn roll(&mut self) -> bool {
        self.stream.leaving = true;
        let Some((salt, prepared)) = self.stream.next else { return false };
        if self.durable < self.next_batch - 1 {
            self.wanted = self.wanted.max(self.next_batch - 1);
            return false;
        }
        let segment = self.stream.segment + 1;
        self.stream.begin = Some(SegmentHeader {
            store_id: self.settings.store_id,
            segment,
            segment_bytes: self.settings.segment_bytes,
            first_batch: self.next_batch,
            incarnation: self.incarnation,
            prev_segment: self.stream.segment,
            prev_end: self.stream.end,
            salt,
        });
        self.roots.sealed(self.stream.segment);
        self.seal_packed(self.stream.segment);
        self.compact_look = true;
        self.stream.segment = segment;
        self.stream.salt = salt;
        self.stream.end = BLOCK_BYTES;
        self.stream.prepared = prepared;
        self.stream.next = None;
        self.stream.leaving = false;
        true
    }

    /// No block with synced bytes is written again: behind a batch whose sync has been asked for comes the next block.
    fn next_at(&self) -> u64 {
        let last = self.next_batch - 1;
        if last <= self.sync_asked.max(self.durable) {
            self.stream.end.next_multiple_of(BLOCK_BYTES)
        } else {
            self.stream.end
        }
    }

    /// Numbers as many requests as one batch takes.
    fn draft(&mut self, now: Now, cursor: u64, out: &mut Vec<Effect>) -> Draft {
        let closed = Closed { batch: self.next_batch, ..Closed::default() };
        let mut draft = Draft {
            cursor,
            plan: Vec::new(),
            echo_flags: BTreeMap::new(),
            facts: BTreeSet::new(),
            closed,
            interval: false,
            wants_sync: false,
            moves: false,
        };
        while let Some((_, request)) = self.queue.front() {
            let (bytes, logs) = self.measure(request);
            let taken = draft.cursor - cursor;
            let fits = draft.cursor + bytes <= self.stream.prepared
                && draft.cursor + bytes + self.room_kept_from(request) <= self.settings.segment_bytes
                && (taken == 0 || taken + bytes <= BATCH_BYTES)
                && draft.echo_flags.len() as u64 + logs <= self.echoes_max();
            if !fits {
                break;
            }
            // Limits on a log's small facts are checked against what is written: one change of them in a batch.
            let fact = match request {
                Request::SetMeta { log, .. }
                | Request::AddCheckpoint { log, .. }
                | Request::AddFile { log, checkpoint: _ }
                | Request::Trim { log, .. }
                | Request::RemoveCheckpoint { log, .. } => Some(*log),
                _ => None,
            };
            if fact.is_some_and(|log| !draft.facts.insert(log)) {
                break;
            }
            let Some((ticket, request)) = self.queue.pop_front() else { break };
            if let Err(error) = self.number(ticket, request, now, &mut draft, out) {
                out.push(Effect::Reply { ticket, result: Err(error) });
            }
        }
        draft
    }

    fn emit(&mut self, at: u64, mut draft: Draft, out: &mut Vec<Effect>) {
        let clean = matches!(self.phase, Phase::Closing { step: CloseStep::Clean, .. });
        let flags = match (draft.plan.is_empty(), clean) {
            (false, _) => BatchFlags::NONE,
            (true, false) => BatchFlags::PROOF,
            (true, true) => BatchFlags::CLEAN,
        };
        self.proof_wanted = false;
        self.proof_due = None;
        draft.closed.promised = draft.wants_sync;
        let batch = self.next_batch;
        self.next_batch += 1;
        let echoes = std::mem::take(&mut self.echoes);
        let header = BatchHeader {
            body_crc: 0,
            batch,
            segment: self.stream.segment,
            synced: self.durable,
            body_len: narrow(draft.cursor - at - BatchHeader::BYTES as u64),
            records: narrow(draft.plan.len() as u64),
            echoes: narrow(echoes.len() as u64),
            flags,
            incarnation: narrow(self.incarnation.0 & u64::from(u32::MAX)),
        };
        if draft.wants_sync || draft.plan.is_empty() {
            self.wanted = self.wanted.max(batch);
        }
        draft.closed.ends =
            draft.echo_flags.keys().map(|id| (*id, self.logs.get(id).map_or(Place::START, |log| log.next))).collect();
        let plan = Arc::new(WritePlan {
            begin: self.stream.begin.take(),
            at,
            salt: self.stream.salt,
            header,
            echoes,
            records: draft.plan,
        });
        self.in_flight = Some(InFlight {
            plan: Arc::clone(&plan),
            end: draft.cursor,
            bytes: draft.cursor - at,
            interval: draft.interval,
            echo_flags: draft.echo_flags,
            moves: draft.moves,
            closed: draft.closed,
        });
        out.push(Effect::Write(plan));
    }

    /// The batch is in the page cache: the state follows, readers see it.
    pub(super) fn batch_written(&mut self, now: Now, batch: u64, out: &mut Vec<Effect>) {
        let Some(flight) = self.in_flight.take_if(|flight| flight.closed.batch == batch) else { return };
        self.stream.end = flight.end;
        self.appended_since_index += flight.bytes;
        self.echoes = flight
            .closed
            .ends
            .iter()
            .map(|(log, end)| Echo {
                log: *log,
                last_lsn: end.lsn.get() - 1,
                end_offset: end.offset.0,
                flags: flight.echo_flags.get(log).copied().unwrap_or_default(),
            })
            .collect();
        let records = || flight.plan.records.iter().map(|record| &record.written);
        self.apply_all(records(), flight.plan.header.segment, flight.end);
        if flight.moves {
            self.moved_on(flight.bytes);
        }
        for (id, end) in &flight.closed.ends {
            let view = self.logs.get_mut(id).map(|log| {
                log.written = *end;
                log.publish()
            });
            out.push(Effect::Wake { log: *id, view });
            self.look_at_length(*id, now);
        }
        if !self.trim_wanted.is_empty() && records().any(Written::is_new_checkpoint) {
            // A base may rest on it: that is looked at now.
            self.trim_due = Some(now.tick_ms);
        }
        let mut closed = flight.closed;
        closed.unlinked = std::mem::take(&mut self.unlinked);
        for (ticket, done) in closed.at_written.drain(..) {
            out.push(Effect::Reply { ticket, result: Ok(done) });
        }
        if flight.interval && self.interval_due.is_none() {
            self.interval_due = Some(now.tick_ms + self.settings.sync_interval_ms);
        }
        self.unsynced.push_back(closed);
        self.take_index_if_due(now);
    }

    /// Batches up to this one are on the disk.
    pub(super) fn batch_synced(&mut self, now: Now, batch: u64, out: &mut Vec<Effect>) {
        self.sync_in_flight = false;
        self.durable = self.durable.max(batch);
        let mut touched = BTreeMap::new();
        let (mut answers, mut unlinked) = (Vec::new(), Vec::new());
        let mut promised = false;
        while let Some(closed) = self.unsynced.pop_front_if(|closed| closed.batch <= batch) {
            promised = closed.promised;
            touched.extend(closed.ends);
            answers.extend(closed.at_synced);
            unlinked.extend(closed.unlinked);
        }
        for (log, lsn) in unlinked {
            // Its name may belong to another one already.
            let place =
                self.logs.get(&log).and_then(|log| log.facts.checkpoints.get(&lsn)).map(|checkpoint| checkpoint.place);
            if !matches!(place, Some(CheckpointPlace::File { .. })) && !self.files.contains_key(&(log, lsn)) {
                out.push(Effect::RemoveCheckpoint { log, lsn });
            }
        }
        for (id, end) in touched {
            if let Some(log) = self.logs.get_mut(&id) {
                log.durable = end;
                out.push(Effect::Durable { log: id, end });
            }
        }
        for (ticket, done) in answers {
            out.push(Effect::Reply { ticket, result: Ok(done) });
        }
        if promised && self.unsynced.is_empty() && self.in_flight.is_none() {
            self.proof_due = Some(now.tick_ms + self.settings.proof_delay_ms);
        }
    }
}

pub(super) fn stored_bytes(entries: &[NewEntry]) -> u64 {
    entries.iter().map(|entry| RecordHeader::record_bytes(entry.payload.bytes.len()) as u64).sum()
}

/// Places in a segment and counts in a batch: a segment has at most 1 GiB.
pub(super) fn narrow(value: u64) -> u32 {
    debug_assert!(u32::try_from(value).is_ok(), "bounded by the segment");
    u32::try_from(value).unwrap_or(u32::MAX)
}
