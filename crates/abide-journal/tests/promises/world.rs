//! What tests share: a directory of one's own, and a store in it.

use abide_journal::{FileDisk, Journal, Options, RecoveryReport, SystemClock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that is removed with the test.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("abide-journal-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the test");
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            segment_bytes: 256 << 10,
            record_bytes_max: 64 << 10,
            append_bytes_max: 128 << 10,
            checkpoint_inline_bytes_max: 64 << 10,
            ..Options::new(self.path().join("store"))
        }
    }

    pub(crate) fn open(&self) -> (Journal, RecoveryReport) {
        open(self.options())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn open(options: Options) -> (Journal, RecoveryReport) {
    Journal::open(Arc::new(FileDisk), Arc::new(SystemClock), options).expect("the store opens")
}
