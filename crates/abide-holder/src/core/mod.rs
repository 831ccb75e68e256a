//! The holder's rules: plain functions over its state, without files, sockets, clock or processes.
//!
//! The poll loop asks them what may be read, spilled and written now; a simulation asks them the same over a ring on
//! the heap.

mod input;
mod output;

pub use input::{Accepted, Input, Source};
pub use output::{Output, Room};
