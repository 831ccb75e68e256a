//! Carrying out what the rules ask for.

use std::collections::BTreeSet;

use abide_journal::{Error as JournalError, Log};
use abide_wire::Code;
use serde::Serialize;

use super::connection::{json_frame, tagged};
use super::fail_point;
use super::hub::Msg;
use super::levels::Queue;
use super::link::Link;
use super::pump;
use super::screens::{Followed, distance};
use super::sessions::{Sessions, Waiting, is_fatal};
use super::shared::{exit_file, holder_socket, now};
use crate::ids::{Incarnation, InputOffset, SessionId};
use crate::procs;
use crate::protocol::{
    Answer, Created, Detached, ErrorMessage, InputApplied, Killed, Nothing, Recovered, Released, Renamed, Resized,
    StreamMessage, TakenOver, WireError,
};
use crate::record::{Record, RestoreAs, State};
use crate::session::{Asker, Frame, Gone, HolderInput, Input, Output, Reply, Unit};
use crate::store::{self, Event, TOMBSTONES_MAX, Tombstone};
use crate::stream;

impl Sessions {
    pub(super) fn carry_out(&mut self, id: SessionId, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Append(unit) => self.append_transition(id, unit),
                Output::CreateLog => self.create_log(id),
                Output::HangUp => {
                    if let Some(entry) = self.entries.get(&id) {
                        entry.end_output_if_over();
                    }
                    super::recovery::hang_up(&self.shared, id);
                }
                Output::Launch => self.launch(id),
                Output::Adopt => self.adopt(id),
                Output::PrepareRestore(what) => self.prepare_restore(id, what),
                Output::ToHolder(frame) => {
                    if let Some(link) = self.entries.get(&id).and_then(|entry| entry.link.as_ref()) {
                        link.send(&frame);
                        if matches!(frame, Frame::Collect(_)) {
                            fail_point::pass("collect_queued");
                        }
                    }
                }
                Output::Drain => {
                    if let Some(link) = self.entries.get(&id).and_then(|entry| entry.link.as_ref()) {
                        link.drain();
                    }
                }
                Output::Answer(asker, reply) => self.answer(id, asker, reply),
                Output::Write(asker, offset) => self.write(id, asker, offset),
                Output::InputFinal(stream, owner_epoch, input_offset) => {
                    let told = InputApplied { owner_epoch, input_offset, is_final: true };
                    let viewer = self.entries.get(&id).and_then(|entry| entry.viewers.get(&stream));
                    if let Some(viewer) = viewer {
                        viewer.outbox.push(&[json_frame(&StreamMessage::InputApplied(told))]);
                    }
                }
                Output::Complain(client, error) => self.complain(id, &client, error),
                Output::Replaced(stream) => self.end_stream(id, stream, Detached::new(Code::Replaced)),
                Output::Forget => self.forget(id),
                Output::DropLog(asker) => self.drop_log(id, asker),
                Output::FindProcesses { leader, reaped } => self.find_processes(id, leader, reaped),
                Output::Screen => self.shared.screens.keep(id),
                Output::RemoveFiles(incarnation) => self.remove_files(id, incarnation),
            }
        }
    }

    fn append_transition(&mut self, id: SessionId, unit: Unit) {
        let log = self.entries.get(&id).and_then(|entry| entry.log.clone());
        if matches!(unit.event(), Event::Finalized { .. }) {
            self.release_name(id);
        }
        if !self.registry.append(Some(id), unit, log) {
            self.create_log(id);
        }
    }

    /// A name is free again once its session has ended.
    pub(super) fn release_name(&mut self, id: SessionId) {
        self.names.retain(|_, named| *named != id);
    }

    /// The session could not be recorded: nothing of it is kept.
    fn forget(&mut self, id: SessionId) {
        self.release_name(id);
        self.keys.retain(|_, keyed| *keyed != id);
        self.entries.remove(&id);
        self.forget_agent(id);
    }

    /// A session without a holder has ended: what its last one left is of no more use. A socket at which somebody
    /// listens is another holder's.
    fn remove_files(&self, id: SessionId, incarnation: Incarnation) {
        let _ = self.shared.dirs.exits.remove_file(&exit_file(id, incarnation));
        if abide_holder::connect(&self.shared.holder_paths(id, incarnation).socket).is_err() {
            let _ = self.shared.dirs.holder_sockets.remove_socket(&holder_socket(id));
        }
    }

    pub(super) fn create_log(&mut self, id: SessionId) {
        let (hub, journal) = (self.hub.clone(), self.shared.journal.clone());
        let Some(entry) = self.entries.get(&id) else { return };
        let options = store::session_options(self.shared.retention(&entry.facts().created));
        tokio::spawn(async move {
            let name = store::session_log(id);
            let created = match journal.create_log(&name, options).await {
                Err(JournalError::LogExists) => journal.log(&name),
                created => created,
            };
            hub.tell(Msg::LogCreated(id, created)).await;
        });
    }

    pub(super) fn log_created(&mut self, id: SessionId, created: Result<Log, JournalError>) {
        match created {
            Ok(log) => {
                fail_point::pass("log_created");
                self.registry.log_created(id, &log);
                self.open_log(id, log);
                self.feed(id, Input::LogCreated);
            }
            // Tried again when there is room; the start's own deadline bounds the wait.
            Err(JournalError::Full) => {
                let (hub, mut space) = (self.hub.clone(), self.shared.journal.space());
                tokio::spawn(async move {
                    space.changed().await;
                    hub.tell(Msg::CreateLog(id)).await;
                });
            }
            Err(error) if is_fatal(&error) => {
                let _ = self.hub.try_tell(Msg::Poisoned(error));
            }
            // It is being made: who asked for it first brings it.
            Err(JournalError::LogNotFound) => {}
            Err(error) => tracing::error!(session = %id, %error, "the session's log cannot be made"),
        }
    }

    /// The session has a log: its screen is followed from now on.
    pub(super) fn open_log(&mut self, id: SessionId, log: Log) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let retention = self.shared.retention(&entry.facts().created);
            super::put_right(&log, retention);
            let followed = Followed::new(log.clone(), distance(retention.bytes_max));
            self.shared.screens.follow(id, followed.clone());
            entry.log = Some(log);
            entry.followed = Some(followed);
        }
        let meter = self.meter(Queue::Session(id), self.shared.options.ring_bytes);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.meter = Some(meter);
        }
    }

    fn launch(&mut self, id: SessionId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // Those of the program before are nobody's now.
        entry.members = None;
        let facts = entry.core.facts();
        let launch = match entry.launch.take() {
            Some(launch) => Ok(launch),
            None => self.shared.prepare_again(facts),
        };
        let output_base = entry.log.as_ref().map_or(0, |log| stream::written(log).offset.0);
        let spec = launch.map(|launch| {
            let spec = self.shared.holder_spec(facts, &launch, output_base);
            let agent = launch.environment.agent.clone();
            entry.launch = Some(launch);
            (spec, agent)
        });
        let (Some(context), Ok((spec, agent))) = (self.context(id), spec) else {
            let gone = Gone { status: None, rebooted: false, errno: 0 };
            return self.hub.tell_later(Msg::Session(id, Input::Holder(HolderInput::Gone(gone))));
        };
        if let Some(agent) = agent {
            self.agent_at_start(id, agent.as_ref());
        }
        let slots = self.launches.clone();
        tokio::spawn(async move {
            let slot = slots.acquire_owned().await;
            pump::launch(context, spec, slot.ok()).await;
        });
    }

    /// Adopts the holder that is there, and serves it.
    pub(super) fn adopt(&self, id: SessionId) {
        if let Some(context) = self.context(id) {
            tokio::spawn(pump::adopt(context));
        }
    }

    /// What a task works with that serves the session's holder.
    pub(super) fn context(&self, id: SessionId) -> Option<pump::Context> {
        let entry = self.entries.get(&id)?;
        Some(pump::Context {
            session: id,
            incarnation: entry.facts().record().incarnation,
            shared: self.shared.clone(),
            hub: self.hub.clone(),
            log: entry.log.clone()?,
            followed: entry.followed.clone()?,
            meter: entry.meter.clone()?,
        })
    }

    fn drop_log(&mut self, id: SessionId, asker: Option<Asker>) {
        let Some(mut entry) = self.entries.remove(&id) else { return };
        self.shared.screens.forget(id);
        self.forget_agent(id);
        let record = entry.facts().record();
        self.tombstones.push_back(Tombstone { id, key: record.key.clone(), removed_at: now().wall_ms });
        entry.view.send_modify(|view| view.removed = true);
        for viewer in entry.viewers.values_mut() {
            if let Some(end) = viewer.end.take() {
                let _ = end.send(Detached::new(Code::SessionGone));
            }
        }
        for write in std::mem::take(&mut entry.writes) {
            self.refuse(write.waiting, WireError::gone(&id.to_string(), now().wall_ms));
        }
        while self.tombstones.len() > TOMBSTONES_MAX {
            self.tombstones.pop_front();
        }
        if let Some(waiting) = asker.and_then(|asker| self.askers.remove(&asker)) {
            self.removals.insert(id, waiting);
        }
        let (hub, journal) = (self.hub.clone(), self.shared.journal.clone());
        tokio::spawn(async move {
            if let Ok(log) = journal.log(&store::session_log(id))
                && let Err(error) = log.drop_log().await
            {
                tracing::warn!(session = %id, %error, "the log of a removed session is not dropped yet");
            }
            fail_point::pass("log_dropped");
            hub.tell(Msg::LogDropped(id)).await;
        });
    }

    pub(super) fn log_dropped(&mut self, id: SessionId) {
        if let Some(waiting) = self.removals.remove(&id) {
            self.answer_now(waiting, Nothing {});
        }
    }

    /// Answers a request of a control connection.
    pub(super) fn answer_now<T: Serialize>(&self, waiting: Waiting, result: T) {
        if let Waiting::Control { connection, id, .. } = waiting
            && let Some(connection) = self.connections.get(&connection)
        {
            connection.outbox.push(&[ok(id, result)]);
        }
    }

    fn find_processes(&mut self, id: SessionId, leader: procs::ProcessId, reaped: bool) {
        let holders = self.entries.values().filter_map(|entry| entry.link.as_ref().map(Link::pid)).collect();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let mut members = entry.members.take().unwrap_or_else(|| procs::Members::new(leader));
        if reaped {
            members.leader_reaped();
        }
        let hub = self.hub.clone();
        tokio::task::spawn_blocking(move || {
            let found = find_members(id, &mut members, &holders);
            hub.tell_blocking(Msg::Found(id, members, found));
        });
    }

    fn complain(&self, id: SessionId, client: &crate::ids::ClientId, error: WireError) {
        let mut viewers = self.entries.get(&id).into_iter().flat_map(|entry| entry.viewers.values());
        if let Some(viewer) = viewers.rfind(|viewer| viewer.client == *client) {
            viewer.outbox.push(&[json_frame(&tagged(ErrorMessage { id: None, error }))]);
        }
    }

    /// The session as clients are told of it.
    pub(super) fn record_of(&self, id: SessionId) -> Option<Record> {
        let entry = self.entries.get(&id)?;
        let mut record = entry.facts().record().clone();
        if entry.facts().restored_as == Some(RestoreAs::Shell) {
            record.command = self.shared.shell().to_string_lossy().into_owned();
            record.args.clear();
        }
        record.observers = u32::try_from(entry.core.observers()).unwrap_or(u32::MAX);
        if let Some(log) = &entry.log {
            if let Ok(info) = log.info() {
                record.base_offset = crate::ids::ByteOffset(info.base.offset.0);
                record.last_output_at = Some(info.last_time_us / 1_000).filter(|_| info.next.offset.0 > 0);
            }
            record.end_offset = crate::ids::ByteOffset(stream::written(log).offset.0);
        }
        if let Some(followed) = &entry.followed {
            let told = followed.told();
            record.title = told.title.as_deref().map(printable);
            record.current_dir = told.current_dir.as_deref().map(printable);
        }
        Some(record)
    }

    fn answer(&mut self, id: SessionId, asker: Asker, reply: Reply) {
        self.end_rename(id, asker);
        let Some(waiting) = self.askers.remove(&asker) else { return };
        let (connection, request_id) = match waiting {
            Waiting::Control { connection, id, .. } => (connection, id),
            Waiting::Attach { .. } => return self.answer_attach(id, waiting, reply),
        };
        let Some(connection) = self.connections.get(&connection) else { return };
        let frame = match reply {
            Reply::Created => match self.record_of(id) {
                Some(session) => ok(request_id, Created { created: true, session }),
                None => return,
            },
            Reply::Recovered => match self.record_of(id) {
                Some(session) => ok(request_id, Recovered { session }),
                None => return,
            },
            Reply::Renamed => match self.record_of(id) {
                Some(session) => ok(request_id, Renamed { session }),
                None => return,
            },
            Reply::Kill { kill_id, deadline_at, already } => {
                ok(request_id, Killed { kill_id, deadline_ms: deadline_at, already })
            }
            Reply::Signalled => ok(request_id, Nothing {}),
            Reply::Resized(cols, rows) => ok(request_id, Resized { cols, rows }),
            Reply::TakenOver(owner_epoch) => ok(request_id, TakenOver { owner_epoch, input_applied: InputOffset(0) }),
            Reply::Released(owner_epoch) => ok(request_id, Released { owner_epoch }),
            Reply::Error(error) => json_frame(&Answer::<Nothing>::new(request_id, Err(error))),
            Reply::Attached(_) => return,
        };
        connection.outbox.push(&[frame]);
    }

    /// Answers a request with an error.
    pub(super) fn refuse(&self, waiting: Waiting, error: WireError) {
        match waiting {
            Waiting::Control { connection, id, .. } => {
                if let Some(connection) = self.connections.get(&connection) {
                    connection.outbox.push(&[json_frame(&Answer::<Nothing>::new(id, Err(error)))]);
                }
            }
            Waiting::Attach { reply, .. } => {
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Whether a session of this state counts against `sessions_max`.
    pub(super) fn living(&self) -> usize {
        self.entries.values().filter(|entry| entry.facts().state() != State::Finalized).count()
    }
}

/// Looks for the processes of a session. Blocks while it reads the table.
fn find_members(id: SessionId, members: &mut procs::Members, holders: &BTreeSet<u32>) -> Vec<procs::Process> {
    let Ok(table) = procs::table() else { return Vec::new() };
    let marked = table.iter().map(|process| process.id.pid).filter(|pid| procs::carries_session(*pid, id)).collect();
    let guarded = procs::Guarded { daemon: std::process::id(), holders, uid: rustix::process::getuid().as_raw() };
    members.find(&table, &guarded, &procs::Evidence { in_cgroup: &BTreeSet::new(), marked: &marked })
}

fn ok<T: Serialize>(id: abide_wire::RequestId, result: T) -> bytes::Bytes {
    json_frame(&Answer::new(id, Ok(result)))
}

/// What a program said of itself, safe to be printed.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
