//! Carrying out what the rules ask for.

use abide_journal::{AppendOptions, Durability, Entry as LogEntry, Error as JournalError, Log};
use abide_terminal::procs::{self, Members, ProcessId};
use abide_terminal::protocol::{
    Created, Detached, Killed, Nothing, Recovered, Released, Resized, StreamMessage, TakenOver, WireError,
};
use abide_terminal::session::{Asker, Frame, Gone, HolderInput, Input, Output, Reply, Restart, Unit};
use abide_terminal::store::{self, Event, Mark, Tombstone};
use abide_terminal::{EventNumber, Incarnation, InputOffset, RestoreAs, SessionId, State, stream};
use abide_wire::Code;

use super::pump::Pump;
use super::serve::Waiting;
use super::{Daemon, Msg, Stop, Task, is_fatal};
use crate::disk;
use crate::holder::Launch;
use crate::machine::{DAEMON_PID, Machine};
use crate::mutant::Mutant;
use crate::network::End;
use crate::program::Script;

impl Daemon {
    pub(super) fn carry_out(&mut self, machine: &mut Machine, id: SessionId, output: Output) {
        match output {
            Output::Append(unit) => self.append(machine, id, unit),
            Output::CreateLog => self.create_log(machine, id),
            Output::HangUp => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.end_output_if_over();
                }
                Self::hang_up(machine, id);
            }
            Output::Launch => self.launch(machine, id),
            Output::Adopt => self.adopt(machine, id),
            Output::PrepareRestore(what) => self.prepare_restore(machine, id, what),
            Output::ToHolder(frame) => self.send_holder(machine, id, &frame),
            Output::Drain => {
                if let Some(pump) = self.entries.get_mut(&id).and_then(|entry| entry.pump.as_mut()) {
                    pump.go();
                }
            }
            Output::Answer(asker, reply) => self.answer(machine, id, asker, reply),
            Output::InputFinal(stream, owner_epoch, input_offset) => {
                let told = abide_terminal::protocol::InputApplied { owner_epoch, input_offset, is_final: true };
                self.say_to_stream(machine, id, stream, &StreamMessage::InputApplied(told));
            }
            Output::Complain(client, error) => self.complain(machine, id, &client, error),
            Output::Replaced(stream) => self.end_stream(machine, id, stream, Detached::new(Code::Replaced)),
            Output::Forget => {
                self.keys.retain(|_, keyed| *keyed != id);
                self.entries.remove(&id);
            }
            Output::DropLog(asker) => self.drop_log(machine, id, asker),
            Output::FindProcesses { leader, reaped } => self.find_processes(machine, id, leader, reaped),
            Output::Write(..) => panic!("nobody writes without a stream here"),
            Output::Screen => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.keep_screen = true;
                }
            }
            Output::RemoveFiles(incarnation) => remove_files(machine, id, incarnation),
        }
    }

    fn append(&mut self, machine: &mut Machine, id: SessionId, unit: Unit) {
        let log = self.entries.get(&id).and_then(|entry| entry.log.clone());
        if machine.is(Mutant::EventAndMarkApart)
            && let Some(log) = &log
        {
            return self.append_apart(id, unit, log);
        }
        if machine.is(Mutant::CollectBeforeDurable)
            && unit.has("finalized")
            && let Some(end) = self.entries.get(&id).map(super::Entry::end)
        {
            self.send_holder(machine, id, &Frame::Collect(end));
        }
        if machine.is(Mutant::RestoreWithoutRecord)
            && let Event::Restoring { incarnation, .. } = unit.event()
        {
            self.launch_now(machine, id, *incarnation);
        }
        if !self.registry.append(Some(id), unit, log) {
            machine.tally.count("a transition waited for its log");
            self.create_log(machine, id);
        }
    }

    /// A broken way to do it: the marks go on their own.
    fn append_apart(&mut self, id: SessionId, mut unit: Unit, log: &Log) {
        let number = stream::written(&self.registry_log).lsn.get();
        let events = std::iter::once(&mut unit.first).chain(&mut unit.rest);
        for (number, (_, mark)) in (number..).zip(events) {
            if let Some(kind) = mark.take() {
                let mark = Mark { kind, event: Some(EventNumber(number)) };
                let entry = LogEntry::mark(mark.tag(), mark.payload().unwrap());
                drop(log.try_append(entry, AppendOptions::at(Durability::Os)));
            }
        }
        let _queued = self.registry.append(Some(id), unit, None);
    }

    pub(super) fn send_holder(&mut self, machine: &mut Machine, id: SessionId, frame: &Frame) {
        if let Some(wire) = self.entries.get(&id).and_then(|entry| entry.link) {
            let mut bytes = Vec::new();
            frame.to_holder().encode(&mut bytes);
            machine.net.write(wire, End::Client, &bytes);
            if matches!(frame, Frame::Hangup)
                && let Some(pump) = self.entries.get_mut(&id).and_then(|entry| entry.pump.as_mut())
            {
                pump.end();
            }
        }
    }

    pub(super) fn create_log(&mut self, machine: &Machine, id: SessionId) {
        let options = store::session_options(disk::retention(machine.limits.retention_bytes));
        let ticket = self.journal.create_log(&store::session_log(id), options);
        self.tasks.push_back(Task::CreateLog(id, ticket));
    }

    pub(super) fn log_created(&mut self, machine: &mut Machine, id: SessionId, created: Result<Log, JournalError>) {
        match created {
            Ok(log) => {
                self.registry.log_created(id, &log);
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.log = Some(log);
                }
                self.feed(machine, id, Input::LogCreated);
            }
            Err(JournalError::Full) => self.tasks.push_back(Task::AwaitRoom(id)),
            Err(error) if is_fatal(&error) => self.end(Stop::Poisoned),
            Err(JournalError::LogNotFound) => {}
            Err(error) => panic!("the session's log cannot be made: {error}"),
        }
    }

    fn launch(&mut self, machine: &mut Machine, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.members = None;
            entry.link = None;
            entry.pump = None;
        }
        let mut late = 0;
        if machine.rng.one_in(machine.limits.launch_is_late_one_in) {
            machine.tally.count("habit: a holder arrives late");
            late = machine.rng.below(3_000);
        }
        self.tasks.push_back(Task::Launch(id, machine.clock.tick_ms() + late));
    }

    fn launch_of(&self, machine: &mut Machine, id: SessionId, incarnation: Incarnation) -> Option<Launch> {
        let entry = self.entries.get(&id)?;
        let record = entry.core.facts().record();
        Some(Launch {
            session: id,
            incarnation,
            output_base: entry.end().0,
            owner_epoch: record.owner_epoch.0,
            size: (record.cols, record.rows),
            script: Script::draw(&mut machine.rng),
        })
    }

    /// Launches a holder. Where its place is taken, by one that nobody adopted or by the socket of a dead one, there is
    /// none to launch, or the place is cleared first.
    pub(super) fn launch_step(&mut self, machine: &mut Machine, id: SessionId, at: u64) -> bool {
        if at > machine.clock.tick_ms() {
            self.tasks.push_back(Task::Launch(id, at));
            return false;
        }
        let Some(incarnation) = self.entries.get(&id).map(|entry| entry.core.facts().record().incarnation) else {
            return true;
        };
        let Some(launch) = self.launch_of(machine, id, incarnation) else { return true };
        let fails = machine.rng.one_in(machine.limits.launch_fails_one_in);
        let there = !fails && (machine.launch(launch).is_some() || Self::take_place(machine, launch));
        if there {
            machine.tally.count("launches");
            self.adopt(machine, id);
        } else {
            machine.tally.count("launches that failed");
            let gone = Gone { status: None, rebooted: false, errno: 11 };
            self.tell(id, Input::Holder(HolderInput::Gone(gone)));
        }
        true
    }

    fn take_place(machine: &mut Machine, launch: Launch) -> bool {
        match machine.probe(launch.session) {
            abide_terminal::recover::Probe::Pong(pong) => pong.incarnation == launch.incarnation,
            abide_terminal::recover::Probe::None => {
                machine.sockets.remove(&launch.session);
                machine.launch(launch).is_some()
            }
            _ => false,
        }
    }

    /// A broken way to restore: the holder is launched, and told to start, before anything is recorded.
    fn launch_now(&mut self, machine: &mut Machine, id: SessionId, incarnation: Incarnation) {
        let Some(launch) = self.launch_of(machine, id, incarnation) else { return };
        machine.sockets.remove(&id);
        if machine.launch(launch).is_some()
            && let Some(wire) = machine.dial_holder(id)
        {
            let mut bytes = Vec::new();
            let adopt = abide_holder::ToHolder::Adopt {
                daemon_epoch: self.epoch.0 - 1,
                session: id.to_bytes(),
                version: abide_holder::VERSION,
            };
            adopt.encode(&mut bytes);
            Frame::Start(incarnation).to_holder().encode(&mut bytes);
            machine.net.write(wire, End::Client, &bytes);
        }
    }

    pub(super) fn adopt(&mut self, machine: &mut Machine, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && let Some(log) = entry.log.clone()
        {
            if let Some(former) = entry.pump.take() {
                former.close(machine);
            }
            entry.pump = Some(Pump::new(log, machine.clock.tick_ms()));
        }
    }

    pub(super) fn hang_up(machine: &mut Machine, id: SessionId) {
        if let Some(wire) = machine.dial_holder(id) {
            let mut bytes = Vec::new();
            abide_holder::ToHolder::Hangup.encode(&mut bytes);
            machine.net.write(wire, End::Client, &bytes);
            machine.net.close(wire, End::Client);
        }
    }

    fn prepare_restore(&mut self, machine: &mut Machine, id: SessionId, _: RestoreAs) {
        let had_ended = self.entries.get(&id).is_some_and(|entry| entry.core.facts().state() == State::Finalized);
        let prepared = if had_ended && self.full {
            Err(WireError::new(Code::JournalFull, "the store is full"))
        } else if machine.rng.one_in(10) {
            Err(WireError::new(Code::CwdMissing, "there is no such directory"))
        } else {
            Ok(Restart { boot_id: self.boot.to_string(), name: None })
        };
        self.tell(id, Input::RestorePrepared(prepared));
    }

    fn drop_log(&mut self, machine: &mut Machine, id: SessionId, asker: Option<Asker>) {
        let Some(entry) = self.entries.remove(&id) else { return };
        machine.truth.removed(id);
        machine.tally.count("sessions were removed");
        let record = entry.core.facts().record();
        let removed_at = machine.now().wall_ms;
        self.tombstones.push_back(Tombstone { id, key: record.key.clone(), removed_at });
        for (stream, viewer) in entry.viewers {
            self.streams.remove(&stream);
            viewer.detach(machine, Detached::new(Code::SessionGone));
        }
        if let Some(pump) = entry.pump {
            // It goes on until its holder is gone.
            pump.close(machine);
        }
        if let Some(waiting) = asker.and_then(|asker| self.askers.remove(&asker)) {
            self.removals.insert(id, waiting);
        }
        let ticket = self.journal.log(&store::session_log(id)).ok().map(|log| log.drop_log());
        self.tasks.push_back(Task::DropLog(id, ticket));
    }

    fn find_processes(&mut self, machine: &mut Machine, id: SessionId, leader: ProcessId, reaped: bool) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let mut members = entry.members.take().unwrap_or_else(|| Members::new(leader));
        if reaped {
            members.leader_reaped();
        }
        let (marked, holders) = (machine.marked(id).collect(), machine.holder_pids());
        let guarded = procs::Guarded { daemon: DAEMON_PID, holders: &holders, uid: 1_000 };
        let evidence = procs::Evidence { in_cgroup: &std::collections::BTreeSet::new(), marked: &marked };
        let found = members.find(&machine.table(), &guarded, &evidence);
        self.messages.push_back(Msg::Found(id, members, found));
    }

    fn answer(&mut self, machine: &mut Machine, id: SessionId, asker: Asker, reply: Reply) {
        let Some(waiting) = self.askers.remove(&asker) else { return };
        if let Waiting::Attach { .. } = waiting {
            return self.answer_attach(machine, id, waiting, reply);
        }
        let record = || self.record_of(id);
        match reply {
            Reply::Created => {
                if let Some(session) = record() {
                    self.answer_ok(machine, waiting, &Created { created: true, session });
                }
            }
            Reply::Recovered => {
                if let Some(session) = record() {
                    self.answer_ok(machine, waiting, &Recovered { session });
                }
            }
            Reply::Kill { kill_id, deadline_at, already } => {
                self.answer_ok(machine, waiting, &Killed { kill_id, deadline_ms: deadline_at, already });
            }
            Reply::Signalled => self.answer_ok(machine, waiting, &Nothing {}),
            Reply::Resized(cols, rows) => self.answer_ok(machine, waiting, &Resized { cols, rows }),
            Reply::TakenOver(owner_epoch) => {
                self.answer_ok(machine, waiting, &TakenOver { owner_epoch, input_applied: InputOffset(0) });
            }
            Reply::Released(owner_epoch) => self.answer_ok(machine, waiting, &Released { owner_epoch }),
            Reply::Error(error) => self.refuse(machine, waiting, error),
            // No client here renames.
            Reply::Renamed | Reply::Attached(_) => {}
        }
    }
}

/// What the holder of this incarnation left. A socket at which somebody listens is another holder's.
fn remove_files(machine: &mut Machine, id: SessionId, incarnation: Incarnation) {
    machine.exits.remove(&(id, incarnation));
    if machine.listening(id).is_none() {
        machine.sockets.remove(&id);
    }
}
