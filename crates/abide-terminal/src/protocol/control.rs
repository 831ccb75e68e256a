//! Requests on a control connection.

use std::collections::BTreeMap;
use std::path::PathBuf;

use abide_wire::RequestId;
use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::answer::{
    Created, Inspected, Killed, Listed, Nothing, Recovered, RecoveryReport, Released, Renamed, Resized, TakenOver,
    Written,
};
use super::fields::{self, Key, Name, SessionRef};
use super::frame::message_frame;
use super::look::{ScreenText, Subscribe, Subscribed, Text, Unsubscribe, Unsubscribed, Wait, Waited};
use super::strict::{FieldError, Fields};
use crate::ids::{ClientId, InputOffset, OwnerEpoch, SessionId};
use crate::kill::Signal;
use crate::record::{Restore, RestoreAs, State, Takeover};

/// A request, the name of its type, and the result of its `ok`.
pub trait Request: Serialize {
    /// `type` on the wire.
    const TYPE: &'static str;
    /// What an `ok` brings.
    type Answer: Serialize + DeserializeOwned;
}

/// A message with the two fields that every request has, in their place before its own.
#[derive(Serialize)]
struct Envelope<'a, T> {
    r#type: &'static str,
    id: &'a RequestId,
    #[serde(flatten)]
    body: &'a T,
}

/// Makes the enum of all requests from one line for each: its type, its name on the wire, its answer.
macro_rules! requests {
    ($($(#[$doc:meta])* $request:ident = $name:literal -> $answer:ty;)+) => {
        /// Any request of a control connection.
        #[derive(Debug, Clone, PartialEq)]
        pub enum ControlRequest {
            $($(#[$doc])* $request($request),)+
        }

        $(impl Request for $request {
            const TYPE: &'static str = $name;
            type Answer = $answer;
        }

        impl From<$request> for ControlRequest {
            fn from(request: $request) -> Self {
                Self::$request(request)
            }
        })+

        impl ControlRequest {
            /// Every `type` that a control connection takes.
            pub const TYPES: &[&str] = &[$($name),+];

            /// Its `type`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$request(_) => $name,)+
                }
            }

            /// `None` if no request has this type.
            pub(super) fn read(name: &str, fields: Fields<'_>) -> Option<Result<Self, FieldError>> {
                match name {
                    $($name => Some(fields.read().map(Self::$request)),)+
                    _ => None,
                }
            }

            /// Appends it as a frame.
            pub fn encode(&self, id: &RequestId, out: &mut impl BufMut) {
                match self {
                    $(Self::$request(body) => message_frame(&Envelope { r#type: $name, id, body }, out),)+
                }
            }
        }
    };
}

requests! {
    /// Starts a program in a new session.
    Create = "create" -> Created;
    /// Tells of all sessions, a page at a time.
    List = "list" -> Listed;
    /// Tells of one session.
    Inspect = "inspect" -> Inspected;
    /// Ends a session's program.
    Kill = "kill" -> Killed;
    /// Sends a signal to a session's program.
    SendSignal = "signal" -> Nothing;
    /// Changes the size of a session's terminal.
    Resize = "resize" -> Resized;
    /// Makes the client the owner.
    Take = "takeover" -> TakenOver;
    /// Gives ownership up, or hands it on.
    Release = "release" -> Released;
    /// Gives a session another name.
    Rename = "rename" -> Renamed;
    /// Types without a stream.
    Write = "write" -> Written;
    /// Removes an ended session and what it printed.
    Remove = "remove" -> Nothing;
    /// Tells the text of a session's screen.
    Text = "text" -> ScreenText;
    /// Waits until something holds of a session.
    Wait = "wait" -> Waited;
    /// Asks for events.
    Subscribe = "subscribe" -> Subscribed;
    /// Ends the subscription.
    Unsubscribe = "unsubscribe" -> Unsubscribed;
    /// Starts a program in the place of one that was lost.
    Recover = "recover" -> Recovered;
    /// Tells what the last start found.
    GetRecoveryReport = "recovery_report" -> RecoveryReport;
    /// Stops or restarts the daemon.
    Shutdown = "shutdown" -> Nothing;
}

impl ControlRequest {
    /// Whether it may be sent again when its answer was lost: all but a create without a key, a write without an offset,
    /// and a shutdown, which would meet the next daemon.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Create(create) => create.key.is_some(),
            Self::Write(write) => write.input_offset.is_some(),
            Self::Shutdown(_) => false,
            _ => true,
        }
    }

    /// The session it is about, where it names one.
    pub fn session(&self) -> Option<&SessionRef> {
        match self {
            Self::Create(_)
            | Self::List(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::GetRecoveryReport(_)
            | Self::Shutdown(_) => None,
            Self::Inspect(Inspect { session, .. })
            | Self::Kill(Kill { session, .. })
            | Self::SendSignal(SendSignal { session, .. })
            | Self::Resize(Resize { session, .. })
            | Self::Take(Take { session, .. })
            | Self::Release(Release { session, .. })
            | Self::Write(Write { session, .. })
            | Self::Recover(Recover { session, .. })
            | Self::Rename(Rename { session, .. })
            | Self::Text(Text { session, .. })
            | Self::Wait(Wait { session, .. })
            | Self::Remove(Remove { session }) => Some(session),
        }
    }
}

fn yes() -> bool {
    true
}

/// Starts a program. Answered when it runs, or with the reason why it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Makes the request repeatable: a session that exists with this key is returned instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Its name; absent: two words are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The program, looked up in the new environment's PATH; absent: the login shell.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::command")]
    pub command: Option<String>,
    /// Its arguments, without its own name: at most 512 KiB as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "fields::arguments")]
    pub args: Vec<String>,
    /// Where it starts; absent: the home directory.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::directory")]
    pub cwd: Option<PathBuf>,
    /// Its environment, over the daemon's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "fields::texts")]
    pub env: BTreeMap<String, String>,
    /// `env` alone, nothing of the daemon's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clear_env: bool,
    /// Whether a shell is a login shell; absent: true without a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<bool>,
    /// Columns, 0 for unknown.
    #[serde(deserialize_with = "fields::size")]
    pub cols: u16,
    /// Rows, 0 for unknown.
    #[serde(deserialize_with = "fields::size")]
    pub rows: u16,
    /// Width in pixels, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default")]
    pub xpixel: u16,
    /// Height in pixels, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default")]
    pub ypixel: u16,
    /// What follows if its program is lost with its holder or its machine; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// Whether others may take it over; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover: Option<Takeover>,
    /// Whether the client owns it from the start.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub own: bool,
    /// Most bytes of output to keep, payload and 56 a record; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::retention")]
    pub retention_bytes: Option<u64>,
    /// How long to keep output, in milliseconds; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::retention")]
    pub retention_age_ms: Option<u64>,
    /// The caller's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "fields::labels")]
    pub labels: BTreeMap<String, String>,
}

impl Create {
    /// A login shell in the home directory, owned, with the daemon's environment.
    pub fn new(cols: u16, rows: u16) -> Self {
        Self {
            key: None,
            name: None,
            command: None,
            args: Vec::new(),
            cwd: None,
            env: BTreeMap::new(),
            clear_env: false,
            login: None,
            cols,
            rows,
            xpixel: 0,
            ypixel: 0,
            restore: None,
            takeover: None,
            own: true,
            retention_bytes: None,
            retention_age_ms: None,
            labels: BTreeMap::new(),
        }
    }
}

/// Tells of all sessions, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only sessions that have all of these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "fields::labels")]
    pub labels: BTreeMap<String, String>,
    /// Only sessions in one of these; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<State>>,
    /// Only sessions behind this id: `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SessionId>,
    /// At most so many, 1–1,000 (1,000 if absent).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::list_limit")]
    pub limit: Option<u16>,
}

/// Tells of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspect {
    /// Which.
    pub session: SessionRef,
    /// Also the environment that is stored for a restore.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub env: bool,
}

/// Ends the program and every process of its session. Only its owner may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Which.
    pub session: SessionRef,
    /// Milliseconds until SIGKILL, at most 60,000; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::grace")]
    pub grace_ms: Option<u32>,
    /// No grace; of a kill under way too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// The first signal, in place of SIGHUP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Refused with `OWNER_CHANGED` if it is not the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_epoch: Option<OwnerEpoch>,
}

/// Whom a signal goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The group in the foreground, as a key of the terminal would.
    #[default]
    Foreground,
    /// The program itself.
    Leader,
    /// The program's process group.
    Session,
}

/// Sends a signal. Only the owner may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendSignal {
    /// Which session.
    pub session: SessionRef,
    /// Which signal.
    pub signal: Signal,
    /// Whom it goes to.
    #[serde(default)]
    pub target: Target,
    /// Refused with `OWNER_CHANGED` if it is not the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_epoch: Option<OwnerEpoch>,
}

/// Changes the terminal's size. Only the owner may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Which session.
    pub session: SessionRef,
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
    /// Refused with `OWNER_CHANGED` if it is not the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_epoch: Option<OwnerEpoch>,
}

/// Makes the client the owner, if the session's policy allows it. Its streams of the session become the owner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// Which session.
    pub session: SessionRef,
    /// Refused with `OWNER_CHANGED` if it is not the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_epoch: Option<OwnerEpoch>,
    /// The new owner's columns, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default", deserialize_with = "fields::size")]
    pub cols: u16,
    /// The new owner's rows, 0 for unknown.
    #[serde(default, skip_serializing_if = "fields::is_default", deserialize_with = "fields::size")]
    pub rows: u16,
}

/// Gives ownership up. Only the owner may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which session.
    pub session: SessionRef,
    /// The next owner, who must be attached; absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ClientId>,
    /// Refused with `OWNER_CHANGED` if it is not the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_epoch: Option<OwnerEpoch>,
}

/// Gives a session another name. Its owner may, and anybody while nobody owns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Which session.
    pub session: SessionRef,
    /// Its name from now on.
    pub name: Name,
}

/// Types. Only the owner may. Answered when all of it has reached the program's terminal, or after 5 s with how much has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// Which session.
    pub session: SessionRef,
    /// 1 to 65,536 bytes.
    #[serde(rename = "data_base64", serialize_with = "fields::input_text", deserialize_with = "fields::input")]
    pub data: Bytes,
    /// Refused with `OWNER_CHANGED` if it is not the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_epoch: Option<OwnerEpoch>,
    /// Where in the owner's input it stands, which makes it repeatable; absent: behind all that was accepted, and refused
    /// with `INPUT_ON_STREAM` while a stream of the owner types.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "fields::input_offset")]
    pub input_offset: Option<InputOffset>,
}

/// Removes an ended session. Answered when its output is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Which session.
    pub session: SessionRef,
}

/// Starts a program in the place of one that was lost. Answered when it runs, or with the reason why it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// Which session.
    pub session: SessionRef,
    /// What is started; absent: what the session's policy says, and a shell where it leaves the choice.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub what: Option<RestoreAs>,
}

/// Tells what the last start of the daemon found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetRecoveryReport {}

/// What becomes of the programs when the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownMode {
    /// They live on.
    Keep,
    /// Each session is killed first.
    Terminate,
}

/// The daemon that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartWith {
    /// Its program; absent: the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
}

/// Stops the daemon, or replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// What becomes of the programs.
    pub mode: ShutdownMode,
    /// Present: another daemon follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartWith>,
}
