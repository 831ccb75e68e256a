//! The keys, each once: its name, what it is for, its default, and its limits.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Key, Keys};
use crate::program::TERM_DEFAULT;
use crate::record::{Restore, Takeover};
use crate::recover::Orphans;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY_MS: u64 = 24 * 3_600_000;
/// The greatest whole number that every reader of JSON keeps exact.
const NUMBER_MAX: i64 = (1 << 53) - 1;

/// Makes the struct of a table, its defaults, and the list of its keys. A key whose name is no identifier has it behind
/// `as`; the limits of a number stand behind `in`.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $name:ident is $table:literal;
        $($(#[doc = $about:literal])+ $field:ident $(as $key:literal)?: $type:ty = $default:expr $(, in $least:expr, $most:expr)?;)+
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $about])+ $(#[serde(rename = $key)])? pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Keys for $name {
            const TABLE: &'static str = $table;
            #[expect(clippy::cast_possible_wrap, reason = "limits are at most 2^53")]
            const KEYS: &'static [Key] = &[
                $(Key {
                    name: table!(@name $field $($key)?),
                    about: concat!($($about),+),
                    range: table!(@range $($least, $most)?),
                },)+
            ];
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
    (@range) => { None };
    (@range $least:expr, $most:expr) => { Some(($least as i64, $most as i64)) };
}

table! {
    /// The table `[terminal]`; in the environment `ABIDE_TERMINAL_<KEY>`, with `_` for the dot of a key.
    Terminal is "terminal";

    /// Sessions that are not Finalized; a create beyond it is refused with `LIMIT_SESSIONS`.
    sessions_max: u32 = 1_000, in 1, 100_000;
    /// Observers of one session; another is refused with `LIMIT_OBSERVERS`.
    observers_max: u32 = 64, in 0, 10_000;
    /// Clients at once; another is refused with `LIMIT_CLIENTS` and closed.
    clients_max: u32 = 256, in 1, 100_000;
    /// Connections at once; another is refused with `LIMIT_CLIENTS` and closed.
    connections_max: u32 = 1_024, in 1, 100_000;
    /// Holders that are launched at the same time; further creates wait in their order.
    starts_concurrent_max: u32 = 8, in 1, 1_000;
    /// Output in bytes that a session holds between its program and the journal. A power of two.
    ring_bytes: u64 = 256 * KIB, in 64 * KIB, 16 * MIB;
    /// Output in bytes that a session holds beyond its ring while no daemon runs; then the program waits.
    spill_bytes_max: u64 = 64 * MIB, in 0, 16 * GIB;
    /// Bytes queued for one client over all its connections; its streams lag beyond it.
    client_queue_bytes_max: u64 = 8 * MIB, in 64 * KIB, GIB;
    /// Bytes queued on one connection above which nothing more is queued.
    socket_high_bytes: u64 = MIB, in 4 * KIB, GIB;
    /// Bytes queued on one connection below which it is fed again. Below `socket_high_bytes`.
    socket_low_bytes: u64 = 256 * KIB, in KIB, GIB;
    /// Bytes by which a stream may fall behind, if its attach does not say: beyond them it skips or ends, as it asked.
    lag_bytes_max: u64 = 16 * MIB, in 64 * KIB, GIB;
    /// Time in milliseconds for which a queue must have shrunk before its level falls.
    level_hold_ms: u64 = 250, in 0, 60_000;
    /// Time in milliseconds after which a connection that takes no byte is closed with `SLOW_SUBSCRIBER`.
    write_stall_ms: u64 = 30_000, in 100, 86_400_000;
    /// Time in milliseconds for which a session stays with an owner who has no connection.
    owner_grace_ms: u64 = 10_000, in 0, 86_400_000;
    /// Whether another client of the same user may take over an owned session, if its create does not say: `allow`, `deny`.
    takeover: Takeover = Takeover::Allow;
    /// What follows when a session's program is lost with its holder or its machine, if its create does not say: `never`
    /// (nothing), `offer` (`abide recover` may start another one), `shell` or `command` (that is started at once).
    restore: Restore = Restore::Never;
    /// What becomes of programs that a start of the daemon finds without a record: `adopt` (each becomes a session named
    /// `orphan-…`), `end`.
    orphans: Orphans = Orphans::Adopt;
    /// Time in milliseconds from a kill to SIGKILL, if the request does not say.
    kill_grace_ms: u64 = 5_000, in 0, 60_000;
    /// Time in milliseconds for which output is awaited after a program's end.
    drain_ms_max: u64 = 2_000, in 0, 600_000;
    /// Bytes of output that a session keeps at least, counted as the journal does (payload and 56 a record), if its create
    /// does not say. What is older goes, up to a screen.
    retention_bytes: u64 = 64 * MIB, in KIB, NUMBER_MAX;
    /// Time in milliseconds for which output is kept, if its create does not say; 0 for no limit. What is older goes, as
    /// beyond `retention_bytes`.
    retention_age_ms: u64 = 0, in 0, NUMBER_MAX;
    /// Bytes of output that all sessions keep together: beyond it sessions that have ended are removed, oldest first, then
    /// the longest logs are cut.
    output_bytes_max: u64 = 8 * GIB, in MIB, NUMBER_MAX;
    /// Time in milliseconds after which a session that has ended is removed.
    finalized_keep_ms: u64 = 7 * DAY_MS, in 0, NUMBER_MAX;
    /// Sessions that have ended and are kept; beyond it the oldest is removed.
    finalized_sessions_max: u32 = 1_000, in 0, 100_000;
    /// Bytes of events that are kept.
    events_bytes: u64 = 32 * MIB, in 64 * KIB, NUMBER_MAX;
    /// What output and events are safe from when they are acknowledged: `os` (the death of any process), `interval`
    /// (also a power cut, but for the last `journal.sync_interval_ms`), `always` (a power cut too).
    journal_sync as "journal.sync": Sync = Sync::Interval;
    /// Lines of history in a snapshot, if the attach does not say. At most `scrollback_lines_max`.
    scrollback_lines: u32 = 1_000, in 0, 100_000;
    /// Lines of history that a screen model keeps; what is older is in the journal.
    scrollback_lines_max: u32 = 2_000, in 0, 100_000;
    /// Screen models in memory; the one unused for longest is dropped and built again when it is needed.
    models_max: u32 = 64, in 1, 10_000;
    /// Bytes by which a screen model may lag behind its session's output; beyond them the output waits.
    model_lag_bytes_max: u64 = 64 * MIB, in MIB, 16 * GIB;
    /// Directory of sockets and lock, seen from the state directory.
    socket_dir: PathBuf = PathBuf::from("run");
    /// Terminal type of programs; where the host does not know it, `xterm-256color`.
    term: String = TERM_DEFAULT.to_owned();
    /// The key that detaches: `ctrl-` and a letter or one of `@ [ \ ] ^ _`.
    detach_key: DetachKey = DetachKey::DEFAULT;
    /// The login shell; without it that of the password database.
    shell: Option<PathBuf> = None;
    /// What is added to the daemon's `oom_score_adj`, so that the kernel ends programs of others first, then the daemon,
    /// then holders. Programs and holders keep what the daemon was started with.
    oom_score_adj: i32 = 200, in -1_000, 1_000;
}

table! {
    /// The table `[journal]`; in the environment `ABIDE_JOURNAL_<KEY>`.
    Journal is "journal";

    /// Directory of the store; without it `journal` in the state directory.
    dir: Option<PathBuf> = None;
    /// Bytes of a segment file: a power of two, and that of an existing store.
    segment_bytes: u64 = 32 * MIB, in 64 * KIB, GIB;
    /// Bytes of one record; at most half a segment.
    record_bytes_max: u64 = 12 * MIB, in 4 * KIB, GIB;
    /// Bytes of the records that are appended as one unit; at most half a segment.
    append_bytes_max: u64 = 16 * MIB, in 4 * KIB, GIB;
    /// Bytes of queued appends above which an appender waits.
    queue_bytes_max: u64 = 64 * MIB, in MIB, 16 * GIB;
    /// Bytes of the newest records that are kept in memory for readers.
    tail_cache_bytes: u64 = 32 * MIB, in 0, 16 * GIB;
    /// Time in milliseconds after which a record of level `interval` is on the disk.
    sync_interval_ms: u64 = 1_000, in 1, 3_600_000;
    /// Bytes appended between two snapshots of the index.
    index_interval_bytes: u64 = 64 * MIB, in MIB, 16 * GIB;
    /// Bytes of a checkpoint that lies in the stream; a larger one gets a file of its own.
    checkpoint_inline_bytes_max: u64 = MIB, in 0, 16 * MIB;
    /// Free space in bytes that ordinary appends leave alone; at most 2 % of the disk.
    disk_reserve_bytes: u64 = 256 * MIB, in 0, NUMBER_MAX;
    /// Bytes of the whole store; 0 for no bound.
    bytes_max: u64 = 0, in 0, NUMBER_MAX;
    /// Logs in the store.
    logs_max: u32 = 65_536, in 1, 16_777_216;
}

/// What an acknowledgement is safe from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// The death of any process.
    Os,
    /// Also a power cut, but for the last interval.
    #[default]
    Interval,
    /// Also a power cut.
    Always,
}

/// The key that detaches: a control character, which the keyboard sends as one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DetachKey(u8);

impl Default for DetachKey {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl DetachKey {
    /// `ctrl-\`.
    const DEFAULT: Self = Self(0x1C);

    /// The byte that the keyboard sends.
    pub fn byte(self) -> u8 {
        self.0
    }
}

impl fmt::Display for DetachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ctrl-{}", char::from(self.0 | 0x40).to_ascii_lowercase())
    }
}

/// A text that names no control character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be ctrl- and a letter or one of @ [ \\ ] ^ _")]
pub struct NotAControlKey;

impl FromStr for DetachKey {
    type Err = NotAControlKey;

    /// Accepts `ctrl-a`, also as `Ctrl-A`, `C-a` and `^A`.
    fn from_str(text: &str) -> Result<Self, NotAControlKey> {
        let key = ["ctrl-", "Ctrl-", "CTRL-", "C-", "^"].iter().find_map(|prefix| text.strip_prefix(prefix));
        match key.map(str::as_bytes) {
            Some(&[letter]) if matches!(letter.to_ascii_uppercase(), b'@'..=b'_') => Ok(Self(letter & 0x1F)),
            _ => Err(NotAControlKey),
        }
    }
}

impl TryFrom<String> for DetachKey {
    type Error = NotAControlKey;

    fn try_from(text: String) -> Result<Self, NotAControlKey> {
        text.parse()
    }
}

impl From<DetachKey> for String {
    fn from(key: DetachKey) -> Self {
        key.to_string()
    }
}
