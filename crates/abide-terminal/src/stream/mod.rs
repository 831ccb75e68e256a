//! What a stream brings: where it begins in a log, what it does next, and what it tells of each record. No connection
//! and no clock; the log is the queue.

mod begin;
mod credit;
mod matching;
mod next;
mod tell;

pub use begin::start_at;
pub use credit::Credit;
pub use matching::{Found, Matcher, NoExpression};
pub use next::{Lag, Seen, Step, end_at, next, written};
pub use tell::{Teller, Told};
