//! What is told of a session: the record that protocol v1 answers with, and the words in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{ByteOffset, ClientId, Incarnation, OwnerEpoch, SessionId};

/// Where a session stands. Per incarnation the state only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Accepted and journalled; the holder is being started.
    Starting,
    /// The program runs.
    Running,
    /// A kill was accepted; its deadline is set.
    Terminating,
    /// The program has ended, could not be started, or was lost; output may still be draining.
    Exited,
    /// All output is journalled, the end recorded, viewers told; read-only.
    Finalized,
}

/// What to do with a session whose program was lost with its holder or its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restore {
    /// It ends with the code of its loss. Its environment is never stored.
    #[default]
    Never,
    /// It ends; `recover` may run it again later.
    Offer,
    /// A login shell is started in its place at once.
    Shell,
    /// The same command is started again at once.
    Command,
}

/// What a restore starts in the place of a lost program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreAs {
    /// A login shell.
    Shell,
    /// The command and arguments that the session was created with.
    Command,
}

impl Restore {
    /// What this policy starts by itself after a loss.
    pub fn acts(self) -> Option<RestoreAs> {
        match self {
            Self::Never | Self::Offer => None,
            Self::Shell => Some(RestoreAs::Shell),
            Self::Command => Some(RestoreAs::Command),
        }
    }
}

/// Whether another client of the same user may take an owned session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takeover {
    /// It may.
    #[default]
    Allow,
    /// It is refused with `TAKEOVER_DENIED`.
    Deny,
}

/// Why the ownership of a session changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Another client took it from its owner.
    Takeover,
    /// Its owner gave it up, or handed it on.
    Released,
    /// Its owner stayed away longer than its grace.
    Lapsed,
    /// A client attached as owner while nobody owned it.
    Claimed,
    /// A new program began.
    Restored,
}

/// How a program ended: one way, and what else is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The way it ended.
    #[serde(flatten)]
    pub kind: ExitKind,
    /// True if the kill's deadline passed with processes left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Processes that outlived the kill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<Survivor>,
    /// `"deadline"` if output was cut off by the drain deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
}

/// The one way in which a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitKind {
    /// It returned this status, 0–255.
    Code(u8),
    /// It was ended by this signal, by name (`SIGKILL`).
    Signal(String),
    /// It was killed before it started.
    NeverStarted(bool),
    /// It could not be started; the code says why.
    SpawnFailed(String),
    /// Its holder or machine was lost; the code says which.
    Lost(String),
    /// It outlived its kill in a state in which nobody could reap it.
    Unreaped(bool),
}

/// A process that outlived the kill of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Its process id.
    pub pid: u32,
    /// The name of its command, without arguments.
    pub command: String,
}

/// A kill that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillRecord {
    /// The number of its event, as text.
    pub kill_id: String,
    /// When SIGKILL is due, wall clock in milliseconds since 1970.
    pub deadline_at: u64,
}

/// What the last start of the daemon, or the last loss of its program, made of this session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The outcome's name: `alive`, `ended`, `zombie`, `unrecoverable`, `restored`, `offered`, `orphan` or `pending`.
    pub outcome: String,
    /// The failure code, for outcomes that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A session as `create`, `list` and `inspect` tell it. Times are wall clock in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its identity, for good.
    pub id: SessionId,
    /// Its name, unique among sessions that are not Finalized.
    pub name: String,
    /// The key it was created with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Number of program starts.
    pub incarnation: Incarnation,
    /// Where it stands.
    pub state: State,
    /// The client that may type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ClientId>,
    /// Number of changes of ownership; 0 before the first owner.
    pub owner_epoch: OwnerEpoch,
    /// How many streams observe it.
    pub observers: u32,
    /// The program's process id, once started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The command; for a login shell its path.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it was started.
    pub cwd: PathBuf,
    /// When it was accepted.
    pub created_at: u64,
    /// When its program started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When its program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exited_at: Option<u64>,
    /// How its program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The kill under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<KillRecord>,
    /// Since when nobody owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detached_at: Option<u64>,
    /// Columns of its terminal, 1–4,096.
    pub cols: u16,
    /// Rows of its terminal, 1–4,096.
    pub rows: u16,
    /// First output offset that is kept.
    pub base_offset: ByteOffset,
    /// Offset after the last output byte that is journalled.
    pub end_offset: ByteOffset,
    /// When it last printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_output_at: Option<u64>,
    /// The title that the program set (OSC 0 or 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The working directory that the program reported (OSC 7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_dir: Option<String>,
    /// What follows a loss.
    pub restore: Restore,
    /// Whether it may be taken over.
    pub takeover: Takeover,
    /// What the last start of the daemon found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
}
