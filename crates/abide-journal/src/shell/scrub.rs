//! Reads what is kept, to find what has rotted before somebody needs it.

use super::journal::Journal;
use super::log::{At, Log};
use super::open::FoundDamage;
use super::read::Piece;
use crate::core::{Extent, Request};
use crate::error::Error;
use crate::format::{Damage, DamageState};
use crate::position::Lsn;
use std::collections::VecDeque;

/// A pass over all logs, one step at a time; whoever runs it decides how fast. What it finds is noted as damage, durable
/// when the step is done; in a store opened for reading only it is told.
#[derive(Debug)]
pub struct Scrub {
    journal: Journal,
    logs: VecDeque<String>,
    /// The log at hand, the first record that was not read yet, the first checkpoint that was not.
    at: Option<(Log, u64, u64)>,
}

/// What one step has read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStep {
    /// The log.
    pub log: String,
    /// Bytes read.
    pub bytes: u64,
    /// Records that cannot be read.
    pub damage: Vec<FoundDamage>,
    /// A checkpoint that does not verify: the record that it stands at. It is not used any more in this open.
    pub checkpoint: Option<At>,
}

impl Scrub {
    pub(super) fn new(journal: Journal) -> Self {
        let logs = journal.logs().into_iter().map(|info| info.name).collect();
        Self { journal, logs, at: None }
    }

    /// Reads one extent (64 KiB, or one larger record) or one checkpoint. `None`: all is read. Blocks.
    pub fn step(&mut self) -> Option<Result<ScrubStep, Error>> {
        loop {
            if self.at.is_none() {
                let log = self.journal.any_log(&self.logs.pop_front()?);
                self.at = log.map(|log| (log, 0, 0));
                continue;
            }
            let (log, lsn, checkpoint) = self.at.as_mut()?;
            // A log that was dropped meanwhile needs no scrub.
            if let Ok(reader) = log.reader() {
                if let Some(extent) = reader.view.extents.around(|extent| extent.first_lsn < *lsn).1 {
                    *lsn = extent.end_lsn();
                    let log = log.clone();
                    drop(reader);
                    return Some(self.scrub_extent(&log, &extent));
                }
                if let Some((next, stored)) = reader.view.facts.checkpoints.range(*checkpoint..).next() {
                    *checkpoint = next + 1;
                    let failed = reader.checkpoint(*next).is_err();
                    let bytes = stored.bytes;
                    let checkpoint = failed.then_some(At::Lsn(Lsn::at_least_first(*next)));
                    let log = log.name().to_owned();
                    return Some(Ok(ScrubStep { log, bytes, damage: Vec::new(), checkpoint }));
                }
            }
            self.at = None;
        }
    }

    fn scrub_extent(&self, log: &Log, extent: &Extent) -> Result<ScrubStep, Error> {
        let reader = log.reader()?;
        let mut step = ScrubStep { log: log.name().to_owned(), bytes: extent.span.into(), ..ScrubStep::default() };
        let pieces = match reader.read_extent(extent) {
            Ok(pieces) => pieces,
            Err(Error::Corrupt(found)) => {
                let (from, to) = (extent.first_lsn, extent.end_lsn() - 1);
                vec![Piece::Hole { from, to, at: found.position, behind: None }]
            }
            Err(error) => return Err(error),
        };
        // It may have been moved or trimmed since.
        let now = log.reader()?.view;
        for piece in pieces {
            let Piece::Hole { from, to, at, .. } = piece else { continue };
            if now.extents.holding(from) != Some(*extent) || to < now.base.lsn.get() {
                continue;
            }
            let damage = Damage {
                from_lsn: from.max(now.base.lsn.get()),
                to_lsn: to,
                segment: extent.segment,
                position: at,
                state: DamageState::Found,
            };
            let known =
                now.facts.damage.iter().any(|old| old.from_lsn <= damage.from_lsn && damage.to_lsn <= old.to_lsn);
            if !known && self.journal.ended().is_none() {
                log.inner.ask(Request::Damage { log: log.shared.id, damage }, super::log::plain).wait()?;
            }
            step.damage.push(FoundDamage {
                log: log.name().to_owned(),
                from: Lsn::at_least_first(damage.from_lsn),
                to: Lsn::new(damage.to_lsn),
                file: log.inner.shared.paths.segment(damage.segment),
                position: damage.position,
            });
        }
        Ok(step)
    }
}
