//! What `abide doctor` finds: each check is a function of facts, and the facts are read here. Nothing is started, and
//! nothing but stale sockets is ever removed.

mod machine;
mod state;

use serde::Serialize;

pub(crate) use machine::{cgroup, descriptors, disk, kill_user_processes, linger, terminals};
pub(crate) use state::{daemon, directories, holders};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Sessions work; something may end or stop them.
    Warning,
    /// Sessions do not work until somebody mends this.
    Error,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) level: Level,
    pub(crate) message: String,
    /// What mends it.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), mend: None }
    }

    pub(crate) fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::ok(check, message) }
    }

    pub(crate) fn error(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Error, ..Self::ok(check, message) }
    }

    #[must_use]
    pub(crate) fn mended_by(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}
