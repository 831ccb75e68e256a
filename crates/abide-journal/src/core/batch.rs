//! Group commit: numbers are given when a batch is closed, and the state follows when it is written.

use super::LogState;
use super::checkpoints::to_thin_out;
use super::extents::RecordPlace;
use super::store::{
    CloseStep, Done, Effect, NewEntry, Now, Payload, Phase, PlannedRecord, Request, Store, TicketId, WritePlan,
};
use crate::entry::{AppendOptions, Appended, Durability, Expect};
use crate::error::Error;
use crate::format::{
    BLOCK_BYTES, BatchFlags, BatchHeader, CheckpointPlace, Control, Echo, EchoFlags, EpochEntry, Kind, Placement,
    RecordHeader, SegmentHeader, SnapshotCheckpoint,
};
use crate::position::{ByteOffset, Epoch, LogId, Lsn, Place, Position};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A batch takes further units up to this many bytes. One larger unit goes alone.
const BATCH_BYTES: u64 = 1 << 20;
/// Room that is kept for what makes room.
const LAST_ROOM_BYTES: u64 = 1 << 20;
/// What an epoch start takes in the stream.
const EPOCH_START_BYTES: u64 = 56 + 24;

/// A batch that is being written.
#[derive(Debug)]
pub(super) struct InFlight {
    records: Vec<Written>,
    segment: u64,
    end: u64,
    bytes: u64,
    interval: bool,
    echo_flags: BTreeMap<LogId, EchoFlags>,
    pub(super) closed: Closed,
}

/// What waits for a batch.
#[derive(Debug, Default)]
pub(super) struct Closed {
    batch: u64,
    /// Where its logs end after it.
    ends: Vec<(LogId, Place)>,
    pub(super) at_written: Vec<(TicketId, Done)>,
    pub(super) at_synced: Vec<(TicketId, Done)>,
}

/// A record with its place.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) header: RecordHeader,
    pub(super) place: u64,
    pub(super) control: Option<Control>,
}

/// A batch that is being put together.
#[derive(Debug)]
struct Draft {
    /// Where the next record goes.
    cursor: u64,
    plan: Vec<PlannedRecord>,
    records: Vec<Written>,
    echo_flags: BTreeMap<LogId, EchoFlags>,
    closed: Closed,
    interval: bool,
    wants_sync: bool,
}

impl Draft {
    fn record(&mut self, log: &LogState, mut header: RecordHeader, control: Option<Control>, payload: Payload) {
        if let Payload::Control(bytes) = &payload {
            header.payload_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        }
        let flags = self.echo_flags.entry(header.log).or_default();
        if !header.kind.has_lsn() && header.kind != Kind::CheckpointInline {
            flags.0 |= EchoFlags::CONTROL.0;
            self.wants_sync = true;
        }
        self.records.push(Written { header, place: self.cursor, control });
        self.cursor += RecordHeader::record_bytes(header.payload_len as usize) as u64;
        self.plan.push(PlannedRecord { header, uid: log.uid, payload });
    }

    fn control(&mut self, id: LogId, log: &LogState, now: Now, control: Control) {
        let header = RecordHeader {
            log: id,
            crc: 0,
            payload_len: 0,
            epoch: log.epoch,
            lsn: 0,
            offset: log.next.offset.0,
            time_us: now.wall_us.max(log.last_time_us),
            kind: control.kind(),
            tag: 0,
            placement: Placement::First,
        };
        let payload = Payload::Control(control.encode());
        self.record(log, header, Some(control), payload);
    }

    fn answer(&mut self, ticket: TicketId, done: Done, durability: Durability) {
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
    /// Sizes that no batch takes, or limits that the request itself breaks.
    pub(super) fn check_size(&self, request: &Request) -> Result<(), Error> {
        match request {
            Request::Append { entries, .. } => {
                let record_max = self.settings.record_bytes_max;
                for entry in entries {
                    if u64::from(entry.payload_len) > record_max {
                        return Err(Error::TooLarge {
                            what: "record",
                            size: entry.payload_len.into(),
                            max: record_max,
                        });
                    }
                    if entry.kind == Kind::Gap && entry.advance == 0 {
                        return Err(Error::TooLarge { what: "gap", size: 0, max: u64::MAX });
                    }
                }
                let (size, max) = (stored_bytes(entries), self.settings.append_bytes_max);
                if size > max || entries.len() as u64 > self.echoes_max() {
                    return Err(Error::TooLarge { what: "unit", size, max });
                }
            }
            Request::AddCheckpoint { bytes, .. } => {
                let max = self.settings.checkpoint_inline_bytes_max;
                if bytes.len() as u64 > max {
                    return Err(Error::LimitExceeded { what: "bytes of an inline checkpoint", max });
                }
            }
            Request::SetMeta { key, value, .. } => {
                if key.len() > 128 || value.len() > META_VALUE_BYTES {
                    return Err(Error::TooLarge {
                        what: "meta",
                        size: value.len() as u64,
                        max: META_VALUE_BYTES as u64,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Logs in one batch, so that the echoes of the next leave room for its records.
    fn echoes_max(&self) -> u64 {
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
            Request::SetMeta { key, value, .. } => (control(6 + key.len() + value.len()), 1),
            Request::Drop { .. } | Request::RemoveCheckpoint { .. } => (control(8), 1),
            Request::Sync { .. } => (0, 0),
        }
    }

    /// Closes and writes the next batch, if nothing is in flight and there is something to write and room for it.
    pub(super) fn close_batch(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.in_flight.is_none() && (!self.queue.is_empty() || self.proof_wanted) {
            let Some(at) = self.find_room(out) else { return };
            let head = (BatchHeader::BYTES + self.echoes.len() * Echo::BYTES) as u64;
            let draft = self.draft(now, at + head, out);
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
        let kept = self.queue.front().map_or(0, |(_, request)| self.room_kept_from(request));
        if at + needed + kept > self.settings.segment_bytes {
            let clean = matches!(self.phase, Phase::Closing { step: CloseStep::Clean, .. });
            if self.queue.is_empty() && !(clean && self.stream.next.is_some()) {
                // Nothing but a proof: it is not worth making a segment.
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

    /// Room at the end of the segment that is not for this request: as long as the next segment is not there, a part is
    /// kept for what makes room, like a drop, and the snapshots that follow it.
    fn room_kept_from(&self, request: &Request) -> u64 {
        if self.stream.next.is_some() || self.may_use_last_room(request) {
            return 0;
        }
        (self.settings.segment_bytes / 4).min(LAST_ROOM_BYTES)
    }

    /// In a full store what found no room is refused, instead of waiting for it.
    fn refuse_without_room(&mut self, out: &mut Vec<Effect>) {
        if self.no_room
            && let Some((ticket, _)) = self.queue.pop_front()
        {
            out.push(Effect::Reply { ticket, result: Err(Error::Full) });
        }
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
            records: Vec::new(),
            echo_flags: BTreeMap::new(),
            closed,
            interval: false,
            wants_sync: false,
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
        self.in_flight = Some(InFlight {
            records: draft.records,
            segment: self.stream.segment,
            end: draft.cursor,
            bytes: draft.cursor - at,
            interval: draft.interval,
            echo_flags: draft.echo_flags,
            closed: draft.closed,
        });
        out.push(Effect::Write(Box::new(WritePlan {
            begin: self.stream.begin.take(),
            at,
            salt: self.stream.salt,
            header,
            echoes,
            records: draft.plan,
        })));
    }

    /// Gives numbers to one request, or refuses it without using any.
    fn number(
        &mut self,
        ticket: TicketId,
        request: Request,
        now: Now,
        draft: &mut Draft,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        match request {
            Request::Append { entries, options } => self.number_unit(ticket, &entries, options, now, draft),
            Request::Create { name, uid, options } => {
                if self.names.contains_key(name.as_str()) {
                    return Err(Error::LogExists);
                }
                if self.logs.len() >= self.settings.logs_max {
                    return Err(Error::LimitExceeded { what: "logs", max: self.settings.logs_max as u64 });
                }
                let id = self.next_log;
                self.next_log = LogId(id.0 + 1);
                let mut log = LogState::new(uid, &name, options);
                log.epoch = self.incarnation.0;
                draft.control(id, &log, now, Control::LogCreated { uid, name, options });
                self.names.insert(Arc::clone(&log.name), id);
                self.logs.insert(id, log);
                draft.answer(ticket, Done::Created(id), Durability::Always);
                Ok(())
            }
            Request::SetOptions { log: id, options } => {
                let log = live(&self.logs, id)?;
                let control = Control::LogCreated { uid: log.uid, name: log.name.to_string(), options };
                draft.control(id, log, now, control);
                draft.answer(ticket, Done::Plain, Durability::Always);
                Ok(())
            }
            Request::SetMeta { log: id, key, value } => {
                let log = live(&self.logs, id)?;
                if !value.is_empty() && !log.meta.contains_key(&key) && log.meta.len() >= META_KEYS {
                    return Err(Error::LimitExceeded { what: "meta keys", max: META_KEYS as u64 });
                }
                draft.control(id, log, now, Control::Meta { key, value });
                draft.answer(ticket, Done::Plain, Durability::Always);
                Ok(())
            }
            Request::Drop { log: id } => {
                live(&self.logs, id)?;
                let Some(log) = self.logs.get_mut(&id) else { return Err(Error::LogGone) };
                log.dropping = true;
                self.names.remove(&log.name);
                draft.control(id, log, now, Control::Dropped);
                draft.answer(ticket, Done::Plain, Durability::Always);
                Ok(())
            }
            Request::AddCheckpoint { log: id, lsn, offset, bytes } => {
                let log = live(&self.logs, id)?;
                let invalid = |reason| Error::CheckpointInvalid { lsn, reason };
                if lsn + 1 < log.base.lsn.get() || lsn >= log.written.lsn.get() {
                    return Err(invalid("not between base and head"));
                }
                let max = log.options.checkpoints_max();
                if !log.checkpoints.contains_key(&lsn) && log.checkpoints.len() >= max as usize {
                    let Some(lsn) = to_thin_out(&log.checkpoints, log.base.lsn.get()) else {
                        return Err(Error::LimitExceeded { what: "checkpoints", max: max.into() });
                    };
                    draft.control(id, log, now, Control::CheckpointRemoved { lsn });
                }
                let epoch = log.epochs.owner(lsn).unwrap_or(0);
                let place = CheckpointPlace::Inline { segment: self.stream.segment, position: draft.cursor };
                let done = SnapshotCheckpoint { lsn, offset, epoch, bytes: bytes.len() as u64, place };
                draft.control(id, log, now, Control::CheckpointInline { lsn, offset, epoch, bytes });
                draft.answer(ticket, Done::Checkpoint(done), log.options.durability);
                Ok(())
            }
            Request::RemoveCheckpoint { log: id, lsn } => {
                let log = live(&self.logs, id)?;
                let invalid = |reason| Error::CheckpointInvalid { lsn, reason };
                if !log.checkpoints.contains_key(&lsn) {
                    return Err(invalid("there is none"));
                }
                if log.base.lsn > Lsn::FIRST && lsn + 1 == log.base.lsn.get() {
                    return Err(invalid("the base rests on it"));
                }
                draft.control(id, log, now, Control::CheckpointRemoved { lsn });
                draft.answer(ticket, Done::Plain, log.options.durability);
                Ok(())
            }
            Request::Sync { upto } => self.number_sync(ticket, upto, draft, out),
        }
    }

    fn number_sync(
        &mut self,
        ticket: TicketId,
        upto: Option<(LogId, Lsn)>,
        draft: &mut Draft,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        if let Some((id, lsn)) = upto {
            let log = live(&self.logs, id)?;
            if lsn >= log.next.lsn {
                return Err(Error::PositionAhead { next: log.next });
            }
            if lsn < log.durable.lsn {
                out.push(Effect::Reply { ticket, result: Ok(Done::Plain) });
                return Ok(());
            }
        }
        if !draft.plan.is_empty() {
            draft.answer(ticket, Done::Plain, Durability::Always);
        } else if let Some(last) = self.unsynced.back_mut() {
            self.wanted = self.wanted.max(last.batch);
            last.at_synced.push((ticket, Done::Plain));
        } else {
            out.push(Effect::Reply { ticket, result: Ok(Done::Plain) });
        }
        Ok(())
    }

    fn number_unit(
        &mut self,
        ticket: TicketId,
        entries: &[NewEntry],
        options: AppendOptions,
        now: Now,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        let mut durability = options.durability.unwrap_or(Durability::Os);
        for entry in entries {
            let log = live(&self.logs, entry.log)?;
            durability = durability.max(log.options.durability);
        }
        if let (Some(expect), Some(first)) = (options.expect, entries.first()) {
            let log = live(&self.logs, first.log)?;
            let holds = match expect {
                Expect::Lsn(lsn) => lsn == log.next.lsn,
                Expect::Offset(offset) => offset == log.next.offset,
            };
            if !holds {
                let Place { lsn: next_lsn, offset: next_offset } = log.next;
                return Err(Error::AppendConflict { next_lsn, next_offset, epoch: Epoch(log.epoch) });
            }
        }
        let mut appended = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let Some(log) = self.logs.get_mut(&entry.log) else { continue };
            if !log.epoch_begun {
                log.epoch_begun = true;
                let start = EpochEntry { epoch: log.epoch, start_lsn: log.next.lsn.get(), forced: false };
                draft.control(entry.log, log, now, Control::EpochStart(start));
            }
            appended.push(number_entry(ticket, index, entry, log, now, draft));
        }
        draft.answer(ticket, Done::Appended(appended), durability);
        Ok(())
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
        for record in &flight.records {
            self.apply(record, flight.segment, flight.end);
        }
        for (id, end) in &flight.closed.ends {
            let view = self.logs.get_mut(id).map(|log| {
                log.written = *end;
                log.publish()
            });
            out.push(Effect::Wake { log: *id, view });
        }
        let mut closed = flight.closed;
        for (ticket, done) in closed.at_written.drain(..) {
            out.push(Effect::Reply { ticket, result: Ok(done) });
        }
        if flight.interval && self.interval_due.is_none() {
            self.interval_due = Some(now.tick_ms + self.settings.sync_interval_ms);
        }
        self.unsynced.push_back(closed);
        self.take_index_if_due();
    }

    /// Batches up to this one are on the disk.
    pub(super) fn batch_synced(&mut self, batch: u64, out: &mut Vec<Effect>) {
        self.sync_in_flight = false;
        self.durable = self.durable.max(batch);
        let mut touched = BTreeMap::new();
        let mut answers = Vec::new();
        while let Some(closed) = self.unsynced.pop_front_if(|closed| closed.batch <= batch) {
            touched.extend(closed.ends);
            answers.extend(closed.at_synced);
        }
        for (id, end) in touched {
            if let Some(log) = self.logs.get_mut(&id) {
                log.durable = end;
                if let Some(view) = log.publish_durable() {
                    out.push(Effect::Wake { log: id, view: Some(view) });
                }
            }
        }
        for (ticket, done) in answers {
            out.push(Effect::Reply { ticket, result: Ok(done) });
        }
    }

    /// What a record changes: the same for one just written and for one replayed.
    pub(super) fn apply(&mut self, record: &Written, segment: u64, batch_end: u64) {
        let header = &record.header;
        let id = header.log;
        if let Some(Control::LogCreated { uid, name, options }) = &record.control {
            let epoch = self.incarnation.0;
            let log = self.logs.entry(id).or_insert_with(|| LogState { epoch, ..LogState::new(*uid, name, *options) });
            log.options = *options;
            self.names.insert(Arc::clone(&log.name), id);
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

fn number_entry(
    ticket: TicketId,
    index: usize,
    entry: &NewEntry,
    log: &mut LogState,
    now: Now,
    draft: &mut Draft,
) -> Appended {
    log.last_time_us = log.last_time_us.max(now.wall_us);
    let Place { lsn, offset } = log.next;
    let header = RecordHeader {
        log: entry.log,
        crc: 0,
        payload_len: entry.payload_len,
        epoch: log.epoch,
        lsn: lsn.get(),
        offset: offset.0,
        time_us: log.last_time_us,
        kind: entry.kind,
        tag: entry.tag,
        placement: Placement::First,
    };
    log.next = Place { lsn: lsn.next(), offset: ByteOffset(offset.0 + entry.advance) };
    draft.record(log, header, None, Payload::Entry { ticket, index });
    Appended { position: Position { epoch: Epoch(log.epoch), lsn }, offset, end_offset: log.next.offset }
}

fn live(logs: &BTreeMap<LogId, LogState>, id: LogId) -> Result<&LogState, Error> {
    logs.get(&id).filter(|log| !log.dropping).ok_or(Error::LogGone)
}

fn stored_bytes(entries: &[NewEntry]) -> u64 {
    entries.iter().map(|entry| RecordHeader::record_bytes(entry.payload_len as usize) as u64).sum()
}

/// Places in a segment and counts in a batch: a segment has at most 1 GiB.
fn narrow(value: u64) -> u32 {
    debug_assert!(u32::try_from(value).is_ok(), "bounded by the segment");
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Meta facts of a log, and the length of one.
const META_KEYS: usize = 16;
const META_VALUE_BYTES: usize = 4 << 10;
