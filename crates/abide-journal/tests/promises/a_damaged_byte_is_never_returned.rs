//! Rot: one flipped bit, anywhere. What is read is what was written, or an error that names the place; what was proven
//! durable is never taken for the end of a log.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{AppendOptions, Content, Durability, Entry, Error, Journal, Level, LogOptions, Lsn, ReadLimit};
use abide_sim::{Clock, Disk};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RECORDS: u64 = 24;

fn open(disk: &Disk, seed: u64) -> Result<Journal, Error> {
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())));
    Journal::open(seams.0, seams.1, options(seed)).map(|(journal, _)| journal)
}

fn payload(number: u64) -> Vec<u8> {
    vec![u8::try_from(number % 256).expect("a byte"); usize::try_from(number * 70 % 1_500).expect("small")]
}

/// A store with two logs, closed in order or killed.
fn store(closed: bool) -> Disk {
    let disk = Disk::new(1);
    let journal = open(&disk, 1).expect("opens");
    for name in ["a", "b"] {
        journal.create_log(name, LogOptions::default()).wait().expect("created");
    }
    for number in 1..=RECORDS {
        for name in ["a", "b"] {
            let entry = Entry::data(0, payload(number));
            let log = journal.log(name).expect("there");
            log.append(entry, AppendOptions::at(Durability::Always)).wait().expect("appended");
        }
    }
    if closed {
        journal.close().wait().expect("closed");
    }
    disk.freeze();
    drop(journal);
    disk.processes_die();
    disk
}

#[derive(Default, Debug)]
struct Tally {
    flips: u64,
    refused: u64,
    unreadable: u64,
    harmless: u64,
    shortened: u64,
}

/// Reads all of a log; says how many records it held, or that a range is unreadable.
fn read(journal: &Journal, name: &str, tally: &mut Tally) -> u64 {
    let Ok(log) = journal.log(name) else { return 0 };
    let mut next = Lsn::FIRST;
    loop {
        match log.read(next, ReadLimit::default(), Level::Written) {
            Ok(out) if out.records.is_empty() => return next.get() - 1,
            Ok(out) => {
                for record in out.records {
                    assert_eq!(record.lsn(), next);
                    let Content::Data(bytes) = record.content else { panic!("only data") };
                    assert_eq!(bytes[..], payload(next.get())[..], "wrong bytes");
                    next = next.next();
                }
            }
            Err(Error::Corrupt(corruption)) => {
                let range = corruption.range.as_ref().expect("a range");
                assert_eq!(range.log, name);
                assert!(range.from <= next && next <= range.to && range.to < range.behind.lsn);
                tally.unreadable += 1;
                next = range.behind.lsn;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn flip(closed: bool, path: &Path, byte: usize, tally: &mut Tally) {
    let disk = store(closed);
    assert!(disk.flip_bit(path, byte, u8::try_from(byte % 8).expect("a bit")));
    tally.flips += 1;
    let before = tally.unreadable;
    let journal = match open(&disk, 2) {
        Ok(journal) => journal,
        Err(Error::Corrupt(corruption)) => {
            assert!(corruption.file.starts_with("store"));
            tally.refused += 1;
            return;
        }
        Err(Error::Format { .. }) if path == Path::new("store/store") => {
            tally.refused += 1;
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let (a, b) = (read(&journal, "a", tally), read(&journal, "b", tally));
    if tally.unreadable > before {
        return;
    }
    if (a, b) == (RECORDS, RECORDS) {
        tally.harmless += 1;
        return;
    }
    // Only the last batch is proven by nothing, and only if the store was not closed.
    assert!(!closed && a == RECORDS && b == RECORDS - 1, "{} {byte}: proven records are gone: {a} {b}", path.display());
    tally.shortened += 1;
}

#[test]
fn wherever_it_lies() {
    let mut tally = Tally::default();
    for closed in [true, false] {
        let disk = store(closed);
        let mut files: Vec<PathBuf> = vec!["store/store".into()];
        for dir in ["store/segments", "store/index"] {
            files.extend(
                disk.list(Path::new(dir)).expect("a directory").into_iter().map(|name| Path::new(dir).join(name)),
            );
        }
        for file in files {
            let length = disk.open(&file).expect("there").len().expect("a length");
            let step = if length > 4_096 { 131 } else { 3 };
            for byte in (0..usize::try_from(length).expect("small")).step_by(step) {
                flip(closed, &file, byte, &mut tally);
            }
        }
    }
    println!("Tally {tally:?}");
    for struck in [tally.refused, tally.unreadable, tally.harmless] {
        assert!(struck > 20, "{tally:?}");
    }
    assert!(tally.shortened > 0, "{tally:?}");
}

/// Two snapshots are kept, and all that either of them needs.
#[test]
fn one_good_snapshot_is_enough() {
    let disk = Disk::new(1);
    let journal = open(&disk, 1).expect("opens");
    let create = |name: &str| journal.create_log(name, LogOptions::default()).wait().expect("created");
    create("a");
    for round in 0..12 {
        let filler = create("filler");
        for number in 1..=20 {
            if round % 6 == 0 {
                let log = journal.log("a").expect("there");
                log.append(Entry::data(0, payload(round / 6 * 20 + number)), AppendOptions::default());
            }
            filler.append(Entry::data(0, vec![0; 8_000]), AppendOptions::default());
        }
        filler.drop_log().wait().expect("dropped");
    }
    journal.close().wait().expect("closed");
    drop(journal);
    disk.processes_die();
    let segments = disk.list(Path::new("store/segments")).expect("a directory");
    assert!(segments.len() < 20, "segments are freed: {segments:?}");
    let indexes = disk.list(Path::new("store/index")).expect("a directory");
    assert_eq!(indexes.len(), 2);
    assert!(disk.flip_bit(&Path::new("store/index").join(&indexes[1]), 50, 1));
    let journal = open(&disk, 2).expect("opens with the older one");
    assert_eq!(read(&journal, "a", &mut Tally::default()), 40);
    drop(journal);
    disk.processes_die();
    assert!(disk.flip_bit(&Path::new("store/index").join(&indexes[0]), 50, 1));
    assert!(matches!(open(&disk, 3), Err(Error::Corrupt(_))), "neither can be read");
}
