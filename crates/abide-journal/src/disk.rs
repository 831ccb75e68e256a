//! The seams to the machine: disk and clock. Production uses [`FileDisk`](crate::FileDisk) and
//! [`SystemClock`](crate::SystemClock); simulations bring their own.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// A file system, as far as the journal uses one. All calls block.
pub trait Disk: Debug + Send + Sync {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Creates a file, cutting an existing one to nothing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Replaces `to` by `from` atomically. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory; one that exists is success.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Room on the disk that holds `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<DiskSpace>;
    /// Takes the exclusive lock at `path`, making the file if needed; with `inherited`, makes sure that this descriptor
    /// holds it. [`io::ErrorKind::WouldBlock`] if somebody else has it.
    fn lock(&self, path: &Path, inherited: Option<Lock>) -> io::Result<Lock>;
    /// Takes a lock on the file at `path` that others may share, but nobody who wants it alone.
    /// [`io::ErrorKind::WouldBlock`] if somebody has it alone.
    fn lock_shared(&self, path: &Path) -> io::Result<Lock>;
    /// Whether the file at `path` is still the one that `lock` holds.
    fn still_locked(&self, path: &Path, lock: &Lock) -> bool;
}

/// Zeros are written in pieces of this size. What one call writes a file system may cache as one unit, and handle all of it
/// whenever a part is overwritten and synced: with pieces of 1 MiB on ext4 (Linux 6.18) a small synced append took twice
/// the time.
const ZEROS: [u8; 4 << 10] = [0; 4 << 10];

/// An open file.
pub trait File: Debug + Send + Sync {
    /// Reads at a position; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all buffers at a position, one behind the other, and says how many bytes were taken. Fewer than given is a
    /// failure to the journal.
    fn write_at(&self, at: u64, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Writes zeros from one position up to another. They may be written again, so a short write is no torn one but
    /// [`io::ErrorKind::StorageFull`].
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let piece = &ZEROS[..usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len())];
            if self.write_at(at, &[IoSlice::new(piece)])? < piece.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            at += piece.len() as u64;
        }
        Ok(())
    }
    /// Returns when data and length are on the disk.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Available to this user.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// The lock of a store. Dropping it gives it up.
#[derive(Debug)]
pub enum Lock {
    /// A descriptor with an exclusive `flock`. It is closed on exec unless its owner clears that flag.
    Descriptor(OwnedFd),
    /// A number that means something to a simulated disk.
    Simulated(u64),
}

/// Time, as far as the journal uses it.
pub trait Clock: Debug + Send + Sync {
    /// Wall clock in µs since 1970.
    fn wall_us(&self) -> u64;
    /// Milliseconds of a clock that never goes back and also counts suspended time.
    fn tick_ms(&self) -> u64;
}
