//! Signals by number and name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The names of signals 1 to 31 on Linux, in their order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The first real-time signal that programs may use, as glibc numbers them, and the last.
const RT_MIN: u8 = 34;
const RT_MAX: u8 = 64;

/// A signal that can be sent: 1 to 31, or 34 to 64 (real time; the two between them are the C library's own).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

impl Signal {
    /// The terminal is gone.
    pub const HUP: Self = Self(1);
    /// Ends a process, whatever it thinks of it.
    pub const KILL: Self = Self(9);
    /// Asks a process to end.
    pub const TERM: Self = Self(15);
    /// Lets a stopped process run.
    pub const CONT: Self = Self(18);

    /// The signal with this number; none if no program could be sent it.
    pub fn from_number(number: u8) -> Option<Self> {
        matches!(number, 1..=31 | RT_MIN..=RT_MAX).then_some(Self(number))
    }

    /// Its number, as holder frames carry it.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 == RT_MIN => f.write_str("SIGRTMIN"),
            None => write!(f, "SIGRTMIN+{}", self.0 - RT_MIN),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no signal. The caller corrects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signal: give a name like SIGINT or INT, or a number")]
pub struct NotASignal;

impl FromStr for Signal {
    type Err = NotASignal;

    /// Accepts `SIGINT`, `INT` and `2`, in upper case, and `SIGRTMIN+N`.
    fn from_str(text: &str) -> Result<Self, NotASignal> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().and_then(Self::from_number).ok_or(NotASignal);
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let numbers = (1..=RT_MAX).filter_map(Self::from_number);
        numbers.into_iter().find(|signal| signal.to_string().strip_prefix("SIG") == Some(name)).ok_or(NotASignal)
    }
}

impl TryFrom<String> for Signal {
    type Error = NotASignal;

    fn try_from(text: String) -> Result<Self, NotASignal> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_one_name_and_is_found_by_it_and_by_its_number() {
        let all: Vec<Signal> = (0..=u8::MAX).filter_map(Signal::from_number).collect();
        assert_eq!(all.len(), 31 + 31);
        for signal in all {
            let name = signal.to_string();
            assert_eq!(name.parse(), Ok(signal), "{name}");
            assert_eq!(name.strip_prefix("SIG").expect("a prefix").parse(), Ok(signal), "{name}");
            assert_eq!(signal.number().to_string().parse(), Ok(signal), "{name}");
        }
    }

    #[test]
    fn the_names_are_the_systems() {
        let mut compared = 0;
        macro_rules! compare {
            ($($name:ident)*) => {
                $(
                    let signal = Signal::from_number(u8::try_from(libc::$name).expect("a signal")).expect("a signal");
                    assert_eq!(signal.to_string(), stringify!($name));
                    compared += 1;
                )*
            };
        }
        compare! {
            SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM
            SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF
            SIGWINCH SIGIO SIGPWR SIGSYS
        }
        assert_eq!(compared, NAMES.len());
        let constants = [Signal::HUP, Signal::KILL, Signal::TERM, Signal::CONT];
        assert_eq!(
            constants.map(|signal| i32::from(signal.0)),
            [libc::SIGHUP, libc::SIGKILL, libc::SIGTERM, libc::SIGCONT]
        );
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for bad in ["", "0", "32", "33", "65", "256", "SIG", "sigint", "SIGNO", "SIGRTMIN+31", "SIGSIGINT"] {
            assert_eq!(bad.parse::<Signal>(), Err(NotASignal), "{bad:?}");
        }
    }
}
