//! How full a bounded queue is, in three levels that do not flap: rising is told at once, falling after a time.
//!
//! ```text
//!            ≥ 50 %              ≥ 90 %
//!   Normal ─────────► Elevated ─────────► High
//!     ▲  ▲                │ ▲              │ │
//!     │  └── ≤ 25 %, held ┘ └ ≤ 70 %, held ┘ │
//!     └──────────── ≤ 25 %, held ────────────┘
//! ```
//!
//! A [`Gauge`] is a function of what it is told of the queue, not of when somebody looks: a fall that was due is made, with
//! its place among the changes, however late it is asked for.

use serde::{Deserialize, Serialize};

/// A queue that holds this much of its limit is elevated, in percent.
const ELEVATED_FROM: u64 = 50;
/// One that holds this much is high.
const HIGH_FROM: u64 = 90;
/// One that was high is elevated again at this.
const ELEVATED_AT: u64 = 70;
/// One that was elevated or high is normal again at this.
const NORMAL_AT: u64 = 25;

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// There is room.
    #[default]
    Normal,
    /// Half of the room is taken.
    Elevated,
    /// There is next to none.
    High,
}

/// A level that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Counts the changes of one queue from 1.
    pub number: u64,
    /// What it was.
    pub previous: Level,
    /// What it is.
    pub level: Level,
    /// What the queue held then, in bytes.
    pub queued_bytes: u64,
}

/// The level of one queue.
#[derive(Debug, Clone)]
pub struct Gauge {
    limit_bytes: u64,
    hold_ms: u64,
    queued_bytes: u64,
    level: Level,
    changes: u64,
    /// Since when the queue is no fuller than [`ELEVATED_AT`], in milliseconds.
    below_high: Option<u64>,
    /// Since when it is no fuller than [`NORMAL_AT`].
    below_elevated: Option<u64>,
}

impl Gauge {
    /// That of an empty queue, of which `limit_bytes` are all. Where it has shrunk, it must have for `hold_ms` before that
    /// counts.
    pub fn new(limit_bytes: u64, hold_ms: u64) -> Self {
        Self {
            limit_bytes,
            hold_ms,
            queued_bytes: 0,
            level: Level::Normal,
            changes: 0,
            below_high: None,
            below_elevated: None,
        }
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What is all of the queue, in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Whether this many bytes change nothing, whenever they are told of: most queues are like that most of the time.
    pub fn ignores(&self, queued_bytes: u64) -> bool {
        self.level == Level::Normal && !self.is_from(queued_bytes, ELEVATED_FROM)
    }

    /// The queue holds this much from now on. What changed, in order: falls that were due before come first.
    #[must_use]
    pub fn set(&mut self, now_ms: u64, queued_bytes: u64) -> Vec<Change> {
        let mut changes = self.settle(now_ms);
        self.queued_bytes = queued_bytes;
        self.below_high = held(self.below_high, self.is_at(ELEVATED_AT), now_ms);
        self.below_elevated = held(self.below_elevated, self.is_at(NORMAL_AT), now_ms);
        let reached = if self.is_from(queued_bytes, HIGH_FROM) {
            Level::High
        } else if self.is_from(queued_bytes, ELEVATED_FROM) {
            Level::Elevated
        } else {
            Level::Normal
        };
        if reached > self.level {
            changes.push(self.change(reached));
        }
        changes.extend(self.settle(now_ms));
        changes
    }

    /// Makes the falls that are due.
    #[must_use]
    pub fn settle(&mut self, now_ms: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((due, level)) = self.fall()
            && due <= now_ms
        {
            changes.push(self.change(level));
        }
        changes
    }

    /// When a fall is due, if the queue stays as it is.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.fall().map(|(due, _)| due)
    }

    /// The next fall; of two at the same time the deeper one.
    fn fall(&self) -> Option<(u64, Level)> {
        let after = |since: Option<u64>, level| Some((since?.saturating_add(self.hold_ms), level));
        let normal = after(self.below_elevated, Level::Normal).filter(|_| self.level > Level::Normal);
        let elevated = after(self.below_high, Level::Elevated).filter(|_| self.level == Level::High);
        normal.into_iter().chain(elevated).min()
    }

    fn change(&mut self, level: Level) -> Change {
        self.changes += 1;
        let previous = std::mem::replace(&mut self.level, level);
        Change { number: self.changes, previous, level, queued_bytes: self.queued_bytes }
    }

    fn is_from(&self, queued_bytes: u64, percent: u64) -> bool {
        u128::from(queued_bytes) * 100 >= u128::from(self.limit_bytes) * u128::from(percent)
    }

    fn is_at(&self, percent: u64) -> bool {
        u128::from(self.queued_bytes) * 100 <= u128::from(self.limit_bytes) * u128::from(percent)
    }
}

/// Since when something holds without a break.
fn held(since: Option<u64>, holds: bool, now_ms: u64) -> Option<u64> {
    holds.then(|| since.unwrap_or(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(gauge: &mut Gauge, steps: &[(u64, u64)]) -> Vec<(u64, Level)> {
        let change = |change: Change| (change.number, change.level);
        steps.iter().flat_map(|(at, queued)| gauge.set(*at, *queued)).map(change).collect()
    }

    #[test]
    fn it_rises_at_once_and_falls_after_its_time() {
        use Level::{Elevated, High, Normal};
        let mut gauge = Gauge::new(100, 250);
        assert_eq!(levels(&mut gauge, &[(0, 49), (1, 50), (2, 89), (3, 90)]), [(1, Elevated), (2, High)]);
        assert_eq!(levels(&mut gauge, &[(10, 70), (259, 71), (260, 70)]), [], "a break begins the time anew");
        assert_eq!(gauge.poll_timeout(), Some(510));
        assert!(gauge.settle(509).is_empty());
        assert_eq!(gauge.settle(510).len(), 1);
        assert_eq!((gauge.level(), gauge.poll_timeout()), (Elevated, None));
        assert_eq!(levels(&mut gauge, &[(600, 25), (849, 26), (850, 0), (1_100, 0)]), [(4, Normal)]);
        assert_eq!(levels(&mut gauge, &[(2_000, 100)]), [(5, High)], "past what lies between");
        assert_eq!(
            levels(&mut gauge, &[(2_001, 0), (9_000, 90)]),
            [(6, Normal), (7, High)],
            "a late look changes nothing"
        );
        assert_eq!(levels(&mut gauge, &[(9_001, 60), (9_101, 20), (10_000, 0)]), [(8, Elevated), (9, Normal)]);
    }

    #[test]
    fn what_it_ignores_changes_nothing() {
        let mut gauge = Gauge::new(100, 250);
        assert!(gauge.ignores(49) && !gauge.ignores(50));
        assert_eq!(gauge.set(0, 50).len(), 1);
        assert!(!gauge.ignores(0));
    }
}
