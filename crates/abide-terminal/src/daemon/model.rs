//! One session's model, at its place in the log.

use std::sync::{Mutex, PoisonError};

use abide_journal::{Content, Level, Log, Lsn, Place, ReadLimit, Record};
use abide_screen::Size;
use bytes::Bytes;

use super::answers::Answers;
use super::screens::{Snapshot, Told};
use crate::ids::{ByteOffset, Incarnation};
use crate::seam::seam;
use crate::store::{Mark, MarkKind, SCREEN_BYTES_MAX, ScreenHeader};

/// Output that is fed in one step, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Records that are looked at in one step.
const PIECE_RECORDS: usize = 1_024;

/// The size of a model before the log says another one.
const SIZE: Size = Size { cols: 80, rows: 24 };

pub(super) struct Model {
    screen: abide_screen::Model,
    scrollback_lines_max: usize,
    size: Size,
    incarnation: Incarnation,
    place: Place,
    since_screen: u64,
}

/// What one step brought.
pub(super) struct Taken {
    /// There may be more.
    pub(super) more: bool,
    /// Answers to queries that fall to the model.
    pub(super) answers: Vec<u8>,
}

impl Model {
    /// The newest screen of the log that can be read, or an empty model at the log's base.
    pub(super) fn build(log: &Log, scrollback_lines_max: usize) -> Self {
        let newest = log.last_checkpoint().ok().flatten();
        let restored = newest.and_then(|checkpoint| {
            let bytes = log.open_checkpoint(checkpoint.lsn).ok()?;
            let (header, snapshot) = ScreenHeader::read(&bytes)?;
            let size = Size { cols: header.cols, rows: header.rows };
            let place = Place { lsn: checkpoint.lsn.map_or(Lsn::FIRST, Lsn::next), offset: checkpoint.offset };
            let mut model = Self::empty(size, place, scrollback_lines_max);
            model.incarnation = header.incarnation;
            model.screen.feed(snapshot).ok()?;
            model.screen.take_answers();
            Some(model)
        });
        restored.unwrap_or_else(|| {
            Self::empty(SIZE, log.info().map_or(Place::START, |info| info.base), scrollback_lines_max)
        })
    }

    fn empty(size: Size, place: Place, scrollback_lines_max: usize) -> Self {
        Self {
            screen: abide_screen::Model::new(size, scrollback_lines_max),
            scrollback_lines_max,
            size,
            incarnation: Incarnation(1),
            place,
            since_screen: 0,
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn since_screen(&self) -> u64 {
        self.since_screen
    }

    pub(super) fn told(&self) -> Told {
        Told {
            title: self.screen.title().map(str::to_owned),
            current_dir: self.screen.current_dir().map(str::to_owned),
        }
    }

    pub(super) fn snapshot(&self, lines: usize) -> Snapshot {
        let snapshot = self.screen.snapshot(lines);
        Snapshot { place: self.place, cols: self.size.cols, rows: self.size.rows, bytes: Bytes::from(snapshot.bytes) }
    }

    /// Adds a screen to the log, for the last record that was taken in.
    pub(super) fn save(&mut self, log: &Log) {
        let snapshot = self.screen.snapshot_within(SCREEN_BYTES_MAX);
        let header = ScreenHeader { cols: self.size.cols, rows: self.size.rows, incarnation: self.incarnation };
        let screen = header.with(&snapshot.bytes);
        match log.add_checkpoint(self.place.last(), screen).wait() {
            Ok(_) => self.since_screen = 0,
            // Without room there will be another occasion; a poisoned journal ends the daemon elsewhere.
            Err(error) => tracing::debug!(%error, "no screen was kept"),
        }
    }

    /// Reads the next piece of the log and takes it in.
    pub(super) fn take_piece(&mut self, log: &Log, answers: &Mutex<Answers>) -> Taken {
        let limit = ReadLimit { bytes: PIECE_BYTES, records: PIECE_RECORDS };
        let Ok(read) = log.read_bytes(self.place.cursor(), limit, Level::Written, true) else {
            // Damaged, trimmed or dropped: what can be read behind it is the next model's.
            return Taken { more: false, answers: Vec::new() };
        };
        let mut out = Vec::new();
        let more = !read.records.is_empty();
        for record in &read.records {
            match &record.content {
                Content::Data(bytes) => self.take_output(record, bytes, answers, &mut out),
                Content::Mark(payload) => self.take_mark(record, payload),
                Content::Gap(_) => {}
            }
            self.place = Place { lsn: record.lsn().next(), offset: record.end_offset() };
        }
        Taken { more, answers: out }
    }

    fn take_output(&mut self, record: &Record, bytes: &Bytes, answers: &Mutex<Answers>, out: &mut Vec<u8>) {
        let mut at = ByteOffset(record.offset.0);
        let end = ByteOffset(record.end_offset().0);
        while at < end {
            let (until, answer) = answers.lock().unwrap_or_else(PoisonError::into_inner).take(at, end);
            let from = usize::try_from(at.0 - record.offset.0).unwrap_or(bytes.len());
            let to = usize::try_from(until.0 - record.offset.0).unwrap_or(bytes.len());
            if self.screen.feed(&bytes[from..to]).is_err() {
                self.rebuild();
            }
            let answered = self.screen.take_answers();
            if answer {
                out.extend_from_slice(&answered);
            }
            at = until;
        }
        self.since_screen += bytes.len() as u64;
    }

    /// The engine panicked: a fresh one goes on behind this output. The screen is derived, nothing is lost with it.
    fn rebuild(&mut self) {
        tracing::error!("the screen model failed and begins afresh");
        self.screen = abide_screen::Model::new(self.size, self.scrollback_lines_max);
    }

    fn take_mark(&mut self, record: &Record, payload: &[u8]) {
        match Mark::read(record.tag, payload).map(|mark| mark.kind) {
            Some(MarkKind::Started { incarnation, cols, rows, .. }) => {
                self.incarnation = incarnation;
                self.resize(cols, rows);
            }
            Some(MarkKind::Resized { cols, rows }) => self.resize(cols, rows),
            Some(MarkKind::Restoring { incarnation, code, .. }) => {
                self.incarnation = incarnation;
                if self.screen.feed(&seam(&code, record.time_us / 1_000)).is_err() {
                    self.rebuild();
                }
                self.screen.take_answers();
            }
            _ => {}
        }
    }

    fn resize(&mut self, cols: u16, rows: u16) {
        self.size = Size { cols, rows };
        if self.screen.resize(cols, rows).is_err() {
            self.rebuild();
        }
    }
}
