//! The newest records of the store, shared by all followers at the heads.

use super::shared::LogShared;
use super::sync::Mutex;
use crate::entry::Record;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

/// What a record costs beside its payload: the entries here and in the queue of ages.
const RECORD_OVERHEAD: usize = 160;

/// A dense run of one log's newest records.
#[derive(Debug, Default)]
pub(crate) struct LogCache(Mutex<VecDeque<Record>>);

impl LogCache {
    pub(crate) fn with<T>(&self, use_records: impl FnOnce(&VecDeque<Record>) -> T) -> T {
        use_records(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut VecDeque<Record>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ages of all cached records; the oldest goes first, whatever its log.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    records: VecDeque<(Arc<LogShared>, usize)>,
    bytes: usize,
}

impl Ages {
    pub(crate) fn add(&mut self, log: &Arc<LogShared>, record: Record) {
        let bytes = record.content.payload_len() + RECORD_OVERHEAD;
        self.bytes += bytes;
        self.records.push_back((Arc::clone(log), bytes));
        log.cache.change(|records| records.push_back(record));
    }

    pub(crate) fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((log, bytes)) = self.records.pop_front() else { return };
            self.bytes -= bytes;
            log.cache.change(VecDeque::pop_front);
        }
    }
}
