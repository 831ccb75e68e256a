//! The way of a program's output into its log: what is taken, in which order it is appended, and when it may be let go.
//!
//! ```text
//!  holder's ring ──gather──► append ──► (written) ──answered──► acknowledge, up to there
//!        ▲                      │ no room: nothing is dropped, it is taken again
//!        └──────────────────────┘
//! ```
//!
//! The invariant: nothing is acknowledged that is not in the journal, and session offset = ring offset, always.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use abide_journal::{AppendOptions, Appended, Content, Durability, Entry, Error as JournalError, Expect, Log, Ticket};
use abide_wire::Code;
use bytes::Bytes;

use crate::store::{Mark, MarkKind};
use crate::stream;

/// Most bytes of one data entry: a few of them are under way at once, so that holder and journal work side by side.
pub const ENTRY_BYTES_MAX: usize = 64 << 10;

/// Appends under way for one session.
const APPENDS_MAX: usize = 2;

/// Whether the output of a holder goes into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Not yet: it stands behind the record of the program's start.
    Waits,
    /// It does.
    Goes,
    /// Not any more: the session ended without it.
    Ended,
}

impl Flow {
    /// The rest of a holder that has died is taken, unless the session ended without it.
    #[must_use]
    pub fn of_rest(self) -> Self {
        match self {
            Self::Waits | Self::Goes => Self::Goes,
            Self::Ended => Self::Ended,
        }
    }
}

/// The output of one adopted holder on its way.
#[derive(Debug)]
pub struct Intake {
    log: Log,
    /// Offset of the next byte that is appended.
    next: u64,
    under_way: VecDeque<UnderWay>,
    /// The store is full: nothing is tried until it has room.
    full: bool,
}

#[derive(Debug)]
struct UnderWay {
    /// Offset behind it.
    end: u64,
    ticket: Ticket<Appended>,
}

/// An append that was answered.
#[derive(Debug)]
pub struct Answered {
    /// Offset behind it.
    end: u64,
    result: Result<(), JournalError>,
}

/// What lies between a ring and its log when the holder is adopted.
#[derive(Debug)]
pub enum Begin {
    /// The log has everything below this offset: what the ring still holds of it is acknowledged.
    Acknowledge(u64),
    /// Output that was acknowledged and that the journal lost since. It is named, so that later bytes keep their offsets:
    /// these are to be appended, as one unit, before anything else.
    Name(Vec<(Log, Entry)>),
}

impl Intake {
    /// Begins where the ring was acknowledged last, `acked`; `head` is the ring's end.
    pub fn begin(log: Log, acked: u64, head: u64) -> (Self, Begin) {
        let end = stream::written(&log).offset.0;
        let begin = if acked <= end {
            Begin::Acknowledge(end.min(head))
        } else {
            // Of one whose log is empty all is gone: it was another journal that had it.
            let code = if end == 0 { Code::JournalMissing } else { Code::JournalFailed };
            Begin::Name(missing(&log, code, Some(acked - end)))
        };
        (Self { log, next: acked.max(end), under_way: VecDeque::new(), full: false }, begin)
    }

    /// Offset of the next byte that is appended.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that a ring with this end holds beyond what was taken.
    pub fn waiting(&self, head: u64) -> usize {
        usize::try_from(head.saturating_sub(self.next)).unwrap_or(usize::MAX)
    }

    /// Whether output may be appended now, where so many bytes wait. Beside an append that is under way only a full entry
    /// is: of less, more comes together until that is written, and the threads of the journal are woken for many bytes
    /// instead of few.
    pub fn may_take(&self, waiting: usize) -> bool {
        !self.full
            && match self.under_way.len() {
                0 => true,
                under_way => under_way < APPENDS_MAX && waiting >= ENTRY_BYTES_MAX,
            }
    }

    /// What `read` gives, at most one entry; it is asked (offset, most bytes, where to) again until it has no more.
    pub fn gather<E>(
        &self,
        waiting: usize,
        mut read: impl FnMut(u64, usize, &mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<Vec<u8>, E> {
        let mut bytes = Vec::with_capacity(waiting.min(ENTRY_BYTES_MAX));
        while bytes.len() < ENTRY_BYTES_MAX {
            let (from, room) = (self.next + bytes.len() as u64, ENTRY_BYTES_MAX - bytes.len());
            if read(from, room, &mut bytes)? == 0 {
                break;
            }
        }
        Ok(bytes)
    }

    /// Appends what was gathered. `false`: there is no room, and it is to be gathered again when there is.
    ///
    /// Errors: the journal takes nothing more.
    pub fn append(&mut self, bytes: Vec<u8>, durability: Durability) -> Result<bool, JournalError> {
        let end = self.next + bytes.len() as u64;
        let options = AppendOptions::at(durability).expect(Expect::Offset(abide_journal::ByteOffset(self.next)));
        match self.log.try_append(Entry { tag: 0, content: Content::Data(Bytes::from(bytes)) }, options) {
            Ok(ticket) => {
                self.next = end;
                self.under_way.push_back(UnderWay { end, ticket });
                Ok(true)
            }
            // A full queue shrinks with the appends of others; the space watch moves when it has.
            Err(JournalError::Full | JournalError::Busy) => {
                self.full = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The answer to the oldest append, for [`Intake::answered`]; pending if there is none.
    pub fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Answered> {
        let Some(append) = self.under_way.front_mut() else { return Poll::Pending };
        let Poll::Ready(result) = Pin::new(&mut append.ticket).poll(context) else { return Poll::Pending };
        let end = append.end;
        self.under_way.pop_front();
        Poll::Ready(Answered { end, result: result.map(|_| ()) })
    }

    /// The oldest append was answered: what may be acknowledged now, if anything.
    ///
    /// Errors: the journal takes nothing more, or not this.
    pub fn answered(&mut self, answered: Answered) -> Result<Option<u64>, JournalError> {
        match answered.result {
            Ok(()) => Ok(Some(answered.end)),
            // Nothing was written: the ring has the bytes still, and what was appended behind them was refused too.
            Err(JournalError::Full) => {
                self.full = true;
                self.under_way.clear();
                self.next = stream::written(&self.log).offset.0;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the store had no room when it was tried last.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The store may have room again.
    pub fn space(&mut self) {
        self.full = false;
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether all output is in the journal, of a terminal whose output ends at `eof_offset` (or has not ended).
    pub fn has_all(&self, eof_offset: u64) -> bool {
        eof_offset != abide_holder::NO_EOF && self.is_idle() && self.next >= eof_offset
    }
}

/// What names output that is missing at the end of a log: a mark, and a gap of so many bytes where that is known.
pub fn missing(log: &Log, code: Code, lost_bytes: Option<u64>) -> Vec<(Log, Entry)> {
    let mark = Mark { kind: MarkKind::Hole { code: code.as_str().to_owned(), lost_bytes }, event: None };
    let mut entries = vec![(log.clone(), Entry::mark(mark.tag(), mark.payload().unwrap_or_default()))];
    entries.extend(lost_bytes.map(|bytes| (log.clone(), Entry::gap(bytes))));
    entries
}
