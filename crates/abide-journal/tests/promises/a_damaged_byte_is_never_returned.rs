//! J4: rot, one flipped bit, anywhere. What is read is what was written, or an error that names the records and the place;
//! what was proven durable is never taken for the end of a log.

use crate::simulated::{SimClock, SimDisk, cases, options};
use abide_journal::format::{BatchHeader, Damage, DamageState, Echo, RecordHeader, SegmentHeader};
use abide_journal::{
    AppendOptions, Content, Durability, Entry, Error, Journal, Level, LogId, LogOptions, Lsn, OnDamage, Options,
    ReadLimit, RecoveryReport,
};
use abide_sim::{Clock, Disk, Rng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RECORDS: u64 = 29;
const LOGS: [&str; 3] = ["a", "b", "c"];
const SEGMENT: &str = "store/segments/0000000000000001.seg";

fn open_reporting(disk: &Disk, seed: u64) -> Result<(Journal, RecoveryReport), Error> {
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())));
    Journal::open(seams.0, seams.1, options(seed))
}

fn open(disk: &Disk, seed: u64) -> Result<Journal, Error> {
    open_reporting(disk, seed).map(|(journal, _)| journal)
}

fn payload(number: u64) -> Vec<u8> {
    vec![u8::try_from(number % 256).expect("a byte"); usize::try_from(number * 70 % 950).expect("small")]
}

/// A segment that is nearly full of two logs' records and of facts about them, each in its own batch, the last one proven;
/// closed in order or killed.
fn store(closed: bool, on_damage: OnDamage) -> Disk {
    let (disk, clock) = (Disk::new(1), Clock::default());
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    let (journal, _) = Journal::open(seams.0, seams.1, options(1)).expect("opens");
    let logs = LOGS.map(|name| {
        let options = LogOptions { on_damage, durability: Durability::Os, ..LogOptions::default() };
        journal.create_log(name, options).wait().expect("created")
    });
    for number in 1..=RECORDS {
        let entries = logs[..2].iter().map(|log| (log.clone(), Entry::data(0, payload(number)))).collect();
        match number % 3 {
            0 => drop(journal.append_batch(entries, AppendOptions::default()).wait().expect("appended")),
            _ => entries.into_iter().for_each(|(log, entry)| {
                log.append(entry, AppendOptions::default()).wait().expect("appended");
            }),
        }
        if number % 8 == 0 {
            logs[0].set_meta("fact", &number.to_le_bytes()).wait().expect("noted");
        }
    }
    logs[2].append(Entry::data(0, payload(1)), AppendOptions::at(Durability::Always)).wait().expect("appended");
    if closed {
        journal.close().wait().expect("closed");
    } else {
        clock.advance_ms(200);
        while journal.turn() {}
    }
    disk.freeze();
    drop((journal, logs));
    disk.processes_die();
    disk
}

/// What lies in a batch.
#[derive(Debug, Default, Clone)]
struct Contents {
    start: usize,
    end: usize,
    records: BTreeSet<(LogId, u64)>,
    facts: BTreeSet<LogId>,
}

/// The batches of the segment, read without any of the code under test but its decoders.
fn batches(disk: &Disk) -> Vec<Contents> {
    let file = disk.open(Path::new(SEGMENT)).expect("there");
    let mut image = vec![0; 64 << 10];
    file.read_at(0, &mut image).expect("read");
    let salt = SegmentHeader::decode(&image).expect("a header").salt;
    let mut all = Vec::new();
    let mut at = 4_096;
    while at < image.len() {
        let Ok(header) = BatchHeader::decode(&image[at..], salt) else {
            at += 8;
            continue;
        };
        let mut found = Contents { start: at, ..Contents::default() };
        at += BatchHeader::BYTES + header.echoes as usize * Echo::BYTES;
        for _ in 0..header.records {
            let record = RecordHeader::decode(&image[at..]).expect("a record");
            if record.kind.has_lsn() {
                found.records.insert((record.log, record.lsn));
            } else {
                found.facts.insert(record.log);
            }
            at += RecordHeader::record_bytes(record.payload_len as usize);
        }
        found.end = at;
        all.push(found);
    }
    all
}

#[derive(Default, Debug)]
struct Tally {
    flips: u64,
    refused: u64,
    unreadable: u64,
    harmless: u64,
    quarantined: u64,
    lost: u64,
}

/// Reads all of a log; returns the records that it could not read.
fn read(journal: &Journal, name: &str, whole: u64) -> BTreeSet<u64> {
    let Ok(log) = journal.log(name) else { panic!("{name} is gone") };
    let mut lost = BTreeSet::new();
    let mut next = Lsn::FIRST;
    loop {
        match log.read(next, ReadLimit::default(), Level::Written) {
            Ok(out) if out.records.is_empty() => break,
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
                lost.extend(next.get()..range.behind.lsn.get());
                next = range.behind.lsn;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(next.get() - 1, whole, "proven records are taken for the end");
    lost
}

/// Opens a copy of the disk with one bit flipped, and compares what is lost with what lay there.
fn flip(disk: &Disk, file: &Path, (byte, bit): (usize, u8), batches: &[Contents], tally: &mut Tally) {
    let disk = disk.fork();
    assert!(disk.flip_bit(file, byte, bit));
    tally.flips += 1;
    let (journal, report) = match open_reporting(&disk, 2) {
        Ok(opened) => opened,
        Err(Error::Corrupt(corruption)) => {
            assert_eq!(corruption.file, file);
            assert!(byte < SegmentHeader::BYTES, "only the head of a segment is read or nothing: {byte}");
            tally.refused += 1;
            return;
        }
        Err(Error::Format { .. }) if file == Path::new("store/store") => {
            tally.refused += 1;
            return;
        }
        Err(error) => panic!("{byte}: {error}"),
    };
    let hit = batches.iter().find(|batch| (batch.start..batch.end).contains(&byte) && file == Path::new(SEGMENT));
    let hit = hit.cloned().unwrap_or_default();
    let mut lost = BTreeSet::new();
    let mut ids: BTreeMap<&str, LogId> = LOGS.iter().copied().zip((1..).map(LogId)).collect();
    for info in journal.logs() {
        let Some(name) = LOGS.into_iter().find(|name| *name == info.name) else {
            // Created in the lost batch: its name is lost, what it holds is named.
            assert!(info.name.starts_with("@lost/"));
            let id = LogId(u64::from_str_radix(info.name.trim_start_matches("@lost/"), 16).expect("a number"));
            assert!(hit.facts.contains(&id));
            ids.retain(|_, known| *known != id);
            tally.lost += 1;
            continue;
        };
        if report.quarantined.iter().any(|log| log == name) {
            assert!(hit.facts.contains(&ids[name]), "{byte}: {name} lost no fact");
            let damage = info.damage[0];
            assert!(matches!(journal.log(name), Err(Error::Corrupt(_))), "refused until it is accepted");
            journal.accept_loss(name, damage).wait().expect("accepted");
            tally.quarantined += 1;
        }
        for damage in info.damage {
            journal.accept_loss(name, damage).wait().expect("accepted");
        }
        let whole = if name == "c" { 1 } else { RECORDS };
        lost.extend(read(&journal, name, whole).into_iter().map(|lsn| (ids[name], lsn)));
    }
    let all_there = ids.keys().all(|name| journal.logs().iter().any(|info| info.name == *name));
    assert!(all_there, "{byte}: a log is gone");
    assert!(lost.is_subset(&hit.records), "{byte}: {lost:?} of {hit:?}");
    tally.unreadable += u64::from(!lost.is_empty());
    tally.harmless += u64::from(lost.is_empty());
    // Appends go on behind the damage.
    for name in ids.keys().filter(|_| byte % 16 == 0) {
        let log = journal.log(name).expect("there");
        let next = log.info().expect("there").next.lsn;
        let appended = log.append(Entry::data(0, "behind"), AppendOptions::default()).wait().expect("appended");
        assert_eq!(appended.position.lsn, next);
    }
}

fn files(disk: &Disk) -> Vec<(PathBuf, usize)> {
    let mut files: Vec<PathBuf> = vec!["store/store".into()];
    for dir in ["store/segments", "store/index"] {
        let names = disk.list(Path::new(dir)).expect("a directory");
        files.extend(names.into_iter().map(|name| Path::new(dir).join(name)));
    }
    let length = |file: &PathBuf| usize::try_from(disk.open(file).expect("there").len().expect("a length"));
    files.into_iter().map(|file| (file.clone(), length(&file).expect("small"))).collect()
}

/// Flips a bit of each `step`-th byte of each file; every bit of every byte in nightly runs.
fn flip_all(closed: bool, on_damage: OnDamage, step: usize) -> Tally {
    let mut tally = Tally::default();
    let every_bit = cases(0, 1) == 1;
    let mut rng = Rng::new(4);
    let disk = store(closed, on_damage);
    let batches = batches(&disk);
    let end = batches.last().expect("some").end;
    assert!(batches.len() > 40 && end > 48 << 10 && end < 64 << 10, "{} batches, {end}", batches.len());
    for (file, length) in files(&disk) {
        for byte in (0..length).step_by(if every_bit { 1 } else { step }) {
            let first = u8::try_from(rng.below(8)).expect("a bit");
            for bit in 0..if every_bit { 8 } else { 1 } {
                flip(&disk, &file, (byte, first + bit), &batches, &mut tally);
            }
        }
    }
    tally
}

#[test]
fn wherever_it_lies_in_a_killed_store() {
    let tally = flip_all(false, OnDamage::Refuse, 1);
    assert!(tally.flips > 64 << 10, "{tally:?}");
    assert!(tally.unreadable > 30_000 && tally.quarantined > 500 && tally.lost > 100, "{tally:?}");
    assert!(tally.harmless > 1_000 && tally.refused > 100, "{tally:?}");
}

#[test]
fn wherever_it_lies_in_a_closed_store() {
    let tally = flip_all(true, OnDamage::Serve, 7);
    assert!(tally.unreadable > 3_000 && tally.harmless > 1_000 && tally.refused > 20, "{tally:?}");
    assert_eq!((tally.quarantined, tally.lost), (0, 0), "the index knows all facts");
}

fn reopened(disk: &Disk, round: u64) -> (Journal, abide_journal::Log) {
    disk.freeze();
    disk.processes_die();
    let journal = open(disk, 10 + round).expect("opens");
    let log = journal.log("a").expect("given out");
    (journal, log)
}

/// Accepted, a damage is so for every later open; and it is told again from the snapshot when its batch is long gone.
#[test]
fn what_was_accepted_stays_accepted() {
    let disk = store(false, OnDamage::Refuse);
    let batch = batches(&disk).into_iter().find(|batch| batch.records.contains(&(LogId(1), 20))).expect("there");
    assert!(disk.flip_bit(Path::new(SEGMENT), batch.start + 70, 3));
    let journal = open(&disk, 2).expect("opens");
    let Err(Error::Corrupt(corruption)) = journal.log("a") else { panic!("refused") };
    let range = corruption.range.as_ref().expect("a range");
    assert_eq!((range.from.get(), range.to.get(), range.behind.lsn.get()), (20, 20, 21));
    let info = journal.logs().into_iter().find(|info| info.name == "a").expect("there");
    journal.accept_loss("a", info.damage[0]).wait().expect("accepted");
    for round in 0..4 {
        let log = reopened(&disk, round);
        let Err(Error::Corrupt(corruption)) =
            log.1.read(Lsn::new(20).expect("not 0"), ReadLimit::default(), Level::Written)
        else {
            panic!("still unreadable")
        };
        assert_eq!(corruption.range.as_ref().expect("a range").behind.lsn.get(), 21);
        let kept: Vec<Damage> = log.1.info().expect("there").damage;
        assert_eq!((kept.len(), kept[0].state), (1, DamageState::Accepted));
        if round > 0 {
            log.0.close().wait().expect("closed");
        }
    }
}

/// Two neighbours that were proven durable are gone: nothing says which logs they held. For reading only, the store is
/// shown up to there.
#[test]
fn two_lost_neighbours_are_refused() {
    let disk = store(false, OnDamage::Serve);
    let all = batches(&disk);
    let at = all.iter().position(|batch| batch.records.contains(&(LogId(2), 10))).expect("there");
    for batch in &all[at..at + 2] {
        assert!(disk.flip_bit(Path::new(SEGMENT), batch.start, 3));
    }
    let Err(Error::Corrupt(corruption)) = open(&disk, 2) else { panic!("refused") };
    assert_eq!(corruption.file, Path::new(SEGMENT));
    assert_eq!(corruption.position, all[at - 1].end as u64);
    disk.processes_die();
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())));
    let before = disk.counts().calls;
    let (journal, report) = Journal::open_read_only(seams.0, seams.1, &Options::new("store")).expect("shown");
    assert_eq!(report.stopped.expect("named").position, corruption.position);
    assert_eq!(read(&journal, "b", 9), BTreeSet::new());
    let log = journal.log("b").expect("there");
    let refused = log.append(Entry::data(0, "x"), AppendOptions::default()).wait();
    assert!(matches!(refused, Err(Error::ReadOnly)));
    assert_eq!(disk.counts().calls, before, "nothing is written");
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
    assert_eq!(read(&journal, "a", 40), BTreeSet::new());
    drop(journal);
    disk.processes_die();
    assert!(disk.flip_bit(&Path::new("store/index").join(&indexes[0]), 50, 1));
    assert!(matches!(open(&disk, 3), Err(Error::Corrupt(_))), "neither can be read");
}
