//! A start: what is found of the sessions of the daemon before, and what is made of it. And what becomes of a session
//! whose holder dies under this daemon.

use std::collections::{BTreeMap, BTreeSet};

use abide_journal::{AppendOptions, Appended, Error as JournalError, Log, Ticket};
use abide_terminal::kill::Signal;
use abide_terminal::procs::{self, ProcessId};
use abide_terminal::recover::{
    self, Decision, ExitFile, ExitSource, HolderEffect, Missing, Orphans, Outcome, Probe, SessionEffect,
};
use abide_terminal::session::{Gone, HolderInput, Input, Session};
use abide_terminal::store::{self, Facts};
use abide_terminal::{ByteOffset, SessionId, State};
use abide_wire::Code;

use super::{Daemon, Entry, Msg, Task};
use crate::disk::poll;
use crate::machine::{DAEMON_PID, Machine};

const PROBE_AGAIN_MS: u64 = 5_000;
/// Which signal is sent how many milliseconds after the loss to what a dead holder left.
const LEFT: [(u64, Signal); 4] = [(0, Signal::HUP), (500, Signal::KILL), (700, Signal::KILL), (900, Signal::KILL)];

/// A session without a holder ends: first what is missing is named.
pub(super) struct Lost {
    id: SessionId,
    named: Option<Vec<(Log, abide_journal::Entry)>>,
    ticket: Option<Ticket<Vec<Appended>>>,
    status: Option<u32>,
    rebooted: bool,
}

/// What follows when those that a dead holder left are gone.
pub(super) enum AfterLeft {
    /// The loss is recorded.
    Decided,
    /// The session is told that its holder is gone.
    Gone { head: ByteOffset, status: Option<u32> },
    /// What is missing is named.
    Lost(Lost),
}

struct Around {
    exit: Option<(u32, ByteOffset)>,
    left: Vec<ProcessId>,
}

impl Daemon {
    pub(super) fn recover(&mut self, machine: &mut Machine, mut probes: BTreeMap<SessionId, Probe>) {
        machine.lock_is(self.epoch);
        for info in self.journal.logs() {
            let buried = |id| self.tombstones.iter().any(|tombstone| tombstone.id == id);
            if store::session_of_log(&info.name).is_some_and(buried)
                && let Ok(log) = self.journal.log(&info.name)
            {
                drop(log.drop_log());
            }
        }
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        for id in ids {
            if let Ok(log) = self.journal.log(&store::session_log(id))
                && let Some(entry) = self.entries.get_mut(&id)
            {
                entry.log = Some(log);
            }
            let facts = self.entries[&id].core.facts();
            if let Some(owner) = facts.record().owner.clone() {
                self.feed(machine, id, Input::ClientGone(owner));
            }
            let probe = probes.remove(&id).unwrap_or(Probe::None);
            let finalized = self.entries.get(&id).is_some_and(|entry| entry.core.facts().state() == State::Finalized);
            if !finalized || probe != Probe::None {
                self.decide(machine, id, probe);
            }
        }
        for (id, probe) in probes {
            if probe == Probe::None {
                machine.sockets.remove(&id);
            }
            self.decide(machine, id, probe);
        }
        self.sweep(machine);
    }

    fn sweep(&self, machine: &mut Machine) {
        machine.exits.retain(|(id, incarnation), _| {
            self.entries.get(id).is_some_and(|entry| {
                let facts = entry.core.facts();
                facts.state() != State::Finalized && facts.record().incarnation == *incarnation
            })
        });
    }

    pub(super) fn decide(&mut self, machine: &mut Machine, id: SessionId, probe: Probe) {
        if probe == Probe::None && self.entries.get(&id).is_some_and(|entry| entry.core.is_finalizing()) {
            let gone = Gone { status: None, rebooted: false, errno: 0 };
            return self.feed(machine, id, Input::Holder(HolderInput::Gone(gone)));
        }
        let facts = self.entries.get(&id).map(|entry| entry.core.facts().clone());
        let log_end = self.entries.get(&id).map_or(ByteOffset(0), Entry::end);
        let boot = self.boot;
        let session = facts.as_ref().map(|facts| recover::Session::of(facts, boot, log_end));
        let looked_for =
            facts.as_ref().zip(session.as_ref()).filter(|(_, session)| !recover::is_served(boot, session, &probe));
        let around = looked_for.map(|(facts, session)| around(machine, facts, session.boot == boot));
        let decision = recover::decide(&recover::Facts {
            boot,
            session,
            probe,
            exit_file: around.as_ref().and_then(|around| around.exit).map(|(_, output_head)| ExitFile { output_head }),
            processes_left: around.as_ref().is_some_and(|around| !around.left.is_empty()),
            orphans: Orphans::Adopt,
        });
        machine.tell(|| format!("{id:?}: {probe:?} -> {decision:?}"));
        if let Some(outcome) = decision.outcome {
            machine.tally.count(outcome.as_str());
        }
        self.act(machine, id, probe, &decision, around);
    }

    fn act(&mut self, machine: &mut Machine, id: SessionId, probe: Probe, decision: &Decision, around: Option<Around>) {
        match decision.holder {
            HolderEffect::Hangup => Self::hang_up(machine, id),
            HolderEffect::LeaveAlone if decision.outcome == Some(Outcome::Pending) => {
                self.feed(machine, id, Input::OutOfReach);
                self.tasks.push_back(Task::ProbeAgain(id, machine.clock.tick_ms() + PROBE_AGAIN_MS));
            }
            _ => {}
        }
        if let (SessionEffect::TakeIn, Probe::Pong(pong)) = (decision.session, probe) {
            self.take_in(machine, id, &pong);
        }
        let open = self.entries.get(&id).is_some_and(|entry| entry.core.facts().state() != State::Finalized);
        if let Some(outcome) = decision.outcome.filter(|outcome| open && *outcome != Outcome::Pending) {
            self.feed(machine, id, Input::Recovered(outcome.as_str(), decision.code.map(Code::as_str)));
        }
        if !self.lives() {
            return;
        }
        match decision.session {
            SessionEffect::None | SessionEffect::TakeIn => {}
            SessionEffect::GoOn => self.adopt(machine, id),
            SessionEffect::Launch => self.create_log(machine, id),
            SessionEffect::End { exit, missing } => self.end_lost(machine, id, Some(exit), missing, around.as_ref()),
            SessionEffect::Finalize { missing } => self.end_lost(machine, id, None, missing, around.as_ref()),
            SessionEffect::KillLeft => {
                let left = around.map(|around| around.left).unwrap_or_default();
                self.tasks.push_back(Task::EndLeft(id, left, 0, machine.clock.tick_ms(), AfterLeft::Decided));
            }
        }
    }

    /// A program of which nothing is recorded, or only an earlier one of its session.
    fn take_in(&mut self, machine: &mut Machine, id: SessionId, pong: &recover::Pong) {
        let former = self.entries.remove(&id);
        let known = former.as_ref().map(|entry| entry.core.facts().created.clone());
        let now = machine.now().wall_ms;
        let mut created = known.unwrap_or_else(|| super::serve::nameless(id, now));
        created.boot_id = self.boot.to_string();
        let record = &mut created.record;
        record.incarnation = pong.incarnation;
        record.state = State::Starting;
        (record.pid, record.started_at, record.exited_at) = (None, None, None);
        (record.exit, record.kill, record.owner) = (None, None, None);
        let mut entry = Entry::new(Session::new(Facts::new(created), self.limits));
        if let Some(mut former) = former {
            entry.log = former.log.take();
            for (_, viewer) in former.viewers {
                viewer.detach(machine, abide_terminal::protocol::Detached::new(Code::SessionExited));
            }
        }
        let mut out = Vec::new();
        entry.core.take_in(&mut out);
        self.entries.insert(id, entry);
        for output in out {
            self.carry_out(machine, id, output);
        }
    }

    fn end_lost(
        &mut self,
        machine: &mut Machine,
        id: SessionId,
        exit: Option<ExitSource>,
        missing: Missing,
        around: Option<&Around>,
    ) {
        let Some(entry) = self.entries.get(&id) else { return };
        let rebooted = entry.core.facts().created.boot_id != self.boot.to_string();
        let status = match exit {
            Some(ExitSource::File) => around.and_then(|around| around.exit).map(|(status, _)| status),
            _ => None,
        };
        let code = if rebooted { Code::HostRebooted } else { Code::HolderLost };
        let named = entry.log.as_ref().and_then(|log| missing.named(log, code));
        if let Missing::Bytes(_) = missing {
            machine.truth.has_gap(id);
        }
        if named.is_some() {
            machine.tally.count("missing output was named");
        }
        let killed = recover::left_ends(entry.core.facts(), status.is_some());
        let left = around.map(|around| around.left.clone()).filter(|_| killed).unwrap_or_default();
        let lost = AfterLeft::Lost(Lost { id, named, ticket: None, status, rebooted });
        self.tasks.push_back(Task::EndLeft(id, left, 0, machine.clock.tick_ms(), lost));
    }

    pub(super) fn end_lost_step(&mut self, mut lost: Lost) -> bool {
        if let Some(named) = &lost.named {
            let Some(ticket) = &mut lost.ticket else {
                if self.full {
                    self.tasks.push_back(Task::EndLost(lost));
                    return false;
                }
                lost.ticket = Some(self.journal.append_batch(named.clone(), AppendOptions::default()));
                self.tasks.push_back(Task::EndLost(lost));
                return true;
            };
            match poll(ticket) {
                None => {
                    self.tasks.push_back(Task::EndLost(lost));
                    return false;
                }
                Some(Err(JournalError::Full)) => {
                    lost.ticket = None;
                    self.tasks.push_back(Task::EndLost(lost));
                    return false;
                }
                Some(_) => {}
            }
        }
        let head = self.entries.get(&lost.id).map_or(ByteOffset(0), Entry::end);
        let gone = Gone { status: lost.status, rebooted: lost.rebooted, errno: 0 };
        self.tell(lost.id, Input::Drained { head, end: false });
        self.tell(lost.id, Input::Holder(HolderInput::Gone(gone)));
        true
    }

    /// The holder died under this daemon, which has taken all that it held: what it left of the program ends too.
    pub(super) fn holder_lost(&mut self, machine: &mut Machine, id: SessionId, head: ByteOffset) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.link = None;
        let facts = entry.core.facts().clone();
        let around = around(machine, &facts, true);
        let ends = recover::left_ends(&facts, around.exit.is_some());
        let left = if ends { around.left } else { Vec::new() };
        let then = AfterLeft::Gone { head, status: around.exit.map(|(status, _)| status) };
        self.tasks.push_back(Task::EndLeft(id, left, 0, machine.clock.tick_ms(), then));
    }

    pub(super) fn not_adopted(&mut self, machine: &mut Machine, id: SessionId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let facts = entry.core.facts();
        let accepted = facts.state() == State::Starting && !facts.start_recorded;
        if accepted || facts.state() == State::Finalized {
            let gone = Gone { status: None, rebooted: false, errno: 0 };
            self.feed(machine, id, Input::Holder(HolderInput::Gone(gone)));
        } else {
            machine.tally.count("a holder died before it was adopted");
            self.decide(machine, id, Probe::None);
        }
    }

    pub(super) fn end_left_step(
        &mut self,
        machine: &mut Machine,
        id: SessionId,
        left: Vec<ProcessId>,
        step: usize,
        at: u64,
        then: AfterLeft,
    ) -> bool {
        if at > machine.clock.tick_ms() {
            self.tasks.push_back(Task::EndLeft(id, left, step, at, then));
            return false;
        }
        let (since, signal) = LEFT[step];
        let there: Vec<ProcessId> = left.iter().copied().filter(|process| machine.lives(*process)).collect();
        for process in &there {
            if machine.signal(*process, signal.number()) {
                machine.end(*process);
                machine.reap(*process);
            }
        }
        if !there.is_empty()
            && let Some((next, _)) = LEFT.get(step + 1)
        {
            self.tasks.push_back(Task::EndLeft(id, left, step + 1, at + next - since, then));
            return true;
        }
        match then {
            AfterLeft::Decided => self.messages.push_back(Msg::LeftEnded(id)),
            AfterLeft::Lost(lost) => self.tasks.push_back(Task::EndLost(lost)),
            AfterLeft::Gone { head, status } => {
                self.tell(id, Input::Drained { head, end: false });
                self.tell(id, Input::Holder(HolderInput::Gone(Gone { status, rebooted: false, errno: 0 })));
            }
        }
        true
    }

    pub(super) fn left_ended(&mut self, machine: &mut Machine, id: SessionId) {
        self.end_lost(machine, id, Some(ExitSource::Loss), Missing::Unknown, None);
    }
}

fn around(machine: &Machine, facts: &Facts, same_boot: bool) -> Around {
    let record = facts.record();
    let exit = machine.exits.get(&(record.id, record.incarnation));
    let exit = exit.map(|exit| (exit.wait_status, ByteOffset(exit.output_head)));
    if !same_boot {
        return Around { exit, left: Vec::new() };
    }
    let leader = record.pid.map(|pid| ProcessId { pid, start_time: facts.leader_start });
    let (marked, holders) = (machine.marked(record.id).collect(), machine.holder_pids());
    let guarded = procs::Guarded { daemon: DAEMON_PID, holders: &holders, uid: 1_000 };
    let evidence = procs::Evidence { in_cgroup: &BTreeSet::new(), marked: &marked };
    let left = procs::left_behind(&machine.table(), leader, &guarded, &evidence);
    Around { exit, left: left.iter().map(|process| process.id).collect() }
}
