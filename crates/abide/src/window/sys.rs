//! Signals as readable events: the one thing here that needs the C library.
#![expect(unsafe_code, reason = "signal masks and signal descriptors have no safe interface")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// The signals of a window, blocked and read from a descriptor; as they were before once this is dropped.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set that the calls after it use, and `pthread_sigmask` the one before.
        // A new descriptor belongs to nobody else.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGWINCH, libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGTSTP] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            let descriptor = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { descriptor: OwnedFd::from_raw_fd(descriptor), before: before.assume_init() })
        }
    }

    /// The next signal, if one waits.
    pub(crate) fn next(&self) -> Option<Signal> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.descriptor, &mut info).ok()?;
        let number = info.first_chunk::<4>().filter(|_| read == info.len()).map(|bytes| i32::from_ne_bytes(*bytes))?;
        match number {
            libc::SIGWINCH => Some(Signal::WindowSize),
            libc::SIGTSTP => Some(Signal::Suspend),
            _ => Some(Signal::Leave),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: the mask is the one that `pthread_sigmask` returned.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
        }
    }
}
