//! One adopted holder: its connection, its ring, and the way of its output into the log.

use abide_holder::frames::{FromHolder, ToHolder};
use abide_holder::{Consumer, Copied, ReadError};
use abide_journal::{AppendOptions, Appended, Entry as LogEntry, Error as JournalError, Log, Ticket};
use abide_terminal::intake::{Begin, Flow, Intake};
use abide_terminal::recover::Probe;
use abide_terminal::session::{HolderInput, Input};
use abide_terminal::{ByteOffset, SessionId};
use std::task::{Context, Poll, Waker};

use super::{Daemon, Msg, is_fatal};
use crate::disk::poll;
use crate::machine::{Handed, Machine};
use crate::mutant::Mutant;
use crate::network::{End, Read, WireId};

/// How long a holder may take to answer, and after what time it is asked again.
const ANSWER_MS: u64 = 2_000;
const AGAIN_MS: u64 = 5_000;
/// A process that is just ending may still have its socket for a moment.
const ENDING_MS: u64 = 50;

enum Stage {
    /// To be connected to then.
    Connect(u64),
    /// It was asked to be this daemon's.
    Asked {
        until: u64,
    },
    /// Output that the journal lost is being named.
    Naming(Vec<(Log, LogEntry)>, Option<Ticket<Vec<Appended>>>),
    Serving,
    /// It has died: what lies in its memory is taken still.
    Rest,
    /// Whether it has is what its socket says, which is looked at then.
    AwaitNone {
        at: u64,
    },
    Done,
}

pub(super) struct Pump {
    log: Log,
    stage: Stage,
    wire: Option<WireId>,
    inbox: Vec<u8>,
    handed: Option<Handed>,
    intake: Option<Intake>,
    flow: Flow,
    ended: bool,
}

/// The journal or the ring ends it.
enum Stopped {
    Stale(u64),
    Broken,
    Journal,
}

impl Pump {
    pub(super) fn new(log: Log, now: u64) -> Self {
        Self {
            log,
            stage: Stage::Connect(now),
            wire: None,
            inbox: Vec::new(),
            handed: None,
            intake: None,
            flow: Flow::Waits,
            ended: false,
        }
    }

    pub(super) fn ring(&self) -> Option<&Consumer> {
        self.handed.as_ref().map(|handed| &handed.ring)
    }

    pub(super) fn go(&mut self) {
        self.flow = self.flow.of_rest();
    }

    /// The session ended without what it has.
    pub(super) fn end(&mut self) {
        self.flow = Flow::Ended;
    }

    pub(super) fn space(&mut self) {
        if let Some(intake) = &mut self.intake {
            intake.space();
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        match self.stage {
            Stage::Connect(at) | Stage::Asked { until: at } | Stage::AwaitNone { at } => Some(at),
            _ => None,
        }
    }

    pub(super) fn close(&self, machine: &mut Machine) {
        if let Some(wire) = self.wire {
            machine.net.close(wire, End::Client);
        }
    }

    fn connect(&mut self, machine: &mut Machine, session: SessionId, epoch: u64) -> bool {
        let now = machine.clock.tick_ms();
        let Some(wire) = machine.dial_holder(session) else { return false };
        let mut bytes = Vec::new();
        ToHolder::Ping.encode(&mut bytes);
        let adopt =
            ToHolder::Adopt { daemon_epoch: epoch, session: session.to_bytes(), version: abide_holder::VERSION };
        adopt.encode(&mut bytes);
        machine.net.write(wire, End::Client, &bytes);
        self.inbox.clear();
        self.wire = Some(wire);
        self.stage = Stage::Asked { until: now + ANSWER_MS };
        true
    }

    /// The next frame that is there.
    fn frame(&mut self, machine: &mut Machine) -> Result<Option<FromHolder>, ()> {
        let wire = self.wire.ok_or(())?;
        let now = machine.clock.tick_ms();
        loop {
            if let Some((frame, length)) = FromHolder::decode(&self.inbox).map_err(|_| ())? {
                self.inbox.drain(..length);
                return Ok(Some(frame));
            }
            match machine.net.read(wire, End::Client, now, 8_192, &mut machine.rng) {
                Read::Nothing => return Ok(None),
                Read::End => return Err(()),
                Read::Bytes(bytes) => {
                    machine.leave_trace(&bytes);
                    self.inbox.extend(bytes);
                }
            }
        }
    }

    /// Takes what is there and appends it. Whether there was anything.
    fn take(&mut self, machine: &mut Machine) -> Result<bool, Stopped> {
        let (Some(intake), Some(handed)) = (&mut self.intake, &mut self.handed) else { return Ok(false) };
        let waiting = intake.waiting(handed.ring.mark().head);
        if self.flow != Flow::Goes || !intake.may_take(waiting) {
            return Ok(false);
        }
        let bytes =
            intake.gather(waiting, |from, max, out| read(handed, from, max, out)).map_err(|error| match error {
                ReadError::Stale(epoch) => Stopped::Stale(epoch),
                ReadError::Broken { .. } => Stopped::Broken,
            })?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let taken = intake.next() + bytes.len() as u64;
        let durability = machine.limits.output_durability;
        let appended = intake.append(bytes, durability).map_err(|_| Stopped::Journal)?;
        if appended && machine.is(Mutant::AckBeforeAppend) {
            let _wake = handed.ring.ack(taken);
        }
        Ok(appended)
    }

    /// Takes the answer to the oldest append, and acknowledges what it wrote.
    fn take_answer(&mut self, machine: &mut Machine) -> Result<bool, Stopped> {
        let (Some(intake), Some(handed)) = (&mut self.intake, &mut self.handed) else { return Ok(false) };
        let Poll::Ready(answered) = intake.poll_answer(&mut Context::from_waker(Waker::noop())) else {
            return Ok(false);
        };
        match intake.answered(answered) {
            Ok(Some(end)) => {
                machine.tally.count("output entries");
                if end >= handed.ring.acked() {
                    let _wake = handed.ring.ack(end);
                }
            }
            Ok(None) => machine.tally.count("output was refused for want of room"),
            Err(error) if is_fatal(&error) => return Err(Stopped::Journal),
            Err(error) => panic!("output was refused by the journal: {error}"),
        }
        Ok(true)
    }
}

/// Spill first, then ring.
fn read(handed: &mut Handed, from: u64, max: usize, out: &mut Vec<u8>) -> Result<usize, ReadError> {
    match handed.ring.copy_out(from, max, out)? {
        Copied::Bytes(bytes) => Ok(bytes),
        Copied::Nothing => Ok(0),
        Copied::Spilled { start, end } => {
            let broken = ReadError::Broken { head: end, valid: start, from };
            let spill = handed.spill.as_ref().ok_or(broken)?.borrow();
            let at = usize::try_from(from.checked_sub(start).ok_or(broken)?).unwrap();
            let bytes = usize::try_from(end - from).unwrap().min(max);
            let found = spill.get(at..at + bytes).ok_or(broken)?.to_vec();
            handed.ring.check_current()?;
            out.extend(found);
            Ok(bytes)
        }
    }
}

impl Daemon {
    /// A step of one of the pumps.
    pub(super) fn pump_some(&mut self, machine: &mut Machine) -> bool {
        let ids: Vec<SessionId> =
            self.entries.iter().filter(|(_, entry)| entry.pump.is_some()).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return false;
        }
        let id = ids[machine.rng.index(ids.len())];
        self.pump_step(machine, id)
    }

    pub(super) fn pump_step(&mut self, machine: &mut Machine, id: SessionId) -> bool {
        let Some(mut pump) = self.entries.get_mut(&id).and_then(|entry| entry.pump.take()) else { return false };
        let moved = self.pump_on(machine, id, &mut pump);
        if matches!(pump.stage, Stage::Done) {
            pump.close(machine);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            // What lies in its memory can still be asked for, until the session is told that it is gone.
            entry.pump = Some(pump);
        } else {
            pump.close(machine);
        }
        moved
    }

    fn pump_on(&mut self, machine: &mut Machine, id: SessionId, pump: &mut Pump) -> bool {
        let now = machine.clock.tick_ms();
        match &mut pump.stage {
            Stage::Connect(at) if *at > now => false,
            Stage::Connect(_) => {
                let epoch = self.epoch.0;
                if !pump.connect(machine, id, epoch) {
                    self.try_again(machine, id, pump);
                }
                true
            }
            Stage::Asked { until } => {
                let late = *until <= now;
                match pump.frame(machine) {
                    Ok(Some(FromHolder::Adopted(header))) => {
                        self.adopted(machine, id, pump, &header);
                        true
                    }
                    Ok(Some(FromHolder::Refused { daemon_epoch })) => {
                        self.messages.push_back(Msg::Stale(id, daemon_epoch));
                        pump.stage = Stage::Done;
                        true
                    }
                    Ok(Some(_)) => true,
                    Ok(None) if late => {
                        self.try_again(machine, id, pump);
                        true
                    }
                    Ok(None) => false,
                    Err(()) => {
                        self.try_again(machine, id, pump);
                        true
                    }
                }
            }
            Stage::Naming(entries, ticket) => {
                let Some(waiting) = ticket else {
                    if self.full {
                        return false;
                    }
                    *ticket = Some(self.journal.append_batch(entries.clone(), AppendOptions::default()));
                    return true;
                };
                match poll(waiting) {
                    None => return false,
                    Some(Ok(_)) => {
                        machine.tally.count("lost output was named");
                        pump.stage = Stage::Serving;
                    }
                    Some(Err(JournalError::Full)) => *ticket = None,
                    Some(Err(_)) => {
                        self.messages.push_back(Msg::Poisoned);
                        pump.stage = Stage::Done;
                    }
                }
                true
            }
            Stage::Serving => self.serve_holder(machine, id, pump),
            Stage::Rest => self.take_rest(machine, id, pump),
            Stage::AwaitNone { at } => {
                if *at > now {
                    return false;
                }
                if machine.probe(id) == Probe::None {
                    let head = pump.intake.as_ref().map_or(0, Intake::next);
                    self.messages.push_back(Msg::HolderLost(id, ByteOffset(head)));
                    pump.stage = Stage::Done;
                } else {
                    machine.tally.count("a holder closed its connection and lived on");
                    pump.stage = Stage::AwaitNone { at: now + AGAIN_MS };
                }
                true
            }
            Stage::Done => false,
        }
    }

    /// It cannot be adopted now: one that is there and says nothing is not lost.
    fn try_again(&mut self, machine: &mut Machine, id: SessionId, pump: &mut Pump) {
        pump.close(machine);
        pump.wire = None;
        if machine.probe(id) == Probe::None {
            self.messages.push_back(Msg::NotAdopted(id));
            pump.stage = Stage::Done;
        } else {
            machine.tally.count("a holder was not adopted at once");
            pump.stage = Stage::Connect(machine.clock.tick_ms() + AGAIN_MS);
        }
    }

    fn adopted(&mut self, machine: &mut Machine, id: SessionId, pump: &mut Pump, header: &abide_holder::Header) {
        let wire = pump.wire.unwrap();
        let handed = machine.handed.remove(&wire).expect("descriptors come with the frame");
        let (intake, begin) = Intake::begin(pump.log.clone(), handed.ring.acked(), handed.ring.mark().head);
        pump.handed = Some(handed);
        pump.intake = Some(intake);
        self.messages.push_back(Msg::Adopted(id, wire));
        for input in HolderInput::adopted(header) {
            self.tell(id, Input::Holder(input));
        }
        pump.stage = match begin {
            Begin::Acknowledge(to) => {
                let _wake = pump.handed.as_mut().unwrap().ring.ack(to);
                Stage::Serving
            }
            Begin::Name(entries) => {
                machine.truth.lost_under_a_living_holder(id);
                Stage::Naming(entries, None)
            }
        };
    }

    fn serve_holder(&mut self, machine: &mut Machine, id: SessionId, pump: &mut Pump) -> bool {
        let moved = match machine.rng.below(3) {
            0 => pump.take(machine),
            1 => pump.take_answer(machine),
            _ => match pump.frame(machine) {
                Ok(Some(frame)) => {
                    if let Some(input) = HolderInput::heard(&frame) {
                        self.tell(id, Input::Holder(input));
                    }
                    Ok(true)
                }
                Ok(None) => Ok(false),
                Err(()) => {
                    if let Some(Err(ReadError::Stale(epoch))) = pump.ring().map(Consumer::check_current) {
                        Err(Stopped::Stale(epoch))
                    } else {
                        pump.flow = pump.flow.of_rest();
                        pump.stage = Stage::Rest;
                        Ok(true)
                    }
                }
            },
        };
        self.tell_end(pump, id);
        self.stopped(id, pump, moved)
    }

    fn stopped(&mut self, id: SessionId, pump: &mut Pump, moved: Result<bool, Stopped>) -> bool {
        match moved {
            Ok(moved) => return moved,
            Err(Stopped::Stale(epoch)) => self.messages.push_back(Msg::Stale(id, epoch)),
            Err(Stopped::Journal) => self.messages.push_back(Msg::Poisoned),
            Err(Stopped::Broken) => panic!("a holder does not keep to the ring's rules"),
        }
        pump.stage = Stage::Done;
        true
    }

    /// Says once that all output is journalled, when the terminal has ended and it is.
    fn tell_end(&mut self, pump: &mut Pump, id: SessionId) {
        let (Some(intake), Some(ring)) = (&pump.intake, pump.ring()) else { return };
        if !pump.ended && intake.has_all(ring.mark().eof_offset) {
            let head = ByteOffset(intake.next());
            pump.ended = true;
            self.tell(id, Input::Drained { head, end: true });
        }
    }

    fn take_rest(&mut self, machine: &mut Machine, id: SessionId, pump: &mut Pump) -> bool {
        let moved = match pump.take(machine) {
            Ok(false) => pump.take_answer(machine),
            other => other,
        };
        let emptied = match (&pump.intake, pump.ring()) {
            (Some(intake), Some(ring)) => {
                (intake.waiting(ring.mark().head) == 0 || pump.flow == Flow::Ended) && intake.is_idle()
            }
            _ => true,
        };
        if matches!(moved, Ok(false)) && emptied {
            machine.tally.count("the rest of a dead holder was taken");
            pump.stage = Stage::AwaitNone { at: machine.clock.tick_ms() + machine.rng.below(2) * ENDING_MS };
            return true;
        }
        self.stopped(id, pump, moved)
    }
}
