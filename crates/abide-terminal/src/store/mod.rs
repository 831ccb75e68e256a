//! What the daemon writes into its journal: events in the registry log, marks and screens in session logs.
//!
//! Offset, time, order and checkpoints are the journal's; no record here repeats them. A transition is one event
//! and, where it has a place in the output, one mark, appended as one unit: so registry and session log never
//! disagree, and recovery has nothing to repair.

mod event;
mod facts;
mod mark;
mod options;
mod registry;
mod screen;
mod table;

pub use event::{Created, Entry, Event};
pub use facts::{Facts, KillFacts, RESTORES_MAX, RESTORES_MS};
pub use mark::{Mark, MarkKind};
pub use options::{registry_options, session_options};
pub use registry::{Registry, Written};
pub use screen::{SCREEN_BYTES_MAX, ScreenHeader};
pub use table::{ReadError, TOMBSTONE_MS_MAX, TOMBSTONES_MAX, Table, Tombstone, UnknownFormat};

/// Name of the log that is the truth about states.
pub const REGISTRY_LOG: &str = "terminals";

/// Name of the log that holds the output of one session.
pub fn session_log(id: crate::SessionId) -> String {
    format!("terminal/{id}")
}

/// The session whose output a log of this name holds.
pub fn session_of_log(name: &str) -> Option<crate::SessionId> {
    name.strip_prefix("terminal/")?.parse().ok()
}
