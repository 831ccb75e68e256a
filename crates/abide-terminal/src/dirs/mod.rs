//! The state directory and what lies in it, opened once and never followed anywhere else.
//!
//! ```text
//!  $XDG_STATE_HOME/abide          everything that must last
//!  ├─ run/                        sockets and the lock; `socket_dir` moves it
//!  │  ├─ terminal.sock
//!  │  ├─ daemon.lock
//!  │  ├─ agents/<session>         links to ssh agents
//!  │  └─ holders/<session>.sock
//!  ├─ holders/<session>.<incarnation>.exit
//!  └─ journal/                    the journal's own business
//!
//!  $XDG_RUNTIME_DIR/abide/terminal.sock ──► run/terminal.sock
//! ```
//!
//! Nothing that is needed lies in the runtime directory: it is removed at a user's last logout, when programs live on.

mod dir;
mod socket;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use abide_wire::Code;

pub use dir::Dir;
pub use socket::link_in_runtime_dir;

/// Name of the socket of protocol v1 in [`Layout::run`].
pub const SOCKET: &str = "terminal.sock";

/// The directories of a daemon, each checked and open.
#[derive(Debug)]
pub struct Layout {
    /// The state directory.
    pub state: Dir,
    /// Sockets and the lock.
    pub run: Dir,
    /// Sockets of holders.
    pub holder_sockets: Dir,
    /// Links to ssh agents.
    pub agents: Dir,
    /// Exit records of holders.
    pub exits: Dir,
}

impl Layout {
    /// Opens the directories below `state`, and makes those that are missing. `socket_dir` is where sockets and the lock
    /// lie, seen from the state directory.
    ///
    /// # Errors
    /// One of them is not this user's alone, or cannot be made. A person must mend that.
    pub fn create(state: &Path, socket_dir: &Path, uid: u32) -> Result<Self, Error> {
        let state = Dir::create(state, uid)?;
        let run = Dir::create(&state.path().join(socket_dir), uid)?;
        Ok(Self {
            holder_sockets: run.subdir("holders")?,
            agents: run.subdir("agents")?,
            exits: state.subdir("holders")?,
            run,
            state,
        })
    }
}

/// Finds the state directory: `$XDG_STATE_HOME/abide`, else `~/.local/state/abide`. A variable that is empty or not
/// absolute counts as missing; without `$HOME` the home of the password database is taken.
pub fn state_path(variable: impl Fn(&str) -> Option<OsString>, home: &Path) -> PathBuf {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME");
    base.unwrap_or_else(|| absolute("HOME").unwrap_or_else(|| home.to_owned()).join(".local/state")).join("abide")
}

/// A directory or a file in it that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not this user's alone. A person must mend that; the command does it where there is one.
    #[error("{} {reason}. Try: {mend}", path.display())]
    Forbidden {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// A command that mends it.
        mend: String,
    },
    /// The system refused a call.
    #[error("{}: {source}", path.display())]
    Io {
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// The code in answers, where there is one: `UID_FORBIDDEN`.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Forbidden { .. } => Some(Code::UidForbidden),
            Self::Io { .. } => None,
        }
    }

    fn io(path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Io { path: path.to_owned(), source: errno.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;

    #[test]
    fn the_state_directory_is_where_the_environment_says() {
        let at = |state: Option<&str>, home: Option<&str>| {
            let variable = |name: &str| match name {
                "XDG_STATE_HOME" => state.map(OsString::from),
                "HOME" => home.map(OsString::from),
                _ => panic!("{name} is not asked for"),
            };
            state_path(variable, Path::new("/passwd"))
        };
        assert_eq!(at(Some("/s"), Some("/h")), Path::new("/s/abide"));
        assert_eq!(at(None, Some("/h")), Path::new("/h/.local/state/abide"));
        assert_eq!(at(Some(""), Some("/h")), Path::new("/h/.local/state/abide"));
        assert_eq!(at(Some("relative"), Some("relative")), Path::new("/passwd/.local/state/abide"));
        assert_eq!(at(None, None), Path::new("/passwd/.local/state/abide"));
    }

    #[test]
    fn the_directories_of_a_daemon_are_made_once_and_found_again() {
        let dir = TestDir::new();
        let uid = rustix::process::getuid().as_raw();
        let state = dir.path().join("deep/state/abide");
        for socket_dir in ["run".into(), dir.path().join("sockets")] {
            for _ in 0..2 {
                let layout = Layout::create(&state, &socket_dir, uid).expect("it is made");
                let run = if socket_dir.is_absolute() { socket_dir.clone() } else { state.join("run") };
                assert_eq!(layout.run.path(), run);
                assert_eq!(layout.exits.path(), state.join("holders"));
                assert!(run.join("holders").is_dir() && run.join("agents").is_dir());
            }
        }
    }
}
