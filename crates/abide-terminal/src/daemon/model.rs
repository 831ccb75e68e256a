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

/// Output that is fed in one step, in bytes: of text, only what shows of it at the end of a step is drawn.
const PIECE_BYTES: usize = 1 << 20;

/// Records that are looked at in one step.
const PIECE_RECORDS: usize = 4_096;

/// The size of a model before the log says another one.
const SIZE: Size = Size { cols: 80, rows: 24 };

pub(super) struct Model {
    screen: abide_screen::Model,
    scrollback_lines_max: usize,
    size: Size,
    incarnation: Incarnation,
    place: Place,
    since_screen: u64,
    /// The records at which the engine failed last: the first, and the one behind the last.
    failed_at: Option<(Lsn, Lsn)>,
}

/// Output of records that follow each other.
struct Run {
    lsn: Lsn,
    offset: ByteOffset,
    bytes: Vec<u8>,
}

impl Run {
    fn at(place: Place) -> Self {
        Self { lsn: place.lsn, offset: ByteOffset(place.offset.0), bytes: Vec::new() }
    }
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
        // Where the engine failed, it is one record at a time, to find which one it is.
        let careful = self.failed_at.is_some_and(|(_, behind)| self.place.lsn < behind);
        let records = if careful { 1 } else { PIECE_RECORDS };
        let limit = ReadLimit { bytes: PIECE_BYTES, records };
        let Ok(read) = log.read_bytes(self.place.cursor(), limit, Level::Written, true) else {
            // Damaged, trimmed or dropped: what can be read behind it is the next model's.
            return Taken { more: false, answers: Vec::new() };
        };
        let mut out = Vec::new();
        let mut run = Run::at(self.place);
        let mut taken = Ok(());
        let mut end = self.place;
        for record in &read.records {
            end = Place { lsn: record.lsn().next(), offset: record.end_offset() };
            match &record.content {
                Content::Data(bytes) => {
                    run.bytes.extend_from_slice(bytes);
                    continue;
                }
                Content::Mark(payload) => {
                    taken = self.take_run(&run, answers, &mut out).and_then(|()| self.take_mark(record, payload));
                }
                Content::Gap(_) => taken = self.take_run(&run, answers, &mut out),
            }
            if taken.is_err() {
                break;
            }
            self.place = end;
            run = Run::at(end);
        }
        match taken.and_then(|()| self.take_run(&run, answers, &mut out)) {
            Ok(()) => self.place = end,
            Err(Failed) => self.rebuild(log, run.lsn, end),
        }
        Taken { more: !read.records.is_empty(), answers: out }
    }

    fn take_run(&mut self, run: &Run, answers: &Mutex<Answers>, out: &mut Vec<u8>) -> Result<(), Failed> {
        let index = |offset: ByteOffset| usize::try_from(offset.0 - run.offset.0).unwrap_or(run.bytes.len());
        let mut at = run.offset;
        let end = ByteOffset(run.offset.0 + run.bytes.len() as u64);
        while at < end {
            let (until, answer) = answers.lock().unwrap_or_else(PoisonError::into_inner).take(at, end);
            self.screen.feed(&run.bytes[index(at)..index(until)]).map_err(|_| Failed)?;
            let answered = self.screen.take_answers();
            if answer {
                out.extend_from_slice(&answered);
            }
            at = until;
        }
        self.since_screen += run.bytes.len() as u64;
        Ok(())
    }

    /// The engine panicked within these records: it is built again from the last screen, and comes to them one by one.
    /// One at which it fails again is left out, with all that was shown before. The screen is derived, nothing of the
    /// session is lost with it.
    fn rebuild(&mut self, log: &Log, from: Lsn, behind: Place) {
        let again = self.failed_at.is_some_and(|(first, last)| (first..last).contains(&from));
        tracing::error!(offset = behind.offset.0, again, "the screen model failed");
        let failed_at = if again { self.failed_at } else { Some((from, behind.lsn)) };
        *self = if again {
            let empty = Self::empty(self.size, behind, self.scrollback_lines_max);
            Self { incarnation: self.incarnation, ..empty }
        } else {
            Self::build(log, self.scrollback_lines_max)
        };
        self.failed_at = failed_at;
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
