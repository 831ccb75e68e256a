//! One session's model, at its place in the log.

use std::sync::{Mutex, PoisonError};

use abide_journal::{Checkpoint, Content, Error, Level, Log, Lsn, Place, ReadLimit, Record};
use abide_screen::Size;
use bytes::Bytes;

use super::answers::Answers;
use super::fail_point;
use super::screens::{Snapshot, Told};
use crate::ids::{ByteOffset, Incarnation};
use crate::protocol::ScreenText;
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
    /// Where the log's newest screen stands.
    screen_at: Option<Place>,
    /// Behind the farthest record at which the engine failed.
    failed_at: Option<Lsn>,
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

/// The place behind the last record that a screen stands for.
fn behind(checkpoint: &Checkpoint) -> Place {
    Place { lsn: checkpoint.lsn.map_or(Lsn::FIRST, Lsn::next), offset: checkpoint.offset }
}

/// What one step brought.
pub(super) struct Taken {
    /// There may be more.
    pub(super) more: bool,
    /// Answers to queries that fall to the model.
    pub(super) answers: Vec<u8>,
}

impl Model {
    /// The newest screen of the log, or an empty model at the log's base.
    pub(super) fn build(log: &Log, scrollback_lines_max: usize) -> Self {
        Self::of_newest_screen(log, scrollback_lines_max).unwrap_or_else(|| {
            let base = log.info().map_or(Place::START, |info| info.base);
            Self::empty(log, SIZE, base, scrollback_lines_max)
        })
    }

    fn of_newest_screen(log: &Log, scrollback_lines_max: usize) -> Option<Self> {
        let checkpoint = log.last_checkpoint().ok().flatten()?;
        let bytes = log.open_checkpoint(checkpoint.lsn).ok()?;
        let (header, snapshot) = ScreenHeader::read(&bytes)?;
        let size = Size { cols: header.cols, rows: header.rows };
        let mut model = Self::empty(log, size, behind(&checkpoint), scrollback_lines_max);
        model.incarnation = header.incarnation;
        model.feed(snapshot).ok()?;
        model.screen.take_answers();
        Some(model)
    }

    fn empty(log: &Log, size: Size, place: Place, scrollback_lines_max: usize) -> Self {
        let screen = log.last_checkpoint().ok().flatten();
        Self {
            screen: abide_screen::Model::new(size, scrollback_lines_max),
            scrollback_lines_max,
            size,
            incarnation: Incarnation(1),
            place,
            screen_at: screen.map(|screen| behind(&screen)),
            failed_at: None,
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Output that the log has between its newest screen and this model.
    pub(super) fn since_screen(&self) -> u64 {
        self.place.offset.0.saturating_sub(self.screen_at.map_or(0, |screen| screen.offset.0))
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

    pub(super) fn text(&self, what: abide_screen::What, lines_max: Option<usize>) -> ScreenText {
        let abide_screen::Text { text, cols, rows, cursor, alternate } = self.screen.text(what, lines_max);
        ScreenText { text, cols, rows, cursor, alternate, offset: ByteOffset(self.place.offset.0) }
    }

    /// Gives memory back that a flow of output needs.
    pub(super) fn compact(&mut self) {
        self.screen.compact();
    }

    /// Adds a screen to the log, for the last record that was taken in. Whether there is a new one.
    pub(super) fn save(&mut self, log: &Log) -> bool {
        if self.screen_at == Some(self.place) {
            return false;
        }
        let snapshot = self.screen.snapshot_within(SCREEN_BYTES_MAX);
        let header = ScreenHeader { cols: self.size.cols, rows: self.size.rows, incarnation: self.incarnation };
        let screen = header.with(&snapshot.bytes);
        match log.add_checkpoint(self.place.last(), screen).wait() {
            Ok(_) => {
                fail_point::pass("screen_kept");
                self.screen_at = Some(self.place);
                true
            }
            // Without room there will be another occasion; a poisoned journal ends the daemon elsewhere.
            Err(error) => {
                tracing::debug!(%error, "no screen was kept");
                false
            }
        }
    }

    /// Reads the next piece of the log and takes it in.
    pub(super) fn take_piece(&mut self, log: &Log, answers: &Mutex<Answers>) -> Taken {
        // Where the engine failed, it is one record at a time, to find which one it is.
        let careful = self.failed_at.is_some_and(|behind| self.place.lsn < behind);
        let records = if careful { 1 } else { PIECE_RECORDS };
        let limit = ReadLimit { bytes: PIECE_BYTES, records };
        let read = match log.read_bytes(self.place.cursor(), limit, Level::Written, true) {
            Ok(read) => read,
            Err(error) => return Taken { more: self.pass_over(log, &error), answers: Vec::new() },
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
            Err(Failed) => self.mend(log, run.lsn, end),
        }
        Taken { more: !read.records.is_empty(), answers: out }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        #[cfg(test)]
        failing::now()?;
        self.screen.feed(bytes).map_err(|_| Failed)
    }

    fn take_run(&mut self, run: &Run, answers: &Mutex<Answers>, out: &mut Vec<u8>) -> Result<(), Failed> {
        let index = |offset: ByteOffset| usize::try_from(offset.0 - run.offset.0).unwrap_or(run.bytes.len());
        let mut at = run.offset;
        let end = ByteOffset(run.offset.0 + run.bytes.len() as u64);
        while at < end {
            let (until, answer) = answers.lock().unwrap_or_else(PoisonError::into_inner).take(at, end);
            self.feed(&run.bytes[index(at)..index(until)])?;
            if answer {
                out.extend_from_slice(&self.screen.take_answers());
            } else {
                self.keep_answers(until, answers);
            }
            at = until;
        }
        Ok(())
    }

    /// What was fed last, up to `end`, is for the owner's terminal to answer, unless its stream skips it. What was taken
    /// before was kept before.
    fn keep_answers(&mut self, end: ByteOffset, answers: &Mutex<Answers>) {
        for answer in self.screen.take_answers_placed() {
            let behind = ByteOffset(end.0.saturating_sub(answer.back));
            answers.lock().unwrap_or_else(PoisonError::into_inner).keep(behind, answer.bytes);
        }
    }

    /// What is next cannot be read: it was trimmed, or is damaged. Whether the model goes on behind it.
    fn pass_over(&mut self, log: &Log, error: &Error) -> bool {
        let next = match error {
            Error::PositionTrimmed { base } => Some(*base),
            Error::Corrupt(corruption) => corruption.range.as_ref().map(|range| range.behind),
            _ => None,
        };
        // A place that was passed over already would be so for ever.
        let Some(next) = next.filter(|next| next.lsn > self.place.lsn) else { return false };
        tracing::warn!(%error, offset = next.offset.0, "the screen goes on behind what cannot be read");
        match Self::of_newest_screen(log, self.scrollback_lines_max) {
            Some(model) if model.place.lsn >= next.lsn => *self = model,
            _ => self.begin_afresh(log, next),
        }
        true
    }

    /// The engine panicked within these records: it is built again from the last screen, and comes to them one by one.
    /// If it fails again before it is behind them, or before there is a screen from behind them, what it fails at is left
    /// out, with all that was shown before. The screen is derived: nothing of the session is lost with it.
    fn mend(&mut self, log: &Log, from: Lsn, behind: Place) {
        let again = self
            .failed_at
            .is_some_and(|failed| from < failed || self.screen_at.is_none_or(|screen| screen.lsn < failed));
        tracing::error!(offset = behind.offset.0, again, "the screen model failed");
        let failed_at = self.failed_at.max(Some(behind.lsn));
        let built_again = match self.screen_at {
            _ if again => None,
            Some(_) => Self::of_newest_screen(log, self.scrollback_lines_max),
            None => Some(Self::build(log, self.scrollback_lines_max)),
        };
        match built_again {
            Some(model) => *self = model,
            None => self.begin_afresh(log, behind),
        }
        self.failed_at = failed_at;
    }

    /// An empty model of the same program, at `place`.
    fn begin_afresh(&mut self, log: &Log, place: Place) {
        let empty = Self::empty(log, self.size, place, self.scrollback_lines_max);
        *self = Self { incarnation: self.incarnation, failed_at: self.failed_at, ..empty };
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
                let drawn = self.feed(&seam(&code, record.time_us / 1_000));
                self.screen.take_answers();
                drawn
            }
            _ => Ok(()),
        }
    }

    fn resize(&mut self, cols: u16, rows: u16) -> Result<(), Failed> {
        self.size = Size { cols, rows };
        self.screen.resize(cols, rows).map_err(|_| Failed)
    }
}

/// An engine that fails at whatever it is fed.
#[cfg(test)]
pub(super) mod failing {
    use std::cell::Cell;

    thread_local! {
        static ALWAYS: Cell<bool> = const { Cell::new(false) };
    }

    /// While this lives, every engine of this thread is such a one.
    pub(in crate::daemon) struct Always(());

    pub(in crate::daemon) fn always() -> Always {
        ALWAYS.set(true);
        Always(())
    }

    impl Drop for Always {
        fn drop(&mut self) {
            ALWAYS.set(false);
        }
    }

    pub(super) fn now() -> Result<(), super::Failed> {
        if ALWAYS.get() { Err(super::Failed) } else { Ok(()) }
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
