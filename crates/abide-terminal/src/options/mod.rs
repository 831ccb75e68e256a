//! Configuration: the keys with their defaults and limits, and where each value in force came from.
//!
//! Values come from `abide.toml`, then from the environment, then from flags; what comes later wins. A key that does not
//! exist, a value of the wrong type and a value out of range are refused by name.

mod keys;
mod overlay;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use keys::{DetachKey, Journal, Sync, Terminal};
use overlay::Overlay;

/// The configuration of a daemon and of the commands that speak to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The table `[terminal]`.
    pub terminal: Terminal,
    /// The table `[journal]`.
    pub journal: Journal,
    origins: BTreeMap<String, Origin>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One key as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key with its table, `terminal.ring_bytes`.
    pub key: String,
    /// The value as TOML writes it; none if there is none and the key's absence means something.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// What the key is for.
    pub about: &'static str,
}

/// A configuration that is refused. A person mends it; nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is no TOML.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// There is no such key.
    #[error("{key} ({origin}): there is no such key")]
    Unknown {
        /// The key as it was given, with its table.
        key: String,
        /// Where it was given.
        origin: Origin,
    },
    /// The value does not fit its key.
    #[error("{key} ({origin}): {rule}")]
    Value {
        /// The key, with its table.
        key: String,
        /// Where the value was given.
        origin: Origin,
        /// What a value must be.
        rule: String,
    },
}

/// What is known of a key beside its default.
#[derive(Debug, Clone, Copy)]
struct Key {
    name: &'static str,
    about: &'static str,
    /// Least and greatest value of a number.
    range: Option<(i64, i64)>,
}

/// A table of the configuration.
trait Keys: Default + Serialize + DeserializeOwned {
    /// Its name in the file.
    const TABLE: &'static str;
    /// Its keys, in the order of the reference.
    const KEYS: &'static [Key];
}

impl Options {
    /// Puts the configuration together: the text of a file, the environment, and flags as pairs of key
    /// (`terminal.ring_bytes`) and text.
    ///
    /// # Errors
    /// The first key or value that is refused.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut overlay = Overlay::new();
        overlay.add_table::<Terminal>();
        overlay.add_table::<Journal>();
        if let Some((path, text)) = file {
            overlay.add_file(path, text)?;
        }
        overlay.add_environment(environment)?;
        overlay.add_flags(flags)?;
        let options = Self { terminal: overlay.take()?, journal: overlay.take()?, origins: overlay.origins() };
        options.check_together()?;
        Ok(options)
    }

    /// Where the value of a key came from.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Every key as it is in force, in the order of the reference.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        self.add_settings(&self.terminal, &mut settings);
        self.add_settings(&self.journal, &mut settings);
        settings
    }

    fn add_settings<T: Keys>(&self, table: &T, settings: &mut Vec<Setting>) {
        let values = overlay::values_of(table);
        settings.extend(T::KEYS.iter().map(|known| {
            let key = format!("{}.{}", T::TABLE, known.name);
            let origin = self.origin(&key).clone();
            Setting { value: values.get(known.name).map(overlay::written), origin, about: known.about, key }
        }));
    }

    /// What holds between keys.
    fn check_together(&self) -> Result<(), Error> {
        let refuse = |key: &str, rule: &str| {
            Err(Error::Value { key: key.to_owned(), origin: self.origin(key).clone(), rule: rule.to_owned() })
        };
        let (terminal, journal) = (&self.terminal, &self.journal);
        if !terminal.ring_bytes.is_power_of_two() {
            return refuse("terminal.ring_bytes", "must be a power of two");
        }
        if terminal.socket_low_bytes >= terminal.socket_high_bytes {
            return refuse("terminal.socket_low_bytes", "must be below terminal.socket_high_bytes");
        }
        if terminal.scrollback_lines > terminal.scrollback_lines_max {
            return refuse("terminal.scrollback_lines", "must be at most terminal.scrollback_lines_max");
        }
        if !journal.segment_bytes.is_power_of_two() {
            return refuse("journal.segment_bytes", "must be a power of two");
        }
        for (key, bytes) in [
            ("journal.record_bytes_max", journal.record_bytes_max),
            ("journal.append_bytes_max", journal.append_bytes_max),
        ] {
            if bytes > journal.segment_bytes / 2 {
                return refuse(key, "must be at most half of journal.segment_bytes");
            }
        }
        Ok(())
    }
}

/// Finds the configuration file: `$XDG_CONFIG_HOME/abide/abide.toml`, else `~/.config/abide/abide.toml`. A variable that
/// is empty or not absolute counts as missing; without `$HOME` the home of the password database is taken.
pub fn file_path(variable: impl Fn(&str) -> Option<OsString>, home: &Path) -> PathBuf {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME");
    base.unwrap_or_else(|| absolute("HOME").unwrap_or_else(|| home.to_owned()).join(".config")).join("abide/abide.toml")
}

#[cfg(test)]
mod tests;
