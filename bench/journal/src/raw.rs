//! What the disk gives to one writer that does nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::bail;

use crate::store::{Store, Writer};

const BLOCK: usize = 4_096;
const BLOCKS: u64 = 8 * 1_024;

/// A file of 32 MiB that was written once.
pub(crate) struct Overwritten {
    file: File,
    next: Mutex<u64>,
}

impl Overwritten {
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(dir.join("raw"))?;
        for block in 0..BLOCKS {
            file.write_all_at(&[0; BLOCK], block * BLOCK as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, next: Mutex::new(0) })
    }
}

impl Store for Overwritten {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Blocks(self))
    }

    fn scan(&self, _: u64) -> anyhow::Result<(u64, u64)> {
        bail!("a loop of overwrites has no logs")
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

/// One block after the other, as a log would.
struct Blocks<'a>(&'a Overwritten);

impl Writer for Blocks<'_> {
    fn append(&mut self, _: u64, payload: &[u8], sync: bool) -> anyhow::Result<()> {
        let Ok(mut next) = self.0.next.lock() else { bail!("another writer panicked") };
        let mut block = [0; BLOCK];
        block[..payload.len()].copy_from_slice(payload);
        self.0.file.write_all_at(&block, *next % BLOCKS * BLOCK as u64)?;
        *next += 1;
        if sync {
            self.0.file.sync_data()?;
        }
        Ok(())
    }
}
