//! Commands about the daemon itself.

use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use abide_terminal::client::connect;
use abide_terminal::protocol::{
    GetRecoveryReport, RecoveryReport, RestartWith, Shutdown, ShutdownMode, UpgradeFailure, WireError,
};
use abide_wire::Code;

use super::Outcome;
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::Failure;

/// Between two looks whether a daemon is gone, or another one is there.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) fn stop(global: &Global, stop: &args::Stop) -> Outcome {
    let mut context = Context::new(global, false)?;
    let mode = if stop.terminate { ShutdownMode::Terminate } else { ShutdownMode::Keep };
    match context.call(Shutdown { mode, restart: None }) {
        Ok(_) => {}
        // The connection may go before the answer comes: whether it stopped is what is looked at next.
        Err(unknown) if unknown.code() == Code::OutcomeUnknown => {}
        Err(none) if none.code() == Code::DaemonUnreachable => {
            note(global, "no daemon is running");
            return Ok(0);
        }
        Err(failure) => return Err(failure),
    }
    let deadline = Instant::now() + global.timeout;
    while connect(&context.socket).is_ok() {
        if Instant::now() >= deadline {
            return Err(Failure::timed_out());
        }
        thread::sleep(LOOK_AGAIN);
    }
    note(global, if stop.terminate { "stopped" } else { "stopped; the sessions live on" });
    Ok(0)
}

pub(crate) fn restart(global: &Global, restart: args::Restart) -> Outcome {
    let mut context = Context::new(global, false)?;
    let before = context.call(GetRecoveryReport {})?.daemon_epoch;
    let binary = restart.binary.map(std::path::absolute).transpose();
    let binary = binary.map_err(|error| Failure::system("the working directory", &error))?;
    match context.call(Shutdown { mode: ShutdownMode::Keep, restart: Some(RestartWith { binary }) }) {
        Ok(_) => {}
        Err(unknown) if unknown.code() == Code::OutcomeUnknown => {}
        Err(failure) => return Err(failure),
    }
    let deadline = Instant::now() + global.timeout;
    loop {
        match context.call(GetRecoveryReport {}) {
            Ok(report) if report.daemon_epoch > before => return told(global, report),
            Ok(_) => {}
            // Between two daemons of a service nobody listens.
            Err(none) if none.code() == Code::DaemonUnreachable => context = Context::new(global, false)?,
            Err(failure) => return Err(failure),
        }
        if Instant::now() >= deadline {
            return Err(Failure::timed_out());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn told(global: &Global, report: RecoveryReport) -> Outcome {
    match report.upgrade {
        None => {
            note(global, &format!("restarted; {} sessions go on", report.sessions.len()));
            Ok(0)
        }
        Some(UpgradeFailure { phase, reason }) => {
            let error = WireError::new(Code::UpgradeFailed, format!("the new daemon failed at {phase}: {reason}"));
            Err(Failure::new(error.with("phase", phase).with("reason", reason)))
        }
    }
}

fn note(global: &Global, line: &str) {
    if !global.quiet {
        let _ = writeln!(io::stderr(), "{line}");
    }
}
