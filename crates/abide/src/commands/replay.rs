//! `abide replay`: a session's output, shown again as it came.

use std::time::{Duration, Instant};

use abide_screen::{Model, Size};
use abide_terminal::client::StreamEvent;
use abide_terminal::protocol::Attach;
use abide_terminal::{ByteOffset, Record, seam};

use super::Outcome;
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::Failure;
use crate::recording::{self, Schedule};
use crate::window::Player;

/// Read at once; it is in memory while it is shown, so that no pause holds a connection up.
const PIECE_BYTES: u64 = 256 * 1024;

/// A terminal of unknown size.
const SIZE: (u16, u16) = (80, 24);

/// What is shown, and when it was written.
struct Shown {
    at_ms: u64,
    bytes: Vec<u8>,
}

pub(crate) fn replay(global: &Global, args: &args::Replay) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.named_or_only(args.name.as_ref())?;
    let from = recording::begin(&record, args.from)?;
    let screen = screen_at(&context, &record, from)?;
    let mut schedule = Schedule::new(args.speed, args.idle_max.unwrap_or(Duration::MAX));
    let refused = |error| Failure::system("the terminal", &error);
    let mut player = Player::new().map_err(refused)?;
    let mut shown = player.show(&screen).map_err(refused)?;
    let (began, mut at) = (Instant::now(), from);
    while shown && at < record.end_offset {
        let until = ByteOffset(record.end_offset.0.min(at.0 + PIECE_BYTES));
        for Shown { at_ms, bytes } in piece(&context, &record, at, until)? {
            // Later than the clock can tell is never.
            let due = began.checked_add(schedule.due(at_ms));
            shown = player.wait_until(due).map_err(refused)? && player.show(&bytes).map_err(refused)?;
            if !shown {
                break;
            }
        }
        at = until;
    }
    Ok(0)
}

fn piece(context: &Context, record: &Record, from: ByteOffset, until: ByteOffset) -> Result<Vec<Shown>, Failure> {
    let attach = Attach { times: true, ..recording::range(record, from, Some(until)) };
    let (mut shown, mut at_ms) = (Vec::new(), 0);
    recording::read(context, record, attach, |event| {
        match event {
            StreamEvent::Time(time) => at_ms = time.at,
            StreamEvent::Output { bytes, .. } => shown.push(Shown { at_ms, bytes: bytes.to_vec() }),
            StreamEvent::Restored(restored) => {
                shown.push(Shown { at_ms, bytes: seam(&restored.code, restored.at) });
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(shown)
}

/// What rebuilds the screen as it was at an offset: nothing at the begin, where it is empty.
fn screen_at(context: &Context, record: &Record, offset: ByteOffset) -> Result<Vec<u8>, Failure> {
    if offset <= record.base_offset {
        return Ok(Vec::new());
    }
    let mut model = Model::new(Size { cols: SIZE.0, rows: SIZE.1 }, 0);
    let attach = Attach { times: true, ..recording::range(record, record.base_offset, Some(offset)) };
    recording::read(context, record, attach, |event| {
        let drawn = match event {
            StreamEvent::Output { bytes, .. } => model.feed(bytes),
            StreamEvent::Resized(size) => model.resize(size.cols, size.rows),
            StreamEvent::Restored(restored) => model.feed(&seam(&restored.code, restored.at)),
            _ => Ok(()),
        };
        drawn.map_err(std::io::Error::other)
    })?;
    Ok(model.snapshot(0).bytes)
}
