//! Without room ordinary appends are refused and nothing is numbered; reads and drops work; room made by a drop is used
//! without opening the store anew.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{
    AppendOptions, Durability, Entry, Error, Journal, Level, Log, LogOptions, Lsn, ReadLimit, SpaceState,
};
use abide_sim::{Clock, Disk};
use std::sync::Arc;

const RECORD: usize = 8_000;

struct Store {
    disk: Disk,
    clock: Clock,
    journal: Journal,
}

fn store(capacity: u64, bytes_max: u64) -> Store {
    let (disk, clock) = (Disk::new(1), Clock::default());
    disk.set_capacity(capacity);
    let options = abide_journal::Options { bytes_max, ..options(1) };
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    let (journal, _) = Journal::open(seams.0, seams.1, options).expect("opens");
    Store { disk, clock, journal }
}

/// Appends until the store is full; says how many were taken.
fn fill(store: &Store, log: &Log) -> u64 {
    for count in 0..10_000 {
        let ticket = log.append(Entry::data(0, vec![7; RECORD]), AppendOptions::at(Durability::Always));
        match ticket.wait() {
            Ok(_) => {}
            Err(Error::Full) => return count,
            Err(error) => panic!("{error}, {:?}", store.disk.counts()),
        }
    }
    panic!("never full")
}

fn settle(store: &Store) {
    for _ in 0..5 {
        while store.journal.turn() {}
        store.clock.advance_ms(1_000);
    }
    while store.journal.turn() {}
}

fn fills_and_recovers(store: &Store) {
    let mut space = store.journal.space();
    let keep = store.journal.create_log("keep", LogOptions::default()).wait().expect("created");
    keep.append(Entry::data(0, "kept"), AppendOptions::default()).wait().expect("appended");
    let mut taken = Vec::new();
    for round in 0..4 {
        let log = store.journal.create_log("filler", LogOptions::default()).wait().expect("created");
        taken.push(fill(store, &log));
        assert_eq!(space.get().state, SpaceState::Full, "round {round}");
        assert!(space.get().used <= space.get().allowed);
        let info = log.info().expect("there");
        assert_eq!(info.next.lsn.get(), taken[round] + 1, "no number was used");
        let refused = keep.append(Entry::data(0, "x"), AppendOptions::default()).wait();
        assert!(matches!(refused, Err(Error::Full)));
        let read = log.read(Lsn::FIRST, ReadLimit { bytes: usize::MAX, records: usize::MAX }, Level::Durable);
        assert_eq!(read.expect("reads work").records.len() as u64, taken[round]);
        log.drop_log().wait().expect("a drop is taken");
        settle(store);
        assert_ne!(space.get().state, SpaceState::Full, "round {round}: {:?}", space.get());
        keep.append(Entry::data(0, "kept"), AppendOptions::default()).wait().expect("there is room again");
    }
    // Each round leaves one more segment that holds nothing but a record of the log that is kept.
    assert!(taken.iter().all(|count| *count >= 10), "{taken:?}");
    assert_eq!(keep.info().expect("there").next.lsn.get(), 6);
}

#[test]
fn when_the_disk_is_full() {
    fills_and_recovers(&store(500 << 10, 0));
}

#[test]
fn when_the_store_reaches_its_bound() {
    let store = store(u64::MAX, 512 << 10);
    fills_and_recovers(&store);
    let used: u64 = store.disk.list("store/segments".as_ref()).expect("a directory").len() as u64 * (64 << 10);
    assert!(used <= 512 << 10, "{used}");
}

#[test]
fn a_full_queue_is_busy() {
    let (disk, clock) = (Disk::new(1), Clock::default());
    let options = abide_journal::Options { queue_bytes_max: 20_000, ..options(1) };
    let (disk, clock) = (Arc::new(SimDisk(disk)), Arc::new(SimClock(clock)));
    let (journal, _) = Journal::open(disk, clock, options).expect("opens");
    let log = journal.create_log("a", LogOptions::default()).wait().expect("created");
    let entry = || Entry::data(0, vec![7; RECORD]);
    let first = log.try_append(entry(), AppendOptions::default()).expect("room");
    let second = log.try_append(entry(), AppendOptions::default()).expect("room");
    assert!(matches!(log.try_append(entry(), AppendOptions::default()), Err(Error::Busy)));
    // Who waits is served in turn.
    let third = log.append(entry(), AppendOptions::default());
    for (ticket, lsn) in [(first, 1), (second, 2), (third, 3)] {
        assert_eq!(ticket.wait().expect("appended").position.lsn.get(), lsn);
    }
    log.try_append(entry(), AppendOptions::default()).expect("room again").wait().expect("appended");
}
