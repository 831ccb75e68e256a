//! Over any history of a queue, what is told are its changes of level, all of them and nothing else, whenever somebody
//! looks. The model remembers the whole history, and asks of each moment what the table says of it.

use std::ops::RangeBounds;

use abide_sim::Rng;
use abide_terminal::level::{Change, Gauge, Level};

/// What a queue held, and since when.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: u64,
    queued: u64,
}

/// The table of levels, read off a history.
struct Model {
    limit: u64,
    hold: u64,
    history: Vec<Sample>,
    level: Level,
    changes: u64,
}

impl Model {
    fn percent(&self, percent: u64) -> u64 {
        self.limit * percent
    }

    /// Whether the queue was at most this full from a hold before `now` on, as far as anybody was told of it.
    fn was_at_most(&self, percent: u64, now: u64) -> bool {
        let Some(begin) = now.checked_sub(self.hold) else { return false };
        let Some(first) = self.history.iter().rposition(|sample| sample.at <= begin) else { return false };
        self.history[first..].iter().all(|sample| sample.queued * 100 <= self.percent(percent))
    }

    /// The level that the table gives for this moment, before anything new is known.
    fn falls(&self, now: u64) -> Level {
        let calm = self.was_at_most(25, now);
        match self.level {
            Level::Elevated | Level::High if calm => Level::Normal,
            Level::High if self.was_at_most(70, now) => Level::Elevated,
            level => level,
        }
    }

    fn rises(&self) -> Level {
        let queued = self.history.last().map_or(0, |sample| sample.queued) * 100;
        match self.level {
            _ if queued >= self.percent(90) => Level::High,
            Level::Normal if queued >= self.percent(50) => Level::Elevated,
            level => level,
        }
    }

    fn change(&mut self, level: Level, told: &mut Vec<Change>) {
        if level != self.level {
            self.changes += 1;
            let queued_bytes = self.history.last().map_or(0, |sample| sample.queued);
            told.push(Change { number: self.changes, previous: self.level, level, queued_bytes });
            self.level = level;
        }
    }

    /// Every moment of these at which a fall could be due.
    fn pass(&mut self, moments: impl RangeBounds<u64>, told: &mut Vec<Change>) {
        let mut due: Vec<u64> = self.history.iter().map(|sample| sample.at + self.hold).collect();
        due.retain(|moment| moments.contains(moment));
        due.sort_unstable();
        for moment in due {
            let level = self.falls(moment);
            self.change(level, told);
        }
    }

    fn set(&mut self, at: u64, queued: u64) -> Vec<Change> {
        let mut told = Vec::new();
        let before = self.history.last().map_or(0, |sample| sample.at);
        self.pass(before + 1..=at, &mut told);
        self.history.push(Sample { at, queued });
        let level = self.rises();
        self.change(level, &mut told);
        if self.hold == 0 {
            self.pass(at..=at, &mut told);
        }
        // What is older than a hold tells of no moment to come.
        let old = self.history.iter().rposition(|sample| sample.at + self.hold < at).unwrap_or(0);
        self.history.drain(..old);
        told
    }
}

#[test]
fn levels_are_told_exactly() {
    let samples =
        if std::env::var_os("ABIDE_NIGHTLY").is_some_and(|value| value == "1") { 10_000_000 } else { 100_000 };
    let mut rng = Rng::new(0x1e7e1);
    let (mut taken, mut told, mut falls, mut late) = (0, 0, 0, 0);
    while taken < samples {
        let limit = [1, 100, 4_096, 1 << 20][rng.index(4)];
        let hold = [0, 1, 20, 250][rng.index(4)];
        let mut model =
            Model { limit, hold, history: vec![Sample { at: 0, queued: 0 }], level: Level::Normal, changes: 0 };
        let mut gauge = Gauge::new(limit, hold);
        let (mut now, mut number) = (hold, 0);
        let mut last = Vec::new();
        for _ in 0..1_000 {
            now += [0, 1, rng.below(40), hold, rng.below(600)][rng.index(5)];
            let percent = [0, 24, 25, 26, 49, 50, 69, 70, 71, 89, 90, 100, rng.below(120)][rng.index(13)];
            let queued = limit * percent / 100;
            let expected = model.set(now, queued);
            // Somebody may look in between, at the time that was named or at any other.
            let mut changes = Vec::new();
            if let Some(due) = gauge.poll_timeout() {
                if due < now && rng.one_in(2) {
                    changes.extend(gauge.settle(due));
                } else if due < now {
                    late += 1;
                }
            }
            if !gauge.ignores(queued) || rng.one_in(2) {
                changes.extend(gauge.set(now, queued));
            }
            last.push((now, queued));
            assert_eq!(changes, expected, "limit {limit}, hold {hold}: {:?}", &last[last.len().saturating_sub(12)..]);
            for change in &changes {
                number += 1;
                assert_eq!(change.number, number, "dense");
                assert_ne!(change.previous, change.level);
                falls += u64::from(change.level < change.previous);
            }
            told += changes.len();
            taken += 1;
        }
        assert_eq!(gauge.level(), model.level);
    }
    println!("{taken} samples, {told} changes, {falls} of them falls, {late} looked at late");
    assert!(told > samples / 10 && falls > 1_000 && late > 1_000, "{told} {falls} {late}");
}
