//! `abide run`: a new session, and a window into it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};

use abide_terminal::client::WhenGone;
use abide_terminal::protocol::{Attach, Create, Mode, SessionRef, StartAt};
use abide_terminal::{ByteOffset, Record};
use abide_wire::Code;

use super::attach::{self, View};
use super::{Outcome, printed};
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::{Failure, OWN_FAILURE, printable};
use crate::format::{self, Format};
use crate::window::{Source, has_terminal, window_size};

pub(crate) fn run(global: &Global, run: args::Run) -> Outcome {
    let detach = run.detach;
    let mut context = Context::new(global, true).map_err(own)?;
    let create = request(global, run).map_err(own)?;
    let record = start(&mut context, create)?;
    if detach {
        let mut out = io::stdout().lock();
        return match global.output {
            Format::Table => printed(writeln!(out, "{}", record.name)),
            format => printed(format::value(&mut out, format, &record)),
        };
    }
    let interactive = has_terminal();
    let source = if interactive { Source::Keyboard(context.options.detach_key) } else { Source::Pipe };
    // The program's own bytes from the first one on: as if it had been started right here.
    let from = StartAt::Offset { offset: ByteOffset(0), epoch: None };
    let size = window_size();
    let attach = Attach {
        from,
        on_lag: attach::on_lag(),
        lag_bytes_max: Some(attach::LAG_BYTES_MAX),
        cols: size.cols,
        rows: size.rows,
        xpixel: size.xpixel,
        ypixel: size.ypixel,
        agent: attach::ssh_agent(),
        ..Attach::new(SessionRef::Id(record.id), Mode::Owner)
    };
    let when_gone = if interactive { WhenGone::Snapshot } else { WhenGone::Nearest };
    attach::view(global, &mut context, &record, View { attach, when_gone, source, may_take: true })
}

/// Creates the session. A program that could not be started has the status that a shell would give it.
pub(super) fn start(context: &mut Context, create: Create) -> Result<Record, Failure> {
    let subject = create.name.as_ref().map(ToString::to_string).or_else(|| create.command.clone());
    let created = context.call(create).map_err(|failure| {
        let failure = match subject {
            Some(subject) => failure.about(subject),
            None => failure,
        };
        let status = match failure.code() {
            Code::CommandNotFound | Code::ShellNotFound => 127,
            Code::ExecFormat | Code::PermissionDenied => 126,
            _ => OWN_FAILURE,
        };
        failure.with_status(status)
    })?;
    Ok(created.session)
}

/// A failure before there is a program is Abide's own.
fn own(failure: Failure) -> Failure {
    failure.with_status(OWN_FAILURE)
}

fn request(global: &Global, run: args::Run) -> Result<Create, Failure> {
    let size = window_size();
    let cwd = match run.cwd {
        Some(directory) => std::path::absolute(directory),
        None => std::env::current_dir(),
    };
    let mut env = environment(global.quiet, run.clear_env);
    env.extend(run.env);
    let mut create = Create {
        key: run.key,
        name: run.name,
        cwd: Some(cwd.map_err(|error| Failure::system("the working directory", &error))?),
        env,
        clear_env: true,
        login: run.no_login.then_some(false),
        restore: run.restore.map(Into::into),
        own: !run.detach,
        xpixel: size.xpixel,
        ypixel: size.ypixel,
        labels: run.label.into_iter().collect(),
        ..Create::new(size.cols, size.rows)
    };
    set_command(&mut create, run.command)?;
    Ok(create)
}

/// What this program was started with, but for the kind of its terminal: the session has its own. Messages are text, so
/// what is none is left out, and a line says so.
pub(super) fn environment(quiet: bool, clear: bool) -> BTreeMap<String, String> {
    if clear {
        return BTreeMap::new();
    }
    let mut left_out = Vec::new();
    let mut text = |(name, value): (OsString, OsString)| match (name.into_string(), value.into_string()) {
        (Ok(name), Ok(value)) => Some((name, value)),
        (name, _) => {
            left_out.push(name.unwrap_or_else(|name| name.to_string_lossy().into_owned()));
            None
        }
    };
    let inherited = std::env::vars_os().filter_map(&mut text).filter(|(name, _)| name != "TERM").collect();
    if !left_out.is_empty() && !quiet {
        let (count, names) = (left_out.len(), printable(&left_out.join(", ")));
        let _ = writeln!(io::stderr(), "abide: {count} variables are not UTF-8 and are not passed on: {names}");
    }
    inherited
}

pub(super) fn set_command(create: &mut Create, words: Vec<OsString>) -> Result<(), Failure> {
    let words: Result<Vec<String>, OsString> = words.into_iter().map(OsString::into_string).collect();
    let mut words = words.map_err(|_| Failure::usage("the command is not valid UTF-8"))?.into_iter();
    create.command = words.next();
    create.args = words.collect();
    Ok(())
}
