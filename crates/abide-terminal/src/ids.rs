//! Identities and positions, each a type of its own so that they cannot be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is no id of the kind asked for. The caller corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    /// Which id was asked for, as its field is named in the protocol.
    pub what: &'static str,
    /// The rule that the text breaks.
    pub rule: &'static str,
}

/// A session's identity: a ULID, 26 characters of Crockford's base 32 as text, 16 bytes in holder frames.
///
/// Ids sort by the time of their making. They alone (never names) become parts of file names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// Makes an id from the wall clock in milliseconds since 1970 and 80 random bits (higher bits are ignored).
    pub fn from_parts(wall_ms: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(wall_ms, random).0)
    }

    /// The 16 bytes that stand in holder frames and in the ring's header, big-endian as the ULID standard has them.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id that these 16 bytes stand for; any bytes are an id.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ulid::Ulid(self.0), f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    /// Accepts exactly the spelling that [`fmt::Display`] gives: file names and answers must agree on one.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let id = ulid::Ulid::from_string(text).map(|ulid| Self(ulid.0));
        match id {
            Ok(id) if id.to_string() == text => Ok(id),
            _ => Err(InvalidId { what: "session", rule: "26 upper-case characters of a ULID" }),
        }
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A client program's identity: 1–64 of `[A-Za-z0-9._-]`, drawn at random by the libraries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

impl ClientId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidId { what: "client_id", rule: "1 to 64 of A-Z a-z 0-9 . _ -" })
        }
    }
}

impl FromStr for ClientId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_from(text.to_owned())
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number that follows. Counters of events and bytes do not reach their type's end in practice;
            /// at the end the last value is kept rather than wrapped.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// Count of output bytes since the session began, over all incarnations.
    ByteOffset(u64)
}
number! {
    /// Count of input bytes since the present owner epoch began.
    InputOffset(u64)
}
number! {
    /// Number of changes of ownership of a session; the first owner has 1. Fences input of former owners.
    OwnerEpoch(u32)
}
number! {
    /// Number of daemon starts on this state directory, from 1. Fences older daemons at the holders.
    DaemonEpoch(u64)
}
number! {
    /// Number of program starts of a session, from 1; a restore adds 1.
    Incarnation(u64)
}
number! {
    /// LSN of a record in the registry log: dense over all sessions, from 1.
    EventNumber(u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_has_one_spelling() {
        let id = SessionId::from_parts(1_760_000_000_000, 42);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 26);
        assert!(id.to_string().to_lowercase().parse::<SessionId>().is_err());
        assert_eq!(SessionId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn a_client_id_is_checked() {
        assert!("cli-5f0c9a11".parse::<ClientId>().is_ok());
        for bad in ["", "a b", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
    }
}
