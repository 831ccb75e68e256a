//! Names of the files of a store. Numbers are 16 hex digits.

use crate::position::LogId;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
}

impl Paths {
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.dir.join("segments")
    }

    pub(crate) fn segment(&self, segment: u64) -> PathBuf {
        self.segments().join(format!("{segment:016x}.seg"))
    }

    pub(crate) fn spares(&self) -> PathBuf {
        self.dir.join("spare")
    }

    pub(crate) fn spare(&self, spare: u64) -> PathBuf {
        self.spares().join(format!("{spare:016x}.seg"))
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoints")
    }

    pub(crate) fn checkpoint(&self, log: LogId, lsn: u64) -> PathBuf {
        self.checkpoints().join(format!("{:016x}-{lsn:016x}.ckpt", log.0))
    }

    pub(crate) fn indexes(&self) -> PathBuf {
        self.dir.join("index")
    }

    pub(crate) fn index(&self, batch: u64) -> PathBuf {
        self.indexes().join(format!("{batch:016x}.idx"))
    }
}

/// The number in a name like `00000000000000ff.seg`.
pub(crate) fn number(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() == 16 { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// The name under which a file is written before it is renamed.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}
