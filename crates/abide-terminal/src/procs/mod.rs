//! Which processes belong to a session: what the kernel tells of them, and the rule over it.

mod left;
mod members;
mod proc_fs;
mod signal;

pub use left::end_left;
pub use members::{Evidence, Guarded, Members, left_behind};
pub use proc_fs::{arguments, carries_session, current_dir, process, start_time, table};
pub use signal::signal;

/// A process for good, within one boot: a pid is used again, but not by a process of the same start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since the boot (field 22 of `/proc/<pid>/stat`).
    pub start_time: u64,
}

/// A process as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Which it is.
    pub id: ProcessId,
    /// Its parent's pid; 0 where that is not visible.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session: the pid of the session's leader.
    pub session: u32,
    /// The device number of its controlling terminal; 0 for none.
    pub terminal: i32,
    /// Its real user.
    pub uid: u32,
    /// Whether it has ended and only waits for its parent to collect it.
    pub ended: bool,
    /// The name of its command, at most 15 bytes; the process may choose it.
    pub command: String,
}
