//! A client of the daemon: connections that come back, requests that are answered once, streams that go on.
//!
//! The rules stand in two cores without sockets and clocks: [`ControlLink`] for requests, [`StreamLink`] for the bytes of
//! one session. A shell carries out what they ask for: [`Client`] and [`Stream`] on tokio, or a loop of one's own.
//!
//! What a core promises:
//! - A request is answered once: it is repeated after a lost connection where that is safe, and is `OUTCOME_UNKNOWN`
//!   where it is not. Each create gets a key, so that it is safe.
//! - Output comes without gap and without repetition; what is missing is named ([`StreamEvent::Skipped`],
//!   [`StreamEvent::TakenBack`], [`StreamEvent::Hole`]).
//! - Input reaches the program once and in order, over lost connections and dead daemons, or is named
//!   ([`StreamEvent::InputLost`]).
//!
//! ```text
//!             due                connected           hello_ok
//!  Waiting ───────► Dialing ───────────► Greeting ───────────► Open
//!     ▲  back-off      │ unreachable        │ refused, silent    │ lost
//!     └────────────────┴────────────────────┴────────────────────┘      any ──give_up──► Ended
//! ```

mod connection;
mod control;
mod input;
mod random;
mod shell;
mod socket;
mod stream;

pub use connection::{Dial, Identity, Instant};
pub use control::{CallId, ControlInput, ControlLink, ControlOutput};
pub use shell::{Client, Events, Stream};
pub use socket::{Address, StartDaemon, answers, connect};
pub use stream::{StreamEnd, StreamEvent, StreamInput, StreamLink, StreamOutput, WhenGone};
