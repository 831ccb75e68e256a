//! What is said on a stream connection beside the bytes.

use std::path::PathBuf;

use abide_wire::{Code, RequestId};
use bytes::BufMut;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::error::ErrorMessage;
use super::fields::{self, SessionRef};
use super::frame::message_frame;
use super::hello::HelloOk;
use super::strict::{FieldError, Fields};
use crate::ids::{ByteOffset, ClientId, Incarnation, InputOffset, OwnerEpoch, SessionId};
use crate::level::Level;
use crate::record::{Cause, Exit, RestoreAs, State};

/// What a stream may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// See, type and resize.
    Owner,
    /// See.
    Observer,
}

/// Where a stream's output begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With a picture of the screen as it is now, then what comes: `"snapshot"`.
    #[default]
    Snapshot,
    /// With what comes: `"live"`.
    Live,
    /// With the byte at `offset`: `{"offset":N,"epoch":E}`.
    Offset {
        /// The first byte.
        offset: ByteOffset,
        /// `epoch` of the `attached` before, if there was one: it tells whether those bytes still stand.
        epoch: Option<u64>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    #[serde(deserialize_with = "fields::offset")]
    offset: ByteOffset,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::integer")]
    epoch: Option<u64>,
}

impl Serialize for StartAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Snapshot => serializer.serialize_str("snapshot"),
            Self::Live => serializer.serialize_str("live"),
            Self::Offset { offset, epoch } => Position { offset, epoch }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = StartAt;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"snapshot\", \"live\" or an object with offset and epoch")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StartAt, E> {
                match text {
                    "snapshot" => Ok(StartAt::Snapshot),
                    "live" => Ok(StartAt::Live),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StartAt, A::Error> {
                let Position { offset, epoch } = Position::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StartAt::Offset { offset, epoch })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// What happens to a stream that falls behind by more than `lag_bytes_max`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLag {
    /// It skips to a snapshot of the screen, and is told what it skipped: for terminals.
    #[default]
    Resync,
    /// It ends with `SLOW_SUBSCRIBER`: for programs that decide themselves.
    Disconnect,
    /// It gets every byte that is kept, as late as it reads: for recorders.
    Follow,
}

/// The one request of a stream connection that has an answer: which session, as whom, from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Which session.
    pub session: SessionRef,
    /// As owner or observer.
    pub mode: Mode,
    /// Where output begins.
    #[serde(default)]
    pub from: StartAt,
    /// The owner's columns, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default", deserialize_with = "fields::size")]
    pub cols: u16,
    /// The owner's rows, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default", deserialize_with = "fields::size")]
    pub rows: u16,
    /// The owner's width in pixels, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default")]
    pub xpixel: u16,
    /// The owner's height in pixels, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default")]
    pub ypixel: u16,
    /// What happens when it falls behind.
    #[serde(default)]
    pub on_lag: OnLag,
    /// How far it may fall behind, 65,536 to 2^30 bytes; absent: as configured. `follow` has no bound.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::lag")]
    pub lag_bytes_max: Option<u64>,
    /// Most output that is sent before it was acknowledged, at least 65,536 bytes; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::window")]
    pub window_bytes: Option<u64>,
    /// History lines in the snapshot, at most 100,000; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::scrollback")]
    pub scrollback_lines: Option<u32>,
    /// Where the stream ends with `END_REACHED`; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::optional_offset")]
    pub until: Option<ByteOffset>,
    /// Whether it is told when each record was written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub times: bool,
    /// The owner's ssh agent: an absolute path of a socket of this user. Programs of the session that have an agent reach
    /// this one from now on.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::socket")]
    pub agent: Option<PathBuf>,
    /// The owner epoch whose input this stream began and goes on with, after a reconnect. An owner that names another one,
    /// or none, gets an epoch of its own, if any stream had the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_epoch: Option<OwnerEpoch>,
}

impl Attach {
    /// From a snapshot on, at no known size, getting every byte.
    pub fn new(session: SessionRef, mode: Mode) -> Self {
        Self {
            session,
            mode,
            from: StartAt::Snapshot,
            cols: 0,
            rows: 0,
            xpixel: 0,
            ypixel: 0,
            on_lag: OnLag::Follow,
            lag_bytes_max: None,
            window_bytes: None,
            scrollback_lines: None,
            until: None,
            times: false,
            agent: None,
            owner_epoch: None,
        }
    }
}

/// The owner's new size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSize {
    /// Columns, 0 for unknown (then nothing changes).
    #[serde(deserialize_with = "fields::size")]
    pub cols: u16,
    /// Rows, 0 for unknown (then nothing changes).
    #[serde(deserialize_with = "fields::size")]
    pub rows: u16,
    /// Width in pixels, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default")]
    pub xpixel: u16,
    /// Height in pixels, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default")]
    pub ypixel: u16,
}

/// Output that the client has processed: its window moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Everything below it.
    #[serde(deserialize_with = "fields::offset")]
    pub offset: ByteOffset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// A message of the client on a stream. All but `attach` have no id and no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRequest {
    /// Once, first.
    Attach(RequestId, Attach),
    /// The window changed its size.
    Resize(WindowSize),
    /// Output was processed.
    Ack(Ack),
    /// Asks how much input was applied.
    InputState,
    /// Ends the stream.
    Detach,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StreamRequestRef<'a> {
    Attach {
        id: &'a RequestId,
        #[serde(flatten)]
        attach: &'a Attach,
    },
    Resize(&'a WindowSize),
    Ack(&'a Ack),
    InputState,
    Detach,
}

impl StreamRequest {
    /// Every `type` that a stream connection takes.
    pub const TYPES: &[&str] = &["attach", "resize", "ack", "input_state", "detach"];

    /// Its `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attach(..) => "attach",
            Self::Resize(_) => "resize",
            Self::Ack(_) => "ack",
            Self::InputState => "input_state",
            Self::Detach => "detach",
        }
    }

    /// `None` if no message has this type.
    pub(super) fn read(name: &str, mut fields: Fields<'_>) -> Option<Result<Self, FieldError>> {
        match name {
            "attach" => {
                let id = fields.take("id");
                Some(id.and_then(|id| Ok(Self::Attach(id, fields.read()?))))
            }
            "resize" => Some(fields.read().map(Self::Resize)),
            "ack" => Some(fields.read().map(Self::Ack)),
            "input_state" => Some(fields.read().map(|NoFields {}| Self::InputState)),
            "detach" => Some(fields.read().map(|NoFields {}| Self::Detach)),
            _ => None,
        }
    }

    /// Appends it as a frame.
    pub fn encode(&self, out: &mut impl BufMut) {
        let message = match self {
            Self::Attach(id, attach) => StreamRequestRef::Attach { id, attach },
            Self::Resize(size) => StreamRequestRef::Resize(size),
            Self::Ack(ack) => StreamRequestRef::Ack(ack),
            Self::InputState => StreamRequestRef::InputState,
            Self::Detach => StreamRequestRef::Detach,
        };
        message_frame(&message, out);
    }
}

/// Any message of the daemon on a stream connection. Those with `offset` stand in order with the output, where it
/// happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamMessage {
    /// The answer to the hello.
    HelloOk(HelloOk),
    /// The answer to `attach`.
    Attached(Attached),
    /// A refused attach (with its id), or another refused message (without).
    Error(ErrorMessage),
    /// The terminal's size changed.
    Resized(SizeChanged),
    /// Another owner, or none.
    OwnershipChanged(OwnershipChanged),
    /// Input reached the program's terminal. To the owner alone.
    InputApplied(InputApplied),
    /// Output and marks were skipped; a snapshot follows.
    Lagged(Lagged),
    /// A new program begins here, in the place of one that was lost.
    Restored(Restored),
    /// A queue grows, or has shrunk. To a client without a control connection.
    BackpressureWarning(BackpressureWarning),
    /// Output is missing here.
    Hole(Hole),
    /// When what comes next was written. To streams that asked for it.
    Time(Time),
    /// The program has ended, and all its output was sent.
    Exited(ExitTold),
    /// The last message.
    Detached(Detached),
}

/// A stream began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// That of the attach.
    pub id: RequestId,
    /// Which session.
    pub session: SessionId,
    /// Which program start.
    pub incarnation: Incarnation,
    /// The log's epoch: to be given with the offset when the stream is resumed.
    pub epoch: u64,
    /// Where the session stands.
    pub state: State,
    /// What this stream may do.
    pub mode: Mode,
    /// First byte of output that is sent.
    pub offset: ByteOffset,
    /// First byte that is kept.
    pub base_offset: ByteOffset,
    /// Offset after the last byte now. Queries of the program below it were answered, or nobody will answer them.
    pub end_offset: ByteOffset,
    /// Size of the snapshot that comes first; 0: none comes.
    pub snapshot_bytes: u64,
    /// Columns of the terminal.
    pub cols: u16,
    /// Rows of the terminal.
    pub rows: u16,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ClientId>,
    /// Its epoch of ownership.
    pub owner_epoch: OwnerEpoch,
    /// Input applied in that epoch: the client drops what lies below it and sends the rest again.
    pub input_applied: InputOffset,
    /// Input bytes that may be under way.
    pub input_window: u64,
    /// The last epoch before in which input was applied; absent where no holder told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
}

/// What was applied in a former epoch of ownership; epoch 0: none wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Which epoch.
    pub owner_epoch: OwnerEpoch,
    /// Its final count.
    pub input_applied: InputOffset,
}

/// The terminal's size from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeChanged {
    /// Where.
    pub offset: ByteOffset,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// The owner from `offset` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipChanged {
    /// Where.
    pub offset: ByteOffset,
    /// Who owned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<ClientId>,
    /// Who owns it; absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ClientId>,
    /// The epoch that began.
    pub owner_epoch: OwnerEpoch,
    /// Why.
    pub cause: Cause,
    /// What this stream may do from now on.
    pub mode: Mode,
}

/// How much input reached the program's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputApplied {
    /// In which epoch.
    pub owner_epoch: OwnerEpoch,
    /// Everything below it.
    pub input_offset: InputOffset,
    /// True: the epoch has ended, nothing more of it will be applied.
    #[serde(default, rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

/// The stream was too far behind: everything from `from` to `to` was skipped. A snapshot of the screen at `to` follows, then
/// output from there. The rest as in [`Attached`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lagged {
    /// First byte that was not sent.
    pub from: ByteOffset,
    /// First byte that comes next.
    pub to: ByteOffset,
    /// Size of the snapshot.
    pub snapshot_bytes: u64,
    /// Columns of the terminal at `to`.
    pub cols: u16,
    /// Rows of the terminal at `to`.
    pub rows: u16,
    /// Which program start.
    pub incarnation: Incarnation,
    /// Who owns the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ClientId>,
    /// Its epoch of ownership.
    pub owner_epoch: OwnerEpoch,
    /// What this stream may do from now on.
    pub mode: Mode,
}

/// Which queue a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// What a session's program has printed and the journal has not taken.
    Session,
    /// What waits for a client on all of its connections.
    Client,
    /// What waits on the connection of a stream.
    Socket,
}

/// The level of a queue has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackpressureWarning {
    /// The session whose output or stream it is; absent for a client's queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Which of the queues.
    pub layer: Layer,
    /// What its level was.
    pub previous: Level,
    /// What it is.
    pub level: Level,
    /// Bytes in it at the change.
    pub queued_bytes: u64,
    /// Bytes at which it is full.
    pub limit_bytes: u64,
    /// Counts the changes of this queue from 1: who misses one sees it.
    pub change: u64,
}

/// Output is missing at `offset`; it goes on at `offset + lost_bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// Where.
    pub offset: ByteOffset,
    /// Why.
    pub code: Code,
    /// How much; absent where nobody can know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_bytes: Option<u64>,
}

/// When the record that begins or goes on at `offset` was written: output, or a mark that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Where.
    pub offset: ByteOffset,
    /// When, wall clock in milliseconds since 1970. The clock may have been set back between two records.
    pub at: u64,
}

/// A new program begins at `offset`. Who draws a screen draws [`seam`](crate::seam) here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Before its first byte.
    pub offset: ByteOffset,
    /// Which start of the session's program it is.
    pub incarnation: Incarnation,
    /// When, wall clock in milliseconds since 1970.
    pub at: u64,
    /// What was started.
    pub r#as: RestoreAs,
    /// The loss of the program before.
    pub code: String,
}

/// How the program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitTold {
    /// After its last byte.
    pub offset: ByteOffset,
    /// How.
    pub exit: Exit,
    /// When, wall clock in milliseconds since 1970.
    pub exited_at: u64,
}

/// The stream ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// Why.
    pub code: Code,
    /// Where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_offset: Option<ByteOffset>,
    /// The log's epoch, for the resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// End of the unreadable range, with `JOURNAL_CORRUPT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_to: Option<ByteOffset>,
    /// Whether another daemon follows, with `DAEMON_STOPPING`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
}

impl Detached {
    /// An end with nothing to go on with.
    pub fn new(code: Code) -> Self {
        Self { code, resume_offset: None, epoch: None, lost_to: None, restart: false }
    }
}
