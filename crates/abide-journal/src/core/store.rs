//! One store: its states, its queue, and what becomes of each event.

use super::batch::{Closed, InFlight, Written};
use super::compaction::{Compacting, Moving, Piece};
use super::room::{Ahead, Claim, Origin};
use super::roots::Roots;
use super::space::{Limits, Space, SpaceState};
use super::{LogState, LogView};
use crate::disk::DiskSpace;
use crate::entry::{AppendOptions, Appended, Durability};
use crate::error::{Cause, Error};
use crate::format::{BatchHeader, Damage, Echo, Kind, Sealed, SegmentHeader, Snapshot, SnapshotCheckpoint};
use crate::options::LogOptions;
use crate::position::{Incarnation, LogId, LogUid, Lsn, Place, Position};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Sizes and limits of a store.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "each is described on Options")]
pub struct Settings {
    pub store_id: [u8; 16],
    pub segment_bytes: u64,
    pub record_bytes_max: u64,
    pub append_bytes_max: u64,
    pub sync_interval_ms: u64,
    pub proof_delay_ms: u64,
    pub index_interval_bytes: u64,
    pub index_interval_ms: u64,
    pub trim_interval_ms: u64,
    pub pin_bytes_max: u64,
    pub pin_age_ms_max: u64,
    pub spare_segments: u64,
    pub compact_live_ratio: f64,
    pub compact_bytes_per_s: u64,
    pub extent_bytes: u32,
    pub checkpoint_inline_bytes_max: u64,
    pub disk_reserve_bytes: u64,
    pub bytes_max: u64,
    pub logs_max: usize,
    pub epoch_entries_max: usize,
}

/// Both clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Wall clock in µs.
    pub wall_us: u64,
    /// Monotonic clock in ms.
    pub tick_ms: u64,
}

/// Names a caller that waits for an answer.
pub type TicketId = u64;

/// One record of an append.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// The log.
    pub log: LogId,
    /// Data, mark or gap.
    pub kind: Kind,
    /// The caller's tag.
    pub tag: u8,
    /// What it holds.
    pub payload: Sealed,
    /// By how much it advances the offset.
    pub advance: u64,
}

/// What a caller asks for. Requests take effect in the order in which they are submitted.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field is described on the call of Journal or Log that makes it")]
pub enum Request {
    /// One unit.
    Append { entries: Vec<NewEntry>, options: AppendOptions },
    /// A new log.
    Create { name: String, uid: LogUid, options: LogOptions },
    /// Other options for a log.
    SetOptions { log: LogId, options: LogOptions },
    /// The end of a log.
    Drop { log: LogId },
    /// A small fact.
    SetMeta { log: LogId, key: String, value: Vec<u8> },
    /// A checkpoint for all records up to `lsn` (0: for the empty log), behind which lies `offset`.
    AddCheckpoint { log: LogId, lsn: u64, offset: u64, bytes: Bytes },
    /// The same, whose file is durable.
    AddFile { log: LogId, checkpoint: SnapshotCheckpoint },
    /// What lies before `to` is no longer kept, as far as pins allow.
    Trim { log: LogId, to: Place },
    /// What lies at and behind `place` is kept as long as the pin lives.
    Pin { log: LogId, place: Place, owner: Arc<str> },
    /// A pin moves forward.
    AdvancePin { log: LogId, pin: u64, place: Place },
    /// A pin is released.
    Unpin { log: LogId, pin: u64 },
    /// Compaction.
    Move(Moving),
    /// A damage, or what has become of it.
    Damage { log: LogId, damage: Damage },
    /// One checkpoint less.
    RemoveCheckpoint { log: LogId, lsn: u64 },
    /// A sync of everything before this request; with a log and LSN: only if that is not durable yet.
    Sync { upto: Option<(LogId, Lsn)> },
}

impl Request {
    /// The level at which it is answered at least, as far as it tells by itself.
    pub fn level(&self) -> Durability {
        match self {
            Self::Append { options, .. } => options.durability.unwrap_or(Durability::Os),
            Self::AddCheckpoint { .. }
            | Self::RemoveCheckpoint { .. }
            | Self::Pin { .. }
            | Self::AdvancePin { .. }
            | Self::Unpin { .. } => Durability::Os,
            _ => Durability::Always,
        }
    }
}

/// What happened.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are those of the effect that is answered")]
pub enum Event {
    /// A caller asks for something. It is queued; nothing is written before the next [`Event::Turn`].
    Submit { ticket: TicketId, request: Request },
    /// Nothing more is at hand: write what is queued.
    Turn,
    /// [`Effect::Write`] is in the page cache.
    Written { batch: u64 },
    /// [`Effect::Sync`] returned.
    Synced { batch: u64 },
    /// [`Effect::Prepare`] is done. `salt` is fresh from the source of random numbers.
    Prepared { ahead: Ahead, to: u64, salt: u32, space: DiskSpace },
    /// The disk has no room for it.
    PrepareFailed { ahead: Ahead, space: DiskSpace },
    /// [`Effect::Measure`] is done.
    Measured { space: DiskSpace },
    /// [`Effect::WriteIndex`] is durable under its name.
    IndexWritten { batch: u64, bytes: u64 },
    /// The disk has no room for it.
    IndexFailed,
    /// A segment's file is gone, or has become this spare one.
    Freed { spare: Option<u64>, space: DiskSpace },
    /// [`Effect::WriteCheckpoint`] is durable under its name; or why not.
    CheckpointWritten { log: LogId, lsn: u64, written: Result<SnapshotCheckpoint, Error> },
    /// [`Effect::FindTrim`] is done: where the base may go.
    TrimFound { log: LogId, to: Option<Place> },
    /// [`Effect::Read`] is done.
    Read(Moving),
    /// Any call to the disk failed, or the lock is no longer ours.
    Failed { cause: Cause },
    /// [`Store::deadline`] has passed.
    Tick,
    /// The owner wants to stop in order.
    Close { ticket: TicketId },
}

/// What is to be done. I/O is answered by an event; a failed one by [`Event::Failed`].
#[derive(Debug)]
#[expect(missing_docs, reason = "fields are described on the types they have")]
pub enum Effect {
    /// Write zeros into a file from `from` up to `to`; one that is new, or was a spare one, gets a durable directory entry.
    Prepare { ahead: Ahead, origin: Origin, from: u64, to: u64 },
    /// Remove the reserve.
    GiveUpReserve,
    /// Write a batch, and before it the segment's header if it is the first there.
    Write(Arc<WritePlan>),
    /// Sync the segment, which holds all batches up to this one that are not durable.
    Sync { segment: u64, batch: u64 },
    /// Make this snapshot durable under its batch, then remove that of `obsolete` (0: none).
    WriteIndex { batch: u64, file: Vec<u8> },
    /// Remove a snapshot that is no longer kept.
    RemoveIndex { batch: u64 },
    /// Remove a segment's file, or make it this spare one.
    Free { segment: u64, spare: Option<u64> },
    /// Make a checkpoint's file durable.
    WriteCheckpoint(NewFile),
    /// Remove a checkpoint's file.
    RemoveCheckpoint { log: LogId, lsn: u64 },
    /// Look how far a log's limits let its base go.
    FindTrim { log: LogId },
    /// Read and verify what is live in a segment.
    Read { piece: Piece },
    /// Ask how much room the disk has.
    Measure,
    /// Answer a caller.
    Reply { ticket: TicketId, result: Result<Done, Error> },
    /// Readers see this from now on; `None`: the log is gone.
    Wake { log: LogId, view: Option<Arc<LogView>> },
    /// A log is durable up to here.
    Durable { log: LogId, end: Place },
    /// Room has changed.
    Space(Space),
    /// Nothing more will be written in this open.
    Poisoned(Cause),
}

/// Answer to a caller.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "one for each kind of request")]
pub enum Done {
    Appended(Vec<Appended>),
    Created(LogId),
    Checkpoint(SnapshotCheckpoint),
    Trimmed(Place),
    Pinned { log: LogId, pin: u64, place: Place },
    Plain,
}

/// A checkpoint to be written as a file.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in CheckpointFileHeader")]
pub struct NewFile {
    pub log: LogId,
    pub uid: LogUid,
    pub lsn: u64,
    pub offset: u64,
    pub epoch: u64,
    pub bytes: Bytes,
}

/// A batch to be written.
#[derive(Debug)]
pub struct WritePlan {
    /// Header of a new segment, to be written first.
    pub begin: Option<SegmentHeader>,
    /// Byte of the segment where the batch begins.
    pub at: u64,
    /// The segment's salt.
    pub salt: u32,
    /// The batch's header, but for `body_crc`.
    pub header: BatchHeader,
    /// Its echoes.
    pub echoes: Vec<Echo>,
    /// Its records.
    pub records: Vec<PlannedRecord>,
}

/// A record to be written.
#[derive(Debug)]
pub struct PlannedRecord {
    /// Its header, but for the checksum, and its place.
    pub(crate) written: Written,
    /// Identity of its log.
    pub(crate) uid: LogUid,
    pub(crate) payload: Sealed,
}

/// Opening is over when a store exists; see `replay`.
/// ```text
/// Ready ◄──► Full        any ──► Poisoned ──► Closed        any ──► Closed
/// ```
/// Full is not a phase of its own: it follows from [`Store::space`].
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Ready,
    Closing { ticket: TicketId, step: CloseStep },
    Poisoned(Cause),
    Closed,
}

/// Steps of an orderly end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseStep {
    /// The queue is written.
    Drain,
    /// The snapshot is written.
    Index,
    /// The batch with flag clean is written and synced.
    Clean,
}

/// Where the next batch goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) segment: u64,
    pub(super) salt: u32,
    /// End of the last batch.
    pub(super) end: u64,
    /// Zeros are written up to here.
    pub(super) prepared: u64,
    /// The header of a segment that was just begun, to be written with its first batch.
    pub(super) begin: Option<SegmentHeader>,
    /// The segment after this one, as far as it is prepared: salt and bytes.
    pub(super) next: Option<(u32, u64)>,
    /// A `Prepare` is under way.
    pub(super) preparing: bool,
    /// Room in this segment that the first request of the queue lacks.
    pub(super) missing: u64,
    /// The first request of the queue needs the next segment.
    pub(super) leaving: bool,
}

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(super) struct PendingIndex {
    batch: u64,
    segment: u64,
    needs: BTreeSet<u64>,
    /// Taken when the write begins.
    file: Option<Vec<u8>>,
}

/// The rules of one store.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts: what is under way, and what is wanted")]
pub struct Store {
    pub(super) settings: Settings,
    pub(super) incarnation: Incarnation,
    pub(super) phase: Phase,
    pub(super) logs: BTreeMap<LogId, LogState>,
    pub(super) names: BTreeMap<Arc<str>, LogId>,
    pub(super) next_log: LogId,
    pub(super) queue: VecDeque<(TicketId, Request)>,
    pub(super) stream: Stream,
    pub(super) next_batch: u64,
    pub(super) in_flight: Option<InFlight>,
    pub(super) unsynced: VecDeque<Closed>,
    pub(super) durable: u64,
    /// Somebody waits for a sync of batches up to this one.
    pub(super) wanted: u64,
    pub(super) sync_in_flight: bool,
    /// A sync that covers batches up to this one has been asked for.
    pub(super) sync_asked: u64,
    pub(super) echoes: Vec<Echo>,
    pub(super) roots: Roots,
    pub(super) index: Option<PendingIndex>,
    pub(super) appended_since_index: u64,
    /// A batch without records is to be written, so that one more snapshot can be taken.
    pub(super) proof_wanted: bool,
    pub(super) interval_due: Option<u64>,
    /// The last batch holds something promised that no later one proves durable: at this time a proof is written.
    pub(super) proof_due: Option<u64>,
    pub(super) retry_at: Option<u64>,
    /// Checkpoint files that are being written, with those who wait for them.
    pub(super) files: BTreeMap<(LogId, u64), TicketId>,
    /// Checkpoint files that nothing refers to once the next batch is durable.
    pub(super) unlinked: Vec<(LogId, u64)>,
    /// Logs whose length is looked at when `trim_due` comes.
    pub(super) trim_wanted: BTreeSet<LogId>,
    pub(super) trim_due: Option<u64>,
    pub(super) next_pin: u64,
    /// Something has died since segments were last looked at.
    pub(super) compact_look: bool,
    pub(super) compact_due: Option<u64>,
    pub(super) compacting: Option<Compacting>,
    /// Segments that hold what was written again, or cannot be emptied, with what was live in them then.
    pub(super) packed: BTreeMap<u64, u64>,
    /// Bytes that compaction has written into the present segment.
    pub(super) moved_here: u64,
    /// Whole segments that wait for use.
    pub(super) spares: BTreeSet<u64>,
    /// A spare segment that is being made, and how far.
    pub(super) making_spare: Option<(u64, u64)>,
    pub(super) next_spare: u64,
    /// Length of the reserve, 0: there is none.
    pub(super) reserve: u64,
    pub(super) index_due: Option<u64>,
    pub(super) no_room: bool,
    /// Something has changed since room was missing: it is asked for again.
    pub(super) retry_room: bool,
    pub(super) disk: DiskSpace,
    pub(super) space: Space,
}

/// An index snapshot is taken after some time only if at least this much was appended.
const WORTH_AN_INDEX_BYTES: u64 = 1 << 20;
/// Snapshots up to this size are taken just to free a segment.
const CHEAP_INDEX_BYTES: u64 = 1 << 20;

impl Store {
    /// Settings, as opened.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// This open of the store.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The next `tick_ms` at which [`Event::Tick`] is due. `None`: nothing will happen by itself.
    pub fn deadline(&self) -> Option<u64> {
        [self.interval_due, self.retry_at, self.proof_due, self.trim_due, self.index_due, self.compact_due]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the store has come to its end.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Poisoned(_))
    }

    /// One step: what happened goes in, what is to be done comes out.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Submit { ticket, request } => return self.submit(now, ticket, request, out),
            Event::Turn => {}
            Event::Written { batch } => self.batch_written(now, batch, out),
            Event::Synced { batch } => self.batch_synced(now, batch, out),
            Event::Prepared { ahead, to, salt, space } => self.prepared(ahead, to, salt, space),
            Event::PrepareFailed { ahead, space } => self.prepare_failed(ahead, space),
            Event::Measured { space } => self.disk = space,
            Event::Freed { spare, space } => {
                self.disk = space;
                self.retry_room = true;
                self.spares.extend(spare);
            }
            Event::CheckpointWritten { log, lsn, written } => self.file_written(log, lsn, written, out),
            Event::TrimFound { log, to } => self.trim_found(log, to),
            Event::Read(moving) => self.read(moving),
            Event::IndexWritten { batch, bytes } => self.index_written(batch, bytes, out),
            Event::IndexFailed => self.index_failed(out),
            Event::Failed { cause } => self.poison(&cause, out),
            Event::Tick => self.tick(now, out),
            Event::Close { ticket } => self.close(ticket, out),
        }
        self.advance(now, out);
    }

    fn submit(&mut self, now: Now, ticket: TicketId, request: Request, out: &mut Vec<Effect>) {
        let admitted = match self.admit(&request) {
            Err(error) => Err(error),
            Ok(()) => match request {
                Request::Pin { .. } | Request::AdvancePin { .. } | Request::Unpin { .. } => {
                    self.change_pin(now, ticket, request, out);
                    Ok(())
                }
                Request::AddCheckpoint { log, lsn, offset, bytes }
                    if bytes.len() as u64 > self.settings.checkpoint_inline_bytes_max =>
                {
                    self.submit_file(ticket, log, lsn, offset, bytes, out)
                }
                request => {
                    self.queue.push_back((ticket, request));
                    Ok(())
                }
            },
        };
        if let Err(error) = admitted {
            out.push(Effect::Reply { ticket, result: Err(error) });
        }
    }

    fn admit(&self, request: &Request) -> Result<(), Error> {
        match &self.phase {
            Phase::Ready => {}
            Phase::Poisoned(cause) => return Err(Error::Poisoned(cause.clone())),
            Phase::Closing { .. } | Phase::Closed => return Err(Error::Closed),
        }
        self.check_size(request)?;
        if self.space.state == SpaceState::Full && self.claim(request) == Claim::Ordinary {
            return Err(Error::Full);
        }
        Ok(())
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.interval_due.is_some_and(|due| due <= now.tick_ms) {
            self.interval_due = None;
            self.wanted = self.wanted.max(self.next_batch - 1);
        }
        if self.proof_due.is_some_and(|due| due <= now.tick_ms) {
            self.proof_due = None;
            self.proof_wanted = true;
        }
        if self.index_due.is_some_and(|due| due <= now.tick_ms) {
            self.index_due = None;
            self.take_index();
        }
        if self.trim_due.is_some_and(|due| due <= now.tick_ms) {
            self.trim_due = None;
            self.find_trims(now, out);
        }
        if self.retry_at.is_some_and(|at| at <= now.tick_ms) {
            self.retry_at = None;
            self.retry_room = true;
            out.push(Effect::Measure);
            if self.roots.waiting() {
                // What a drop left can be freed once snapshots no longer need it.
                self.take_index();
                self.proof_wanted |= self.index.is_none();
            }
        }
    }

    fn close(&mut self, ticket: TicketId, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Ready => self.phase = Phase::Closing { ticket, step: CloseStep::Drain },
            Phase::Closing { .. } => out.push(Effect::Reply { ticket, result: Err(Error::Closed) }),
            Phase::Poisoned(_) | Phase::Closed => {
                self.phase = Phase::Closed;
                out.push(Effect::Reply { ticket, result: Ok(Done::Plain) });
            }
        }
    }

    /// Everything that follows from the state, whatever event changed it.
    fn advance(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        self.update_space(now, out);
        self.advance_compaction(now, out);
        // Before the next batch is closed: it must not begin in a block that this sync covers.
        self.advance_sync(out);
        self.close_batch(now, out);
        self.advance_closing(now, out);
        self.advance_index(out);
        self.advance_sync(out);
        self.advance_room(out);
        self.update_space(now, out);
    }

    /// While a batch is being written none is asked for: it may share a block with the one before it.
    fn advance_sync(&mut self, out: &mut Vec<Effect>) {
        let written = self.next_batch - 1;
        let idle = !self.sync_in_flight && self.in_flight.is_none();
        if self.wanted > self.durable && written > self.durable && idle {
            self.sync_in_flight = true;
            self.sync_asked = written;
            self.interval_due = None;
            out.push(Effect::Sync { segment: self.stream.segment, batch: written });
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            bytes_max: self.settings.bytes_max,
            disk_reserve_bytes: self.settings.disk_reserve_bytes,
            segment_bytes: self.settings.segment_bytes,
        }
    }

    /// After each batch: whether the index is due.
    pub(super) fn take_index_if_due(&mut self, now: Now) {
        // Closing takes one by itself, and none behind the clean end.
        if !matches!(self.phase, Phase::Ready) {
            return;
        }
        let interval = self.settings.index_interval_bytes.max(4 * self.roots.last_bytes);
        let cheap = self.roots.last_bytes <= CHEAP_INDEX_BYTES || self.space.state != SpaceState::Ok;
        if self.appended_since_index >= interval || (self.roots.waiting() && cheap) {
            self.take_index();
        }
        if self.appended_since_index >= WORTH_AN_INDEX_BYTES && self.index.is_none() {
            self.index_due.get_or_insert(now.tick_ms + self.settings.index_interval_ms);
        }
    }

    /// Freezes the state after the last batch. Nothing may be in flight.
    fn take_index(&mut self) {
        let batch = self.next_batch - 1;
        if self.index.is_some() || self.in_flight.is_some() || batch <= self.roots.batch() {
            return;
        }
        let snapshot = Snapshot {
            store_id: self.settings.store_id,
            incarnation: self.incarnation,
            batch,
            segment: self.stream.segment,
            position: self.stream.end,
            next_log: self.next_log,
            logs: Vec::new(),
        };
        let file = snapshot.encode_with(self.logs.iter().map(|(id, log)| log.to_snapshot(*id)));
        self.index = Some(PendingIndex {
            batch,
            segment: self.stream.segment,
            needs: self.roots.live_segments(),
            file: Some(file),
        });
        self.appended_since_index = 0;
        self.index_due = None;
        self.wanted = self.wanted.max(batch);
    }

    /// A snapshot covers durable batches only, so it proves them.
    fn advance_index(&mut self, out: &mut Vec<Effect>) {
        if let Some(index) = &mut self.index
            && index.batch <= self.durable
            && let Some(file) = index.file.take()
        {
            out.push(Effect::WriteIndex { batch: index.batch, file });
        }
    }

    fn index_written(&mut self, batch: u64, bytes: u64, out: &mut Vec<Effect>) {
        let Some(index) = self.index.take_if(|index| index.batch == batch) else { return };
        let (obsolete, free) = self.roots.written(batch, index.segment, index.needs, bytes);
        if obsolete != 0 {
            out.push(Effect::RemoveIndex { batch: obsolete });
        }
        for (segment, file) in free {
            self.packed.remove(&segment);
            // A whole one is kept to be used again: one as spare, and one to be the next.
            let keeps = self.spares.len() as u64 <= self.settings.spare_segments && file == self.settings.segment_bytes;
            let spare = keeps.then(|| {
                self.next_spare += 1;
                self.next_spare - 1
            });
            out.push(Effect::Free { segment, spare });
        }
        // One more snapshot frees what the older of the kept two still needs; without room it is not left to chance.
        self.proof_wanted = self.roots.waiting() && self.space.state != SpaceState::Ok;
        if let Phase::Closing { step: step @ CloseStep::Index, .. } = &mut self.phase {
            *step = CloseStep::Clean;
            self.proof_wanted = true;
        }
    }

    fn index_failed(&mut self, out: &mut Vec<Effect>) {
        self.index = None;
        if self.reserve > 0 {
            // That is what it is for.
            self.reserve = 0;
            out.push(Effect::GiveUpReserve);
            return self.take_index();
        }
        if let Phase::Closing { step: step @ CloseStep::Index, .. } = &mut self.phase {
            *step = CloseStep::Clean;
            self.proof_wanted = true;
        }
    }

    fn advance_closing(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Phase::Closing { ticket, step } = self.phase else { return };
        if self.in_flight.is_some() || !self.queue.is_empty() || !self.files.is_empty() {
            return;
        }
        self.wanted = self.wanted.max(self.next_batch - 1);
        if self.durable < self.wanted || self.index.is_some() {
            return;
        }
        match step {
            CloseStep::Drain => {
                self.take_index();
                let step = if self.index.is_some() { CloseStep::Index } else { CloseStep::Clean };
                self.proof_wanted = step == CloseStep::Clean;
                self.phase = Phase::Closing { ticket, step };
                if step == CloseStep::Clean {
                    self.close_batch(now, out);
                    self.advance_closing(now, out);
                }
            }
            CloseStep::Index => {}
            CloseStep::Clean => {
                if !self.proof_wanted {
                    self.phase = Phase::Closed;
                    out.push(Effect::Reply { ticket, result: Ok(Done::Plain) });
                }
            }
        }
    }

    /// Nothing more is written. Whoever has a number learns that its fate is unknown.
    fn poison(&mut self, cause: &Cause, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        let in_flight = self.in_flight.take().map(|flight| flight.closed);
        for closed in self.unsynced.drain(..).chain(in_flight) {
            for (ticket, done) in closed.at_written.into_iter().chain(closed.at_synced) {
                let position = match done {
                    Done::Appended(appended) => appended.first().map(|first| first.position),
                    _ => None::<Position>,
                };
                out.push(Effect::Reply { ticket, result: Err(Error::Unknown { position }) });
            }
        }
        for ticket in std::mem::take(&mut self.files).into_values() {
            out.push(Effect::Reply { ticket, result: Err(Error::Poisoned(cause.clone())) });
        }
        for (ticket, _) in self.queue.drain(..) {
            out.push(Effect::Reply { ticket, result: Err(Error::Poisoned(cause.clone())) });
        }
        if let Phase::Closing { ticket, .. } = self.phase {
            out.push(Effect::Reply { ticket, result: Err(Error::Poisoned(cause.clone())) });
        }
        self.phase = Phase::Poisoned(cause.clone());
        self.interval_due = None;
        self.proof_due = None;
        (self.trim_due, self.index_due, self.compact_due) = (None, None, None);
        self.retry_at = None;
        out.push(Effect::Poisoned(cause.clone()));
    }
}
