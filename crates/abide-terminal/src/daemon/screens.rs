//! The screens: one worker thread that follows the journal with a model for each session whose screen matters. It may
//! lag; it never holds up output, but for the bound on its lag.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
use crate::stream;

/// A model that nothing asks of and that gets no output is dropped after this; its last screen stays.
const IDLE: Duration = Duration::from_mins(1);

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
    /// Output between two screens of a session, in bytes.
    pub(super) distance: u64,
}

/// What the worker shares with the rest of the daemon for one session.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) log: Log,
    pub(super) answers: Arc<Mutex<Answers>>,
    /// Offset up to which the model has come.
    pub(super) offset: Arc<AtomicU64>,
    /// The model has come further.
    pub(super) moved: Arc<Notify>,
    /// What the program said of itself.
    told: Arc<Mutex<Told>>,
}

/// Title and working directory as the program reported them.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) title: Option<String>,
    pub(super) current_dir: Option<String>,
}

impl Followed {
    pub(super) fn new(log: Log) -> Self {
        let end = stream::written(&log).offset.0;
        Self {
            log,
            answers: Arc::new(Mutex::new(Answers::from(ByteOffset(end)))),
            offset: Arc::new(AtomicU64::new(end)),
            moved: Arc::default(),
            told: Arc::default(),
        }
    }

    /// Says who answers queries in output from `end` on; where that begins.
    pub(super) fn answers(&self, end: ByteOffset, model: bool) -> ByteOffset {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).model_answers(end, model)
    }

    /// What the program said of itself.
    pub(super) fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the model is so far behind that no more output is to be taken.
    pub(super) fn lags(&self, head: u64, lag_bytes_max: u64) -> bool {
        head.saturating_sub(self.offset.load(Ordering::Acquire)) > lag_bytes_max
    }
}

enum Work {
    Follow(SessionId, Followed),
    Output(SessionId),
    Snapshot { session: SessionId, place: Place, lines: usize, reply: oneshot::Sender<Snapshot> },
    Keep(SessionId),
    Forget(SessionId),
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

    /// The session has output that the worker has not been told of.
    pub(super) fn output(&self, session: SessionId) {
        let _ = self.work.send(Work::Output(session));
    }

    /// A snapshot that includes everything before `place`. `None` if the session is not followed any more.
    pub(super) async fn snapshot(&self, session: SessionId, place: Place, lines: usize) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.work.send(Work::Snapshot { session, place, lines, reply }).ok()?;
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
    behind: bool,
    /// Wants a screen as soon as it has caught up.
    keep: bool,
    used: Instant,
    waiting: Vec<(Place, usize, oneshot::Sender<Snapshot>)>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Work>) {
        loop {
            let work = if self.sessions.values().any(|session| session.behind) {
                queue.recv_timeout(Duration::ZERO)
            } else if let Some(due) = self.next_idle() {
                queue.recv_timeout(due.saturating_duration_since(Instant::now()))
            } else {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match work {
                Ok(work) => self.take(work),
                Err(RecvTimeoutError::Timeout) => {
                    self.advance();
                    self.drop_idle();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::Follow(id, followed) => {
                let session = Session {
                    followed,
                    model: None,
                    behind: false,
                    keep: false,
                    used: Instant::now(),
                    waiting: Vec::new(),
                };
                self.sessions.insert(id, session);
            }
            Work::Output(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.behind = true;
                }
            }
            Work::Snapshot { session: id, place, lines, reply } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.waiting.push((place, lines, reply));
                    session.behind = true;
                }
            }
            Work::Keep(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.keep = true;
                    session.behind = true;
                }
            }
            Work::Forget(id) => {
                self.sessions.remove(&id);
            }
        }
    }

    /// Lets each session that is behind take one step.
    fn advance(&mut self) {
        let ids: Vec<SessionId> =
            self.sessions.iter().filter(|(_, session)| session.behind).map(|(id, _)| *id).collect();
        for id in ids {
            self.make_room(id);
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let answers = session.step(&self.limits);
            if !answers.is_empty() {
                // Nobody waits for these: a full hub drops them, and the query stays unanswered.
                let _ = self.hub.try_tell(Msg::Inject(id, answers));
            }
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

    fn next_idle(&self) -> Option<Instant> {
        self.sessions.values().filter(|session| session.model.is_some()).map(|session| session.used + IDLE).min()
    }

    fn drop_idle(&mut self) {
        let now = Instant::now();
        for session in self.sessions.values_mut() {
            if session.model.is_some() && !session.behind && session.used + IDLE <= now {
                session.drop_model();
            }
        }
    }
}

impl Session {
    /// Takes one piece of output in; the answers to queries in it that fall to the model.
    fn step(&mut self, limits: &Limits) -> Vec<u8> {
        self.used = Instant::now();
        let model = self.model.get_or_insert_with(|| Model::build(&self.followed.log, limits.scrollback_lines_max));
        let taken = model.take_piece(&self.followed.log, &self.followed.answers);
        self.followed.offset.store(model.place().offset.0, Ordering::Release);
        self.followed.moved.notify_waiters();
        let mut told = self.followed.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = model.told();
        drop(told);
        if model.since_screen() >= limits.distance {
            model.save(&self.followed.log);
        }
        if !taken.more {
            self.behind = false;
            if std::mem::take(&mut self.keep) {
                model.save(&self.followed.log);
            }
        }
        let place = model.place();
        let (ready, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(due, ..)| due.lsn <= place.lsn || !taken.more);
        self.waiting = waiting;
        let ready: Vec<(Place, usize, oneshot::Sender<Snapshot>)> = ready;
        for (_, lines, reply) in ready {
            let _ = reply.send(model.snapshot(lines));
        }
        taken.answers
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
