//! Ending a session: what is sent when, and the names of signals.

mod plan;
mod signal;

pub use plan::{Plan, Step};
pub use signal::{NotASignal, Signal};
