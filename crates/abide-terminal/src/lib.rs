//! Terminal sessions: programs on pseudo-terminals that survive their window, their client and their daemon.
//!
//! A session is a program, its identity and its recorded output. The daemon keeps many of them; each program
//! belongs to a holder process of its own, so that a daemon may die at any time. Clients see a session through
//! protocol v1: one of them owns it and may type, others observe.
//!
//! What this crate is not: it draws no windows and no panes, it parses escape sequences only through
//! `abide-screen`, and it listens on no network.

pub mod client;
pub mod daemon;
pub mod dirs;
mod ids;
pub mod intake;
pub mod kill;
pub mod level;
pub mod lock;
pub mod names;
pub mod options;
pub mod procs;
pub mod program;
pub mod protocol;
mod record;
pub mod recover;
mod refusals;
mod seam;
pub mod session;
pub mod store;
pub mod stream;
mod sys;
#[cfg(test)]
mod test_dir;

pub use ids::{
    ByteOffset, ClientId, DaemonEpoch, EventNumber, Incarnation, InputOffset, InvalidId, OwnerEpoch, SessionId,
};
pub use record::{Cause, Exit, ExitKind, KillRecord, Record, Recovery, Restore, RestoreAs, State, Survivor, Takeover};
pub use seam::seam;
