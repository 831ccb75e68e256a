//! What is made of the command line's own description: completions and manual pages.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;

use super::{Outcome, printed};
use crate::args::Cli;
use crate::failure::Failure;

pub(crate) fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "abide", &mut script);
    printed(io::stdout().write_all(&script))
}

/// Writes `abide.1`, `abide-run.1` and so on.
pub(crate) fn manual(dir: &Path) -> Outcome {
    let refused = |error: io::Error| Failure::system(&dir.display().to_string(), &error);
    fs::create_dir_all(dir).map_err(refused)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(refused)?;
    Ok(0)
}
