//! A kill under way: which signals are due when, to whom, and when it ends.

use super::core::{Holder, Session};
use super::io::{Asker, Frame, Now, Output, Reply, Target};
use super::life::exit_of;
use super::transition::{Then, reply};
use crate::ids::ClientId;
use crate::kill::{Plan, Signal, Step};
use crate::procs::{Process, ProcessId};
use crate::protocol::WireError;
use crate::record::{Exit, ExitKind, State, Survivor};
use crate::store::{Event, KillFacts};

/// How often the processes that outlive the program are looked for, in milliseconds.
const LOOK_AGAIN_MS: u64 = 100;

/// A look at the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    None,
    /// It was asked for.
    Asked,
    /// What it finds is old already: another one follows.
    Stale,
}

/// The plan of one kill, and how far it has come.
#[derive(Debug)]
pub(super) struct KillRun {
    plan: Plan,
    /// What the processes get that are being looked for.
    signal: Option<Signal>,
    search: Search,
    /// When to look again whether any process is left, after the program has ended.
    look_at: Option<u64>,
    survivors: Vec<Survivor>,
}

impl KillRun {
    /// When the next step is due.
    fn due(&self) -> Option<u64> {
        [self.plan.due_ms(), self.look_at].into_iter().flatten().min()
    }
}

impl Session {
    pub(super) fn ask_kill(
        &mut self,
        now: Now,
        asker: Option<Asker>,
        client: &ClientId,
        (grace_ms, force, signal): (u64, bool, Option<u8>),
        out: &mut Vec<Output>,
    ) -> Result<(), WireError> {
        if self.facts.state() < State::Exited {
            self.must_own(client)?;
        }
        self.kill_by(now, asker, Some(client), (grace_ms, force, signal), out);
        Ok(())
    }

    /// A kill by a client, or by the daemon itself (`None`).
    pub(super) fn kill_by(
        &mut self,
        now: Now,
        asker: Option<Asker>,
        by: Option<&ClientId>,
        (grace_ms, force, signal): (u64, bool, Option<u8>),
        out: &mut Vec<Output>,
    ) {
        let state = self.facts.state();
        let grace_ms = if force { 0 } else { grace_ms };
        match state {
            // It was carried out already, or is too late; only the record waits for room.
            _ if self.owes("kill") || self.owes("exited") => {
                let full = WireError::journal_full().with("signalled", true);
                reply(asker, Reply::Error(full), out);
                if force {
                    self.force_kill(now, out);
                }
            }
            State::Starting if !self.facts.start_recorded => {
                self.exit(ExitKind::NeverStarted(true), Then::Killed(asker), out);
            }
            State::Starting | State::Running if self.facts.kill.is_none() => {
                let event = Event::Kill {
                    deadline_at: now.wall_ms + grace_ms,
                    t0_boot_ms: now.boot_ms,
                    grace_ms,
                    signal,
                    by: by.cloned(),
                };
                self.propose(event, None, Then::Killed(asker), out);
            }
            State::Starting | State::Running | State::Terminating => {
                reply(asker, self.kill_reply(true), out);
                if force {
                    self.force_kill(now, out);
                }
            }
            State::Exited | State::Finalized => {
                reply(asker, self.kill_reply(true), out);
            }
        }
    }

    pub(super) fn kill_reply(&self, already: bool) -> Reply {
        let record = self.facts.record();
        let (kill_id, deadline_at) = match &record.kill {
            Some(kill) => (kill.kill_id.clone(), kill.deadline_at),
            None => (record.id.to_string(), record.exited_at.unwrap_or(0)),
        };
        Reply::Kill { kill_id, deadline_at, already }
    }

    /// A kill was accepted: its deadline runs, and its signals go out as soon as there is a program.
    pub(super) fn kill_begins(&mut self, now: Now, kill: KillFacts, out: &mut Vec<Output>) {
        if self.kill.is_none() && !self.owes("exited") {
            let first = kill.signal.and_then(Signal::from_number).unwrap_or(Signal::HUP);
            let plan = Plan::new(kill.t0_boot_ms, kill.grace_ms, first);
            self.kill =
                Some(KillRun { plan, signal: None, search: Search::None, look_at: None, survivors: Vec::new() });
        }
        self.kill_due(now, out);
    }

    /// Brings the deadline of the kill under way to now.
    fn force_kill(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Some(run) = &mut self.kill {
            run.plan.force(now.boot_ms);
        }
        self.kill_due(now, out);
    }

    /// The kill under way, if there is a program that it can act on: it may be under way before that is recorded.
    fn kill_under_way(&mut self) -> Option<&mut KillRun> {
        let runs = matches!(self.facts.state(), State::Running | State::Terminating);
        self.kill.as_mut().filter(|_| runs)
    }

    /// When its next step is due.
    pub(super) fn kill_due_at(&self) -> Option<u64> {
        let runs = matches!(self.facts.state(), State::Running | State::Terminating);
        self.kill.as_ref().filter(|_| runs).and_then(KillRun::due)
    }

    /// Does what is due.
    pub(super) fn kill_due(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(run) = self.kill_under_way() else { return };
        if run.look_at.is_some_and(|at| at <= now.boot_ms) {
            run.look_at = None;
            self.find_processes(out);
        }
        while let Some(step) = self.kill_under_way().and_then(|run| run.plan.take(now.boot_ms)) {
            match step {
                Step::Ask(signal) => self.signal_groups(signal, out),
                Step::Terminate => self.signal_all(Signal::TERM, out),
                Step::Kill { round } => {
                    // Whom no frame reaches is hung up: any version of a holder understands that.
                    if round == 0 && self.holder != Holder::Adopted {
                        out.push(Output::HangUp);
                    }
                    self.signal_all(Signal::KILL, out);
                }
                Step::GiveUp => self.give_up(out),
            }
        }
    }

    fn signal_all(&mut self, signal: Signal, out: &mut Vec<Output>) {
        self.signal_groups(signal, out);
        if let Some(run) = &mut self.kill {
            run.signal = Some(signal);
        }
        self.find_processes(out);
    }

    /// Signals the foreground group and the program's own; once it is reaped, its numbers are nobody's.
    fn signal_groups(&mut self, signal: Signal, out: &mut Vec<Output>) {
        if self.ended.is_some() {
            return;
        }
        for target in [Target::Foreground, Target::LeadersGroup] {
            self.to_holder(Frame::Signal(signal.number(), target), out);
            if signal != Signal::KILL {
                self.to_holder(Frame::Signal(Signal::CONT.number(), target), out);
            }
        }
    }

    pub(super) fn find_processes(&mut self, out: &mut Vec<Output>) {
        let (leader, reaped) = (self.leader(), self.ended.is_some());
        let Some(run) = &mut self.kill else { return };
        if run.search == Search::None {
            run.search = Search::Asked;
            out.push(Output::FindProcesses { leader, reaped });
        } else {
            run.search = Search::Stale;
        }
    }

    fn leader(&self) -> ProcessId {
        ProcessId { pid: self.facts.record().pid.unwrap_or(0), start_time: self.facts.leader_start }
    }

    /// The processes of the session as they are now.
    pub(super) fn found(&mut self, now: Now, processes: &[Process], out: &mut Vec<Output>) {
        let (leader, ended) = (self.leader(), self.ended);
        let Some(run) = &mut self.kill else { return };
        let stale = std::mem::replace(&mut run.search, Search::None) == Search::Stale;
        // Once reaped it is not among them, whoever has its number now.
        let left = || processes.iter().filter(|process| ended.is_none() || process.id != leader);
        run.survivors = left().map(|left| Survivor { pid: left.id.pid, command: left.command.clone() }).collect();
        let signal = run.signal;
        if stale {
            self.find_processes(out);
        } else if let (Some(status), true) = (ended, run.survivors.is_empty()) {
            return self.exit(exit_of(status), Then::Nothing, out);
        } else {
            run.signal = None;
            run.look_at = ended.map(|_| now.boot_ms + LOOK_AGAIN_MS);
        }
        let Some(signal) = signal else { return };
        // The program itself is signalled with its group.
        for other in left().filter(|process| process.id != leader) {
            self.to_holder(Frame::SignalProcess(other.id, signal.number()), out);
            if signal != Signal::KILL {
                self.to_holder(Frame::SignalProcess(other.id, Signal::CONT.number()), out);
            }
        }
    }

    /// The kill's time is over: whoever is left is named.
    fn give_up(&mut self, out: &mut Vec<Output>) {
        let survivors = self.kill.take().map(|run| run.survivors).unwrap_or_default();
        let kind = self.ended.map_or(ExitKind::Unreaped(true), exit_of);
        self.exit_with(Exit { kind, forced: true, survivors, drain: None }, Then::Nothing, out);
    }
}
