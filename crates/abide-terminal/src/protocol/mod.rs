//! Protocol v1: what daemon and clients say to each other, and the only definition of it.
//!
//! A connection carries frames ([`Frame`]): JSON messages, and the bytes of a session as they are. It begins with a
//! [`Hello`] and is then a control connection ([`ControlRequest`], [`ControlMessage`]) or a stream of one session
//! ([`StreamRequest`], [`StreamMessage`]).
//!
//! Requests are read strictly: an unknown, missing, repeated or ill-typed field is named in a `BAD_REQUEST`
//! ([`Refusal`]), and what does not exist yet is refused rather than ignored. The hello alone is read leniently first,
//! so that a client of another version is told something.
//!
//! This module does no I/O and keeps no state but the decoder's fragment of a frame.

mod answer;
mod control;
mod error;
mod event;
mod fields;
mod frame;
mod hello;
pub mod limits;
mod look;
mod read;
mod stream;
mod strict;

pub use crate::kill::Signal;
pub use answer::{
    Answer, ControlMessage, Created, EntryOutcome, Inspected, Killed, Listed, Lost, Nothing, Recovered, RecoveryReport,
    Released, Renamed, ReportEntry, Resized, StreamInfo, TakenOver, UpgradeFailure, Written,
};
pub use control::{
    ControlRequest, Create, GetRecoveryReport, Inspect, Kill, List, Recover, Release, Remove, Rename, Request, Resize,
    RestartWith, SendSignal, Shutdown, ShutdownMode, Take, Target, Write,
};
pub use error::{ErrorMessage, WireError};
pub use event::{ControlEvent, Happened, Transition};
pub use fields::{Key, Name, SessionRef};
pub use frame::{Decoder, Frame, input_frame, message_frame, output_header, snapshot_header};
pub use hello::{ClientInfo, Hello, HelloOk, Limits, Role};
pub use look::{
    ScreenText, Subscribe, Subscribed, Text, TextOf, Unsubscribe, Unsubscribed, Wait, WaitFor, WaitValue, Waited,
};
pub use read::{Refusal, read_control, read_hello, read_stream};
pub use stream::{
    Ack, Attach, Attached, BackpressureWarning, Detached, ExitTold, Former, Hole, InputApplied, Lagged, Layer, Mode,
    OnLag, OwnershipChanged, Restored, SizeChanged, StartAt, StreamMessage, StreamRequest, Time, WindowSize,
};
