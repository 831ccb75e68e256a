//! A journal that does as it is told: one append of a session under way, written or refused, durable later.

use abide_terminal::store::{Entry, Event, Facts, MarkKind, Table};
use abide_terminal::{EventNumber, SessionId};

pub(crate) struct Journal {
    /// What is under way.
    pub(crate) under_way: Option<(Event, Option<MarkKind>)>,
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

    /// Takes an append; an event has its mark, if it is of a kind that has a place in the output.
    pub(crate) fn append(&mut self, event: Event, mark: Option<MarkKind>) {
        assert!(self.under_way.is_none(), "one transition at a time: {event:?}");
        let fits = match (&event, &mark) {
            (Event::Started { pid, .. }, Some(MarkKind::Started { pid: marked, .. })) => pid == marked,
            (Event::Resized { cols, rows }, Some(MarkKind::Resized { cols: c, rows: r })) => (cols, rows) == (c, r),
            (Event::OwnerChanged { owner_epoch, .. }, Some(MarkKind::OwnerChanged { owner_epoch: marked, .. })) => {
                owner_epoch == marked
            }
            (Event::Finalized { exit, .. }, Some(MarkKind::Exited { exit: marked })) => exit == marked,
            (
                Event::Started { .. } | Event::Resized { .. } | Event::OwnerChanged { .. } | Event::Finalized { .. },
                _,
            ) => false,
            (_, mark) => mark.is_none(),
        };
        assert!(fits, "{event:?} with {mark:?}");
        self.under_way = Some((event, mark));
    }

    /// Writes what is under way.
    pub(crate) fn write(&mut self, session: SessionId, at: u64) -> Option<(EventNumber, Event)> {
        let (event, _) = self.under_way.take()?;
        // Other sessions have events too.
        let number = EventNumber(self.next.0 + at % 3);
        self.next = number.next();
        self.table.apply(number, at, Entry { event: event.clone(), session: Some(session) }).unwrap();
        self.events.push((number, event.clone()));
        Some((number, event))
    }

    /// Whether what is under way can be refused for want of room: the registry has some when the logs have none.
    pub(crate) fn needs_room(&self) -> bool {
        self.under_way.as_ref().is_some_and(|(event, mark)| mark.is_some() || matches!(event, Event::Created(_)))
    }

    pub(crate) fn last(&self) -> EventNumber {
        self.events.last().map_or(EventNumber(0), |(number, _)| *number)
    }

    pub(crate) fn facts(&self, session: SessionId) -> Option<&Facts> {
        self.table.sessions.get(&session)
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }

    /// The number of the newest such event.
    pub(crate) fn number_of(&self, wanted: impl Fn(&Event) -> bool) -> Option<EventNumber> {
        self.events.iter().rfind(|(_, event)| wanted(event)).map(|(number, _)| *number)
    }
}
