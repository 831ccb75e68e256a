//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use abide_terminal::kill::Signal;
use abide_terminal::options::DetachKey;
use abide_terminal::protocol::{Key, Name, SessionRef};
use abide_terminal::{Restore, RestoreAs};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::format::Format;

/// Keeps programs running: over a closed window, a lost connection, and its own upgrades and crashes.
#[derive(Debug, Parser)]
#[command(name = "abide", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration, in place of ~/.config/abide/abide.toml; so does the variable `ABIDE_CONFIG`
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How data is printed
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Print nothing but data and errors
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// How long to wait for an answer, such as 500ms, 30s or 2m
    #[arg(long, global = true, default_value = "30s", value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a program in a new session and attach to it
    #[command(after_help = "Example: abide run --name build -- cargo build")]
    Run(Run),
    /// Attach to a session; without a name to the one that was left last
    #[command(after_help = "Example: abide attach build")]
    Attach(Attach),
    /// List sessions
    #[command(after_help = "Example: abide ls -a -o json")]
    Ls(Ls),
    /// Print what a session printed
    #[command(after_help = "Example: abide logs build --tail 20 -f")]
    Logs(Logs),
    /// End sessions and every process in them
    #[command(after_help = "Example: abide kill build --grace 10s")]
    Kill(Kill),
    /// Remove ended sessions and what they printed
    #[command(after_help = "Example: abide rm --all-finalized")]
    Rm(Rm),
    /// Print the text of a session's screen
    #[command(after_help = "Example: abide screen build --scrollback 100")]
    Screen(Screen),
    /// Wait until a session has ended, is silent, or printed something; exit status 5 if that does not come
    #[command(after_help = "Example: abide wait build --match '^error' --timeout 10m")]
    Wait(Wait),
    /// Tell what happens to sessions, one JSON object a line
    #[command(after_help = "Example: abide events -f")]
    Events(Events),
    /// Give a session another name
    #[command(after_help = "Example: abide rename quiet-heron build")]
    Rename {
        /// Its name or id
        session: SessionRef,
        /// Its name from now on
        name: Name,
    },
    /// Tell all about a session, as JSON
    #[command(after_help = "Example: abide inspect build")]
    Inspect(Inspect),
    /// Tell what the last start found; with a name, start a program in the place of one that was lost
    #[command(after_help = "Example: abide recover build --as command")]
    Recover(Recover),
    /// Start the daemon; other commands do so by themselves
    #[command(after_help = "Example: abide up")]
    Up(Up),
    /// Replace the daemon; sessions go on
    #[command(after_help = "Example: abide restart --binary ./abide")]
    Restart(Restart),
    /// Stop the daemon; sessions go on
    #[command(after_help = "Example: abide stop")]
    Stop(Stop),
    /// Look at the journal of a daemon that does not run
    #[command(after_help = "Example: abide journal ls")]
    Journal(Journal),
    /// Print a completion script for a shell
    #[command(after_help = "Example: abide completions bash > ~/.local/share/bash-completion/completions/abide")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The session's name; without it, two words are drawn
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// Do not attach; print the name
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Where the program starts; without it, here
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Set a variable of its environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Pass on nothing of this environment but what --env names
    #[arg(long)]
    pub(crate) clear_env: bool,
    /// What follows if the program is lost with its holder or its machine; without it, as configured
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) restore: Option<Policy>,
    /// Give it a label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Return the session that was created with this key, if there is one
    #[arg(long)]
    pub(crate) key: Option<Key>,
    /// Do not make the shell a login shell
    #[arg(long)]
    pub(crate) no_login: bool,
    /// The program and its arguments; without it, the login shell
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    /// Only look: type nothing, take nothing
    #[arg(long, conflicts_with = "take")]
    pub(crate) observe: bool,
    /// Take it from whoever owns it
    #[arg(long)]
    pub(crate) take: bool,
    /// Start it if it is not there
    #[arg(short = 'c', long, requires = "name")]
    pub(crate) create: bool,
    /// The key that leaves, in place of the configured one
    #[arg(long, value_name = "KEY")]
    pub(crate) detach_key: Option<DetachKey>,
    /// The program to start with -c; without it, the login shell
    #[arg(last = true, value_name = "CMD", requires = "create")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Also those that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only those with this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Do not start a daemon
    #[arg(long)]
    pub(crate) no_start: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    /// Go on as it prints
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin at this offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "tail")]
    pub(crate) from: Option<u64>,
    /// Begin with the last lines
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Their names or ids
    pub(crate) names: Vec<SessionRef>,
    /// At once
    #[arg(long, conflicts_with = "grace")]
    pub(crate) force: bool,
    /// Time to end by themselves, at most 60s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// The first signal, in place of SIGHUP
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) signal: Option<Signal>,
    /// All with this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "names")]
    pub(crate) label: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Their names or ids
    pub(crate) names: Vec<SessionRef>,
    /// All that have ended
    #[arg(long, conflicts_with = "names")]
    pub(crate) all_finalized: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    /// Also the environment that is stored for a restore
    #[arg(long)]
    pub(crate) env: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Screen {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    /// Also so many of the lines above it
    #[arg(long, value_name = "LINES")]
    pub(crate) scrollback: Option<u64>,
    /// Print the text with size, cursor and offset, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    #[command(flatten)]
    pub(crate) condition: Condition,
    /// Match from this offset on; without it, what is printed from now on
    #[arg(long, value_name = "OFFSET", requires = "expression")]
    pub(crate) from: Option<u64>,
}

/// What is waited for.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Condition {
    /// Until it has ended
    #[arg(long)]
    pub(crate) exit: bool,
    /// Until it has printed nothing for this time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) idle: Option<Duration>,
    /// Until a line matches this expression
    #[arg(long = "match", value_name = "REGEX")]
    pub(crate) expression: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Go on as they happen
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin behind this event; without it with all that are kept, or with -f with those to come
    #[arg(long, value_name = "NUMBER")]
    pub(crate) from: Option<u64>,
    /// Only of these sessions
    pub(crate) sessions: Vec<SessionRef>,
}

#[derive(Debug, Args)]
pub(crate) struct Journal {
    /// The store; without it, the configured one
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: JournalCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// List logs
    #[command(after_help = "Example: abide journal ls -o json")]
    Ls,
    /// Tell all about a log, as JSON
    #[command(after_help = "Example: abide journal inspect terminal/registry")]
    Inspect {
        /// Its name
        log: String,
    },
    /// Print the records of a log, one JSON object a line
    #[command(after_help = "Example: abide journal read terminal/registry --from 100")]
    Read {
        /// Its name
        log: String,
        /// The first record
        #[arg(long, value_name = "LSN")]
        from: Option<u64>,
        /// Print the bytes of the stream instead
        #[arg(long)]
        bytes: bool,
    },
    /// Look for damage; exit status 1 if there is any
    #[command(after_help = "Example: abide journal verify --deep")]
    Verify {
        /// Read every record and checkpoint
        #[arg(long)]
        deep: bool,
    },
    /// Read every record and checkpoint, and note what is damaged
    #[command(after_help = "Example: abide journal scrub")]
    Scrub,
    /// Take a damage as a permanent gap, so that its log can be used again
    #[command(after_help = "Example: abide journal accept-loss documents 100-104")]
    AcceptLoss {
        /// The log
        log: String,
        /// First and last record, as `inspect` shows them
        #[arg(value_name = "A-B", value_parser = range)]
        range: (u64, u64),
    },
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    /// What is started; without it what the session's policy says, else a shell
    #[arg(long = "as", value_enum, value_name = "WHAT", requires = "name")]
    pub(crate) what: Option<What>,
}

/// What follows the loss of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// Nothing: the session ends
    Never,
    /// `abide recover` may start another program
    Offer,
    /// A login shell starts at once
    Shell,
    /// The same command starts again at once
    Command,
}

/// What is started in the place of a lost program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// A login shell
    Shell,
    /// The same command
    Command,
}

impl From<Policy> for Restore {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Never => Self::Never,
            Policy::Offer => Self::Offer,
            Policy::Shell => Self::Shell,
            Policy::Command => Self::Command,
        }
    }
}

impl From<What> for RestoreAs {
    fn from(what: What) -> Self {
        match what {
            What::Shell => Self::Shell,
            What::Command => Self::Command,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// The program of the new daemon; without it, the one that runs
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Kill every session first
    #[arg(long)]
    pub(crate) terminate: bool,
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

/// `100-104`.
fn range(text: &str) -> Result<(u64, u64), String> {
    let bounds = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    bounds.ok_or_else(|| "must be two record numbers, such as 100-104".to_owned())
}

/// `500ms`, `30s`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms)).filter(|_| unit_ms > 0);
    ms.map(Duration::from_millis).ok_or_else(|| "must be a number with ms, s, m or h".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_each_command_has_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let example = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                example.starts_with(&format!("Example: abide {}", sub.get_name())),
                "{}: {example}",
                sub.get_name()
            );
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for bad in ["", "5", "s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Serve in this process, until SIGTERM or SIGINT
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Check the configuration and print the formats that this version knows
    #[arg(long)]
    pub(crate) check: bool,
    /// Leave the session of the caller
    #[arg(long, hide = true)]
    pub(crate) own_session: bool,
    /// Descriptor of the lock, held by the daemon before
    #[arg(long, hide = true)]
    pub(crate) lock_fd: Option<i32>,
    /// Descriptor of the socket, opened by the daemon before
    #[arg(long, hide = true)]
    pub(crate) listen_fd: Option<i32>,
    /// Descriptor of the journal's lock, held by this daemon before its journal failed
    #[arg(long, hide = true)]
    pub(crate) journal_lock_fd: Option<i32>,
    /// When and why this daemon's journal failed, as JSON
    #[arg(long, hide = true)]
    pub(crate) journal_failed: Option<String>,
    /// Limits, umask and weight that programs get, as JSON
    #[arg(long, hide = true)]
    pub(crate) inherited: Option<String>,
    /// Why this daemon was not replaced, as JSON
    #[arg(long, hide = true)]
    pub(crate) upgrade_failed: Option<String>,
}
