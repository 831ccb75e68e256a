//! One connection that comes back: when to dial, when to start a daemon, when to stop trying.

use std::time::Duration;

use abide_wire::{Code, RequestId, Retry};
use bytes::{Bytes, BytesMut};

use super::random::Random;
use crate::ids::ClientId;
use crate::protocol::{ClientInfo, ErrorMessage, Hello, HelloOk, Role, WireError, message_frame};

/// First pause before dialling again; doubles to [`BACKOFF_MAX_MS`].
const BACKOFF_MIN_MS: u64 = 20;
/// Longest pause before dialling again.
const BACKOFF_MAX_MS: u64 = 1_000;
/// How long a daemon that was never reached is waited for.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// How long a lost daemon may take to come back by itself before another one is started.
const START_AFTER: Duration = Duration::from_secs(1);
/// Pause between two starts of a daemon.
const START_AGAIN: Duration = Duration::from_secs(5);
/// How long a greeting may be unanswered.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// A point on the shell's monotonic clock, counted from any beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(pub Duration);

impl Instant {
    /// The point `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Who connects, and what it may do when nobody answers.
#[derive(Debug, Clone)]
pub struct Identity {
    /// One id for each running program.
    pub client_id: ClientId,
    /// The program's name and version, for the daemon's log.
    pub program: Option<ClientInfo>,
    /// Drawn at random, once for each link: no two links may have the same.
    pub seed: u128,
    /// Whether a daemon is started where none answers.
    pub may_start: bool,
}

/// What the shell does to connect: connect, after starting a daemon if it is asked to. It answers with the input
/// `Connected` or `Unreachable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// Start a daemon first.
    pub start_daemon: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialing,
    Greeting { until: Instant },
    Open,
    Ended,
}

/// What a step of the connection means for the link around it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The greeting was answered.
    Opened(HelloOk),
    /// The shell closes the socket; the connection will come back.
    Lost,
    /// It will never come back. The shell closes the socket if there is one.
    Ended(WireError),
}

#[derive(Debug)]
pub(super) struct Connection {
    identity: Identity,
    role: Role,
    random: Random,
    state: State,
    backoff_ms: u64,
    /// Since when there is no daemon: the beginning, or the loss.
    away_since: Instant,
    /// Whether a daemon has answered before.
    was_open: bool,
    /// Whether a dial has failed since then.
    failed: bool,
    started_at: Option<Instant>,
    /// The daemon's last word was that it stops, and whether another one follows.
    stopping: Option<bool>,
}

impl Connection {
    pub(super) fn new(identity: Identity, role: Role, now: Instant) -> Self {
        // The low half of the seed; keys are made from all of it.
        let random = Random::new(u64::try_from(identity.seed & u128::from(u64::MAX)).unwrap_or_default());
        Self {
            identity,
            role,
            random,
            state: State::Waiting { until: now },
            backoff_ms: BACKOFF_MIN_MS,
            away_since: now,
            was_open: false,
            failed: false,
            started_at: None,
            stopping: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Since when the daemon is away; `None` while it is there.
    pub(super) fn away_since(&self) -> Option<Instant> {
        (!self.is_open()).then_some(self.away_since)
    }

    pub(super) fn seed(&self) -> u128 {
        self.identity.seed
    }

    /// A pause around `ms`, for retries of requests.
    pub(super) fn pause(&mut self, now: Instant, ms: u64) -> Instant {
        now.after(Duration::from_millis(self.random.around(ms)))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } | State::Greeting { until } => Some(until),
            State::Dialing | State::Open | State::Ended => None,
        }
    }

    /// Dials if it is time to.
    pub(super) fn due(&mut self, now: Instant) -> Option<Dial> {
        match self.state {
            State::Waiting { until } if until <= now => {
                self.state = State::Dialing;
                let start_daemon = self.starts_daemon(now);
                if start_daemon {
                    self.started_at = Some(now);
                }
                Some(Dial { start_daemon })
            }
            _ => None,
        }
    }

    /// Whether a greeting has been unanswered for too long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        matches!(self.state, State::Greeting { until } if until <= now)
    }

    fn starts_daemon(&self, now: Instant) -> bool {
        let late = if self.was_open { now.since(self.away_since) >= START_AFTER } else { self.failed };
        // A daemon that was never reached is started once: if it does not serve then, somebody must look.
        let again = self.started_at.is_none_or(|at| self.was_open && now.since(at) >= START_AGAIN);
        self.identity.may_start && late && again
    }

    /// The socket is there: the greeting to send.
    pub(super) fn connected(&mut self, now: Instant) -> Bytes {
        self.state = State::Greeting { until: now.after(GREETING_TIME) };
        let mut hello = Hello::new(RequestId::from_number(0), self.identity.client_id.clone(), self.role);
        hello.client.clone_from(&self.identity.program);
        let mut frame = BytesMut::new();
        message_frame(&hello, &mut frame);
        frame.freeze()
    }

    /// Nobody accepts.
    pub(super) fn unreachable(&mut self, now: Instant) -> Change {
        let first = !self.failed;
        self.failed = true;
        let patient = self.was_open || (self.identity.may_start && now.since(self.away_since) < FIRST_WAIT);
        if !patient {
            return self.end(WireError::new(Code::DaemonUnreachable, "no daemon answers"));
        }
        // The first failure of all starts a daemon at once.
        self.wait(now, !self.was_open && first);
        Change::None
    }

    /// The greeting was answered.
    pub(super) fn greeted(&mut self, hello: HelloOk) -> Change {
        self.state = State::Open;
        self.backoff_ms = BACKOFF_MIN_MS;
        self.was_open = true;
        self.failed = false;
        self.started_at = None;
        self.stopping = None;
        Change::Opened(hello)
    }

    /// An error without a request: of the greeting, or before the connection is closed.
    pub(super) fn refused(&mut self, now: Instant, message: ErrorMessage) -> Change {
        let error = message.error;
        match error.retry {
            // Whoever was connected waits until the daemon has its journal again; a newcomer is told.
            _ if matches!(error.code, Code::JournalFull | Code::JournalFailed) => {
                if self.was_open {
                    self.lost(now)
                } else {
                    self.end(error)
                }
            }
            Retry::Retry | Retry::Resume => {
                if error.code == Code::DaemonStopping {
                    self.stop_told(is_restart(&error));
                }
                self.lost(now)
            }
            Retry::Resolve | Retry::FixRequest | Retry::GiveUp => self.end(error),
        }
    }

    /// The daemon said that it stops.
    pub(super) fn stop_told(&mut self, restart: bool) {
        self.stopping = Some(restart);
    }

    /// The connection is gone, or is given up as broken.
    pub(super) fn lost(&mut self, now: Instant) -> Change {
        if self.is_ended() {
            return Change::None;
        }
        if self.stopping == Some(false) {
            return self.end(WireError::new(Code::DaemonStopping, "the daemon was stopped; the sessions live on"));
        }
        if self.is_open() {
            self.away_since = now;
        }
        self.wait(now, false);
        Change::Lost
    }

    /// Nothing more comes of it.
    pub(super) fn end(&mut self, error: WireError) -> Change {
        self.state = State::Ended;
        Change::Ended(error)
    }

    fn wait(&mut self, now: Instant, at_once: bool) {
        let pause = if at_once { 0 } else { self.random.around(self.backoff_ms) };
        if !at_once {
            self.backoff_ms = (self.backoff_ms * 2).min(BACKOFF_MAX_MS);
        }
        self.state = State::Waiting { until: now.after(Duration::from_millis(pause)) };
    }
}

/// Whether a `DAEMON_STOPPING` says that another daemon follows.
pub(super) fn is_restart(error: &WireError) -> bool {
    error.details.get("restart").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    fn connection(may_start: bool) -> Connection {
        let client_id = "c".parse().unwrap();
        let identity = Identity { client_id, program: None, seed: 7, may_start };
        Connection::new(identity, Role::Control, at(0))
    }

    fn hello_ok() -> HelloOk {
        HelloOk {
            id: RequestId::from_number(0),
            version: 1,
            daemon_id: "d".to_owned(),
            daemon_epoch: crate::DaemonEpoch(1),
            boot_id: "b".to_owned(),
            daemon_version: "0".to_owned(),
            limits: crate::protocol::Limits::new(64),
            owned: Vec::new(),
        }
    }

    /// Fails dials from `from_ms` on; the times of all, and of those that started a daemon, until it gives up or `to_ms`.
    fn fail_dials(connection: &mut Connection, to_ms: u64) -> (Vec<u64>, Vec<u64>) {
        let (mut dials, mut starts) = (Vec::new(), Vec::new());
        while let Some(due) = connection.poll_timeout().filter(|due| *due < at(to_ms)) {
            let ms = u64::try_from(due.0.as_millis()).unwrap();
            let dial = connection.due(due).unwrap();
            dials.push(ms);
            if dial.start_daemon {
                starts.push(ms);
            }
            if matches!(connection.unreachable(due), Change::Ended(_)) {
                break;
            }
        }
        (dials, starts)
    }

    #[test]
    fn a_daemon_is_started_at_the_first_failure_and_waited_for() {
        let mut connection = connection(true);
        let (dials, starts) = fail_dials(&mut connection, 60_000);
        assert_eq!(starts, [0]);
        assert!(*dials.last().unwrap() >= 5_000 && connection.is_ended(), "{dials:?}");
    }

    #[test]
    fn one_that_only_looks_starts_none() {
        let mut connection = connection(false);
        assert_eq!(fail_dials(&mut connection, 60_000), (vec![0], vec![]));
        assert!(connection.is_ended());
    }

    #[test]
    fn a_lost_daemon_is_started_after_a_second_and_waited_for_for_ever() {
        let mut connection = connection(true);
        connection.due(at(0)).unwrap();
        connection.connected(at(0));
        connection.greeted(hello_ok());
        assert_eq!(connection.lost(at(10_000)), Change::Lost);
        let (dials, starts) = fail_dials(&mut connection, 60_000);
        assert!(dials.len() > 50 && dials.windows(2).all(|pair| pair[1] - pair[0] <= 1_200), "{dials:?}");
        assert!((11_000..12_300).contains(&starts[0]) && starts.len() >= 8, "{starts:?}");
        assert!(dials.iter().filter(|ms| **ms < 11_000).count() >= 4, "quick at first: {dials:?}");
    }

    #[test]
    fn after_a_stop_without_restart_nobody_is_called_back() {
        let mut connection = connection(true);
        connection.due(at(0)).unwrap();
        connection.connected(at(0));
        connection.greeted(hello_ok());
        connection.stop_told(false);
        assert!(matches!(connection.lost(at(5)), Change::Ended(error) if error.code == Code::DaemonStopping));
        assert_eq!(connection.poll_timeout(), None);
    }
}
