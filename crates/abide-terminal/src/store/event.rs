//! Events: the data entries of the registry log, one JSON object each. Their LSN is the event number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{ByteOffset, ClientId, DaemonEpoch, Incarnation, OwnerEpoch, SessionId};
use crate::record::{Cause, Exit, Record, Restore, RestoreAs};

/// One data entry of the registry log: `{"event":…,"session"?,"data":{…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// To which session; absent for `boot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// A transition of a session, or a start of the daemon. Times are wall clock in milliseconds since 1970 where their
/// name ends in `_at`, and CLOCK_BOOTTIME in milliseconds (valid within one boot) where it ends in `_boot_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The daemon started. A `format` above [`Event::FORMAT`] is one that this version cannot read.
    Boot {
        /// Number of this start.
        daemon_epoch: DaemonEpoch,
        /// The boot that it happened in, 32 hex digits.
        boot_id: String,
        /// Version of the daemon.
        version: String,
        /// Format of the events that follow.
        format: u32,
    },
    /// A session was accepted.
    Created(Box<Created>),
    /// Its holder was told to start the program.
    Start {
        /// Which start of the session this is.
        incarnation: Incarnation,
    },
    /// Its program runs.
    Started {
        /// The program's process id.
        pid: u32,
        /// Its start time in clock ticks since boot, which with the pid names it for good.
        start_time: u64,
    },
    /// Its end was asked for.
    Kill {
        /// When SIGKILL is due.
        deadline_at: u64,
        /// When the kill was accepted.
        t0_boot_ms: u64,
        /// The time from there to SIGKILL.
        grace_ms: u64,
        /// The signal that replaces SIGHUP, by number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<u8>,
        /// The client that asked; absent: the daemon stops.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<ClientId>,
    },
    /// Its program has ended, could not be started, or was lost.
    Exited {
        /// How.
        exit: Exit,
    },
    /// All its output is journalled.
    Finalized {
        /// The offset after its last byte.
        end_offset: ByteOffset,
        /// How its program ended.
        exit: Exit,
    },
    /// Another client owns it, or nobody.
    OwnerChanged {
        /// Who owned it before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        former: Option<ClientId>,
        /// Who owns it now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<ClientId>,
        /// The epoch that begins.
        owner_epoch: OwnerEpoch,
        /// Why.
        cause: Cause,
    },
    /// Its terminal has another size.
    Resized {
        /// Columns, 1–4,096.
        cols: u16,
        /// Rows, 1–4,096.
        rows: u16,
    },
    /// It has another name.
    Renamed {
        /// The name.
        name: String,
    },
    /// A new program takes the place of one that was lost. The session is `Starting` again, as another incarnation.
    Restoring {
        /// Which start of the session this is.
        incarnation: Incarnation,
        /// What is started.
        r#as: RestoreAs,
        /// The loss that it follows.
        code: String,
        /// The boot in which it is started, 32 hex digits.
        boot_id: String,
        /// Its name from now on, if another session has got the former one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// It is forgotten; its log is dropped.
    Removed {
        /// `request`, `expired` or `disk`.
        cause: String,
    },
    /// What a start of the daemon found of it.
    Recovered {
        /// The outcome's name.
        outcome: String,
        /// The failure code, for outcomes that have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
}

impl Event {
    /// The format of events that this version writes, and the newest that it reads.
    pub const FORMAT: u32 = 1;

    /// A start of this daemon, or its epoch raised.
    pub(crate) fn boot(daemon_epoch: DaemonEpoch, boot: abide_holder::BootId, version: &str) -> Self {
        Self::Boot { daemon_epoch, boot_id: boot.to_string(), version: version.to_owned(), format: Self::FORMAT }
    }

    /// The event's name, as it stands in the log and in protocol v1.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Boot { .. } => "boot",
            Self::Created(_) => "created",
            Self::Start { .. } => "start",
            Self::Started { .. } => "started",
            Self::Kill { .. } => "kill",
            Self::Exited { .. } => "exited",
            Self::Finalized { .. } => "finalized",
            Self::OwnerChanged { .. } => "owner_changed",
            Self::Resized { .. } => "resized",
            Self::Renamed { .. } => "renamed",
            Self::Restoring { .. } => "restoring",
            Self::Removed { .. } => "removed",
            Self::Recovered { .. } => "recovered",
        }
    }
}

/// A session as it was accepted, with what only the daemon needs to start its program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The session, state `Starting`.
    pub record: Record,
    /// True if the program is started as a login shell (`argv[0]` begins with `-`).
    pub login: bool,
    /// Width and height of the terminal in pixels; 0 is unknown.
    pub pixels: (u16, u16),
    /// The program's environment as the request gave it. Present only where a restore may need it: an environment
    /// is never stored otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// True if `env` replaces the daemon's own environment.
    #[serde(default)]
    pub clear_env: bool,
    /// Most bytes of output to keep, counted as the journal does; absent: the configured default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// How long to keep output, in milliseconds; absent: the configured default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_age_ms: Option<u64>,
    /// The boot in which its present incarnation was accepted, 32 hex digits.
    pub boot_id: String,
}

impl Created {
    /// Whether this policy needs the environment after a loss.
    pub fn stores_env(restore: Restore) -> bool {
        restore != Restore::Never
    }
}
