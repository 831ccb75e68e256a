//! The greeting that begins each connection.

use abide_wire::RequestId;
use serde::{Deserialize, Serialize};

use super::limits::{FRAME_BYTES_MAX, INPUT_WINDOW_BYTES, PROTOCOL, VERSION};
use crate::ids::{ClientId, DaemonEpoch, SessionId};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Requests about sessions; at most one for each client.
    Control,
    /// The bytes of one session.
    Stream,
}

impl Role {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Stream => "stream",
        }
    }
}

/// The program that greets, for logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The first frame of a connection, within 2 s; [`read_hello`](super::read_hello) reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "hello")]
pub struct Hello {
    /// Echoed in the answer.
    pub id: RequestId,
    /// Always [`PROTOCOL`].
    pub protocol: String,
    /// Always [`VERSION`].
    pub version: u32,
    /// Who greets: one id for each running program.
    pub client_id: ClientId,
    /// What the connection is for.
    pub role: Role,
    /// The program, for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientInfo>,
}

impl Hello {
    /// The greeting of this version.
    pub fn new(id: RequestId, client_id: ClientId, role: Role) -> Self {
        Self { id, protocol: PROTOCOL.to_owned(), version: VERSION, client_id, role, client: None }
    }
}

/// Limits that the daemon tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest length field of a frame.
    pub frame_bytes_max: u32,
    /// Input bytes that may be under way.
    pub input_window: u64,
    /// Observers that a session may have.
    pub observers_max: u32,
}

impl Limits {
    /// The fixed limits, and the configured number of observers.
    pub fn new(observers_max: u32) -> Self {
        Self { frame_bytes_max: FRAME_BYTES_MAX, input_window: INPUT_WINDOW_BYTES, observers_max }
    }
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloOk {
    /// That of the hello.
    pub id: RequestId,
    /// The version spoken from here on.
    pub version: u32,
    /// Made with the state directory: another one than last time means other sessions.
    pub daemon_id: String,
    /// Number of this daemon's start.
    pub daemon_epoch: DaemonEpoch,
    /// The machine's boot.
    pub boot_id: String,
    /// The daemon's version.
    pub daemon_version: String,
    /// What it takes.
    pub limits: Limits,
    /// Sessions that this client owns.
    pub owned: Vec<SessionId>,
}
