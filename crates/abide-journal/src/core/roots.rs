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

/// A segment's file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// Cost of the live records and inline checkpoints in it.
    pub(super) live: u64,
    /// Number of extents in it.
    pub(super) extents: u64,
    /// Length of the file.
    pub(super) file: u64,
}

/// The newest two snapshots, and what is live in each segment.
#[derive(Debug, Default)]
pub(super) struct Roots {
    older: Root,
    newer: Root,
    /// Each segment file that exists.
    live: BTreeMap<u64, Segment>,
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
        self.live.iter().filter(|(_, found)| found.live > 0).map(|(segment, _)| *segment).collect()
    }

    /// All segments with what is live in them.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u64, Segment)> {
        self.live.iter().map(|(segment, found)| (*segment, *found))
    }

    /// Number of segment files.
    pub(super) fn count(&self) -> u64 {
        self.live.len() as u64
    }

    pub(super) fn exists(&mut self, segment: u64, file: u64) {
        let found = self.live.entry(segment).or_default();
        found.file = found.file.max(file);
    }

    /// What is live in a segment.
    pub(super) fn segment(&self, segment: u64) -> Segment {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    /// Something live lies in a segment: so much more.
    pub(super) fn hold(&mut self, segment: u64, cost: u64, extents: u64) {
        let found = self.live.entry(segment).or_default();
        found.live += cost;
        found.extents += extents;
        self.dead.remove(&segment);
    }

    pub(super) fn release(&mut self, segment: u64, cost: u64, extents: u64, current: u64) {
        if let Some(found) = self.live.get_mut(&segment) {
            found.live = found.live.saturating_sub(cost);
            found.extents = found.extents.saturating_sub(extents);
            if found.live == 0 && segment != current {
                self.dead.insert(segment);
            }
        }
    }

    /// No more is written into this segment.
    pub(super) fn sealed(&mut self, segment: u64) {
        if self.live.get(&segment).is_some_and(|found| found.live == 0) {
            self.dead.insert(segment);
        }
    }

    /// After an open: only `current` is still written.
    pub(super) fn seal_all_before(&mut self, current: u64) {
        self.dead = self.live.iter().filter(|(s, found)| found.live == 0 && **s != current).map(|(s, _)| *s).collect();
    }

    /// Whether a dead segment waits for further snapshots.
    pub(super) fn waiting(&self) -> bool {
        !self.dead.is_empty()
    }

    /// A snapshot is durable: returns the batch of the one that is no longer kept, and the segments that are free, with the
    /// lengths of their files.
    pub(super) fn written(
        &mut self,
        batch: u64,
        segment: u64,
        needs: BTreeSet<u64>,
        bytes: u64,
    ) -> (u64, Vec<(u64, u64)>) {
        let gone = std::mem::replace(&mut self.older, std::mem::take(&mut self.newer));
        self.newer = Root { batch, segment, needs };
        self.last_bytes = bytes;
        let free: Vec<u64> =
            self.dead.iter().copied().filter(|s| !self.older.needs(*s) && !self.newer.needs(*s)).collect();
        let free = free.into_iter().map(|segment| {
            self.dead.remove(&segment);
            (segment, self.live.remove(&segment).map_or(0, |found| found.file))
        });
        (gone.batch, free.collect())
    }
}
