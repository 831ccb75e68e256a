//! A stream: a reader of a session's log at its own pace.

use abide_journal::{Cursor, Error as JournalError, Level, Log, ReadLimit};
use abide_terminal::protocol::{Detached, ExitTold, OnLag, StreamMessage, message_frame, output_header};
use abide_terminal::session::StreamId;
use abide_terminal::stream::{self, Lag, Seen, Step, Teller, Told};
use abide_terminal::{ByteOffset, ClientId, SessionId, State};
use abide_wire::Code;

use super::Daemon;
use crate::machine::Machine;
use crate::mutant::Mutant;
use crate::network::{End, WireId};

/// Records that are looked at for one step.
const RECORDS_MAX: usize = 16;

pub(super) struct Viewer {
    pub(super) wire: WireId,
    pub(super) client: ClientId,
    pub(super) log: Log,
    pub(super) cursor: Cursor,
    pub(super) epoch: u64,
    pub(super) teller: Teller,
    pub(super) done: bool,
}

impl Viewer {
    fn say(&self, machine: &mut Machine, message: &StreamMessage) {
        let mut bytes = Vec::new();
        message_frame(message, &mut bytes);
        machine.net.write(self.wire, End::Server, &bytes);
    }

    pub(super) fn detach_once(&mut self, machine: &mut Machine, detached: Detached) {
        if !self.done {
            self.done = true;
            let detached =
                Detached { resume_offset: Some(ByteOffset(self.cursor.offset.0)), epoch: Some(self.epoch), ..detached };
            self.say(machine, &StreamMessage::Detached(detached));
        }
    }

    pub(super) fn detach(mut self, machine: &mut Machine, detached: Detached) {
        self.detach_once(machine, detached);
    }
}

impl Daemon {
    /// A step of one of the streams.
    pub(super) fn stream_some(&mut self, machine: &mut Machine) -> bool {
        let streams: Vec<(StreamId, SessionId)> = self
            .streams
            .iter()
            .filter(|(stream, session)| {
                self.entries.get(session).is_some_and(|entry| entry.viewers.contains_key(stream))
            })
            .map(|(stream, session)| (*stream, *session))
            .collect();
        if streams.is_empty() {
            return false;
        }
        let (stream, session) = streams[machine.rng.index(streams.len())];
        self.stream_step(machine, session, stream)
    }

    pub(super) fn stream_step(&mut self, machine: &mut Machine, session: SessionId, id: StreamId) -> bool {
        let entry = self.entries.get_mut(&session).unwrap();
        let record = entry.core.facts().record();
        let (state, exit, exited_at) = (record.state, record.exit.clone(), record.exited_at);
        let types = entry.core.next_owner_stream() == Some(id);
        let Some(viewer) = entry.viewers.get_mut(&id) else { return false };
        if viewer.done {
            // What was said last is on its way: the connection ends behind it.
            let wire = viewer.wire;
            self.close(machine, wire);
            return true;
        }
        let seen = Seen {
            cursor: viewer.cursor,
            end: stream::end_at(&viewer.log, Level::Written),
            base: ByteOffset(0),
            model: ByteOffset(0),
            until: None,
            lag: Lag { on_lag: OnLag::Follow, bytes_max: 0 },
            snapshot_left: 0,
            room: machine.limits.socket_high_bytes.saturating_sub(machine.net.unread(viewer.wire, End::Server)),
            credit: u64::MAX,
            finalized: state == State::Finalized,
            removed: false,
        };
        match stream::next(&seen) {
            Step::Read(bytes) => {
                let limit = ReadLimit { bytes: bytes.min(machine.limits.chunk_bytes), records: RECORDS_MAX };
                match viewer.log.read_bytes(viewer.cursor, limit, Level::Written, true) {
                    Ok(read) => {
                        viewer.cursor = read.next;
                        let told = viewer.teller.tell(&read.records, &viewer.client, types);
                        send_told(machine, viewer, told);
                    }
                    Err(JournalError::PositionTrimmed { base }) => {
                        machine.tally.count("a stream was overtaken by a trim");
                        viewer.cursor = Cursor { offset: base.offset, lsn: None };
                        viewer.detach_once(machine, Detached::new(Code::OffsetTrimmed));
                    }
                    Err(_) => {
                        let detached = Detached { restart: true, ..Detached::new(Code::DaemonStopping) };
                        viewer.detach_once(machine, detached);
                    }
                }
                true
            }
            Step::AwaitRoom => {
                machine.tally.count("a stream waited for room");
                false
            }
            Step::AwaitOutput => false,
            Step::Snapshot(_) | Step::Resync => panic!("streams follow here, from offsets"),
            Step::Exited => {
                if let (Some(exit), Some(exited_at)) = (exit, exited_at) {
                    let offset = ByteOffset(viewer.cursor.offset.0);
                    viewer.say(machine, &StreamMessage::Exited(ExitTold { offset, exit, exited_at }));
                }
                viewer.detach_once(machine, Detached::new(Code::SessionExited));
                true
            }
            Step::End(code) => {
                viewer.detach_once(machine, Detached::new(code));
                true
            }
        }
    }
}

fn send_told(machine: &mut Machine, viewer: &Viewer, told: Vec<Told>) {
    for told in told {
        match told {
            Told::Output { offset, bytes } => {
                machine.net.write(viewer.wire, End::Server, &output_header(offset, bytes.len()));
                machine.net.write(viewer.wire, End::Server, &bytes);
            }
            Told::Message(message) => {
                let hides = machine.is(Mutant::SkipUnnamed) && matches!(*message, StreamMessage::Hole(_));
                if !hides {
                    viewer.say(machine, &message);
                }
            }
        }
    }
}
