//! J7, J8: what is pinned is kept, whoever trims; a reader whose segment is emptied, freed or used again under it reads what
//! was written, or is told that it is trimmed; the store stays within its bound, a pinned straggler or not.

use crate::simulated::{SimClock, SimDisk, cases, options, segments_reused, with_meddling};
use abide_journal::{
    AppendOptions, Content, Entry, Error, Journal, Level, Log, LogOptions, Lsn, Options, PinStatus, ReadLimit,
    Retention,
};
use abide_sim::{Clock, Disk, Rng};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

fn open(disk: &Disk, clock: &Clock, options: Options) -> Journal {
    let (disk, clock) = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    Journal::open(disk, clock, options).expect("opens").0
}

fn payload(log: usize, lsn: u64) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(log).expect("small"); usize::try_from(200 + lsn * 97 % 3_000).expect("small")];
    bytes[..8].copy_from_slice(&lsn.to_le_bytes());
    bytes
}

fn append(log: &Log, index: usize) {
    let lsn = log.info().expect("there").next.lsn.get();
    log.append(Entry::data(0, payload(index, lsn)), AppendOptions::default()).wait().expect("appended");
}

#[derive(Default, Debug)]
struct Tally {
    schedules: u64,
    read: u64,
    trimmed: u64,
    held: u64,
    freed: u64,
    reused: u64,
}

/// One reader of random places among random work, which comes between its steps.
fn run(seed: u64, tally: &mut Tally) {
    let (disk, clock, mut rng) = (Disk::new(seed), Clock::default(), Rng::new(seed));
    let journal = open(&disk, &clock, Options { tail_cache_bytes: 0, index_interval_bytes: 8 << 10, ..options(seed) });
    let logs: Vec<Log> = (0..3)
        .map(|index| journal.create_log(&format!("log/{index}"), LogOptions::default()).wait().expect("created"))
        .collect();
    for round in 0..150 {
        append(&logs[round % 3], round % 3);
    }
    let pin = logs[0].pin(Lsn::new(20), "reader").wait().expect("pinned");
    let work = {
        let (logs, journal, clock) = (logs.clone(), journal.clone(), clock.clone());
        let rng = Rc::new(RefCell::new(Rng::new(seed + 1)));
        move || {
            let mut rng = rng.borrow_mut();
            for _ in 0..rng.below(6) {
                let index = rng.index(3);
                let info = logs[index].info().expect("there");
                if rng.percent(50) {
                    let keep = info.next.lsn.get().saturating_sub(10 + rng.below(20)).max(1);
                    logs[index].trim(Lsn::new(keep).expect("not 0")).wait().expect("trimmed");
                } else {
                    append(&logs[index], index);
                }
            }
            clock.advance_ms(100);
            while journal.turn() {}
        }
    };
    let meddled = Rc::new(Cell::new(0));
    for _ in 0..40 {
        let index = rng.index(3);
        let info = logs[index].info().expect("there");
        // Often near the base, which is about to move.
        let kept = info.next.lsn.get() - info.base.lsn.get();
        let span = if rng.percent(70) { kept.min(3) } else { kept };
        let from = info.base.lsn.get() + rng.below(span);
        let (work, count) = (work.clone(), Rc::clone(&meddled));
        let meddle = move || {
            count.set(count.get() + 1);
            work();
        };
        let out = with_meddling(meddle, || {
            logs[index].read(Lsn::new(from).expect("not 0"), ReadLimit { bytes: 9_000, records: 30 }, Level::Written)
        });
        match out {
            Ok(out) => {
                for (record, lsn) in out.records.iter().zip(from..) {
                    let Content::Data(bytes) = &record.content else { panic!("only data") };
                    assert_eq!((record.lsn().get(), &bytes[..]), (lsn, &payload(index, lsn)[..]), "seed {seed}");
                    tally.read += 1;
                }
            }
            Err(Error::PositionTrimmed { base }) => {
                assert!(base.lsn.get() > from && (index != 0 || from <= 20), "seed {seed}: trimmed while pinned");
                tally.trimmed += 1;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let base = logs[0].info().expect("there").base.lsn.get();
        assert!(base <= 21, "seed {seed}: trimmed while pinned");
        tally.held += u64::from(base == 21);
        tally.schedules += meddled.replace(0);
    }
    assert_eq!(pin.status().expect("answered"), PinStatus::Reserved);
    let files = disk.list(Path::new("store/segments")).expect("a directory");
    let newest = u64::from_str_radix(files.last().expect("some").trim_end_matches(".seg"), 16).expect("a number");
    tally.freed += newest - files.len() as u64;
    tally.reused += segments_reused();
}

#[test]
fn against_trims_and_reuse() {
    let mut tally = Tally::default();
    let seeds = cases(300, 3_000);
    for seed in 0..seeds {
        run(seed, &mut tally);
    }
    println!("Tally {tally:?}");
    assert!(tally.schedules > 30 * seeds && tally.read > 30 * seeds, "{tally:?}");
    assert!(
        tally.trimmed > seeds / 10 && tally.held > seeds && tally.freed > seeds && tally.reused > seeds,
        "{tally:?}"
    );
}

/// Between a reader's look at the index and its look at the disk the segment that it is about to read is emptied, freed, and
/// used again.
fn moved_under_a_reader(opened_anew: bool) {
    let (disk, clock) = (Disk::new(1), Clock::default());
    let opened = || {
        let options = Options { tail_cache_bytes: 0, index_interval_bytes: 8 << 10, ..options(1) };
        let journal = open(&disk, &clock, options);
        let log = |name: &str| match journal.log(name) {
            Ok(log) => log,
            Err(_) => journal.create_log(name, LogOptions::default()).wait().expect("created"),
        };
        let logs = (log("kept"), log("trimmed"));
        (journal, logs)
    };
    let (mut journal, (mut kept, mut trimmed)) = opened();
    append(&kept, 0);
    for round in 0..120 {
        append(&trimmed, 1);
        if round == 3 {
            append(&kept, 0);
        }
    }
    if opened_anew {
        journal.close().wait().expect("closed");
        drop((journal, kept, trimmed));
        disk.processes_die();
        (journal, (kept, trimmed)) = opened();
    }
    let lies_in = |name: &str| disk.list(Path::new("store/segments")).expect("a directory").contains(&name.to_owned());
    let first = "0000000000000001.seg";
    assert!(lies_in(first), "what is kept holds its segment");
    segments_reused();
    let meddled = Rc::new(Cell::new(0));
    let meddle = {
        let (disk, clock, journal, trimmed, count) =
            (disk.clone(), clock.clone(), journal.clone(), trimmed.clone(), Rc::clone(&meddled));
        move || {
            count.set(count.get() + 1);
            if count.get() > 1 {
                return;
            }
            trimmed.trim(trimmed.info().expect("there").next.lsn).wait().expect("trimmed");
            for _ in 0..200 {
                append(&trimmed, 1);
                clock.advance_ms(100);
                while journal.turn() {}
            }
            let names = disk.list(Path::new("store/segments")).expect("a directory");
            assert!(!names.contains(&first.to_owned()), "freed while it was about to be read");
        }
    };
    let read = || kept.read(Lsn::FIRST, ReadLimit { bytes: usize::MAX, records: 2 }, Level::Written);
    let out = with_meddling(meddle, read).expect("it is there, wherever it lies");
    assert!(meddled.get() > 1, "the reader looked again");
    assert!(segments_reused() > 0, "and other bytes lie where it was");
    for (record, lsn) in out.records.iter().zip(1..) {
        let Content::Data(bytes) = &record.content else { panic!("only data") };
        assert_eq!((record.lsn().get(), &bytes[..]), (lsn, &payload(0, lsn)[..]));
    }
    assert_eq!(out.records.len(), 2);
}

#[test]
fn for_a_reader_whose_segment_is_used_again() {
    moved_under_a_reader(false);
    moved_under_a_reader(true);
}

#[test]
fn a_pin_is_told_what_it_does() {
    let (disk, clock) = (Disk::new(1), Clock::default());
    let options = Options { pin_bytes_max: 20_000, trim_interval_ms: 10, ..options(1) };
    let journal = open(&disk, &clock, options);
    let retention = Retention { bytes_max: 10_000, ..Retention::default() };
    let log = journal.create_log("a", LogOptions { retention, ..LogOptions::default() }).wait().expect("created");
    let pin = log.pin(None, "slow").wait().expect("pinned");
    let mut seen = Vec::new();
    for _ in 0..40 {
        append(&log, 0);
        while journal.turn() {}
        let status = pin.status().expect("answered");
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        clock.advance_ms(10);
        while journal.turn() {}
    }
    let base = log.info().expect("there").base;
    assert!(matches!(seen[..], [PinStatus::Reserved, PinStatus::Extended, PinStatus::Unreserved]), "{seen:?}");
    assert_eq!(pin.status().expect("answered"), PinStatus::Lost { base });
    assert!(matches!(pin.advance(Lsn::FIRST).wait(), Err(Error::PinLost { .. })));
    assert!(matches!(log.pin(None, "late").wait(), Err(Error::PinBelowBase { base: told }) if told == base));
}

/// J8: many logs, each with its own limit, one of them pinned at its first record.
#[test]
fn the_store_stays_within_its_bound() {
    let (disk, clock, mut rng) = (Disk::new(1), Clock::default(), Rng::new(8));
    let segment = 256 << 10;
    let options = Options { segment_bytes: segment, trim_interval_ms: 100, ..options(1) };
    let journal = open(&disk, &clock, options);
    let count = 4_096;
    let logs: Vec<Log> = (0..count)
        .map(|index| {
            let retention = Retention { bytes_max: 1_000 + rng.below(20_000), ..Retention::default() };
            let options = LogOptions { retention, durability: abide_journal::Durability::Os, ..LogOptions::default() };
            journal.create_log(&format!("log/{index}"), options).wait().expect("created")
        })
        .collect();
    let pin = logs[0].pin(None, "first").wait().expect("pinned");
    for round in 0..40 * count {
        let index = if round % 50 == 0 { 0 } else { rng.index(count) };
        let bytes = vec![7; rng.index(2_000)];
        drop(logs[index].append(Entry::data(0, bytes), AppendOptions::default()));
        if round % 64 == 0 {
            clock.advance_ms(20);
            while journal.turn() {}
        }
    }
    for _ in 0..300 {
        clock.advance_ms(100);
        while journal.turn() {}
    }
    let live: u64 = logs.iter().map(|log| log.info().expect("there").bytes).sum();
    let size = |dir: &str| -> u64 {
        let names = disk.list(Path::new(dir)).expect("a directory");
        names.iter().map(|name| disk.open(&Path::new(dir).join(name)).expect("there").len().expect("a length")).sum()
    };
    let (used, index) = (size("store/segments") + size("store/spare"), size("store/index"));
    let bound = 2 * live + 5 * segment + index;
    println!("Tally {count} logs, live {live}, used {used}, bound {bound}, index {index}");
    assert!(used <= bound, "{used} of {bound}, live {live}");
    assert_eq!(logs[0].info().expect("there").base.lsn, Lsn::FIRST, "pinned at its first record");
    drop(pin);
    for log in &logs {
        let info = log.info().expect("there");
        let limit = info.options.retention.bytes_max;
        assert!(info.base.lsn == Lsn::FIRST || info.bytes >= limit.min(info.bytes), "{info:?}");
    }
}
