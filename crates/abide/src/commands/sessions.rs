//! Commands that list, describe and remove sessions.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use abide_terminal::State;
use abide_terminal::protocol::{Inspect, List, Name, Remove, Rename, SessionRef};
use abide_wire::Code;

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::format::{self, Format};

/// States of a session that has not ended for good.
const LIVE: [State; 4] = [State::Starting, State::Running, State::Terminating, State::Exited];

/// Bare `abide`: the sessions, and what to do next.
pub(crate) fn overview(global: &Global) -> Outcome {
    let ls = args::Ls { all: false, label: Vec::new(), no_start: false };
    let status = ls_of(global, &ls)?;
    if global.output == Format::Table && !global.quiet {
        let _ = writeln!(io::stderr(), "\nabide run          start a session\nabide attach NAME  return to one");
    }
    Ok(status)
}

pub(crate) fn ls(global: &Global, ls: &args::Ls) -> Outcome {
    ls_of(global, ls)
}

fn ls_of(global: &Global, ls: &args::Ls) -> Outcome {
    let mut context = Context::new(global, !ls.no_start)?;
    let labels: BTreeMap<String, String> = ls.label.iter().cloned().collect();
    let states = (!ls.all).then(|| LIVE.to_vec());
    let records = context.list(&List { labels, states, ..List::default() })?;
    printed(format::sessions(&mut io::stdout().lock(), global.output, &records, format::now_ms()))
}

pub(crate) fn inspect(global: &Global, inspect: &args::Inspect) -> Outcome {
    let mut context = Context::new(global, true)?;
    let session = SessionRef::Id(context.named_or_only(inspect.name.as_ref())?.id);
    let inspected = context.call(Inspect { session, env: inspect.env })?;
    printed(format::value(&mut io::stdout().lock(), global.output, &inspected))
}

pub(crate) fn rename(global: &Global, session: SessionRef, name: Name) -> Outcome {
    let mut context = Context::new(global, true)?;
    let old = session.to_string();
    let renamed = context.call(Rename { session, name }).map_err(|failure| failure.about(&*old))?;
    match global.output {
        Format::Table if global.quiet => Ok(0),
        Format::Table => printed(writeln!(io::stdout(), "renamed {old} to {}", renamed.session.name)),
        format => printed(format::value(&mut io::stdout().lock(), format, &renamed.session)),
    }
}

pub(crate) fn rm(global: &Global, rm: &args::Rm) -> Outcome {
    let mut context = Context::new(global, true)?;
    let mut sessions: Vec<(SessionRef, String)> =
        rm.names.iter().map(|name| (name.clone(), name.to_string())).collect();
    if rm.all_finalized {
        let ended = context.list(&List { states: Some(vec![State::Finalized]), ..List::default() })?;
        sessions.extend(ended.into_iter().map(|record| (SessionRef::Id(record.id), record.name)));
    } else if sessions.is_empty() {
        let only = context.named_or_only(None)?;
        sessions.push((SessionRef::Id(only.id), only.name));
    }
    for (session, name) in sessions {
        match context.call(Remove { session }) {
            Ok(_) => {}
            // Somebody else was quicker.
            Err(gone) if rm.all_finalized && gone.code() == Code::SessionGone => {}
            Err(failure) => return Err(failure.about(name)),
        }
        if !global.quiet {
            printed(writeln!(io::stdout(), "removed {name}"))?;
        }
    }
    Ok(0)
}
