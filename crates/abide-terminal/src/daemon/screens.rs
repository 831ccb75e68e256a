//! The screens: one worker thread that follows the journal with a model for each session whose screen matters. It may
//! lag; it never holds up output, but for the bound on its lag.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use abide_journal::{Log, Place};
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::answers::Answers;
use super::hub::{Hub, Msg};
use super::model::Model;
use crate::ids::{ByteOffset, SessionId};
use crate::protocol::ScreenText;
use crate::{stream, sys};

/// A model that nothing asks of and that gets no output is dropped after this; its last screen stays.
const IDLE: Duration = Duration::from_mins(1);

/// A model that gets no output gives memory back after this.
const QUIET: Duration = Duration::from_secs(2);

/// Output that nobody needs a model for waits this long: one look at many keystrokes, or at much text of which little shows.
const PATIENCE: Duration = Duration::from_millis(50);

/// The screen of a session at a place of its log, as escape sequences.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) place: Place,
    pub(super) cols: u16,
    pub(super) rows: u16,
    pub(super) bytes: Bytes,
}

/// What the configuration says of models.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) models_max: usize,
    pub(super) scrollback_lines_max: usize,
}

/// Output between two screens of a session whose log keeps this much, in bytes.
pub(super) fn distance(retention_bytes: u64) -> u64 {
    (retention_bytes / 8).max(DISTANCE_MIN)
}

const DISTANCE_MIN: u64 = 8 << 20;

/// What the worker shares with the rest of the daemon for one session.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) log: Log,
    pub(super) answers: Arc<Mutex<Answers>>,
    /// Up to where the model has come.
    place: Arc<Mutex<Place>>,
    /// The model has come further.
    pub(super) moved: Arc<Notify>,
    /// The worker knows that there is output, and has not looked at it yet.
    pending: Arc<AtomicBool>,
    /// What the program said of itself.
    told: Arc<Mutex<Told>>,
    /// Output between two screens, in bytes.
    distance: u64,
}

/// Title and working directory as the program reported them.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) title: Option<String>,
    pub(super) current_dir: Option<String>,
}

impl Followed {
    pub(super) fn new(log: Log, distance: u64) -> Self {
        let end = stream::written(&log);
        Self {
            log,
            answers: Arc::new(Mutex::new(Answers::from(ByteOffset(end.offset.0)))),
            place: Arc::new(Mutex::new(end)),
            moved: Arc::default(),
            pending: Arc::default(),
            told: Arc::default(),
            distance,
        }
    }

    /// Says who answers queries in output from `end` on; where that begins.
    pub(super) fn answers(&self, end: ByteOffset, model: bool) -> ByteOffset {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).model_answers(end, model)
    }

    /// What the model would have answered to queries that the owner's terminal was to answer, and that a stream skips.
    pub(super) fn answers_skipped(&self, from: ByteOffset, to: ByteOffset) -> Vec<u8> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).take_kept(from, to)
    }

    /// Queries below `end` are not asked of this owner's terminal.
    pub(super) fn forget_kept(&self, end: ByteOffset) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).forget_kept(end);
    }

    /// Up to where the model has come.
    pub(super) fn place(&self) -> Place {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether queries in what is printed now fall to the model.
    fn model_answers(&self) -> bool {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).is_model()
    }

    /// What the program said of itself.
    pub(super) fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the model is so far behind that no more output is to be taken.
    pub(super) fn lags(&self, head: u64, lag_bytes_max: u64) -> bool {
        head.saturating_sub(self.place().offset.0) > lag_bytes_max
    }
}

enum Work {
    Follow(SessionId, Followed),
    Output(SessionId, bool),
    Ask(SessionId, Asked),
    Keep(SessionId),
    Forget(SessionId),
}

/// A look at a model that has come to a place.
struct Asked {
    place: Place,
    look: Box<dyn FnOnce(&Model) + Send>,
}

/// The way to the worker.
#[derive(Debug, Clone)]
pub(super) struct Screens {
    work: Sender<Work>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

impl Screens {
    /// Starts the worker. It ends when the last clone is gone.
    pub(super) fn start(limits: Limits, hub: Hub) -> std::io::Result<Self> {
        let (work, queue) = channel();
        let worker = Worker { limits, hub, sessions: BTreeMap::new() };
        std::thread::Builder::new().name("screens".to_owned()).spawn(move || {
            // The screen may lag, output may not: the programs and the streams go first.
            let _ = rustix::process::nice(NICE);
            worker.run(&queue);
        })?;
        Ok(Self { work })
    }

    /// A session whose output is to be followed from now on.
    pub(super) fn follow(&self, session: SessionId, followed: Followed) {
        let _ = self.work.send(Work::Follow(session, followed));
    }

    /// The session has output that the worker has not seen. If the program may have asked something in it, and the model
    /// is the one to answer, it is looked at now.
    pub(super) fn output(&self, session: SessionId, followed: &Followed, may_ask: bool) {
        let asks = may_ask && followed.model_answers();
        if !followed.pending.swap(true, Ordering::AcqRel) || asks {
            let _ = self.work.send(Work::Output(session, asks));
        }
    }

    /// A snapshot that includes everything before `place`. `None` if the session is not followed any more.
    pub(super) async fn snapshot(&self, session: SessionId, place: Place, lines: usize) -> Option<Snapshot> {
        self.ask(session, place, move |model| model.snapshot(lines)).await
    }

    /// The text of the screen that includes everything before `place`. `None` if the session is not followed any more.
    pub(super) async fn text(
        &self,
        session: SessionId,
        place: Place,
        what: abide_screen::What,
        lines: Option<usize>,
    ) -> Option<ScreenText> {
        self.ask(session, place, move |model| model.text(what, lines)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        session: SessionId,
        place: Place,
        look: impl FnOnce(&Model) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |model: &Model| drop(reply.send(look(model))));
        self.work.send(Work::Ask(session, Asked { place, look })).ok()?;
        answer.await.ok()
    }

    /// The session has ended: its last screen is worth keeping.
    pub(super) fn keep(&self, session: SessionId) {
        let _ = self.work.send(Work::Keep(session));
    }

    /// The session was removed.
    pub(super) fn forget(&self, session: SessionId) {
        let _ = self.work.send(Work::Forget(session));
    }
}

/// How much later than the rest of the daemon the worker is scheduled.
const NICE: i32 = 10;

struct Worker {
    limits: Limits,
    hub: Hub,
    sessions: BTreeMap<SessionId, Session>,
}

struct Session {
    followed: Followed,
    model: Option<Model>,
    /// When it takes its next step; none if it has seen all output.
    due: Option<Instant>,
    /// Wants a screen as soon as it has caught up.
    keep: bool,
    used: Instant,
    /// Has given back memory since.
    compact: bool,
    waiting: Vec<Asked>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Work>) {
        loop {
            let work = match self.sessions.values().filter_map(Session::next).min() {
                Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match work {
                Ok(work) => self.take(work),
                Err(RecvTimeoutError::Timeout) => self.advance(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, work: Work) {
        let now = Instant::now();
        let (id, due) = match work {
            Work::Follow(id, followed) => {
                self.sessions.insert(id, Session::new(followed, now));
                return;
            }
            Work::Forget(id) => {
                self.sessions.remove(&id);
                return;
            }
            Work::Output(id, asks) => (id, if asks { now } else { now + PATIENCE }),
            Work::Ask(id, asked) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.waiting.push(asked);
                }
                (id, now)
            }
            Work::Keep(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.keep = true;
                }
                (id, now)
            }
        };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.due = Some(session.due.map_or(due, |before| before.min(due)));
        }
    }

    /// Lets each session whose time has come take one step.
    fn advance(&mut self) {
        let now = Instant::now();
        let ids: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.next().is_some_and(|due| due <= now))
            .map(|(id, _)| *id)
            .collect();
        let mut rested = false;
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.due.is_none_or(|due| due > now) {
                session.rest(now);
                rested = true;
                continue;
            }
            self.make_room(id);
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let (answers, kept) = session.step(&self.limits);
            // A full hub drops these: a query stays unanswered, and room is looked for after the next screen.
            if !answers.is_empty() {
                let _ = self.hub.try_tell(Msg::Inject(id, answers));
            }
            if kept {
                let _ = self.hub.try_tell(Msg::ScreenKept);
            }
        }
        if rested && self.sessions.values().all(|session| session.due.is_none()) {
            sys::give_back_memory();
        }
    }

    /// Drops the model unused for longest if one more would be too many.
    fn make_room(&mut self, id: SessionId) {
        let has_model = self.sessions.get(&id).is_some_and(|session| session.model.is_some());
        let models = self.sessions.values().filter(|session| session.model.is_some()).count();
        if has_model || models < self.limits.models_max {
            return;
        }
        let others = self.sessions.iter_mut().filter(|(other, session)| **other != id && session.model.is_some());
        if let Some((_, oldest)) = others.min_by_key(|(_, session)| session.used) {
            oldest.drop_model();
        }
    }
}

impl Session {
    fn new(followed: Followed, now: Instant) -> Self {
        Self { followed, model: None, due: None, keep: false, used: now, compact: false, waiting: Vec::new() }
    }

    /// When there is something to do: a step, or rest.
    fn next(&self) -> Option<Instant> {
        let rest = self.model.as_ref().map(|_| self.used + if self.compact { IDLE } else { QUIET });
        self.due.or(rest)
    }

    /// Nothing was asked of it for a time, and nothing was printed.
    fn rest(&mut self, now: Instant) {
        if self.used + IDLE <= now {
            self.drop_model();
        } else if let Some(model) = &mut self.model {
            model.compact();
            self.compact = true;
        }
    }

    /// Takes one piece of output in. Returns the answers to queries in it that fall to the model, and whether the log got a
    /// screen.
    fn step(&mut self, limits: &Limits) -> (Vec<u8>, bool) {
        self.used = Instant::now();
        self.due = None;
        self.compact = false;
        // What is written from here on is told of again.
        self.followed.pending.swap(false, Ordering::AcqRel);
        let model = self.model.get_or_insert_with(|| Model::build(&self.followed.log, limits.scrollback_lines_max));
        let taken = model.take_piece(&self.followed.log, &self.followed.answers);
        *self.followed.place.lock().unwrap_or_else(PoisonError::into_inner) = model.place();
        self.followed.moved.notify_waiters();
        let mut told = self.followed.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = model.told();
        drop(told);
        let keep = model.since_screen() >= self.followed.distance || !taken.more && std::mem::take(&mut self.keep);
        let kept = keep && model.save(&self.followed.log);
        if taken.more {
            self.due = Some(self.used);
        }
        let place = model.place();
        let is_due = |asked: &mut Asked| asked.place.lsn <= place.lsn || !taken.more;
        for asked in self.waiting.extract_if(.., is_due) {
            (asked.look)(model);
        }
        (taken.answers, kept)
    }

    fn drop_model(&mut self) {
        if let Some(mut model) = self.model.take()
            && model.since_screen() >= WORTH_A_SCREEN
        {
            model.save(&self.followed.log);
        }
    }
}

/// Output that is worth a screen when its model is dropped, in bytes.
const WORTH_A_SCREEN: u64 = 256 << 10;

#[cfg(test)]
mod a_trimmed_log_begins_with_a_screen;
