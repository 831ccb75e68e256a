//! Launching a holder: the daemon's side of `abide hold`.

use std::ffi::CString;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::WaitOptions;

use crate::hold::EXIT_TAKEN;
use crate::hooks;
use crate::spec::Spec;

/// The running program itself, even if its file was replaced or deleted.
pub const SELF: &str = "/proc/self/exe";

/// Most bytes of a holder's complaint that are kept.
const COMPLAINT_BYTES_MAX: u64 = 4096;
/// Descriptors below are the ones that the holder is given by number.
const FIRST_FREE_FD: i32 = 10;

/// Why there is no holder. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The spec has something that JSON has not (a path that is not UTF-8). The caller refuses the request.
    #[error("the spec cannot be passed on: {0}")]
    Spec(#[source] serde_json::Error),
    /// The process could not be made. With EAGAIN, EMFILE, ENFILE, ENOMEM the caller tries again later.
    #[error("{what}: {source}")]
    Os {
        /// What was asked of the system.
        what: &'static str,
        /// Its answer.
        #[source]
        source: Errno,
    },
    /// Another holder has the session's place: a socket is there. The caller probes it; if it refuses connections, it
    /// is stale: the caller removes it and launches again.
    #[error("the place of the session's holder is taken")]
    Taken,
    /// The holder could not begin.
    #[error("the holder could not begin (status {status:#x}): {complaint}")]
    Failed {
        /// Its wait status.
        status: u32,
        /// What it said on its standard error, one line at most.
        complaint: String,
    },
}

fn os(what: &'static str) -> impl FnOnce(Errno) -> LaunchError {
    move |source| LaunchError::Os { what, source }
}

/// Launches a holder for `spec` and returns once its socket is there. `program` is executed as `abide hold`: in a
/// daemon [`SELF`].
///
/// Blocks for some milliseconds, and for as long as the file systems of the paths do: to be called on a worker thread.
/// The first process is reaped here; the holder itself is nobody's child.
pub fn launch(program: &Path, spec: &Spec) -> Result<(), LaunchError> {
    let given = spec_file(spec)?;
    let (complaints, errors) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(os("pipe"))?;
    let errors = beyond_given(errors)?;
    let path = CString::new(program.as_os_str().as_bytes()).map_err(|_| os("execute")(Errno::INVAL))?;
    let arguments = vec![CString::from(c"abide"), CString::from(c"hold")];
    let pid =
        crate::sys::spawn(&path, arguments, environment(), given.as_fd(), errors.as_fd()).map_err(os("execute"))?;
    drop((given, errors));
    let mut complaint = Vec::new();
    // Ends when the first process has ended, or the holder has let go of its standard error.
    let _heard = std::fs::File::from(complaints).take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint);
    let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
    let Some((_, status)) = waited.map_err(os("wait"))? else { return Err(os("wait")(Errno::CHILD)) };
    match status.exit_status() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(EXIT_TAKEN) => Err(LaunchError::Taken),
        _ => Err(LaunchError::Failed {
            status: u32::try_from(status.as_raw()).unwrap_or(0),
            complaint: String::from_utf8_lossy(&complaint).lines().next().unwrap_or_default().to_owned(),
        }),
    }
}

/// The spec in a file without name: others cannot read it, and it takes any length without a reader.
fn spec_file(spec: &Spec) -> Result<OwnedFd, LaunchError> {
    let mut json = serde_json::to_vec(spec).map_err(LaunchError::Spec)?;
    json.push(b'\n');
    let memory = rustix::fs::memfd_create(c"abide-spec", MemfdFlags::CLOEXEC).map_err(os("memfd"))?;
    let mut file = std::fs::File::from(beyond_given(memory)?);
    let write = |error: std::io::Error| os("write the spec")(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    file.write_all(&json).and_then(|()| file.rewind()).map_err(write)?;
    Ok(file.into())
}

/// The same file on a descriptor that is not in the place of one that the holder is given.
fn beyond_given(fd: OwnedFd) -> Result<OwnedFd, LaunchError> {
    let copy = rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_FREE_FD);
    drop(fd);
    copy.map_err(os("dup"))
}

/// A holder needs none; and one with a session's variables would look like that session's process.
fn environment() -> Vec<CString> {
    let hook = std::env::var_os(hooks::VARIABLE).filter(|_| cfg!(debug_assertions));
    let pair = hook.map(|value| [hooks::VARIABLE.as_bytes(), b"=", value.as_bytes()].concat());
    pair.and_then(|pair| CString::new(pair).ok()).into_iter().collect()
}
