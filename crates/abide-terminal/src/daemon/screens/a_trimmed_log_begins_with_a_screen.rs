//! Trimming over the journal, the model and their worker's steps: what is kept begins with a screen that is true.

use abide_journal::{AppendOptions, Content, Entry, FileDisk, Journal, Level, LogOptions, ReadLimit, SystemClock};
use abide_journal::{Lsn, Retention};
use abide_screen::Size;
use abide_sim::Rng;

use super::super::model::failing;
use super::*;
use crate::store::{Mark, MarkKind, ScreenHeader};
use crate::test_dir::TestDir;

const LIMITS: Limits = Limits { models_max: 1, scrollback_lines_max: 30 };
const SCREENS_MAX: u32 = 12;
const EXTENT_BYTES: u32 = 1 << 10;

/// A session whose output comes from the test.
struct History {
    _root: TestDir,
    _journal: Journal,
    log: Log,
    session: Session,
    retention: u64,
    distance: u64,
}

impl History {
    fn new(retention: u64, distance: u64) -> Self {
        let root = TestDir::new();
        let options = abide_journal::Options {
            segment_bytes: 1 << 20,
            checkpoint_inline_bytes_max: 256 << 10,
            record_bytes_max: 64 << 10,
            append_bytes_max: 128 << 10,
            extent_bytes: EXTENT_BYTES,
            disk_reserve_bytes: 0,
            ..abide_journal::Options::new(root.path().join("store"))
        };
        let (journal, _) = Journal::open(Arc::new(FileDisk), Arc::new(SystemClock), options).unwrap();
        let options = LogOptions {
            retention: Retention { bytes_max: retention, age_ms_max: 0, trim_at_checkpoint: true },
            checkpoints_max: SCREENS_MAX,
            ..LogOptions::default()
        };
        let log = journal.create_log("log", options).wait().unwrap();
        let session = Session::new(Followed::new(log.clone(), distance), Instant::now());
        Self { _root: root, _journal: journal, log, session, retention, distance }
    }

    fn append(&self, entry: Entry) {
        self.log.append(entry, AppendOptions::default()).wait().unwrap();
    }

    fn resize(&self, size: Size) {
        let kind = MarkKind::Resized { cols: size.cols, rows: size.rows };
        let mark = Mark { kind, event: None };
        self.append(Entry::mark(mark.tag(), mark.payload().unwrap()));
    }

    /// The model takes in what is there.
    fn catch_up(&mut self) {
        while {
            self.session.step(&LIMITS);
            self.session.due.is_some()
        } {}
    }

    /// Most that is kept when the model has seen everything: two distances, and what the journal does not cut.
    fn bound(&self) -> u64 {
        // A record of one byte costs 57.
        let records = 2 * self.distance / 100 * 56;
        self.retention + 2 * self.distance + records + 2 * u64::from(EXTENT_BYTES)
    }

    /// Waits until the log is as short as it is to be.
    fn trimmed(&self) -> abide_journal::LogInfo {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let info = self.log.info().unwrap();
            if info.bytes <= self.bound() {
                return info;
            }
            assert!(Instant::now() < deadline, "{} bytes are kept, {} may be", info.bytes, self.bound());
            std::thread::yield_now();
        }
    }
}

/// What a program may print: text, colours, moves, scrolling, the other screen, halves of it all.
fn output(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        let (a, b) = (1 + rng.below(30), 1 + rng.below(12));
        let piece = match rng.below(12) {
            0..=4 => format!("word{a} "),
            5 => "\r\n".to_owned(),
            6 => format!("\x1b[{b};{a}H"),
            7 => format!("\x1b[{}m", [0, 1, 4, 7, 31, 42][rng.index(6)]),
            8 => "漢字é".to_owned(),
            9 => format!("\x1b[{}{}", b, ['A', 'B', 'K', 'P', 'L', 'M', 'S'][rng.index(7)]),
            10 => format!("\x1b[?1049{}", ['h', 'l'][rng.index(2)]),
            _ => format!("\x1b]0;title {a}\x07\x1b[{b};{}r\x1b[r", b + 5),
        };
        bytes.extend_from_slice(piece.as_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Replays the log from its base as a client does: the screen there, then output and sizes. `at` is asked behind each
/// record.
fn replay(log: &Log, mut at: impl FnMut(u64, &abide_screen::Model)) {
    // The last trim may not be carried out yet.
    let (base, _pin) = loop {
        let base = log.info().unwrap().base;
        if let Ok(pin) = log.pin(base.last(), "replay").wait() {
            break (base, pin);
        }
    };
    let mut screen = abide_screen::Model::new(Size { cols: 80, rows: 24 }, LIMITS.scrollback_lines_max);
    if base.lsn > Lsn::FIRST {
        let bytes = log.open_checkpoint(base.last()).expect("the base rests on a screen");
        let (header, snapshot) = ScreenHeader::read(&bytes).unwrap();
        screen = abide_screen::Model::new(Size { cols: header.cols, rows: header.rows }, LIMITS.scrollback_lines_max);
        screen.feed(snapshot).unwrap();
    }
    at(base.lsn.get(), &screen);
    let mut next = base.lsn;
    loop {
        let read = log.read(next, ReadLimit { bytes: 1 << 20, records: 100 }, Level::Written).unwrap();
        if read.records.is_empty() {
            return;
        }
        for record in read.records {
            take(&mut screen, &record.content, record.tag);
            next = record.lsn().next();
            at(next.get(), &screen);
        }
    }
}

fn take(screen: &mut abide_screen::Model, content: &Content, tag: u8) {
    match content {
        Content::Data(bytes) => screen.feed(bytes).unwrap(),
        Content::Mark(payload) => {
            if let Some(MarkKind::Resized { cols, rows }) = Mark::read(tag, payload).map(|mark| mark.kind) {
                screen.resize(cols, rows).unwrap();
            }
        }
        Content::Gap(_) => {}
    }
    screen.take_answers();
}

#[test]
fn replay_from_the_base_shows_what_was_shown() {
    let histories: u64 = if std::env::var_os("ABIDE_NIGHTLY").is_some_and(|value| value == "1") { 10_000 } else { 500 };
    let half = |first: u64| (first..histories).step_by(2).map(one_history).fold(Tally::default(), Tally::and);
    let tally = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        half(0).and(other.join().unwrap())
    });
    println!("{histories} histories: {tally:?}");
    assert!(tally.trimmed * 2 > histories && tally.compared > 20 * histories, "{tally:?}");
}

/// What histories did.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    trimmed: u64,
    screens: usize,
    compared: u64,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            trimmed: self.trimmed + other.trimmed,
            screens: self.screens + other.screens,
            compared: self.compared + other.compared,
        }
    }
}

fn one_history(seed: u64) -> Tally {
    let mut rng = Rng::new(seed);
    let mut history = History::new(4_000 + rng.below(12_000), 1_000 + rng.below(3_000));
    let mut whole = abide_screen::Model::new(Size { cols: 80, rows: 24 }, LIMITS.scrollback_lines_max);
    // What the screen was behind each record, by the number of the next one.
    let mut shown = vec![whole.snapshot(usize::MAX).bytes; 2];
    for _ in 0..50 + rng.below(30) {
        if rng.one_in(8) {
            let cells = |number: u64| u16::try_from(number).unwrap();
            let size = Size { cols: cells(20 + rng.below(90)), rows: cells(5 + rng.below(40)) };
            history.resize(size);
            whole.resize(size.cols, size.rows).unwrap();
        } else {
            let len = 1 + rng.index(900);
            let bytes = output(&mut rng, len);
            whole.feed(&bytes).unwrap();
            whole.take_answers();
            history.append(Entry::data(0, bytes));
        }
        shown.push(whole.snapshot(usize::MAX).bytes);
        if rng.percent(70) {
            history.catch_up();
        }
        if rng.one_in(10) {
            // It is built again from the newest screen.
            history.session.drop_model();
        }
    }
    history.catch_up();
    let info = history.trimmed();
    assert!(info.checkpoints.len() <= SCREENS_MAX as usize);
    let mut compared = 0;
    replay(&history.log, |next, screen| {
        let expected = &shown[usize::try_from(next).unwrap()];
        let found = screen.snapshot(usize::MAX).bytes;
        assert!(found == *expected, "history {seed}, behind record {next}");
        compared += 1;
    });
    Tally { trimmed: u64::from(info.base.lsn > Lsn::FIRST), screens: info.checkpoints.len(), compared }
}

#[test]
fn a_sequence_without_an_end_is_trimmed_too() {
    let mut history = History::new(4_000, 2_000);
    history.append(Entry::data(0, "before \x1b]0;"));
    for _ in 0..100 {
        history.append(Entry::data(0, vec![b'x'; 1_000]));
        history.catch_up();
    }
    let info = history.trimmed();
    assert!(info.base.offset.0 > 50_000, "{info:?}");
    history.append(Entry::data(0, "\x07behind"));
    let mut last = String::new();
    replay(&history.log, |_, screen| last = String::from_utf8_lossy(&screen.snapshot(0).bytes).into_owned());
    assert!(last.contains("before") && last.contains("behind"), "{last:?}");
}

#[test]
fn what_no_model_can_show_is_trimmed_too() {
    let mut history = History::new(4_000, 2_000);
    let _engine = failing::always();
    for _ in 0..100 {
        history.append(Entry::data(0, vec![b'x'; 1_000]));
        history.catch_up();
    }
    assert!(history.trimmed().base.offset.0 > 50_000);
}

#[test]
fn damage_and_what_was_trimmed_do_not_stop_a_model() {
    let mut history = History::new(4_000, 2_000);
    for _ in 0..20 {
        history.append(Entry::data(0, vec![b'x'; 1_000]));
    }
    history.session.step(&LIMITS);
    let late = history.session.model.take();
    history.session.model = Some(Model::build(&history.log, 10));
    for _ in 0..20 {
        history.append(Entry::data(0, vec![b'y'; 1_000]));
        history.catch_up();
    }
    assert!(history.trimmed().base.offset.0 > 20_000);
    // A model from before finds its place gone.
    history.session.model = late;
    history.catch_up();
    let shown = history.session.model.as_ref().unwrap().snapshot(0);
    assert_eq!(shown.place, history.log.info().unwrap().next);
}
