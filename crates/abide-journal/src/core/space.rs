//! Room: when the store is low or full.

use crate::disk::DiskSpace;

/// Whether there is room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpaceState {
    /// Enough.
    #[default]
    Ok,
    /// Within a tenth of a limit: remove what can be spared.
    Low,
    /// Ordinary appends are refused with `journal_full`.
    Full,
}

/// Use of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Whether there is room.
    pub state: SpaceState,
    /// Bytes of the store's segments.
    pub used: u64,
    /// Bytes that it may use: `bytes_max`, or what the disk has.
    pub allowed: u64,
}

/// What limits the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes_max: u64,
    pub(super) disk_reserve_bytes: u64,
    pub(super) segment_bytes: u64,
}

impl Limits {
    /// Free space that ordinary appends leave alone on a disk of this size.
    fn reserve(&self, disk: DiskSpace) -> u64 {
        self.disk_reserve_bytes.min(disk.total / 50)
    }

    /// Whether one more segment would pass `bytes_max`.
    pub(super) fn reached(&self, segments: u64) -> bool {
        self.bytes_max != 0 && (segments + 1) * self.segment_bytes > self.bytes_max
    }

    /// Whether the disk has only its reserve left.
    pub(super) fn below_reserve(&self, disk: DiskSpace) -> bool {
        disk.free < self.reserve(disk)
    }

    pub(super) fn judge(&self, segments: u64, disk: DiskSpace, full: bool) -> Space {
        let used = segments * self.segment_bytes;
        let of_disk = used.saturating_add(disk.free.saturating_sub(self.reserve(disk)));
        let allowed = if self.bytes_max == 0 { of_disk } else { of_disk.min(self.bytes_max) };
        let near = self.bytes_max != 0 && used >= self.bytes_max - self.bytes_max / 10;
        let near_reserve = disk.free < self.reserve(disk) + self.reserve(disk) / 10;
        let state = match (full, near || near_reserve) {
            (true, _) => SpaceState::Full,
            (false, true) => SpaceState::Low,
            (false, false) => SpaceState::Ok,
        };
        Space { state, used, allowed }
    }
}
