//! `abide`: the command line, and the wiring of the daemon. No logic of its own.

mod args;
mod commands;
mod configuration;
mod context;
mod doctor;
mod failure;
mod format;
mod recording;
mod service;
mod window;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use failure::Failure;
use format::Format;

fn main() -> ExitCode {
    // Started by the daemon, for as long as a program lives: it does not carry what a command line needs.
    if std::env::args_os().skip(1).eq(["hold"]) {
        return abide_holder::hold_from_fd_3();
    }
    let Cli { global, command } = Cli::parse();
    let outcome = match command {
        None => commands::overview(&global),
        Some(Command::Run(run)) => commands::run(&global, run),
        Some(Command::Attach(attach)) => commands::attach(&global, attach),
        Some(Command::Ls(ls)) => commands::ls(&global, &ls),
        Some(Command::Logs(logs)) => commands::logs(&global, &logs),
        Some(Command::Replay(replay)) => commands::replay(&global, &replay),
        Some(Command::Export(export)) => commands::export(&global, &export),
        Some(Command::Kill(kill)) => commands::kill(&global, &kill),
        Some(Command::Signal(signal)) => commands::signal(&global, &signal),
        Some(Command::Resize(resize)) => commands::resize(&global, &resize),
        Some(Command::Release(release)) => commands::release(&global, release),
        Some(Command::Rm(rm)) => commands::rm(&global, &rm),
        Some(Command::Inspect(inspect)) => commands::inspect(&global, &inspect),
        Some(Command::Screen(screen)) => commands::screen(&global, &screen),
        Some(Command::Send(send)) => commands::send(&global, &send),
        Some(Command::Wait(wait)) => commands::wait(&global, wait),
        Some(Command::Events(events)) => commands::events(&global, &events),
        Some(Command::Rename { session, name }) => commands::rename(&global, session, name),
        Some(Command::Recover(recover)) => commands::recover(&global, recover),
        Some(Command::Journal(args)) => commands::journal(&global, &args),
        Some(Command::Up(up)) => commands::up(&global, &up),
        Some(Command::Restart(restart)) => commands::restart(&global, restart),
        Some(Command::Stop(stop)) => commands::stop(&global, &stop),
        Some(Command::Doctor(doctor)) => commands::doctor(&global, &doctor),
        Some(Command::Service(service)) => commands::service(&global, &service),
        Some(Command::Config(config)) => commands::config(&global, &config),
        Some(Command::Completions { shell }) => commands::completions(shell),
        Some(Command::Manual { dir }) => commands::manual(&dir),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(failure) => report(&failure, global.output),
    }
}

/// Tells a failure on standard error, and its exit status.
fn report(failure: &Failure, format: Format) -> ExitCode {
    let line = match format {
        Format::Table => failure.line(),
        Format::Json | Format::Jsonl => failure.object(),
    };
    // With standard error gone there is nobody to tell; the status still says it.
    let _ = writeln!(std::io::stderr(), "{line}");
    ExitCode::from(failure.status())
}
