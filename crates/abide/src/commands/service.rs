//! `abide service`: the daemon as a service of the user's systemd.

use std::fs;
use std::io::{self, Write as _};

use serde_json::json;

use super::{Outcome, printed};
use crate::args::{self, Global, ServiceCommand};
use crate::failure::Failure;
use crate::format::{self, Format};
use crate::service::{UNIT, ask, unit, unit_path};

pub(crate) fn service(global: &Global, args: &args::Service) -> Outcome {
    let ServiceCommand::Install { no_linger } = args.command;
    let path = unit_path()?;
    let refused = |error: io::Error| Failure::system(&path.display().to_string(), &error);
    let program = std::env::current_exe().map_err(|error| Failure::system("/proc/self/exe", &error))?;
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(refused)?;
    }
    fs::write(&path, unit(&program)).map_err(refused)?;
    let systemctl = |words: &[&str]| {
        let failed = |error: io::Error| Failure::system("the unit is written, but systemd does not take it", &error);
        ask("systemctl", &[&["--user"], words].concat()).map_err(failed)
    };
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", UNIT])?;
    let lingers = !no_linger && ask("loginctl", &["enable-linger"]).is_ok();
    if !lingers {
        let line =
            "abide: without linger the last logout ends the daemon and all sessions. Try: loginctl enable-linger";
        let _ = writeln!(io::stderr(), "{line}");
    }
    let mut out = io::stdout().lock();
    match global.output {
        Format::Table if global.quiet => Ok(0),
        Format::Table => {
            printed(writeln!(out, "installed {}\nabide stop; systemctl --user start abide", path.display()))
        }
        format => printed(format::value(&mut out, format, &json!({"unit": path, "linger": lingers}))),
    }
}
