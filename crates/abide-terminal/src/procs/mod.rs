//! Which processes belong to a session: what the kernel tells of them, and the rule over it.

mod members;
mod proc_fs;
mod signal;

use std::fmt;

pub use members::{Evidence, Guarded, Members, left_behind};
pub use proc_fs::{boot_id, carries_session, process, start_time, table};
pub use signal::signal;

/// One boot of the machine, or of the container: pids and start times mean something within one only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// Takes the kernel's random id of this boot, and changes its last 8 bytes by the start time of process 1 in
    /// clock ticks: a container that is started anew under the same kernel is another boot.
    #[must_use]
    pub fn of_init(mut self, start_time: u64) -> Self {
        for (byte, time) in self.0[8..].iter_mut().zip(start_time.to_be_bytes()) {
            *byte ^= time;
        }
        self
    }
}

impl fmt::Display for BootId {
    /// Hexadecimal in the groups of a UUID, as the kernel writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no boot id: not 32 hexadecimal digits, with or without the hyphens of a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a boot id")]
pub struct NotABootId;

impl std::str::FromStr for BootId {
    type Err = NotABootId;

    fn from_str(text: &str) -> Result<Self, NotABootId> {
        let digits: Option<Vec<u8>> =
            text.chars().filter(|&c| c != '-').map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        let digits: [u8; 32] = digits.and_then(|digits| digits.try_into().ok()).ok_or(NotABootId)?;
        Ok(Self(std::array::from_fn(|i| digits[2 * i] << 4 | digits[2 * i + 1])))
    }
}

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
