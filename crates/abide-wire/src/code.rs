//! The registry: each error code once, with its spelling, its family, and what its receiver does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::retry::Retry;

/// The protocol that a code belongs to. A code keeps the spelling of its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Terminal sessions, protocol v1: upper case.
    Terminal,
    /// The journal: lower case.
    Journal,
}

/// One code of the registry, as a page or a table shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// How it is spelled on the wire and on the command line.
    pub spelling: &'static str,
    /// Whose code it is.
    pub family: Family,
    /// What its receiver may do.
    pub retry: Retry,
    /// When it comes and what to do, a line an element.
    pub about: &'static [&'static str],
}

/// A spelling that no code of this family has: its sender speaks another protocol, or a newer one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no error code is spelled {spelling}")]
pub struct UnknownCode {
    /// What was given.
    pub spelling: String,
}

/// Makes the enum of a family, and the table from which all its facts are read.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident, $family:ident; $($(#[doc = $about:literal])+ $code:ident = $spelling:literal, $retry:ident;)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name {
            $($(#[doc = $about])+ $code,)+
        }

        impl $name {
            /// Every code of this family, in the order of `docs/errors.md`.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// What the registry says of it.
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$code => Entry {
                        spelling: $spelling,
                        family: Family::$family,
                        retry: Retry::$retry,
                        about: &[$($about),+],
                    },)+
                }
            }

            /// The spelling on the wire.
            pub const fn as_str(self) -> &'static str {
                self.entry().spelling
            }

            /// What its receiver may do.
            pub const fn retry(self) -> Retry {
                self.entry().retry
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;

            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                let code = Self::ALL.iter().find(|code| code.as_str() == text);
                code.copied().ok_or_else(|| UnknownCode { spelling: text.to_owned() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownCode;

            fn try_from(text: String) -> Result<Self, UnknownCode> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(code: $name) -> Self {
                code.as_str().to_owned()
            }
        }
    };
}

/// All codes of all families.
pub fn registry() -> impl Iterator<Item = Entry> {
    let terminal = Code::ALL.iter().map(|code| code.entry());
    terminal.chain(JournalCode::ALL.iter().map(|code| code.entry()))
}

codes! {
    /// The codes of terminal protocol v1. A code that is not here never leaves the daemon.
    Code, Terminal;

    /// The greeting was of another protocol, or of another version of this one; the connection is closed. `details.supported`
    /// lists the versions that the daemon speaks, `details.docs` says where to read on. Install a client of such a version.
    ProtoBreakingChange = "PROTO_BREAKING_CHANGE", GiveUp;
    /// The first message was not a `hello`, or none came within 2 s; the connection is closed. Greet first.
    HelloRequired = "HELLO_REQUIRED", FixRequest;
    /// A second `hello` on one connection. It changes nothing; leave it out.
    HelloRepeated = "HELLO_REPEATED", FixRequest;
    /// A frame of unknown kind, shorter than its fields, or not JSON; the connection is closed. The sender has a bug.
    ProtoMalformed = "PROTO_MALFORMED", FixRequest;
    /// A frame of length 0 or over the limit that the greeting named; the connection is closed. Send smaller frames.
    FrameTooLarge = "FRAME_TOO_LARGE", FixRequest;
    /// A field is unknown, missing, repeated, ill-typed or out of range; `details.field` names it where it is known.
    BadRequest = "BAD_REQUEST", FixRequest;
    /// No request of this `type` exists in this version of the daemon.
    UnknownRequest = "UNKNOWN_REQUEST", FixRequest;
    /// A newer control connection of the same client id has taken this one's place. Do not reconnect: the two would
    /// throw each other out for ever.
    ClientReplaced = "CLIENT_REPLACED", GiveUp;
    /// The state or socket directory belongs to another user, or is open to others. Mend its owner and mode.
    UidForbidden = "UID_FORBIDDEN", GiveUp;
    /// Only the owner may do this, or the connection is of the wrong kind (`details.role`). `details.owner` and
    /// `details.owner_epoch` say who owns the session: take it over, or observe.
    RoleForbidden = "ROLE_FORBIDDEN", GiveUp;
    /// The request carried an owner epoch that has passed. Look who owns the session now, and decide again.
    OwnerChanged = "OWNER_CHANGED", Resume;
    /// An attach as owner to a session that another client owns (`details.owner`, `owner_epoch`, `connected`). Observe it,
    /// or take it over.
    SessionOwned = "SESSION_OWNED", GiveUp;
    /// The session's policy forbids taking it over. Ask its owner to release it.
    TakeoverDenied = "TAKEOVER_DENIED", GiveUp;
    /// No session has this id or name, as far as is remembered.
    SessionNotFound = "SESSION_NOT_FOUND", GiveUp;
    /// The session was removed, at `details.removed_at`.
    SessionGone = "SESSION_GONE", GiveUp;
    /// The program is not running yet. Try again shortly.
    SessionStarting = "SESSION_STARTING", Retry;
    /// The session is being killed; it takes no more input, signals or sizes.
    SessionTerminating = "SESSION_TERMINATING", GiveUp;
    /// The program has ended, as `details.exit` says. Its output can still be read.
    SessionExited = "SESSION_EXITED", GiveUp;
    /// The session still runs, so it cannot be removed or recovered. Kill it first.
    SessionRunning = "SESSION_RUNNING", GiveUp;
    /// Another session that has not ended has this name: `details.session`. Choose another one.
    NameTaken = "NAME_TAKEN", FixRequest;
    /// What was asked for is no longer kept. Begin at `details.base_offset` (events: `details.base_event`), or with a
    /// snapshot.
    OffsetTrimmed = "OFFSET_TRIMMED", Resume;
    /// The position lies beyond the end, or in a past that a power cut or a failed sync took back. Go on at
    /// `details.resume_offset` (events: `details.head`).
    OffsetAhead = "OFFSET_AHEAD", Resume;
    /// The client did not read fast enough, and was cut off as it had asked. Attach again at `resume_offset`.
    SlowSubscriber = "SLOW_SUBSCRIBER", Resume;
    /// A newer owner stream of the same client has taken this one's place. Nothing is wrong.
    Replaced = "REPLACED", GiveUp;
    /// The stream ended because its client asked for it. Nothing is wrong.
    Detached = "DETACHED", GiveUp;
    /// The stream reached the offset at which it was to end. Nothing is wrong.
    EndReached = "END_REACHED", GiveUp;
    /// Input that begins beyond the end of what was accepted. Send again from `details.input_offset`.
    InputGap = "INPUT_GAP", Resume;
    /// More input than `input_window` is waiting for the program; the frame was refused whole. Send it again once
    /// `input_applied` has moved.
    InputQueueFull = "INPUT_QUEUE_FULL", Retry;
    /// A write without `input_offset` while the owner types on a stream. Give the offset, or write on the stream.
    InputOnStream = "INPUT_ON_STREAM", FixRequest;
    /// As many sessions as `sessions_max` allows have not ended yet. Try again when one has.
    LimitSessions = "LIMIT_SESSIONS", Retry;
    /// The session has as many observers as `observers_max` allows.
    LimitObservers = "LIMIT_OBSERVERS", Retry;
    /// As many clients or connections as are allowed; the connection is closed.
    LimitClients = "LIMIT_CLIENTS", Retry;
    /// The environment is over 512 KiB, one string of it over 128 KiB, or a name is empty or holds `=` or a NUL.
    LimitEnv = "LIMIT_ENV", FixRequest;
    /// The working directory does not exist.
    CwdMissing = "CWD_MISSING", FixRequest;
    /// The working directory is not a directory.
    CwdNotDirectory = "CWD_NOT_DIRECTORY", FixRequest;
    /// The login shell does not exist. Name a command, or set `shell`.
    ShellNotFound = "SHELL_NOT_FOUND", FixRequest;
    /// No such command in the PATH that the program would have got.
    CommandNotFound = "COMMAND_NOT_FOUND", FixRequest;
    /// The command is not a program that this machine can run.
    ExecFormat = "EXEC_FORMAT", FixRequest;
    /// The working directory or the program may not be used by this user.
    PermissionDenied = "PERMISSION_DENIED", FixRequest;
    /// The start failed in another way; `details.step` and `details.errno` say where and why.
    SpawnFailed = "SPAWN_FAILED", GiveUp;
    /// The system has no descriptor, process, memory or pseudo-terminal left; `details.errno` says which.
    ResourceExhausted = "RESOURCE_EXHAUSTED", Retry;
    /// The session's holder accepts connections but has been silent for 2 s. It is left alone and asked again.
    HolderUnresponsive = "HOLDER_UNRESPONSIVE", Retry;
    /// The session's holder speaks a version that this daemon does not know; the program runs on. Kill the session, or
    /// run the daemon that knows that version.
    HolderProtoUnsupported = "HOLDER_PROTO_UNSUPPORTED", GiveUp;
    /// The session's holder died, and its program with it. `recover` starts it again, if that was offered.
    HolderLost = "HOLDER_LOST", GiveUp;
    /// The machine was started anew, and the program is gone. `recover` starts it again, if that was offered.
    HostRebooted = "HOST_REBOOTED", GiveUp;
    /// A range of the output cannot be read. Go on at `lost_to`; what lies before it is lost.
    JournalCorrupt = "JOURNAL_CORRUPT", Resume;
    /// A program was found alive that the journal knows nothing of; it goes on without its past.
    JournalMissing = "JOURNAL_MISSING", GiveUp;
    /// No space for new records; nothing was recorded. Try again when space is made.
    JournalFull = "JOURNAL_FULL", Retry;
    /// The disk failed while a record was written: it may be there or not. Reconnect and look.
    JournalFailed = "JOURNAL_FAILED", Resolve;
    /// Made by clients: the connection was lost before the answer to a request that must not be repeated, or input of a
    /// former owner epoch cannot be accounted for. Look, then decide.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Resolve;
    /// The session could not be restored; `details` says why.
    RestoreFailed = "RESTORE_FAILED", GiveUp;
    /// The new daemon was refused or did not start (`details.phase`, `details.reason`); the old one serves.
    UpgradeFailed = "UPGRADE_FAILED", GiveUp;
    /// A newer daemon has taken the sessions over; this one ends without touching any.
    StaleDaemon = "STALE_DAEMON", GiveUp;
    /// The daemon stops. With `details.restart` another one follows: reconnect and go on. Without it, end; the sessions
    /// live on.
    DaemonStopping = "DAEMON_STOPPING", Resume;
    /// Made by clients: no daemon answered in time. `abide doctor` looks for the cause.
    DaemonUnreachable = "DAEMON_UNREACHABLE", Retry;
    /// A bug was caught; `details.id` finds it in the daemon's log. Report it.
    Internal = "INTERNAL", GiveUp;
}

codes! {
    /// The codes of the journal.
    JournalCode, Journal;

    /// Another process has the store open: `details.pid`.
    Locked = "journal_locked", GiveUp;
    /// The store has a format or sizes that this version does not know. Use the version that wrote it.
    Format = "journal_format", GiveUp;
    /// A range of a log cannot be read; the details name file, position, log, range and what lies behind. Read on behind
    /// it, or repair it, or accept the loss.
    Corrupt = "journal_corrupt", Resume;
    /// No room for a record of this kind; nothing was written and no number used. Wait until there is space.
    Full = "journal_full", Retry;
    /// The queue of appends is full, and the caller would not wait.
    Busy = "journal_busy", Retry;
    /// A write or a sync failed earlier, so this open of the store takes nothing more. Open it anew, and resume.
    Poisoned = "journal_poisoned", GiveUp;
    /// The append was under way when the store was poisoned or its log dropped. Ask `outcome` of its position.
    Unknown = "journal_unknown", Resolve;
    /// A log of this name exists already.
    LogExists = "log_exists", GiveUp;
    /// No log has this name.
    LogNotFound = "log_not_found", GiveUp;
    /// The log was dropped while it was in use.
    LogGone = "log_gone", GiveUp;
    /// The log takes no appends here: a replica, in quarantine, or not the primary (`details.primary`). Append there.
    LogReadOnly = "log_read_only", Retry;
    /// An older epoch tried to append or to begin. Its holder has been replaced.
    EpochStale = "epoch_stale", GiveUp;
    /// The append expected another position than the log's end. Go on from the details.
    AppendConflict = "append_conflict", Resume;
    /// The position is no longer kept. Go on from the base in the details.
    PositionTrimmed = "position_trimmed", Resume;
    /// The position lies beyond the end of the log. Go on from the end in the details.
    PositionAhead = "position_ahead", Resume;
    /// The position lies in a history that was cut off. Go on from the common end in the details.
    PositionDiverged = "position_diverged", Resume;
    /// A record or a batch is larger than the store allows; the details give limit and size.
    TooLarge = "too_large", FixRequest;
    /// Too many logs, pins, keys or checkpoints, or too long a name; the details give limit and maximum.
    LimitExceeded = "limit_exceeded", FixRequest;
    /// The checkpoint does not lie within the log, or its source was shorter than it said.
    CheckpointInvalid = "checkpoint_invalid", FixRequest;
    /// The pin asks for records that are no longer kept. Go on from the base, or rebuild.
    PinBelowBase = "pin_below_base", Resume;
    /// The pin was given up by its limits of size or age. Go on from the base, or rebuild.
    PinLost = "pin_lost", Resume;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_stands_once_and_reads_back() {
        let spellings: BTreeSet<_> = registry().map(|entry| entry.spelling).collect();
        assert_eq!(spellings.len(), registry().count());
        assert_eq!(Code::ALL.len() + JournalCode::ALL.len(), registry().count());
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
        }
        assert!("NO_SUCH_CODE".parse::<Code>().is_err());
    }

    #[test]
    fn families_keep_their_spelling() {
        for Entry { spelling, family, .. } in registry() {
            let upper = !spelling.contains(|c: char| c.is_ascii_lowercase());
            assert_eq!(upper, family == Family::Terminal, "{spelling}");
        }
    }
}
