//! Keys, and what a terminal sends for them.

use std::str::FromStr;

/// A key that is no character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Tab.
    Tab,
    /// Backspace.
    Backspace,
    /// An arrow, home or end: the final byte of its sequence.
    Cursor(u8),
    /// Page up, page down, insert, delete: the number in its sequence.
    Edit(u8),
    /// F1 to F12.
    Function(u8),
    /// A character with the control key.
    Control(u8),
    /// A character with the alt key.
    Alt(char),
}

/// No key has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key is called {0:?}")]
pub struct UnknownKey(pub String);

impl Key {
    /// What a terminal sends; `application`: in application cursor mode (DECCKM).
    pub fn bytes(self, application: bool) -> Vec<u8> {
        match self {
            Self::Enter => b"\r".to_vec(),
            Self::Escape => b"\x1b".to_vec(),
            Self::Tab => b"\t".to_vec(),
            Self::Backspace => b"\x7f".to_vec(),
            Self::Cursor(last) => vec![0x1b, if application { b'O' } else { b'[' }, last],
            Self::Edit(number) => format!("\x1b[{number}~").into_bytes(),
            Self::Function(number @ 1..=4) => vec![0x1b, b'O', b'P' + number - 1],
            Self::Function(number) => {
                let code = match number {
                    5 => 15,
                    6..=10 => number + 11,
                    _ => number + 12,
                };
                format!("\x1b[{code}~").into_bytes()
            }
            Self::Control(c) => vec![c & 0x1f],
            Self::Alt(c) => format!("\x1b{c}").into_bytes(),
        }
    }
}

impl FromStr for Key {
    type Err = UnknownKey;

    /// `enter`, `up`, `f5`, `ctrl-c`, `alt-x` and the like.
    fn from_str(name: &str) -> Result<Self, UnknownKey> {
        let unknown = || UnknownKey(name.to_owned());
        Ok(match name {
            "enter" => Self::Enter,
            "escape" => Self::Escape,
            "tab" => Self::Tab,
            "backspace" => Self::Backspace,
            "up" => Self::Cursor(b'A'),
            "down" => Self::Cursor(b'B'),
            "right" => Self::Cursor(b'C'),
            "left" => Self::Cursor(b'D'),
            "home" => Self::Cursor(b'H'),
            "end" => Self::Cursor(b'F'),
            "insert" => Self::Edit(2),
            "delete" => Self::Edit(3),
            "pageup" => Self::Edit(5),
            "pagedown" => Self::Edit(6),
            _ => {
                if let Some(c) = name.strip_prefix("ctrl-") {
                    let &[c @ b'?'..=b'z'] = c.as_bytes() else { return Err(unknown()) };
                    Self::Control(c)
                } else if let Some(c) = name.strip_prefix("alt-") {
                    let mut all = c.chars();
                    let (Some(c), None) = (all.next(), all.next()) else { return Err(unknown()) };
                    Self::Alt(c)
                } else {
                    let number = name.strip_prefix('f').and_then(|number| number.parse().ok());
                    Self::Function(number.filter(|number| (1..=12).contains(number)).ok_or_else(unknown)?)
                }
            }
        })
    }
}
