//! Values from several places, one over the other, each with the place that it came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use toml::{Table, Value};

use super::{Error, Key, Keys, Origin};

/// The tables that exist, and what was given for their keys so far.
#[derive(Debug)]
pub(super) struct Overlay {
    tables: Vec<Known>,
    given: BTreeMap<String, (Value, Origin)>,
}

#[derive(Debug)]
struct Known {
    table: &'static str,
    keys: &'static [Key],
    defaults: Table,
}

impl Known {
    /// The beginning of the names of its variables.
    fn prefix(&self) -> String {
        format!("ABIDE_{}_", self.table.to_ascii_uppercase())
    }

    fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The value that a text stands for: the default says whether it is a number. A key without a default is a text.
    fn typed(&self, name: &str, text: &str) -> Value {
        match (self.defaults.get(name), text.parse()) {
            (Some(Value::Integer(_)), Ok(number)) => Value::Integer(number),
            _ => Value::String(text.to_owned()),
        }
    }
}

impl Overlay {
    pub(super) fn new() -> Self {
        Self { tables: Vec::new(), given: BTreeMap::new() }
    }

    pub(super) fn add_table<T: Keys>(&mut self) {
        self.tables.push(Known { table: T::TABLE, keys: T::KEYS, defaults: values_of(&T::default()) });
    }

    /// Adds what a file gives, over all that was added before.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let file: Table = toml::from_str(text).map_err(|error| Error::Syntax {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        for (name, value) in file {
            let origin = Origin::File(path.to_owned());
            match value {
                Value::Table(table) if self.tables.iter().any(|known| known.table == name) => {
                    self.add_nested(&name, "", table, &origin)?;
                }
                _ => return Err(Error::Unknown { key: name, origin }),
            }
        }
        Ok(())
    }

    fn add_nested(&mut self, table: &str, above: &str, values: Table, origin: &Origin) -> Result<(), Error> {
        for (name, value) in values {
            let name = format!("{above}{name}");
            match value {
                Value::Table(inner) => self.add_nested(table, &format!("{name}."), inner, origin)?,
                value => self.add(table, &name, value, origin.clone())?,
            }
        }
        Ok(())
    }

    /// Adds what variables give, over all that was added before. Variables that begin otherwise are not ours.
    pub(super) fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), Error> {
        for (variable, text) in environment {
            let Some(variable) = variable.to_str() else { continue };
            let table = self.tables.iter().find(|known| variable.starts_with(&known.prefix()));
            let Some((table, rest)) = table.and_then(|known| Some((known, variable.strip_prefix(&known.prefix())?)))
            else {
                continue;
            };
            let origin = Origin::Variable(variable.to_owned());
            let named = |key: &&Key| key.name.replace('.', "_").to_ascii_uppercase() == rest;
            let Some(key) = table.keys.iter().find(named) else {
                return Err(Error::Unknown { key: format!("{}.{}", table.table, rest.to_ascii_lowercase()), origin });
            };
            let Some(text) = text.to_str() else {
                let key = format!("{}.{}", table.table, key.name);
                return Err(Error::Value { key, origin, rule: "must be UTF-8".to_owned() });
            };
            let (table, value) = (table.table, table.typed(key.name, text));
            self.add(table, key.name, value, origin)?;
        }
        Ok(())
    }

    /// Adds what flags give, over all that was added before.
    pub(super) fn add_flags(&mut self, flags: impl IntoIterator<Item = (String, String)>) -> Result<(), Error> {
        for (key, text) in flags {
            let split = key.split_once('.');
            let table =
                split.and_then(|(table, name)| Some((self.tables.iter().find(|known| known.table == table)?, name)));
            let Some((table, name)) = table else {
                return Err(Error::Unknown { key, origin: Origin::Flag });
            };
            let (table, value) = (table.table, table.typed(name, &text));
            self.add(table, name, value, Origin::Flag)?;
        }
        Ok(())
    }

    fn add(&mut self, table: &str, name: &str, value: Value, origin: Origin) -> Result<(), Error> {
        let full = format!("{table}.{name}");
        let known =
            self.tables.iter().find(|known| known.table == table).and_then(|known| Some((known, known.find(name)?)));
        let Some((known, key)) = known else {
            return Err(Error::Unknown { key: full, origin });
        };
        let refuse = |rule: String| Err(Error::Value { key: full.clone(), origin: origin.clone(), rule });
        match (&value, known.defaults.get(name)) {
            (Value::Integer(number), Some(Value::Integer(_))) => {
                if let Some((least, most)) = key.range
                    && !(least..=most).contains(number)
                {
                    return refuse(format!("must be from {least} to {most}"));
                }
            }
            (_, Some(Value::Integer(_))) => return refuse("must be a whole number".to_owned()),
            (Value::String(_), _) => {}
            _ => return refuse("must be a text".to_owned()),
        }
        self.given.insert(full, (value, origin));
        Ok(())
    }

    /// The table `T` as it is in force.
    pub(super) fn take<T: Keys>(&mut self) -> Result<T, Error> {
        let mut table = Table::new();
        for key in T::KEYS {
            let full = format!("{}.{}", T::TABLE, key.name);
            let Some((value, origin)) = self.given.get(&full) else { continue };
            // Read alone first, so that an error is known to be this key's.
            let alone = Table::from_iter([(key.name.to_owned(), value.clone())]);
            alone.try_into::<T>().map_err(|error| Error::Value {
                key: full,
                origin: origin.clone(),
                rule: error.message().to_owned(),
            })?;
            table.insert(key.name.to_owned(), value.clone());
        }
        table.try_into().map_err(|error| Error::Value {
            key: T::TABLE.to_owned(),
            origin: Origin::Default,
            rule: error.message().to_owned(),
        })
    }

    /// Where each given value came from.
    pub(super) fn origins(self) -> BTreeMap<String, Origin> {
        self.given.into_iter().map(|(key, (_, origin))| (key, origin)).collect()
    }
}

/// The values of a table by key; a key whose value is absent is left out.
pub(super) fn values_of<T: Keys>(table: &T) -> Table {
    // Numbers, texts and absent values are all that a table has, and each of them is a value of TOML.
    Table::try_from(table).unwrap_or_default()
}

/// A number or a text as TOML writes it.
pub(super) fn written(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::String(text) if !text.contains(['\'', '\n', '\r']) => format!("'{text}'"),
        value => value.as_str().map_or_else(String::new, |text| format!("{text:?}")),
    }
}
