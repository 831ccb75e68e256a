//! An error as it travels: code, text, class, and what a program needs to act on it.

use std::fmt;

use abide_wire::{Code, RequestId, Retry};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A named failure. Programs act on `code` and `details`, or on `retry` alone; people read `message`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WireError {
    /// Which failure.
    pub code: Code,
    /// One sentence for people. It never holds input, output, environment or arguments.
    pub message: String,
    /// What the receiver may do.
    pub retry: Retry,
    /// The facts that the code promises, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

impl WireError {
    /// An error of this code, in the class that the registry gives it.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: code.retry(), details: Map::new() }
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// A number among the facts.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.details.get(name)?.as_u64()
    }

    /// A text among the facts.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.details.get(name)?.as_str()
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for WireError {}

/// The message that carries an error; `id` is that of the request it answers, where it answers one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// The request that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// Why.
    #[serde(flatten)]
    pub error: WireError,
}
