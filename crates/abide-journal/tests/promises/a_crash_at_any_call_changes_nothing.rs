//! J6, J9, J18: a store is trimmed, emptied, indexed, opened, and gets checkpoints; the process dies or the power goes at
//! each call to the disk in turn. Each time the next open finds the state before or after, never between, and finds it
//! again.

use crate::simulated::{SimClock, SimDisk, cases, options};
use abide_journal::{
    AppendOptions, Content, Durability, Entry, Error, Journal, Level, Log, LogOptions, Lsn, Options, ReadLimit,
    RecoveryReport,
};
use abide_sim::{Clock, Disk, Fault};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn open(disk: &Disk, clock: &Clock, seed: u64) -> Result<(Journal, RecoveryReport), Error> {
    let (disk, clock) = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    let options = Options {
        index_interval_bytes: 16 << 10,
        checkpoint_inline_bytes_max: 2_000,
        compact_bytes_per_s: u64::MAX,
        chunk_bytes: 1_000,
        ..options(seed)
    };
    Journal::open(disk, clock, options)
}

fn payload(log: u64, lsn: u64) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(log).expect("small"); usize::try_from(500 + lsn * 331 % 2_500).expect("small")];
    bytes[..8].copy_from_slice(&lsn.to_le_bytes());
    bytes
}

fn checkpoint(lsn: u64) -> Vec<u8> {
    vec![u8::try_from(lsn % 256).expect("a byte"); usize::try_from(100 + lsn * 313 % 6_000).expect("small")]
}

/// What was acknowledged of a log, and what was asked for and may or may not be there.
#[derive(Debug, Default, Clone)]
struct Known {
    head: u64,
    base: u64,
    asked_base: u64,
    checkpoints: BTreeMap<u64, bool>,
    dropped: bool,
    asked_drop: bool,
    created: bool,
}

#[derive(Default, Debug)]
struct Tally {
    crashes: u64,
    clean: u64,
    copied: u64,
    trimmed: u64,
    moved: u64,
    spares: u64,
    orphans: u64,
    headless: u64,
    files: u64,
    indexes: u64,
}

/// A fixed course of things; ends at the first error, which is the crash.
fn course(journal: &Journal, clock: &Clock, known: &mut [Known; 3]) -> Result<(), Error> {
    let mut logs: Vec<Log> = Vec::new();
    for (index, known) in known.iter_mut().enumerate() {
        let options = LogOptions { durability: Durability::Always, ..LogOptions::default() };
        let name = format!("log/{index}");
        logs.push(match journal.log(&name) {
            Ok(log) => log,
            Err(_) => journal.create_log(&name, options).wait()?,
        });
        known.created = true;
    }
    for round in 0..36_u64 {
        for (index, (log, known)) in logs.iter().zip(known.iter_mut()).enumerate() {
            if known.asked_drop {
                continue;
            }
            // The third log is what keeps segments alive that are nearly empty.
            if index == 2 && round % 6 != 0 {
                continue;
            }
            let lsn = known.head + 1;
            log.append(Entry::data(0, payload(index as u64, lsn)), AppendOptions::default()).wait()?;
            known.head = lsn;
            if index == 0 && round % 5 == 4 {
                known.checkpoints.entry(lsn).or_insert(false);
                log.add_checkpoint(Lsn::new(lsn), checkpoint(lsn)).wait()?;
                known.checkpoints.insert(lsn, true);
            }
            if index < 2 && round % 9 == 8 {
                known.asked_base = lsn - 3;
                log.trim(Lsn::new(lsn - 3).expect("not 0")).wait()?;
                known.base = known.asked_base;
            }
        }
        if round == 30 {
            known[1].asked_drop = true;
            logs[1].drop_log().wait()?;
            known[1].dropped = true;
        }
        clock.advance_ms(50);
        while journal.turn() {}
        if let Some(error) = journal.ended() {
            return Err(error);
        }
    }
    Ok(())
}

fn check(journal: &Journal, known: &[Known; 3], context: &str, tally: &mut Tally) {
    for (index, known) in known.iter().enumerate() {
        let Ok(log) = journal.log(&format!("log/{index}")) else {
            assert!(known.asked_drop || !known.created, "{context}: log/{index} is gone");
            continue;
        };
        assert!(!known.dropped, "{context}: log/{index} is back");
        let info = log.info().expect("there");
        let base = info.base.lsn.get();
        assert!(base == known.base.max(1) || base == known.asked_base, "{context}: base {base}, {known:?}");
        tally.trimmed += u64::from(base > 1);
        let head = info.next.lsn.get() - 1;
        assert!(head == known.head || head == known.head + 1, "{context}: head {head}, {known:?}");
        let mut next = info.base.lsn;
        while next.get() <= head {
            let out = log.read(next, ReadLimit::default(), Level::Written).expect(context);
            for record in out.records {
                let Content::Data(bytes) = record.content else { panic!("only data") };
                assert_eq!(bytes[..], payload(index as u64, next.get())[..], "{context}: record {next}");
                next = next.next();
            }
        }
        for found in &info.checkpoints {
            let lsn = found.lsn.map_or(0, Lsn::get);
            assert!(known.checkpoints.contains_key(&lsn), "{context}: checkpoint {lsn}");
            assert_eq!(log.open_checkpoint(found.lsn).expect(context)[..], checkpoint(lsn)[..], "{context}");
            tally.files += u64::from(found.bytes > 2_000);
        }
        for (lsn, _) in known.checkpoints.iter().filter(|(lsn, sure)| **sure && **lsn + 1 >= base) {
            assert!(info.checkpoints.iter().any(|found| found.lsn.map_or(0, Lsn::get) == *lsn), "{context}: {lsn}");
        }
    }
}

fn names(disk: &Disk, dir: &str) -> Vec<String> {
    disk.list(Path::new(dir)).expect("a directory")
}

/// The course up to one call, a crash there, and what is found then, twice.
fn run(call: u64, power: bool, tally: &mut Tally) -> bool {
    let context = format!("call {call}, power {power}");
    let (disk, clock) = (Disk::new(call * 2 + u64::from(power)), Clock::at_wall_us(1_700_000_000_000_000));
    disk.fail_after(call, Fault::PowerLoss);
    let mut known: [Known; 3] = Default::default();
    let mut finished = false;
    // The first open is a part of it, and a second one in the middle.
    if let Ok((journal, _)) = open(&disk, &clock, 1) {
        let result = course(&journal, &clock, &mut known);
        let closed = result.is_ok() && journal.close().wait().is_ok() && matches!(journal.ended(), Some(Error::Closed));
        drop(journal);
        disk.freeze();
        if closed && disk.counts().faults == 0 {
            disk.processes_die_keeping_faults();
            if let Ok((journal, _)) = open(&disk, &clock, 2) {
                clock.advance_ms(1_000);
                while journal.turn() {}
                finished = disk.counts().faults == 0;
            }
        }
    }
    disk.freeze();
    if power {
        disk.power_loss();
    } else {
        disk.processes_die();
    }
    tally.crashes += 1;
    let referred: usize = names(&disk, "store/checkpoints").len();
    tally.spares += u64::from(!names(&disk, "store/spare").is_empty());
    tally.indexes += u64::from(!names(&disk, "store/index").is_empty());
    let before = names(&disk, "store/segments").len();
    for again in 0..2 {
        let (journal, report) = open(&disk, &clock, 10 + again).expect(&context);
        if again == 0 {
            tally.clean += u64::from(report.clean);
            tally.copied += u64::from(report.copied_bytes > 0);
            tally.orphans += u64::from(names(&disk, "store/checkpoints").len() < referred);
            tally.headless += u64::from(names(&disk, "store/segments").len() <= before);
        }
        assert!(report.damage.is_empty(), "{context}: {:?}", report.damage);
        check(&journal, &known, &context, tally);
        disk.freeze();
        drop(journal);
        disk.processes_die();
    }
    let segments = names(&disk, "store/segments");
    let newest = u64::from_str_radix(segments.last().expect("some").trim_end_matches(".seg"), 16).expect("a number");
    tally.moved += u64::from(newest > segments.len() as u64 + 2);
    finished
}

#[test]
fn of_any_kind() {
    let mut tally = Tally::default();
    let step = usize::try_from(cases(2, 1)).expect("small");
    let mut call = 1;
    loop {
        let ends = [false, true].map(|power| run(call, power, &mut tally));
        if ends == [true, true] {
            break;
        }
        call += step as u64;
    }
    println!("Tally {call} calls, {tally:?}");
    assert!(call > 300 && tally.crashes > 300, "{tally:?}");
    assert!(tally.clean >= 5, "{tally:?}");
    for seen in [tally.copied, tally.trimmed, tally.moved, tally.files, tally.indexes, tally.spares] {
        assert!(seen >= 20, "{tally:?}");
    }
    assert!(tally.orphans > 0 && tally.headless > 0, "{tally:?}");
}
