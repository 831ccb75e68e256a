//! Signals as readable events: the one thing here that needs the C library.
//!
//! A handler writes the signal's number into a pipe that the poll loop reads. Blocking the signals and reading them from
//! a descriptor of their own would be simpler, but has to be done in every thread, and some are there before the window.
#![expect(unsafe_code, reason = "signal actions have no safe interface")]

use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};

/// What a window is told by signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The window has another size.
    WindowSize,
    /// The terminal is gone, or somebody wants the program to end.
    Leave,
    /// Somebody wants the program to stop for a while.
    Suspend,
}

const SIGNALS: [libc::c_int; 5] = [libc::SIGWINCH, libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGTSTP];

/// Where the handler writes; −1: nowhere.
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// The signals of a window; what they did before is put back once this is dropped. There is one at a time.
pub(crate) struct Signals {
    read_end: UnixStream,
    /// Open as long as the handler may write to it.
    _write_end: UnixStream,
    before: Vec<(libc::c_int, libc::sigaction)>,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let (read_end, write_end) = UnixStream::pair()?;
        read_end.set_nonblocking(true)?;
        // A full pipe loses a signal that is already there many times over; a handler must not wait.
        write_end.set_nonblocking(true)?;
        WRITE_END.store(write_end.as_raw_fd(), Ordering::SeqCst);
        let before = SIGNALS.into_iter().map(|number| Ok((number, act(number)?))).collect::<io::Result<_>>()?;
        Ok(Self { read_end, _write_end: write_end, before })
    }

    /// The next signal, if one waits.
    pub(crate) fn next(&self) -> Option<Signal> {
        let mut number = [0];
        let read = (&self.read_end).read(&mut number).ok()?;
        match libc::c_int::from(*number.first().filter(|_| read == 1)?) {
            libc::SIGWINCH => Some(Signal::WindowSize),
            libc::SIGTSTP => Some(Signal::Suspend),
            _ => Some(Signal::Leave),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (number, action) in &self.before {
            // SAFETY: the action is the one that `sigaction` returned.
            unsafe { libc::sigaction(*number, &raw const *action, std::ptr::null_mut()) };
        }
        WRITE_END.store(-1, Ordering::SeqCst);
    }
}

/// Has a signal written to the pipe; what it did before.
fn act(number: libc::c_int) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: an all-zero action is a valid one without flags; the handler does what a handler may; `sigaction` writes the
    // former action where it succeeds.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = note as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(number, &raw const action, before.as_mut_ptr()) == 0 {
            Ok(before.assume_init())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// The handler: one write, with the error number of whoever was interrupted kept.
extern "C" fn note(number: libc::c_int) {
    let byte = number.to_le_bytes()[0];
    // SAFETY: `write` and the error number may be used in a handler; the byte lives until the call returns.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(WRITE_END.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}
