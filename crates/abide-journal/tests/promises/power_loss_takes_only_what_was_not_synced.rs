//! J3: a power loss, or the death of the process, at any moment. Each log keeps a prefix, units are whole or absent, the
//! logs keep their order among each other, `Always` loses nothing, and what is lost is told from what is kept.

use crate::simulated::{SimClock, SimDisk, cases, options, poll};
use abide_journal::{
    AppendOptions, Appended, At, Content, Durability, Entry, Error, Journal, Level, Log, LogOptions, Lsn, Outcome,
    PositionAnswer, PositionQuery, ReadLimit, Ticket,
};
use abide_sim::{Disk, Fault, Rng};
use std::collections::BTreeMap;
use std::sync::Arc;

const LOGS: [&str; 4] = ["a", "b", "c", "d"];
const LEVELS: [Durability; 4] = [Durability::Os, Durability::Interval, Durability::Always, Durability::Committed];

/// One unit that was submitted: an entry `(log, number in the unit)` each.
struct Unit {
    number: u64,
    logs: Vec<usize>,
    level: Durability,
    ticket: Option<Ticket<Vec<Appended>>>,
    answer: Option<Vec<Appended>>,
}

#[derive(Default, Debug)]
struct Tally {
    lives: u64,
    power_losses: u64,
    deaths: u64,
    clean: u64,
    acknowledged: [u64; 4],
    units: u64,
    units_lost: u64,
    acknowledged_lost: u64,
    cut: u64,
    copied: u64,
    diverged: u64,
    from_snapshots: u64,
    blocks_torn: u64,
}

struct World {
    rng: Rng,
    disk: Disk,
    clock: abide_sim::Clock,
    /// Units that are in the store, in order, with their entries' logs: `(number, logs)`.
    kept: Vec<(u64, Vec<usize>)>,
    next_unit: u64,
    opens: u64,
    seed: u64,
    /// The power was lost since the store was last looked at.
    power_lost: bool,
}

fn payload(unit: u64, index: usize, rng: &mut Rng) -> Vec<u8> {
    let length = [0, 3, 200, 3_000, 9_000][rng.index(5)];
    let mut bytes = unit.to_le_bytes().to_vec();
    bytes.push(u8::try_from(index).expect("small"));
    bytes.resize(9 + rng.index(length + 1), u8::try_from(unit % 251).expect("small"));
    bytes
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = abide_sim::Clock::at_wall_us(1_700_000_000_000_000);
        let (rng, disk) = (Rng::new(seed), Disk::new(seed + 1_000_000));
        Self { rng, disk, clock, kept: Vec::new(), next_unit: 0, opens: 0, seed, power_lost: false }
    }

    fn open(&mut self, tally: &mut Tally) -> Option<Journal> {
        self.opens += 1;
        let disk = Arc::new(SimDisk(self.disk.clone()));
        let clock = Arc::new(SimClock(self.clock.clone()));
        match Journal::open(disk, clock, options(self.seed * 31 + self.opens)) {
            Ok((journal, report)) => {
                tally.cut += u64::from(report.cut_bytes > 0);
                tally.copied += u64::from(report.copied_bytes > 0);
                tally.clean += u64::from(report.clean);
                tally.from_snapshots += u64::from(report.index_batch > 0);
                Some(journal)
            }
            Err(Error::Poisoned(_)) => None,
            Err(error) => panic!("the store does not open: {error}"),
        }
    }

    /// What a log holds: `(unit, index)` of each record.
    fn content(log: &Log) -> Vec<(u64, usize, u64)> {
        let mut found = Vec::new();
        let mut next = Lsn::FIRST;
        loop {
            let out = log.read(next, ReadLimit { bytes: 20_000, records: 50 }, Level::Written).expect("readable");
            if out.records.is_empty() {
                return found;
            }
            for record in out.records {
                let (Content::Data(bytes) | Content::Mark(bytes)) = record.content else { panic!("no gaps here") };
                let unit = u64::from_le_bytes(*bytes.first_chunk().expect("a number"));
                assert!(bytes[9..].iter().all(|byte| u64::from(*byte) == unit % 251), "foreign bytes");
                found.push((unit, usize::from(bytes[8]), record.position.epoch.0));
            }
            next = out.next.lsn.expect("a full cursor");
        }
    }

    /// Compares the store with what was asked for, and takes over what it kept.
    fn check(&mut self, journal: &Journal, lost: &[Unit], tally: &mut Tally) {
        let died = !std::mem::take(&mut self.power_lost);
        let mut in_store: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut logs = BTreeMap::new();
        for (index, name) in LOGS.iter().enumerate() {
            let Ok(log) = journal.log(name) else { continue };
            let content = Self::content(&log);
            assert!(content.is_sorted_by_key(|(unit, entry, _)| (*unit, *entry)), "seed {}: order", self.seed);
            for (unit, _, _) in &content {
                in_store.entry(*unit).or_default().push(index);
            }
            logs.insert(index, log);
        }
        let mut expected = std::mem::take(&mut self.kept);
        expected.extend(lost.iter().map(|unit| (unit.number, unit.logs.clone())));
        let kept = expected.iter().position(|(unit, _)| !in_store.contains_key(unit)).unwrap_or(expected.len());
        for (number, (unit, logs)) in expected.iter().enumerate() {
            let found = in_store.remove(unit).unwrap_or_default();
            let mut wanted = logs.clone();
            wanted.sort_unstable();
            assert_eq!(found, if number < kept { wanted } else { Vec::new() }, "seed {}: unit {unit}", self.seed);
        }
        assert!(in_store.is_empty(), "seed {}: units that nobody appended", self.seed);
        expected.truncate(kept);
        self.kept = expected;
        let newest = self.kept.last().map(|(unit, _)| *unit);
        for unit in lost {
            let lost = Some(unit.number) > newest;
            tally.units_lost += u64::from(lost);
            let Some(appended) = &unit.answer else { continue };
            tally.acknowledged_lost += u64::from(lost);
            let promised = died || unit.level >= Durability::Always;
            assert!(!(lost && promised), "seed {}: acknowledged unit {} is lost", self.seed, unit.number);
            for (appended, log) in appended.iter().zip(&unit.logs) {
                Self::check_position(&logs[log], appended, lost, tally);
            }
        }
    }

    fn check_position(log: &Log, appended: &Appended, lost: bool, tally: &mut Tally) {
        let query = PositionQuery { epoch: Some(appended.position.epoch), at: At::Lsn(appended.position.lsn.next()) };
        let outcome = log.outcome(appended.position).expect("answered");
        match log.check_position(query).expect("answered") {
            PositionAnswer::Exact(place) => {
                assert!(!lost);
                assert_eq!(place.offset, appended.end_offset);
                assert_eq!(outcome, Outcome::Durable);
            }
            PositionAnswer::Diverged { common } => {
                assert!(lost);
                assert!(common.lsn <= appended.position.lsn);
                assert!(matches!(outcome, Outcome::NotInHistory { .. }));
                tally.diverged += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    /// One open of the store up to its end, whatever that is.
    fn live(&mut self, tally: &mut Tally, lost: &mut Vec<Unit>) {
        tally.lives += 1;
        if self.rng.percent(50) {
            let calls = 1 + self.rng.below(150);
            self.disk.fail_after(calls, Fault::PowerLoss);
        }
        let Some(journal) = self.open(tally) else { return };
        self.check(&journal, lost, tally);
        lost.clear();
        if let Some(logs) = self.logs(&journal) {
            for _ in 0..self.rng.below(120) {
                self.step(&journal, &logs, lost, tally);
            }
            let closes = self.rng.percent(15) && journal.close().wait().is_ok();
            if closes && matches!(journal.ended(), Some(Error::Closed)) {
                for unit in lost.iter_mut() {
                    collect(unit, tally);
                    assert!(unit.answer.is_some(), "closing answers everybody");
                    unit.level = Durability::Always;
                }
            }
        }
        self.disk.freeze();
        // The dead hold nothing: a ticket would keep the store at work.
        for unit in lost {
            unit.ticket = None;
        }
    }

    fn logs(&mut self, journal: &Journal) -> Option<Vec<Log>> {
        let mut logs = Vec::new();
        for name in LOGS {
            let options = LogOptions { durability: LEVELS[self.rng.index(4)], ..LogOptions::default() };
            logs.push(journal.log(name).or_else(|_| journal.create_log(name, options).wait()).ok()?);
        }
        Some(logs)
    }

    fn step(&mut self, journal: &Journal, logs: &[Log], lost: &mut Vec<Unit>, tally: &mut Tally) {
        match self.rng.below(10) {
            0..=4 => lost.push(self.append(journal, logs)),
            5 => self.clock.advance_ms(self.rng.below(600)),
            6 => {
                let log = &logs[self.rng.index(logs.len())];
                drop(log.add_checkpoint(log.info().expect("there").next.last(), vec![7; 100]));
            }
            _ => {
                for _ in 0..self.rng.below(6) {
                    journal.turn();
                }
            }
        }
        for unit in lost {
            collect(unit, tally);
        }
    }

    fn append(&mut self, journal: &Journal, logs: &[Log]) -> Unit {
        let number = self.next_unit;
        self.next_unit += 1;
        let chosen: Vec<usize> = (0..=self.rng.index(3)).map(|_| self.rng.index(logs.len())).collect();
        let asked = LEVELS[self.rng.index(4)];
        let level = chosen.iter().map(|log| logs[*log].info().expect("there").options.durability).fold(asked, Ord::max);
        let mut entries = Vec::new();
        for (index, log) in chosen.iter().enumerate() {
            let bytes = payload(number, index, &mut self.rng);
            let entry = if self.rng.percent(30) { Entry::mark(1, bytes) } else { Entry::data(0, bytes) };
            entries.push((logs[*log].clone(), entry));
        }
        let ticket = journal.append_batch(entries, AppendOptions::at(asked));
        Unit { number, logs: chosen, level, ticket: Some(ticket), answer: None }
    }
}

fn collect(unit: &mut Unit, tally: &mut Tally) {
    let Some(answer) = unit.ticket.as_mut().and_then(poll) else { return };
    unit.ticket = None;
    if let Ok(appended) = answer {
        tally.acknowledged[unit.level as usize - 1] += 1;
        unit.answer = Some(appended);
    }
}

fn run(seed: u64, tally: &mut Tally) -> u64 {
    let mut world = World::new(seed);
    let mut lost = Vec::new();
    for _ in 0..3 {
        world.live(tally, &mut lost);
        if world.rng.percent(30) {
            tally.deaths += 1;
            world.disk.processes_die();
        } else {
            tally.power_losses += 1;
            world.power_lost = true;
            world.disk.power_loss();
        }
    }
    tally.units += world.next_unit;
    tally.blocks_torn += world.disk.counts().blocks_torn;
    // Whatever happened, the store opens in the end, and closes in order.
    world.disk.clear_faults();
    let journal = world.open(tally).expect("opens");
    world.check(&journal, &lost, tally);
    journal.close().wait().expect("closed");
    world.disk.processes_die();
    let before = tally.clean;
    let journal = world.open(tally).expect("opens");
    assert_eq!(tally.clean, before + 1, "seed {seed}: closed in order");
    world.check(&journal, &[], tally);
    world.disk.freeze();
    world.disk.trace()
}

#[test]
fn at_any_moment() {
    let mut tally = Tally::default();
    let seeds = cases(2_000, 50_000);
    for seed in 0..seeds {
        run(seed, &mut tally);
    }
    println!("{tally:?}");
    for acknowledged in tally.acknowledged {
        assert!(acknowledged > seeds, "too little was acknowledged: {tally:?}");
    }
    for struck in
        [tally.blocks_torn, tally.units_lost, tally.acknowledged_lost, tally.diverged, tally.copied, tally.clean]
    {
        assert!(struck > seeds / 10, "too seldom: {tally:?}");
    }
    assert!(tally.cut > seeds / 20, "too few torn tails whose headers tell their length: {tally:?}");
    assert!(tally.from_snapshots > seeds / 10, "too few opens from a snapshot: {tally:?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..20 {
        assert_eq!(run(seed, &mut Tally::default()), run(seed, &mut Tally::default()), "seed {seed}");
    }
}
