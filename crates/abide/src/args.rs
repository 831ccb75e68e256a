//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use abide_terminal::kill;
use abide_terminal::options::DetachKey;
use abide_terminal::protocol::{self, Key, Name, SessionRef, limits};
use abide_terminal::{ClientId, Restore, RestoreAs};
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
    /// Show again what a session printed, as it came
    #[command(after_help = "Example: abide replay build --speed 4 --idle-max 2s")]
    Replay(Replay),
    /// Write what a session printed for other programs
    #[command(after_help = "Example: abide export build --format asciicast-v2 --out build.cast")]
    Export(Export),
    /// End sessions and every process in them
    #[command(after_help = "Example: abide kill build --grace 10s")]
    Kill(Kill),
    /// Send a signal to a session's program
    #[command(after_help = "Example: abide signal build INT")]
    Signal(Signal),
    /// Change the size of a session's terminal
    #[command(after_help = "Example: abide resize build 100x30")]
    Resize(Resize),
    /// Take a session from its owner, and give it to nobody or to another client
    #[command(after_help = "Example: abide release build")]
    Release(Release),
    /// Remove ended sessions and what they printed
    #[command(after_help = "Example: abide rm --all-finalized")]
    Rm(Rm),
    /// Print the text of a session's screen
    #[command(after_help = "Example: abide screen build --scrollback 100")]
    Screen(Screen),
    /// Type into a session; prints the offset behind which its answer stands
    #[command(after_help = "Example: abide send build 'make test' --enter")]
    Send(Send),
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
    /// Look whether sessions can live here, and say what to do where they cannot
    #[command(after_help = "Example: abide doctor")]
    Doctor(Doctor),
    /// Make the daemon a service of the user's systemd
    #[command(after_help = "Example: abide service install")]
    Service(Service),
    /// Look at the journal of a daemon that does not run
    #[command(after_help = "Example: abide journal ls")]
    Journal(Journal),
    /// Show the configuration
    #[command(after_help = "Example: abide config show --origin")]
    Config(Config),
    /// Print a completion script for a shell
    #[command(after_help = "Example: abide completions bash > ~/.local/share/bash-completion/completions/abide")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(after_help = "Example: abide manual ~/.local/share/man/man1")]
    Manual {
        /// Where they go
        #[arg(value_name = "DIR")]
        dir: PathBuf,
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
    /// The program's bytes as they are; so without any flag
    #[arg(long, conflicts_with = "plain")]
    pub(crate) raw: bool,
    /// Lines of text, without control sequences
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    /// How many times as fast as it happened
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    pub(crate) speed: f64,
    /// No pause counts as longer, such as 2s; without it, they are as they were
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) idle_max: Option<Duration>,
    /// Begin at this offset, with the screen as it was there
    #[arg(long, value_name = "OFFSET")]
    pub(crate) from: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Its name or id
    pub(crate) name: Option<SessionRef>,
    /// What is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "asciicast-v2")]
    pub(crate) format: ExportFormat,
    /// Where to; without it, to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What a session's output is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// With times and sizes, for asciinema and the like
    #[value(name = "asciicast-v2")]
    AsciicastV2,
    /// The program's bytes as they are
    Raw,
    /// Lines of text, without control sequences
    Text,
}

#[derive(Debug, Args)]
pub(crate) struct Signal {
    /// Its name or id
    pub(crate) name: SessionRef,
    /// The signal, such as INT, SIGUSR1 or SIGRTMIN+1
    #[arg(value_name = "SIGNAL")]
    pub(crate) which: kill::Signal,
    /// Whom it goes to
    #[arg(long, value_enum, value_name = "TARGET", default_value = "foreground")]
    pub(crate) target: Target,
    /// Also if another client owns the session, who gets it back
    #[arg(long)]
    pub(crate) take: bool,
}

/// Whom a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// What runs in the foreground, as a key of the terminal would
    Foreground,
    /// The program itself
    Leader,
    /// The program's process group
    Session,
}

impl From<Target> for protocol::Target {
    fn from(target: Target) -> Self {
        match target {
            Target::Foreground => Self::Foreground,
            Target::Leader => Self::Leader,
            Target::Session => Self::Session,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Resize {
    /// Its name or id
    pub(crate) name: SessionRef,
    /// Columns and rows, such as 80x24
    #[arg(value_name = "SIZE", value_parser = size)]
    pub(crate) size: (u16, u16),
    /// Also if another client owns the session, who gets it back
    #[arg(long)]
    pub(crate) take: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Release {
    /// Its name or id
    pub(crate) name: SessionRef,
    /// The client that owns it from then on; it must be attached
    #[arg(long, value_name = "CLIENT")]
    pub(crate) to: Option<ClientId>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Remove stale sockets, and nothing else
    #[arg(long)]
    pub(crate) fix: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Service {
    #[command(subcommand)]
    pub(crate) command: ServiceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Write and enable the unit
    #[command(after_help = "Example: abide service install")]
    Install {
        /// Do not ask that the user's services go on after the last logout
        #[arg(long)]
        no_linger: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print what is in force, as a configuration file
    #[command(after_help = "Example: abide config show --origin")]
    Show {
        /// Also tell where each value comes from
        #[arg(long)]
        origin: bool,
    },
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
    pub(crate) signal: Option<kill::Signal>,
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
pub(crate) struct Send {
    /// Its name or id
    pub(crate) name: SessionRef,
    /// What is typed; - for what standard input brings
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
    /// Press Enter behind it
    #[arg(long)]
    pub(crate) enter: bool,
    /// Take the session from whoever owns it, and give it back
    #[arg(long)]
    pub(crate) take: bool,
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

/// `80x24`.
fn size(text: &str) -> Result<(u16, u16), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=limits::SIZE_MAX).contains(side));
    let sides = text.split_once('x').and_then(|(cols, rows)| Some((side(cols)?, side(rows)?)));
    sides.ok_or_else(|| format!("must be columns and rows of 1 to {}, such as 80x24", limits::SIZE_MAX))
}

/// `4`, `0.5`.
fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "must be a number above 0".to_owned())
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
    fn a_size_has_two_sides_and_a_speed_is_one() {
        assert_eq!(size("80x24"), Ok((80, 24)));
        for bad in ["", "80", "x", "80x", "0x24", "80x4097", "80x24x1", "-1x5"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(speed("0.5"), Ok(0.5));
        for bad in ["", "0", "-1", "NaN", "inf", "fast"] {
            assert!(speed(bad).is_err(), "{bad}");
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
