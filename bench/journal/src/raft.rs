//! raft-engine: one Raft group is one log. No compression (payloads are random, and Abide has none). For appends its
//! files are written before they are used, which is the fastest that it offers for synced writes.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::store::{Store, Use, Writer};

/// An entry: bytes, the first eight of which are its index.
struct Numbered;

impl MessageExt for Numbered {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry.value.first_chunk().map_or(0, |index| u64::from_le_bytes(*index))
    }
}

pub(crate) struct Opened {
    engine: Engine,
    /// The last index of each group.
    last: Vec<AtomicU64>,
}

impl Opened {
    pub(crate) fn open(dir: &Path, logs: u64, purpose: Use) -> anyhow::Result<Self> {
        let path = dir.join("raft-engine");
        let ahead = purpose == Use::Append;
        let config = Config {
            dir: path.to_str().context("a path in UTF-8")?.to_owned(),
            batch_compression_threshold: ReadableSize(0),
            prefill_for_recycle: ahead,
            // Half as much again: 384 MiB.
            prefill_limit: ahead.then_some(ReadableSize::mb(256)),
            ..Config::default()
        };
        let engine = Engine::open(config)?;
        let last = (0..logs).map(|log| AtomicU64::new(engine.last_index(log + 1).unwrap_or(0))).collect();
        Ok(Self { engine, last })
    }
}

impl Store for Opened {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Appender { store: self, batch: LogBatch::with_capacity(4), entry: BytesValue::new() })
    }

    fn scan(&self, log: u64) -> anyhow::Result<(u64, u64)> {
        let last = self.engine.last_index(log + 1).unwrap_or(0);
        let mut entries = Vec::new();
        self.engine.fetch_entries_to::<Numbered>(log + 1, 1, last + 1, None, &mut entries)?;
        Ok((entries.len() as u64, entries.iter().map(|entry| entry.value.len() as u64).sum()))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct Appender<'a> {
    store: &'a Opened,
    batch: LogBatch,
    entry: BytesValue,
}

impl Writer for Appender<'_> {
    fn append(&mut self, log: u64, payload: &[u8], sync: bool) -> anyhow::Result<()> {
        let last = &self.store.last[usize::try_from(log).unwrap_or(usize::MAX)];
        let index = last.load(Ordering::Relaxed) + 1;
        last.store(index, Ordering::Relaxed);
        let value = &mut self.entry.value;
        value.clear();
        value.extend_from_slice(&index.to_le_bytes());
        value.extend_from_slice(&payload[8..]);
        self.batch.add_entries::<Numbered>(log + 1, std::slice::from_ref(&self.entry))?;
        self.store.engine.write(&mut self.batch, sync)?;
        Ok(())
    }
}
