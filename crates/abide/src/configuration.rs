//! The configuration that is in force for a command, and for the daemon that it may start.

use std::io;
use std::path::PathBuf;

use abide_terminal::options::{self, Options};
use abide_terminal::program::Account;

use crate::args::Global;
use crate::failure::Failure;

/// The variable that names a file in place of the usual one. A daemon finds its own there, and so do its successors and
/// what it asks whether it could be one.
pub(crate) const VARIABLE: &str = "ABIDE_CONFIG";

/// The file that `--config` names, else the variable; `None`: the usual one, if it is there.
pub(crate) fn named_file(global: &Global) -> Result<Option<PathBuf>, Failure> {
    let variable = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = global.config.clone().or_else(variable).map(std::path::absolute);
    file.transpose().map_err(|error| Failure::system("the working directory", &error))
}

/// File, then environment.
pub(crate) fn load(global: &Global) -> Result<Options, Failure> {
    let named = named_file(global)?;
    let path = match &named {
        Some(path) => path.clone(),
        None => options::file_path(|name| std::env::var_os(name), &home()?),
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => None,
        Err(error) => return Err(Failure::usage(format!("{}: {error}", path.display()))),
    };
    let file = text.as_deref().map(|text| (path.as_path(), text));
    Options::load(file, std::env::vars_os(), []).map_err(|error| Failure::usage(error.to_string()))
}

/// The user's home, by the environment or else by the password database.
pub(crate) fn home() -> Result<PathBuf, Failure> {
    let named = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let of_account = || Account::of_user(rustix::process::getuid().as_raw()).map(|account| account.home);
    named.map_or_else(of_account, Ok).map_err(|error| Failure::system("the password database", &error))
}
