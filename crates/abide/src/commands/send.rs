//! `abide send`: types into a session from a script.

use std::io::{self, Read as _};
use std::time::Instant;

use abide_terminal::protocol::{Inspect, Release, SessionRef, Take, WireError, Write};
use abide_terminal::{ByteOffset, InputOffset, OwnerEpoch, Record};
use abide_wire::Code;
use bytes::Bytes;
use serde::Serialize;

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::Failure;
use crate::format;

/// Input of one request.
const PIECE_BYTES: usize = 64 * 1024;

/// What the command prints.
#[derive(Serialize)]
struct Sent {
    /// Output that the input causes stands behind this: `--from` of a wait.
    offset: ByteOffset,
}

pub(crate) fn send(global: &Global, send: &args::Send) -> Outcome {
    let mut input = if send.text == "-" { standard_input()? } else { send.text.clone().into_bytes() };
    if send.enter {
        input.push(b'\r');
    }
    let mut context = Context::new(global, true)?;
    let record = context.inspect(&send.name)?;
    let about = |failure: Failure| failure.about(&*record.name);
    if record.owner.is_some() && !send.take {
        let owned = WireError::new(Code::SessionOwned, "session is owned by another client");
        return Err(about(Failure::new(owned).hint(format!("abide send {} TEXT --take", record.name))));
    }
    let session = SessionRef::Id(record.id);
    // Whoever came meanwhile is not overrun.
    let take = Take { session: session.clone(), owner_epoch: Some(record.owner_epoch), cols: 0, rows: 0 };
    let owner_epoch = context.call(take).map_err(about)?.owner_epoch;
    let offset = context.call(Inspect { session, env: false }).map_err(about)?.session.end_offset;
    let typed = type_all(&mut context, &record, owner_epoch, Bytes::from(input));
    let back = hand_back(&mut context, &record, owner_epoch);
    typed.and(back).map_err(about)?;
    printed(format::value(&mut io::stdout().lock(), global.output, &Sent { offset }))
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input).map_err(|error| Failure::system("standard input", &error))?;
    Ok(input)
}

/// Types piece by piece, each once, and waits until the program's terminal has taken all of it.
fn type_all(context: &mut Context, record: &Record, owner_epoch: OwnerEpoch, mut input: Bytes) -> Result<(), Failure> {
    let deadline = Instant::now().checked_add(context.timeout);
    let mut at = InputOffset(0);
    while !input.is_empty() {
        let piece = input.slice(..input.len().min(PIECE_BYTES));
        let write = Write {
            session: SessionRef::Id(record.id),
            data: piece,
            owner_epoch: Some(owner_epoch),
            input_offset: Some(at),
        };
        let applied = context.call(write)?.input_applied;
        // What was not taken yet is said again: the daemon cuts off what it knows.
        let taken = usize::try_from(applied.0.saturating_sub(at.0)).unwrap_or(usize::MAX).min(input.len());
        at = InputOffset(at.0 + taken as u64);
        input = input.slice(taken..);
        if !input.is_empty() && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let unread =
                WireError::new(Code::DaemonUnreachable, format!("{} bytes were not read in time", input.len()));
            return Err(Failure::new(unread));
        }
    }
    Ok(())
}

/// To whom it was taken from, if they look on still; else nobody owns it, as before.
fn hand_back(context: &mut Context, record: &Record, owner_epoch: OwnerEpoch) -> Result<(), Failure> {
    let release = |to| Release { session: SessionRef::Id(record.id), to, owner_epoch: Some(owner_epoch) };
    let released = match context.try_call(release(record.owner.clone())) {
        Err(error) if error.code == Code::BadRequest => context.try_call(release(None)),
        released => released,
    };
    match released {
        // Somebody took it over, or it has ended: nothing is left to hand back.
        Err(error) if !matches!(error.code, Code::OwnerChanged | Code::RoleForbidden) => Err(error.into()),
        _ => Ok(()),
    }
}
