//! A log with limits keeps what they say and little more, by bytes, by age, and only behind checkpoints that verify; timers
//! run only while there is work.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{AppendOptions, Durability, Entry, Journal, Log, LogOptions, Lsn, Options, Retention};
use abide_sim::{Clock, Disk};
use std::path::Path;
use std::sync::Arc;

const HOUR_MS: u64 = 3_600_000;

struct Store {
    disk: Disk,
    clock: Clock,
    journal: Journal,
}

fn store(options: Options) -> Store {
    let (disk, clock) = (Disk::new(1), Clock::at_wall_us(1_700_000_000_000_000));
    let (journal, _) =
        Journal::open(Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())), options).expect("opens");
    Store { disk, clock, journal }
}

impl Store {
    fn log(&self, name: &str, retention: Retention) -> Log {
        let options = LogOptions { retention, durability: Durability::Os, ..LogOptions::default() };
        self.journal.create_log(name, options).wait().expect("created")
    }

    /// Time passes until nothing is left to be done.
    fn rest(&self) {
        for _ in 0..1_000 {
            while self.journal.turn() {}
            let Some(deadline) = self.journal.deadline_ms() else { return };
            self.clock.advance_ms(deadline.saturating_sub(self.clock.tick_ms()).max(1));
        }
        panic!("it never rests")
    }
}

fn append(log: &Log, count: usize) {
    for _ in 0..count {
        log.append(Entry::data(0, vec![7; 444]), AppendOptions::default()).wait().expect("appended");
    }
}

#[test]
fn by_bytes() {
    let store = store(options(1));
    let log = store.log("a", Retention { bytes_max: 100_000, ..Retention::default() });
    for _ in 0..20 {
        append(&log, 60);
        store.rest();
        let info = log.info().expect("there");
        let all = (info.next.lsn.get() - 1) * 500;
        let window = 64 << 10;
        assert!(info.bytes >= all.min(100_000) && info.bytes <= 100_000 + window, "{} of {all}", info.bytes);
    }
    assert!(log.info().expect("there").base.lsn.get() > 900);
    let segments = store.disk.list(Path::new("store/segments")).expect("a directory");
    assert!(segments.len() < 8, "segments are freed: {segments:?}");
}

#[test]
fn by_age() {
    let store = store(Options { extent_bytes: 8 << 10, ..options(1) });
    let log = store.log("a", Retention { age_ms_max: 10 * HOUR_MS, ..Retention::default() });
    for hour in 0..30_u64 {
        append(&log, 40);
        store.clock.advance_ms(HOUR_MS);
        append(&log, 1);
        store.rest();
        let base = log.info().expect("there").base.lsn.get();
        // An hour's 41 records are some 3 extents; what lies in the one that is cut stays.
        let old = (hour + 2).saturating_sub(10) * 41;
        assert!(base <= old + 1 && base + 82 > old, "hour {hour}: base {base}, {old} are too old");
    }
}

#[test]
fn only_behind_a_checkpoint() {
    let store = store(Options { extent_bytes: 4 << 10, ..options(1) });
    let log = store.log("a", Retention { bytes_max: 20_000, trim_at_checkpoint: true, ..Retention::default() });
    append(&log, 100);
    store.rest();
    assert_eq!(log.info().expect("there").base.lsn, Lsn::FIRST, "nothing stands for what would go");
    for lsn in [30, 99] {
        log.add_checkpoint(Lsn::new(lsn), vec![1; 100]).wait().expect("added");
    }
    append(&log, 1);
    store.rest();
    assert_eq!(log.info().expect("there").base.lsn.get(), 31, "the newest one leaves too little");
    append(&log, 200);
    store.rest();
    assert_eq!(log.info().expect("there").base.lsn.get(), 100);
    assert_eq!(log.trim(Lsn::new(301).expect("not 0")).wait().expect("answered").lsn.get(), 100, "asked for likewise");
}

#[test]
fn the_index_follows_in_time() {
    let interval = 60_000;
    let store = store(Options { segment_bytes: 4 << 20, index_interval_bytes: 1 << 30, ..options(1) });
    let log = store.log("a", Retention::default());
    let indexes = || store.disk.list(Path::new("store/index")).expect("a directory").len();
    append(&log, 100);
    store.clock.advance_ms(2 * interval);
    while store.journal.turn() {}
    assert_eq!(indexes(), 0, "too little was appended");
    append(&log, 2_200);
    store.clock.advance_ms(interval - 1);
    while store.journal.turn() {}
    assert_eq!(indexes(), 0);
    store.clock.advance_ms(1);
    while store.journal.turn() {}
    assert_eq!(indexes(), 1);
    store.rest();
    assert_eq!(store.journal.deadline_ms(), None, "an idle store never wakes");
}
