//! What the receiver of an error may do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of an error: one of five things to do, so that a program can act on a code that it has never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Nothing happened: the same request, after a back-off.
    Retry,
    /// Attach or subscribe again, at the place that the error gives.
    Resume,
    /// Look what happened, then decide.
    Resolve,
    /// The request itself must change.
    FixRequest,
    /// Stop: a person, or another request, must change something first.
    GiveUp,
}

impl Retry {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Resume => "resume",
            Self::Resolve => "resolve",
            Self::FixRequest => "fix_request",
            Self::GiveUp => "give_up",
        }
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
