//! Finding a program and its directory before anything is started, so that a wrong name leaves no session behind.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FileType, access, stat};
use rustix::io::Errno;

use super::{Failure, Step};

/// A program that can be started, as far as this can be known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its file, as a path that does not depend on any PATH.
    pub path: PathBuf,
    /// Its arguments, from the name that it is started under on.
    pub argv: Vec<OsString>,
}

/// Finds what is to be run: `command` in `path` (the PATH of the new environment), or the login shell if there is no
/// command. No shell stands in between. A login program (the default without a command) is started under its name with
/// a `-` before it, as `login` does.
///
/// # Errors
/// There is no such file, or it may not be executed.
pub fn find(
    command: Option<&str>,
    args: &[String],
    login: Option<bool>,
    shell: &Path,
    path: &OsStr,
    cwd: &Path,
) -> Result<Program, Failure> {
    let name = command.map_or(shell.as_os_str(), OsStr::new);
    let found = look_up(name, path, cwd);
    let file = found.map_err(|errno| failure(Step::Exec, errno, command.is_none()))?;
    let own_name = if login.unwrap_or(command.is_none()) { login_name(name) } else { name.to_owned() };
    let own_name = std::iter::once(own_name);
    Ok(Program { path: file, argv: own_name.chain(args.iter().map(OsString::from)).collect() })
}

/// Checks that a program can be started in this directory. `cwd` is absolute.
///
/// # Errors
/// It is missing, is no directory, or may not be entered.
pub fn check_cwd(cwd: &Path) -> Result<(), Failure> {
    let checked = stat(cwd).and_then(|found| match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => access(cwd, Access::EXEC_OK),
        _ => Err(Errno::NOTDIR),
    });
    checked.map_err(|errno| failure(Step::Chdir, errno, false))
}

fn failure(step: Step, errno: Errno, login_shell: bool) -> Failure {
    Failure { step, errno: errno.raw_os_error(), login_shell }
}

fn login_name(name: &OsStr) -> OsString {
    let base = Path::new(name).file_name().unwrap_or(name);
    OsString::from_vec([b"-", base.as_bytes()].concat())
}

/// Looks a name up as `execvp` does: one with a slash is a path, seen from the program's directory; another is looked
/// for in each folder of PATH, where a file that may not be executed is passed by but not forgotten.
fn look_up(name: &OsStr, path: &OsStr, cwd: &Path) -> Result<PathBuf, Errno> {
    if name.is_empty() {
        return Err(Errno::NOENT);
    }
    if name.as_bytes().contains(&b'/') {
        let file = cwd.join(name);
        return executable(&file).map(|()| file);
    }
    let mut refused = Errno::NOENT;
    for folder in std::env::split_paths(path) {
        // An empty or relative folder is seen from the program's directory.
        let file = cwd.join(folder).join(name);
        match executable(&file) {
            Ok(()) => return Ok(file),
            Err(Errno::ACCESS) => refused = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(refused)
}

fn executable(file: &Path) -> Result<(), Errno> {
    let found = stat(file)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => access(file, Access::EXEC_OK),
        _ => Err(Errno::ACCESS),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use abide_wire::Code;

    use super::*;
    use crate::test_dir::{TestDir, as_plain_user};

    fn file(dir: &TestDir, name: &str, mode: u32) -> PathBuf {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("it is made");
        fs::write(&file, b"").expect("it is written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its mode is set");
        file
    }

    fn path_of(folders: &[PathBuf]) -> OsString {
        std::env::join_paths(folders).expect("no colon in them")
    }

    fn run(command: &str, path: &OsStr, cwd: &Path) -> Result<PathBuf, Code> {
        let found = find(Some(command), &[], None, Path::new("/none"), path, cwd);
        found.map(|program| program.path).map_err(|failure| failure.code())
    }

    #[test]
    fn a_command_is_the_first_in_the_new_path_that_may_be_executed() {
        let dir = TestDir::new();
        file(&dir, "a/tool", 0o644);
        let second = file(&dir, "b/tool", 0o755);
        file(&dir, "c/tool", 0o755);
        fs::create_dir_all(dir.path().join("d/tool")).expect("it is made");
        let at = |names: &[&str]| path_of(&names.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>());

        assert_eq!(run("tool", &at(&["none", "d", "a", "b", "c"]), dir.path()), Ok(second.clone()));
        assert_eq!(run("tool", &at(&["a", "none"]), dir.path()), Err(Code::PermissionDenied));
        assert_eq!(run("tool", &at(&["none"]), dir.path()), Err(Code::CommandNotFound));
        assert_eq!(run("", &at(&["b"]), dir.path()), Err(Code::CommandNotFound));
        assert_eq!(run("tool", OsStr::new("b"), dir.path()), Ok(second.clone()), "a relative folder");
        let here = dir.path().join("b");
        assert_eq!(run("tool", OsStr::new("/none:"), &here), Ok(second), "an empty folder");
    }

    #[test]
    fn a_command_with_a_slash_is_a_path_seen_from_the_programs_directory() {
        let dir = TestDir::new();
        let tool = file(&dir, "a/tool", 0o755);
        file(&dir, "a/text", 0o644);
        let none = OsStr::new("/none");
        assert_eq!(run("a/tool", none, dir.path()), Ok(tool.clone()));
        assert_eq!(run(tool.to_str().expect("UTF-8"), none, Path::new("/")), Ok(tool));
        assert_eq!(run("a/text", none, dir.path()), Err(Code::PermissionDenied));
        assert_eq!(run("./a", none, dir.path()), Err(Code::PermissionDenied), "a directory");
        assert_eq!(run("a/none", none, dir.path()), Err(Code::CommandNotFound));
        assert_eq!(run("a/tool/x", none, dir.path()), Err(Code::CommandNotFound));
    }

    #[test]
    fn without_a_command_the_login_shell_runs_as_such() {
        let dir = TestDir::new();
        let shell = file(&dir, "zsh", 0o755);
        let program = |command, login| {
            let args = ["-x".to_owned()];
            let found = find(command, &args, login, &shell, OsStr::new("/none"), dir.path());
            found.map(|program| program.argv).map_err(|failure| failure.code())
        };
        assert_eq!(program(None, None), Ok(vec!["-zsh".into(), "-x".into()]));
        assert_eq!(program(None, Some(false)), Ok(vec![shell.clone().into(), "-x".into()]));
        assert_eq!(program(Some("./zsh"), None), Ok(vec!["./zsh".into(), "-x".into()]));
        assert_eq!(program(Some("./zsh"), Some(true)), Ok(vec!["-zsh".into(), "-x".into()]));

        let missing = find(None, &[], None, &dir.path().join("fish"), OsStr::new(""), dir.path());
        assert_eq!(missing.map_err(|failure| failure.code()), Err(Code::ShellNotFound));
    }

    #[test]
    fn a_program_is_started_only_in_a_directory_that_is_there() {
        let dir = TestDir::new();
        let plain = file(&dir, "plain", 0o644);
        let check = |path: &Path| check_cwd(path).map_err(|failure| failure.code());
        assert_eq!(check(dir.path()), Ok(()));
        assert_eq!(check(&dir.path().join("none")), Err(Code::CwdMissing));
        assert_eq!(check(&plain), Err(Code::CwdNotDirectory));
        assert_eq!(check(&plain.join("below")), Err(Code::CwdNotDirectory));
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).expect("it is made");
        assert_eq!(check(&dir.path().join("loop")), Err(Code::SpawnFailed));
    }

    #[test]
    fn a_directory_that_may_not_be_entered_is_refused() {
        let dir = TestDir::new();
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).expect("it is made");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).expect("its mode is set");
        let check = || check_cwd(&closed).map_err(|failure| failure.code());
        let checked = as_plain_user(&[dir.path(), &closed], check);
        assert_eq!(checked, Err(Code::PermissionDenied));
    }
}
