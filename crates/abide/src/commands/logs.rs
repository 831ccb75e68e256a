//! `abide logs`: what a session printed.

use abide_terminal::client::{Stream, StreamEvent, WhenGone};
use abide_terminal::protocol::{Attach, Mode, SessionRef, StartAt, WireError};
use abide_terminal::{ByteOffset, Record};

use abide_wire::Code;

use super::Outcome;
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::Failure;
use crate::window::{self, Ending, Show, Source};

/// The first piece from the end that is looked through for lines; doubled until it holds enough of them.
const TAIL_BYTES: u64 = 64 * 1024;

pub(crate) fn logs(global: &Global, logs: &args::Logs) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.named_or_only(logs.name.as_ref())?;
    let from = match (logs.from, logs.tail) {
        (Some(offset), _) if offset > record.end_offset.0 => {
            let error = WireError::new(Code::OffsetAhead, format!("its output ends at {}", record.end_offset));
            return Err(Failure::new(error).about(record.name));
        }
        (Some(offset), _) => ByteOffset(offset),
        (None, Some(lines)) => tail_begin(&context, &record, lines)?,
        (None, None) => record.base_offset,
    };
    let attach = Attach {
        from: StartAt::Offset { offset: from, epoch: None },
        until: (!logs.follow).then_some(record.end_offset),
        ..Attach::new(SessionRef::Id(record.id), Mode::Observer)
    };
    let shown = window::show(Show {
        address: context.address(),
        identity: context.identity()?,
        attach,
        when_gone: WhenGone::Nearest,
        source: Source::Nothing,
        name: &record.name,
        take: None,
    });
    match shown.map_err(|error| Failure::system("standard output", &error))? {
        Ending::Left { .. } | Ending::Exited(_) | Ending::Finished(_) => Ok(0),
        Ending::Failed(error) => Err(Failure::new(error).about(record.name)),
    }
}

/// Where the last `lines` lines begin: read ever farther back from the end.
fn tail_begin(context: &Context, record: &Record, lines: u64) -> Result<ByteOffset, Failure> {
    let (base, end) = (record.base_offset.0, record.end_offset.0);
    let mut back = TAIL_BYTES;
    loop {
        let from = end.saturating_sub(back).max(base);
        let bytes = read(context, record, from, end)?;
        match begin_of_last_lines(&bytes, lines) {
            Some(begin) => return Ok(ByteOffset(end - (bytes.len() - begin) as u64)),
            None if from == base => return Ok(ByteOffset(base)),
            None => back = back.saturating_mul(2),
        }
    }
}

/// Where the last `lines` lines of the text begin; `None` if it holds fewer. A line that is not ended is one.
fn begin_of_last_lines(text: &[u8], lines: u64) -> Option<usize> {
    let Some(lines) = usize::try_from(lines).ok().filter(|lines| *lines > 0) else { return Some(text.len()) };
    let ended = usize::from(text.last() == Some(&b'\n'));
    let mut breaks = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    breaks.nth(lines - 1 + ended)
}

fn read(context: &Context, record: &Record, from: u64, until: u64) -> Result<Vec<u8>, Failure> {
    let attach = Attach {
        from: StartAt::Offset { offset: ByteOffset(from), epoch: None },
        until: Some(ByteOffset(until)),
        ..Attach::new(SessionRef::Id(record.id), Mode::Observer)
    };
    let (identity, address) = (context.identity()?, context.address());
    context.block_on(async {
        let mut stream = Stream::new(identity, address, attach, WhenGone::Nearest);
        let mut bytes = Vec::new();
        loop {
            match stream.next().await {
                Ok(StreamEvent::Output { bytes: piece, .. }) => bytes.extend_from_slice(&piece),
                Ok(_) => {}
                Err(abide_terminal::client::StreamEnd::Finished(_)) => return Ok(bytes),
                Err(abide_terminal::client::StreamEnd::Failed(error)) => {
                    return Err(Failure::new(error).about(&*record.name));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = b"one\ntwo\nthree\nfour";
        assert_eq!(begin_of_last_lines(text, 1), Some(14));
        assert_eq!(begin_of_last_lines(text, 3), Some(4));
        assert_eq!(begin_of_last_lines(text, 4), None);
        assert_eq!(begin_of_last_lines(b"one\ntwo\n", 1), Some(4));
        assert_eq!(begin_of_last_lines(b"one\ntwo\n", 0), Some(8));
        assert_eq!(begin_of_last_lines(b"", 1), None);
    }
}
