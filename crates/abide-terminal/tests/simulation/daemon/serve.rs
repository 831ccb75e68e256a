//! Connections of clients: what they say, and what is answered.

use std::collections::BTreeMap;

use abide_terminal::protocol::{
    self, Answer, ControlEvent, ControlMessage, ControlRequest, Create, Created as CreatedAnswer, Decoder, Detached,
    ErrorMessage, Frame, Hello, HelloOk, Role, SessionRef, StreamMessage, StreamRequest, WireError, limits,
    message_frame, read_control, read_hello, read_stream,
};
use abide_terminal::session::{Asker, Input, Op, Session, Size, StreamId};
use abide_terminal::store::{Created, Facts};
use abide_terminal::{ByteOffset, ClientId, Incarnation, OwnerEpoch, Record, Restore, SessionId, State, Takeover};
use abide_wire::{Code, RequestId};
use serde::Serialize;

use super::{Daemon, Entry, Stop};
use crate::machine::Machine;
use crate::network::{End, Read, WireId};

/// A connection on which nothing moves for so long with something queued is closed.
const STALL_MS: u64 = 30_000;

/// A connection.
pub(super) struct Connection {
    decoder: Decoder,
    pub(super) client: Option<ClientId>,
    role: Role,
    pub(super) stream: Option<StreamId>,
    /// An attach is under way: nothing is read meanwhile.
    pub(super) attaching: bool,
    /// When what is queued moved last, and how much it was.
    moved: (u64, usize),
}

impl Connection {
    pub(super) fn deadline(&self) -> Option<u64> {
        (self.moved.1 > 0).then_some(self.moved.0 + STALL_MS)
    }
}

/// A request that is not answered yet.
pub(super) enum Waiting {
    Control { wire: WireId, id: RequestId },
    Attach { wire: WireId, id: RequestId, attach: Box<protocol::Attach>, stream: StreamId },
}

pub(super) fn send(machine: &mut Machine, wire: WireId, message: &impl Serialize) {
    let mut bytes = Vec::new();
    message_frame(message, &mut bytes);
    machine.net.write(wire, End::Server, &bytes);
}

impl Daemon {
    /// A client has connected.
    pub(crate) fn accept(&mut self, machine: &Machine, wire: WireId) {
        let connection = Connection {
            decoder: Decoder::default(),
            client: None,
            role: Role::Control,
            stream: None,
            attaching: false,
            moved: (machine.clock.tick_ms(), 0),
        };
        self.connections.insert(wire, connection);
    }

    /// Reads of one of the connections.
    pub(super) fn serve_some(&mut self, machine: &mut Machine) -> bool {
        let wires: Vec<WireId> = self.connections.keys().copied().collect();
        if wires.is_empty() {
            return false;
        }
        let first = machine.rng.index(wires.len());
        (0..wires.len()).any(|next| self.serve(machine, wires[(first + next) % wires.len()]))
    }

    fn serve(&mut self, machine: &mut Machine, wire: WireId) -> bool {
        let now = machine.clock.tick_ms();
        let Some(connection) = self.connections.get_mut(&wire) else { return false };
        let queued = machine.net.unread(wire, End::Server);
        if queued < connection.moved.1 || queued == 0 || connection.moved.1 == 0 {
            connection.moved = (now, queued);
        } else if connection.moved.0 + STALL_MS <= now {
            machine.tally.count("connections that stalled were closed");
            self.close(machine, wire);
            return true;
        }
        if connection.attaching {
            // Its end is seen all the same.
            if machine.net.is_open(wire, End::Server) {
                return false;
            }
            self.close(machine, wire);
            return true;
        }
        match connection.decoder.next_frame() {
            Ok(Some(frame)) => {
                self.frame(machine, wire, frame);
                return true;
            }
            Ok(None) => {}
            Err(error) => panic!("a client sent what is no frame: {error}"),
        }
        match machine.net.read(wire, End::Server, now, 4_096, &mut machine.rng) {
            Read::Nothing => false,
            Read::Bytes(bytes) => {
                machine.leave_trace(&bytes);
                connection.decoder.extend(&bytes);
                true
            }
            Read::End => {
                self.close(machine, wire);
                true
            }
        }
    }

    /// The connection has ended, or is ended.
    pub(super) fn close(&mut self, machine: &mut Machine, wire: WireId) {
        machine.net.close(wire, End::Server);
        let Some(connection) = self.connections.remove(&wire) else { return };
        if let Some(stream) = connection.stream {
            self.stream_gone(machine, stream);
        }
        let Some(client) = connection.client else { return };
        let Some(wires) = self.clients.get_mut(&client) else { return };
        wires.remove(&wire);
        if wires.is_empty() {
            self.clients.remove(&client);
            self.feed_all(machine, &Input::ClientGone(client));
        }
    }

    fn stream_gone(&mut self, machine: &mut Machine, stream: StreamId) {
        if let Some(session) = self.streams.remove(&stream) {
            if let Some(entry) = self.entries.get_mut(&session) {
                entry.viewers.remove(&stream);
            }
            self.feed(machine, session, Input::StreamGone(stream));
        }
    }

    fn frame(&mut self, machine: &mut Machine, wire: WireId, frame: Frame) {
        let connection = &self.connections[&wire];
        match (frame, connection.client.clone(), connection.role, connection.stream) {
            (Frame::Message(text), None, ..) => {
                let hello = read_hello(&text).expect("a client greets");
                self.hello(machine, wire, hello);
            }
            (Frame::Message(text), Some(client), Role::Control, _) => {
                let (id, request) = read_control(&text).expect("a client asks what can be asked");
                self.request(machine, wire, id, client, request);
            }
            (Frame::Message(text), Some(client), Role::Stream, standing) => {
                let request = read_stream(&text).expect("a client says what can be said");
                match (request, standing) {
                    (StreamRequest::Attach(id, attach), None) => self.attach(machine, wire, id, client, attach),
                    (StreamRequest::Resize(size), Some(stream)) => {
                        let size = (size.cols > 0 && size.rows > 0).then_some(Size {
                            cols: size.cols,
                            rows: size.rows,
                            pixels: (0, 0),
                        });
                        if let Some(session) = self.streams.get(&stream).copied() {
                            let op = Op::Resize(size);
                            self.feed(machine, session, Input::Request { asker: None, client, owner_epoch: None, op });
                        }
                    }
                    (StreamRequest::Detach, Some(stream)) => {
                        if let Some(session) = self.streams.get(&stream).copied() {
                            self.end_stream(machine, session, stream, Detached::new(Code::Detached));
                        }
                    }
                    _ => {}
                }
            }
            (Frame::Input { owner_epoch, input_offset, bytes }, _, _, Some(stream)) => {
                if let Some(session) = self.streams.get(&stream).copied() {
                    self.input(machine, session, stream, owner_epoch, input_offset, bytes);
                }
            }
            _ => {}
        }
    }

    fn hello(&mut self, machine: &mut Machine, wire: WireId, hello: Hello) {
        let client = hello.client_id.clone();
        if hello.role == Role::Control {
            let of_client = self.clients.get(&client).into_iter().flatten().copied();
            let formers: Vec<WireId> = of_client.filter(|wire| self.connections[wire].role == Role::Control).collect();
            for former in formers {
                machine.tally.count("a client was replaced");
                let event = ControlEvent::Detached { code: Code::ClientReplaced, restart: false };
                send(machine, former, &ControlMessage::Event(event));
                self.close(machine, former);
            }
        }
        let connection = self.connections.get_mut(&wire).unwrap();
        (connection.client, connection.role) = (Some(client.clone()), hello.role);
        self.clients.entry(client.clone()).or_default().insert(wire);
        let owned = self.entries.values().filter(|entry| entry.core.facts().record().owner.as_ref() == Some(&client));
        let owned: Vec<SessionId> = owned.map(|entry| entry.core.facts().id()).collect();
        self.feed_all(machine, &Input::ClientHere(client));
        let answer = HelloOk {
            id: hello.id,
            version: limits::VERSION,
            daemon_id: "simulated".to_owned(),
            daemon_epoch: self.epoch,
            boot_id: self.boot.to_string(),
            daemon_version: "0".to_owned(),
            limits: protocol::Limits::new(64),
            owned,
        };
        send(machine, wire, &StreamMessage::HelloOk(answer));
    }

    pub(super) fn answer_ok<T: Serialize>(&self, machine: &mut Machine, waiting: Waiting, result: &T) {
        if let Waiting::Control { wire, id } = waiting
            && self.connections.contains_key(&wire)
        {
            send(machine, wire, &Answer::new(id, Ok(result)));
        }
    }

    pub(super) fn refuse(&mut self, machine: &mut Machine, waiting: Waiting, error: WireError) {
        match waiting {
            Waiting::Control { wire, id } if self.connections.contains_key(&wire) => {
                send(machine, wire, &Answer::<protocol::Nothing>::new(id, Err(error)));
            }
            Waiting::Control { .. } => {}
            Waiting::Attach { wire, id, stream, .. } => {
                self.streams.remove(&stream);
                if let Some(connection) = self.connections.get_mut(&wire) {
                    (connection.stream, connection.attaching) = (None, false);
                    send(machine, wire, &StreamMessage::Error(ErrorMessage { id: Some(id), error }));
                }
            }
        }
    }

    pub(super) fn asker(&mut self, waiting: Waiting) -> Asker {
        self.next_asker += 1;
        self.askers.insert(Asker(self.next_asker), waiting);
        Asker(self.next_asker)
    }

    pub(super) fn find(&self, session: &SessionRef) -> Result<SessionId, WireError> {
        let SessionRef::Id(id) = session else { panic!("sessions are asked for by id here") };
        if self.entries.contains_key(id) {
            Ok(*id)
        } else if self.tombstones.iter().any(|tombstone| tombstone.id == *id) {
            Err(WireError::new(Code::SessionGone, "removed"))
        } else {
            Err(WireError::new(Code::SessionNotFound, "unknown"))
        }
    }

    fn request(
        &mut self,
        machine: &mut Machine,
        wire: WireId,
        id: RequestId,
        client: ClientId,
        request: ControlRequest,
    ) {
        machine.tally.count("requests");
        let waiting = Waiting::Control { wire, id };
        let (session, owner_epoch, op) = match request {
            ControlRequest::Create(create) => return self.create(machine, client, create, waiting),
            ControlRequest::Kill(kill) => {
                let grace_ms = kill.grace_ms.map_or(5_000, u64::from);
                (kill.session, kill.owner_epoch, Op::Kill { grace_ms, force: kill.force, signal: None })
            }
            ControlRequest::Take(take) => (take.session, take.owner_epoch, Op::Takeover(None)),
            ControlRequest::Release(release) => (release.session, release.owner_epoch, Op::Release { to: release.to }),
            ControlRequest::Resize(resize) => {
                let size = Size { cols: resize.cols, rows: resize.rows, pixels: (0, 0) };
                (resize.session, resize.owner_epoch, Op::Resize(Some(size)))
            }
            ControlRequest::Recover(recover) => (recover.session, None, Op::Recover(recover.what)),
            ControlRequest::Remove(remove) => (remove.session, None, Op::Remove),
            other => panic!("nobody asks this here: {other:?}"),
        };
        match self.find(&session) {
            Ok(id) => {
                let asker = Some(self.asker(waiting));
                self.feed(machine, id, Input::Request { asker, client, owner_epoch, op });
            }
            Err(error) => self.refuse(machine, waiting, error),
        }
    }

    fn create(&mut self, machine: &mut Machine, client: ClientId, create: Create, waiting: Waiting) {
        let key = create.key.as_ref().map(ToString::to_string).expect("links draw keys");
        if let Some(existing) = self.keys.get(&key).copied() {
            machine.tally.count("a create was repeated");
            return match self.record_of(existing) {
                Some(session) => self.answer_ok(machine, waiting, &CreatedAnswer { created: false, session }),
                None => self.refuse(machine, waiting, WireError::new(Code::SessionGone, "removed")),
            };
        }
        if self.full {
            return self.refuse(machine, waiting, WireError::new(Code::JournalFull, "the store is full"));
        }
        let now = machine.now();
        let id = SessionId::from_parts(now.wall_ms, u128::from(machine.rng.next_u64()));
        machine.truth.created(id);
        machine.tally.count("sessions");
        let facts = Facts::new(created(id, client, &create, key.clone(), now.wall_ms, self.boot.to_string()));
        self.keys.insert(key, id);
        self.entries.insert(id, Entry::new(Session::new(facts, self.limits)));
        let asker = self.asker(waiting);
        let mut out = Vec::new();
        self.entries.get_mut(&id).unwrap().core.create(now, asker, &mut out);
        for output in out {
            if !self.lives() {
                return;
            }
            self.carry_out(machine, id, output);
        }
    }

    pub(super) fn record_of(&self, id: SessionId) -> Option<Record> {
        let entry = self.entries.get(&id)?;
        let mut record = entry.core.facts().record().clone();
        record.end_offset = entry.end();
        Some(record)
    }

    /// Tells everybody that the daemon ends and another one follows.
    pub(super) fn say_goodbye(&mut self, machine: &mut Machine) {
        let detached = Detached { restart: true, ..Detached::new(Code::DaemonStopping) };
        for viewer in self.entries.values_mut().flat_map(|entry| entry.viewers.values_mut()) {
            viewer.detach_once(machine, detached.clone());
        }
        let stopping = WireError::new(Code::DaemonStopping, "the daemon stops").with("restart", true);
        for (_, waiting) in std::mem::take(&mut self.askers) {
            let unknown = self.journal.ended().is_some() && matches!(waiting, Waiting::Control { .. });
            let error = if unknown { WireError::new(Code::JournalFailed, "failed") } else { stopping.clone() };
            self.refuse(machine, waiting, error);
        }
        let controls = self.connections.iter().filter(|(_, connection)| connection.role == Role::Control);
        let wires: Vec<WireId> = controls.map(|(wire, _)| *wire).collect();
        for wire in wires {
            let event = ControlEvent::Detached { code: Code::DaemonStopping, restart: true };
            send(machine, wire, &ControlMessage::Event(event));
        }
    }

    /// It ends in order, for another one to follow.
    pub(crate) fn replace(&mut self) {
        self.end(Stop::Replaced);
    }
}

fn created(id: SessionId, client: ClientId, create: &Create, key: String, at: u64, boot_id: String) -> Created {
    let mut created = Created { boot_id, ..nameless(id, at) };
    let record = &mut created.record;
    record.key = Some(key);
    if create.own {
        (record.owner, record.owner_epoch) = (Some(client), OwnerEpoch(1));
    }
    (record.cols, record.rows) = (create.cols.max(1), create.rows.max(1));
    record.restore = create.restore.unwrap_or(Restore::Never);
    record.takeover = create.takeover.unwrap_or(Takeover::Allow);
    created
}

/// A session of which nothing but its id is known.
pub(super) fn nameless(id: SessionId, at: u64) -> Created {
    Created {
        record: Record {
            id,
            name: id.to_string().to_lowercase(),
            key: None,
            incarnation: Incarnation(1),
            state: State::Starting,
            owner: None,
            owner_epoch: OwnerEpoch(0),
            observers: 0,
            pid: None,
            command: "program".to_owned(),
            args: Vec::new(),
            cwd: "/".into(),
            created_at: at,
            started_at: None,
            exited_at: None,
            exit: None,
            kill: None,
            detached_at: None,
            cols: 80,
            rows: 24,
            base_offset: ByteOffset(0),
            end_offset: ByteOffset(0),
            last_output_at: None,
            title: None,
            current_dir: None,
            restore: Restore::Never,
            takeover: Takeover::Allow,
            recovery: None,
            labels: BTreeMap::new(),
        },
        login: false,
        pixels: (0, 0),
        env: None,
        clear_env: false,
        retention_bytes: None,
        retention_age_ms: None,
        boot_id: String::new(),
    }
}
