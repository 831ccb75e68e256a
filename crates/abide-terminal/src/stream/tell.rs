//! What a stream is told of the records of its log.

use abide_journal::{Content, Record};
use abide_wire::Code;
use bytes::Bytes;

use crate::ids::{ByteOffset, ClientId};
use crate::protocol::{Hole, Mode, OwnershipChanged, Restored, SizeChanged, StreamMessage, Time};
use crate::store::{Mark, MarkKind};

/// What is sent of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Bytes of the program.
    Output {
        /// Offset of the first.
        offset: ByteOffset,
        /// At least one.
        bytes: Bytes,
    },
    /// What happened there. Boxed: it is rare and large.
    Message(Box<StreamMessage>),
}

/// What one stream is told, record by record.
#[derive(Debug, Default)]
pub struct Teller {
    /// When each record was written is told too.
    times: bool,
    /// The last record was a mark that names the gap behind it, which may come with the next read only.
    hole_told: bool,
}

impl Teller {
    /// For a stream that has told nothing yet. `times`: it is one of a recorder, which is told when each record was
    /// written, and the size with which a program starts.
    pub fn new(times: bool) -> Self {
        Self { times, hole_told: false }
    }

    /// What comes next does not follow what was told of before.
    pub fn skip(&mut self) {
        self.hole_told = false;
    }

    /// What the stream of this client is told of these records, which follow those told of before. `types`: it is the one
    /// that types, or will be from the next change of owner on.
    pub fn tell(&mut self, records: &[Record], client: &ClientId, types: bool) -> Vec<Told> {
        let mut told = Vec::with_capacity(records.len());
        for record in records {
            let offset = ByteOffset(record.offset.0);
            let message = match &record.content {
                Content::Data(bytes) => {
                    self.hole_told = false;
                    told.extend(self.time(record));
                    told.push(Told::Output { offset, bytes: bytes.clone() });
                    continue;
                }
                Content::Mark(payload) => of_mark(record, payload, client, types)
                    .or_else(|| self.times.then(|| of_start(record, payload)).flatten()),
                Content::Gap(_) if self.hole_told => None,
                Content::Gap(bytes) => {
                    Some(StreamMessage::Hole(Hole { offset, code: Code::JournalFailed, lost_bytes: Some(*bytes) }))
                }
            };
            // A gap stands behind the mark that names it.
            self.hole_told = matches!((&record.content, &message), (Content::Mark(_), Some(StreamMessage::Hole(_))));
            if let Some(message) = message {
                told.extend(self.time(record));
                told.push(Told::Message(Box::new(message)));
            }
        }
        told
    }

    fn time(&self, record: &Record) -> Option<Told> {
        let time = Time { offset: ByteOffset(record.offset.0), at: record.time_us / 1_000 };
        self.times.then(|| Told::Message(Box::new(StreamMessage::Time(time))))
    }
}

/// The size with which a program starts: a recording has no other one to begin with.
fn of_start(record: &Record, payload: &[u8]) -> Option<StreamMessage> {
    let offset = ByteOffset(record.offset.0);
    match Mark::read(record.tag, payload)?.kind {
        MarkKind::Started { cols, rows, .. } => Some(StreamMessage::Resized(SizeChanged { offset, cols, rows })),
        _ => None,
    }
}

fn of_mark(record: &Record, payload: &[u8], client: &ClientId, types: bool) -> Option<StreamMessage> {
    let offset = ByteOffset(record.offset.0);
    Some(match Mark::read(record.tag, payload)?.kind {
        MarkKind::Resized { cols, rows } => StreamMessage::Resized(SizeChanged { offset, cols, rows }),
        MarkKind::OwnerChanged { former, owner, owner_epoch, cause } => {
            let mode = if types && owner.as_ref() == Some(client) { Mode::Owner } else { Mode::Observer };
            StreamMessage::OwnershipChanged(OwnershipChanged { offset, former, owner, owner_epoch, cause, mode })
        }
        MarkKind::Restoring { incarnation, r#as, code } => {
            StreamMessage::Restored(Restored { offset, incarnation, at: record.time_us / 1_000, r#as, code })
        }
        MarkKind::Hole { code, lost_bytes } => {
            let code = code.parse().unwrap_or(Code::JournalFailed);
            StreamMessage::Hole(Hole { offset, code, lost_bytes })
        }
        MarkKind::Started { .. } | MarkKind::Exited { .. } => return None,
    })
}
