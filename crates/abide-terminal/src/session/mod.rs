//! The rules of one session: its life, its owner, its kill. No socket, no clock, no file; `now` is passed in.
//!
//! ```text
//!  Starting ──► Running ──► Terminating ──► Exited ──► Finalized ──(lost: restored)──► Starting
//!      │           └───────────────────────────▲
//!      └───────────────────────────────────────┘
//! ```
//!
//! A **transition** is an event of [`crate::store`], or a few that belong together. It is appended first ([`Output::Append`]); when it is written
//! ([`Input::Written`]) the facts change by [`Facts::apply`](crate::store::Facts::apply), and what follows from it
//! is done. While one is under way every other input waits its turn: so a rule never sees a state that the journal
//! may not come to know, and answers to one session keep their order. Only the signals of a kill wait for nothing.
//!
//! An operation that needs more than one transition (attach: claim, then resize) is simply asked again after each:
//! every operation looks at the facts and does the first thing that is missing.

mod attach;
mod core;
mod frames;
mod io;
mod kill;
mod life;
mod owner;
mod restore;
mod transition;
mod window;

pub use self::core::Session;
pub use io::{
    Asker, Attach, Attached, Frame, Gone, HolderInput, Input, Limits, Now, Op, Output, Refusal, Reply, Restart, Size,
    StreamId, Target, Unit,
};
pub use window::{Accepted, Window};
