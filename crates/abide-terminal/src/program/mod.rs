//! What a program is started with: its environment, its file, its directory, and the code of a start that fails.

mod account;
mod environment;
mod failure;
mod lookup;
mod terminfo;

pub use account::Account;
pub(crate) use account::SHELL_FALLBACK;
pub(crate) use environment::TERM_DEFAULT;
pub use environment::{Environment, EnvironmentError, Wish, assemble};
pub use failure::{Failure, Step};
pub use lookup::{Program, check_cwd, find};
pub use terminfo::has_terminfo;
