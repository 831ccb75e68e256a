//! Reading what a client sends, with the answers that the protocol gives to what cannot be read.

use abide_wire::{Code, RequestId};
use serde_json::Value;

use super::control::ControlRequest;
use super::error::{ErrorMessage, WireError};
use super::hello::{Hello, Role};
use super::limits::{DOCS, PROTOCOL, VERSION};
use super::stream::StreamRequest;
use super::strict::{FieldError, Fields};

/// A message that was not understood: what to answer, and whether the connection is closed after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The answer.
    pub answer: ErrorMessage,
    /// Whether the connection ends.
    pub closes: bool,
}

impl Refusal {
    fn kept(id: Option<RequestId>, error: WireError) -> Self {
        Self { answer: ErrorMessage { id, error }, closes: false }
    }

    fn closing(id: Option<RequestId>, error: WireError) -> Self {
        Self { answer: ErrorMessage { id, error }, closes: true }
    }

    /// A frame or request that belongs on the other kind of connection, or in the other direction.
    pub fn wrong_connection(id: Option<RequestId>, role: Role, what: &str) -> Self {
        let text = format!("{what} does not belong on a {} connection", role.as_str());
        Self::kept(id, WireError::new(Code::RoleForbidden, text).with("role", role.as_str()))
    }
}

fn bad_request(error: &FieldError) -> WireError {
    let bad = WireError::new(Code::BadRequest, error.to_string());
    match &error.field {
        Some(field) => bad.with("field", field.as_str()),
        None => bad,
    }
}

/// Reads the first message of a connection: leniently as far as the version, then strictly.
pub fn read_hello(text: &[u8]) -> Result<Hello, Refusal> {
    let Some(mut fields) = Fields::cut(text) else { return Err(hello_required()) };
    if !matches!(fields.take::<String>("type"), Ok(kind) if kind == "hello") {
        return Err(hello_required());
    }
    let id = fields.take::<RequestId>("id");
    let known_id = id.as_ref().ok().cloned();
    let protocol = fields.take::<Value>("protocol");
    let version = fields.take::<Value>("version");
    let ours = matches!(&protocol, Ok(Value::String(name)) if name == PROTOCOL)
        && matches!(&version, Ok(number) if number.as_u64() == Some(u64::from(VERSION)));
    let has = |name: &str| fields.names().any(|field| field == name);
    if !ours || !has("client_id") || !has("role") {
        return Err(Refusal::closing(known_id, breaking_change()));
    }
    let read = |fields: &mut Fields<'_>| {
        Ok(Hello {
            id: id?,
            protocol: PROTOCOL.to_owned(),
            version: VERSION,
            client_id: fields.take("client_id")?,
            role: fields.take("role")?,
            client: fields.take_optional("client")?,
        })
    };
    let refused = |error: &FieldError| Refusal::closing(known_id.clone(), bad_request(error));
    let hello = read(&mut fields).map_err(|error| refused(&error))?;
    match fields.names().next() {
        Some(left) => Err(refused(&FieldError::of(left, "is unknown"))),
        None => Ok(hello),
    }
}

fn hello_required() -> Refusal {
    Refusal::closing(None, WireError::new(Code::HelloRequired, "the first message must be a hello"))
}

fn breaking_change() -> WireError {
    let text = format!("this daemon speaks version {VERSION} of {PROTOCOL}");
    WireError::new(Code::ProtoBreakingChange, text).with("supported", vec![VERSION]).with("docs", DOCS)
}

/// Reads a message of a control connection after its hello.
pub fn read_control(text: &[u8]) -> Result<(RequestId, ControlRequest), Refusal> {
    let (name, mut fields) = typed(text)?;
    let id = fields.take::<RequestId>("id");
    let known_id = id.as_ref().ok().cloned();
    if name == "hello" {
        return Err(hello_repeated(known_id));
    }
    let is_stream_only = StreamRequest::TYPES.contains(&name.as_str());
    match ControlRequest::read(&name, fields) {
        Some(request) => match (id, request) {
            (Ok(id), Ok(request)) => Ok((id, request)),
            (Err(error), _) | (_, Err(error)) => Err(Refusal::kept(known_id, bad_request(&error))),
        },
        None if is_stream_only => Err(Refusal::wrong_connection(known_id, Role::Control, &name)),
        None => Err(unknown_request(known_id)),
    }
}

/// Reads a message of a stream connection after its hello.
pub fn read_stream(text: &[u8]) -> Result<StreamRequest, Refusal> {
    let (name, fields) = typed(text)?;
    let known_id = Fields::cut(text).and_then(|mut fields| fields.take("id").ok());
    if name == "hello" {
        return Err(hello_repeated(known_id));
    }
    match StreamRequest::read(&name, fields) {
        Some(Ok(request)) => Ok(request),
        Some(Err(error)) => Err(Refusal::kept(known_id, bad_request(&error))),
        None if ControlRequest::TYPES.contains(&name.as_str()) => {
            Err(Refusal::wrong_connection(known_id, Role::Stream, &name))
        }
        None => Err(unknown_request(known_id)),
    }
}

/// Cuts a message into its type and its other fields.
fn typed(text: &[u8]) -> Result<(String, Fields<'_>), Refusal> {
    let Some(mut fields) = Fields::cut(text) else {
        let malformed = match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            Ok(_) => Refusal::kept(None, WireError::new(Code::BadRequest, "a message is an object")),
            Err(_) => Refusal::closing(None, WireError::new(Code::ProtoMalformed, "a message is not JSON")),
        };
        return Err(malformed);
    };
    match fields.take("type") {
        Ok(name) => Ok((name, fields)),
        Err(error) => {
            let id = fields.take("id").ok();
            Err(Refusal::kept(id, bad_request(&error)))
        }
    }
}

fn hello_repeated(id: Option<RequestId>) -> Refusal {
    Refusal::kept(id, WireError::new(Code::HelloRepeated, "the hello was said already"))
}

fn unknown_request(id: Option<RequestId>) -> Refusal {
    // The name is the sender's own text: it is not repeated.
    Refusal::kept(id, WireError::new(Code::UnknownRequest, "no request of this type exists here"))
}
