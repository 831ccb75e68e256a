//! The refusals of the daemon: each rule's code, words and details in one place.

use abide_wire::Code;
use serde_json::json;

use crate::ids::{ByteOffset, InputOffset};
use crate::program::Failure;
use crate::protocol::{UpgradeFailure, WireError};
use crate::record::Record;

/// Constructors for what the rules answer with. What a caller does about each is the code's page in
/// `docs/errors.md`.
impl WireError {
    pub(crate) fn not_owner(record: &Record) -> Self {
        let message = match &record.owner {
            Some(owner) => format!("session {} is owned by {owner}", record.name),
            None => format!("session {} is owned by nobody; take it over first", record.name),
        };
        Self::new(Code::RoleForbidden, message).owner_of(record)
    }

    pub(crate) fn session_owned(record: &Record, connected: bool) -> Self {
        let message = format!("session {} is owned by another client", record.name);
        Self::new(Code::SessionOwned, message).owner_of(record).with("connected", connected)
    }

    pub(crate) fn takeover_denied(record: &Record) -> Self {
        Self::new(Code::TakeoverDenied, format!("session {} may not be taken over", record.name)).owner_of(record)
    }

    pub(crate) fn owner_changed(record: &Record) -> Self {
        Self::new(Code::OwnerChanged, format!("session {} has another owner epoch now", record.name)).owner_of(record)
    }

    fn owner_of(self, record: &Record) -> Self {
        let error = self.with("owner_epoch", record.owner_epoch.0);
        match &record.owner {
            Some(owner) => error.with("owner", owner.as_str()),
            None => error,
        }
    }

    pub(crate) fn starting(record: &Record) -> Self {
        Self::new(Code::SessionStarting, format!("the program of session {} is being started", record.name))
    }

    pub(crate) fn terminating(record: &Record) -> Self {
        Self::new(Code::SessionTerminating, format!("session {} is being killed", record.name))
    }

    pub(crate) fn exited(record: &Record) -> Self {
        Self::new(Code::SessionExited, format!("the program of session {} has ended", record.name))
            .with("exit", json!(record.exit))
    }

    pub(crate) fn running(record: &Record) -> Self {
        Self::new(Code::SessionRunning, format!("session {} has not ended; kill it first", record.name))
    }

    pub(crate) fn name_taken(record: &Record) -> Self {
        Self::new(Code::NameTaken, format!("the name {} is taken", record.name)).with("session", record.id.to_string())
    }

    pub(crate) fn not_found(session: &str) -> Self {
        Self::new(Code::SessionNotFound, format!("there is no session {session}"))
    }

    pub(crate) fn gone(session: &str, removed_at: u64) -> Self {
        Self::new(Code::SessionGone, format!("session {session} was removed")).with("removed_at", removed_at)
    }

    pub(crate) fn bad_request(field: &str, message: impl std::fmt::Display) -> Self {
        Self::new(Code::BadRequest, format!("{field} {message}")).with("field", field)
    }

    pub(crate) fn detached() -> Self {
        Self::new(Code::Detached, "the stream has ended")
    }

    pub(crate) fn observers_limit(max: usize) -> Self {
        Self::new(Code::LimitObservers, format!("the session has its {max} observers"))
    }

    pub(crate) fn sessions_limit(max: u32) -> Self {
        Self::new(Code::LimitSessions, format!("there are {max} sessions that have not ended"))
    }

    pub(crate) fn env(reason: &str) -> Self {
        Self::new(Code::LimitEnv, reason)
    }

    pub(crate) fn upgrade_failed(failed: &UpgradeFailure) -> Self {
        Self::new(Code::UpgradeFailed, format!("the daemon was not replaced: {}", failed.reason))
            .with("phase", failed.phase.as_str())
            .with("reason", failed.reason.as_str())
    }

    pub(crate) fn clients_limit() -> Self {
        Self::new(Code::LimitClients, "there are as many connections as are allowed")
    }

    pub(crate) fn input_gap(end: InputOffset) -> Self {
        Self::new(Code::InputGap, format!("input is expected from offset {end}")).with("input_offset", end.0)
    }

    pub(crate) fn input_queue_full(offset: InputOffset) -> Self {
        Self::new(Code::InputQueueFull, "the program has not read the input before this").with("input_offset", offset.0)
    }

    pub(crate) fn input_untold() -> Self {
        Self::new(Code::OutcomeUnknown, "another client typed since; how much of this reached the program was not told")
    }

    pub(crate) fn input_on_stream(record: &Record) -> Self {
        let text = format!("a stream of its owner types into session {}; say at which input_offset", record.name);
        Self::new(Code::InputOnStream, text)
    }

    pub(crate) fn offset_trimmed(base: ByteOffset) -> Self {
        Self::new(Code::OffsetTrimmed, format!("output is kept from offset {base} on")).with("base_offset", base.0)
    }

    pub(crate) fn offset_ahead(end: ByteOffset, epoch: u64, resume: ByteOffset) -> Self {
        Self::new(Code::OffsetAhead, format!("output goes on at offset {resume}"))
            .with("end_offset", end.0)
            .with("epoch", epoch)
            .with("resume_offset", resume.0)
    }

    /// Output at this offset that cannot be read: it was trimmed, dropped, or is damaged.
    pub(crate) fn unreadable(at: ByteOffset, error: &abide_journal::Error) -> Self {
        match error {
            abide_journal::Error::PositionTrimmed { base } => Self::offset_trimmed(ByteOffset(base.offset.0)),
            abide_journal::Error::LogGone => Self::removed(),
            abide_journal::Error::Corrupt(corruption) => {
                let error = Self::new(Code::JournalCorrupt, "output is damaged").with("lost_from", at.0);
                match &corruption.range {
                    Some(range) => error.with("lost_to", range.behind.offset.0),
                    None => error,
                }
            }
            _ => Self::journal_failed(),
        }
    }

    pub(crate) fn removed() -> Self {
        Self::new(Code::SessionGone, "the session was removed")
    }

    pub(crate) fn journal_full() -> Self {
        Self::new(Code::JournalFull, "the journal has no room")
    }

    pub(crate) fn journal_failed() -> Self {
        Self::new(Code::JournalFailed, "the journal failed; it may have recorded this or not")
    }

    pub(crate) fn not_started(failure: Failure) -> Self {
        Self::new(failure.code(), format!("the program was not started: {failure}"))
            .with("step", failure.step.as_str())
            .with("errno", failure.errno)
    }

    /// A restore that failed where the registry has no code of its own for the reason.
    pub(crate) fn not_restored(failure: Failure) -> Self {
        match failure.code() {
            Code::SpawnFailed => Self::new(Code::RestoreFailed, format!("the program was not restored: {failure}"))
                .with("step", failure.step.as_str())
                .with("errno", failure.errno),
            _ => Self::not_started(failure),
        }
    }

    pub(crate) fn crash_loop() -> Self {
        Self::new(Code::RestoreFailed, "the session was restored too often just now").with("reason", "crash_loop")
    }

    pub(crate) fn not_recoverable(reason: &str) -> Self {
        let text = match reason {
            "policy" => "the session was created without a restore policy",
            _ => "the session's program was not lost",
        };
        Self::new(Code::BadRequest, text).with("reason", reason)
    }

    pub(crate) fn holder_lost(code: Code) -> Self {
        Self::new(code, "the holder was lost while the program was being started")
    }

    pub(crate) fn unresponsive() -> Self {
        Self::new(Code::HolderUnresponsive, "the holder did not start the program in time")
    }

    pub(crate) fn stopping(restart: bool) -> Self {
        let error = Self::new(Code::DaemonStopping, "the daemon is stopping");
        if restart { error.with("restart", true) } else { error }
    }

    pub(crate) fn internal(what: &str) -> Self {
        Self::new(Code::Internal, what)
    }
}
