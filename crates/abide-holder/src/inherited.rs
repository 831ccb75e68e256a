//! What a daemon found at its own start, and programs get back: limits, umask, `oom_score_adj`.

use std::io;

use crate::spec::Rlimit;

/// Process attributes that a daemon changes for itself; read before it does, and passed on in [`crate::Spec`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inherited {
    /// All resource limits.
    pub rlimits: Vec<Rlimit>,
    /// File mode creation mask.
    pub umask: u32,
    /// Weight before the kernel's out-of-memory killer.
    pub oom_score_adj: i32,
}

impl Inherited {
    /// Reads them from this process. Fails where `/proc` is not mounted.
    pub fn read() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        let umask = umask.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).ok_or_else(unreadable)?;
        let oom = std::fs::read_to_string("/proc/self/oom_score_adj")?;
        let oom_score_adj = oom.trim().parse().map_err(|_| unreadable())?;
        Ok(Self { rlimits: crate::sys::rlimits(), umask, oom_score_adj })
    }
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc/self is not as this program knows it")
}
