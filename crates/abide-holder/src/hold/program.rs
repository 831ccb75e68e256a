//! Starting the program: terminal, fork, and what the child does before it becomes the program.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{InputModes, OptionalActions, Winsize};

use crate::hooks::Hooks;
use crate::spec::{Rlimit, Spec};
use crate::sys::{self, CStrings, Fork};

/// A step of a start that can fail, as header and frame `failed` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opening the terminal.
    Pty,
    /// Making the process: fork, cgroup, limits.
    Fork,
    /// Its own session.
    Setsid,
    /// Making the terminal its controlling terminal and its standard descriptors.
    Tty,
    /// Its working directory.
    Chdir,
    /// Becoming the program.
    Exec,
}

impl Step {
    const ALL: [(Self, u32, &'static str); 6] = [
        (Self::Pty, 1, "pty"),
        (Self::Fork, 2, "fork"),
        (Self::Setsid, 3, "setsid"),
        (Self::Tty, 4, "tty"),
        (Self::Chdir, 5, "chdir"),
        (Self::Exec, 6, "exec"),
    ];

    /// The number that stands for it.
    pub fn code(self) -> u32 {
        Self::ALL.iter().find(|(step, ..)| *step == self).map_or(0, |(_, code, _)| *code)
    }

    /// The step of that number.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().find(|(_, found, _)| *found == code).map(|(step, ..)| *step)
    }

    /// Its name, as error details have it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(step, ..)| *step == self).map_or("", |(.., name)| name)
    }
}

/// A start that failed: where, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: u32,
    pub(crate) errno: u32,
}

impl Step {
    fn failed(self) -> impl Fn(Errno) -> Failure {
        move |errno| Failure { step: self.code(), errno: u32::try_from(errno.raw_os_error()).unwrap_or(0) }
    }
}

/// All that a start needs, made before it: nothing is allocated at the start itself.
pub(crate) struct Plan {
    arguments: CStrings,
    environment: CStrings,
    candidates: Vec<CString>,
    cwd: CString,
    rlimits: Vec<Rlimit>,
    umask: Mode,
    cgroup: Option<OwnedFd>,
}

/// A started child, which may still fail to become the program: then `report` says so.
pub(crate) struct Spawned {
    pub(crate) master: OwnedFd,
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) start_time: u64,
    pub(crate) report: OwnedFd,
}

const REPORT_BYTES: usize = 8;

impl Plan {
    pub(crate) fn new(spec: &Spec) -> std::io::Result<Self> {
        let environment = spec.env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        let arguments = spec.args.iter().map(|argument| CString::new(argument.as_bytes()));
        let cgroup = spec
            .cgroup
            .as_deref()
            .map(|path| rustix::fs::open(path.join("cgroup.procs"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()));
        Ok(Self {
            arguments: CStrings::new(arguments.collect::<Result<_, _>>()?),
            environment: CStrings::new(environment.collect::<Result<_, _>>()?),
            candidates: candidates(&spec.command, spec.env.get("PATH").map(String::as_str))?,
            cwd: CString::new(spec.cwd.as_os_str().as_bytes())?,
            rlimits: spec.rlimits.clone(),
            umask: Mode::from_raw_mode(spec.umask & 0o777),
            cgroup: cgroup.transpose()?,
        })
    }

    /// Opens a terminal of that size and forks. The slave is open here until the child has it, so that the terminal is
    /// not at its end before the program has begun.
    pub(crate) fn start(&self, size: Winsize, hooks: &Hooks) -> Result<Spawned, Failure> {
        let pty = Step::Pty.failed();
        hooks.pass("pty").map_err(&pty)?;
        let (master, slave) = open_terminal(size).map_err(&pty)?;
        let fork = Step::Fork.failed();
        hooks.pass("fork").map_err(&fork)?;
        let (report, reporter) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(&fork)?;
        let pid = match sys::fork().map_err(&fork)? {
            Fork::Child => self.become_program(&slave, &reporter, hooks),
            Fork::Parent(pid) => pid,
        };
        // Unreaped, so the pid is the child's whatever it does. Should these fail, it is ended and reaped.
        let named = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .and_then(|pidfd| Ok((pidfd, crate::stat::start_time(raw(pid))?)));
        match named {
            Ok((pidfd, start_time)) => Ok(Spawned { master, pid, pidfd, start_time, report }),
            Err(errno) => {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                let _reaped = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                Err(fork(errno))
            }
        }
    }

    /// In the child: only system calls, no allocation. Never returns.
    fn become_program(&self, slave: &OwnedFd, reporter: &OwnedFd, hooks: &Hooks) -> ! {
        let failure = self.try_become(slave, hooks);
        let mut report = [0; REPORT_BYTES];
        report[..4].copy_from_slice(&failure.step.to_le_bytes());
        report[4..].copy_from_slice(&failure.errno.to_le_bytes());
        // Eight bytes into an empty pipe: written at once, or the holder is gone and nobody asks.
        let _reported = rustix::io::write(reporter, &report);
        sys::exit_now(127)
    }

    fn try_become(&self, slave: &OwnedFd, hooks: &Hooks) -> Failure {
        // The program's turns are its own affair.
        let _ignored = crate::slice::default_slices();
        let prepared = self.prepare(slave, hooks);
        match prepared {
            Ok(()) => Step::Exec.failed()(self.exec()),
            Err(failure) => failure,
        }
    }

    fn prepare(&self, slave: &OwnedFd, hooks: &Hooks) -> Result<(), Failure> {
        let (process, session, tty) = (Step::Fork.failed(), Step::Setsid.failed(), Step::Tty.failed());
        if let Some(cgroup) = &self.cgroup {
            rustix::io::write(cgroup, b"0\n").map_err(&process)?;
        }
        hooks.pass("setsid").map_err(&session)?;
        rustix::process::setsid().map_err(&session)?;
        hooks.pass("tty").map_err(&tty)?;
        rustix::process::ioctl_tiocsctty(slave).map_err(&tty)?;
        rustix::stdio::dup2_stdin(slave).map_err(&tty)?;
        rustix::stdio::dup2_stdout(slave).map_err(&tty)?;
        rustix::stdio::dup2_stderr(slave).map_err(&tty)?;
        rustix::process::umask(self.umask);
        hooks.pass("chdir").map_err(Step::Chdir.failed())?;
        rustix::process::chdir(self.cwd.as_c_str()).map_err(Step::Chdir.failed())?;
        for limit in &self.rlimits {
            sys::set_rlimit(limit).map_err(&process)?;
        }
        sys::default_signals();
        hooks.pass("exec").map_err(Step::Exec.failed())
    }

    /// Tries each place where the command may lie, as shells do: a place without it is passed over, one that may not be
    /// executed is named only if no later one can be.
    fn exec(&self) -> Errno {
        let mut named = Errno::NOENT;
        for path in &self.candidates {
            match sys::exec(path, &self.arguments, &self.environment) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => named = Errno::ACCESS,
                errno => return errno,
            }
        }
        named
    }
}

/// Where a command may lie.
fn candidates(command: &str, path: Option<&str>) -> std::io::Result<Vec<CString>> {
    if command.contains('/') {
        return Ok(vec![CString::new(command)?]);
    }
    let places = path.unwrap_or("/usr/local/bin:/usr/bin:/bin").split(':');
    let in_place = |place: &str| {
        let place = if place.is_empty() { Path::new(".") } else { Path::new(place) };
        CString::new(place.join(command).into_os_string().into_encoded_bytes())
    };
    Ok(places.map(in_place).collect::<Result<_, _>>()?)
}

/// Master and slave of a new terminal, neither inherited by anybody.
fn open_terminal(size: Winsize) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let mut modes = rustix::termios::tcgetattr(&slave)?;
    modes.input_modes |= InputModes::IUTF8;
    rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes)?;
    rustix::termios::tcsetwinsize(&master, size)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, slave))
}

/// Reads the report of a child: `Ok(None)` says that it has become the program.
pub(crate) fn read_report(report: BorrowedFd<'_>) -> Option<Failure> {
    let mut bytes = [0; REPORT_BYTES];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(report.as_fd(), &mut bytes));
    let ([step, errno], []) = bytes.as_chunks() else { return None };
    (read == Ok(REPORT_BYTES)).then(|| Failure { step: u32::from_le_bytes(*step), errno: u32::from_le_bytes(*errno) })
}

/// A pid as headers and frames have it.
pub(crate) fn raw(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_looked_up_in_the_programs_own_path() {
        let texts = |command, path| -> Vec<String> {
            candidates(command, path).unwrap().iter().map(|c: &CString| lossy(c)).collect()
        };
        assert_eq!(texts("sh", Some("/a:/b")), ["/a/sh", "/b/sh"]);
        assert_eq!(texts("sh", Some("/a:")), ["/a/sh", "./sh"]);
        assert_eq!(texts("./sh", Some("/a")), ["./sh"]);
        assert_eq!(texts("sh", None), ["/usr/local/bin/sh", "/usr/bin/sh", "/bin/sh"]);
    }

    fn lossy(text: &std::ffi::CStr) -> String {
        text.to_string_lossy().into_owned()
    }

    #[test]
    fn steps_have_the_numbers_of_the_frame() {
        let codes = [Step::Pty, Step::Fork, Step::Setsid, Step::Tty, Step::Chdir, Step::Exec].map(Step::code);
        assert_eq!(codes, [1, 2, 3, 4, 5, 6]);
        assert!((1..=6).all(|code| Step::from_code(code).is_some_and(|step| step.code() == code)));
        assert_eq!((Step::from_code(0), Step::from_code(7)), (None, None));
    }
}
