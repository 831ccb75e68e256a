//! Readers that wait for more.

use super::log::Log;
use super::read::{ReadLimit, Reader};
use crate::entry::{Level, Record};
use crate::error::Error;
use crate::position::{Cursor, Lsn};
use std::collections::VecDeque;

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With this record: it yields whole records.
    Lsn(Lsn),
    /// At this byte: the first piece may be the rest of a record, or of a gap.
    Cursor(Cursor),
}

/// Yields a log's records in order and then waits for more, at its own pace: nothing is queued for it.
#[derive(Debug)]
pub struct Follower {
    log: Log,
    level: Level,
    next: Cursor,
    ready: VecDeque<Record>,
}

/// Records read ahead at once.
const AHEAD: ReadLimit = ReadLimit { bytes: 64 << 10, records: 256 };

impl Follower {
    pub(crate) fn new(log: Log, from: From, level: Level) -> Result<Self, Error> {
        let reader = Reader::new(&log.inner.shared, &log.shared)?;
        let next = match from {
            From::Lsn(lsn) => reader.place_of(lsn)?.cursor(),
            From::Cursor(cursor) => Cursor { lsn: Some(reader.start_of(cursor)?), ..cursor },
        };
        Ok(Self { log, level, next, ready: VecDeque::new() })
    }

    /// The next record, or piece of one. Cancel-safe. Behind the shared tail it reads from the disk on the caller's
    /// thread, one extent at a time (64 KiB, or one larger record). Errors: those of `read`; at the end of a store that
    /// was closed or poisoned that error.
    pub async fn next(&mut self) -> Result<Record, Error> {
        loop {
            let seen = self.log.shared.seen.versioned().0;
            if let Some(record) = self.try_next()? {
                return Ok(record);
            }
            if let Some(error) = self.log.inner.shared.ended.get() {
                return Err(error.clone());
            }
            self.log.shared.seen.newer_than(seen).await;
        }
    }

    /// The next record, if there is one.
    pub fn try_next(&mut self) -> Result<Option<Record>, Error> {
        if self.ready.is_empty() {
            let reader = Reader::new(&self.log.inner.shared, &self.log.shared)?;
            let out = reader.pieces(self.next, AHEAD, self.level)?;
            self.ready = out.records.into();
        }
        let Some(record) = self.ready.pop_front() else { return Ok(None) };
        self.next = Cursor { offset: record.end_offset(), lsn: Some(record.lsn().next()) };
        Ok(Some(record))
    }

    /// Where the next record or piece begins.
    pub fn position(&self) -> Cursor {
        self.next
    }
}
