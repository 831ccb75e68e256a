//! J9: checkpoints of any size, in the stream or as files, are whole or not trusted; trimming rests on trusted ones only.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{AppendOptions, Durability, Entry, Error, Journal, Log, LogOptions, Lsn, Options, Retention};
use abide_sim::{Clock, Disk, Rng};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn open(disk: &Disk, seed: u64) -> Journal {
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())));
    let options = Options { chunk_bytes: 4_096, compact_live_ratio: 0.0, ..options(seed) };
    Journal::open(seams.0, seams.1, options).expect("opens").0
}

fn content(length: usize) -> Vec<u8> {
    let mut rng = Rng::new(length as u64);
    (0..length).map(|_| rng.next_u64().to_le_bytes()[3]).collect()
}

fn appended(log: &Log, count: u64) {
    for _ in 0..count {
        log.append(Entry::data(0, vec![1; 100]), AppendOptions::at(Durability::Always)).wait().expect("appended");
    }
}

#[test]
fn of_any_size() {
    let disk = Disk::new(1);
    let sizes = [0, 1, 100, 4_095, 4_096, 16 << 10, (16 << 10) + 1, 40_960, 300_001, 64 << 20];
    let journal = open(&disk, 1);
    let log = journal.create_log("a", LogOptions::default()).wait().expect("created");
    appended(&log, sizes.len() as u64);
    for (lsn, size) in (1..).zip(sizes) {
        let added = log.add_checkpoint(Lsn::new(lsn), content(size)).wait().expect("added");
        assert_eq!((added.lsn.map_or(0, Lsn::get), added.bytes), (lsn, size as u64));
    }
    let files = disk.list(Path::new("store/checkpoints")).expect("a directory").len();
    assert_eq!(files, sizes.iter().filter(|size| **size > 16 << 10).count(), "the large ones are files");
    let check = |log: &Log| {
        for (lsn, size) in (1..).zip(sizes) {
            assert_eq!(log.open_checkpoint(Lsn::new(lsn)).expect("opens"), content(size), "{size}");
        }
    };
    check(&log);
    // A file cannot be replaced together with its record.
    let again = log.add_checkpoint(Lsn::new(8), content(40_960)).wait();
    assert!(matches!(again, Err(Error::CheckpointInvalid { lsn: 8, .. })));
    journal.close().wait().expect("closed");
    drop((journal, log));
    disk.processes_die();
    let journal = open(&disk, 2);
    let log = journal.log("a").expect("there");
    check(&log);
    // Removed, the file goes when that is durable.
    log.remove_checkpoint(Lsn::new(8)).wait().expect("removed");
    journal.sync().wait().expect("synced");
    while journal.turn() {}
    assert_eq!(disk.list(Path::new("store/checkpoints")).expect("a directory").len(), files - 1);
}

/// What takes a checkpoint away.
#[derive(Clone, Copy)]
enum Away {
    Removed,
    Trimmed,
    Dropped,
}

/// Takes a checkpoint in a file away, does so many steps, and loses the power: whoever still has the record has the file.
fn goes_away(how: Away, seed: u64, turns: u64) -> (u64, u64) {
    let disk = Disk::new(seed);
    let journal = open(&disk, 1);
    let log = journal.create_log("a", LogOptions::default()).wait().expect("created");
    appended(&log, 3);
    log.add_checkpoint(Lsn::new(2), content(20_000)).wait().expect("added");
    while journal.turn() {}
    match how {
        Away::Removed => drop(log.remove_checkpoint(Lsn::new(2))),
        Away::Trimmed => drop(log.trim(Lsn::new(4).expect("not 0"))),
        Away::Dropped => drop(log.drop_log()),
    }
    for _ in 0..turns {
        journal.turn();
    }
    disk.freeze();
    drop((journal, log));
    disk.power_loss();
    let journal = open(&disk, 2);
    let left = journal.log("a").map_or(0, |log| {
        let found = log.info().expect("there").checkpoints;
        for checkpoint in &found {
            assert_eq!(log.open_checkpoint(checkpoint.lsn).expect("its file is there"), content(20_000));
        }
        found.len()
    });
    assert_eq!(disk.list(Path::new("store/checkpoints")).expect("a directory").len(), left, "a file for each record");
    (u64::from(left == 1), u64::from(left == 0))
}

#[test]
fn a_file_goes_after_its_record() {
    for how in [Away::Removed, Away::Trimmed, Away::Dropped] {
        let (mut kept, mut gone) = (0, 0);
        for seed in 0..40 {
            for turns in 0..6 {
                let (stayed, went) = goes_away(how, seed * 6 + turns, turns);
                kept += stayed;
                gone += went;
            }
        }
        println!("Tally kept {kept}, gone {gone}");
        assert!(kept >= 40 && gone >= 20, "{kept} {gone}");
    }
}

#[derive(Default, Debug)]
struct Tally {
    untrusted: u64,
    whole: u64,
    held_back: u64,
    trimmed: u64,
}

/// A log with a good checkpoint, and behind it one that is damaged at one byte: it reads well, or is passed over, and the
/// base rests on the good one then.
fn damaged(disk: &Disk, file: &Path, byte: usize, lsn: u64, size: usize, tally: &mut Tally) {
    let disk = disk.fork();
    assert!(disk.flip_bit(file, byte, 5));
    let journal = open(&disk, 3);
    let log = journal.log("a").expect("there");
    let trim = || log.trim(Lsn::new(9).expect("not 0")).wait().expect("answered").lsn.get();
    // Often nobody has looked at it before the base is to rest on it.
    let trimmed_first = byte.is_multiple_of(2).then(trim);
    match log.open_checkpoint(Lsn::new(lsn)) {
        Ok(bytes) => {
            assert_eq!(bytes, content(size));
            assert_eq!(log.last_checkpoint().expect("there").and_then(|found| found.lsn), Lsn::new(lsn));
            tally.whole += 1;
        }
        Err(Error::CheckpointInvalid { .. }) => {
            assert_eq!(log.last_checkpoint().expect("there").and_then(|found| found.lsn), Lsn::new(2), "passed over");
            tally.untrusted += 1;
        }
        Err(error) => panic!("{error}"),
    }
    let base = trimmed_first.unwrap_or_else(trim);
    if log.open_checkpoint(Lsn::new(lsn)).is_ok() {
        assert_eq!(base, lsn + 1);
        tally.trimmed += 1;
    } else {
        assert_eq!(base, 3, "the base rests on the trusted one");
        tally.held_back += 1;
    }
}

#[test]
fn or_not_at_all() {
    let mut tally = Tally::default();
    for size in [3_000, 20_000] {
        let disk = Disk::new(1);
        let journal = open(&disk, 1);
        let retention = Retention { trim_at_checkpoint: true, ..Retention::default() };
        let log = journal.create_log("a", LogOptions { retention, ..LogOptions::default() }).wait().expect("created");
        appended(&log, 6);
        log.add_checkpoint(Lsn::new(2), content(50)).wait().expect("added");
        appended(&log, 4);
        log.add_checkpoint(Lsn::new(7), content(size)).wait().expect("added");
        journal.close().wait().expect("closed");
        drop((journal, log));
        disk.processes_die();
        let names = disk.list(Path::new("store/checkpoints")).expect("a directory");
        let file: PathBuf = match names.first() {
            Some(name) => Path::new("store/checkpoints").join(name),
            None => "store/segments/0000000000000001.seg".into(),
        };
        let length = usize::try_from(disk.open(&file).expect("there").len().expect("a length")).expect("small");
        // Of a segment only the place of the checkpoint.
        let bytes = if names.is_empty() { place_of(&disk, &file, size) } else { 0..length };
        for byte in bytes.step_by(if size > 16 << 10 { 23 } else { 11 }) {
            damaged(&disk, &file, byte, 7, size, &mut tally);
        }
    }
    println!("Tally {tally:?}");
    assert!(tally.untrusted > 500 && tally.whole > 100 && tally.held_back > 500 && tally.trimmed > 100, "{tally:?}");
}

/// Where its bytes lie.
fn place_of(disk: &Disk, file: &Path, size: usize) -> std::ops::Range<usize> {
    let file = disk.open(file).expect("there");
    let mut image = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
    file.read_at(0, &mut image).expect("read");
    let wanted = content(size);
    let at = image.windows(size).position(|window| window == wanted).expect("in the stream");
    at - 28..at + size
}
