//! The real disk and the real clock.

use crate::disk::{Clock, Disk, DiskSpace, File, Lock};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileDisk;

/// Most buffers that one `pwritev` takes (`IOV_MAX`).
const BUFFERS_MAX: usize = 1_024;

impl Disk for FileDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options().read(true).write(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(DiskSpace { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }

    fn lock(&self, path: &Path, inherited: Option<Lock>) -> io::Result<Lock> {
        let fd = match inherited {
            Some(Lock::Descriptor(fd)) => fd,
            Some(Lock::Simulated(_)) => return Err(io::ErrorKind::InvalidInput.into()),
            None => {
                rustix::fs::open(path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?
            }
        };
        flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        // The file may have been replaced between open and flock, or since the lock was inherited.
        let lock = Lock::Descriptor(fd);
        if !self.still_locked(path, &lock) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let Lock::Descriptor(fd) = &lock else { return Ok(lock) };
        rustix::fs::ftruncate(fd, 0)?;
        rustix::io::pwrite(fd, format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(lock)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        flock(&fd, FlockOperation::NonBlockingLockShared)?;
        Ok(Lock::Descriptor(fd))
    }

    fn still_locked(&self, path: &Path, lock: &Lock) -> bool {
        let Lock::Descriptor(fd) = lock else { return false };
        let (Ok(held), Ok(named)) = (rustix::fs::fstat(fd.as_fd()), rustix::fs::stat(path)) else { return false };
        held.st_dev == named.st_dev && held.st_ino == named.st_ino
    }
}

fn flock(fd: &OwnedFd, how: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(fd, how) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[derive(Debug)]
struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, at: u64, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut done = 0;
        for group in buffers.chunks(BUFFERS_MAX) {
            let wanted: usize = group.iter().map(|buffer| buffer.len()).sum();
            let taken = loop {
                match rustix::io::pwritev(&self.0, group, at + done as u64) {
                    Err(Errno::INTR) => {}
                    other => break other?,
                }
            };
            done += taken;
            if taken < wanted {
                break;
            }
        }
        Ok(done)
    }

    fn sync_data(&self) -> io::Result<()> {
        loop {
            match self.0.sync_data() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The clock that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const TICKS: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const TICKS: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Clock for SystemClock {
    fn wall_us(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn tick_ms(&self) -> u64 {
        let now = rustix::time::clock_gettime(TICKS);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        seconds * 1_000 + nanos / 1_000_000
    }
}
