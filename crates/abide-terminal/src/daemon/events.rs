//! Subscriptions: a connection follows the registry log. The log is the queue: who falls behind keeps its number, not
//! its events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use abide_journal::{Content, Level, Log, Lsn, ReadLimit};
use abide_wire::Code;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::connection::json_frame;
use super::outbox::Outbox;
use super::sessions::{Sessions, Waiting};
use crate::ids::{EventNumber, SessionId};
use crate::protocol::{Answer, ControlEvent, ControlMessage, Happened, Subscribe, Subscribed, Unsubscribed, WireError};
use crate::stream;

/// Events that are looked at in one step; others get their turn between two.
const STEP: ReadLimit = ReadLimit { bytes: 64 << 10, records: 256 };

/// So many events that are left out are followed by word of how far the subscription has come.
const PROGRESS_EVENTS: u64 = 1_000;

/// So is this time, if any were left out.
const PROGRESS_TIME: Duration = Duration::from_secs(10);

/// A connection's subscription, which ends with this.
pub(super) struct Subscription {
    task: AbortHandle,
    told: Arc<AtomicU64>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What follows the registry for one connection.
struct Follower {
    log: Log,
    level: Level,
    /// None: all.
    sessions: Option<BTreeSet<SessionId>>,
    /// The number of the last event that was told, or left out.
    told: Arc<AtomicU64>,
    /// Events left out since the last word.
    left_out: u64,
    outbox: Outbox,
}

impl Sessions {
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe, waiting: Waiting) {
        let Waiting::Control { connection, id, .. } = &waiting else { return };
        let (connection, request) = (*connection, id.clone());
        let subscribed = match self.subscribed(subscribe) {
            Ok(subscribed) => subscribed,
            Err(error) => return self.refuse(waiting, error),
        };
        let sessions = subscribe.sessions.as_ref().map(|sessions| sessions.iter().map(|session| self.find(session)));
        let sessions = match sessions.map(Iterator::collect).transpose() {
            Ok(sessions) => sessions,
            Err(error) => return self.refuse(waiting, error),
        };
        let (log, level) = (self.registry.log().clone(), self.registry.settled());
        let Some(connection) = self.connections.get_mut(&connection) else { return };
        // The one before ends first: none of its events comes behind the answer.
        connection.subscription = None;
        connection.outbox.push(&[json_frame(&Answer::new(request, Ok(subscribed)))]);
        let told = Arc::new(AtomicU64::new(subscribed.from.0));
        let outbox = connection.outbox.clone();
        let follower = Follower { log, level, sessions, told: told.clone(), left_out: 0, outbox };
        connection.subscription = Some(Subscription { task: connection.looking.spawn(follower.run()), told });
    }

    pub(super) fn unsubscribe(&mut self, waiting: Waiting) {
        let Waiting::Control { connection, .. } = &waiting else { return };
        let subscription = self.connections.get_mut(connection).and_then(|connection| connection.subscription.take());
        let next = subscription.map(|subscription| EventNumber(subscription.told.load(Ordering::Acquire)).next());
        self.answer_now(waiting, Unsubscribed { next });
    }

    /// Where a subscription begins, if the registry has what it asks for.
    fn subscribed(&self, subscribe: &Subscribe) -> Result<Subscribed, WireError> {
        let log = self.registry.log();
        let head = EventNumber(stream::end_at(log, self.registry.settled()).last().map_or(0, Lsn::get));
        let base = log.info().map_err(|_| WireError::journal_failed())?.base.lsn.get() - 1;
        let from = subscribe.from_event.unwrap_or(head);
        if from > head {
            return Err(WireError::new(Code::OffsetAhead, format!("the newest event is {head}")).with("head", head.0));
        }
        if from.0 < base {
            return Err(
                WireError::new(Code::OffsetTrimmed, format!("events are kept behind {base}")).with("base_event", base)
            );
        }
        Ok(Subscribed { from, head })
    }
}

impl Follower {
    async fn run(mut self) {
        let mut tail = self.log.tail();
        let mut word_by = Instant::now() + PROGRESS_TIME;
        loop {
            if self.outbox.room(false) == 0 && !self.outbox.shrunk().await {
                return;
            }
            match self.step() {
                Ok(true) => tokio::task::consume_budget().await,
                Ok(false) => match timeout_at(word_by, tail.changed()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) => return,
                    Err(_) => {
                        self.tell_progress();
                        word_by = Instant::now() + PROGRESS_TIME;
                    }
                },
                Err(error) => {
                    // The client asks again from its number, and is told where the log begins.
                    tracing::warn!(%error, "a subscription cannot go on");
                    return self.outbox.close();
                }
            }
        }
    }

    /// Tells of the next events. Whether there were any.
    fn step(&mut self) -> Result<bool, abide_journal::Error> {
        let next = self.told.load(Ordering::Relaxed) + 1;
        let Some(next) = Lsn::new(next) else { return Ok(false) };
        let read = self.log.read(next, STEP, self.level)?;
        for record in &read.records {
            let number = EventNumber(record.lsn().get());
            self.told.store(number.0, Ordering::Release);
            let Content::Data(bytes) = &record.content else { continue };
            // What this version cannot read it has not written: a start would have refused it.
            let Ok(entry) = serde_json::from_slice(bytes) else { continue };
            let happened = Happened::of(number, record.time_us / 1_000, entry);
            let is_wanted = |session| self.sessions.as_ref().is_none_or(|sessions| sessions.contains(&session));
            if happened.session.map_or(self.sessions.is_none(), is_wanted) {
                self.left_out = 0;
                self.tell(ControlEvent::Happened(happened));
            } else {
                self.left_out += 1;
                if self.left_out >= PROGRESS_EVENTS {
                    self.tell_progress();
                }
            }
        }
        Ok(!read.records.is_empty())
    }

    fn tell_progress(&mut self) {
        if std::mem::take(&mut self.left_out) > 0 {
            self.tell(ControlEvent::Progress { event_number: EventNumber(self.told.load(Ordering::Relaxed)) });
        }
    }

    fn tell(&self, event: ControlEvent) {
        self.outbox.push(&[json_frame(&ControlMessage::Event(event))]);
    }
}
