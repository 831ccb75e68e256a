//! A journal that does as it is told: one append of a session under way, written or refused, durable later.

use abide_terminal::session::Unit;
use abide_terminal::store::{Entry, Event, Facts, MarkKind, Table};
use abide_terminal::{EventNumber, SessionId};

pub(crate) struct Journal {
    /// What is under way.
    pub(crate) under_way: Option<Unit>,
    pub(crate) full: bool,
    /// What a start would read.
    pub(crate) table: Table,
    /// Events of this session, in order.
    pub(crate) events: Vec<(EventNumber, Event)>,
    pub(crate) durable: EventNumber,
    next: EventNumber,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            under_way: None,
            full: false,
            table: Table::default(),
            events: Vec::new(),
            durable: EventNumber(0),
            next: EventNumber(1),
        }
    }

    /// Takes an append; each event has its mark, if it is of a kind that has a place in the output.
    pub(crate) fn append(&mut self, unit: Unit) {
        assert!(self.under_way.is_none(), "one transition at a time: {unit:?}");
        for (event, mark) in unit.iter() {
            assert!(Self::fit(event, mark.as_ref()), "{event:?} with {mark:?}");
        }
        self.under_way = Some(unit);
    }

    fn fit(event: &Event, mark: Option<&MarkKind>) -> bool {
        match (event, mark) {
            (Event::Started { pid, .. }, Some(MarkKind::Started { pid: marked, .. })) => pid == marked,
            (Event::Resized { cols, rows }, Some(MarkKind::Resized { cols: c, rows: r })) => (cols, rows) == (c, r),
            (Event::OwnerChanged { owner_epoch, .. }, Some(MarkKind::OwnerChanged { owner_epoch: marked, .. })) => {
                owner_epoch == marked
            }
            (Event::Finalized { exit, .. }, Some(MarkKind::Exited { exit: marked })) => exit == marked,
            (Event::Restoring { incarnation, .. }, Some(MarkKind::Restoring { incarnation: marked, .. })) => {
                incarnation == marked
            }
            (
                Event::Started { .. }
                | Event::Resized { .. }
                | Event::OwnerChanged { .. }
                | Event::Finalized { .. }
                | Event::Restoring { .. },
                _,
            ) => false,
            (_, mark) => mark.is_none(),
        }
    }

    /// Writes what is under way; the number of its first event.
    pub(crate) fn write(&mut self, session: SessionId, at: u64) -> Option<(EventNumber, Unit)> {
        let unit = self.under_way.take()?;
        // Other sessions have events too.
        let first = EventNumber(self.next.0 + at % 3);
        self.next = first;
        for (event, _) in unit.iter() {
            let entry = Entry { event: event.clone(), session: Some(session) };
            self.table.apply(self.next, at, entry).unwrap();
            self.events.push((self.next, event.clone()));
            self.next = self.next.next();
        }
        Some((first, unit))
    }

    /// Whether what is under way can be refused for want of room: the registry has some when the logs have none.
    pub(crate) fn needs_room(&self) -> bool {
        let needs = |(event, mark): &(Event, Option<MarkKind>)| mark.is_some() || matches!(event, Event::Created(_));
        self.under_way.as_ref().is_some_and(|unit| unit.iter().any(needs))
    }

    pub(crate) fn last(&self) -> EventNumber {
        self.events.last().map_or(EventNumber(0), |(number, _)| *number)
    }

    pub(crate) fn facts(&self, session: SessionId) -> Option<&Facts> {
        self.table.sessions.get(&session)
    }

    /// How many such events there are since the present program was accepted.
    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        let before = self.events.iter().rposition(|(_, event)| matches!(event, Event::Restoring { .. }));
        self.events.iter().skip(before.unwrap_or(0)).filter(|(_, event)| wanted(event)).count()
    }

    /// The number of the newest such event.
    pub(crate) fn number_of(&self, wanted: impl Fn(&Event) -> bool) -> Option<EventNumber> {
        self.events.iter().rfind(|(_, event)| wanted(event)).map(|(number, _)| *number)
    }
}
