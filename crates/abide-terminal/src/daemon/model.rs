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
    /// The record at which the engine failed last.
    failed_at: Option<Lsn>,
}

/// The engine panicked.
struct Failed;

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
            failed_at: None,
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

    /// Gives memory back that a flow of output needs.
    pub(super) fn compact(&mut self) {
        self.screen.compact();
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
            let taken = match &record.content {
                Content::Data(bytes) => self.take_output(record, bytes, answers, &mut out),
                Content::Mark(payload) => self.take_mark(record, payload),
                Content::Gap(_) => Ok(()),
            };
            let behind = Place { lsn: record.lsn().next(), offset: record.end_offset() };
            if taken.is_err() {
                self.rebuild(log, record.lsn(), behind);
                break;
            }
            self.place = behind;
        }
        Taken { more, answers: out }
    }

    fn take_output(
        &mut self,
        record: &Record,
        bytes: &Bytes,
        answers: &Mutex<Answers>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        let mut at = ByteOffset(record.offset.0);
        let end = ByteOffset(record.end_offset().0);
        while at < end {
            let (until, answer) = answers.lock().unwrap_or_else(PoisonError::into_inner).take(at, end);
            let from = usize::try_from(at.0 - record.offset.0).unwrap_or(bytes.len());
            let to = usize::try_from(until.0 - record.offset.0).unwrap_or(bytes.len());
            self.screen.feed(&bytes[from..to]).map_err(|_| Failed)?;
            let answered = self.screen.take_answers();
            if answer {
                out.extend_from_slice(&answered);
            }
            at = until;
        }
        self.since_screen += bytes.len() as u64;
        Ok(())
    }

    /// The engine panicked at a record: it is built again from the last screen. One that fails there a second time
    /// begins afresh behind the record. The screen is derived, nothing of the session is lost with it.
    fn rebuild(&mut self, log: &Log, at: Lsn, behind: Place) {
        let again = self.failed_at == Some(at);
        tracing::error!(offset = behind.offset.0, again, "the screen model failed");
        *self = if again {
            let empty = Self::empty(self.size, behind, self.scrollback_lines_max);
            Self { incarnation: self.incarnation, ..empty }
        } else {
            Self::build(log, self.scrollback_lines_max)
        };
        self.failed_at = Some(at);
    }

    fn take_mark(&mut self, record: &Record, payload: &[u8]) -> Result<(), Failed> {
        match Mark::read(record.tag, payload).map(|mark| mark.kind) {
            Some(MarkKind::Started { incarnation, cols, rows, .. }) => {
                self.incarnation = incarnation;
                self.resize(cols, rows)
            }
            Some(MarkKind::Resized { cols, rows }) => self.resize(cols, rows),
            Some(MarkKind::Restoring { incarnation, code, .. }) => {
                self.incarnation = incarnation;
                let drawn = self.screen.feed(&seam(&code, record.time_us / 1_000));
                self.screen.take_answers();
                drawn.map_err(|_| Failed)
            }
            _ => Ok(()),
        }
    }

    fn resize(&mut self, cols: u16, rows: u16) -> Result<(), Failed> {
        self.size = Size { cols, rows };
        self.screen.resize(cols, rows).map_err(|_| Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use abide_journal::{AppendOptions, Entry, FileDisk, Journal, LogOptions, SystemClock};

    use super::*;
    use crate::test_dir::TestDir;

    fn print(log: &Log, text: &'static str) {
        log.append(Entry::data(0, text), AppendOptions::default()).wait().unwrap();
    }

    fn shown(model: &Model) -> String {
        let snapshot = String::from_utf8(model.snapshot(0).bytes.to_vec()).unwrap();
        ["first", "second", "third"].into_iter().filter(|word| snapshot.contains(word)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_engine_that_fails_is_built_again_and_then_begins_afresh_behind() {
        let root = TestDir::new();
        let options = abide_journal::Options::new(root.path());
        let (journal, _) = Journal::open(Arc::new(FileDisk), Arc::new(SystemClock), options).unwrap();
        let log = journal.create_log("log", LogOptions::default()).wait().unwrap();
        let answers = Mutex::new(Answers::from(ByteOffset(0)));
        let mut model = Model::build(&log, 10);
        print(&log, "first ");
        model.take_piece(&log, &answers);
        model.save(&log);
        print(&log, "second\x1b[c");
        model.screen.fail_on(b"second");
        assert_eq!(model.take_piece(&log, &answers).answers, b"");
        assert_eq!((shown(&model).as_str(), model.place().offset.0), ("first", 6), "the last screen");

        let mut built_again = model;
        assert!(built_again.take_piece(&log, &answers).more);
        assert_eq!(shown(&built_again), "first second");

        let mut model = Model::build(&log, 10);
        for _ in 0..2 {
            model.screen.fail_on(b"second");
            assert!(model.take_piece(&log, &answers).more);
        }
        assert_eq!(shown(&model), "");
        print(&log, "third");
        model.take_piece(&log, &answers);
        assert_eq!(shown(&model), "third");
    }
}
