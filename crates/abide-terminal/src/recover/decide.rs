//! The decision of a start: one pure function from what was found to what is done.
//!
//! A session is looked at together with whatever answers at its holder's socket:
//!
//! ```text
//!                    ┌ out of reach (silent, unknown version, another boot) ──► pending, left alone
//!  at the socket: ───┼ serves the session as it is recorded ─────────────────► adopted: alive, ended
//!                    ├ another, with a living program ──► orphan                ┐ and the session is decided
//!                    └ another, nothing lives in it ────► hung up, not reported ┘ as if none were there
//!  nothing there: ──── exit file? launched at all? processes left? this boot? ─► ended, alive, zombie, unrecoverable
//! ```
//!
//! Nothing that lives is ended by a decision, but for the processes of a holder that is dead (`zombie`), and orphans
//! where the configuration says so.

use abide_holder::BootId;
use abide_wire::Code;
use serde::{Deserialize, Serialize};

use crate::ids::{ByteOffset, DaemonEpoch, Incarnation};

/// All that a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The boot in which this daemon runs.
    pub boot: BootId,
    /// What is recorded of the session; none if the registry does not know it, or knows it as removed.
    pub session: Option<Session>,
    /// What answered at the session's holder socket.
    pub probe: Probe,
    /// The exit record of the session's present incarnation, if there is one.
    pub exit_file: Option<ExitFile>,
    /// Whether processes of the session's present incarnation are left: those that `procs::left_behind` finds.
    pub processes_left: bool,
    /// The configuration's word on programs that nobody recorded.
    pub orphans: Orphans,
}

/// What is recorded of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Where its record stands.
    pub stage: Stage,
    /// Its present incarnation.
    pub incarnation: Incarnation,
    /// The boot in which that incarnation was launched.
    pub boot: BootId,
    /// End of its journalled output.
    pub log_end: ByteOffset,
}

/// Where a session's record stands: its states, with `Starting` split by what was recorded of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// `created` or `restoring` is recorded, `start` is not: the program cannot have run.
    Accepted,
    /// `start` is recorded, `started` is not: nobody can tell whether the program ran.
    Starting,
    /// The program ran.
    Running,
    /// A kill is under way.
    Terminating,
    /// The end is recorded, the rest of the output is not.
    Exited,
    /// Nothing is left to do.
    Finalized,
}

/// What answered at a holder's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Nothing: no socket, or one that refuses connections.
    None,
    /// A holder of a version that this daemon does not know.
    UnknownVersion,
    /// Something connects and says nothing in time.
    Silent,
    /// A holder of a known version.
    Pong(Pong),
}

/// What a holder says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// Whether it names the session whose socket it answers at.
    pub same_session: bool,
    /// The incarnation that it holds.
    pub incarnation: Incarnation,
    /// The boot in which it was launched.
    pub boot: BootId,
    /// What became of its program.
    pub child: Child,
    /// The daemon that adopted it last; 0 before the first.
    pub daemon_epoch: DaemonEpoch,
    /// The process id of its program; 0 before it runs.
    pub program: u32,
}

/// What became of a holder's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child {
    /// It was not started yet.
    NotStarted,
    /// It lives.
    Alive,
    /// It has ended, or could not be started; the holder knows how.
    Ended,
}

/// What the decision needs of an exit record; the way the program ended is read again when it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitFile {
    /// Offset after the last byte that the holder had read when the program ended.
    pub output_head: ByteOffset,
}

/// What is done with a living program that nobody recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orphans {
    /// It becomes a session named `orphan-…`.
    #[default]
    Adopt,
    /// It is ended.
    End,
}

/// What a start makes of one session, or of one holder without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The outcome that is recorded and reported; none if there is nothing to report.
    pub outcome: Option<Outcome>,
    /// Why it is not alive or properly ended: `HOLDER_PROTO_UNSUPPORTED`, `HOLDER_UNRESPONSIVE`, `HOLDER_LOST`,
    /// `HOST_REBOOTED` or `JOURNAL_MISSING`.
    pub code: Option<Code>,
    /// What is done about the session.
    pub session: SessionEffect,
    /// What is done about the holder that answered.
    pub holder: HolderEffect,
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Its program runs, or is about to be started for the first time.
    Alive,
    /// Its program has ended, and how is known.
    Ended,
    /// Its holder is dead, processes of its program are not.
    Zombie,
    /// Its program is gone, or part of its output.
    Unrecoverable,
    /// A program without a record.
    Orphan,
    /// Nobody can tell yet.
    Pending,
}

impl Outcome {
    /// The word in events, reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Ended => "ended",
            Self::Zombie => "zombie",
            Self::Unrecoverable => "unrecoverable",
            Self::Orphan => "orphan",
            Self::Pending => "pending",
        }
    }
}

/// What is done about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEffect {
    /// Nothing, or nothing yet: the holder is asked again later.
    None,
    /// It goes on from its record and from what the adopted holder says.
    GoOn,
    /// Its holder is launched: the create or the restore is completed.
    Launch,
    /// It becomes a session again, or for the first time, from what the adopted holder says.
    TakeIn,
    /// It is recorded as Exited with this end, and finalized. If that is a loss, its policy follows.
    End {
        /// Where the exit comes from.
        exit: ExitSource,
        /// Output that is missing.
        missing: Missing,
    },
    /// The processes left get SIGHUP, and SIGKILL 1 s later; then as `End`, with the loss.
    KillLeft,
    /// Its end stands recorded already: only the missing output is named, and it is finalized.
    Finalize {
        /// Output that is missing.
        missing: Missing,
    },
}

/// Where an exit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitSource {
    /// The exit file tells the true status.
    File,
    /// It is the loss that the decision's code names.
    Loss,
}

/// Output that was printed and is not in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// None.
    Nothing,
    /// This many bytes, at least 1, at the log's end.
    Bytes(u64),
    /// Nobody can know.
    Unknown,
}

/// What is done about the holder that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderEffect {
    /// No holder answered.
    None,
    /// It is adopted and drained.
    Adopt,
    /// It is told to end.
    Hangup,
    /// It is left alone.
    LeaveAlone,
}

/// Decides one session, or one holder without a session.
pub fn decide(facts: &Facts) -> Decision {
    match facts.probe {
        Probe::None => without_holder(facts),
        Probe::UnknownVersion => pending(Code::HolderProtoUnsupported),
        Probe::Silent => pending(Code::HolderUnresponsive),
        // Its pids and times mean nothing here, and it may be in another daemon's care: it is not lost, only out of reach.
        Probe::Pong(pong) if !pong.same_session || pong.boot != facts.boot => pending(Code::HolderUnresponsive),
        Probe::Pong(pong) => match facts.session.filter(|session| serves(session, &pong)) {
            Some(_) => adopted(if pong.child == Child::Ended { Outcome::Ended } else { Outcome::Alive }),
            None => stray(facts, &pong),
        },
    }
}

/// The epoch of a starting daemon: above the last recorded one and above any that a holder has seen, because a lost or
/// damaged registry must not lock it out of living holders.
pub fn next_epoch(recorded: DaemonEpoch, seen: impl IntoIterator<Item = DaemonEpoch>) -> DaemonEpoch {
    seen.into_iter().fold(recorded, DaemonEpoch::max).next()
}

/// Whether what answers is the session's own holder: then nothing else need be looked at.
pub fn is_served(boot: BootId, session: &Session, probe: &Probe) -> bool {
    matches!(probe, Probe::Pong(pong) if pong.same_session && pong.boot == boot && serves(session, pong))
}

/// Whether this holder is the one that the session's record speaks of. Boot and id are known to be the same.
fn serves(session: &Session, pong: &Pong) -> bool {
    let open = match pong.child {
        Child::NotStarted => session.stage <= Stage::Starting,
        Child::Alive | Child::Ended => session.stage <= Stage::Exited,
    };
    open && session.incarnation == pong.incarnation
}

fn pending(code: Code) -> Decision {
    Decision {
        outcome: Some(Outcome::Pending),
        code: Some(code),
        session: SessionEffect::None,
        holder: HolderEffect::LeaveAlone,
    }
}

fn adopted(outcome: Outcome) -> Decision {
    Decision { outcome: Some(outcome), code: None, session: SessionEffect::GoOn, holder: HolderEffect::Adopt }
}

/// A holder in reach that no open record speaks of.
fn stray(facts: &Facts, pong: &Pong) -> Decision {
    let ahead = facts.session.is_none_or(|session| pong.incarnation > session.incarnation);
    let orphan = |session, holder| Decision {
        outcome: Some(Outcome::Orphan),
        code: Some(Code::JournalMissing),
        session,
        holder,
    };
    match (pong.child, facts.orphans) {
        (Child::Alive, Orphans::Adopt) if ahead => orphan(SessionEffect::TakeIn, HolderEffect::Adopt),
        (Child::Alive, policy) => {
            let holder = if policy == Orphans::End { HolderEffect::Hangup } else { HolderEffect::LeaveAlone };
            match without_holder(facts) {
                Decision { outcome: None, .. } => orphan(SessionEffect::None, holder),
                session => Decision { holder, ..session },
            }
        }
        (Child::NotStarted | Child::Ended, _) => Decision { holder: HolderEffect::Hangup, ..without_holder(facts) },
    }
}

/// What the record, the exit file and the processes say where no holder serves the session.
fn without_holder(facts: &Facts) -> Decision {
    let Some(session) = facts.session.filter(|session| session.stage != Stage::Finalized) else {
        return Decision { outcome: None, code: None, session: SessionEffect::None, holder: HolderEffect::None };
    };
    let same_boot = session.boot == facts.boot;
    let loss = if same_boot { Code::HolderLost } else { Code::HostRebooted };
    let never_ran = session.stage == Stage::Accepted;
    // What is left of a program that ended by itself keeps running, as on any terminal.
    let ended = session.stage == Stage::Exited;
    // Processes of a living holder are nobody's leavings, whatever incarnation they belong to.
    let holder_lives = matches!(facts.probe, Probe::Pong(Pong { child: Child::Alive, .. }));
    let behind = facts.exit_file.map(|file| file.output_head.0.saturating_sub(session.log_end.0));

    let (outcome, code, effect) = match behind {
        Some(0) => (Outcome::Ended, None, end(&session, ExitSource::File, Missing::Nothing)),
        Some(n) => (Outcome::Unrecoverable, Some(loss), end(&session, ExitSource::File, Missing::Bytes(n))),
        None if same_boot && never_ran => (Outcome::Alive, None, SessionEffect::Launch),
        None if same_boot && facts.processes_left && !ended && !holder_lives => {
            (Outcome::Zombie, Some(loss), SessionEffect::KillLeft)
        }
        None => {
            let missing = if never_ran { Missing::Nothing } else { Missing::Unknown };
            (Outcome::Unrecoverable, Some(loss), end(&session, ExitSource::Loss, missing))
        }
    };
    Decision { outcome: Some(outcome), code, session: effect, holder: HolderEffect::None }
}

/// The end of a session; a session that is Exited keeps the end that it has.
fn end(session: &Session, exit: ExitSource, missing: Missing) -> SessionEffect {
    match session.stage {
        Stage::Exited => SessionEffect::Finalize { missing },
        _ => SessionEffect::End { exit, missing },
    }
}

#[cfg(test)]
mod tests;
