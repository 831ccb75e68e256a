//! J11, J16: the index stays small however records are mixed, compaction ends, and reading one log back reads little but it;
//! opening a store reads its index and a bounded tail; many followers cost nothing of each other's.

use crate::simulated::{SimClock, SimDisk, cases, options};
use abide_journal::{
    AppendOptions, Durability, Entry, Error, Follower, From, Journal, Level, Log, LogOptions, Lsn, Options, ReadLimit,
};
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
    let log = journal.log("log/50").expect("there");
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
    assert_eq!(next.get(), records / count as u64 + 1);
    let read = disk.counts().bytes_read - before;
    println!("Tally read {read} for {bytes}");
    assert!(read <= bytes + bytes / 2, "{read} for {bytes}");
}

#[test]
fn with_many_logs_and_followers() {
    let (disk, clock) = (Disk::new(2), Clock::default());
    let segment = 1 << 20;
    let large =
        || Options { segment_bytes: segment, index_interval_bytes: 4 << 20, tail_cache_bytes: 1 << 20, ..options(2) };
    let journal = open(&disk, &clock, large());
    let (count, records) = (10_000, cases(200_000, 1_000_000));
    let plain = || LogOptions { durability: Durability::Os, ..LogOptions::default() };
    let logs: Vec<Log> =
        (0..count).map(|index| journal.create_log(&format!("log/{index}"), plain()).wait().expect("created")).collect();
    // The log that is followed gets every second record; the last follower never reads until it is trimmed.
    let mut followers: Vec<(Follower, u64)> =
        (0..100).map(|_| (logs[0].follow(From::Lsn(Lsn::FIRST), Level::Written).expect("follows"), 1)).collect();
    for number in 0..records {
        let index = if number % 2 == 0 { 0 } else { usize::try_from(number).expect("small") % count };
        drop(logs[index].append(Entry::data(0, vec![7; 100]), AppendOptions::default()));
        if number % 256 == 0 {
            clock.advance_ms(5);
            while journal.turn() {}
            let turn = usize::try_from(number / 256).expect("small") % 99;
            for (follower, next) in &mut followers[turn..=turn] {
                for _ in 0..5_000 {
                    let Some(record) = follower.try_next().expect("followed") else { break };
                    assert_eq!(record.lsn().get(), *next, "dense");
                    *next += 1;
                }
            }
        }
    }
    // Killed in the middle of its work.
    let busy = opens_reading_little(&disk.fork(), &clock, large(), count);
    let end = logs[0].info().expect("there").next.lsn;
    logs[0].trim(end).wait().expect("trimmed");
    assert!(followers[..99].iter().all(|(_, next)| *next > 1), "all have followed");
    let (hung, _) = &mut followers[99];
    assert!(matches!(hung.try_next(), Err(Error::PositionTrimmed { .. })));
    followers.clear();
    rest(&journal, &disk, &clock);
    disk.freeze();
    drop((journal, logs));
    let resting = opens_reading_little(&disk, &clock, large(), count);
    println!("Tally {count} logs, {records} records, opening read {busy:?} at work, {resting:?} at rest");
}

/// Opens after a kill: bytes read, and how many there may be.
fn opens_reading_little(disk: &Disk, clock: &Clock, options: Options, logs: usize) -> (u64, u64) {
    disk.processes_die();
    let (_, index) = size(disk, "store/index");
    let before = disk.counts().bytes_read;
    let bound = index + options.index_interval_bytes.max(4 * index) + 2 * options.segment_bytes;
    let journal = open(disk, clock, options);
    let read = disk.counts().bytes_read - before;
    assert!(read <= bound, "{read} of {bound}");
    assert_eq!(journal.logs().len(), logs);
    (read, bound)
}
