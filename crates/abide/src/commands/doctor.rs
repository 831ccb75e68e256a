//! `abide doctor`: whether sessions can live here, and what to do where they cannot.

use std::io;
use std::path::Path;

use abide_terminal::options::Options;
use abide_terminal::program::Account;
use rustix::process::{Resource, getrlimit};

use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::configuration;
use crate::context::state_dir;
use crate::doctor::{self, Finding, Level};
use crate::format;
use crate::service;

/// Exit status when something does not work.
const BROKEN: u8 = 1;

pub(crate) fn doctor(global: &Global, args: &args::Doctor) -> Outcome {
    let mut findings = Vec::new();
    let options = configured(global, &mut findings);
    let (state, uid) = (state_dir()?, rustix::process::getuid().as_raw());
    let run = state.join(&options.terminal.socket_dir);
    findings.extend(doctor::directories(&state, &run, uid));
    findings.push(doctor::daemon(&run));
    findings.extend(doctor::holders(&run, uid, args.fix));
    let journal = options.journal.dir.clone().unwrap_or_else(|| state.join("journal"));
    findings.extend(disk(&journal, options.journal.disk_reserve_bytes));
    findings.push(doctor::descriptors(getrlimit(Resource::Nofile).maximum));
    findings.extend(doctor::terminals(Path::new("/proc")));
    let root = Path::new("/");
    let user = Account::of_user(uid).map(|account| account.name.to_string_lossy().into_owned()).unwrap_or_default();
    findings.push(doctor::linger(root, &user, service::unit_path()?.exists()));
    findings.push(doctor::kill_user_processes(root));
    findings.push(doctor::cgroup(root));
    let status = if findings.iter().any(|finding| finding.level == Level::Error) { BROKEN } else { 0 };
    printed(format::findings(&mut io::stdout().lock(), global.output, &findings)).map(|_| status)
}

/// The configuration; where it is refused, the usual one for the other checks.
fn configured(global: &Global, findings: &mut Vec<Finding>) -> Options {
    match configuration::load(global) {
        Ok(options) => {
            findings.push(Finding::ok("configuration", "every key is known"));
            options
        }
        Err(failure) => {
            findings.push(Finding::error("configuration", failure.message()));
            Options::default()
        }
    }
}

/// Room where the journal is, or will be.
fn disk(journal: &Path, reserve: u64) -> Option<Finding> {
    let there = journal.ancestors().find(|path| path.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some(doctor::disk(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, reserve))
}
