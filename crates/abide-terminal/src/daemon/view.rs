//! What the hub shows of a session to the tasks around it.

use crate::record::{Exit, State};
use crate::session::StreamId;

/// A session as its streams see it, published at each change.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) exit: Option<Exit>,
    pub(super) exited_at: Option<u64>,
    /// The stream that types; while the owner changes, the one that will: it is published before the mark is written.
    pub(super) owner_stream: Option<StreamId>,
    /// It was removed; its log is about to go.
    pub(super) removed: bool,
}
