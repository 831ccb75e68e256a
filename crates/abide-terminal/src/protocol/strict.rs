//! Reading a JSON object strictly, so that a refusal names the field.
//!
//! The object is first cut into its fields without looking into them; then a type is read from them one by one. So a
//! fault inside a field is told with the field's name, whatever it was.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{self, Deserialize, DeserializeOwned, DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What is wrong with a request, and in which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldError {
    pub(super) field: Option<String>,
    pub(super) problem: String,
}

impl FieldError {
    pub(super) fn of(field: &str, problem: &str) -> Self {
        Self { field: Some(field.to_owned()), problem: problem.to_owned() }
    }

    /// The fault that serde found inside a field. The values in its text are left out: they may be secrets.
    fn inside(field: &str, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let text = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text);
        let problem = match text.split_once("expected ") {
            Some((_, expected)) => format!("must be {expected}"),
            None => text.to_owned(),
        };
        Self::of(field, &problem)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field} {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self { field: None, problem: problem.to_string() }
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::of(field, "is unknown")
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(field, "is missing")
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::of(field, "is repeated")
    }
}

/// The fields of one JSON object, not looked into yet.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// `None` if the text is not one JSON object.
    pub(super) fn cut(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The names, repeated ones as often as they stand.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Takes a field that every message of its kind has. A repeated one is refused.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, FieldError> {
        self.take_optional(name)?.ok_or_else(|| FieldError::of(name, "is missing"))
    }

    /// Takes a field that may be absent. A repeated one is refused.
    pub(super) fn take_optional<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, FieldError> {
        let Some(at) = self.0.iter().position(|(field, _)| field == name) else { return Ok(None) };
        let (_, raw) = self.0.remove(at);
        if self.names().any(|field| field == name) {
            return Err(FieldError::of(name, "is repeated"));
        }
        T::deserialize(raw).map(Some).map_err(|error| FieldError::inside(name, &error))
    }

    /// Reads the fields that are left as a `T`.
    pub(super) fn read<T: Deserialize<'a>>(self) -> Result<T, FieldError> {
        T::deserialize(MapAccessDeserializer::new(Reader { left: self.0.into_iter(), current: None }))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cutter;
        impl<'de> Visitor<'de> for Cutter {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Cutter)
    }
}

/// Hands the fields to serde, and remembers which one it is reading.
struct Reader<'a> {
    left: std::vec::IntoIter<(String, &'a RawValue)>,
    current: Option<(String, &'a RawValue)>,
}

impl<'de> MapAccess<'de> for Reader<'de> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        let Some((name, raw)) = self.left.next() else { return Ok(None) };
        self.current = Some((name.clone(), raw));
        seed.deserialize(StringDeserializer::<FieldError>::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FieldError> {
        let Some((name, raw)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        if raw.get() == "null" {
            return Err(FieldError::of(&name, "must be left out rather than null"));
        }
        seed.deserialize(raw).map_err(|error| FieldError::inside(&name, &error))
    }
}
