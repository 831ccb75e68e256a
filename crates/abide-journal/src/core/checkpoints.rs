//! Which checkpoint goes when one more comes.

use crate::format::SnapshotCheckpoint;
use std::collections::BTreeMap;

/// Of all but the base's and the newest two the one whose two neighbours are closest in offset.
pub(super) fn to_thin_out(checkpoints: &BTreeMap<u64, SnapshotCheckpoint>, base: u64) -> Option<u64> {
    let all: Vec<&SnapshotCheckpoint> = checkpoints.values().collect();
    // The newest two of those that will be there are the newcomer and the last one here.
    let last = all.len().checked_sub(1)?;
    (0..last)
        .filter(|&index| all[index].lsn + 1 != base)
        .min_by_key(|&index| {
            let before = index.checked_sub(1).map_or(0, |before| all[before].offset);
            all[index + 1].offset.saturating_sub(before)
        })
        .map(|index| all[index].lsn)
}
