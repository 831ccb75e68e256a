//! Index snapshots as roots, and which segments nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

/// A kept snapshot, as far as it holds segments.
#[derive(Debug, Clone, Default)]
struct Root {
    batch: u64,
    /// Replay begins in this segment. 0: with the first, so it needs them all.
    segment: u64,
    needs: BTreeSet<u64>,
}

impl Root {
    fn needs(&self, segment: u64) -> bool {
        segment >= self.segment || self.needs.contains(&segment)
    }
}

/// The newest two snapshots, and the number of live things in each segment.
#[derive(Debug, Default)]
pub(super) struct Roots {
    older: Root,
    newer: Root,
    /// Extents and inline checkpoints in each segment file that exists.
    live: BTreeMap<u64, u64>,
    /// Segments without anything live that wait for their file to be removed.
    dead: BTreeSet<u64>,
    pub(super) last_bytes: u64,
}

impl Roots {
    /// What an opened snapshot holds. Of the one before it nothing is known: it needs everything that exists.
    pub(super) fn opened(&mut self, batch: u64, segment: u64, bytes: u64) {
        self.newer = Root { batch, segment, needs: self.live_segments() };
        self.last_bytes = bytes;
    }

    pub(super) fn batch(&self) -> u64 {
        self.newer.batch
    }

    pub(super) fn live_segments(&self) -> BTreeSet<u64> {
        self.live.iter().filter(|(_, count)| **count > 0).map(|(segment, _)| *segment).collect()
    }

    /// Number of segment files.
    pub(super) fn segments(&self) -> u64 {
        self.live.len() as u64
    }

    pub(super) fn exists(&mut self, segment: u64) {
        self.live.entry(segment).or_insert(0);
    }

    pub(super) fn hold(&mut self, segment: u64) {
        *self.live.entry(segment).or_insert(0) += 1;
        self.dead.remove(&segment);
    }

    pub(super) fn release(&mut self, segment: u64, current: u64) {
        if let Some(count) = self.live.get_mut(&segment) {
            *count = count.saturating_sub(1);
            if *count == 0 && segment != current {
                self.dead.insert(segment);
            }
        }
    }

    /// No more is written into this segment.
    pub(super) fn sealed(&mut self, segment: u64) {
        if self.live.get(&segment) == Some(&0) {
            self.dead.insert(segment);
        }
    }

    /// After an open: only `current` is still written.
    pub(super) fn seal_all_before(&mut self, current: u64) {
        self.dead = self.live.iter().filter(|(s, live)| **live == 0 && **s != current).map(|(s, _)| *s).collect();
    }

    /// Whether a dead segment waits for further snapshots.
    pub(super) fn waiting(&self) -> bool {
        !self.dead.is_empty()
    }

    /// A snapshot is durable: returns the batch of the one that is no longer kept, and the segments that are free.
    pub(super) fn written(&mut self, batch: u64, segment: u64, needs: BTreeSet<u64>, bytes: u64) -> (u64, Vec<u64>) {
        let gone = std::mem::replace(&mut self.older, std::mem::take(&mut self.newer));
        self.newer = Root { batch, segment, needs };
        self.last_bytes = bytes;
        let free: Vec<u64> =
            self.dead.iter().copied().filter(|s| !self.older.needs(*s) && !self.newer.needs(*s)).collect();
        for segment in &free {
            self.dead.remove(segment);
            self.live.remove(segment);
        }
        (gone.batch, free)
    }
}
