//! The handle of one log.

use super::engine::payload;
use super::follower::{Follower, From};
use super::pin::Pin;
use super::read::{ReadLimit, ReadOut, Reader};
use super::shared::{Inner, LogShared, Seen, Submission};
use super::ticket::Ticket;
use crate::core::{Done, NewEntry, Request};
use crate::entry::{AppendOptions, Appended, Entry, Level};
use crate::error::Error;
use crate::format::{Damage, EpochEntry, Sealed, SnapshotCheckpoint};
use crate::options::{LogOptions, Retention};
use crate::position::{ByteOffset, Cursor, Epoch, LogId, LogUid, Lsn, Place, Position};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One log of a store. A cheap clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct Log {
    pub(crate) inner: Arc<Inner>,
    pub(crate) shared: Arc<LogShared>,
}

/// What is known of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInfo {
    /// Unique in the store.
    pub name: String,
    /// Equal on all nodes.
    pub uid: LogUid,
    /// As created, or as `set_retention` left them.
    pub options: LogOptions,
    /// First record kept.
    pub base: Place,
    /// Where the next record goes: its LSN - 1 is the head.
    pub next: Place,
    /// Behind the last record that is synced.
    pub durable: Place,
    /// The last mark.
    pub last_mark: Option<Lsn>,
    /// Time of the last record in µs since 1970, 0: none.
    pub last_time_us: u64,
    /// Epoch of the next append.
    pub epoch: Epoch,
    /// Which reign wrote which records.
    pub epochs: Vec<EpochEntry>,
    /// Payload + 56 a record of what is kept.
    pub bytes: u64,
    /// By rising LSN.
    pub checkpoints: Vec<Checkpoint>,
    /// Who holds back trimming, and from which record on.
    pub pins: Vec<(String, Lsn)>,
    /// What cannot be read.
    pub damage: Vec<Damage>,
    /// Read-only until repaired or accepted.
    pub quarantined: bool,
}

/// How far a log goes at each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Behind the last record that is written.
    pub written: Place,
    /// Behind the last that is synced.
    pub durable: Place,
    /// Behind the last that is committed.
    pub committed: Place,
}

impl Tail {
    /// The end at a level.
    pub fn at(&self, level: Level) -> Place {
        match level {
            Level::Written => self.written,
            Level::Durable => self.durable,
            Level::Committed => self.committed,
        }
    }

    fn of(seen: &Seen) -> Self {
        Self { written: seen.view.written, durable: seen.durable, committed: seen.durable }
    }
}

/// The tail of a log, to be read at once or awaited.
#[derive(Debug, Clone)]
pub struct TailWatch {
    log: Log,
    seen: u64,
}

impl TailWatch {
    /// The tail now. `log_gone`: the log was dropped.
    pub fn get(&mut self) -> Result<Tail, Error> {
        let (version, seen) = self.log.shared.seen.versioned();
        self.seen = version;
        seen.map(|seen| Tail::of(&seen)).ok_or(Error::LogGone)
    }

    /// Waits until something was written or synced since the last call of this or of `get`. Cancel-safe. `log_gone`: the
    /// log was dropped. A store that was closed or poisoned answers with that error.
    pub async fn changed(&mut self) -> Result<Tail, Error> {
        let (version, seen) = self.log.shared.seen.newer_than(self.seen).await;
        self.seen = version;
        let tail = seen.map(|seen| Tail::of(&seen)).ok_or(Error::LogGone)?;
        match self.log.inner.shared.ended.get() {
            Some(error) => Err(error.clone()),
            None => Ok(tail),
        }
    }
}

/// Bytes that stand for all records up to an LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that it stands for; `None`: it stands for the empty log.
    pub lsn: Option<Lsn>,
    /// Offset behind that record.
    pub offset: ByteOffset,
    /// Epoch of that record.
    pub epoch: Epoch,
    /// Length.
    pub bytes: u64,
}

impl Checkpoint {
    fn of(stored: &SnapshotCheckpoint) -> Self {
        Self {
            lsn: Lsn::new(stored.lsn),
            offset: ByteOffset(stored.offset),
            epoch: Epoch(stored.epoch),
            bytes: stored.bytes,
        }
    }
}

/// A place in a log, by either number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// By LSN.
    Lsn(Lsn),
    /// By offset.
    Offset(ByteOffset),
}

/// A position that somebody kept: the place of the next record or byte that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionQuery {
    /// The newest epoch of the log that it knew.
    pub epoch: Option<Epoch>,
    /// The place.
    pub at: At,
}

/// What has become of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionAnswer {
    /// Go on there.
    Exact(Place),
    /// Below what is kept, which begins here.
    Trimmed {
        /// The base.
        base: Place,
    },
    /// Beyond the end, which is here.
    Ahead {
        /// The end.
        next: Place,
    },
    /// It lay in a suffix that a power loss or failover took back: start over from here.
    Diverged {
        /// The last common place.
        common: Place,
    },
    /// Its epoch is older than the table: start over from the base.
    Unknown {
        /// The base.
        base: Place,
    },
}

/// What has become of a record whose append was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Safe, as the replication mode defines it.
    Committed,
    /// Synced here; for a log without replicas the final answer.
    Durable,
    /// Written, not synced yet.
    Pending,
    /// It is not, and will not be, in the log.
    NotInHistory {
        /// The last place common with the history in which it was appended.
        common: Place,
    },
    /// It was in the history, and has been trimmed since.
    Trimmed,
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all answers")]
pub(super) fn plain(_: &Arc<Inner>, _: Done) -> Result<(), Error> {
    Ok(())
}

fn appended(_: &Arc<Inner>, done: Done) -> Result<Appended, Error> {
    match done {
        Done::Appended(all) => all.first().copied().ok_or(Error::Closed),
        _ => Err(Error::Closed),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all answers")]
fn trimmed(_: &Arc<Inner>, done: Done) -> Result<Place, Error> {
    match done {
        Done::Trimmed(base) => Ok(base),
        _ => Err(Error::Closed),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all answers")]
fn checkpoint(_: &Arc<Inner>, done: Done) -> Result<Checkpoint, Error> {
    match done {
        Done::Checkpoint(stored) => Ok(Checkpoint::of(&stored)),
        _ => Err(Error::Closed),
    }
}

/// A request, ready for the queue, and the bytes that it takes there.
pub(super) fn append_request(entries: Vec<(LogId, Entry)>, options: AppendOptions) -> (Request, usize) {
    let mut bytes = 0;
    let entries = entries
        .into_iter()
        .map(|(log, Entry { tag, content })| {
            let advance = content.advance();
            let (kind, payload) = payload(content);
            bytes += queued_bytes(payload.len());
            NewEntry { log, kind, tag, payload: Sealed::new(payload), advance }
        })
        .collect();
    (Request::Append { entries, options }, bytes)
}

/// What a queued entry costs beside its payload.
const QUEUED_OVERHEAD: usize = 256;

/// Bytes that an entry takes in the queue.
pub(super) fn queued_bytes(payload: usize) -> usize {
    payload + QUEUED_OVERHEAD
}

impl Inner {
    pub(super) fn ask<T>(
        self: &Arc<Self>,
        request: Request,
        convert: fn(&Arc<Self>, Done) -> Result<T, Error>,
    ) -> Ticket<T> {
        self.queue((request, 0), convert)
    }

    /// Queues a request, to be served in turn.
    pub(super) fn queue<T>(
        self: &Arc<Self>,
        request: (Request, usize),
        convert: fn(&Arc<Self>, Done) -> Result<T, Error>,
    ) -> Ticket<T> {
        match self.submit(request, true, convert) {
            Ok(ticket) => ticket,
            Err(error) => Ticket::refused(Arc::clone(self), error, convert),
        }
    }

    /// Queues a request if there is room.
    pub(super) fn try_queue<T>(
        self: &Arc<Self>,
        request: (Request, usize),
        convert: fn(&Arc<Self>, Done) -> Result<T, Error>,
    ) -> Result<Ticket<T>, Error> {
        self.submit(request, false, convert)
    }

    fn submit<T>(
        self: &Arc<Self>,
        (request, bytes): (Request, usize),
        wait: bool,
        convert: fn(&Arc<Self>, Done) -> Result<T, Error>,
    ) -> Result<Ticket<T>, Error> {
        let (answer, receiver) = oneshot::channel();
        let level = request.level();
        self.shared.submit(Submission { request, bytes, answer }, wait)?;
        Ok(Ticket::new(Arc::clone(self), receiver, level, convert))
    }
}

impl Log {
    /// The name of the log.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its identity.
    pub fn uid(&self) -> LogUid {
        self.shared.uid
    }

    /// The error that names a damage.
    pub(super) fn damaged(&self, damage: &Damage) -> Error {
        match self.reader() {
            Ok(reader) => reader.damaged(damage),
            Err(error) => error,
        }
    }

    pub(super) fn reader(&self) -> Result<Reader<'_>, Error> {
        Reader::new(&self.inner.shared, &self.shared)
    }

    /// Appends one record, in the order of the calls, whether the ticket is awaited or not. Above `queue_bytes_max` the
    /// ticket waits for room; whoever does not await tickets uses [`Log::try_append`], which bounds the queue.
    ///
    /// The ticket's errors: `append_conflict`, `too_large`, `log_gone`, `journal_full`, `journal_poisoned`,
    /// `journal_unknown`.
    pub fn append(&self, entry: Entry, options: AppendOptions) -> Ticket<Appended> {
        self.inner.queue(append_request(vec![(self.shared.id, entry)], options), appended)
    }

    /// Appends one record without ever waiting: `journal_busy` if the queue is full, `journal_poisoned` if nothing is
    /// taken any more. Other errors come by the ticket.
    pub fn try_append(&self, entry: Entry, options: AppendOptions) -> Result<Ticket<Appended>, Error> {
        self.inner.try_queue(append_request(vec![(self.shared.id, entry)], options), appended)
    }

    /// Asks for a sync of all records up to `lsn`; answered when they are durable. `position_ahead`: there is no such
    /// record yet.
    pub fn sync(&self, lsn: Lsn) -> Ticket<()> {
        self.inner.ask(Request::Sync { upto: Some((self.shared.id, lsn)) }, plain)
    }

    /// Waits until the record is there at this level; asks for nothing. Cancel-safe.
    pub async fn wait(&self, lsn: Lsn, level: Level) -> Result<(), Error> {
        let mut tail = self.tail();
        let mut now = tail.get()?;
        while now.at(level).lsn <= lsn {
            if let Some(error) = self.inner.shared.ended.get() {
                return Err(error.clone());
            }
            now = tail.changed().await?;
        }
        Ok(())
    }

    /// What has become of a record whose append ended in `journal_unknown`.
    pub fn outcome(&self, position: Position) -> Result<Outcome, Error> {
        let Reader { view, durable, .. } = self.reader()?;
        let (epoch, lsn) = (position.epoch.0, position.lsn);
        let known = view.facts.epochs.owner(lsn.get());
        if lsn < view.base.lsn && known.is_none_or(|owner| owner == epoch) {
            return Ok(Outcome::Trimmed);
        }
        if known != Some(epoch) || lsn >= view.written.lsn {
            let start = view.facts.epochs.start_after(epoch).map_or(view.written.lsn, Lsn::at_least_first);
            let common = start.min(lsn).min(view.written.lsn).max(view.base.lsn);
            return Ok(Outcome::NotInHistory { common: self.reader()?.place_of(common)? });
        }
        Ok(if lsn < durable.lsn { Outcome::Durable } else { Outcome::Pending })
    }

    /// Records from `from` on. Empty at the end; `position_ahead` beyond it, `position_trimmed` below the base,
    /// `journal_corrupt` if it would begin in a damage. Reads on the caller's thread.
    pub fn read(&self, from: Lsn, limit: ReadLimit, level: Level) -> Result<ReadOut, Error> {
        self.reader()?.read(from, limit, level)
    }

    /// The byte view: pieces of the stream from a cursor on, at most `limit.bytes` of data, with gaps, and with marks if
    /// asked for. Errors as for [`Log::read`].
    pub fn read_bytes(&self, from: Cursor, limit: ReadLimit, level: Level, marks: bool) -> Result<ReadOut, Error> {
        self.reader()?.read_bytes(from, limit, level, marks)
    }

    /// A reader that waits for more. Errors as for [`Log::read`].
    pub fn follow(&self, from: From, level: Level) -> Result<Follower, Error> {
        Follower::new(self.clone(), from, level)
    }

    /// How far the log goes, for shells that feed many readers.
    pub fn tail(&self) -> TailWatch {
        TailWatch { log: self.clone(), seen: 0 }
    }

    /// What has become of a kept position.
    pub fn check_position(&self, query: PositionQuery) -> Result<PositionAnswer, Error> {
        let reader = self.reader()?;
        let view = &reader.view;
        if query.epoch.is_some_and(|epoch| epoch.0 > view.facts.epoch) {
            return Ok(PositionAnswer::Ahead { next: view.written });
        }
        if query.epoch.is_some_and(|epoch| view.facts.epochs.forgot(epoch.0)) {
            return Ok(PositionAnswer::Unknown { base: view.base });
        }
        // Whatever was known up to the start of the first later epoch is still so. The epoch of this open begins at the
        // end, also while nothing has been appended in it.
        let start = query.epoch.and_then(|epoch| match view.facts.epochs.start_after(epoch.0) {
            None if epoch.0 < view.facts.epoch => Some(view.written.lsn.get()),
            start => start,
        });
        let common = match start {
            Some(start) => Some(reader.place_of(Lsn::at_least_first(start).max(view.base.lsn))?),
            None => None,
        };
        let beyond = |place: Place| match query.at {
            At::Lsn(lsn) => lsn > place.lsn,
            At::Offset(offset) => offset > place.offset,
        };
        if let Some(common) = common.filter(|common| beyond(*common)) {
            return Ok(PositionAnswer::Diverged { common });
        }
        if beyond(view.written) {
            return Ok(PositionAnswer::Ahead { next: view.written });
        }
        let below = match query.at {
            At::Lsn(lsn) => lsn < view.base.lsn,
            At::Offset(offset) => offset < view.base.offset,
        };
        if below {
            return Ok(PositionAnswer::Trimmed { base: view.base });
        }
        Ok(PositionAnswer::Exact(match query.at {
            At::Lsn(lsn) => reader.place_of(lsn)?,
            At::Offset(offset) => Place { lsn: reader.start_of(Cursor { offset, lsn: None })?, offset },
        }))
    }

    /// What is known of the log, from memory.
    pub fn info(&self) -> Result<LogInfo, Error> {
        self.shared.seen.get().map(|seen| info(&seen)).ok_or(Error::LogGone)
    }

    /// The place of the first record that is kept, from memory.
    pub fn base(&self) -> Result<Place, Error> {
        Ok(self.reader()?.view.base)
    }

    /// Other limits for what is kept. Durable when answered.
    pub fn set_retention(&self, retention: Retention) -> Ticket<()> {
        match self.reader() {
            Ok(reader) => {
                let options = LogOptions { retention, ..reader.view.facts.options };
                self.inner.ask(Request::SetOptions { log: self.shared.id, options }, plain)
            }
            Err(error) => Ticket::refused(Arc::clone(&self.inner), error, plain),
        }
    }

    /// What lies before `lsn` is no longer kept, as far as pins allow; with `trim_at_checkpoint` what lies before the newest
    /// checkpoint that stands for nothing at or behind `lsn`. Answers the new base, once that is durable. `position_ahead`.
    /// Reads on the caller's thread, with `trim_at_checkpoint` a whole checkpoint at its first use in an open.
    pub fn trim(&self, lsn: Lsn) -> Ticket<Place> {
        let found = self.reader().and_then(|reader| {
            let base = reader.view.base;
            let asked = if lsn <= base.lsn { base } else { reader.place_of(lsn)? };
            Ok(self.inner.shared.trim_target(self.shared.id, Some(asked)).unwrap_or(base))
        });
        match found {
            Ok(to) => self.inner.ask(Request::Trim { log: self.shared.id, to }, trimmed),
            Err(error) => Ticket::refused(Arc::clone(&self.inner), error, trimmed),
        }
    }

    /// Keeps what comes behind `lsn` (`None`: everything) from being trimmed as long as the pin lives. `owner` is shown by
    /// [`Log::info`]. `pin_below_base`, `position_ahead`, `limit_exceeded`: more than 64.
    pub fn pin(&self, lsn: impl Into<Option<Lsn>>, owner: &str) -> Ticket<Pin> {
        Pin::take(self, lsn.into(), owner)
    }

    /// Notes a small fact: 16 keys of up to 128 bytes, values of up to 4 KiB; an empty value deletes. Durable when
    /// answered. `too_large`, `limit_exceeded`.
    pub fn set_meta(&self, key: &str, value: &[u8]) -> Ticket<()> {
        let request = Request::SetMeta { log: self.shared.id, key: key.to_owned(), value: value.to_vec() };
        self.inner.ask(request, plain)
    }

    /// A small fact.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.reader()?.view.facts.meta.get(key).cloned())
    }

    /// Ends the log: handles and followers get `log_gone`; the name is free at once. Durable when answered.
    pub fn drop_log(&self) -> Ticket<()> {
        self.inner.ask(Request::Drop { log: self.shared.id }, plain)
    }

    /// Adds bytes that stand for all records up to `lsn` (`None`: for the empty log), which lies between base - 1 and
    /// head. Up to `checkpoint_inline_bytes_max` it lies in the stream and is answered at the log's level; a larger one
    /// becomes a file and is durable when answered. Beyond `checkpoints_max` the one goes whose neighbours are closest.
    /// `checkpoint_invalid`, `limit_exceeded`, `journal_full`.
    pub fn add_checkpoint(&self, lsn: impl Into<Option<Lsn>>, bytes: impl Into<Bytes>) -> Ticket<Checkpoint> {
        let lsn: Option<Lsn> = lsn.into();
        let bytes: Bytes = bytes.into();
        let behind = lsn.map_or(Lsn::FIRST, Lsn::next);
        let lsn = lsn.map_or(0, Lsn::get);
        match self.reader().and_then(|reader| reader.place_of(behind)) {
            Ok(place) => {
                let log = self.shared.id;
                let queued = queued_bytes(bytes.len());
                let request = Request::AddCheckpoint { log, lsn, offset: place.offset.0, bytes };
                self.inner.queue((request, queued), checkpoint)
            }
            Err(Error::PositionAhead { .. } | Error::PositionTrimmed { .. }) => {
                let error = Error::CheckpointInvalid { lsn, reason: "not between base and head" };
                Ticket::refused(Arc::clone(&self.inner), error, checkpoint)
            }
            Err(error) => Ticket::refused(Arc::clone(&self.inner), error, checkpoint),
        }
    }

    /// All checkpoints by rising LSN.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, Error> {
        Ok(self.reader()?.view.facts.checkpoints.values().map(Checkpoint::of).collect())
    }

    /// The newest checkpoint. It is verified when it is opened; one that did not verify in this open is passed over.
    pub fn last_checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let reader = self.reader()?;
        let newest =
            reader.view.facts.checkpoints.values().rev().find(|checkpoint| reader.known(checkpoint) != Some(false));
        Ok(newest.map(Checkpoint::of))
    }

    /// The newest checkpoint that stands for no record beyond a place: with an LSN it stands for records up to there,
    /// with an offset for bytes up to there.
    pub fn checkpoint_at(&self, at: At) -> Result<Option<Checkpoint>, Error> {
        let reader = self.reader()?;
        let mut newest = reader.view.facts.checkpoints.values().rev().filter(|checkpoint| match at {
            At::Lsn(lsn) => checkpoint.lsn <= lsn.get(),
            At::Offset(offset) => checkpoint.offset <= offset.0,
        });
        let newest = newest.find(|checkpoint| reader.known(checkpoint) != Some(false));
        Ok(newest.map(Checkpoint::of))
    }

    /// The bytes of a checkpoint, verified. `checkpoint_invalid`: there is none, or it does not verify; an older one may.
    pub fn open_checkpoint(&self, lsn: impl Into<Option<Lsn>>) -> Result<Bytes, Error> {
        self.reader()?.checkpoint(lsn.into().map_or(0, Lsn::get))
    }

    /// Removes a checkpoint, any but the base's. Answered at the log's level.
    pub fn remove_checkpoint(&self, lsn: impl Into<Option<Lsn>>) -> Ticket<()> {
        let lsn = lsn.into().map_or(0, Lsn::get);
        self.inner.ask(Request::RemoveCheckpoint { log: self.shared.id, lsn }, plain)
    }
}

pub(super) fn info(Seen { view, durable }: &Seen) -> LogInfo {
    let facts = &view.facts;
    LogInfo {
        name: facts.name.to_string(),
        uid: facts.uid,
        options: facts.options,
        base: view.base,
        next: view.written,
        durable: *durable,
        last_mark: Lsn::new(view.last_mark),
        last_time_us: view.last_time_us,
        epoch: Epoch(facts.epoch),
        epochs: facts.epochs.entries().to_vec(),
        bytes: view.cost,
        checkpoints: facts.checkpoints.values().map(Checkpoint::of).collect(),
        pins: facts.pins.iter().map(|(owner, place)| (owner.to_string(), place.lsn)).collect(),
        damage: facts.damage.to_vec(),
        quarantined: facts.quarantined,
    }
}
