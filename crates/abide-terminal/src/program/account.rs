//! The user as the password database has it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::sys;

/// The shell of a user who has none, and where a user's own is missing after a loss.
pub(crate) const SHELL_FALLBACK: &str = "/bin/sh";

/// A user's name, home and login shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub name: OsString,
    /// The home directory.
    pub home: PathBuf,
    /// The login shell.
    pub shell: PathBuf,
}

impl Account {
    /// Looks a user up. Where the database does not know the user, as in many containers, the name is the number, the
    /// home `/` and the shell `/bin/sh`. May block on a directory service: to be called at a start, not for each session.
    ///
    /// # Errors
    /// The database could not be read. Try again.
    pub fn of_user(uid: u32) -> io::Result<Self> {
        let entry = sys::entry_of(uid)?.unwrap_or_else(|| sys::Entry {
            name: uid.to_string().into(),
            home: OsString::new(),
            shell: OsString::new(),
        });
        let or = |text: OsString, fallback: &str| PathBuf::from(if text.is_empty() { fallback.into() } else { text });
        Ok(Self { name: entry.name, home: or(entry.home, "/"), shell: or(entry.shell, SHELL_FALLBACK) })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_user_of_the_system_has_the_fields_of_its_entry() {
        let passwd = std::fs::read_to_string("/etc/passwd").expect("it is there");
        let mut users = 0;
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, _, _, home, shell] = fields[..] else { continue };
            let account = Account::of_user(uid.parse().expect("a number")).expect("it can be read");
            let shell = if shell.is_empty() { SHELL_FALLBACK } else { shell };
            // Two names may share a number: the first one stands for it then.
            if account.name == name {
                assert_eq!((account.home.as_path(), account.shell.as_path()), (Path::new(home), Path::new(shell)));
                users += 1;
            }
        }
        assert!(users >= 2, "root and nobody at least, but {users} were compared");
    }

    #[test]
    fn a_user_that_nobody_knows_has_the_least() {
        let account = Account::of_user(3_999_999_999).expect("it can be read");
        let expected = Account { name: "3999999999".into(), home: "/".into(), shell: SHELL_FALLBACK.into() };
        assert_eq!(account, expected);
    }
}
