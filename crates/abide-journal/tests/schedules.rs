//! J7 over the threads of a store: whoever trims, what is pinned is kept; a reader whose segment is emptied, freed or used
//! again under it reads what was written, or is told that it is trimmed. Every lock, wake-up and read is a place where
//! shuttle may go on with another thread. `RUSTFLAGS="--cfg shuttle" cargo test -p abide-journal --test schedules`, with a
//! target directory of its own.

#![cfg(shuttle)]
#![expect(clippy::expect_used, reason = "tests state what must hold")]

#[path = "promises/simulated.rs"]
#[expect(dead_code, reason = "shared with the tests that run without shuttle")]
mod simulated;

use crate::simulated::{SimClock, SimDisk, cases, options};
use abide_journal::{
    AppendOptions, Content, Durability, Entry, Error, Journal, Level, Log, LogOptions, Lsn, Options, ReadLimit,
};
use abide_sim::{Clock, Disk};
use shuttle::scheduler::PctScheduler;
use shuttle::{Config, Runner};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Decides all schedules.
const SEED: u64 = 7;
/// Records of one schedule: four to a segment.
const RECORDS: u64 = 16;

#[derive(Debug, Default)]
struct Tally {
    schedules: AtomicU64,
    read: AtomicU64,
    trimmed: AtomicU64,
    pinned: AtomicU64,
    too_late: AtomicU64,
    held: AtomicU64,
    freed: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

fn lsn(number: u64) -> Lsn {
    Lsn::new(number).expect("not 0")
}

fn payload(lsn: u64) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(lsn % 251).expect("small"); 14_000];
    bytes[..8].copy_from_slice(&lsn.to_le_bytes());
    bytes
}

/// Appends, and trims to the newest few.
fn append_and_trim(log: &Log, _: &Tally) {
    for number in 1..=RECORDS {
        log.append(Entry::data(0, payload(number)), AppendOptions::default()).wait().expect("appended");
        if number % 4 == 0 {
            log.trim(lsn(number - 1)).wait().expect("trimmed");
        }
    }
}

/// Reads two records from `from` on. Says whether they are still there.
fn read(log: &Log, from: Lsn, tally: &Tally) -> bool {
    match log.read(from, ReadLimit { bytes: 28_000, records: 2 }, Level::Written) {
        Ok(out) => {
            for (record, expected) in out.records.iter().zip(from.get()..) {
                let Content::Data(bytes) = &record.content else { panic!("only data") };
                assert_eq!(record.lsn().get(), expected);
                assert!(bytes[..] == payload(expected)[..], "record {expected} reads otherwise");
                count(&tally.read);
            }
            true
        }
        Err(Error::PositionTrimmed { base }) => {
            assert!(base.lsn > from, "trimmed to {base:?}, read from {from}");
            count(&tally.trimmed);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Reads what is oldest until it is trimmed.
fn read_the_oldest(log: &Log, tally: &Tally) {
    for _ in 0..2 {
        let base = log.info().expect("there").base.lsn;
        for _ in 0..20 {
            if !read(log, base, tally) {
                break;
            }
        }
    }
}

/// Pins what is oldest; then it stays.
fn pin_and_read(log: &Log, tally: &Tally) {
    for _ in 0..4 {
        let base = log.info().expect("there").base.lsn;
        match log.pin(Lsn::new(base.get() - 1), "reader").wait() {
            Ok(pin) => {
                count(&tally.pinned);
                let end = log.info().expect("there").next.lsn;
                for _ in 0..3 {
                    assert!(read(log, base, tally), "trimmed while pinned");
                    assert_eq!(log.info().expect("there").base.lsn, base, "trimmed while pinned");
                }
                if log.info().expect("there").next.lsn > end {
                    count(&tally.held);
                }
                drop(pin);
            }
            Err(Error::PinBelowBase { base: told }) => {
                assert!(told.lsn > base);
                count(&tally.too_late);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn schedule(tally: &Arc<Tally>) {
    let (disk, clock) = (Disk::new(1), Clock::default());
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock)));
    let options = Options { threads: true, tail_cache_bytes: 0, index_interval_bytes: 8 << 10, ..options(1) };
    let (journal, _) = Journal::open(seams.0, seams.1, options).expect("opens");
    let plain = LogOptions { durability: Durability::Os, ..LogOptions::default() };
    let log = journal.create_log("a", plain).wait().expect("created");
    let threads: Vec<_> = [append_and_trim as fn(&Log, &Tally), read_the_oldest, pin_and_read]
        .into_iter()
        .map(|work| {
            let (log, tally) = (log.clone(), Arc::clone(tally));
            shuttle::thread::spawn(move || work(&log, &tally))
        })
        .collect();
    for thread in threads {
        thread.join().expect("it holds");
    }
    assert_eq!(log.info().expect("there").next.lsn.get(), RECORDS + 1);
    journal.close().wait().expect("closed");
    let files = disk.list(Path::new("store/segments")).expect("a directory");
    let newest = u64::from_str_radix(files.last().expect("some").trim_end_matches(".seg"), 16).expect("a number");
    tally.freed.fetch_add(newest - files.len() as u64, Relaxed);
    count(&tally.schedules);
}

fn check(how: impl FnOnce(Box<dyn Fn() + Send + Sync>, usize)) {
    let tally = Arc::new(Tally::default());
    let schedules = cases(10_000, 100_000);
    let counted = Arc::clone(&tally);
    how(Box::new(move || schedule(&counted)), usize::try_from(schedules).expect("small"));
    println!("Tally {tally:?}");
    let of = |counter: &AtomicU64| counter.load(Relaxed);
    assert_eq!(of(&tally.schedules), schedules);
    assert!(of(&tally.read) > 10 * schedules && of(&tally.pinned) > schedules, "{tally:?}");
    for seldom in [&tally.trimmed, &tally.too_late, &tally.held, &tally.freed] {
        assert!(of(seldom) >= 20, "{tally:?}");
    }
}

#[test]
fn in_any_order() {
    check(|schedule, schedules| shuttle::check_random_with_seed(schedule, SEED, schedules));
}

/// Orders in which some thread is far behind the others, but for a few changes.
#[test]
fn with_a_thread_left_behind() {
    check(|schedule, schedules| {
        let changes = 3;
        let scheduler = PctScheduler::new_from_seed(SEED, changes, schedules);
        Runner::new(scheduler, Config::default()).run(schedule);
    });
}
