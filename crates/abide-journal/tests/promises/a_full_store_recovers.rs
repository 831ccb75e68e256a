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
    store_of(abide_journal::Options { bytes_max, ..options(1) }, capacity)
}

fn store_of(options: abide_journal::Options, capacity: u64) -> Store {
    let (disk, clock) = (Disk::new(1), Clock::default());
    disk.set_capacity(capacity);
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

#[derive(Default, Debug)]
struct Tally {
    full: u64,
    struck: u64,
    essential: u64,
    refused_units: u64,
    recovered: u64,
    poisoned: u64,
}

/// J12: no space at one call, then space again: a typed refusal, no number used, reads and trims work, and the store is
/// ready without being opened anew. Where bytes are written that were promised a place it is the disk that fails.
fn no_space_at(call: u64, tally: &mut Tally) {
    let store = store(u64::MAX, 0);
    let log = store.journal.create_log("a", LogOptions::default()).wait().expect("created");
    store.disk.fail_after(call, abide_sim::Fault::NoSpace);
    let mut taken = 0;
    for _ in 0..40 {
        match log.append(Entry::data(0, vec![7; 3_000]), AppendOptions::at(Durability::Always)).wait() {
            Ok(appended) => {
                taken += 1;
                assert_eq!(appended.position.lsn.get(), taken, "no number is left out");
            }
            Err(Error::Full) => {
                tally.full += 1;
                let out = log.read(Lsn::FIRST, ReadLimit { bytes: usize::MAX, records: usize::MAX }, Level::Durable);
                assert_eq!(out.expect("reads work").records.len() as u64, taken);
                log.trim(Lsn::FIRST).wait().expect("trims work");
                settle(&store);
                assert_ne!(store.journal.space().get().state, SpaceState::Full);
                tally.recovered += 1;
            }
            Err(Error::Unknown { .. } | Error::Poisoned(_)) => {
                tally.poisoned += 1;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    tally.struck += store.disk.counts().faults;
}

#[test]
fn when_space_is_missing_once() {
    let mut tally = Tally::default();
    let calls = crate::simulated::cases(200, 400);
    for call in 1..=calls {
        no_space_at(call, &mut tally);
    }
    println!("Tally {tally:?}");
    assert!(tally.struck > calls / 3 && tally.full >= 1 && tally.recovered == tally.full, "{tally:?}");
    assert!(tally.poisoned > 20, "{tally:?}");
}

/// J15: ordinary logs fill the store, other files take the rest of the disk. Essential appends go on for a while, units with
/// an ordinary log are refused whole, and a drop or a trim makes room with no help from outside.
fn stuck(seed: u64, segment_bytes: u64, least: u64, tally: &mut Tally) {
    let by_disk = seed.is_multiple_of(2);
    let bytes_max = if by_disk { 0 } else { 10 * segment_bytes };
    let options = abide_journal::Options { segment_bytes, bytes_max, ..options(1) };
    let capacity = 16 * segment_bytes;
    let store = store_of(options, if by_disk { capacity } else { u64::MAX });
    let create = |name: &str, essential| {
        let options = LogOptions { essential, durability: Durability::Always, ..LogOptions::default() };
        store.journal.create_log(name, options).wait().expect("created")
    };
    let (registry, bulk, other) = (create("registry", true), create("bulk", false), create("other", false));
    let size = 3_000 + usize::try_from(seed * 37 % 9_000).expect("small");
    let append = |log: &Log, size| log.append(Entry::data(0, vec![7; size]), AppendOptions::default()).wait();
    let mut bulk_records = 0;
    while append(&bulk, size).is_ok() {
        bulk_records += 1;
        let _ = append(&other, 50);
    }
    while append(&bulk, 100).is_ok() {
        bulk_records += 1;
    }
    if by_disk {
        let used = capacity - store.disk.free_bytes().0;
        store.disk.set_capacity(used);
    }
    settle(&store);
    let before = registry.info().expect("there").next.lsn.get();
    let mut essential = 0;
    loop {
        match append(&registry, 900) {
            Ok(_) => essential += 1,
            Err(Error::Full) => break,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        assert!(essential < 1_000, "seed {seed}: an end");
    }
    assert!(essential >= least, "seed {seed}: {essential} essential records found room");
    tally.essential += essential;
    let unit = vec![(registry.clone(), Entry::data(0, "x")), (bulk.clone(), Entry::data(0, "y"))];
    assert!(matches!(store.journal.append_batch(unit, AppendOptions::default()).wait(), Err(Error::Full)));
    tally.refused_units += 1;
    assert_eq!(registry.info().expect("there").next.lsn.get(), before + essential, "no number is used");
    if seed.is_multiple_of(3) {
        bulk.trim(bulk.info().expect("there").next.lsn).wait().expect("trimmed");
    } else {
        bulk.drop_log().wait().expect("dropped");
    }
    for _ in 0..20 {
        settle(&store);
    }
    let state = store.journal.space().get();
    assert_ne!(state.state, SpaceState::Full, "seed {seed}: stuck with {bulk_records} records gone, {state:?}");
    append(&other, 50).expect("room again");
    append(&registry, 900).expect("room again");
    tally.recovered += 1;
}

#[test]
fn with_no_help_from_outside() {
    let mut tally = Tally::default();
    let runs = crate::simulated::cases(200, 1_000);
    for seed in 0..runs {
        stuck(seed, 256 << 10, 8, &mut tally);
    }
    println!("Tally {tally:?}");
    assert!(tally.recovered == runs && tally.refused_units == runs && tally.essential > 8 * runs, "{tally:?}");
}

#[test]
fn in_the_smallest_segments() {
    let mut tally = Tally::default();
    let runs = crate::simulated::cases(200, 1_000);
    for seed in 0..runs {
        stuck(seed, 64 << 10, 5, &mut tally);
    }
    println!("Tally {tally:?}");
    assert!(tally.recovered == runs && tally.refused_units == runs && tally.essential > 5 * runs, "{tally:?}");
}

/// J18, its last row: an open on a full disk takes the spare segment; without one it is refused, and the store can still be
/// looked at.
#[test]
fn when_the_disk_is_full_at_an_open() {
    let store = store(u64::MAX, 0);
    let log = store.journal.create_log("a", LogOptions::default()).wait().expect("created");
    for _ in 0..20 {
        log.append(Entry::data(0, vec![7; RECORD]), AppendOptions::at(Durability::Always)).wait().expect("appended");
    }
    settle(&store);
    let Store { disk, clock, journal } = store;
    let spares = || disk.list("store/spare".as_ref()).expect("a directory").len();
    assert_eq!(spares(), 1);
    disk.freeze();
    drop((journal, log));
    disk.processes_die();
    let open = || {
        let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
        Journal::open(seams.0, seams.1, options(2)).map(|(journal, _)| journal)
    };
    // Without the segment that was made ahead: it would be a second spare one.
    let ahead = disk.list("store/segments".as_ref()).expect("a directory").pop().expect("some");
    disk.remove(&std::path::Path::new("store/segments").join(ahead)).expect("removed");
    disk.set_capacity(u64::MAX - disk.free_bytes().0);
    let journal = open().expect("the spare one takes it");
    assert_eq!(spares(), 0);
    assert_eq!(journal.log("a").expect("there").info().expect("there").next.lsn.get(), 21);
    disk.freeze();
    drop(journal);
    disk.processes_die();
    assert!(matches!(open(), Err(Error::Full)));
    disk.processes_die();
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    let (journal, _) = Journal::open_read_only(seams.0, seams.1, &options(3)).expect("for reading only");
    let log = journal.log("a").expect("there");
    let out = log.read(Lsn::FIRST, ReadLimit { bytes: usize::MAX, records: usize::MAX }, Level::Written);
    assert_eq!(out.expect("readable").records.len(), 20);
    drop((journal, log));
    disk.processes_die();
    disk.set_capacity(u64::MAX);
    open().expect("with room again");
}
