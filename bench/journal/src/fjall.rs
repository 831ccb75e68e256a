//! fjall, as context: an LSM tree, in which a log is a prefix of the keys of one keyspace. It syncs for each write by
//! itself (no group commit).

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::store::{Store, Writer};

pub(crate) struct Opened {
    database: Database,
    records: Keyspace,
    last: Vec<AtomicU64>,
}

impl Opened {
    pub(crate) fn open(dir: &Path, logs: u64) -> anyhow::Result<Self> {
        let database = Database::builder(dir.join("fjall")).open()?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
        let last = (0..logs).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { database, records, last })
    }
}

impl Store for Opened {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Appender(self))
    }

    fn scan(&self, log: u64) -> anyhow::Result<(u64, u64)> {
        let (mut records, mut bytes) = (0, 0);
        for item in self.records.prefix(log.to_be_bytes()) {
            records += 1;
            bytes += item.value()?.len() as u64;
        }
        Ok((records, bytes))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct Appender<'a>(&'a Opened);

impl Writer for Appender<'_> {
    fn append(&mut self, log: u64, payload: &[u8], sync: bool) -> anyhow::Result<()> {
        let last = &self.0.last[usize::try_from(log).unwrap_or(usize::MAX)];
        let index = last.load(Ordering::Relaxed) + 1;
        last.store(index, Ordering::Relaxed);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&log.to_be_bytes());
        key[8..].copy_from_slice(&index.to_be_bytes());
        if sync {
            let mut batch = self.0.database.batch().durability(Some(PersistMode::SyncData));
            batch.insert(&self.0.records, &key[..], payload);
            batch.commit()?;
        } else {
            self.0.records.insert(&key[..], payload)?;
        }
        Ok(())
    }
}
