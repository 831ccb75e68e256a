//! A19: every seed keeps every promise; a seed gives the same bytes again; each broken rule is seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::faults::Fault;
use crate::mutant::Mutant;
use crate::tally::Tally;
use crate::world::{Outcome, run};

/// One in so many seeds is run twice.
const TWICE_ONE_IN: u64 = 50;

/// Seeds in which each broken rule must be seen.
const MUTANT_SEEDS: u64 = 2_000;

fn cases(ci: u64, nightly: u64) -> u64 {
    if std::env::var_os("ABIDE_NIGHTLY").is_some_and(|value| value == "1") { nightly } else { ci }
}

/// The one seed that is asked for, and how to ask for it.
fn asked() -> Option<u64> {
    std::env::var("ABIDE_SIM_SEED").ok().map(|seed| seed.parse().expect("a number"))
}

fn replay(seed: u64) -> String {
    format!(
        "seed {seed} failed; to see it again: ABIDE_SIM_SEED={seed} ABIDE_SIM_TELL=1 \
         cargo test -p abide-terminal --test simulation every_seed -- --nocapture"
    )
}

fn try_run(seed: u64, mutant: Option<Mutant>) -> Result<Outcome, ()> {
    catch_unwind(AssertUnwindSafe(|| run(seed, mutant))).map_err(|_| ())
}

/// Runs seeds on all processors.
fn run_all(seeds: u64) -> (Tally, Vec<u64>) {
    let (next, together) = (AtomicU64::new(0), Mutex::new((Tally::default(), Vec::new())));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut tally = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let outcome = try_run(seed, None);
                    if let Ok(outcome) = &outcome {
                        tally.merge(&outcome.tally);
                    }
                    let again = seed % TWICE_ONE_IN == 0;
                    let same = |first: &Outcome| try_run(seed, None).is_ok_and(|second| second.trace == first.trace);
                    if outcome.is_err() || (again && !outcome.as_ref().is_ok_and(same)) {
                        eprintln!("{}", replay(seed));
                        together.lock().unwrap().1.push(seed);
                    }
                    tally.add("seeds that were run twice", u64::from(again));
                }
                together.lock().unwrap().0.merge(&tally);
            });
        }
    });
    together.into_inner().unwrap()
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = asked() {
        let outcome = run(seed, None);
        println!("{:#?}", outcome.tally);
        return;
    }
    let seeds = cases(2_000, 100_000);
    let (tally, failed) = run_all(seeds);
    println!("{seeds} seeds: {:#?}", tally.0);
    assert!(failed.is_empty(), "{} seeds failed: {failed:?}; {}", failed.len(), replay(failed[0]));
    for fault in Fault::all() {
        assert!(tally.of(fault.name()) > seeds / 20, "too seldom: {}", fault.name());
    }
    for what in ENOUGH {
        assert!(tally.of(what) > seeds / 20, "too little: {what}");
    }
}

/// What must have happened often for the checks to mean anything.
const ENOUGH: [&str; 11] = [
    "screens",
    "streams were told of what was trimmed",
    "bytes seen",
    "bytes of input",
    "streams that saw all",
    "sessions that ended",
    "transitions",
    "adoptions",
    "habit: a holder arrives late",
    "habit: a program closes its terminal and lives",
    "habit: a program forks away from its terminal",
];

#[test]
fn each_broken_rule_is_seen() {
    std::panic::set_hook(Box::new(|_| {}));
    let unseen: Vec<Mutant> = Mutant::ALL
        .into_iter()
        .filter(|mutant| {
            let seen = (0..MUTANT_SEEDS).find(|seed| try_run(*seed, Some(*mutant)).is_err());
            println!("{mutant:?}: {seen:?}");
            seen.is_none()
        })
        .collect();
    assert!(unseen.is_empty(), "nothing fails with {unseen:?}");
}
