//! What a session printed, read from its log: for `logs`, `replay` and `export`.

mod asciicast;
mod lines;
mod schedule;

use std::io::{self, Write as _};

use abide_terminal::client::{Stream, StreamEnd, StreamEvent, WhenGone};
use abide_terminal::protocol::{Attach, Mode, SessionRef, StartAt, WireError};
use abide_terminal::{ByteOffset, Record};
use abide_wire::Code;

pub(crate) use asciicast::Asciicast;
pub(crate) use lines::Lines;
pub(crate) use schedule::Schedule;

use crate::context::Context;
use crate::failure::Failure;

/// The first offset that was asked for, or the first that is kept.
pub(crate) fn begin(record: &Record, from: Option<u64>) -> Result<ByteOffset, Failure> {
    match from {
        Some(offset) if offset > record.end_offset.0 => {
            let error = WireError::new(Code::OffsetAhead, format!("its output ends at {}", record.end_offset));
            Err(Failure::new(error).about(&*record.name))
        }
        Some(offset) => Ok(ByteOffset(offset)),
        None => Ok(record.base_offset),
    }
}

/// A stream of an observer over this range; to the end of the session without `until`.
pub(crate) fn range(record: &Record, from: ByteOffset, until: Option<ByteOffset>) -> Attach {
    Attach {
        from: StartAt::Offset { offset: from, epoch: None },
        until,
        ..Attach::new(SessionRef::Id(record.id), Mode::Observer)
    }
}

/// Hands each event of a stream to `each`, until the stream ends or nobody reads what `each` writes. What is missing is
/// told on standard error.
pub(crate) fn read(
    context: &Context,
    record: &Record,
    attach: Attach,
    mut each: impl FnMut(&StreamEvent) -> io::Result<()>,
) -> Result<(), Failure> {
    let (identity, address) = (context.identity()?, context.address());
    context.block_on(async {
        let mut stream = Stream::new(identity, address, attach, WhenGone::Nearest);
        loop {
            match stream.next().await {
                Ok(event) => {
                    if let Some(missing) = missing(&event) {
                        let _ = writeln!(io::stderr(), "abide: {missing}");
                    }
                    match each(&event) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                        Err(error) => return Err(Failure::system("output", &error)),
                    }
                }
                Err(StreamEnd::Finished(_)) => return Ok(()),
                Err(StreamEnd::Failed(error)) => return Err(Failure::new(error).about(&*record.name)),
            }
        }
    })
}

/// Output that a reader of the log does not get.
fn missing(event: &StreamEvent) -> Option<String> {
    match event {
        StreamEvent::Hole(hole) => {
            let lost = hole.lost_bytes.map_or("some".to_owned(), |bytes| bytes.to_string());
            Some(format!("{lost} bytes of output are missing at {} ({})", hole.offset, hole.code))
        }
        StreamEvent::Skipped { from, to } => {
            Some(format!("output from {from} to {to} is not kept any more (OFFSET_TRIMMED)"))
        }
        StreamEvent::TakenBack { from, to } => {
            Some(format!("output from {from} to {to} was lost after it was shown (OFFSET_AHEAD)"))
        }
        _ => None,
    }
}
