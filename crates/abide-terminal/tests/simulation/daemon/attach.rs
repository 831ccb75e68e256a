//! Streams: how they are attached, what their owners type, and what they are told beside output.

use abide_terminal::protocol::{
    self, Attached, Detached, ErrorMessage, Former, InputApplied, StartAt, StreamMessage, WireError, limits,
};
use abide_terminal::session::{self, Input, Reply, Size, StreamId};
use abide_terminal::{ByteOffset, ClientId, InputOffset, OwnerEpoch, SessionId, stream};
use abide_wire::{Code, RequestId};
use bytes::Bytes;

use super::Daemon;
use super::serve::{Waiting, send};
use super::stream::Viewer;
use crate::machine::Machine;
use crate::mutant::Mutant;
use crate::network::{End, WireId};

impl Daemon {
    pub(super) fn attach(
        &mut self,
        machine: &mut Machine,
        wire: WireId,
        id: RequestId,
        client: ClientId,
        attach: protocol::Attach,
    ) {
        self.next_stream += 1;
        let stream = StreamId(self.next_stream);
        let session = match self.find(&attach.session) {
            Ok(session) => session,
            Err(error) => {
                let waiting = Waiting::Attach { wire, id, attach: Box::new(attach), stream };
                return self.refuse(machine, waiting, error);
            }
        };
        let size = (attach.cols > 0 && attach.rows > 0).then_some(Size {
            cols: attach.cols,
            rows: attach.rows,
            pixels: (0, 0),
        });
        let present = self.entries[&session].core.facts().record().owner_epoch;
        let owner_epoch = if machine.is(Mutant::EpochOfAnother) { Some(present) } else { attach.owner_epoch };
        let request = session::Attach { stream, client, mode: attach.mode, size, owner_epoch };
        let asker = self.asker(Waiting::Attach { wire, id, attach: Box::new(attach), stream });
        self.streams.insert(stream, session);
        let connection = self.connections.get_mut(&wire).unwrap();
        (connection.stream, connection.attaching) = (Some(stream), true);
        self.feed(machine, session, Input::Attach(asker, request));
    }

    pub(super) fn answer_attach(&mut self, machine: &mut Machine, session: SessionId, waiting: Waiting, reply: Reply) {
        let Waiting::Attach { wire, ref id, ref attach, stream: stream_id } = waiting else { return };
        let granted = match reply {
            Reply::Attached(granted) => self.granted(machine, session, id.clone(), attach, &granted),
            Reply::Error(error) => Err(error),
            _ => return,
        };
        match granted {
            Ok((attached, cursor)) => {
                machine.tally.count("attaches");
                let Some(connection) = self.connections.get_mut(&wire) else { return };
                connection.attaching = false;
                let client = connection.client.clone().unwrap();
                let epoch = attached.epoch;
                send(machine, wire, &StreamMessage::Attached(attached));
                if let Some(entry) = self.entries.get_mut(&session) {
                    let log = entry.log.clone().unwrap();
                    let teller = stream::Teller::new(attach.times);
                    entry.viewers.insert(stream_id, Viewer { wire, client, log, cursor, epoch, teller, done: false });
                }
            }
            Err(error) => {
                machine.tally.count("attaches were refused");
                self.refuse(machine, waiting, error);
                self.feed(machine, session, Input::StreamGone(stream_id));
            }
        }
    }

    fn granted(
        &mut self,
        machine: &mut Machine,
        session: SessionId,
        id: RequestId,
        attach: &protocol::Attach,
        granted: &session::Attached,
    ) -> Result<(Attached, abide_journal::Cursor), WireError> {
        let entry = &self.entries[&session];
        let Some(log) = entry.log.clone() else { return Err(WireError::new(Code::SessionStarting, "starting")) };
        let level = abide_journal::Level::Written;
        let end = stream::end_at(&log, level);
        let info = log.info().map_err(|_| WireError::new(Code::JournalFailed, "failed"))?;
        let mut cursor = match attach.from {
            StartAt::Offset { offset, epoch } => stream::start_at(&log, offset, epoch, level)?,
            StartAt::Live | StartAt::Snapshot => end.cursor(),
        };
        if cursor.offset.0 > 0 && cursor.offset < end.offset {
            machine.tally.count("a stream went on behind its beginning and before the end");
        }
        if machine.is(Mutant::OffByOneResume) && cursor.offset.0 > 0 && cursor.offset < end.offset {
            cursor = abide_journal::Cursor::at(cursor.offset.0 + 1);
        }
        let record = entry.core.facts().record();
        let (_, accepted) = entry.core.input_end();
        let attached = Attached {
            id,
            session,
            incarnation: record.incarnation,
            epoch: info.epoch.0,
            state: record.state,
            mode: granted.mode,
            offset: ByteOffset(cursor.offset.0),
            base_offset: ByteOffset(info.base.offset.0),
            end_offset: ByteOffset(end.offset.0),
            snapshot_bytes: 0,
            cols: record.cols,
            rows: record.rows,
            owner: record.owner.clone(),
            owner_epoch: record.owner_epoch,
            input_applied: if entry.link.is_some() { entry.applied() } else { accepted },
            input_window: limits::INPUT_WINDOW_BYTES,
            former: granted.former.map(|(owner_epoch, input_applied)| Former { owner_epoch, input_applied }),
        };
        Ok((attached, cursor))
    }

    pub(super) fn say_to_stream(
        &mut self,
        machine: &mut Machine,
        session: SessionId,
        stream: StreamId,
        message: &StreamMessage,
    ) {
        if let Some(viewer) = self.entries.get(&session).and_then(|entry| entry.viewers.get(&stream)) {
            send(machine, viewer.wire, message);
        }
    }

    pub(super) fn end_stream(
        &mut self,
        machine: &mut Machine,
        session: SessionId,
        stream: StreamId,
        detached: Detached,
    ) {
        if let Some(viewer) = self.entries.get_mut(&session).and_then(|entry| entry.viewers.get_mut(&stream)) {
            viewer.detach_once(machine, detached);
        }
    }

    pub(super) fn complain(&mut self, machine: &mut Machine, id: SessionId, client: &ClientId, error: WireError) {
        let mut viewers = self.entries.get(&id).into_iter().flat_map(|entry| entry.viewers.values());
        if let Some(viewer) = viewers.rfind(|viewer| viewer.client == *client) {
            send(machine, viewer.wire, &StreamMessage::Error(ErrorMessage { id: None, error }));
        }
    }

    pub(super) fn input(
        &mut self,
        machine: &mut Machine,
        id: SessionId,
        stream: StreamId,
        epoch: OwnerEpoch,
        offset: InputOffset,
        bytes: Bytes,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let applied = entry.applied();
        let (epoch_now, end) = entry.core.input_end();
        if machine.is(Mutant::NoFenceOfOwnerEpoch) {
            return self.pass(machine, id, epoch_now, end, &bytes);
        }
        match entry.core.input(stream, epoch, offset, bytes.len(), applied) {
            Ok(Some(_)) if machine.is(Mutant::ResendWithoutCut) => self.pass(machine, id, epoch, end, &bytes),
            Ok(Some(known)) => {
                if known > 0 {
                    machine.tally.count("input was cut");
                }
                if known < bytes.len() {
                    self.pass(machine, id, epoch, InputOffset(offset.0 + known as u64), &bytes[known..]);
                }
            }
            Ok(None) => entry.held.push_back((stream, epoch, offset, bytes)),
            Err(error) => {
                machine.tally.count("input was refused");
                let place = error.number("input_offset").unwrap_or(offset.0);
                let error = error.with("input_offset", place);
                self.say_to_stream(machine, id, stream, &StreamMessage::Error(ErrorMessage { id: None, error }));
            }
        }
    }

    fn pass(&mut self, machine: &mut Machine, id: SessionId, epoch: OwnerEpoch, offset: InputOffset, bytes: &[u8]) {
        if let Some(wire) = self.entries.get(&id).and_then(|entry| entry.link) {
            let frame = abide_holder::ToHolder::Input { owner_epoch: epoch.0, input_offset: offset.0, bytes };
            let mut encoded = Vec::new();
            frame.encode(&mut encoded);
            machine.net.write(wire, End::Client, &encoded);
        }
    }

    /// The owner was handed in: what it sent meanwhile goes on.
    pub(super) fn take_held_input(&mut self, machine: &mut Machine, id: SessionId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.held.is_empty() || entry.core.is_handing_over() {
            return;
        }
        machine.tally.count("input was held for a new owner");
        for (stream, epoch, offset, bytes) in std::mem::take(&mut entry.held) {
            self.input(machine, id, stream, epoch, offset, bytes);
        }
    }

    /// Tells owners how much of their input was applied, where that has moved.
    pub(super) fn tell_applied(&mut self, machine: &mut Machine) -> bool {
        let mut news = Vec::new();
        for (id, entry) in &mut self.entries {
            if entry.core.is_handing_over() {
                continue;
            }
            let now = (entry.core.input_end().0, entry.applied());
            if now != entry.told && entry.link.is_some() {
                entry.told = now;
                news.extend(entry.core.owner_stream().map(|stream| (*id, stream, now)));
            }
        }
        let moved = !news.is_empty();
        for (id, stream, (owner_epoch, input_offset)) in news {
            let told = InputApplied { owner_epoch, input_offset, is_final: false };
            self.say_to_stream(machine, id, stream, &StreamMessage::InputApplied(told));
        }
        moved
    }
}
