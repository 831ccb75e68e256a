//! Commands that look on: the text of a screen, a condition, events.

use std::io::{self, Write as _};
use std::time::Duration;

use abide_terminal::client::Events;
use abide_terminal::protocol::{Happened, SessionRef, Subscribe, Text, TextOf, Unsubscribe, Wait, WaitFor, WaitValue};
use abide_terminal::{ByteOffset, EventNumber};
use abide_wire::Code;

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::{Failure, printable};
use crate::format::{self, Format};

/// A wait that was not met, as every command that looked for something in vain.
const NOT_MET: u8 = 5;

/// What an answer may take beyond the time that the daemon waits.
const ANSWER_TIME: Duration = Duration::from_secs(10);

pub(crate) fn screen(global: &Global, screen: &args::Screen) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.named_or_only(screen.name.as_ref())?;
    let (what, lines) = match screen.scrollback {
        None => (TextOf::Screen, None),
        Some(lines) => (TextOf::All, Some(lines.saturating_add(u64::from(record.rows)))),
    };
    let text = context.call(Text { session: SessionRef::Id(record.id), what, lines });
    let text = text.map_err(|failure| failure.about(record.name))?;
    let mut out = io::stdout().lock();
    if screen.json || global.output != Format::Table {
        return printed(format::value(&mut out, global.output, &text));
    }
    printed(text.text.lines().try_for_each(|line| writeln!(out, "{}", printable(line))))
}

pub(crate) fn wait(global: &Global, wait: args::Wait) -> Outcome {
    let mut context = Context::new(global, true)?;
    let record = context.named_or_only(wait.name.as_ref())?;
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (what, value) = match (wait.condition.idle, wait.condition.expression) {
        (Some(idle), _) => (WaitFor::IdleMs, Some(WaitValue::Number(milliseconds(idle)))),
        (None, Some(expression)) => (WaitFor::Match, Some(WaitValue::Text(expression))),
        (None, None) => (WaitFor::Exit, None),
    };
    // What is printed from now on, however often the request is repeated over a lost daemon.
    let from = wait.from.map_or(record.end_offset, ByteOffset);
    let request = Wait {
        session: SessionRef::Id(record.id),
        r#for: what,
        value,
        from: Some(from).filter(|_| what == WaitFor::Match),
        timeout_ms: milliseconds(context.timeout),
    };
    let waited = context.call_within(context.timeout.saturating_add(ANSWER_TIME), request);
    let waited = waited.map_err(|failure| failure.about(record.name))?;
    printed(format::value(&mut io::stdout().lock(), global.output, &waited))?;
    Ok(if waited.met { 0 } else { NOT_MET })
}

pub(crate) fn events(global: &Global, events: &args::Events) -> Outcome {
    let mut context = Context::new(global, true)?;
    let mut ids = Vec::new();
    for session in &events.sessions {
        ids.push(context.inspect(session)?.id);
    }
    let (oldest, newest) = kept(&mut context)?;
    let from = events.from.map_or(if events.follow { newest } else { oldest }, EventNumber);
    let until = (!events.follow).then_some(newest);
    let wanted = |event: &Happened| ids.is_empty() || event.session.is_some_and(|session| ids.contains(&session));
    // Without an end one value would never be complete.
    let as_lines = events.follow || global.output != Format::Json;
    let mut told = Vec::new();
    let mut followed = follow(&context, from)?;
    let mut out = io::stdout().lock();
    let mut number = from;
    while until.is_none_or(|until| number < until) {
        let event = context.block_on(followed.next())?;
        number = event.event_number;
        match wanted(&event) {
            true if as_lines => {
                let written = format::value(&mut out, Format::Jsonl, &event).and_then(|()| out.flush());
                if written.is_err() {
                    return printed(written);
                }
            }
            true => told.push(event),
            false => {}
        }
    }
    if as_lines { Ok(0) } else { printed(format::value(&mut out, global.output, &told)) }
}

fn follow(context: &Context, from: EventNumber) -> Result<Events, Failure> {
    let wish = Subscribe { sessions: None, from_event: Some(from) };
    let (identity, address) = (context.identity()?, context.address());
    Ok(context.block_on(async { Events::new(identity, address, wish) }))
}

/// The number behind which events are kept, and that of the newest one.
fn kept(context: &mut Context) -> Result<(EventNumber, EventNumber), Failure> {
    let mut oldest = EventNumber(0);
    loop {
        match context.try_call(Subscribe { sessions: None, from_event: Some(oldest) }) {
            Ok(subscribed) => {
                context.call(Unsubscribe {})?;
                return Ok((oldest, subscribed.head));
            }
            Err(error) => match error.number("base_event").filter(|_| error.code == Code::OffsetTrimmed) {
                Some(base) if base > oldest.0 => oldest = EventNumber(base),
                _ => return Err(error.into()),
            },
        }
    }
}
