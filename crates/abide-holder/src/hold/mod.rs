//! The holder process: from the entry point to the end.

mod answer;
mod connections;
mod files;
mod program;
mod serve;
mod terminal;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use abide_ring::Producer;
use rustix::fs::{Mode, OFlags};

pub use program::Step;

use crate::core::{Input, Output};
use crate::hooks::Hooks;
use crate::spec::Spec;
use crate::sys::{self, Fork};
use files::Files;
use program::Plan;
use serve::Holder;

/// Descriptor on which a holder is given its spec.
pub const SPEC_FD: i32 = 3;
/// Exit code of the first process if another holder has the session's place.
pub(crate) const EXIT_TAKEN: u8 = 3;
/// Exit code of the first process if it could not begin for any other reason, told on its standard error.
pub(crate) const EXIT_FAILED: u8 = 1;

/// The command `abide hold`: reads its [`Spec`] from `spec`, makes socket and ring, and forks. The first process
/// returns as soon as the socket is there (exit code 0) or cannot be; the second one holds the session and returns
/// when nobody needs it any more.
///
/// To be called first thing in `main`, while the process has one thread: all descriptors above `spec` are closed,
/// signals, umask, directory and panic behaviour of the process are changed for good.
pub fn hold(spec: OwnedFd) -> ExitCode {
    // A holder that panics is gone, at once: the kernel then tells program and daemon.
    std::panic::set_hook(Box::new(|_| std::process::abort()));
    match begin(spec) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(mut holder)) => {
            crate::hooks::serving(true);
            holder.serve();
            crate::hooks::serving(false);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&error);
            let taken = error.kind() == std::io::ErrorKind::AlreadyExists;
            ExitCode::from(if taken { EXIT_TAKEN } else { EXIT_FAILED })
        }
    }
}

/// As [`hold`], for the process' entry point: takes over descriptor [`SPEC_FD`].
pub fn hold_from_fd_3() -> ExitCode {
    if let Some(spec) = sys::own_fd(SPEC_FD) {
        return hold(spec);
    }
    tell(&"this command is for the daemon: descriptor 3 is not open");
    ExitCode::from(EXIT_FAILED)
}

fn tell(error: &dyn std::fmt::Display) {
    use std::io::Write as _;
    // If nobody listens, the exit code has to do.
    let _told = writeln!(std::io::stderr(), "abide hold: {error}");
}

/// `None`: this is the first process, and its work is done.
fn begin(spec: OwnedFd) -> std::io::Result<Option<Holder>> {
    let mut json = Vec::new();
    std::fs::File::from(spec).read_to_end(&mut json)?;
    let spec = Spec::from_json(&json).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    let hooks = Hooks::read();
    sys::close_from(SPEC_FD);
    sys::ignore_signals();
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::chdir(c"/")?;
    put_back_oom_score(spec.oom_score_adj);
    let plan = Plan::new(&spec)?;
    let (ring, ring_fd) = Producer::create(&spec.identity()).map_err(std::io::Error::other)?;
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let (files, listener) = Files::make(&spec)?;
    match sys::fork() {
        Err(errno) => {
            files.remove();
            Err(errno.into())
        }
        Ok(Fork::Parent(_)) => Ok(None),
        Ok(Fork::Child) => {
            rustix::process::setsid()?;
            rustix::thread::set_name(c"abide-hold")?;
            let _without = crate::slice::short_slices();
            put_on_standard_descriptors(&null)?;
            let output = Output::new(ring, spec.spill_bytes_max);
            let input = Input::new(spec.owner_epoch);
            Ok(Some(Holder::new(&spec, plan, files, hooks, (listener, ring_fd), output, input)))
        }
    }
}

/// The holder shall be as likely to be chosen by the out-of-memory killer as what the user starts elsewhere.
fn put_back_oom_score(score: i32) {
    // Refused where the daemon was started with less than it may set: then the daemon's own score stays, which is the
    // more careful one for the machine.
    let _kept = std::fs::write("/proc/self/oom_score_adj", score.to_string());
}

/// From here on nobody hears what this process says, and whoever launched it need not wait for more.
fn put_on_standard_descriptors(null: &OwnedFd) -> std::io::Result<()> {
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)?;
    Ok(())
}
