//! The registry log: transitions are appended here, one unit each, and answered when they are written.

use std::collections::VecDeque;

use abide_journal::{
    AppendOptions, Appended, Durability, Entry, Error, Expect, Journal, Level, Log, Lsn, ReadLimit, TailWatch, Ticket,
};

use super::{Entry as EventEntry, Event, Mark, Table};
use crate::ids::{EventNumber, SessionId};
use crate::session::{Refusal, Unit};
use crate::stream;

/// One transition on its way into the journal.
#[derive(Debug, Clone)]
struct Transition {
    /// None for the daemon's own.
    session: Option<SessionId>,
    unit: Unit,
    /// The log that its marks go to.
    log: Option<Log>,
}

impl Transition {
    fn events(&self) -> impl Iterator<Item = &Event> {
        self.unit.iter().map(|(event, _)| event)
    }

    /// How many events it has, each with a number of its own.
    fn count(&self) -> u64 {
        self.events().count() as u64
    }
}

/// A transition that was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// None for the daemon's own.
    pub session: Option<SessionId>,
    /// The number of its first event.
    pub first: EventNumber,
    /// The number of its last.
    pub last: EventNumber,
    /// By the journal's clock.
    pub at: u64,
    /// The names of its events, in order.
    pub events: Vec<&'static str>,
}

/// The one writer of the registry log.
///
/// The mark of a transition names the number of its event, so the number is asked for with each append
/// ([`Expect::Lsn`]). Behind a refused unit those under way come back with `append_conflict`; then nothing goes out
/// until all have come back, and they are appended anew in their order.
#[derive(Debug)]
pub struct Registry {
    journal: Journal,
    log: Log,
    /// With `journal.sync = "os"` events wait for no sync.
    durability: Durability,
    next: Lsn,
    under_way: VecDeque<(Lsn, Transition)>,
    come_back: VecDeque<Transition>,
    settling: bool,
    /// Those whose marks have no log yet: at most one of each session.
    without_log: Vec<Transition>,
    /// Not given to the journal yet.
    queued: VecDeque<Transition>,
    /// Transitions that are written and not known to be durable.
    not_durable: VecDeque<(EventNumber, Option<SessionId>)>,
    /// Bytes of events since the newest table.
    since_table: u64,
}

impl Registry {
    /// The writer of this log, which nobody else appends to from now on. `since_table`: bytes of the events behind its
    /// newest table.
    pub fn new(journal: Journal, log: Log, durability: Durability, since_table: u64) -> Self {
        let next = stream::written(&log).lsn;
        Self {
            journal,
            log,
            durability,
            next,
            under_way: VecDeque::new(),
            come_back: VecDeque::new(),
            settling: false,
            without_log: Vec::new(),
            queued: VecDeque::new(),
            not_durable: VecDeque::new(),
            since_table,
        }
    }

    /// The log itself, for those who read it.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What an event has come to once it is acted on for good, and told: on disk; with `journal.sync = "os"`, for which nothing
    /// asks for a sync, written.
    pub fn settled(&self) -> Level {
        if self.durability == Durability::Os { Level::Written } else { Level::Durable }
    }

    /// How far the log is written and durable; a change wakes the hub.
    pub fn tail(&self) -> TailWatch {
        self.log.tail()
    }

    /// Takes a transition of a session (or of the daemon) to be appended, with its marks in that session's log.
    ///
    /// `false`: it has a mark, and there is no log for it yet. That is to be made, and the transition waits until
    /// [`Registry::log_created`] brings it: an event never stands without its mark.
    #[must_use = "its log may have to be made"]
    pub fn append(&mut self, session: Option<SessionId>, unit: Unit, log: Option<Log>) -> bool {
        let has_mark = unit.iter().any(|(_, mark)| mark.is_some());
        let transition = Transition { session, unit, log };
        if has_mark && transition.log.is_none() {
            self.without_log.push(transition);
            return false;
        }
        self.queued.push_back(transition);
        true
    }

    /// A session has its log: what waited for that is appended.
    pub fn log_created(&mut self, session: SessionId, log: &Log) {
        let waiting = self.without_log.extract_if(.., |transition| transition.session == Some(session));
        self.queued.extend(waiting.map(|transition| Transition { log: Some(log.clone()), ..transition }));
    }

    /// Gives the journal what it takes. The tickets are to be awaited; a failure goes to [`Registry::failed`].
    pub fn pump(&mut self) -> Vec<(Lsn, Ticket<Vec<Appended>>)> {
        let mut tickets = Vec::new();
        while !self.settling
            && let Some(transition) = self.queued.front()
        {
            // A full queue: what is written next makes room, and wakes the hub.
            let Ok((ticket, bytes)) = self.submit(transition) else { break };
            self.since_table += bytes;
            tickets.push((self.next, ticket));
            let first = self.next;
            self.next = Lsn::new(first.get() + transition.count()).unwrap_or(first);
            if let Some(transition) = self.queued.pop_front() {
                self.under_way.push_back((first, transition));
            }
        }
        tickets
    }

    /// Bytes of events since the newest table.
    pub fn since_table(&self) -> u64 {
        self.since_table
    }

    /// Adds the table as a checkpoint that stands for all events up to this one. Without it the next start reads more
    /// events; so nobody waits for it.
    pub fn save(&mut self, event: EventNumber, table: &Table) {
        self.since_table = 0;
        if let Ok(bytes) = serde_json::to_vec(table) {
            drop(self.log.add_checkpoint(Lsn::new(event.0), bytes));
        }
    }

    /// Gives a transition to the journal; the ticket, and the bytes of its events.
    fn submit(&self, transition: &Transition) -> Result<(Ticket<Vec<Appended>>, u64), Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (number, (event, mark)) in (self.next.get()..).zip(transition.unit.iter()) {
            let entry = json(&EventEntry { event: event.clone(), session: transition.session });
            bytes += entry.len() as u64;
            entries.push((self.log.clone(), Entry::data(0, entry)));
            if let (Some(log), Some(kind)) = (&transition.log, mark) {
                let mark = Mark { kind: kind.clone(), event: Some(EventNumber(number)) };
                entries.push((log.clone(), Entry::mark(mark.tag(), mark.payload().unwrap_or_default())));
            }
        }
        let durability = match transition.unit.event() {
            Event::Resized { .. } => self.durability.min(Durability::Interval),
            _ => self.durability,
        };
        let options = AppendOptions::at(durability).expect(Expect::Lsn(self.next));
        Ok((self.journal.try_append_batch(entries, options)?, bytes))
    }

    /// What was written since the last call, in order.
    pub fn written(&mut self) -> Vec<Written> {
        let written = stream::written(&self.log).lsn;
        let mut news = Vec::new();
        while let Some((lsn, transition)) = self.under_way.pop_front_if(|(lsn, _)| *lsn < written) {
            let written = Written {
                session: transition.session,
                first: EventNumber(lsn.get()),
                last: EventNumber(lsn.get() + transition.count() - 1),
                at: self.time_of(lsn),
                events: transition.events().map(Event::name).collect(),
            };
            self.not_durable.push_back((written.last, written.session));
            news.push(written);
        }
        self.resume();
        news
    }

    /// When an event was written, by the journal's clock: the same that recovery will read.
    fn time_of(&self, lsn: Lsn) -> u64 {
        let read = self.log.read(lsn, ReadLimit { records: 1, ..ReadLimit::default() }, Level::Written);
        read.ok().and_then(|read| read.records.first().map(|record| record.time_us / 1_000)).unwrap_or(0)
    }

    /// A transition under way was not written. Whose it is (nobody's is the daemon's) is told, unless it is appended anew.
    pub fn failed(&mut self, lsn: Lsn, error: &Error) -> Option<(Option<SessionId>, Refusal)> {
        let at = self.under_way.iter().position(|(number, _)| *number == lsn)?;
        let (_, transition) = self.under_way.remove(at)?;
        self.settling = true;
        let refused = match error {
            Error::AppendConflict { .. } => {
                self.come_back.push_back(transition);
                None
            }
            Error::Full | Error::Busy => Some((transition.session, Refusal::Full)),
            _ => Some((transition.session, Refusal::Failed)),
        };
        self.resume();
        refused
    }

    fn resume(&mut self) {
        if self.settling && self.under_way.is_empty() {
            self.settling = false;
            self.next = stream::written(&self.log).lsn;
            while let Some(transition) = self.come_back.pop_back() {
                self.queued.push_front(transition);
            }
        }
    }

    /// What has settled since the last call, in order: the last event of each transition, and whose it is (nobody's is
    /// the daemon's).
    pub fn durable(&mut self) -> Vec<(EventNumber, Option<SessionId>)> {
        let durable = EventNumber(stream::end_at(&self.log, self.settled()).last().map_or(0, Lsn::get));
        let mut news = Vec::new();
        while let Some(next) = self.not_durable.pop_front_if(|(number, _)| *number <= durable) {
            news.push(next);
        }
        news
    }
}

fn json(entry: &EventEntry) -> Vec<u8> {
    // Every event becomes JSON: its maps have text keys, its numbers are finite.
    serde_json::to_vec(entry).unwrap_or_default()
}
