//! Signals by name, as the protocol spells them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::InvalidId;

/// A signal that a client may send: one that every POSIX system has, spelled `SIGHUP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(usize);

/// Name and number on Linux; the first thirty-one but SIGSTKFLT, which nothing sends.
const SIGNALS: &[(&str, u8)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

impl Signal {
    /// The signal of this number on Linux; `None` for one without a name here.
    pub fn from_number(number: u8) -> Option<Self> {
        SIGNALS.iter().position(|(_, n)| *n == number).map(Self)
    }

    /// Its name, with `SIG`.
    pub fn name(self) -> &'static str {
        SIGNALS.get(self.0).map_or("", |(name, _)| name)
    }

    /// Its number on Linux, as it stands in holder frames.
    pub fn number(self) -> u8 {
        SIGNALS.get(self.0).map_or(0, |(_, number)| *number)
    }
}

impl FromStr for Signal {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let found = SIGNALS.iter().position(|(name, _)| *name == text).map(Self);
        found.ok_or(InvalidId { what: "signal", rule: "the name of a signal, such as SIGTERM" })
    }
}

impl TryFrom<String> for Signal {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.name().to_owned()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        for (name, number) in SIGNALS {
            let signal: Signal = name.parse().unwrap();
            assert_eq!((signal.name(), signal.number()), (*name, *number));
            assert_eq!(Signal::from_number(*number), Some(signal));
        }
        assert!("TERM".parse::<Signal>().is_err());
        assert_eq!(Signal::from_number(0), None);
    }
}
