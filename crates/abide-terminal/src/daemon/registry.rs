//! The registry log: transitions are appended here, one unit each, and answered when they are written.

use std::collections::VecDeque;

use abide_journal::{
    AppendOptions, Appended, Durability, Entry, Error, Expect, Journal, Level, Log, Lsn, ReadLimit, TailWatch, Ticket,
};

use crate::ids::{EventNumber, SessionId};
use crate::session::Refusal;
use crate::store::{self, Event, Mark, MarkKind, Table};
use crate::stream;

/// One transition on its way into the journal.
#[derive(Debug, Clone)]
struct Unit {
    session: Option<SessionId>,
    event: Event,
    mark: Option<(Log, MarkKind)>,
}

/// The one writer of the registry log.
///
/// The mark of a transition names the number of its event, so the number is asked for with each append
/// ([`Expect::Lsn`]). Behind a refused unit those under way come back with `append_conflict`; then nothing goes out
/// until all have come back, and they are appended anew in their order.
#[derive(Debug)]
pub(super) struct Registry {
    journal: Journal,
    log: Log,
    /// With `journal.sync = "os"` events wait for no sync.
    durability: Durability,
    next: Lsn,
    under_way: VecDeque<(Lsn, Unit)>,
    come_back: VecDeque<Unit>,
    settling: bool,
    /// Not given to the journal yet.
    queued: VecDeque<Unit>,
}

impl Registry {
    pub(super) fn new(journal: Journal, log: Log, durability: Durability) -> Self {
        let next = stream::written(&log).lsn;
        Self {
            journal,
            log,
            durability,
            next,
            under_way: VecDeque::new(),
            come_back: VecDeque::new(),
            settling: false,
            queued: VecDeque::new(),
        }
    }

    /// How far the log is written and durable; a change wakes the hub.
    pub(super) fn tail(&self) -> TailWatch {
        self.log.tail()
    }

    /// Takes a transition of a session (or of the daemon) to be appended, with its mark in that session's log.
    pub(super) fn append(&mut self, session: Option<SessionId>, event: Event, mark: Option<(Log, MarkKind)>) {
        self.queued.push_back(Unit { session, event, mark });
    }

    /// Gives the journal what it takes. The tickets are to be awaited; a failure goes to [`Registry::failed`].
    pub(super) fn pump(&mut self) -> Vec<(Lsn, Ticket<Vec<Appended>>)> {
        let mut tickets = Vec::new();
        while !self.settling
            && let Some(unit) = self.queued.front()
        {
            // A full queue: what is written next makes room, and wakes the hub.
            let Ok(ticket) = self.submit(unit) else { break };
            tickets.push((self.next, ticket));
            if let Some(unit) = self.queued.pop_front() {
                self.under_way.push_back((self.next, unit));
            }
            self.next = self.next.next();
        }
        tickets
    }

    /// Adds the table as a checkpoint that stands for all events up to this one. Without it the next start reads more
    /// events; so nobody waits for it.
    pub(super) fn save(&self, event: EventNumber, table: &Table) {
        if let Ok(bytes) = serde_json::to_vec(table) {
            drop(self.log.add_checkpoint(Lsn::new(event.0), bytes));
        }
    }

    fn submit(&self, unit: &Unit) -> Result<Ticket<Vec<Appended>>, Error> {
        let entry = store::Entry { event: unit.event.clone(), session: unit.session };
        let mut entries = vec![(self.log.clone(), Entry::data(0, json(&entry)))];
        if let Some((log, kind)) = &unit.mark {
            let mark = Mark { kind: kind.clone(), event: Some(EventNumber(self.next.get())) };
            entries.push((log.clone(), Entry::mark(mark.tag(), mark.payload().unwrap_or_default())));
        }
        let durability = match unit.event {
            Event::Resized { .. } => self.durability.min(Durability::Interval),
            _ => self.durability,
        };
        self.journal.try_append_batch(entries, AppendOptions::at(durability).expect(Expect::Lsn(self.next)))
    }

    /// What was written since the last call, in order: whose (nobody's is the daemon's), its number, its time, its name.
    pub(super) fn written(&mut self) -> Vec<(Option<SessionId>, EventNumber, u64, &'static str)> {
        let written = stream::written(&self.log).lsn;
        let mut news = Vec::new();
        while let Some((lsn, unit)) = self.under_way.pop_front_if(|(lsn, _)| *lsn < written) {
            news.push((unit.session, EventNumber(lsn.get()), self.time_of(lsn), unit.event.name()));
        }
        self.resume();
        news
    }

    /// When an event was written, by the journal's clock: the same that recovery will read.
    fn time_of(&self, lsn: Lsn) -> u64 {
        let read = self.log.read(lsn, ReadLimit { records: 1, ..ReadLimit::default() }, Level::Written);
        read.ok().and_then(|read| read.records.first().map(|record| record.time_us / 1_000)).unwrap_or(0)
    }

    /// A unit under way was not written. Whose it is (nobody's is the daemon's) is told, unless the unit is appended anew.
    pub(super) fn failed(&mut self, lsn: Lsn, error: &Error) -> Option<(Option<SessionId>, Refusal)> {
        let at = self.under_way.iter().position(|(number, _)| *number == lsn)?;
        let (_, unit) = self.under_way.remove(at)?;
        self.settling = true;
        let refused = match error {
            Error::AppendConflict { .. } => {
                self.come_back.push_back(unit);
                None
            }
            Error::Full | Error::Busy => Some((unit.session, Refusal::Full)),
            _ => Some((unit.session, Refusal::Failed)),
        };
        self.resume();
        refused
    }

    fn resume(&mut self) {
        if self.settling && self.under_way.is_empty() {
            self.settling = false;
            self.next = stream::written(&self.log).lsn;
            while let Some(unit) = self.come_back.pop_back() {
                self.queued.push_front(unit);
            }
        }
    }

    /// All events up to this number are durable.
    pub(super) fn durable(&self) -> EventNumber {
        EventNumber(stream::end_at(&self.log, Level::Durable).last().map_or(0, Lsn::get))
    }
}

fn json(entry: &store::Entry) -> Vec<u8> {
    // Every event becomes JSON: its maps have text keys, its numbers are finite.
    serde_json::to_vec(entry).unwrap_or_default()
}
