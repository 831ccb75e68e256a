//! A kill under way: which signals are due when, to whom, and when it ends.

use super::core::{Session, Then};
use super::io::{Asker, Frame, Now, Output, Reply, Target};
use super::life::exit_of;
use crate::ids::ClientId;
use crate::kill::{Plan, Signal, Step};
use crate::procs::{Process, ProcessId};
use crate::protocol::WireError;
use crate::record::{Exit, ExitKind, State, Survivor};
use crate::store::Event;

/// How often the processes that outlive the program are looked for, in milliseconds.
const LOOK_AGAIN_MS: u64 = 100;

/// The plan of one kill, and how far it has come.
#[derive(Debug)]
pub(super) struct KillRun {
    plan: Plan,
    /// What the processes get that are being looked for.
    signal: Option<Signal>,
    /// When to look again whether any process is left, after the program has ended.
    look_at: Option<u64>,
    survivors: Vec<Survivor>,
}

impl KillRun {
    /// When the next step is due.
    pub(super) fn due(&self) -> Option<u64> {
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
            State::Starting if !self.facts.start_recorded => {
                if let Some(asker) = asker {
                    out.push(Output::Answer(asker, self.kill_reply(false)));
                }
                self.exit(ExitKind::NeverStarted(true), out);
            }
            State::Starting | State::Running if self.facts.kill.is_none() => {
                let event = Event::Kill {
                    deadline_at: now.wall_ms + grace_ms,
                    t0_boot_ms: now.boot_ms,
                    grace_ms,
                    signal,
                    by: by.cloned(),
                };
                self.propose(event, None, Then::Answer(asker), out);
            }
            State::Starting | State::Running | State::Terminating => {
                if let Some(asker) = asker {
                    out.push(Output::Answer(asker, self.kill_reply(true)));
                }
                if force {
                    self.force_kill(now, out);
                }
            }
            State::Exited | State::Finalized => {
                if let Some(asker) = asker {
                    out.push(Output::Answer(asker, self.kill_reply(true)));
                }
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

    /// A kill is on record, and there is a program: the plan begins, or goes on under a new daemon.
    pub(super) fn kill_recorded(&mut self, now: Now, out: &mut Vec<Output>) {
        let (State::Terminating, Some(kill)) = (self.facts.state(), self.facts.kill) else { return };
        let first = kill.signal.and_then(Signal::from_number).unwrap_or(Signal::HUP);
        let plan = Plan::new(kill.t0_boot_ms, kill.grace_ms, first);
        self.kill = Some(KillRun { plan, signal: None, look_at: None, survivors: Vec::new() });
        self.kill_due(now, out);
    }

    /// Brings the deadline of the kill under way to now.
    fn force_kill(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Some(run) = &mut self.kill {
            run.plan.force(now.boot_ms);
        }
        self.kill_due(now, out);
    }

    /// Does what is due.
    pub(super) fn kill_due(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(run) = &mut self.kill else { return };
        if run.look_at.is_some_and(|at| at <= now.boot_ms) {
            run.look_at = None;
            self.find_processes(out);
        }
        while let Some(step) = self.kill.as_mut().and_then(|run| run.plan.take(now.boot_ms)) {
            match step {
                Step::Ask(signal) => self.signal_groups(signal, out),
                Step::Terminate => self.signal_all(Signal::TERM, out),
                Step::Kill { .. } => self.signal_all(Signal::KILL, out),
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
        let leader = ProcessId { pid: self.facts.record().pid.unwrap_or(0), start_time: self.facts.leader_start };
        out.push(Output::FindProcesses { leader, reaped: self.ended.is_some() });
    }

    /// The processes of the session as they are now.
    pub(super) fn found(&mut self, now: Now, processes: Vec<Process>, out: &mut Vec<Output>) {
        if self.facts.state() != State::Terminating {
            return;
        }
        let leader = self.facts.record().pid;
        let others: Vec<_> = processes.into_iter().filter(|process| Some(process.id.pid) != leader).collect();
        if let (Some(status), true) = (self.ended, others.is_empty()) {
            self.exit(exit_of(status), out);
            return;
        }
        let ended = self.ended.is_some();
        let Some(run) = &mut self.kill else { return };
        let signal = run.signal.take();
        run.survivors =
            others.iter().map(|other| Survivor { pid: other.id.pid, command: other.command.clone() }).collect();
        if ended {
            run.look_at = Some(now.boot_ms + LOOK_AGAIN_MS);
        }
        let Some(signal) = signal else { return };
        for other in others {
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
        self.to_holder(Frame::Abandon, out);
        self.exit_with(Exit { kind, forced: true, survivors, drain: None }, out);
    }
}
