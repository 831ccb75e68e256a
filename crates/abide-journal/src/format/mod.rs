//! The disk format, version 1. Integers are little-endian, checksums are CRC-32C.
//!
//! A store is one stream of **segments**. A segment begins with a block of 4,096 bytes, its [`SegmentHeader`], and goes
//! on with **batches**, one for each group commit. A batch is a [`BatchHeader`], an [`Echo`] for each log that the
//! batch before it touched, and **records** ([`RecordHeader`] and payload). What is not output or a commit but a fact
//! about a log is a [`Control`] record. An index [`Snapshot`] says where everything lies up to some batch; it is the
//! root from which the store is opened.

mod batch;
mod checkpoint_file;
mod codec;
mod control;
pub(crate) mod crc;
mod record;
mod segment;
mod snapshot;
mod store_file;

pub use batch::{BatchFlags, BatchHeader, Echo, EchoFlags};
pub use checkpoint_file::CheckpointFileHeader;
pub use codec::Malformed;
pub use control::{Control, EpochEntry};
pub use record::{Kind, Placement, RecordHeader, Sealed, padded};
pub use segment::SegmentHeader;
pub use snapshot::{CheckpointPlace, Damage, DamageState, Snapshot, SnapshotCheckpoint, SnapshotLog, SnapshotPin};
pub use store_file::StoreFile;

pub use crate::core::Extent;

/// The version that this program reads and writes.
pub const FORMAT: u32 = 1;
/// Blocks in which a disk writes: no block with synced bytes is written again.
pub const BLOCK_BYTES: u64 = 4_096;
