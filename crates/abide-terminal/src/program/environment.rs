//! The environment of a program: what is taken over, what is taken out, and what is always set.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Account;
use crate::ids::{Incarnation, SessionId};

/// Bytes of all variables together, each counted with its `=` and its end.
const ENVIRONMENT_BYTES_MAX: usize = 512 * 1024;
/// Bytes of one variable with its `=` and its end: the kernel takes no longer string.
const VARIABLE_BYTES_MAX: usize = 128 * 1024;

/// The terminal type of a session whose configuration and request name no other.
pub(crate) const TERM_DEFAULT: &str = "xterm-256color";
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";
const PATH_DEFAULT_ROOT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that speak of the terminal, the multiplexer or the service in which the daemon or the caller happens to run.
const REMOVED: [&str; 20] = [
    "TMUX",
    "TMUX_PANE",
    "STY",
    "WINDOW",
    "WINDOWID",
    "TERMCAP",
    "LINES",
    "COLUMNS",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "VTE_VERSION",
    "COLORFGBG",
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
];
const REMOVED_PREFIXES: [&str; 7] = ["KITTY_", "WEZTERM_", "ITERM_", "ALACRITTY_", "GHOSTTY_", "KONSOLE_", "ZELLIJ"];

/// What the environment of a program is made from.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The daemon's own environment as it was at its start.
    pub daemon: &'a BTreeMap<OsString, OsString>,
    /// The variables that the request gives.
    pub env: &'a BTreeMap<String, String>,
    /// Whether the request's variables are all, and the daemon's are left out.
    pub clear_env: bool,
    /// The session.
    pub session: SessionId,
    /// The session's name.
    pub name: &'a str,
    /// The program start that this is.
    pub incarnation: Incarnation,
    /// Where the program is started.
    pub cwd: &'a Path,
    /// The user.
    pub account: &'a Account,
    /// The configured terminal type.
    pub term: &'a str,
    /// The link that stands for the user's ssh agent in this session.
    pub agent_link: &'a Path,
}

/// The environment of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its variables.
    pub variables: BTreeMap<OsString, OsString>,
    /// The terminal type that was asked for and is unknown on this host; to be noted in the log.
    pub term_refused: Option<OsString>,
    /// The ssh agent's socket: where the session's link must point at first. Without one no link is needed.
    pub agent: Option<OsString>,
}

/// An environment that cannot be given to a program (`LIMIT_ENV`). The caller mends the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A name is empty or holds `=` or a NUL.
    #[error("env: a name is empty, or holds = or NUL")]
    Name,
    /// A value holds a NUL.
    #[error("env.{name}: the value holds a NUL")]
    Value {
        /// The variable.
        name: String,
    },
    /// A variable is longer than 128 KiB.
    #[error("env.{name}: longer than 128 KiB")]
    Long {
        /// The variable.
        name: String,
    },
    /// All variables together are longer than 512 KiB.
    #[error("env: {bytes} bytes in all, over 512 KiB")]
    Large {
        /// Their length.
        bytes: usize,
    },
}

/// Makes the environment of a program. `has_terminfo` tells whether this host knows a terminal type, given the
/// environment so far.
///
/// # Errors
/// The request's variables cannot be an environment, or are too many.
pub fn assemble(
    wish: &Wish<'_>,
    has_terminfo: impl FnOnce(&OsStr, &BTreeMap<OsString, OsString>) -> bool,
) -> Result<Environment, EnvironmentError> {
    let mut variables = base(wish);
    let agent = variables.get(OsStr::new("SSH_AUTH_SOCK")).cloned();
    if agent.is_some() {
        set(&mut variables, "SSH_AUTH_SOCK", wish.agent_link);
    }
    add_missing(&mut variables, wish);

    let wanted = wish.env.get("TERM").map_or(wish.term, String::as_str);
    let known = wanted == TERM_DEFAULT || has_terminfo(OsStr::new(wanted), &variables);
    set(&mut variables, "TERM", if known { wanted } else { TERM_DEFAULT });
    set(&mut variables, "COLORTERM", "truecolor");
    set(&mut variables, "ABIDE_SESSION", wish.session.to_string());
    set(&mut variables, "ABIDE_SESSION_NAME", wish.name);
    set(&mut variables, "ABIDE_INCARNATION", wish.incarnation.to_string());
    set(&mut variables, "PWD", wish.cwd);

    check(&variables)?;
    Ok(Environment { variables, term_refused: (!known).then(|| wanted.into()), agent })
}

/// The variables that are taken over.
fn base(wish: &Wish<'_>) -> BTreeMap<OsString, OsString> {
    let own = wish.daemon.iter().filter(|_| !wish.clear_env);
    let own = own.filter(|(name, _)| !name.as_bytes().starts_with(b"ABIDE_"));
    let given = wish.env.iter().map(|(name, value)| (name.into(), value.into()));
    let all = own.map(|(name, value)| (name.clone(), value.clone())).chain(given);
    all.filter(|(name, _)| !is_removed(name)).collect()
}

fn is_removed(name: &OsStr) -> bool {
    REMOVED.iter().any(|&removed| name == removed)
        || REMOVED_PREFIXES.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

/// What every program needs, where nothing that was taken over says it.
fn add_missing(variables: &mut BTreeMap<OsString, OsString>, wish: &Wish<'_>) {
    let is_root = wish.account.name == "root";
    let path = if is_root { PATH_DEFAULT_ROOT } else { PATH_DEFAULT };
    let missing: [(&str, &OsStr); 4] = [
        ("SHELL", wish.account.shell.as_os_str()),
        ("HOME", wish.account.home.as_os_str()),
        ("USER", &wish.account.name),
        ("PATH", OsStr::new(path)),
    ];
    for (name, value) in missing {
        variables.entry(name.into()).or_insert_with(|| value.to_owned());
    }
}

fn set(variables: &mut BTreeMap<OsString, OsString>, name: &str, value: impl AsRef<OsStr>) {
    variables.insert(name.into(), value.as_ref().to_owned());
}

fn check(variables: &BTreeMap<OsString, OsString>) -> Result<(), EnvironmentError> {
    let mut bytes = 0;
    for (name, value) in variables {
        let invalid = |byte: &u8| matches!(byte, 0 | b'=');
        if name.is_empty() || name.as_bytes().iter().any(invalid) {
            return Err(EnvironmentError::Name);
        }
        if value.as_bytes().contains(&0) {
            return Err(EnvironmentError::Value { name: name.to_string_lossy().into_owned() });
        }
        let length = name.len() + value.len() + 2;
        if length > VARIABLE_BYTES_MAX {
            return Err(EnvironmentError::Long { name: name.to_string_lossy().into_owned() });
        }
        bytes += length;
    }
    if bytes > ENVIRONMENT_BYTES_MAX { Err(EnvironmentError::Large { bytes }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        daemon: BTreeMap<OsString, OsString>,
        env: BTreeMap<String, String>,
        clear_env: bool,
        term: &'static str,
        account: Account,
    }

    impl World {
        fn new(daemon: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
            Self {
                daemon: daemon.iter().map(|(name, value)| (name.into(), value.into())).collect(),
                env: env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
                clear_env: false,
                term: TERM_DEFAULT,
                account: Account { name: "ada".into(), home: "/home/ada".into(), shell: "/bin/zsh".into() },
            }
        }

        fn make(&self) -> Result<Environment, EnvironmentError> {
            let wish = Wish {
                daemon: &self.daemon,
                env: &self.env,
                clear_env: self.clear_env,
                session: SessionId::from_parts(1, 2),
                name: "build",
                incarnation: Incarnation(3),
                cwd: Path::new("/src"),
                account: &self.account,
                term: self.term,
                agent_link: Path::new("/state/run/agents/1"),
            };
            assemble(&wish, |term, _| term == "foot")
        }

        fn variables(&self) -> BTreeMap<String, String> {
            let environment = self.make().expect("it is an environment");
            let text = |text: OsString| text.into_string().expect("UTF-8");
            environment.variables.into_iter().map(|(name, value)| (text(name), text(value))).collect()
        }
    }

    fn map<const N: usize>(variables: [(&str, &str); N]) -> BTreeMap<String, String> {
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_program_is_always_told_of_its_session_its_place_and_its_user() {
        let id = SessionId::from_parts(1, 2).to_string();
        let expected = map([
            ("ABIDE_INCARNATION", "3"),
            ("ABIDE_SESSION", &id),
            ("ABIDE_SESSION_NAME", "build"),
            ("COLORTERM", "truecolor"),
            ("HOME", "/home/ada"),
            ("PATH", PATH_DEFAULT),
            ("PWD", "/src"),
            ("SHELL", "/bin/zsh"),
            ("TERM", "xterm-256color"),
            ("USER", "ada"),
        ]);
        assert_eq!(World::new(&[], &[]).variables(), expected);
        let lies = [("ABIDE_SESSION", "x"), ("ABIDE_SESSION_NAME", "x"), ("ABIDE_INCARNATION", "x"), ("PWD", "/x")];
        assert_eq!(World::new(&lies, &lies).variables(), expected);
    }

    #[test]
    fn the_requests_variables_stand_over_the_daemons() {
        let daemon = [("A", "daemon"), ("B", "daemon"), ("HOME", "/h"), ("SHELL", "/s"), ("USER", "u"), ("PATH", "/p")];
        let mut world = World::new(&daemon, &[("B", "request"), ("C", "request")]);
        let got = world.variables();
        let value = |name: &str| got.get(name).map(String::as_str);
        assert_eq!((value("A"), value("B"), value("C")), (Some("daemon"), Some("request"), Some("request")));
        let own = (value("HOME"), value("SHELL"), value("USER"), value("PATH"));
        assert_eq!(own, (Some("/h"), Some("/s"), Some("u"), Some("/p")));

        world.clear_env = true;
        let got = world.variables();
        let value = |name: &str| got.get(name).map(String::as_str);
        assert_eq!((value("A"), value("B"), value("HOME")), (None, Some("request"), Some("/home/ada")));
    }

    #[test]
    fn what_speaks_of_another_terminal_or_service_is_taken_out() {
        let prefixed = ["KITTY_PID", "WEZTERM_PANE", "ITERM_PROFILE", "ALACRITTY_LOG", "GHOSTTY_BIN_DIR", "KONSOLE_X"];
        let gone: Vec<(&str, &str)> =
            REMOVED.into_iter().chain(prefixed).chain(["ZELLIJ", "ZELLIJ_PANE_ID"]).map(|name| (name, "1")).collect();
        let none = World::new(&[], &[]).variables();
        assert_eq!(World::new(&gone, &[]).variables(), none);
        assert_eq!(World::new(&[], &gone).variables(), none, "a request may carry a whole environment");

        let similar = [("TMUXINATOR", "1"), ("KITTYX", "1"), ("MY_WINDOW", "1")];
        assert_eq!(World::new(&similar, &[]).variables().len(), none.len() + similar.len());
    }

    #[test]
    fn settings_of_abide_are_the_daemons_unless_the_request_gives_them() {
        let settings = [("ABIDE_TERMINAL_TERM", "foot")];
        assert!(!World::new(&settings, &[]).variables().contains_key("ABIDE_TERMINAL_TERM"));
        assert!(World::new(&[], &settings).variables().contains_key("ABIDE_TERMINAL_TERM"));
    }

    #[test]
    fn the_terminal_type_is_one_that_this_host_knows() {
        let term = |term, daemon: &[(&str, &str)], env: &[(&str, &str)]| {
            let world = World { term, ..World::new(daemon, env) };
            let environment = world.make().expect("it is an environment");
            (environment.variables[OsStr::new("TERM")].clone(), environment.term_refused)
        };
        assert_eq!(term(TERM_DEFAULT, &[("TERM", "foot")], &[]), (TERM_DEFAULT.into(), None), "not the daemon's");
        assert_eq!(term("foot", &[], &[]), ("foot".into(), None));
        assert_eq!(term(TERM_DEFAULT, &[], &[("TERM", "foot")]), ("foot".into(), None));
        assert_eq!(term("foot", &[], &[("TERM", "wyse")]), (TERM_DEFAULT.into(), Some("wyse".into())));
    }

    #[test]
    fn an_ssh_agent_is_reached_through_the_sessions_link() {
        let given = World::new(&[("SSH_AUTH_SOCK", "/daemons")], &[("SSH_AUTH_SOCK", "/callers")]);
        let environment = given.make().expect("it is an environment");
        assert_eq!(environment.variables[OsStr::new("SSH_AUTH_SOCK")], "/state/run/agents/1");
        assert_eq!(environment.agent, Some("/callers".into()));
        let without = World::new(&[], &[]).make().expect("it is an environment");
        assert_eq!((without.agent, without.variables.get(OsStr::new("SSH_AUTH_SOCK"))), (None, None));
    }

    #[test]
    fn what_cannot_be_an_environment_is_refused() {
        for name in ["", "A=B", "A\0"] {
            assert_eq!(World::new(&[], &[(name, "x")]).make(), Err(EnvironmentError::Name), "{name:?}");
        }
        let value = World::new(&[], &[("A", "x\0")]).make();
        assert_eq!(value, Err(EnvironmentError::Value { name: "A".to_owned() }));
    }

    #[test]
    fn an_environment_has_the_size_that_the_kernel_takes() {
        let longest = "x".repeat(VARIABLE_BYTES_MAX - 3);
        assert!(World::new(&[], &[("A", &longest)]).make().is_ok());
        let longer = World::new(&[], &[("A", &format!("{longest}x"))]).make();
        assert_eq!(longer, Err(EnvironmentError::Long { name: "A".to_owned() }));

        let rest = World::new(&[], &[]).variables();
        let used: usize = rest.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let quarter = "x".repeat(ENVIRONMENT_BYTES_MAX / 4 - 3);
        let last = "x".repeat(ENVIRONMENT_BYTES_MAX / 4 - 3 - used);
        let full = [("A", &*quarter), ("B", &*quarter), ("C", &*quarter), ("D", &*last)];
        assert!(World::new(&[], &full).make().is_ok());
        let over = World::new(&[("E", "")], &full).make();
        assert_eq!(over, Err(EnvironmentError::Large { bytes: ENVIRONMENT_BYTES_MAX + 3 }));
    }
}
