//! A disk that fails when a test says so. It fails in builds with debug assertions only.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use abide_journal::{Disk, DiskSpace, File, FileDisk};

/// The variable that names a file: while that is there, what it names (`sync` or `write`) fails; if it says `hold`, a sync
/// does not come back.
const VARIABLE: &str = "ABIDE_TEST_DISK";

/// The disk that the journal lies on.
pub(super) fn disk() -> Arc<dyn Disk> {
    match std::env::var_os(VARIABLE).filter(|_| cfg!(debug_assertions)) {
        Some(switch) => Arc::new(FaultyDisk { switch: Arc::new(PathBuf::from(switch)) }),
        None => Arc::new(FileDisk),
    }
}

#[derive(Debug, Clone)]
struct FaultyDisk {
    switch: Arc<PathBuf>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn File>,
    switch: Arc<PathBuf>,
}

/// Holds a sync up while the switch says so.
fn hold(switch: &Path) {
    while std::fs::read_to_string(switch).is_ok_and(|text| text.trim() == "hold") {
        std::thread::sleep(HOLD_LOOK);
    }
}

/// How often a sync that is held up looks whether it may go on.
const HOLD_LOOK: Duration = Duration::from_millis(2);

/// Fails if the switch names this.
fn pass(switch: &Path, action: &str) -> io::Result<()> {
    let named = std::fs::read_to_string(switch).is_ok_and(|text| text.trim() == action);
    if named { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
}

impl FaultyDisk {
    fn wrapped(&self, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(FaultyFile { file: file?, switch: Arc::clone(&self.switch) }))
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.wrapped(FileDisk.open(path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.wrapped(FileDisk.create(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileDisk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        FileDisk.list(dir)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        FileDisk.make_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        pass(&self.switch, "sync")?;
        FileDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<DiskSpace> {
        FileDisk.free_bytes(dir)
    }

    fn lock(&self, path: &Path, inherited: Option<abide_journal::Lock>) -> io::Result<abide_journal::Lock> {
        FileDisk.lock(path, inherited)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<abide_journal::Lock> {
        FileDisk.lock_shared(path)
    }

    fn still_locked(&self, path: &Path, lock: &abide_journal::Lock) -> bool {
        FileDisk.still_locked(path, lock)
    }
}

impl File for FaultyFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(at, into)
    }

    fn write_at(&self, at: u64, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        pass(&self.switch, "write")?;
        self.file.write_at(at, buffers)
    }

    fn sync_data(&self) -> io::Result<()> {
        hold(&self.switch);
        pass(&self.switch, "sync")?;
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
