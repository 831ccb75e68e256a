//! The core of a control connection: each request is answered once.

use std::collections::BTreeMap;
use std::time::Duration;

use abide_wire::{Code, RequestId};
use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::connection::{Change, Connection, Dial, Identity, Instant};
use crate::protocol::limits::UNANSWERED_MAX;
use crate::protocol::{ControlEvent, ControlMessage, ControlRequest, ErrorMessage, Frame, Key, Role, WireError};

/// Pause before a request is sent again whose cause passes by itself.
const RETRY_MS: u64 = 100;
/// How long such a request is tried.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// Names a call: a number that the shell draws, each once.
pub type CallId = u64;

/// What happens to a control link.
#[derive(Debug)]
pub enum ControlInput {
    /// The dial led to a socket.
    Connected,
    /// The dial led nowhere.
    Unreachable,
    /// A frame came.
    Frame(Frame),
    /// The socket ended or failed, or what came over it was no frame.
    Closed,
    /// A request of the caller.
    Call(CallId, ControlRequest),
    /// The caller does not wait for this answer any more.
    Forget(CallId),
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What the shell carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlOutput {
    /// Connect.
    Dial(Dial),
    /// Write these bytes to the socket.
    Send(Bytes),
    /// Close the socket.
    Close,
    /// A connection was made, the first or another one: what was subscribed to on the one before is not any more.
    Opened,
    /// An event of the subscription.
    Event(ControlEvent),
    /// The call has ended, with the result of its `ok` or its error.
    Complete(CallId, Result<Value, WireError>),
    /// The link is over: every call was completed, and each further one is, with this error.
    Ended(WireError),
}

#[derive(Debug)]
struct Call {
    request: ControlRequest,
    sent: bool,
    /// Not before this time.
    not_before: Option<Instant>,
    /// When its first refusal that passes by itself came.
    tried_since: Option<Instant>,
}

/// A control connection that comes back, without its socket and its clock.
#[derive(Debug)]
pub struct ControlLink {
    connection: Connection,
    calls: BTreeMap<CallId, Call>,
    keys: u64,
    end: Option<WireError>,
}

impl ControlLink {
    /// A link that dials at once.
    pub fn new(identity: Identity, now: Instant) -> Self {
        let connection = Connection::new(identity, Role::Control, now);
        Self { connection, calls: BTreeMap::new(), keys: 0, end: None }
    }

    /// When `Timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retries = self.calls.values().filter(|_| self.connection.is_open()).filter_map(|call| call.not_before);
        retries.chain(self.connection.poll_timeout()).min()
    }

    /// Takes one input; what follows from it is appended to `out`, in the order in which it must happen.
    pub fn handle(&mut self, now: Instant, input: ControlInput, out: &mut Vec<ControlOutput>) {
        match input {
            ControlInput::Connected => out.push(ControlOutput::Send(self.connection.connected(now))),
            ControlInput::Unreachable => {
                let change = self.connection.unreachable(now);
                self.apply(now, change, out);
            }
            ControlInput::Frame(Frame::Message(text)) => self.message(now, &text, out),
            ControlInput::Frame(_) => self.broken(now, out),
            ControlInput::Closed => {
                let change = self.connection.lost(now);
                self.apply(now, change, out);
            }
            ControlInput::Call(id, request) => self.call(now, id, request, out),
            ControlInput::Forget(id) => {
                self.calls.remove(&id);
            }
            ControlInput::Timeout => self.timeout(now, out),
        }
    }

    fn call(&mut self, now: Instant, id: CallId, mut request: ControlRequest, out: &mut Vec<ControlOutput>) {
        if let Some(end) = &self.end {
            out.push(ControlOutput::Complete(id, Err(end.clone())));
            return;
        }
        if let ControlRequest::Create(create) = &mut request
            && create.key.is_none()
        {
            create.key = self.draw_key();
        }
        self.calls.insert(id, Call { request, sent: false, not_before: None, tried_since: None });
        self.send_waiting(now, out);
    }

    /// A key that nobody else draws: the link's random seed and a count.
    fn draw_key(&mut self) -> Option<Key> {
        self.keys += 1;
        Key::try_from(format!("{:032x}:{}", self.connection.seed(), self.keys)).ok()
    }

    fn timeout(&mut self, now: Instant, out: &mut Vec<ControlOutput>) {
        if let Some(dial) = self.connection.due(now) {
            out.push(ControlOutput::Dial(dial));
        } else if self.connection.is_silent(now) {
            self.broken(now, out);
        }
        self.send_waiting(now, out);
    }

    /// Sends what was not sent on this connection and is due, in the order of the calls.
    fn send_waiting(&mut self, now: Instant, out: &mut Vec<ControlOutput>) {
        if !self.connection.is_open() {
            return;
        }
        let room = UNANSWERED_MAX.saturating_sub(self.calls.values().filter(|call| call.sent).count());
        let due = |call: &Call| !call.sent && call.not_before.is_none_or(|at| at <= now);
        for (id, call) in self.calls.iter_mut().filter(|(_, call)| due(call)).take(room) {
            let mut frame = BytesMut::new();
            call.request.encode(&RequestId::from_number(*id), &mut frame);
            call.sent = true;
            call.not_before = None;
            out.push(ControlOutput::Send(frame.freeze()));
        }
    }

    fn message(&mut self, now: Instant, text: &[u8], out: &mut Vec<ControlOutput>) {
        match serde_json::from_slice(text) {
            Ok(ControlMessage::HelloOk(hello)) => {
                let change = self.connection.greeted(hello);
                self.apply(now, change, out);
            }
            Ok(ControlMessage::Ok { id, result }) => self.complete(&id, Ok(result), out),
            Ok(ControlMessage::Error(ErrorMessage { id: Some(id), error })) if self.connection.is_open() => {
                self.failed(now, &id, error, out);
            }
            Ok(ControlMessage::Error(message)) => {
                let change = self.connection.refused(now, message);
                self.apply(now, change, out);
            }
            Ok(ControlMessage::Event(ControlEvent::Detached { code: Code::DaemonStopping, restart })) => {
                self.connection.stop_told(restart);
            }
            Ok(ControlMessage::Event(ControlEvent::Detached { code, .. })) => {
                let change = self.connection.end(WireError::new(code, "the daemon closed the connection"));
                self.apply(now, change, out);
            }
            Ok(ControlMessage::Event(event)) => out.push(ControlOutput::Event(event)),
            // A client of requests alone has no queue to speak of: it drains what it asked for.
            Ok(ControlMessage::BackpressureWarning(_)) => {}
            Err(_) => self.broken(now, out),
        }
    }

    fn complete(&mut self, id: &RequestId, outcome: Result<Value, WireError>, out: &mut Vec<ControlOutput>) {
        // An answer that nobody waits for belongs to a call that was forgotten.
        if let Ok(call) = id.as_str().parse()
            && self.calls.remove(&call).is_some()
        {
            out.push(ControlOutput::Complete(call, outcome));
        }
    }

    /// A refusal: some pass by themselves, the others are the caller's to act on.
    fn failed(&mut self, now: Instant, id: &RequestId, error: WireError, out: &mut Vec<ControlOutput>) {
        let passes = matches!(error.code, Code::SessionStarting | Code::HolderUnresponsive);
        let again = passes.then(|| self.connection.pause(now, RETRY_MS));
        let restart = error.code == Code::DaemonStopping && super::connection::is_restart(&error);
        let call = id.as_str().parse().ok().and_then(|id: CallId| self.calls.get_mut(&id));
        let since = call.as_ref().and_then(|call| call.tried_since).unwrap_or(now);
        match (call, again) {
            (Some(call), Some(again)) if now.since(since) < RETRY_FOR => {
                call.sent = false;
                call.not_before = Some(again);
                call.tried_since = Some(since);
            }
            // Nothing happened, and a daemon follows: it is sent on the next connection.
            (Some(call), None) if restart => {
                call.sent = false;
                call.not_before = None;
                self.connection.stop_told(true);
            }
            _ => self.complete(id, Err(error), out),
        }
    }

    fn broken(&mut self, now: Instant, out: &mut Vec<ControlOutput>) {
        let change = self.connection.lost(now);
        self.apply(now, change, out);
    }

    fn apply(&mut self, now: Instant, change: Change, out: &mut Vec<ControlOutput>) {
        match change {
            Change::None => {}
            Change::Opened(_) => {
                out.push(ControlOutput::Opened);
                self.send_waiting(now, out);
            }
            Change::Lost => {
                out.push(ControlOutput::Close);
                self.unsend(out);
            }
            Change::Ended(error) => {
                out.push(ControlOutput::Close);
                for (id, _) in std::mem::take(&mut self.calls) {
                    out.push(ControlOutput::Complete(id, Err(error.clone())));
                }
                self.end = Some(error.clone());
                out.push(ControlOutput::Ended(error));
            }
        }
    }

    /// The connection took unanswered requests with it: those that may be repeated will be.
    fn unsend(&mut self, out: &mut Vec<ControlOutput>) {
        let lost: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.sent && !call.request.is_repeatable())
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.calls.remove(&id);
            let error = WireError::new(Code::OutcomeUnknown, "the connection was lost before the answer came");
            out.push(ControlOutput::Complete(id, Err(error)));
        }
        for call in self.calls.values_mut() {
            call.sent = false;
        }
    }
}
