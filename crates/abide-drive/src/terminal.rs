//! The window: a program, its screen, and the keys that go to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use abide_screen::{Model, Size, What};

use crate::key::Key;
use crate::recording::Recording;
use crate::sys;

/// What the kernel gives of a terminal at once, and more.
const READ_BYTES: usize = 16 * 1024;
/// History of the window.
const HISTORY_LINES_MAX: usize = 2_000;
/// How long a program may leave what was typed unread.
const TYPE_WITHIN: Duration = Duration::from_secs(10);

/// What a program starts with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Columns and rows of the window.
    pub size: Size,
    /// The whole environment, but for `PATH` and `HOME`, which are this process's own unless they are named here.
    pub env: Vec<(String, String)>,
    /// Directory to start in; none: this process's own.
    pub cwd: Option<PathBuf>,
}

impl Default for Options {
    /// 80 × 24, `TERM=xterm-256color`, `LANG=C.UTF-8`.
    fn default() -> Self {
        let env = [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("COLORTERM", "truecolor")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { size: Size { cols: 80, rows: 24 }, env, cwd: None }
    }
}

/// Why a window did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused; the program may be gone.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The screen did not get there in time, or never will, as the program has ended.
    #[error("{waited_for} not seen{ended}; the screen is:\n{screen}", ended = if *ended { ": the program has ended" } else { "" })]
    NotSeen {
        /// What was waited for.
        waited_for: String,
        /// Whether nobody writes to the terminal any more.
        ended: bool,
        /// The screen at the deadline.
        screen: String,
    },
    /// The window was closed, or the screen engine failed.
    #[error("the window is closed")]
    Closed,
}

/// A program on a pseudo-terminal. Dropped, it hangs up and kills what it started.
#[derive(Debug)]
pub struct Terminal {
    master: Option<OwnedFd>,
    child: Child,
    pidfd: OwnedFd,
    model: Model,
    raw: Vec<u8>,
    recording: Recording,
    /// Nobody writes any more.
    silent: bool,
}

impl Terminal {
    /// Starts `command`: a program of the `PATH` and its arguments.
    pub fn spawn(command: &[&str], options: &Options) -> Result<Self, Error> {
        let (program, args) = command.split_first().ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut command = Command::new(program);
        command.args(args).env_clear();
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(options.env.iter().map(|(name, value)| (name, value)));
        if let Some(cwd) = &options.cwd {
            command.current_dir(cwd).env("PWD", cwd);
        }
        let (master, child) = sys::spawn(command, options.size)?;
        let pidfd = rustix::process::pidfd_open(pid(&child), PidfdFlags::empty()).map_err(io::Error::from)?;
        let mut recording = Recording::default();
        recording.size(options.size);
        let model = Model::new(options.size, HISTORY_LINES_MAX);
        Ok(Self { master: Some(master), child, pidfd, model, raw: Vec::new(), recording, silent: false })
    }

    /// Types `text`. A line ends with `\r`, as the enter key sends it.
    pub fn type_text(&mut self, text: &str) -> Result<(), Error> {
        self.send(text.as_bytes())
    }

    /// Presses a key.
    pub fn key(&mut self, key: Key) -> Result<(), Error> {
        let application = self.model.private_mode(1).unwrap_or(false);
        self.send(&key.bytes(application))
    }

    /// Waits until `text` is on the screen.
    pub fn wait_for(&mut self, text: &str, within: Duration) -> Result<(), Error> {
        self.wait_until(&format!("{text:?}"), within, |screen| screen.contains(text))
    }

    /// Waits until `text` is not on the screen.
    pub fn wait_gone(&mut self, text: &str, within: Duration) -> Result<(), Error> {
        self.wait_until(&format!("a screen without {text:?}"), within, |screen| !screen.contains(text))
    }

    /// Waits until the screen is as `is_met` wants it; `what` is for the error.
    pub fn wait_until(&mut self, what: &str, within: Duration, is_met: impl Fn(&str) -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        while !is_met(&self.screen()) {
            if !self.pump(deadline)? {
                return Err(Error::NotSeen { waited_for: what.to_owned(), ended: self.silent, screen: self.screen() });
            }
        }
        Ok(())
    }

    /// Waits for the program's end and takes all it wrote.
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                while self.master.is_some() && self.read()? {}
                return Ok(status);
            }
            if !self.pump(deadline)? && !ready(self.pidfd.as_fd(), PollFlags::IN, deadline)? {
                let waited_for = "the end of the program".to_owned();
                return Err(Error::NotSeen { waited_for, ended: false, screen: self.screen() });
            }
        }
    }

    /// Takes output until `until`, for a program that is to be watched rather than waited for. Returns whether
    /// somebody may still write.
    pub fn watch(&mut self, until: Instant) -> Result<bool, Error> {
        while self.pump(until)? {}
        Ok(!self.silent)
    }

    /// Gives the window another size.
    pub fn resize(&mut self, size: Size) -> Result<(), Error> {
        // What was written for the former size is drawn in the former size.
        while self.read()? {}
        sys::set_size(self.master.as_ref().ok_or(Error::Closed)?, size)?;
        self.recording.size(size);
        self.model.resize(size.cols, size.rows).map_err(|_| Error::Closed)
    }

    /// What the screen shows.
    pub fn screen(&self) -> String {
        self.model.text(What::Screen, None).text
    }

    /// The screen's model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// All bytes the program wrote, and its terminal's echo.
    pub fn raw_output(&self) -> &[u8] {
        &self.raw
    }

    /// All of it with the sizes the window had, as text; `recording.rs` describes it.
    pub fn recording(&mut self) -> String {
        self.recording.text().to_owned()
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL to the program and its process group.
    pub fn kill(&mut self) -> Result<(), Error> {
        Ok(rustix::process::kill_process_group(pid(&self.child), Signal::KILL).map_err(io::Error::from)?)
    }

    /// Closes the window: the program gets SIGHUP.
    pub fn close(&mut self) {
        self.master = None;
        self.silent = true;
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let deadline = Instant::now() + TYPE_WITHIN;
        while !bytes.is_empty() {
            match rustix::io::write(self.master.as_ref().ok_or(Error::Closed)?, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let master = self.master.as_ref().ok_or(Error::Closed)?;
                    if !ready(master.as_fd(), PollFlags::IN | PollFlags::OUT, deadline)? {
                        return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                    }
                    self.read()?;
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(())
    }

    /// Takes some output; false at the deadline, or if nobody writes any more.
    fn pump(&mut self, deadline: Instant) -> Result<bool, Error> {
        let Some(master) = self.master.as_ref().filter(|_| !self.silent) else { return Ok(false) };
        if !ready(master.as_fd(), PollFlags::IN, deadline)? {
            return Ok(false);
        }
        self.read()?;
        Ok(!self.silent)
    }

    /// Takes what is there; false if that is nothing.
    fn read(&mut self) -> Result<bool, Error> {
        let mut buffer = [0; READ_BYTES];
        let read = match rustix::io::read(self.master.as_ref().ok_or(Error::Closed)?, &mut buffer) {
            Ok(read) => read,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            // Linux says so when the last process has closed the terminal.
            Err(rustix::io::Errno::IO) => 0,
            Err(error) => return Err(io::Error::from(error).into()),
        };
        self.silent = read == 0;
        let output = &buffer[..read];
        self.raw.extend_from_slice(output);
        self.recording.output(output);
        self.model.feed(output).map_err(|_| Error::Closed)?;
        let answers = self.model.take_answers();
        if !answers.is_empty() {
            self.send(&answers)?;
        }
        Ok(read > 0)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
        // The child is reaped, so that its pid names it until here.
        let _ = self.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Whether `fd` is ready before the deadline.
fn ready(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> Result<bool, Error> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}
