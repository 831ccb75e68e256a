//! The journal's seams over a simulated disk and clock.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use abide_journal::{Clock, Disk, DiskSpace, Entropy, File, Lock, Options, Retention};

/// Where the store lies.
pub(crate) const STORE: &str = "store";

/// So many bytes are kept, 0: all; a log is cut behind a screen.
pub(crate) fn retention(bytes_max: u64) -> Retention {
    Retention { bytes_max, age_ms_max: 0, trim_at_checkpoint: true }
}

#[derive(Debug, Clone)]
pub(crate) struct SimDisk(pub(crate) abide_sim::Disk);

#[derive(Debug)]
struct SimFile(abide_sim::File);

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SimFile(self.0.open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SimFile(self.0.create(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<DiskSpace> {
        let (free, total) = self.0.free_bytes();
        Ok(DiskSpace { free, total })
    }

    fn lock(&self, path: &Path, inherited: Option<Lock>) -> io::Result<Lock> {
        match inherited {
            Some(lock) if self.still_locked(path, &lock) => Ok(lock),
            Some(_) => Err(io::ErrorKind::WouldBlock.into()),
            None => self.0.lock(path).map(Lock::Simulated),
        }
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        self.0.lock(path).map(Lock::Simulated)
    }

    fn still_locked(&self, path: &Path, lock: &Lock) -> bool {
        matches!(lock, Lock::Simulated(lock) if self.0.still_locked(path, *lock))
    }
}

impl File for SimFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(at, into)
    }

    fn write_at(&self, at: u64, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffers: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        self.0.write_at(at, &buffers)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SimClock(pub(crate) abide_sim::Clock);

impl Clock for SimClock {
    fn wall_us(&self) -> u64 {
        self.0.wall_us()
    }

    fn tick_ms(&self) -> u64 {
        self.0.tick_ms()
    }
}

/// A small store without threads. `bytes_max`: 0 or its bound.
pub(crate) fn options(seed: u64, bytes_max: u64) -> Options {
    Options {
        segment_bytes: 64 << 10,
        record_bytes_max: 16 << 10,
        append_bytes_max: 32 << 10,
        checkpoint_inline_bytes_max: 16 << 10,
        index_interval_bytes: 64 << 10,
        tail_cache_bytes: 32 << 10,
        disk_reserve_bytes: 0,
        extent_bytes: 1 << 10,
        bytes_max,
        threads: false,
        entropy: Entropy::Seeded(seed),
        ..Options::new(STORE)
    }
}

/// The answer, if it is there.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}
