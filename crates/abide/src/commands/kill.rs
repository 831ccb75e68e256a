//! `abide kill`: ends sessions, and tells what became of each.

use std::io::{self, Write as _};
use std::time::Duration;

use abide_terminal::client::{Stream, StreamEnd, StreamEvent, WhenGone};
use abide_terminal::protocol::{Attach, Kill, List, Mode, SessionRef, StartAt, Take};
use abide_terminal::{Exit, ExitKind, Record, State};
use abide_wire::Code;

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::{Failure, printable};
use crate::format::{self, Format, now_ms};

/// A kill is over its grace and a second after it was accepted; the rest is for the answer to come.
const AFTER_DEADLINE: Duration = Duration::from_secs(4);

pub(crate) fn kill(global: &Global, args: &args::Kill) -> Outcome {
    let mut context = Context::new(global, true)?;
    let targets = targets(&mut context, args)?;
    let mut failed = None;
    // All are asked before any is waited for.
    let mut asked = Vec::new();
    for record in targets {
        match ask(&mut context, args, &record) {
            Ok(deadline_ms) => asked.push((record, deadline_ms)),
            Err(failure) => failed = Some(tell(failed, failure)),
        }
    }
    for (record, deadline_ms) in asked {
        match wait(&context, &record, deadline_ms) {
            Ok(exit) => report(global, &mut context, &record, &exit)?,
            Err(failure) => failed = Some(tell(failed, failure)),
        }
    }
    failed.map_or(Ok(0), Err)
}

/// Only one failure can be the command's; those before it are told here.
fn tell(before: Option<Failure>, failure: Failure) -> Failure {
    if let Some(before) = before {
        let _ = writeln!(io::stderr(), "{}", before.line());
    }
    failure
}

fn targets(context: &mut Context, args: &args::Kill) -> Result<Vec<Record>, Failure> {
    if !args.label.is_empty() {
        let mut records = context.list(&List { labels: args.label.iter().cloned().collect(), ..List::default() })?;
        records.retain(|record| record.state != State::Finalized);
        return Ok(records);
    }
    if args.names.is_empty() {
        return Ok(vec![context.named_or_only(None)?]);
    }
    args.names.iter().map(|name| context.inspect(name)).collect()
}

/// Takes the session over where that is needed, and asks for its end; tells when SIGKILL is due.
fn ask(context: &mut Context, args: &args::Kill, record: &Record) -> Result<u64, Failure> {
    let session = SessionRef::Id(record.id);
    let grace_ms = args.grace.map(|grace| u32::try_from(grace.as_millis()).unwrap_or(u32::MAX));
    let kill = Kill { session: session.clone(), grace_ms, force: args.force, signal: args.signal, owner_epoch: None };
    let take = Take { session, owner_epoch: None, cols: 0, rows: 0 };
    let about = |failure: Failure| failure.about(&*record.name);
    let answer = context.call(kill.clone()).or_else(|failure| match failure.code() {
        Code::RoleForbidden => {
            context.call(take)?;
            context.call(kill)
        }
        _ => Err(failure),
    });
    Ok(answer.map_err(about)?.deadline_ms)
}

/// Waits for the session's end.
fn wait(context: &Context, record: &Record, deadline_ms: u64) -> Result<Exit, Failure> {
    let attach = Attach { from: StartAt::Live, ..Attach::new(SessionRef::Id(record.id), Mode::Observer) };
    let (identity, address) = (context.identity()?, context.address());
    let patience = Duration::from_millis(deadline_ms.saturating_sub(now_ms())) + AFTER_DEADLINE;
    let exit = async {
        let mut stream = Stream::new(identity, address, attach, WhenGone::Nearest);
        loop {
            match stream.next().await {
                Ok(StreamEvent::Exited(exited)) => return Ok(exited.exit),
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => return Err(Failure::timed_out().about(&*record.name)),
                Err(StreamEnd::Failed(error)) => return Err(Failure::new(error).about(&*record.name)),
            }
        }
    };
    let waited = context.block_on(async { tokio::time::timeout(patience, exit).await });
    waited.unwrap_or_else(|_| Err(Failure::timed_out().about(&*record.name)))
}

fn report(global: &Global, context: &mut Context, record: &Record, exit: &Exit) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if global.output != Format::Table {
        let record = context.inspect(&SessionRef::Id(record.id))?;
        return printed(format::value(&mut out, Format::Jsonl, &record)).map(drop);
    }
    let how = match &exit.kind {
        ExitKind::Code(code) => format!("exited with {code}"),
        ExitKind::Signal(name) => format!("ended by {name}"),
        ExitKind::NeverStarted(_) => "never started".to_owned(),
        ExitKind::SpawnFailed(code) | ExitKind::Lost(code) => code.clone(),
        ExitKind::Unreaped(_) => "could not be ended".to_owned(),
    };
    printed(writeln!(out, "{}: {how}", record.name))?;
    for survivor in &exit.survivors {
        printed(writeln!(out, "{}: left over: {} {}", record.name, survivor.pid, printable(&survivor.command)))?;
    }
    Ok(())
}
