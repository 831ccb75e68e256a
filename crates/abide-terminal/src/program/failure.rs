//! A start that failed: at which step, with which error number, and the code that says so.

use std::io;

use abide_wire::Code;

/// The steps of a start, in their order. The first six happen in the holder, which tells them by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Opening the pseudo-terminal.
    Pty,
    /// Making the child process.
    Fork,
    /// Giving it a session of its own.
    Setsid,
    /// Giving it its controlling terminal.
    Tty,
    /// Going to its directory.
    Chdir,
    /// Executing its file.
    Exec,
    /// Launching the holder itself.
    Holder,
}

impl Step {
    /// The step with this number in the ring's header and in holder frames: 1 to 6.
    pub fn from_number(number: u32) -> Option<Self> {
        let steps = [Self::Pty, Self::Fork, Self::Setsid, Self::Tty, Self::Chdir, Self::Exec];
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        steps.get(index).copied()
    }

    /// The word in `details.step`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pty => "pty",
            Self::Fork => "fork",
            Self::Setsid => "setsid",
            Self::Tty => "tty",
            Self::Chdir => "chdir",
            Self::Exec => "exec",
            Self::Holder => "holder",
        }
    }
}

/// Why a program was not started. Its text names no argument and no variable, so that it may stand in any log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", step.as_str(), io::Error::from_raw_os_error(*errno))]
pub struct Failure {
    /// Where it failed.
    pub step: Step,
    /// The error number of the call that failed; 0 where none did.
    pub errno: i32,
    /// Whether the program is the user's login shell rather than a command that the request names.
    pub login_shell: bool,
}

impl Failure {
    /// The code that the caller gets; `details` carries step and error number where it is `SPAWN_FAILED` or
    /// `RESOURCE_EXHAUSTED`.
    pub fn code(&self) -> Code {
        match (self.step, self.errno) {
            // No space is what opening a terminal answers where all of them are in use.
            (_, libc::EMFILE | libc::ENFILE | libc::EAGAIN | libc::ENOMEM) | (Step::Pty, libc::ENOSPC) => {
                Code::ResourceExhausted
            }
            (Step::Chdir, libc::ENOENT) => Code::CwdMissing,
            (Step::Chdir, libc::ENOTDIR) => Code::CwdNotDirectory,
            (Step::Exec, libc::ENOENT | libc::ENOTDIR) if self.login_shell => Code::ShellNotFound,
            (Step::Exec, libc::ENOENT | libc::ENOTDIR) => Code::CommandNotFound,
            (Step::Exec, libc::ENOEXEC) => Code::ExecFormat,
            (Step::Exec, libc::E2BIG) => Code::LimitEnv,
            (Step::Chdir | Step::Exec, libc::EACCES | libc::EPERM) => Code::PermissionDenied,
            _ => Code::SpawnFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_a_start_has_its_code() {
        let cases = [
            (Step::Pty, libc::ENOSPC, Code::ResourceExhausted),
            (Step::Pty, libc::EMFILE, Code::ResourceExhausted),
            (Step::Pty, libc::ENOENT, Code::SpawnFailed),
            (Step::Pty, libc::EACCES, Code::SpawnFailed),
            (Step::Fork, libc::EAGAIN, Code::ResourceExhausted),
            (Step::Fork, libc::ENOMEM, Code::ResourceExhausted),
            (Step::Setsid, libc::EPERM, Code::SpawnFailed),
            (Step::Tty, libc::EPERM, Code::SpawnFailed),
            (Step::Tty, libc::ENFILE, Code::ResourceExhausted),
            (Step::Chdir, libc::ENOENT, Code::CwdMissing),
            (Step::Chdir, libc::ENOTDIR, Code::CwdNotDirectory),
            (Step::Chdir, libc::EACCES, Code::PermissionDenied),
            (Step::Chdir, libc::EPERM, Code::PermissionDenied),
            (Step::Chdir, libc::ELOOP, Code::SpawnFailed),
            (Step::Exec, libc::ENOENT, Code::CommandNotFound),
            (Step::Exec, libc::ENOTDIR, Code::CommandNotFound),
            (Step::Exec, libc::ENOEXEC, Code::ExecFormat),
            (Step::Exec, libc::EACCES, Code::PermissionDenied),
            (Step::Exec, libc::EPERM, Code::PermissionDenied),
            (Step::Exec, libc::E2BIG, Code::LimitEnv),
            (Step::Exec, libc::ENOSPC, Code::SpawnFailed),
            (Step::Exec, libc::ETXTBSY, Code::SpawnFailed),
            (Step::Holder, libc::EAGAIN, Code::ResourceExhausted),
            (Step::Holder, libc::ENOENT, Code::SpawnFailed),
            (Step::Holder, 0, Code::SpawnFailed),
        ];
        for (step, errno, code) in cases {
            let failure = Failure { step, errno, login_shell: false };
            assert_eq!(failure.code(), code, "{failure:?}");
        }
        let shell = Failure { step: Step::Exec, errno: libc::ENOENT, login_shell: true };
        assert_eq!(shell.code(), Code::ShellNotFound);
    }

    #[test]
    fn the_holders_steps_have_the_numbers_of_the_ring() {
        let names: Vec<_> = (0..=7).map(|number| Step::from_number(number).map(Step::as_str)).collect();
        let steps = [Some("pty"), Some("fork"), Some("setsid"), Some("tty"), Some("chdir"), Some("exec")];
        assert_eq!(names[1..7], steps);
        assert_eq!((names[0], names[7]), (None, None));
    }
}
