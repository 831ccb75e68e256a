//! Options of a store and of a log, with their defaults and limits.

use crate::disk::Lock;
use crate::entry::Durability;
use std::path::PathBuf;

/// How a store is opened and run. Unset limits are 0.
#[derive(Debug)]
pub struct Options {
    /// Directory of the store; made if missing (its parent must exist).
    pub dir: PathBuf,
    /// Length of a segment: a power of two, 64 KiB to 1 GiB. Must equal that of an existing store.
    pub segment_bytes: u64,
    /// Greatest payload of one record; at most half a segment.
    pub record_bytes_max: u64,
    /// Greatest sum of the records of one unit as stored; at most half a segment.
    pub append_bytes_max: u64,
    /// Bytes of queued appends above which `try_append` answers `journal_busy`.
    pub queue_bytes_max: usize,
    /// Newest records of the store kept in memory for followers, in bytes.
    pub tail_cache_bytes: usize,
    /// A record at level `Interval` is synced this long after it was written, at most.
    pub sync_interval_ms: u64,
    /// This long after a sync that acknowledged something, nothing following, an empty batch is written that proves it
    /// durable.
    pub proof_delay_ms: u64,
    /// An index snapshot is taken after this many appended bytes (or four times its own size, if that is more).
    pub index_interval_bytes: u64,
    /// And after this time, if at least 1 MiB was appended.
    pub index_interval_ms: u64,
    /// A log with limits is looked at this long after an append or a checkpoint.
    pub trim_interval_ms: u64,
    /// A pin that holds back more than this, or was not moved for `pin_age_ms_max`, is passed over by the next trim.
    pub pin_bytes_max: u64,
    /// See `pin_bytes_max`.
    pub pin_age_ms_max: u64,
    /// Whole segments kept for what makes room in a full store: at least 1.
    pub spare_segments: u64,
    /// A segment of which less than this share is live is emptied.
    pub compact_live_ratio: f64,
    /// Speed of compaction.
    pub compact_bytes_per_s: u64,
    /// Speed of a scrub, for whoever runs one.
    pub scrub_bytes_per_s: u64,
    /// Length of the pieces of a checkpoint file that are digested.
    pub chunk_bytes: u64,
    /// Records of one log within a window of this many bytes share one entry of the index.
    pub extent_bytes: u32,
    /// Largest checkpoint that lies in the stream; a larger one becomes a file.
    pub checkpoint_inline_bytes_max: u64,
    /// Free space of the disk that ordinary appends leave alone; at most 2 % of the disk.
    pub disk_reserve_bytes: u64,
    /// Bound on the whole store, 0: none.
    pub bytes_max: u64,
    /// Number of logs.
    pub logs_max: usize,
    /// Entries of one log's epoch table; the oldest are dropped.
    pub epoch_entries_max: usize,
    /// A lock on the store that this process holds already, inherited over an exec.
    pub lock: Option<Lock>,
    /// `false`: no thread is started, and all I/O is carried out by [`Journal::turn`](crate::Journal::turn).
    pub threads: bool,
    /// Where identities and salts come from.
    pub entropy: Entropy,
}

/// Source of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entropy {
    /// The operating system.
    System,
    /// A generator that gives the same numbers for the same seed, for simulations.
    Seeded(u64),
}

impl Options {
    /// The defaults, for a store in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 32 << 20,
            record_bytes_max: 12 << 20,
            append_bytes_max: 16 << 20,
            queue_bytes_max: 64 << 20,
            tail_cache_bytes: 32 << 20,
            sync_interval_ms: 1_000,
            proof_delay_ms: 200,
            index_interval_bytes: 64 << 20,
            index_interval_ms: 60_000,
            trim_interval_ms: 5_000,
            pin_bytes_max: 256 << 20,
            pin_age_ms_max: 24 * 3_600_000,
            spare_segments: 1,
            compact_live_ratio: 0.5,
            compact_bytes_per_s: 32 << 20,
            scrub_bytes_per_s: 4 << 20,
            chunk_bytes: 256 << 10,
            extent_bytes: 64 << 10,
            checkpoint_inline_bytes_max: 1 << 20,
            disk_reserve_bytes: 256 << 20,
            bytes_max: 0,
            logs_max: 65_536,
            epoch_entries_max: 4_096,
            lock: None,
            threads: true,
            entropy: Entropy::System,
        }
    }
}

/// Options of one log, stored with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Level of appends that ask for none.
    pub durability: Durability,
    /// How much of the log is kept.
    pub retention: Retention,
    /// Number of checkpoints kept, at most 4,096. 0 stands for 64.
    pub checkpoints_max: u32,
    /// What happens to the log when a part of it is unreadable.
    pub on_damage: OnDamage,
    /// May use the last room of a full store.
    pub essential: bool,
    /// The kept records alone can be read, without a checkpoint.
    pub self_contained: bool,
}

impl LogOptions {
    /// Number of checkpoints kept.
    pub fn checkpoints_max(&self) -> u32 {
        if self.checkpoints_max == 0 { 64 } else { self.checkpoints_max.min(4_096) }
    }
}

/// How much of a log is kept. Unset limits are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Payload + 56 bytes a record.
    pub bytes_max: u64,
    /// Age of records by wall clock.
    pub age_ms_max: u64,
    /// Trims only to just behind a checkpoint.
    pub trim_at_checkpoint: bool,
}

/// What happens to a log when a part of it is unreadable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// The rest is readable, the range answers `journal_corrupt`.
    #[default]
    Serve,
    /// No handle is given out until the damage is repaired or accepted.
    Refuse,
}
