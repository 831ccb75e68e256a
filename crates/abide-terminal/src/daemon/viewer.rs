//! A stream: one reader of a session's log, at its own pace. The journal is the queue; nothing is kept for it here.

use abide_journal::{Cursor, Error, Level, Log, Place, ReadLimit};
use abide_wire::Code;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::connection::json_frame;
use super::outbox::Outbox;
use super::screens::{Screens, Snapshot};
use super::view::View;
use crate::ids::{ByteOffset, ClientId, SessionId};
use crate::protocol::{Attached, Detached, ExitTold, StreamMessage, limits, output_header, snapshot_header};
use crate::record::State;
use crate::session::StreamId;
use crate::stream::{self, Seen, Step, Teller, Told};

/// What begins a stream.
pub(super) enum Begin {
    /// A snapshot that includes this place of the log, with so many lines of history.
    Snapshot(Place, usize),
    /// The byte at the cursor.
    At(Cursor),
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
    pub(super) view: watch::Receiver<View>,
    /// The hub ends the stream.
    pub(super) end: oneshot::Receiver<Detached>,
    pub(super) progress: watch::Sender<ByteOffset>,
    pub(super) screens: Screens,
    pub(super) outbox: Outbox,
    pub(super) teller: Teller,
}

impl Viewer {
    /// Sends the session's output until the stream ends; the last message says why.
    pub(super) async fn run(mut self) {
        let detached = match self.begin().await {
            Ok(cursor) => self.follow(cursor).await,
            Err(detached) => detached,
        };
        self.send(&StreamMessage::Detached(detached));
        self.outbox.close();
    }

    async fn begin(&mut self) -> Result<Cursor, Detached> {
        match self.begin {
            Begin::At(cursor) => {
                self.send(&StreamMessage::Attached(self.attached.clone()));
                Ok(cursor)
            }
            Begin::Snapshot(place, lines) => {
                let snapshot = self.screens.snapshot(self.session, place, lines).await;
                let snapshot = snapshot.ok_or_else(|| Detached::new(Code::SessionGone))?;
                self.attached.offset = ByteOffset(snapshot.place.offset.0);
                self.attached.snapshot_bytes = snapshot.bytes.len() as u64;
                self.attached.cols = snapshot.cols;
                self.attached.rows = snapshot.rows;
                self.send(&StreamMessage::Attached(self.attached.clone()));
                self.send_snapshot(&snapshot).await;
                Ok(snapshot.place.cursor())
            }
        }
    }

    async fn send_snapshot(&self, snapshot: &Snapshot) {
        let mut position = 0;
        while position < snapshot.bytes.len() {
            let end = snapshot.bytes.len().min(position + limits::OUTPUT_CHUNK_BYTES_MAX);
            let chunk = snapshot.bytes.slice(position..end);
            let header = snapshot_header(position as u64, chunk.len());
            self.outbox.push(&[Bytes::copy_from_slice(&header), chunk]);
            position = end;
            if !self.outbox.has_room() && !self.outbox.room().await {
                return;
            }
        }
    }

    async fn follow(&mut self, mut cursor: Cursor) -> Detached {
        let mut tail = self.log.tail();
        loop {
            let end = tail.get().map_or(Place::START, |tail| tail.at(self.level));
            let view = self.view.borrow_and_update().clone();
            self.progress.send_replace(ByteOffset(cursor.offset.0));
            let seen = Seen {
                cursor,
                end,
                until: self.until,
                has_room: self.outbox.has_room(),
                finalized: view.state == State::Finalized,
                removed: view.removed,
            };
            match stream::next(&seen) {
                Step::Read(bytes_max) => match self.read(cursor, bytes_max) {
                    Ok(next) => cursor = next,
                    Err(detached) => return detached,
                },
                // Why it ends comes before the signs of it: a daemon that stops lets go of its sessions too.
                Step::AwaitRoom => tokio::select! {
                    biased;
                    end = &mut self.end => return self.ended(end, cursor),
                    open = self.outbox.room() => if !open { return self.resume(cursor, Code::SlowSubscriber) },
                },
                Step::AwaitOutput => tokio::select! {
                    biased;
                    end = &mut self.end => return self.ended(end, cursor),
                    // A journal that failed has not lost the session.
                    more = tail.changed() => if let Err(error) = more { return self.unreadable(cursor, &error) },
                    more = self.view.changed() => if more.is_err() { return Detached::new(Code::SessionGone) },
                },
                Step::Exited => {
                    if let (Some(exit), Some(exited_at)) = (view.exit, view.exited_at) {
                        let offset = ByteOffset(cursor.offset.0);
                        self.send(&StreamMessage::Exited(ExitTold { offset, exit, exited_at }));
                    }
                    return self.resume(cursor, Code::SessionExited);
                }
                Step::End(code) => return self.resume(cursor, code),
            }
            if let Ok(detached) = self.end.try_recv() {
                return self.with_position(detached, cursor);
            }
            // Streams take turns: a quiet session's byte is not behind a flood on another.
            tokio::task::consume_budget().await;
        }
    }

    /// Sends one piece of the log on; the cursor behind it.
    fn read(&mut self, cursor: Cursor, bytes_max: usize) -> Result<Cursor, Detached> {
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
                Told::Message(message) => self.send(&message),
            }
        }
        Ok(read.next)
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
