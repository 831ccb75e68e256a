//! Abide's journal, with all options at their defaults.

use std::path::Path;
use std::sync::Arc;

use abide_journal::{
    AppendOptions, Durability, Entry, FileDisk, Journal, Level, Log, LogOptions, Lsn, Options, ReadLimit, SystemClock,
};
use bytes::Bytes;

use crate::store::{Store, Writer};

pub(crate) struct Opened {
    journal: Journal,
    logs: Vec<Log>,
}

impl Opened {
    pub(crate) fn open(dir: &Path, logs: u64) -> anyhow::Result<Self> {
        let options = Options::new(dir.join("abide"));
        let (journal, report) = Journal::open(Arc::new(FileDisk), Arc::new(SystemClock), options)?;
        let plain = LogOptions { durability: Durability::Os, ..LogOptions::default() };
        let name = |log| format!("log/{log}");
        let logs: Result<Vec<Log>, _> = if report.logs == 0 {
            let created: Vec<_> = (0..logs).map(|log| journal.create_log(&name(log), plain)).collect();
            created.into_iter().map(abide_journal::Ticket::wait).collect()
        } else {
            (0..logs).map(|log| journal.log(&name(log))).collect()
        };
        Ok(Self { journal, logs: logs? })
    }

    fn log(&self, log: u64) -> &Log {
        &self.logs[usize::try_from(log).unwrap_or(usize::MAX)]
    }
}

impl Store for Opened {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Appender(self))
    }

    fn scan(&self, log: u64) -> anyhow::Result<(u64, u64)> {
        let (mut next, mut records, mut bytes) = (Lsn::FIRST, 0, 0);
        loop {
            let out = self.log(log).read(next, ReadLimit { bytes: 1 << 20, records: usize::MAX }, Level::Written)?;
            let (Some(last), Some(at)) = (out.records.last(), out.next.lsn) else { return Ok((records, bytes)) };
            let from = out.records.first().unwrap_or(last).offset.0;
            records += out.records.len() as u64;
            bytes += last.end_offset().0 - from;
            next = at;
        }
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.journal.close().wait()?)
    }
}

struct Appender<'a>(&'a Opened);

impl Writer for Appender<'_> {
    fn append(&mut self, log: u64, payload: &[u8], sync: bool) -> anyhow::Result<()> {
        let level = if sync { Durability::Always } else { Durability::Os };
        let entry = Entry::data(0, Bytes::copy_from_slice(payload));
        self.0.log(log).append(entry, AppendOptions::at(level)).wait()?;
        Ok(())
    }
}
