//! Values that several requests have, each with its rule.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::limits::{
    ARGUMENTS_BYTES_MAX, GRACE_MS_MAX, INTEGER_MAX, KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, LAG_BYTES_MAX,
    LAG_BYTES_MIN, LIST_MAX, SCROLLBACK_LINES_MAX, SIZE_MAX, WATCHED_MAX, WINDOW_BYTES_MIN, WRITE_BYTES_MAX,
};
use crate::ids::{ByteOffset, InputOffset, InvalidId, SessionId};

/// A session's name: 1–64 of `[A-Za-z0-9._-]`, not beginning with `-` or `.`, and nothing that reads as an id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// What makes a create repeatable: 1–64 of `[A-Za-z0-9._:/-]`. A session that exists with it is returned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Which session: its id, or its name. No text is both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SessionRef {
    /// By identity.
    Id(SessionId),
    /// By name; sessions that have not ended come first.
    Name(Name),
}

fn is_word(text: &str, punctuation: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || punctuation.contains(&b))
}

impl TryFrom<String> for Name {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let reads_as_id = text.len() == 26 && ulid::Ulid::from_string(&text).is_ok();
        if is_word(&text, b"._-") && !text.starts_with(['-', '.']) && !reads_as_id {
            Ok(Self(text))
        } else {
            let rule = "1 to 64 of A-Z a-z 0-9 . _ - that begin with neither - nor . and are no session id";
            Err(InvalidId { what: "name", rule })
        }
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let valid = is_word(&text, b"._:/-");
        if valid { Ok(Self(text)) } else { Err(InvalidId { what: "key", rule: "1 to 64 of A-Z a-z 0-9 . _ : / -" }) }
    }
}

impl TryFrom<String> for SessionRef {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Name::try_from(text).map(Self::Name).map_err(|invalid| InvalidId { what: "session", ..invalid }),
        }
    }
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// It as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

text!(Name);
text!(Key);

impl fmt::Display for SessionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, f),
            Self::Name(name) => fmt::Display::fmt(name, f),
        }
    }
}

impl FromStr for SessionRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_from(text.to_owned())
    }
}

impl From<SessionRef> for String {
    fn from(session: SessionRef) -> Self {
        session.to_string()
    }
}

impl From<SessionId> for SessionRef {
    fn from(id: SessionId) -> Self {
        Self::Id(id)
    }
}

/// For fields that are left out when they say nothing.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A map of texts that refuses a repeated key.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut texts = BTreeMap::new();
            while let Some((key, value)) = map.next_entry()? {
                if texts.insert(key, value).is_some() {
                    return Err(de::Error::custom("must not name a key twice"));
                }
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_map(Texts)
}

/// At most 32 labels; keys 1–64 of `[A-Za-z0-9._/-]`, values of at most 256 bytes.
pub(super) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = texts(deserializer)?;
    let fits = labels.len() <= LABELS_MAX
        && labels.iter().all(|(key, value)| is_word(key, b"._/-") && value.len() <= LABEL_VALUE_BYTES_MAX);
    let rule = "must be at most 32, keys 1 to 64 of A-Z a-z 0-9 . _ / -, values of at most 256 bytes";
    if fits { Ok(labels) } else { Err(de::Error::custom(rule)) }
}

/// A text that the kernel takes: it would end at a NUL.
fn without_nul<E: de::Error>(text: String) -> Result<String, E> {
    if text.contains('\0') { Err(E::custom("must not hold a NUL")) } else { Ok(text) }
}

/// A program's name.
pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).and_then(without_nul).map(Some)
}

/// A program's arguments.
pub(super) fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let arguments = Vec::<String>::deserialize(deserializer)?;
    let bytes = serde_json::to_string(&arguments).map_err(de::Error::custom)?.len();
    if bytes > ARGUMENTS_BYTES_MAX {
        return Err(de::Error::custom(format_args!("must be at most {ARGUMENTS_BYTES_MAX} bytes as JSON")));
    }
    arguments.into_iter().map(without_nul).collect()
}

/// A program's directory.
pub(super) fn directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    String::deserialize(deserializer).and_then(without_nul).map(|path| Some(path.into()))
}

/// Where a socket is.
pub(super) fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = String::deserialize(deserializer).and_then(without_nul)?;
    if path.starts_with('/') { Ok(Some(path.into())) } else { Err(de::Error::custom("must be an absolute path")) }
}

fn ranged<'de, D: Deserializer<'de>>(deserializer: D, min: u64, max: u64) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(de::Error::custom(format_args!("must be {min} to {max}")))
    }
}

/// Columns or rows, 0 for unknown.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    ranged(deserializer, 0, u64::from(SIZE_MAX)).map(|number| u16::try_from(number).unwrap_or(SIZE_MAX))
}

/// Milliseconds of grace of a kill.
pub(super) fn grace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    ranged(deserializer, 0, u64::from(GRACE_MS_MAX)).map(|number| u32::try_from(number).ok())
}

/// Number of records in an answer to `list`.
pub(super) fn list_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    ranged(deserializer, 1, u64::from(LIST_MAX)).map(|number| u16::try_from(number).ok())
}

/// History lines in a snapshot.
pub(super) fn scrollback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    ranged(deserializer, 0, u64::from(SCROLLBACK_LINES_MAX)).map(|number| u32::try_from(number).ok())
}

/// A number that every language reads exactly.
pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    ranged(deserializer, 0, INTEGER_MAX).map(Some)
}

/// Milliseconds that somebody waits.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    ranged(deserializer, 0, INTEGER_MAX)
}

/// The sessions of a subscription.
pub(super) fn watched<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<SessionRef>>, D::Error> {
    let sessions = Vec::<SessionRef>::deserialize(deserializer)?;
    if sessions.len() > WATCHED_MAX {
        return Err(de::Error::custom(format_args!("must be at most {WATCHED_MAX} sessions")));
    }
    Ok(Some(sessions))
}

/// How much is kept, in bytes or milliseconds.
pub(super) fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    ranged(deserializer, 1, INTEGER_MAX).map(Some)
}

/// How far a stream may fall behind.
pub(super) fn lag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    ranged(deserializer, LAG_BYTES_MIN, LAG_BYTES_MAX).map(Some)
}

/// How much output may be under way.
pub(super) fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    ranged(deserializer, WINDOW_BYTES_MIN, INTEGER_MAX).map(Some)
}

/// Bytes of input as text.
pub(super) fn input<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Text that is longer than the longest input is not looked into.
    let bytes = if text.len() <= WRITE_BYTES_MAX.div_ceil(3) * 4 { BASE64_STANDARD.decode(text).ok() } else { None };
    match bytes.filter(|bytes| (1..=WRITE_BYTES_MAX).contains(&bytes.len())) {
        Some(bytes) => Ok(bytes.into()),
        None => Err(de::Error::custom(format_args!("must be base64 of 1 to {WRITE_BYTES_MAX} bytes"))),
    }
}

/// Text of bytes of input.
pub(super) fn input_text<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

/// An input offset that may be absent.
pub(super) fn input_offset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<InputOffset>, D::Error> {
    ranged(deserializer, 0, INTEGER_MAX).map(|offset| Some(InputOffset(offset)))
}

/// An output offset.
pub(super) fn offset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteOffset, D::Error> {
    ranged(deserializer, 0, INTEGER_MAX).map(ByteOffset)
}

/// An output offset that may be absent.
pub(super) fn optional_offset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteOffset>, D::Error> {
    offset(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_an_id() {
        let id = SessionId::from_parts(1_760_000_000_000, 7).to_string();
        assert!(id.parse::<Name>().is_err());
        assert!(id.to_lowercase().parse::<Name>().is_err());
        assert!(matches!(id.parse(), Ok(SessionRef::Id(_))));
        assert!(matches!("build".parse(), Ok(SessionRef::Name(_))));
        for bad in ["", "-x", ".x", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
            assert!(bad.parse::<SessionRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_may_be_a_path() {
        assert!("fleet:a/b".parse::<Key>().is_ok());
        assert!("a b".parse::<Key>().is_err());
    }
}
