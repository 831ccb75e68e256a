//! What truly happened, and whether what was recorded and told agrees with it.

use std::collections::{BTreeMap, BTreeSet};

use abide_holder::{BootId, EXIT_RECORD_VERSION, ExitRecord};
use abide_journal::{Content, Level, Log, Lsn, ReadLimit, Record as LogRecord};
use abide_terminal::store::{Entry, Event, Mark, MarkKind};
use abide_terminal::{ClientId, EventNumber, ExitKind, Incarnation, SessionId, State};
use abide_wire::Code;

use crate::client::Past;
use crate::daemon::{Daemon, Sum};
use crate::holder::Launch;
use crate::machine::Machine;
use crate::program::byte;

/// A holder and its program.
#[derive(Debug)]
struct Run {
    incarnation: Incarnation,
    /// Offset of its first byte, and behind the last one that its holder read.
    base: u64,
    head: u64,
    starts: u32,
    /// How the program ended, and whether an exit record says so.
    ended: Option<(u32, bool)>,
    /// How far its output was read then: what others print in its terminal after it, no exit record tells.
    ended_at: u64,
    applied: BTreeMap<u32, Vec<u8>>,
    collected: bool,
    hung_up: bool,
}

#[derive(Debug)]
struct Session {
    number: u64,
    runs: Vec<Run>,
    removed: bool,
}

/// What truly happened.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    sessions: BTreeMap<SessionId, Session>,
    /// How often the disk may have lost what was written.
    taken_back: u64,
    owners: BTreeMap<(SessionId, u64, u32), (ClientId, u64)>,
    streams: u64,
    gaps: BTreeSet<SessionId>,
}

impl Truth {
    pub(crate) fn created(&mut self, id: SessionId) {
        let number = self.sessions.len() as u64 + 1;
        self.sessions.insert(id, Session { number, runs: Vec::new(), removed: false });
    }

    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    pub(crate) fn number(&self, id: SessionId) -> u64 {
        self.sessions[&id].number
    }

    pub(crate) fn next_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    pub(crate) fn launched(&mut self, launch: &Launch) {
        let run = Run {
            incarnation: launch.incarnation,
            base: launch.output_base,
            head: launch.output_base,
            starts: 0,
            ended: None,
            ended_at: 0,
            applied: BTreeMap::new(),
            collected: false,
            hung_up: false,
        };
        self.sessions.get_mut(&launch.session).unwrap().runs.push(run);
    }

    fn run(&mut self, id: SessionId, incarnation: Incarnation) -> &mut Run {
        let runs = &mut self.sessions.get_mut(&id).unwrap().runs;
        runs.iter_mut().rfind(|run| run.incarnation == incarnation).unwrap()
    }

    pub(crate) fn started(&mut self, id: SessionId, incarnation: Incarnation) {
        self.run(id, incarnation).starts += 1;
        let runs = &self.sessions[&id].runs;
        let starts: u32 = runs.iter().filter(|run| run.incarnation == incarnation).map(|run| run.starts).sum();
        // Where the record of the start is taken back, by a power cut, nobody can know that there was one.
        assert!(starts == 1 || self.has_taken_back(), "a program is started once: {id:?}, {incarnation:?}");
    }

    pub(crate) fn ended(&mut self, id: SessionId, incarnation: Incarnation, status: u32, safe: bool) {
        let run = self.run(id, incarnation);
        run.ended = Some((status, safe));
        run.ended_at = run.head;
    }

    pub(crate) fn printed(&mut self, id: SessionId, incarnation: Incarnation, head: u64) {
        self.run(id, incarnation).head = head;
    }

    pub(crate) fn applied(&mut self, id: SessionId, incarnation: Incarnation, epoch: u32, bytes: &[u8]) {
        self.run(id, incarnation).applied.entry(epoch).or_default().extend(bytes);
    }

    pub(crate) fn collected(&mut self, id: SessionId, incarnation: Incarnation) {
        self.run(id, incarnation).collected = true;
    }

    pub(crate) fn hung_up(&mut self, id: SessionId, incarnation: Incarnation) {
        self.run(id, incarnation).hung_up = true;
    }

    /// What the holder of a program before the newest one may record of its end.
    pub(crate) fn exit_of_a_former(&self, id: SessionId, boot: BootId) -> Option<ExitRecord> {
        let (newest, formers) = self.sessions[&id].runs.split_last()?;
        let former = formers.iter().rfind(|run| run.incarnation < newest.incarnation)?;
        Some(ExitRecord {
            version: EXIT_RECORD_VERSION,
            session: id.to_bytes(),
            incarnation: former.incarnation.0,
            boot_id: boot,
            pid: 100,
            wait_status: former.ended.map_or(9, |(status, _)| status),
            exited_ms: 1,
            output_head: former.head,
        })
    }

    pub(crate) fn removed(&mut self, id: SessionId) {
        self.sessions.get_mut(&id).unwrap().removed = true;
    }

    /// The disk may have lost what was written and not synced.
    pub(crate) fn took_back(&mut self) {
        self.taken_back += 1;
    }

    pub(crate) fn has_taken_back(&self) -> bool {
        self.taken_back > 0
    }

    /// How much input of an epoch truly reached the program.
    pub(crate) fn applied_in(&self, id: SessionId, incarnation: u64, epoch: u32) -> u64 {
        let runs = self.sessions[&id].runs.iter().filter(|run| run.incarnation.0 == incarnation);
        runs.filter_map(|run| run.applied.get(&epoch)).map(|bytes| bytes.len() as u64).max().unwrap_or(0)
    }

    /// A stream was told that its client owns the session in this epoch, and that it types: no other one ever does.
    pub(crate) fn owner_is(&mut self, id: SessionId, incarnation: u64, epoch: u32, client: &ClientId, stream: u64) {
        let owner = self.owners.entry((id, incarnation, epoch)).or_insert_with(|| (client.clone(), stream));
        assert_eq!((&owner.0, owner.1), (client, stream), "one stream of one owner types in epoch {epoch} of {id:?}");
    }

    /// Output that was seen or recorded is what the program printed there.
    pub(crate) fn check_output(&self, id: SessionId, offset: u64, bytes: &[u8]) {
        let session = &self.sessions[&id];
        let fits = |run: &Run| {
            let end = offset + bytes.len() as u64;
            run.base <= offset
                && end <= run.head
                && (offset..)
                    .zip(bytes)
                    .all(|(at, seen)| *seen == byte(session.number, run.incarnation.0, at - run.base))
        };
        assert!(session.runs.iter().any(fits), "what is at {offset} of {id:?} was printed there");
    }

    /// Output that is said to be missing may be.
    pub(crate) fn check_hole(&self, id: SessionId, code: Code, offset: u64, lost: Option<u64>) {
        match code {
            Code::HolderLost | Code::HostRebooted => {}
            Code::JournalFailed | Code::JournalMissing => {
                assert!(
                    self.has_taken_back(),
                    "{lost:?} bytes at {offset} of {id:?} were acknowledged and are not there"
                );
            }
            other => panic!("output is missing for {other}"),
        }
    }

    /// What is said to be below the base may be: so much was printed.
    pub(crate) fn check_trimmed(&self, id: SessionId, base: u64) {
        let printed = self.sessions[&id].runs.iter().map(|run| run.head).max().unwrap_or(0);
        assert!(base <= printed, "what is kept of {id:?} begins at {base}, and {printed} were printed");
    }

    /// The sum over all that was printed below this offset, and of how many bytes.
    fn sum_below(&self, id: SessionId, offset: u64) -> Sum {
        let session = &self.sessions[&id];
        let mut sum = Sum::default();
        let ends = session.runs.iter().skip(1).map(|next| next.base).chain([u64::MAX]);
        for (run, end) in session.runs.iter().zip(ends) {
            for at in run.base..run.head.min(end).min(offset) {
                sum.add(at, byte(session.number, run.incarnation.0, at - run.base));
            }
        }
        sum
    }

    /// Output of so many bytes is missing in the log.
    pub(crate) fn has_gap(&mut self, id: SessionId) {
        self.gaps.insert(id);
    }

    pub(crate) fn lost_under_a_living_holder(&mut self, id: SessionId) {
        self.has_gap(id);
        assert!(self.has_taken_back(), "output of {id:?} was acknowledged before it was in the journal");
    }

    /// What reached programs is what owners sent, in its place, each byte once.
    pub(crate) fn check_input(&self, pasts: &[&Past]) {
        for (id, session) in &self.sessions {
            for run in &session.runs {
                for (epoch, applied) in &run.applied {
                    let key = (run.incarnation.0, *epoch);
                    let of = |past: &&&Past| past.session == *id;
                    for (at, byte) in (0..).zip(applied) {
                        let sent = |past: &&Past| past.sent.get(&key).and_then(|sent| sent.get(&at)) == Some(byte);
                        assert!(
                            pasts.iter().filter(of).any(sent),
                            "byte {at} of epoch {epoch} of {id:?} was sent by nobody, or elsewhere"
                        );
                    }
                    for past in pasts.iter().filter(of) {
                        let (Some(told), Some(sent)) = (past.told.get(&key), past.sent.get(&key)) else { continue };
                        for (at, byte) in sent.range(..told) {
                            let there = applied.get(usize::try_from(*at).unwrap());
                            assert_eq!(there, Some(byte), "byte {at} of epoch {epoch} of {id:?} is the one typed");
                        }
                    }
                }
            }
        }
    }
}

fn all(log: &Log) -> Vec<LogRecord> {
    let mut records = Vec::new();
    let mut next = log.info().unwrap().base.lsn;
    loop {
        let read = log.read(next, ReadLimit { bytes: 1 << 20, records: 1_000 }, Level::Written).unwrap();
        if read.records.is_empty() {
            return records;
        }
        next = read.next.lsn.unwrap_or_else(|| read.records.last().unwrap().lsn().next());
        records.extend(read.records);
    }
}

fn marked(event: &Event) -> Option<u8> {
    match event {
        Event::Started { .. } => Some(1),
        Event::Resized { .. } => Some(2),
        Event::OwnerChanged { .. } => Some(3),
        Event::Finalized { .. } => Some(4),
        Event::Restoring { .. } => Some(5),
        _ => None,
    }
}

/// The whole of it, once everything has come to rest and every session has ended.
pub(crate) fn check_end(machine: &Machine, daemon: &Daemon) {
    let events = events(&daemon.registry_log);
    check_order(&events, machine.truth.has_taken_back());
    for (id, entry) in &daemon.entries {
        let facts = entry.core.facts();
        assert_eq!(facts.state(), State::Finalized, "{id:?} has ended");
        assert!(entry.core.is_over(), "nothing is left to be done for {id:?}");
        let log = daemon.journal.log(&abide_terminal::store::session_log(*id)).unwrap();
        check_base(machine, *id, &log);
        let log = all(&log);
        let base = daemon.journal.log(&abide_terminal::store::session_log(*id)).unwrap().info().unwrap().base;
        check_marks(*id, &events, &log, base.lsn > Lsn::FIRST);
        let session = &machine.truth.sessions[id];
        check_log(machine, *id, session, &log, base.offset.0);
        check_exit(*id, session, facts.record(), machine.truth.has_taken_back());
        if facts.record().kill.is_some() && facts.record().exit.as_ref().is_some_and(|exit| exit.survivors.is_empty()) {
            let lost = matches!(facts.record().exit.as_ref().map(|exit| &exit.kind), Some(ExitKind::Lost(_)));
            // What a program before this one left is not this one's; and whoever has no terminal is not hung up with a holder
            // that listens to nothing else.
            let first = session.runs.len() == 1;
            let unheard = matches!(facts.record().exit.as_ref().map(|exit| &exit.kind), Some(ExitKind::Unreaped(_)));
            let left = machine.has_living(*id, !unheard);
            assert!(lost || !first || !left, "a process of {id:?} has outlived its kill");
        }
    }
    assert!(
        machine.holders.is_empty(),
        "a holder is left of {:?}",
        machine.holders.values().map(crate::holder::Holder::session).collect::<Vec<_>>()
    );
}

fn events(registry: &Log) -> BTreeMap<u64, Entry> {
    let mut events = BTreeMap::new();
    for record in all(registry) {
        if let Content::Data(bytes) = &record.content {
            events.insert(record.lsn().get(), serde_json::from_slice(bytes).unwrap());
        }
    }
    assert!(events.keys().copied().eq(Lsn::FIRST.get()..=events.len() as u64), "events are dense");
    events
}

/// Per incarnation the life of a session only moves on, and ends once.
fn check_order(events: &BTreeMap<u64, Entry>, taken_back: bool) {
    let mut stages: BTreeMap<SessionId, (u8, u64)> = BTreeMap::new();
    let mut epoch = 0;
    for (number, entry) in events {
        if let Event::Boot { daemon_epoch, .. } = &entry.event {
            assert!(daemon_epoch.0 > epoch, "an epoch follows a lower one");
            epoch = daemon_epoch.0;
        }
        let Some(id) = entry.session else { continue };
        let stage = match &entry.event {
            Event::Created(_) => 1,
            Event::Start { .. } => 2,
            Event::Started { .. } => 3,
            Event::Exited { .. } => 4,
            Event::Finalized { .. } => 5,
            Event::Restoring { .. } => {
                assert_eq!(stages.insert(id, (1, *number)).map(|(stage, _)| stage), Some(5), "{id:?} had ended");
                continue;
            }
            _ => continue,
        };
        let (before, _) = stages.insert(id, (stage, *number)).unwrap_or((0, 0));
        let taken_in = stage == 1 && taken_back;
        assert!(stage > before || taken_in, "event {number} of {id:?} steps from {before} to {stage}");
    }
}

/// What is kept of a log begins with a screen that shows all that was printed before.
fn check_base(machine: &Machine, id: SessionId, log: &Log) {
    let info = log.info().unwrap();
    if info.base.lsn == Lsn::FIRST {
        return;
    }
    let screen = log.open_checkpoint(info.base.last()).expect("the base rests on a screen");
    let shown = Sum::read(&screen).expect("a screen of this version");
    let printed = machine.truth.sum_below(id, info.base.offset.0);
    // Bytes that are missing are in no picture; which they were is not kept.
    let missing = machine.truth.gaps.contains(&id) && shown.bytes < info.base.offset.0;
    assert!(missing || shown == printed, "the screen at the base of {id:?} is true: {shown:?}, {printed:?}");
}

/// Each mark has its event, and each event its mark; of a log that was trimmed those behind its base.
fn check_marks(id: SessionId, events: &BTreeMap<u64, Entry>, log: &[LogRecord], trimmed: bool) {
    let mut found = BTreeSet::new();
    for record in log {
        let Content::Mark(payload) = &record.content else { continue };
        let mark = Mark::read(record.tag, payload).expect("a mark of this version");
        let Some(EventNumber(number)) = mark.event else {
            assert!(matches!(mark.kind, MarkKind::Hole { .. }), "a mark without an event");
            continue;
        };
        let entry = events.get(&number).unwrap_or_else(|| panic!("event {number} of {mark:?} in {id:?}"));
        assert_eq!((entry.session, marked(&entry.event)), (Some(id), Some(record.tag)), "event {number}");
        assert!(found.insert(number), "event {number} is marked once");
    }
    // A program that was taken in begins its session anew.
    for (number, entry) in events.iter().filter(|(_, entry)| entry.session == Some(id)) {
        let below = trimmed && found.first().is_none_or(|first| number < first);
        assert!(
            marked(&entry.event).is_none() || found.contains(number) || below,
            "event {number} of {id:?} has its mark"
        );
    }
}

/// The places of a session's log at which output is missing.
pub(crate) fn holes(daemon: &Daemon, id: SessionId) -> Vec<(u64, Option<u64>)> {
    let log = daemon.journal.log(&abide_terminal::store::session_log(id)).unwrap();
    let hole = |record: &LogRecord| match &record.content {
        Content::Mark(payload) => match Mark::read(record.tag, payload)?.kind {
            MarkKind::Hole { lost_bytes, .. } => Some((record.offset.0, lost_bytes)),
            _ => None,
        },
        _ => None,
    };
    all(&log).iter().filter_map(hole).collect()
}

/// The log has what the program printed, and names what it has not.
fn check_log(machine: &Machine, id: SessionId, session: &Session, log: &[LogRecord], base: u64) {
    let mut end = base;
    let mut holes = Vec::new();
    for record in log {
        assert_eq!(record.offset.0, end, "offsets are dense in {id:?}");
        match &record.content {
            Content::Data(bytes) => {
                machine.truth.check_output(id, end, bytes);
                end += bytes.len() as u64;
            }
            Content::Gap(bytes) => {
                let named = holes.last() == Some(&(end, Some(*bytes)));
                assert!(named, "a gap of {bytes} at {end} of {id:?} is named");
                end += bytes;
            }
            Content::Mark(payload) => {
                if let Some(Mark { kind: MarkKind::Hole { code, lost_bytes }, .. }) = Mark::read(record.tag, payload) {
                    machine.truth.check_hole(id, code.parse().unwrap(), end, lost_bytes);
                    holes.push((end, lost_bytes));
                }
            }
        }
    }
    if let [run] = &session.runs[..]
        && run.incarnation == Incarnation(1)
    {
        let named = holes.contains(&(end, None));
        assert!(!(run.collected && named), "{id:?} was collected with all of its output, and said to have lost some");
    }
    for (place, run) in session.runs.iter().enumerate() {
        let behind = session.runs.get(place + 1).map_or(end, |next| next.base);
        let named = holes.iter().any(|(at, lost)| lost.is_none() && (run.base..=run.head).contains(at));
        // What named it stands below the base, or at it.
        let trimmed = base > 0 && behind <= base;
        // What others print in the terminal behind the program's end is in no exit record: nobody knows of it once the holder
        // is dead. What a power cut or a failed sync takes may be the mark that named a loss. Of a holder that is hung up
        // nobody waits for more.
        assert!(
            behind >= run.head
                || trimmed
                || (behind >= run.ended_at && matches!(run.ended, Some((_, true))))
                || named
                || machine.truth.has_taken_back()
                || run.hung_up,
            "{id:?} printed up to {} and has {behind}, which nothing names: {run:?}",
            run.head
        );
    }
}

/// A program that ended by itself ended as it is told.
fn check_exit(id: SessionId, session: &Session, record: &abide_terminal::Record, taken_back: bool) {
    let Some(exit) = &record.exit else { panic!("{id:?} has an end") };
    // Of two holders of one incarnation one starts its program.
    let runs = || session.runs.iter().filter(|run| run.incarnation == record.incarnation);
    let Some(run) = runs().find(|run| run.starts > 0).or_else(|| runs().next_back()) else { return };
    match (&exit.kind, run.ended) {
        (ExitKind::Code(code), Some((status, _))) => assert_eq!(u32::from(*code), status >> 8, "{id:?}"),
        (ExitKind::Signal(_), Some((status, _))) => assert_eq!(status >> 8, 0, "{id:?} ended by a signal"),
        (ExitKind::Code(_) | ExitKind::Signal(_), None) => panic!("{id:?} has not ended by itself"),
        // Of a holder that says nothing in time nobody waits to hear more.
        (ExitKind::Lost(code), Some((_, true))) if !run.hung_up && code != "HOLDER_UNRESPONSIVE" => {
            panic!("{id:?} ended in a way that is known, and is told as {code} (taken back: {taken_back})")
        }
        _ => {}
    }
}
