//! `abide logs`: what a session printed.

use std::io::{self, Write as _};

use abide_terminal::client::{StreamEvent, WhenGone};
use abide_terminal::protocol::Attach;
use abide_terminal::{ByteOffset, Record};

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::Failure;
use crate::recording::{self, Lines};
use crate::window::{self, Ending, Show, Source};

/// The first piece from the end that is looked through for lines; doubled until it holds enough of them.
const TAIL_BYTES: u64 = 64 * 1024;

pub(crate) fn logs(global: &Global, logs: &args::Logs) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.named_or_only(logs.name.as_ref())?;
    let from = match logs.tail {
        Some(lines) => tail_begin(&context, &record, lines)?,
        None => recording::begin(&record, logs.from)?,
    };
    let attach = recording::range(&record, from, (!logs.follow).then_some(record.end_offset));
    if logs.plain {
        return plain(&context, &record, attach);
    }
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

fn plain(context: &Context, record: &Record, attach: Attach) -> Outcome {
    let mut out = io::stdout().lock();
    let mut lines = Lines::default();
    recording::read(context, record, attach, |event| match event {
        StreamEvent::Output { bytes, .. } => lines.write(bytes, &mut out).and_then(|()| out.flush()),
        _ => Ok(()),
    })?;
    printed(lines.finish(&mut out))
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
    let attach = recording::range(record, ByteOffset(from), Some(ByteOffset(until)));
    let mut read = Vec::new();
    recording::read(context, record, attach, |event| {
        if let StreamEvent::Output { bytes, .. } = event {
            read.extend_from_slice(bytes);
        }
        Ok(())
    })?;
    Ok(read)
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
