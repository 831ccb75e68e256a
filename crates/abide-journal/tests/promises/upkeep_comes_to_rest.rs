//! J16: the index stays small however records are mixed, compaction ends, and reading one log back reads little but it.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{AppendOptions, Durability, Entry, Journal, Level, Log, LogOptions, Lsn, Options, ReadLimit};
use abide_sim::{Clock, Disk};
use std::path::Path;
use std::sync::Arc;

fn open(disk: &Disk, clock: &Clock, options: Options) -> Journal {
    let (disk, clock) = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    Journal::open(disk, clock, options).expect("opens").0
}

fn size(disk: &Disk, dir: &str) -> (u64, u64) {
    let names = disk.list(Path::new(dir)).expect("a directory");
    let length = |name: &String| disk.open(&Path::new(dir).join(name)).expect("there").len().expect("a length");
    (names.len() as u64, names.iter().map(length).sum())
}

/// Time passes until nothing is left to do by itself; says how many calls to the disk that took.
fn rest(journal: &Journal, disk: &Disk, clock: &Clock) -> u64 {
    let before = disk.counts().calls;
    for _ in 0..100_000 {
        while journal.turn() {}
        match journal.deadline_ms() {
            None => return disk.counts().calls - before,
            Some(deadline) => clock.advance_ms(deadline.saturating_sub(clock.tick_ms()).max(1)),
        }
    }
    panic!("it never rests")
}

#[test]
fn with_strictly_interleaved_logs() {
    let (disk, clock) = (Disk::new(1), Clock::default());
    let (segment, window) = (1 << 20, 16 << 10);
    let large = || Options {
        segment_bytes: segment,
        extent_bytes: window,
        index_interval_bytes: 4 << 20,
        compact_bytes_per_s: 256 << 20,
        tail_cache_bytes: 0,
        ..options(1)
    };
    let journal = open(&disk, &clock, large());
    let (count, records) = (100, 1_000_000);
    let plain = || LogOptions { durability: Durability::Os, ..LogOptions::default() };
    let logs: Vec<Log> =
        (0..count).map(|index| journal.create_log(&format!("log/{index}"), plain()).wait().expect("created")).collect();
    for number in 0..records {
        let log = &logs[usize::try_from(number).expect("small") % count];
        drop(log.append(Entry::data(0, vec![7; 200]), AppendOptions::default()));
        if number % 512 == 0 {
            clock.advance_ms(5);
            while journal.turn() {}
        }
    }
    // Then one log alone, so that what was mixed lies in sealed segments.
    for _ in 0..3 * segment / 60_000 {
        drop(logs[0].append(Entry::data(0, vec![7; 16_000]), AppendOptions::default()));
        while journal.turn() {}
    }
    let worked = rest(&journal, &disk, &clock);
    let files = size(&disk, "store/segments");
    assert_eq!(rest(&journal, &disk, &clock), 0, "it rests");
    journal.close().wait().expect("closed");
    let (kept, index) = size(&disk, "store/index");
    let live: u64 = logs.iter().map(|log| log.info().expect("there").bytes).sum();
    let pairs = files.0 * count as u64;
    let bound = live / 64 + 192 * pairs + 1_024 * count as u64 + 2 * (segment / 256) * 48;
    println!("Tally {worked} calls, {files:?} segments, {live} live, index {index} in {kept}, bound {bound} each");
    assert!(index / kept <= bound, "{index} of {bound}");
    drop((journal, logs));
    disk.processes_die();
    let journal = open(&disk, &clock, large());
    let (read, bytes) = one_log_is_read_alone(&journal, &disk, "log/50", records / count as u64);
    println!("Tally read {read} for {bytes}");
}

/// Reads all records of one log, each of 200 B, and hardly anything else; says how many bytes, and how many are its own.
fn one_log_is_read_alone(journal: &Journal, disk: &Disk, name: &str, records: u64) -> (u64, u64) {
    let log = journal.log(name).expect("there");
    let before = disk.counts().bytes_read;
    let (mut next, mut bytes) = (Lsn::FIRST, 0);
    loop {
        let out = log.read(next, ReadLimit::default(), Level::Written).expect("readable");
        if out.records.is_empty() {
            break;
        }
        next = out.next.lsn.expect("a full cursor");
        bytes += out.records.len() as u64 * 264;
    }
    assert_eq!(next.get(), records + 1);
    let read = disk.counts().bytes_read - before;
    assert!(read <= bytes + bytes / 2, "{read} for {bytes}");
    (read, bytes)
}

/// What the last open left mixed is regrouped, though nobody asks this one for anything.
#[test]
fn in_a_store_that_is_only_opened() {
    let (disk, clock) = (Disk::new(3), Clock::default());
    let at_speed = |compact_bytes_per_s| Options {
        segment_bytes: 1 << 20,
        extent_bytes: 16 << 10,
        index_interval_bytes: 4 << 20,
        tail_cache_bytes: 0,
        compact_bytes_per_s,
        ..options(3)
    };
    let journal = open(&disk, &clock, at_speed(1));
    let (count, records) = (40, 20_000);
    let plain = LogOptions { durability: Durability::Os, ..LogOptions::default() };
    let logs: Vec<Log> =
        (0..count).map(|index| journal.create_log(&format!("log/{index}"), plain).wait().expect("created")).collect();
    for number in 0..records {
        drop(logs[number % count].append(Entry::data(0, vec![7; 200]), AppendOptions::default()));
        if number % 512 == 0 {
            while journal.turn() {}
        }
    }
    journal.close().wait().expect("closed");
    drop((journal, logs));
    disk.processes_die();
    let journal = open(&disk, &clock, at_speed(256 << 20));
    let worked = rest(&journal, &disk, &clock);
    let (read, bytes) = one_log_is_read_alone(&journal, &disk, "log/20", (records / count) as u64);
    println!("Tally {worked} calls, read {read} for {bytes}");
}
