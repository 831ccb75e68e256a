//! `abide attach`: a window into a session that runs.

use std::cmp::Reverse;
use std::io::{self, Write as _};
use std::path::PathBuf;

use abide_terminal::client::WhenGone;
use abide_terminal::protocol::{Attach, Create, List, Mode, OnLag, Release, SessionRef, Take, WindowSize, WireError};
use abide_terminal::{Exit, ExitKind, OwnerEpoch, Record, State, kill::Signal};
use abide_wire::Code;

use super::Outcome;
use super::run::{environment, set_command, start};
use crate::args::{self, Global};
use crate::context::Context;
use crate::failure::{Failure, OWN_FAILURE};
use crate::window::{self, Ending, Show, Source, has_terminal, window_size};

pub(crate) fn attach(global: &Global, args: args::Attach) -> Outcome {
    let mut context = Context::new(global, true).map_err(own)?;
    let mode = if args.observe || !has_terminal() { Mode::Observer } else { Mode::Owner };
    let detach_key = args.detach_key.unwrap_or(context.options.detach_key);
    let source = if has_terminal() { Source::Keyboard(detach_key) } else { Source::Nothing };
    let (take, observe) = (args.take, args.observe);
    let record = find(&mut context, args).map_err(own)?;
    refuse_itself(&record)?;
    let size = window_size();
    let attach = Attach {
        on_lag: on_lag(),
        lag_bytes_max: Some(LAG_BYTES_MAX),
        cols: size.cols,
        rows: size.rows,
        xpixel: size.xpixel,
        ypixel: size.ypixel,
        agent: ssh_agent(),
        ..Attach::new(SessionRef::Id(record.id), mode)
    };
    let when_gone = if has_terminal() { WhenGone::Snapshot } else { WhenGone::Nearest };
    if take {
        take_over(&mut context, &record, size).map_err(|error| own(Failure::new(error).about(&*record.name)))?;
    }
    view(global, &mut context, &record, View { attach, when_gone, source, may_take: !observe })
}

/// A terminal that falls behind by this much skips to the screen as it is: so that Ctrl-C shows its effect soon.
pub(super) const LAG_BYTES_MAX: u64 = 1 << 20;

/// What is no terminal gets every byte.
pub(super) fn on_lag() -> OnLag {
    if has_terminal() { OnLag::Resync } else { OnLag::Follow }
}

/// Failures of `run` and `attach` must not look like the program's own status.
fn own(failure: Failure) -> Failure {
    match failure.status() {
        // Which session, and whether there is a daemon, is settled before a program is shown.
        2 | 4 | 5 => failure,
        _ => failure.with_status(OWN_FAILURE),
    }
}

/// The session that is meant; started if it is asked for and not there.
fn find(context: &mut Context, args: args::Attach) -> Result<Record, Failure> {
    let Some(name) = args.name else { return left_last(context) };
    match context.inspect(&name) {
        Err(missing) if args.create && missing.status() == 5 => create(context, name, args.command),
        Ok(ended) if args.create && ended.state == State::Finalized => create(context, name, args.command),
        found => found,
    }
}

fn create(context: &mut Context, name: SessionRef, command: Vec<std::ffi::OsString>) -> Result<Record, Failure> {
    let SessionRef::Name(name) = name else { return Err(Failure::usage("an id cannot be given to a new session")) };
    let size = window_size();
    let cwd = std::env::current_dir().map_err(|error| Failure::system("the working directory", &error))?;
    let mut create = Create {
        name: Some(name.clone()),
        cwd: Some(cwd),
        env: environment(context.quiet, false),
        clear_env: true,
        ..Create::new(size.cols, size.rows)
    };
    set_command(&mut create, command)?;
    match start(context, create) {
        // Somebody else was quicker: it is there.
        Err(taken) if taken.code() == Code::NameTaken => context.inspect(&SessionRef::Name(name)),
        started => started,
    }
}

/// Without a name: the session that was left last, or the only one.
fn left_last(context: &mut Context) -> Result<Record, Failure> {
    let mut live = context.list(&List::default())?;
    live.retain(|record| record.state != State::Finalized);
    live.sort_by_key(|record| Reverse(record.detached_at));
    match live.into_iter().next() {
        Some(record) if record.detached_at.is_some() => Ok(record),
        _ => context.named_or_only(None),
    }
}

/// A session shown in itself would show itself showing itself.
fn refuse_itself(record: &Record) -> Result<(), Failure> {
    match std::env::var("ABIDE_SESSION") {
        Ok(id) if id == record.id.to_string() => {
            Err(Failure::usage("this is that session").about(&*record.name).with_status(OWN_FAILURE))
        }
        _ => Ok(()),
    }
}

/// Makes this client the owner, and tells the epoch that began.
fn take_over(context: &mut Context, record: &Record, size: WindowSize) -> Result<Option<OwnerEpoch>, WireError> {
    let WindowSize { cols, rows, .. } = size;
    let take = Take { session: SessionRef::Id(record.id), owner_epoch: None, cols, rows };
    match context.try_call(take) {
        Ok(taken) => Ok(Some(taken.owner_epoch)),
        // Nothing to own, but everything to see.
        Err(error) if error.code == Code::SessionExited => Ok(None),
        Err(error) => Err(error),
    }
}

/// The socket of the user's ssh agent: after a reconnect over ssh it is another one.
pub(super) fn ssh_agent() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("SSH_AUTH_SOCK")?);
    // Messages are text.
    (path.is_absolute() && path.to_str().is_some()).then_some(path)
}

/// What a window shows, and how.
pub(super) struct View {
    pub(super) attach: Attach,
    pub(super) when_gone: WhenGone,
    pub(super) source: Source,
    /// Whether Enter takes over.
    pub(super) may_take: bool,
}

/// Shows the session until it ends or the user leaves, and says how to come back.
pub(super) fn view(global: &Global, context: &mut Context, record: &Record, mut view: View) -> Outcome {
    loop {
        let ending = show(context, record, &view).map_err(own)?;
        match ending {
            Ending::Left { owned } => {
                left(global, context, record, owned);
                return Ok(0);
            }
            Ending::Exited(exit) => return Ok(status(&exit)),
            Ending::Failed(error) if error.code == Code::SessionOwned && view.attach.mode == Mode::Owner => {
                // An owner that is away is no reason to look on.
                let away = error.details.get("connected").and_then(serde_json::Value::as_bool) == Some(false);
                if !(away && take_over(context, record, window_size()).is_ok()) {
                    view.attach.mode = Mode::Observer;
                }
            }
            Ending::Failed(error) if error.code == Code::DaemonStopping => {
                return Err(Failure::new(error).about(&*record.name));
            }
            Ending::Failed(error) => return Err(Failure::new(error).about(&*record.name).with_status(OWN_FAILURE)),
            Ending::Finished(Code::Replaced) => return Ok(0),
            Ending::Finished(code) => {
                let error = WireError::new(code, "the session ended without a status");
                return Err(Failure::new(error).about(&*record.name).with_status(OWN_FAILURE));
            }
        }
    }
}

fn show(context: &mut Context, record: &Record, view: &View) -> Result<Ending, Failure> {
    let (identity, address) = (context.identity()?, context.address());
    let mut take = || take_over(context, record, window_size());
    let shown = window::show(Show {
        address,
        identity,
        attach: view.attach.clone(),
        when_gone: view.when_gone,
        source: view.source,
        name: &record.name,
        take: if view.may_take { Some(&mut take) } else { None },
    });
    shown.map_err(|error| Failure::system("the terminal", &error))
}

fn left(global: &Global, context: &mut Context, record: &Record, owned: bool) {
    if owned {
        // If it fails the grace does it, a little later.
        let _ = context.try_call(Release { session: SessionRef::Id(record.id), to: None, owner_epoch: None });
    }
    if !global.quiet {
        let name = &record.name;
        let _ = writeln!(io::stderr(), "\ndetached from {name} · abide attach {name}");
    }
}

/// The program's own status, as a shell would give it.
fn status(exit: &Exit) -> u8 {
    match &exit.kind {
        ExitKind::Code(code) => *code,
        ExitKind::Signal(name) => name.parse().map_or(1, |signal: Signal| 128 + signal.number()),
        ExitKind::SpawnFailed(code) => match code.parse() {
            Ok(Code::CommandNotFound | Code::ShellNotFound) => 127,
            Ok(Code::ExecFormat | Code::PermissionDenied) => 126,
            _ => OWN_FAILURE,
        },
        ExitKind::NeverStarted(_) | ExitKind::Lost(_) | ExitKind::Unreaped(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_programs() {
        let of = |kind| status(&Exit { kind, forced: false, survivors: Vec::new(), drain: None });
        assert_eq!(of(ExitKind::Code(3)), 3);
        assert_eq!(of(ExitKind::Signal("SIGKILL".to_owned())), 137);
        assert_eq!(of(ExitKind::Lost("HOLDER_LOST".to_owned())), 1);
        assert_eq!(of(ExitKind::SpawnFailed("COMMAND_NOT_FOUND".to_owned())), 127);
        assert_eq!(of(ExitKind::SpawnFailed("EXEC_FORMAT".to_owned())), 126);
        assert_eq!(of(ExitKind::SpawnFailed("SPAWN_FAILED".to_owned())), 125);
    }
}
