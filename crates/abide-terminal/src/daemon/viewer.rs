//! A stream: one reader of a session's log, at its own pace. The journal is the queue; nothing is kept for it here.

use abide_journal::{ByteOffset as LogOffset, Cursor, Error, Level, Log, Place, ReadLimit, TailWatch};
use abide_wire::Code;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::connection::json_frame;
use super::hub::{Hub, Msg, Standing};
use super::outbox::Outbox;
use super::screens::{Followed, Screens, Snapshot};
use super::view::View;
use crate::ids::{ByteOffset, ClientId, SessionId};
use crate::protocol::{
    Attached, Detached, ExitTold, Hole, Lagged, OnLag, StreamMessage, output_header, snapshot_header,
};
use crate::record::State;
use crate::session::StreamId;
use crate::stream::{self, Credit, Lag, Seen, Step, Teller, Told};

/// What begins a stream.
pub(super) enum Begin {
    /// A snapshot that includes this place of the log.
    Snapshot(Place),
    /// The byte at the cursor.
    At(Cursor),
}

impl Begin {
    /// Where it begins, as far as it is known.
    pub(super) fn offset(&self) -> ByteOffset {
        ByteOffset(match self {
            Self::Snapshot(place) => place.offset.0,
            Self::At(cursor) => cursor.offset.0,
        })
    }
}

/// One stream of a session, until its connection ends.
pub(super) struct Viewer {
    pub(super) id: StreamId,
    pub(super) client: ClientId,
    pub(super) session: SessionId,
    pub(super) log: Log,
    pub(super) level: Level,
    pub(super) begin: Begin,
    /// The answer to the attach, but for what only the begin can tell.
    pub(super) attached: Attached,
    pub(super) until: Option<ByteOffset>,
    pub(super) lag: Lag,
    pub(super) window_bytes: Option<u64>,
    /// History in its snapshots.
    pub(super) scrollback_lines: usize,
    pub(super) view: watch::Receiver<View>,
    /// The hub ends the stream.
    pub(super) end: oneshot::Receiver<Detached>,
    pub(super) progress: watch::Sender<ByteOffset>,
    /// What the client has processed.
    pub(super) acks: watch::Sender<ByteOffset>,
    pub(super) followed: Followed,
    pub(super) screens: Screens,
    pub(super) hub: Hub,
    pub(super) outbox: Outbox,
    pub(super) teller: Teller,
}

/// Where a stream stands.
struct Position {
    cursor: Cursor,
    credit: Credit,
    snapshot: Sending,
}

/// A snapshot on its way.
#[derive(Default)]
struct Sending {
    bytes: Bytes,
    /// So much of it was sent.
    position: usize,
}

impl Sending {
    fn left(&self) -> usize {
        self.bytes.len() - self.position
    }
}

impl Position {
    fn offset(&self) -> ByteOffset {
        ByteOffset(self.cursor.offset.0)
    }
}

impl Viewer {
    /// Sends the session's output until the stream ends; the last message says why.
    pub(super) async fn run(mut self) {
        let detached = match self.begin().await {
            Ok(position) => self.follow(position).await,
            Err(detached) => detached,
        };
        self.send(&StreamMessage::Detached(detached));
        self.outbox.close();
    }

    async fn begin(&mut self) -> Result<Position, Detached> {
        let (cursor, bytes) = match self.begin {
            Begin::At(cursor) => (cursor, Bytes::new()),
            Begin::Snapshot(place) => {
                let snapshot = self.snapshot(place).await?;
                self.attached.offset = ByteOffset(snapshot.place.offset.0);
                self.attached.snapshot_bytes = snapshot.bytes.len() as u64;
                self.attached.cols = snapshot.cols;
                self.attached.rows = snapshot.rows;
                (snapshot.place.cursor(), snapshot.bytes)
            }
        };
        self.send(&StreamMessage::Attached(self.attached.clone()));
        let credit = Credit::new(self.window_bytes, ByteOffset(cursor.offset.0));
        Ok(Position { cursor, credit, snapshot: Sending { bytes, position: 0 } })
    }

    /// The screen at this place of the log, or at a later one.
    async fn snapshot(&self, place: Place) -> Result<Snapshot, Detached> {
        let snapshot = self.screens.snapshot(self.session, place, self.scrollback_lines).await;
        snapshot.ok_or_else(|| Detached::new(Code::SessionGone))
    }

    async fn follow(&mut self, mut at: Position) -> Detached {
        let mut tail = self.log.tail();
        let mut acks = self.acks.subscribe();
        let mut waits = false;
        loop {
            let end = tail.get().map_or(Place::START, |tail| tail.at(self.level));
            let view = self.view.borrow_and_update().clone();
            self.progress.send_replace(at.offset());
            let offset = at.offset();
            at.credit.processed(*acks.borrow_and_update(), offset);
            let seen = Seen {
                cursor: at.cursor,
                end,
                base: self.base(&at, end, waits),
                model: ByteOffset(self.followed.place().offset.0),
                until: self.until,
                lag: self.lag,
                snapshot_left: at.snapshot.left(),
                room: self.outbox.room(waits),
                credit: at.credit.left(offset),
                finalized: view.state == State::Finalized,
                removed: view.removed,
            };
            let step = stream::next(&seen);
            waits = step == Step::AwaitRoom;
            let mut resync = false;
            match step {
                Step::Snapshot(bytes_max) => self.send_chunk(&mut at.snapshot, bytes_max),
                Step::Read(bytes_max) => match self.read(&mut at, bytes_max) {
                    Ok(()) => {}
                    // It skips what is not there any more.
                    Err(detached) if !self.resyncs(&detached) => return detached,
                    Err(_) => resync = true,
                },
                Step::Resync => resync = true,
                Step::AwaitRoom => {
                    if let Err(detached) = self.await_room(&seen, &mut tail, &mut acks).await {
                        return self.with_position(detached, at.cursor);
                    }
                }
                // Why it ends comes before the signs of it: a daemon that stops lets go of its sessions too.
                Step::AwaitOutput => tokio::select! {
                    biased;
                    end = &mut self.end => return self.ended(end, at.cursor),
                    // A journal that failed has not lost the session.
                    more = tail.changed() => if let Err(error) = more { return self.unreadable(at.cursor, &error) },
                    more = self.view.changed() => if more.is_err() { return Detached::new(Code::SessionGone) },
                },
                Step::Exited => {
                    if let (Some(exit), Some(exited_at)) = (view.exit, view.exited_at) {
                        self.send(&StreamMessage::Exited(ExitTold { offset, exit, exited_at }));
                    }
                    return self.resume(at.cursor, Code::SessionExited);
                }
                Step::End(Code::OffsetTrimmed) => {
                    return self.resume(Cursor { offset: LogOffset(seen.base.0), lsn: None }, Code::OffsetTrimmed);
                }
                Step::End(code) => return self.resume(at.cursor, code),
            }
            if resync && let Err(detached) = self.resync(&mut at).await {
                return self.with_position(detached, at.cursor);
            }
            if let Ok(detached) = self.end.try_recv() {
                return self.with_position(detached, at.cursor);
            }
            // Streams take turns: a quiet session's byte is not behind a flood on another.
            tokio::task::consume_budget().await;
        }
    }

    /// Waits until there is room or credit again, or a stream that is not brought up to date has to be let go.
    async fn await_room(
        &mut self,
        seen: &Seen,
        tail: &mut TailWatch,
        acks: &mut watch::Receiver<ByteOffset>,
    ) -> Result<(), Detached> {
        tokio::select! {
            biased;
            end = &mut self.end => Err(end.unwrap_or_else(|_| Detached::new(Code::SessionGone))),
            open = self.outbox.shrunk(), if seen.room == 0 => {
                if open { Ok(()) } else { Err(Detached::new(Code::SlowSubscriber)) }
            }
            _ = acks.changed(), if seen.credit == 0 => Ok(()),
            more = tail.changed(), if self.lag.on_lag != OnLag::Resync => {
                more.map(drop).map_err(|error| self.unreadable(seen.cursor, &error))
            }
        }
    }

    /// The first byte that is kept, where that may matter: what a stream reads next says itself that it is gone.
    fn base(&self, at: &Position, end: Place, waits: bool) -> ByteOffset {
        let base = if waits && end.offset > at.cursor.offset { self.log.base().ok() } else { None };
        ByteOffset(base.map_or(0, |base| base.offset.0))
    }

    /// Whether this end of a read is one that a stream skips over.
    fn resyncs(&self, detached: &Detached) -> bool {
        self.lag.on_lag == OnLag::Resync && detached.code == Code::OffsetTrimmed
    }

    /// Skips to the place of the model: tells what is skipped, and begins with a snapshot there.
    async fn resync(&mut self, at: &mut Position) -> Result<(), Detached> {
        let base = self.log.base().map_err(|error| self.unreadable(at.cursor, &error))?;
        let model = self.followed.place();
        let place = if base.lsn > model.lsn { base } else { model };
        let (screens, session, lines) = (self.screens.clone(), self.session, self.scrollback_lines);
        let snapshot = self.unless_ended(screens.snapshot(session, place, lines)).await?;
        let (from, to) = (at.offset(), ByteOffset(snapshot.place.offset.0));
        let (reply, answer) = oneshot::channel();
        self.hub.tell(Msg::Skips { session: self.session, stream: self.id, from, to, reply }).await;
        let standing = self.unless_ended(async { answer.await.ok() }).await?;
        let Standing { incarnation, owner, owner_epoch, mode } = standing;
        self.send(&StreamMessage::Lagged(Lagged {
            from,
            to,
            snapshot_bytes: snapshot.bytes.len() as u64,
            cols: snapshot.cols,
            rows: snapshot.rows,
            incarnation,
            owner,
            owner_epoch,
            mode,
        }));
        tracing::debug!(session = %self.session, client = %self.client, from = from.0, to = to.0, "a stream is resynced");
        self.teller.skip();
        at.credit.skip(from, to);
        at.cursor = snapshot.place.cursor();
        at.snapshot = Sending { bytes: snapshot.bytes, position: 0 };
        Ok(())
    }

    /// What is waited for, unless the stream ends first; nothing means that the session is gone.
    async fn unless_ended<T>(&mut self, wanted: impl Future<Output = Option<T>>) -> Result<T, Detached> {
        tokio::select! {
            biased;
            end = &mut self.end => Err(end.unwrap_or_else(|_| Detached::new(Code::SessionGone))),
            wanted = wanted => wanted.ok_or_else(|| Detached::new(Code::SessionGone)),
        }
    }

    fn send_chunk(&self, snapshot: &mut Sending, bytes_max: usize) {
        let end = snapshot.bytes.len().min(snapshot.position + bytes_max);
        let chunk = snapshot.bytes.slice(snapshot.position..end);
        let header = snapshot_header(snapshot.position as u64, chunk.len());
        self.outbox.push(&[Bytes::copy_from_slice(&header), chunk]);
        snapshot.position = end;
    }

    /// Sends one piece of the log on.
    fn read(&mut self, at: &mut Position, bytes_max: usize) -> Result<(), Detached> {
        let cursor = at.cursor;
        let limit = ReadLimit { bytes: bytes_max, records: RECORDS_MAX };
        let read = match self.log.read_bytes(cursor, limit, self.level, true) {
            Ok(read) => read,
            Err(error) => return Err(self.unreadable(cursor, &error)),
        };
        let types = self.view.borrow().owner_stream == Some(self.id);
        for told in self.teller.tell(&read.records, &self.client, types) {
            match told {
                Told::Output { offset, bytes } => {
                    let header = output_header(offset, bytes.len());
                    self.outbox.push(&[Bytes::copy_from_slice(&header), bytes]);
                }
                Told::Message(message) => {
                    if let StreamMessage::Hole(Hole { offset, lost_bytes: Some(lost), .. }) = *message {
                        at.credit.skip(offset, ByteOffset(offset.0 + lost));
                    }
                    self.send(&message);
                }
            }
        }
        at.cursor = read.next;
        Ok(())
    }

    fn unreadable(&self, cursor: Cursor, error: &Error) -> Detached {
        match error {
            Error::PositionTrimmed { base } => {
                let base = Cursor { offset: base.offset, lsn: None };
                self.resume(base, Code::OffsetTrimmed)
            }
            Error::Corrupt(corruption) => {
                let lost_to = corruption.range.as_ref().map(|range| ByteOffset(range.behind.offset.0));
                Detached { lost_to, ..self.resume(cursor, Code::JournalCorrupt) }
            }
            Error::LogGone => Detached::new(Code::SessionGone),
            _ => Detached { restart: true, ..self.resume(cursor, Code::DaemonStopping) },
        }
    }

    fn ended(&self, end: Result<Detached, oneshot::error::RecvError>, cursor: Cursor) -> Detached {
        self.with_position(end.unwrap_or_else(|_| Detached::new(Code::SessionGone)), cursor)
    }

    fn resume(&self, cursor: Cursor, code: Code) -> Detached {
        self.with_position(Detached::new(code), cursor)
    }

    fn with_position(&self, mut detached: Detached, cursor: Cursor) -> Detached {
        detached.resume_offset = Some(ByteOffset(cursor.offset.0));
        detached.epoch = Some(self.attached.epoch);
        detached
    }

    fn send(&self, message: &StreamMessage) {
        self.outbox.push(&[json_frame(message)]);
    }
}

/// Most records that are looked at for one step.
const RECORDS_MAX: usize = 256;
