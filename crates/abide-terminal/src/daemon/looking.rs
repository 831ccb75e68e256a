//! Requests that look at a session's output: answered by a task of their own, which ends with the connection.

use std::ops::ControlFlow;
use std::time::Duration;

use abide_journal::{Content, Cursor, Level, Log, ReadLimit};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::connection::json_frame;
use super::screens::{Followed, Screens};
use super::sessions::{Sessions, Waiting};
use super::view::View;
use crate::ids::{ByteOffset, SessionId};
use crate::protocol::{Answer, ScreenText, Text, TextOf, Wait, WaitFor, WaitValue, Waited, WireError};
use crate::record::{Exit, State};
use crate::stream::{self, Found, Matcher};

/// Output that is looked at in one step; others get their turn between two.
const STEP: ReadLimit = ReadLimit { bytes: 64 << 10, records: 256 };

/// A session's output, and what becomes of it.
struct Looked {
    log: Log,
    level: Level,
    view: watch::Receiver<View>,
}

/// What ends a wait before its time is over.
enum Wanted {
    Exit,
    Idle(Duration),
    Match(Matcher, Cursor),
}

impl Sessions {
    pub(super) fn text(&mut self, text: &Text, waiting: Waiting) {
        let found = self.find(&text.session).and_then(|id| self.followed(id));
        match found {
            Ok((session, followed)) => {
                let screens = self.shared.screens.clone();
                let what = match text.what {
                    TextOf::Screen => abide_screen::What::Screen,
                    TextOf::All => abide_screen::What::All,
                };
                let lines = text.lines.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
                self.look(waiting, look_at_screen(session, screens, followed, what, lines));
            }
            Err(error) => self.refuse(waiting, error),
        }
    }

    pub(super) fn wait(&mut self, wait: &Wait, waiting: Waiting) {
        let asked = self.find(&wait.session).and_then(|id| self.looked(id)).and_then(|looked| {
            let wanted = wanted(wait, &looked)?;
            Ok((looked, wanted))
        });
        match asked {
            Ok((looked, wanted)) => {
                let deadline = Instant::now().checked_add(Duration::from_millis(wait.timeout_ms));
                self.look(waiting, looked.wait(wanted, deadline));
            }
            Err(error) => self.refuse(waiting, error),
        }
    }

    /// Answers with what this brings, unless the connection ends before it does.
    fn look<T: Serialize + Send + 'static>(
        &mut self,
        waiting: Waiting,
        looking: impl Future<Output = Result<T, WireError>> + Send + 'static,
    ) {
        let Waiting::Control { connection, id, _permit: permit, .. } = waiting else { return };
        let Some(connection) = self.connections.get_mut(&connection) else { return };
        let outbox = connection.outbox.clone();
        while connection.looking.try_join_next().is_some() {}
        connection.looking.spawn(async move {
            outbox.push(&[json_frame(&Answer::new(id, looking.await))]);
            drop(permit);
        });
    }

    fn followed(&self, id: SessionId) -> Result<(SessionId, Followed), WireError> {
        let entry = self.entries.get(&id).ok_or_else(|| WireError::not_found(&id.to_string()))?;
        let followed = entry.followed.clone().ok_or_else(|| WireError::starting(entry.facts().record()))?;
        Ok((id, followed))
    }

    fn looked(&self, id: SessionId) -> Result<Looked, WireError> {
        let entry = self.entries.get(&id).ok_or_else(|| WireError::not_found(&id.to_string()))?;
        let log = entry.log.clone().ok_or_else(|| WireError::starting(entry.facts().record()))?;
        Ok(Looked { log, level: self.shared.output_level(), view: entry.view.subscribe() })
    }
}

async fn look_at_screen(
    session: SessionId,
    screens: Screens,
    followed: Followed,
    what: abide_screen::What,
    lines: Option<usize>,
) -> Result<ScreenText, WireError> {
    let end = stream::written(&followed.log);
    let text = screens.text(session, end, what, lines).await;
    text.map(ScreenText::fitting).ok_or_else(|| WireError::not_found(&session.to_string()))
}

fn wanted(wait: &Wait, looked: &Looked) -> Result<Wanted, WireError> {
    match (wait.r#for, &wait.value) {
        (WaitFor::Exit, None) => Ok(Wanted::Exit),
        (WaitFor::Exit, Some(_)) => Err(WireError::bad_request("value", "must be left out")),
        (WaitFor::IdleMs, Some(WaitValue::Number(ms))) => Ok(Wanted::Idle(Duration::from_millis(*ms))),
        (WaitFor::IdleMs, _) => Err(WireError::bad_request("value", "must be milliseconds")),
        (WaitFor::Match, Some(WaitValue::Text(expression))) => {
            let matcher = Matcher::new(expression);
            let matcher = matcher.map_err(|_| WireError::bad_request("value", "must be a regular expression"))?;
            let from = match wait.from {
                Some(offset) => stream::start_at(&looked.log, offset, None, looked.level)?,
                None => stream::end_at(&looked.log, looked.level).cursor(),
            };
            Ok(Wanted::Match(matcher, from))
        }
        (WaitFor::Match, _) => Err(WireError::bad_request("value", "must be a regular expression")),
    }
}

impl Looked {
    async fn wait(mut self, wanted: Wanted, deadline: Option<Instant>) -> Result<Waited, WireError> {
        let holds = async {
            match wanted {
                Wanted::Exit => self.ended().await.map(|()| (true, None)),
                Wanted::Idle(quiet) => self.idle(quiet).await.map(|()| (true, None)),
                Wanted::Match(matcher, from) => self.matching(matcher, from).await,
            }
        };
        let (met, found) = match deadline {
            Some(deadline) => timeout_at(deadline, holds).await.unwrap_or(Ok((false, None)))?,
            None => holds.await?,
        };
        let end = ByteOffset(stream::end_at(&self.log, self.level).offset.0);
        let (offset, matched) = found.map_or((end, None), |(text, offset)| (offset, Some(text)));
        Ok(Waited { met, offset, matched, exit: self.exit() })
    }

    fn exit(&self) -> Option<Exit> {
        let view = self.view.borrow();
        view.exit.clone().filter(|_| view.state == State::Finalized)
    }

    async fn ended(&mut self) -> Result<(), WireError> {
        let over = self.view.wait_for(|view| view.state == State::Finalized || view.removed).await;
        match over {
            Ok(view) if !view.removed => Ok(()),
            _ => Err(WireError::removed()),
        }
    }

    async fn idle(&mut self, quiet: Duration) -> Result<(), WireError> {
        let mut tail = self.log.tail();
        let mut printed = stream::end_at(&self.log, self.level).offset;
        let mut since = Instant::now();
        loop {
            let Some(until) = since.checked_add(quiet) else { std::future::pending().await };
            match timeout_at(until, tail.changed()).await {
                Err(_) => return Ok(()),
                Ok(moved) => moved.map_err(|_| WireError::removed())?,
            };
            // A mark is no output.
            let end = stream::end_at(&self.log, self.level).offset;
            if end > printed {
                (printed, since) = (end, Instant::now());
            }
        }
    }

    /// Whether a line of the output matches from here on, and the match with the offset behind its line. Not, once the
    /// session has ended without one.
    async fn matching(&mut self, mut matcher: Matcher, mut cursor: Cursor) -> Result<(bool, Option<Found>), WireError> {
        let mut tail = self.log.tail();
        loop {
            let finalized = self.view.borrow_and_update().state == State::Finalized;
            let read = self.log.read_bytes(cursor, STEP, self.level, true);
            let read = read.map_err(|error| WireError::unreadable(ByteOffset(cursor.offset.0), &error))?;
            for record in &read.records {
                if let Content::Data(bytes) = &record.content
                    && let ControlFlow::Break(found) = matcher.take(ByteOffset(record.offset.0), bytes)
                {
                    return Ok((true, Some(found)));
                }
            }
            cursor = read.next;
            if !read.records.is_empty() {
                tokio::task::consume_budget().await;
                continue;
            }
            if let Some(found) = matcher.unfinished() {
                return Ok((true, Some(found)));
            }
            if finalized {
                return Ok((false, None));
            }
            tokio::select! {
                moved = tail.changed() => moved.map(drop).map_err(|_| WireError::removed())?,
                seen = self.view.changed() => seen.map_err(|_| WireError::removed())?,
            }
        }
    }
}
