//! Commands that only a session's owner may give: `signal`, `resize`, `release`.
//!
//! A command is a client of its own and owns nothing. In a session that nobody owns, or with `--take` in any, it owns it for
//! as long as the command takes, and hands it back.

use std::io::{self, Write as _};

use abide_terminal::protocol::{ControlRequest, Release, Request, Resize, SendSignal, SessionRef, Take};
use abide_terminal::{OwnerEpoch, Record};
use serde::Serialize;

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::Failure;
use crate::format::{self, Format};

pub(crate) fn signal(global: &Global, args: &args::Signal) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.inspect(&args.name)?;
    let session = SessionRef::Id(record.id);
    let target = args.target.into();
    let request = SendSignal { session, signal: args.which, target, owner_epoch: None };
    let answer = as_owner(&mut context, &record, args.take, request)?;
    tell(global, &answer, &format!("{}: sent {}", record.name, args.which))
}

pub(crate) fn resize(global: &Global, args: &args::Resize) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.inspect(&args.name)?;
    let (cols, rows) = args.size;
    let session = SessionRef::Id(record.id);
    let resize = Resize { session, cols, rows, xpixel: 0, ypixel: 0, owner_epoch: None };
    let resized = as_owner(&mut context, &record, args.take, resize)?;
    let line = format!("{}: {}x{}", record.name, resized.cols, resized.rows);
    tell(global, &resized, &line)
}

pub(crate) fn release(global: &Global, args: args::Release) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.inspect(&args.name)?;
    let about = |failure: Failure| failure.about(&*record.name);
    let line = match &args.to {
        Some(client) => format!("{}: owned by {client}", record.name),
        None => format!("{}: owned by nobody", record.name),
    };
    if record.owner == args.to {
        return tell(global, &abide_terminal::protocol::Released { owner_epoch: record.owner_epoch }, &line);
    }
    let epoch = take(&mut context, &record).map_err(about)?;
    let release = |to| Release { session: SessionRef::Id(record.id), to, owner_epoch: Some(epoch) };
    let released = context.call(release(args.to));
    if released.is_err() {
        // It stays with whom it was.
        hand_back(&mut context, &record, epoch);
    }
    let released = released.map_err(about)?;
    tell(global, &released, &line)
}

/// Asks what only the owner may ask.
pub(super) fn as_owner<R>(context: &mut Context, record: &Record, takes: bool, request: R) -> Result<R::Answer, Failure>
where
    R: Request + Into<ControlRequest>,
{
    let about = |failure: Failure| failure.about(&*record.name);
    // The daemon says whose it is.
    if record.owner.is_some() && !takes {
        return context.call(request).map_err(about);
    }
    let epoch = take(context, record).map_err(about)?;
    let answer = context.call(request);
    hand_back(context, record, epoch);
    answer.map_err(about)
}

/// From whom the record says, and from nobody else.
fn take(context: &mut Context, record: &Record) -> Result<OwnerEpoch, Failure> {
    let session = SessionRef::Id(record.id);
    let taken = context.call(Take { session, owner_epoch: Some(record.owner_epoch), cols: 0, rows: 0 })?;
    Ok(taken.owner_epoch)
}

/// To whom it was taken from, if it is there, else to nobody.
fn hand_back(context: &mut Context, record: &Record, epoch: OwnerEpoch) {
    let release = |to| Release { session: SessionRef::Id(record.id), to, owner_epoch: Some(epoch) };
    if context.try_call(release(record.owner.clone())).is_err() && record.owner.is_some() {
        // If this fails too, the grace does it a little later.
        let _ = context.try_call(release(None));
    }
}

fn tell(global: &Global, answer: &impl Serialize, line: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match global.output {
        Format::Table if global.quiet => Ok(0),
        Format::Table => printed(writeln!(out, "{line}")),
        format => printed(format::value(&mut out, format, answer)),
    }
}
