//! The links on tokio. Nothing runs in the background: a call, or a wait for the next event, does the work.

use std::collections::VecDeque;

use tokio::time::Instant as Clock;

use super::connection::{Identity, Instant};
use super::control::{CallId, ControlInput, ControlLink, ControlOutput};
use super::socket::{Address, Event, Socket};
use super::stream::{StreamEnd, StreamEvent, StreamInput, StreamLink, StreamOutput, WhenGone};
use crate::ids::{ByteOffset, EventNumber};
use crate::protocol::{
    Attach, ControlEvent, ControlRequest, Happened, Request, Subscribe, Subscribed, WindowSize, WireError,
};

impl From<Event> for ControlInput {
    fn from(event: Event) -> Self {
        match event {
            Event::Connected => Self::Connected,
            Event::Unreachable => Self::Unreachable,
            Event::Frame(frame) => Self::Frame(frame),
            Event::Closed => Self::Closed,
            Event::Timeout => Self::Timeout,
        }
    }
}

fn wrong_answer() -> WireError {
    WireError::new(abide_wire::Code::Internal, "the daemon's answer is not that of the request")
}

/// A control connection: requests, one after another, over as many connections as it takes.
#[derive(Debug)]
pub struct Client {
    link: ControlLink,
    socket: Socket,
    began: Clock,
    calls: CallId,
    out: Vec<ControlOutput>,
}

impl Client {
    /// A client that connects at its first call. `identity.may_start` is taken from the address.
    pub fn new(identity: Identity, address: Address) -> Self {
        let identity = Identity { may_start: address.start.is_some(), ..identity };
        let link = ControlLink::new(identity, Instant::default());
        Self { link, socket: Socket::new(address), began: Clock::now(), calls: 0, out: Vec::new() }
    }

    /// Asks, and waits for the answer. A call that is dropped before its answer may or may not have happened.
    ///
    /// Errors: those of the request; `DAEMON_UNREACHABLE`; `OUTCOME_UNKNOWN` where a lost connection leaves it open;
    /// `INTERNAL` if the daemon's answer is not that of the request.
    pub async fn call<R>(&mut self, request: R) -> Result<R::Answer, WireError>
    where
        R: Request + Into<ControlRequest>,
    {
        self.calls += 1;
        let id = self.calls;
        self.handle(ControlInput::Call(id, request.into()));
        let outcome = loop {
            if let Some(outcome) = self.carry_out(id) {
                break outcome;
            }
            let deadline = self.link.poll_timeout().map(|at| self.began + at.0);
            let input = self.socket.event(deadline).await.into();
            self.handle(input);
        };
        serde_json::from_value(outcome?).map_err(|_| wrong_answer())
    }

    fn handle(&mut self, input: ControlInput) {
        let now = Instant(self.began.elapsed());
        self.link.handle(now, input, &mut self.out);
    }

    /// The outcome of the call, if it is among what there is to do.
    fn carry_out(&mut self, call: CallId) -> Option<Result<serde_json::Value, WireError>> {
        let mut found = None;
        for output in self.out.drain(..) {
            match output {
                ControlOutput::Dial(dial) => self.socket.dial(dial),
                ControlOutput::Send(bytes) => self.socket.send(&bytes),
                ControlOutput::Close => self.socket.close(),
                ControlOutput::Complete(id, outcome) if id == call => found = Some(outcome),
                // Completions of calls that were dropped, and the end that they tell of too; nothing is subscribed to.
                ControlOutput::Complete(..)
                | ControlOutput::Ended(_)
                | ControlOutput::Opened
                | ControlOutput::Event(_) => {}
            }
        }
        found
    }
}

/// The events of sessions, in order and each once, over as many connections as it takes.
#[derive(Debug)]
pub struct Events {
    link: ControlLink,
    socket: Socket,
    began: Clock,
    out: Vec<ControlOutput>,
    /// What is subscribed to next: behind what was told already.
    wish: Subscribe,
    subscribing: bool,
    came: VecDeque<Happened>,
    end: Option<WireError>,
}

impl Events {
    /// Events behind `wish.from_event`, or from the first connection on. It subscribes as soon as it is waited for.
    pub fn new(identity: Identity, address: Address, wish: Subscribe) -> Self {
        let identity = Identity { may_start: address.start.is_some(), ..identity };
        Self {
            link: ControlLink::new(identity, Instant::default()),
            socket: Socket::new(address),
            began: Clock::now(),
            out: Vec::new(),
            wish,
            subscribing: false,
            came: VecDeque::new(),
            end: None,
        }
    }

    /// The next event. Safe to drop and to call again.
    ///
    /// Errors, which are final: `OFFSET_TRIMMED` if the next one is not kept any more, `OFFSET_AHEAD` if the history that
    /// it belongs to is another one, `SESSION_NOT_FOUND`, and those of a connection.
    pub async fn next(&mut self) -> Result<Happened, WireError> {
        loop {
            if let Some(event) = self.came.pop_front() {
                return Ok(event);
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            let deadline = self.link.poll_timeout().map(|at| self.began + at.0);
            let input = self.socket.event(deadline).await.into();
            self.handle(input);
        }
    }

    /// The number of the last event that was told or left out; none before the first answer.
    pub fn number(&self) -> Option<EventNumber> {
        self.wish.from_event
    }

    fn handle(&mut self, input: ControlInput) {
        let now = Instant(self.began.elapsed());
        self.link.handle(now, input, &mut self.out);
        for output in std::mem::take(&mut self.out) {
            match output {
                ControlOutput::Dial(dial) => self.socket.dial(dial),
                ControlOutput::Send(bytes) => self.socket.send(&bytes),
                ControlOutput::Close => self.socket.close(),
                // One that was not answered is repeated by the link.
                ControlOutput::Opened if !self.subscribing => {
                    self.subscribing = true;
                    self.handle(ControlInput::Call(1, self.wish.clone().into()));
                }
                ControlOutput::Opened => {}
                ControlOutput::Complete(_, outcome) => self.subscribed(outcome),
                ControlOutput::Event(event) => self.told(event),
                ControlOutput::Ended(error) => self.end = Some(error),
            }
        }
    }

    fn subscribed(&mut self, outcome: Result<serde_json::Value, WireError>) {
        self.subscribing = false;
        match outcome.map(serde_json::from_value::<Subscribed>) {
            Ok(Ok(subscribed)) => self.wish.from_event = Some(subscribed.from),
            Ok(Err(_)) => self.end = Some(wrong_answer()),
            Err(error) => self.end = Some(error),
        }
    }

    fn told(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Happened(happened) => {
                self.wish.from_event = Some(happened.event_number);
                self.came.push_back(happened);
            }
            ControlEvent::Progress { event_number } => self.wish.from_event = Some(event_number),
            ControlEvent::Detached { .. } => {}
        }
    }
}

/// A stream of one session: its output, and the owner's input, over as many connections as it takes.
///
/// It works while [`next`](Self::next) is waited for, and no faster than its events are taken.
#[derive(Debug)]
pub struct Stream {
    link: StreamLink,
    socket: Socket,
    began: Clock,
    out: Vec<StreamOutput>,
    events: VecDeque<StreamEvent>,
    end: Option<StreamEnd>,
}

impl Stream {
    /// A stream that attaches as soon as it is waited for. `identity.may_start` is taken from the address.
    pub fn new(identity: Identity, address: Address, attach: Attach, when_gone: WhenGone) -> Self {
        let identity = Identity { may_start: address.start.is_some(), ..identity };
        let link = StreamLink::new(identity, attach, when_gone, Instant::default());
        let socket = Socket::new(address);
        Self { link, socket, began: Clock::now(), out: Vec::new(), events: VecDeque::new(), end: None }
    }

    /// The next event, or why there is none any more. Safe to drop and to call again.
    pub async fn next(&mut self) -> Result<StreamEvent, StreamEnd> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            let deadline = self.link.poll_timeout().map(|at| self.began + at.0);
            let input = match self.socket.event(deadline).await {
                Event::Connected => StreamInput::Connected,
                Event::Unreachable => StreamInput::Unreachable,
                Event::Frame(frame) => StreamInput::Frame(frame),
                Event::Closed => StreamInput::Closed,
                Event::Timeout => StreamInput::Timeout,
            };
            self.handle(input);
        }
    }

    /// The core, for what it knows: mode, room for input, whether all of it was applied.
    pub fn link(&self) -> &StreamLink {
        &self.link
    }

    /// Accepts input and tells how many bytes: as many as [`StreamLink::input_room`] says, at most.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = self.link.write(bytes, &mut self.out);
        self.carry_out();
        taken
    }

    /// Tells the window's size.
    pub fn resize(&mut self, size: WindowSize) {
        self.handle(StreamInput::Resize(size));
    }

    /// Tells that output below this offset was processed: a stream with `window_bytes` goes on.
    pub fn ack(&mut self, offset: ByteOffset) {
        self.handle(StreamInput::Ack(offset));
    }

    /// Asks to leave; events that are under way still come, then the end.
    pub fn detach(&mut self) {
        self.handle(StreamInput::Detach);
    }

    fn handle(&mut self, input: StreamInput) {
        let now = Instant(self.began.elapsed());
        self.link.handle(now, input, &mut self.out);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for output in self.out.drain(..) {
            match output {
                StreamOutput::Dial(dial) => self.socket.dial(dial),
                StreamOutput::Send(bytes) => self.socket.send(&bytes),
                StreamOutput::Close => self.socket.close(),
                StreamOutput::Yield(event) => self.events.push_back(event),
                StreamOutput::Ended(end) => self.end = Some(end),
            }
        }
    }
}
