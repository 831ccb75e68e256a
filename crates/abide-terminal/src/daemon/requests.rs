//! What clients ask for: which session is meant, and what is answered without asking it.

use std::ffi::OsStr;

use abide_wire::RequestId;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::connection::{ConnectionId, json_frame};
use super::hub::{Granted, Msg};
use super::sessions::{Sessions, Stop, ViewerHandle, Waiting, known_size};
use super::upgrade::{check, restart_unit};
use super::viewer::{Begin, Viewer};
use crate::ids::{ByteOffset, ClientId, OwnerEpoch, SessionId};
use crate::protocol::{
    self, Answer, Attached, ControlRequest, Former, Inspected, List, Listed, SessionRef, ShutdownMode, StartAt,
    StreamInfo, Target, UpgradeFailure, WireError, limits,
};
use crate::record::Record;
use crate::session::{self, Input, Op, Reply, StreamId};
use crate::stream::{self, Lag};

impl Sessions {
    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        id: RequestId,
        request: ControlRequest,
        permit: OwnedSemaphorePermit,
    ) {
        let Some(client) = self.connections.get(&connection).map(|connection| connection.client.clone()) else {
            return;
        };
        let input = match &request {
            ControlRequest::Write(write) => write.data.clone(),
            _ => Bytes::new(),
        };
        let waiting = Waiting::Control { connection, id: id.clone(), input, _permit: permit };
        match request {
            ControlRequest::Create(create) => self.create(client, create, waiting),
            ControlRequest::List(list) => self.reply(connection, id, Ok(self.list(&list))),
            ControlRequest::Inspect(inspect) => {
                let inspected = self.find(&inspect.session).and_then(|session| self.inspect(session, inspect.env));
                self.reply(connection, id, inspected);
            }
            ControlRequest::GetRecoveryReport(_) => self.reply(connection, id, Ok(self.report.clone())),
            ControlRequest::Shutdown(shutdown) => self.shutdown(shutdown, waiting),
            ControlRequest::Kill(kill) => {
                let grace_ms = kill.grace_ms.map_or(self.shared.options.kill_grace_ms, u64::from);
                let signal = kill.signal.map(crate::kill::Signal::number);
                let op = Op::Kill { grace_ms, force: kill.force, signal };
                self.ask(&kill.session, client, kill.owner_epoch, op, waiting);
            }
            ControlRequest::SendSignal(send) => {
                let target = match send.target {
                    Target::Foreground => session::Target::Foreground,
                    Target::Leader => session::Target::Leader,
                    Target::Session => session::Target::LeadersGroup,
                };
                let op = Op::Signal(send.signal.number(), target);
                self.ask(&send.session, client, send.owner_epoch, op, waiting);
            }
            ControlRequest::Resize(resize) => {
                let size = known_size(resize.cols, resize.rows, (resize.xpixel, resize.ypixel));
                self.ask(&resize.session, client, resize.owner_epoch, Op::Resize(size), waiting);
            }
            ControlRequest::Write(write) => {
                self.ask(&write.session, client, write.owner_epoch, Op::Write(write.input_offset), waiting);
            }
            ControlRequest::Take(take) => {
                let op = Op::Takeover(known_size(take.cols, take.rows, (0, 0)));
                self.ask(&take.session, client, take.owner_epoch, op, waiting);
            }
            ControlRequest::Release(release) => {
                self.ask(&release.session, client, release.owner_epoch, Op::Release { to: release.to }, waiting);
            }
            ControlRequest::Recover(recover) => {
                self.ask(&recover.session, client, None, Op::Recover(recover.what), waiting);
            }
            ControlRequest::Rename(rename) => self.rename(&rename, client, waiting),
            ControlRequest::Text(text) => self.text(&text, waiting),
            ControlRequest::Wait(wait) => self.wait(&wait, waiting),
            ControlRequest::Subscribe(subscribe) => self.subscribe(&subscribe, waiting),
            ControlRequest::Unsubscribe(_) => self.unsubscribe(waiting),
            ControlRequest::Remove(remove) => self.ask(&remove.session, client, None, Op::Remove, waiting),
        }
    }

    fn reply<T: serde::Serialize>(&self, connection: ConnectionId, id: RequestId, outcome: Result<T, WireError>) {
        if let Some(connection) = self.connections.get(&connection) {
            connection.outbox.push(&[json_frame(&Answer::new(id, outcome))]);
        }
    }

    /// Which session is meant: by id, or by name, where those that have not ended come first.
    pub(super) fn find(&self, session: &SessionRef) -> Result<SessionId, WireError> {
        match session {
            SessionRef::Id(id) if self.entries.contains_key(id) => Ok(*id),
            SessionRef::Id(id) => match self.tombstones.iter().find(|tombstone| tombstone.id == *id) {
                Some(tombstone) => Err(WireError::gone(&id.to_string(), tombstone.removed_at)),
                None => Err(WireError::not_found(&id.to_string())),
            },
            SessionRef::Name(name) => {
                let ended = || {
                    let named = self.entries.iter().filter(|(_, entry)| entry.facts().record().name == name.as_str());
                    named.map(|(id, _)| *id).next_back()
                };
                let found = self.names.get(name.as_str()).copied().or_else(ended);
                found.ok_or_else(|| WireError::not_found(name.as_str()))
            }
        }
    }

    fn ask(
        &mut self,
        session: &SessionRef,
        client: ClientId,
        owner_epoch: Option<OwnerEpoch>,
        op: Op,
        waiting: Waiting,
    ) {
        match self.find(session) {
            Ok(id) => {
                let asker = Some(self.asker(waiting));
                self.feed(id, Input::Request { asker, client, owner_epoch, op });
            }
            Err(error) => self.refuse(waiting, error),
        }
    }

    fn list(&self, list: &List) -> Listed {
        let limit = usize::from(list.limit.unwrap_or(limits::LIST_MAX));
        let wanted = |record: &Record| {
            list.states.as_ref().is_none_or(|states| states.contains(&record.state))
                && list.labels.iter().all(|(key, value)| record.labels.get(key) == Some(value))
        };
        let after = list.after;
        let ids = self.entries.keys().filter(|id| after.is_none_or(|after| **id > after));
        Listed::page(ids.filter_map(|id| self.record_of(*id)).filter(wanted), limit)
    }

    fn inspect(&self, id: SessionId, env: bool) -> Result<Inspected, WireError> {
        let (Some(session), Some(entry)) = (self.record_of(id), self.entries.get(&id)) else {
            return Err(WireError::not_found(&id.to_string()));
        };
        let streams = entry.viewers.iter().filter_map(|(stream, viewer)| {
            let mode = entry.core.mode(*stream)?;
            let offset = *viewer.progress.borrow();
            let level = viewer.outbox.level();
            Some(StreamInfo { client_id: viewer.client.clone(), mode, offset, level })
        });
        let env = entry.facts().created.env.clone().filter(|_| env);
        Ok(Inspected { session, env, streams: streams.collect() })
    }

    fn shutdown(&mut self, shutdown: protocol::Shutdown, waiting: Waiting) {
        self.stop_askers.push(waiting);
        match (shutdown.mode, shutdown.restart) {
            (_, Some(restart)) => {
                let hub = self.hub.clone();
                let managed = self.shared.environment.contains_key(OsStr::new("NOTIFY_SOCKET"));
                tokio::spawn(async move {
                    let check =
                        move || if managed { restart_unit(restart.binary.as_deref()) } else { check(restart.binary) };
                    let checked = tokio::task::spawn_blocking(check).await;
                    let failed =
                        |_| UpgradeFailure { phase: "check".into(), reason: "the check was broken off".into() };
                    hub.tell(Msg::Checked(checked.map_err(failed).and_then(|checked| checked))).await;
                });
            }
            (ShutdownMode::Keep, None) => self.stop(Stop::Asked),
            (ShutdownMode::Terminate, None) => self.terminate_all(),
        }
    }

    /// Kills every session; the daemon stops when all have ended.
    fn terminate_all(&mut self) {
        self.terminating = true;
        let ids: Vec<SessionId> = self.entries.keys().copied().collect();
        for id in ids {
            let grace_ms = self.shared.options.kill_grace_ms;
            self.feed(id, Input::Terminate { grace_ms });
        }
    }

    pub(super) fn attach(
        &mut self,
        connection: ConnectionId,
        id: RequestId,
        attach: protocol::Attach,
        reply: oneshot::Sender<Granted>,
    ) {
        let Some(client) = self.connections.get(&connection).map(|connection| connection.client.clone()) else {
            return;
        };
        let session = match self.find(&attach.session) {
            Ok(session) => session,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        self.next_stream += 1;
        let stream = StreamId(self.next_stream);
        let size = known_size(attach.cols, attach.rows, (attach.xpixel, attach.ypixel));
        let owner_epoch = attach.owner_epoch;
        let request = session::Attach { stream, client, mode: attach.mode, size, owner_epoch };
        let waiting = Waiting::Attach { connection, id, attach: Box::new(attach), stream, reply };
        let asker = self.asker(waiting);
        self.streams.insert(stream, session);
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.stream = Some(stream);
        }
        self.feed(session, Input::Attach(asker, request));
    }

    pub(super) fn answer_attach(&mut self, session: SessionId, waiting: Waiting, reply: Reply) {
        let Waiting::Attach { connection, id, attach, stream, reply: answer } = waiting else { return };
        let granted = match reply {
            Reply::Attached(granted) => self.viewer(session, connection, id, &attach, stream, &granted),
            Reply::Error(error) => Err(error),
            _ => return,
        };
        if granted.is_err() {
            self.streams.remove(&stream);
            if let Some(connection) = self.connections.get_mut(&connection) {
                connection.stream = None;
            }
            self.feed(session, Input::StreamGone(stream));
        }
        let _ = answer.send(granted.map(|viewer| (stream, viewer)));
    }

    fn viewer(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        id: RequestId,
        attach: &protocol::Attach,
        stream: StreamId,
        granted: &session::Attached,
    ) -> Result<Viewer, WireError> {
        let entry = self.entries.get_mut(&session).ok_or_else(|| WireError::not_found(&session.to_string()))?;
        let (Some(log), Some(followed)) = (entry.log.clone(), entry.followed.as_ref()) else {
            return Err(WireError::starting(entry.facts().record()));
        };
        let connection =
            self.connections.get(&connection).ok_or_else(|| WireError::internal("the connection has ended"))?;
        let level = self.shared.output_level();
        let end = stream::end_at(&log, level);
        let info = log.info().map_err(|_| WireError::journal_failed())?;
        let begin = match attach.from {
            StartAt::Snapshot => Begin::Snapshot(end),
            StartAt::Live => Begin::At(end.cursor()),
            StartAt::Offset { offset, epoch } => Begin::At(stream::start_at(&log, offset, epoch, level)?),
        };
        let end_offset = followed.answers(ByteOffset(end.offset.0), !entry.core.terminal_answers());
        let record = entry.facts().record();
        let (_, accepted) = entry.core.input_end();
        let offset = begin.offset();
        let attached = Attached {
            id,
            session,
            incarnation: record.incarnation,
            epoch: info.epoch.0,
            state: record.state,
            mode: granted.mode,
            offset,
            base_offset: ByteOffset(info.base.offset.0),
            end_offset,
            snapshot_bytes: 0,
            cols: record.cols,
            rows: record.rows,
            owner: record.owner.clone(),
            owner_epoch: record.owner_epoch,
            input_applied: if entry.link.is_some() { entry.applied() } else { accepted },
            input_window: limits::INPUT_WINDOW_BYTES,
            former: granted.former.map(|(owner_epoch, input_applied)| Former { owner_epoch, input_applied }),
        };
        let (end_sender, end) = oneshot::channel();
        let (progress, seen) = watch::channel(offset);
        let options = &self.shared.options;
        let handle = ViewerHandle {
            client: connection.client.clone(),
            outbox: connection.outbox.clone(),
            end: Some(end_sender),
            progress: seen,
            agent: attach.agent.clone(),
        };
        entry.viewers.insert(stream, handle);
        Ok(Viewer {
            id: stream,
            client: connection.client.clone(),
            session,
            log,
            level,
            begin,
            attached,
            until: attach.until,
            lag: Lag { on_lag: attach.on_lag, bytes_max: attach.lag_bytes_max.unwrap_or(options.lag_bytes_max) },
            window_bytes: attach.window_bytes,
            scrollback_lines: attach.scrollback_lines.unwrap_or(options.scrollback_lines) as usize,
            followed: followed.clone(),
            hub: self.hub.clone(),
            acks: watch::channel(ByteOffset(0)).0,
            view: entry.view.subscribe(),
            end,
            progress,
            screens: self.shared.screens.clone(),
            outbox: connection.outbox.clone(),
            teller: stream::Teller::new(attach.times),
        })
    }
}
