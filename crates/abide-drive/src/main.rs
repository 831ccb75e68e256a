//! `drive FILE`: runs a script of steps at windows; `abide_drive`'s module `script` lists them.

use std::process::ExitCode;

use anyhow::Context;

fn main() -> ExitCode {
    match drive() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "this is where a command says what went wrong")]
            {
                eprintln!("drive: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn drive() -> anyhow::Result<()> {
    let file = std::env::args_os().nth(1).context("usage: drive FILE")?;
    let script = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    abide_drive::run(&script, &mut std::io::stdout())?;
    Ok(())
}
