//! The id by which a client finds the answer to its request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Chosen by the client, 1–64 characters, echoed in the answer. Free again once the request is answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

/// A text that is no request id: it is empty, or longer than 64 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("id must be 1 to 64 characters")]
pub struct InvalidRequestId;

impl RequestId {
    /// Longest id, in characters.
    pub const CHARS_MAX: usize = 64;

    /// The id that stands for a counter's value: for clients that number their requests.
    pub fn from_number(number: u64) -> Self {
        Self(number.to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RequestId {
    type Error = InvalidRequestId;

    fn try_from(text: String) -> Result<Self, InvalidRequestId> {
        // More than four bytes a character do not exist, so a hostile length is refused without counting.
        let fits = !text.is_empty() && text.len() <= 4 * Self::CHARS_MAX && text.chars().count() <= Self::CHARS_MAX;
        if fits { Ok(Self(text)) } else { Err(InvalidRequestId) }
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(RequestId::try_from("ü".repeat(64)).is_ok());
        assert!(RequestId::try_from("ü".repeat(65)).is_err());
        assert!(RequestId::try_from(String::new()).is_err());
    }
}
