//! J5: a write or sync that fails ends the open: nothing is acknowledged after it, numbers under way are `journal_unknown`,
//! reads go on, and the next open finds everything that `Always` had promised.

use crate::simulated::{SimClock, SimDisk, cases, options, poll};
use abide_journal::{
    AppendOptions, Cause, Durability, Entry, Error, Journal, Level, LogOptions, Lsn, Outcome, Position, ReadLimit,
};
use abide_sim::{Clock, Disk, Fault};
use std::path::Path;
use std::sync::Arc;

fn open(disk: &Disk, clock: &Clock, seed: u64) -> Result<Journal, Error> {
    let (disk, clock) = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    Journal::open(disk, clock, options(seed)).map(|(journal, _)| journal)
}

#[derive(Default, Debug)]
struct Tally {
    poisoned: u64,
    unknown: u64,
    refused: u64,
    durable: u64,
    gone: u64,
    full: u64,
}

fn run(fault: Fault, call: u64, tally: &mut Tally) {
    let (disk, clock) = (Disk::new(call), Clock::default());
    let journal = open(&disk, &clock, call).expect("opens");
    let log = journal.create_log("a", LogOptions::default()).wait().expect("created");
    disk.fail_after(call, fault);
    let mut promised = Vec::new();
    let mut unknown: Vec<Position> = Vec::new();
    for round in 0..30_usize {
        let entry = Entry::data(0, vec![u8::try_from(round).expect("small"); 100 + round * 300]);
        let mut tickets: Vec<_> =
            (0..3).map(|_| log.append(entry.clone(), AppendOptions::at(Durability::Always))).collect();
        let dead = matches!(journal.ended(), Some(Error::Poisoned(_)));
        while journal.turn() {}
        for ticket in &mut tickets {
            match poll(ticket) {
                Some(Ok(appended)) => {
                    assert!(!dead, "acknowledged after the failure");
                    promised.push(appended.position);
                }
                Some(Err(Error::Unknown { position })) => unknown.extend(position),
                Some(Err(Error::Poisoned(_))) => tally.refused += 1,
                // No space where room is made in advance is no failure of the disk.
                Some(Err(Error::Full)) => tally.full += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    if let Some(error) = journal.ended() {
        assert!(matches!(error, Error::Poisoned(Cause::Disk { .. })), "{error}");
        tally.poisoned += 1;
    }
    let read = log.read(Lsn::FIRST, ReadLimit { bytes: usize::MAX, records: usize::MAX }, Level::Durable);
    assert_eq!(read.expect("reads go on").records.len(), promised.len());
    tally.unknown += unknown.len() as u64;
    disk.freeze();
    drop((journal, log));
    if call.is_multiple_of(2) {
        // The cache had lied: what the failed sync took from it is not on the platter.
        disk.power_loss();
    } else {
        disk.processes_die();
    }
    let journal = open(&disk, &clock, call + 1).expect("opens again");
    let log = journal.log("a").expect("the log was acknowledged");
    for position in promised {
        assert_eq!(log.outcome(position).expect("answered"), Outcome::Durable, "acknowledged, and lost");
    }
    for position in unknown {
        match log.outcome(position).expect("answered") {
            Outcome::Durable => tally.durable += 1,
            Outcome::NotInHistory { .. } => tally.gone += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn at_every_call() {
    let mut tally = Tally::default();
    for fault in [Fault::Error, Fault::Short, Fault::NoSpace] {
        for call in 1..cases(200, 700) {
            run(fault, call, &mut tally);
        }
    }
    println!("Tally {tally:?}");
    assert!(tally.poisoned > 150 && tally.unknown > 100 && tally.refused > 100, "{tally:?}");
    assert!(tally.durable > 20 && tally.gone > 20, "{tally:?}");
}

#[test]
fn a_lock_that_was_taken_away_ends_it_too() {
    let (disk, clock) = (Disk::new(1), Clock::default());
    let journal = open(&disk, &clock, 1).expect("opens");
    let log = journal.create_log("a", LogOptions::default()).wait().expect("created");
    disk.remove(Path::new("store/lock")).expect("removed");
    let mut last = Ok(());
    for _ in 0..20 {
        let ticket = log.append(Entry::data(0, vec![1; 9_000]), AppendOptions::at(Durability::Always));
        last = ticket.wait().map(|_| ());
    }
    let error = last.expect_err("a new segment is not made without the lock");
    assert!(matches!(error, Error::Poisoned(Cause::LockLost)));
    assert_eq!(error.code(), "journal_locked");
}
