//! A window with a program in it, for tests, examples and recordings.
//!
//! A [`Terminal`] opens a pseudo-terminal, starts a program on it and behaves as the terminal of a person would: it
//! keeps a screen, answers queries, sends keys in the form that the program asked for, changes its size, and hangs up.
//! Waiting is for text on the screen, with a deadline, never for time to pass.
//!
//! What it is not: part of the product. Nothing that is delivered depends on this crate.
//!
//! ```
//! use std::time::Duration;
//! use abide_drive::{Options, Terminal};
//!
//! let mut terminal = Terminal::spawn(&["sh", "-c", "echo hello; read line; echo \"got $line\""], &Options::default())?;
//! terminal.wait_for("hello", Duration::from_secs(10))?;
//! terminal.type_text("you\r")?;
//! terminal.wait_for("got you", Duration::from_secs(10))?;
//! assert!(terminal.wait_end(Duration::from_secs(10))?.success());
//! # Ok::<(), abide_drive::Error>(())
//! ```

mod key;
mod recording;
mod script;
mod sys;
mod terminal;

pub use key::{Key, UnknownKey};
pub use script::{Broken, run};
pub use terminal::{Error, Options, Terminal};
