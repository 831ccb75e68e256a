//! Whatever clients, holder, journal and time do, in whatever order: the life cycle only goes on, there is one owner,
//! nothing is told before it is recorded, and everybody is answered once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::coverage::Coverage;
use crate::world::World;

/// Most things that happen in one history before it is brought to its end.
const STEPS_MAX: u64 = 60;

fn history(seed: u64, coverage: &mut Coverage, trace: bool) {
    let mut world = World::new(seed, coverage, trace);
    let steps = world.random.below(STEPS_MAX);
    for _ in 0..steps {
        world.step();
    }
    world.finish();
}

/// How many histories are run.
fn seeds(ci: u64, nightly: u64) -> std::ops::Range<u64> {
    0..if std::env::var_os("ABIDE_NIGHTLY").is_some_and(|value| value == "1") { nightly } else { ci }
}

#[test]
fn any_order_of_events_keeps_the_rules() {
    let mut coverage = Coverage::default();
    let one = std::env::var("ABIDE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = one.map_or_else(|| seeds(100_000, 10_000_000), |seed: u64| seed..seed + 1);
    for seed in seeds.clone() {
        let run = catch_unwind(AssertUnwindSafe(|| history(seed, &mut coverage, false)));
        if run.is_err() {
            // Once more, told step by step.
            let _ = catch_unwind(AssertUnwindSafe(|| history(seed, &mut Coverage::default(), true)));
            panic!("seed {seed} (ABIDE_SEED={seed} runs it alone)");
        }
    }
    println!("{}", coverage.table());
    if one.is_none() {
        let missing = coverage.missing();
        assert!(missing.is_empty(), "never taken: {missing:?}\n{}", coverage.table());
        assert!(coverage.steps > 20 * (seeds.end - seeds.start), "{} steps", coverage.steps);
    }
}
