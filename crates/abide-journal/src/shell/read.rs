//! Reading records back: from the shared tail, else one extent of the disk after the other.

use super::engine::content;
use super::shared::{LogShared, Seen, Shared};
use crate::core::{Extent, LogView};
use crate::entry::{Content, Level, Record};
use crate::error::{Corruption, DamagedRange, Error};
use crate::format::{BLOCK_BYTES, BatchHeader, Damage, Echo, RecordHeader, padded};
use crate::position::{ByteOffset, Cursor, Epoch, Lsn, Place, Position};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Where a read stops, whichever comes first. At least one record is returned if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Payload bytes.
    pub bytes: usize,
    /// Records or pieces.
    pub records: usize,
}

impl Default for ReadLimit {
    /// 256 KiB, 4,096 records.
    fn default() -> Self {
        Self { bytes: 256 << 10, records: 4_096 }
    }
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOut {
    /// Records in order; empty at the end. In the byte view the first may be the rest of one, the last the beginning of
    /// one.
    pub records: Vec<Record>,
    /// Where to go on.
    pub next: Cursor,
    /// The end of the log at the level asked for, when this was read.
    pub end: Place,
}

/// A log at one moment, for reading.
pub(crate) struct Reader<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) log: &'a LogShared,
    pub(crate) view: Arc<LogView>,
    pub(crate) durable: Place,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shared: &'a Shared, log: &'a LogShared) -> Result<Self, Error> {
        let Seen { view, durable } = log.seen.get().ok_or(Error::LogGone)?;
        Ok(Self { shared, log, view, durable })
    }

    fn end(&self, level: Level) -> Place {
        match level {
            Level::Written => self.view.written,
            Level::Durable | Level::Committed => self.durable,
        }
    }

    /// The record view.
    pub(crate) fn read(&self, from: Lsn, limit: ReadLimit, level: Level) -> Result<ReadOut, Error> {
        self.check_range(from >= self.view.base.lsn, from <= self.view.written.lsn)?;
        let end = self.end(level);
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while next < end.lsn && records.len() < limit.records.max(1) && (bytes < limit.bytes || records.is_empty()) {
            let run = match self.run(next, end.lsn) {
                Ok(run) => run,
                // What is readable before a damage is returned; the damage begins the next read.
                Err(Error::Corrupt(_)) if !records.is_empty() => break,
                Err(error) => return Err(error),
            };
            for record in run {
                if !records.is_empty() && (bytes >= limit.bytes || records.len() >= limit.records) {
                    break;
                }
                bytes += record.content.payload_len();
                next = record.lsn().next();
                records.push(record);
            }
        }
        let offset = match records.last() {
            Some(last) => last.end_offset(),
            None if from == end.lsn => end.offset,
            None => self.place_of(from)?.offset,
        };
        Ok(ReadOut { records, next: Cursor { offset, lsn: Some(next) }, end })
    }

    /// The byte view.
    pub(crate) fn read_bytes(
        &self,
        from: Cursor,
        limit: ReadLimit,
        level: Level,
        marks: bool,
    ) -> Result<ReadOut, Error> {
        let mut out = self.pieces(from, limit, level)?;
        if !marks {
            out.records.retain(|record| !matches!(record.content, Content::Mark(_)));
        }
        // The last piece ends at the limit; the cursor points into its record.
        let bytes: usize = out.records.iter().map(|record| record.content.payload_len()).sum();
        if let Some(last) = out.records.last_mut()
            && bytes > limit.bytes
            && let Content::Data(data) = &mut last.content
        {
            let keep = data.len().saturating_sub(bytes - limit.bytes).max(1);
            if keep < data.len() {
                data.truncate(keep);
                out.next = Cursor { offset: last.end_offset(), lsn: Some(last.lsn()) };
            }
        }
        Ok(out)
    }

    /// Whole records, but for the first, which may be the rest of one.
    pub(crate) fn pieces(&self, from: Cursor, limit: ReadLimit, level: Level) -> Result<ReadOut, Error> {
        let start = self.start_of(from)?;
        let end = self.end(level);
        if start >= end.lsn {
            return Ok(ReadOut { records: Vec::new(), next: Cursor { offset: from.offset, lsn: Some(start) }, end });
        }
        let mut out = self.read(start, limit, level)?;
        if let Some(first) = out.records.first_mut() {
            cut_front(first, from.offset);
        }
        Ok(out)
    }

    /// LSN of the record at which a cursor begins to read.
    pub(crate) fn start_of(&self, from: Cursor) -> Result<Lsn, Error> {
        let view = &self.view;
        if let Some(lsn) = from.lsn {
            self.check_range(lsn >= view.base.lsn, lsn <= view.written.lsn)?;
            return Ok(lsn);
        }
        self.check_range(from.offset >= view.base.offset, from.offset <= view.written.offset)?;
        let offset = from.offset.0;
        let passed = |record: &Record| record.offset.0 < offset && record.end_offset().0 <= offset;
        let cached = self.log.cache.with(|records| {
            let oldest = records.front()?;
            // The oldest one cached may have others at its offset before it.
            if oldest.offset.0 >= offset {
                return None;
            }
            let index = records.partition_point(passed);
            // What was trimmed may still be cached.
            let found = records.get(index).map_or(view.written.lsn, Record::lsn);
            Some(found.clamp(view.base.lsn, view.written.lsn))
        });
        if let Some(lsn) = cached {
            return Ok(lsn);
        }
        let (before, behind) = view.extents.around(|extent| extent.first_offset < offset);
        let Some(extent) = before.or(behind) else { return Ok(view.written.lsn) };
        let mut lsn = Lsn::at_least_first(extent.first_lsn).max(view.base.lsn);
        while lsn < view.written.lsn {
            for record in self.run(lsn, view.written.lsn)? {
                if !passed(&record) {
                    return Ok(record.lsn());
                }
                lsn = record.lsn().next();
            }
        }
        Ok(lsn)
    }

    /// The offset at which a record begins; of the one behind the last, the end.
    pub(crate) fn place_of(&self, lsn: Lsn) -> Result<Place, Error> {
        let view = &self.view;
        self.check_range(lsn >= view.base.lsn, lsn <= view.written.lsn)?;
        if lsn == view.written.lsn {
            return Ok(view.written);
        }
        if lsn == view.base.lsn {
            return Ok(view.base);
        }
        if let Some(extent) = view.extents.holding(lsn.get())
            && extent.first_lsn == lsn.get()
        {
            return Ok(Place { lsn, offset: ByteOffset(extent.first_offset) });
        }
        let run = self.run(lsn, lsn.next())?;
        Ok(run.first().map_or(view.written, |record| Place { lsn, offset: record.offset }))
    }

    fn check_range(&self, kept: bool, reached: bool) -> Result<(), Error> {
        if !kept {
            return Err(Error::PositionTrimmed { base: self.view.base });
        }
        if !reached {
            return Err(Error::PositionAhead { next: self.view.written });
        }
        Ok(())
    }

    /// Some records from `from` on, below `until`: at least one.
    fn run(&self, from: Lsn, until: Lsn) -> Result<Vec<Record>, Error> {
        let cached = self.log.cache.with(|records| {
            let first = records.front()?.lsn();
            let skip = usize::try_from(from.get().checked_sub(first.get())?).ok()?;
            let count = usize::try_from(until.get() - from.get()).ok()?.min(CACHED_RUN);
            let run: Vec<Record> = records.iter().skip(skip).take(count).cloned().collect();
            if run.is_empty() { None } else { Some(run) }
        });
        if let Some(run) = cached {
            return Ok(run);
        }
        let mut extent = extent_of(&self.view, from);
        loop {
            let tried = self.run_of(extent, from, until);
            if !matches!(tried, Err(Error::Corrupt(_))) {
                return tried;
            }
            // Its segment may have been freed since this view was taken: the records lie elsewhere, or are trimmed.
            let now = self.log.seen.get().ok_or(Error::LogGone)?.view;
            if from < now.base.lsn {
                return Err(Error::PositionTrimmed { base: now.base });
            }
            let moved = extent_of(&now, from);
            if moved == extent {
                return tried;
            }
            extent = moved;
        }
    }

    fn run_of(&self, extent: Option<Extent>, from: Lsn, until: Lsn) -> Result<Vec<Record>, Error> {
        let Some(extent) = extent else {
            let lost =
                self.view.facts.damage.iter().find(|damage| (damage.from_lsn..=damage.to_lsn).contains(&from.get()));
            return Err(match lost {
                Some(damage) => self.damaged(damage),
                None => self.corrupt(0, 0, "the index has no place for it", from, from, None),
            });
        };
        let mut records = Vec::new();
        for piece in self.read_extent(&extent)? {
            match piece {
                Piece::Record(record) if record.lsn() >= until => break,
                Piece::Record(record) if record.lsn() >= from => records.push(record),
                Piece::Record(_) => {}
                Piece::Hole { to, .. } if to < from.get() => {}
                Piece::Hole { .. } if !records.is_empty() => break,
                Piece::Hole { from: first, to, at, behind } => {
                    let (first, last) = (Lsn::at_least_first(first), Lsn::at_least_first(to));
                    return Err(self.corrupt(extent.segment, at, "a record does not verify", first, last, behind));
                }
            }
        }
        Ok(records)
    }

    /// One read of the extent's span. Every record is verified; one that does not is a hole.
    pub(crate) fn read_extent(&self, extent: &Extent) -> Result<Vec<Piece>, Error> {
        let last = Lsn::at_least_first(extent.end_lsn() - 1);
        let first = Lsn::at_least_first(extent.first_lsn);
        let corrupt = |at: u64, reason| self.corrupt(extent.segment, at, reason, first, last, None);
        let segment = match self.shared.segment(extent.segment) {
            Ok(segment) => segment,
            Err(_) if self.log.seen.get().is_none() => return Err(Error::LogGone),
            Err(_) => return Err(corrupt(0, "the segment cannot be opened")),
        };
        let start = u64::from(extent.place);
        let mut bytes = vec![0; extent.span as usize];
        match segment.file.read_at(start, &mut bytes) {
            Ok(count) if count == bytes.len() => {}
            Ok(_) => return Err(corrupt(start, "the segment is too short")),
            Err(_) => return Err(corrupt(start, "the segment cannot be read")),
        }
        let mut walk = Walk {
            log: self.log,
            bytes: Bytes::from(bytes),
            start,
            at: start,
            batch_end: extent.batch_end.into(),
            segment: extent.segment,
            salt: segment.salt,
        };
        Ok(walk.pieces(extent))
    }

    /// The error that names a damage.
    pub(crate) fn damaged(&self, damage: &Damage) -> Error {
        let (from, to) = (Lsn::at_least_first(damage.from_lsn), Lsn::at_least_first(damage.to_lsn));
        self.corrupt(damage.segment, damage.position, "a batch that was proven durable", from, to, None)
    }

    fn corrupt(
        &self,
        segment: u64,
        position: u64,
        reason: &'static str,
        from: Lsn,
        to: Lsn,
        behind: Option<Place>,
    ) -> Error {
        let behind = behind.unwrap_or_else(|| match self.view.extents.around(|e| e.first_lsn <= to.get()).1 {
            Some(extent) => {
                Place { lsn: Lsn::at_least_first(extent.first_lsn), offset: ByteOffset(extent.first_offset) }
            }
            None => self.view.written,
        });
        let range = DamagedRange { log: self.log.name.to_string(), from, to, behind };
        let file = self.shared.paths.segment(segment);
        Error::Corrupt(Arc::new(Corruption { file, position, reason, range: Some(range) }))
    }
}

/// Records taken from the shared tail at once.
const CACHED_RUN: usize = 1_024;

fn extent_of(view: &LogView, lsn: Lsn) -> Option<Extent> {
    view.extents.holding(lsn.get())
}

/// What an extent holds, in order.
#[derive(Debug)]
pub(crate) enum Piece {
    Record(Record),
    /// Records that cannot be read, the byte of the segment where the first of them is looked for, and what is readable
    /// behind them in this extent.
    Hole {
        from: u64,
        to: u64,
        at: u64,
        behind: Option<Place>,
    },
}

/// Goes from record to record over the bytes of an extent's span.
struct Walk<'a> {
    log: &'a LogShared,
    bytes: Bytes,
    /// Byte in the segment where `bytes` begins.
    start: u64,
    at: u64,
    batch_end: u64,
    segment: u64,
    salt: u32,
}

impl Walk<'_> {
    /// Record after record as long as each is the one expected. Behind the first that is not, headers and lengths mean
    /// nothing: whatever verifies as one of the records that are still expected is looked for at each place.
    fn pieces(&mut self, extent: &Extent) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(extent.records as usize);
        let mut next = (extent.first_lsn, extent.first_offset);
        let mut good = self.start;
        while next.0 < extent.end_lsn() {
            let Some((header, payload)) = self.next() else { break };
            if header.log != self.log.id || !header.kind.has_lsn() {
                continue;
            }
            let holds = (header.lsn, header.offset) == next && header.verifies(self.log.uid, &payload);
            let Some(record) = record(&header, &payload).filter(|_| holds) else { break };
            next = (next.0 + 1, record.end_offset().0);
            good = self.at;
            pieces.push(Piece::Record(record));
        }
        let mut at = good;
        while next.0 < extent.end_lsn() {
            let found = self.search(at, next.0..extent.end_lsn());
            let behind = found.as_ref().map(|(_, record)| Place { lsn: record.lsn(), offset: record.offset });
            let to = behind.map_or(extent.end_lsn(), |place| place.lsn.get()) - 1;
            if to >= next.0 {
                pieces.push(Piece::Hole { from: next.0, to, at, behind });
            }
            let Some((end, record)) = found else { break };
            next.0 = record.lsn().get() + 1;
            at = end;
            pieces.push(Piece::Record(record));
        }
        pieces
    }

    /// The next place from which a record of this log in the range can be read, and the place behind it.
    fn search(&self, from: u64, wanted: Range<u64>) -> Option<(u64, Record)> {
        let end = self.start + self.bytes.len() as u64;
        (from..end).step_by(8).find_map(|at| {
            let (header, payload) = self.record_at(at)?;
            let ours = header.log == self.log.id && wanted.contains(&header.lsn);
            if !ours || !header.verifies(self.log.uid, &payload) {
                return None;
            }
            let stored = RecordHeader::record_bytes(payload.len()) as u64;
            Some((at + stored, record(&header, &payload)?))
        })
    }

    fn slice(&self, at: u64, len: usize) -> Option<Bytes> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(len)?;
        if to <= self.bytes.len() { Some(self.bytes.slice(from..to)) } else { None }
    }

    fn record_at(&self, at: u64) -> Option<(RecordHeader, Bytes)> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        let header = RecordHeader::decode(self.bytes.get(from..)?).ok()?;
        let payload = self.slice(at + RecordHeader::BYTES as u64, header.payload_len as usize)?;
        Some((header, payload))
    }

    fn next(&mut self) -> Option<(RecordHeader, Bytes)> {
        while self.at >= self.batch_end {
            self.enter_batch()?;
        }
        let (header, payload) = self.record_at(self.at)?;
        self.at += (RecordHeader::BYTES + padded(payload.len())) as u64;
        Some((header, payload))
    }

    /// The next batch begins here or at the next block.
    fn enter_batch(&mut self) -> Option<()> {
        for at in [self.batch_end, self.batch_end.next_multiple_of(BLOCK_BYTES)] {
            let Some(head) = self.slice(at, BatchHeader::BYTES) else { continue };
            if let Ok(header) = BatchHeader::decode(&head, self.salt)
                && header.segment == self.segment
            {
                let body = at + BatchHeader::BYTES as u64;
                self.at = body + u64::from(header.echoes) * Echo::BYTES as u64;
                self.batch_end = body + u64::from(header.body_len);
                return Some(());
            }
        }
        None
    }
}

fn record(header: &RecordHeader, payload: &Bytes) -> Option<Record> {
    Some(Record {
        position: Position { epoch: Epoch(header.epoch), lsn: Lsn::new(header.lsn)? },
        offset: ByteOffset(header.offset),
        time_us: header.time_us,
        tag: header.tag,
        content: content(header.kind, payload)?,
    })
}

/// Makes a piece of a record that begins before `offset`.
fn cut_front(record: &mut Record, offset: ByteOffset) {
    let Some(cut) = offset.0.checked_sub(record.offset.0).filter(|cut| *cut > 0) else { return };
    match &mut record.content {
        Content::Data(bytes) => {
            let cut = usize::try_from(cut).unwrap_or(usize::MAX).min(bytes.len());
            *bytes = bytes.slice(cut..);
            record.offset.0 += cut as u64;
        }
        Content::Gap(length) => {
            let cut = cut.min(*length);
            *length -= cut;
            record.offset.0 += cut;
        }
        Content::Mark(_) => {}
    }
}
