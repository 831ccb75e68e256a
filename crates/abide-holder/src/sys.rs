//! What rustix lacks: fork, exec, signal dispositions, spawning with chosen descriptors, and limits by number.

#![expect(unsafe_code, reason = "the system's interface for processes is C")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::spec::Rlimit;

/// Which of the two processes this is.
pub(crate) enum Fork {
    Parent(Pid),
    Child,
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

/// Forks. The process has one thread (a holder never has more), so the child may go on as it likes.
pub(crate) fn fork() -> Result<Fork, Errno> {
    // SAFETY: one thread: no lock can be held by a thread that the child lacks.
    let pid = check(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent))
}

/// Ends the process at once, without running destructors.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: always sound; nothing of this process runs afterwards.
    unsafe { libc::_exit(code) }
}

/// Strings as `execve` takes them: made before the fork, since the child must not allocate.
pub(crate) struct CStrings {
    // The pointers point into these.
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStrings {
    pub(crate) fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _owned: owned, pointers }
    }
}

/// Replaces this process by a program; comes back only with the reason why not.
pub(crate) fn exec(path: &CStr, arguments: &CStrings, environment: &CStrings) -> Errno {
    // SAFETY: both lists end with a null pointer, and their strings live as long as they do.
    unsafe { libc::execve(path.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    last_errno()
}

/// Ignores what would end or disturb a holder: it ends by its own rules only.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
        // SAFETY: "ignore" runs no code of ours. It cannot fail for these signals.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    unblock_signals();
}

/// The kernel's signals, and the bytes of its set of them.
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;
const SIGNAL_SET_BYTES: usize = 8;

/// All dispositions default, nothing blocked: what a program expects.
pub(crate) fn default_signals() {
    // The kernel's own struct, of at most this size, is "default" without flags when it is all zeroes. The C library
    // would leave out the two signals that it keeps for itself, which whoever started the daemon may have ignored.
    let default = [0_u64; 8];
    let none: *mut u64 = std::ptr::null_mut();
    for signal in SIGNALS {
        // SAFETY: "default" runs no code of ours. KILL and STOP refuse, which changes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, SIGNAL_SET_BYTES) };
    }
    unblock_signals();
}

fn unblock_signals() {
    // SAFETY: an empty set is written before it is used.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Closes every descriptor from `first` on. The caller owns none of them in a type that closes it again.
pub(crate) fn close_from(first: RawFd) {
    let first = libc::c_uint::try_from(first).unwrap_or(0);
    // SAFETY: see the caller's duty above.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if closed == 0 {
        return;
    }
    // Kernels before 5.9. The list is read to its end before anything is closed, as it has a descriptor itself.
    let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    let numbers: Vec<RawFd> = numbers.filter(|fd| libc::c_uint::try_from(*fd).is_ok_and(|fd| fd >= first)).collect();
    for fd in numbers {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// Takes over the descriptor with that number, if it is open.
pub(crate) fn own_fd(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: asks for flags only.
    let open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    // SAFETY: open, and the caller is the process' entry point: nobody else has it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts `program` with an empty environment but for `environment`, `given` on descriptor 3, `errors` on 2, and the
/// null device on 0 and 1; all other descriptors of ours are CLOEXEC. Cheap also for a large process.
pub(crate) fn spawn(
    program: &CStr,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    given: BorrowedFd<'_>,
    errors: BorrowedFd<'_>,
) -> Result<Pid, Errno> {
    let (arguments, environment) = (CStrings::new(arguments), CStrings::new(environment));
    let mut pid = 0;
    // SAFETY: the actions are initialised before and destroyed after their use; lists end with null pointers;
    // execve does not write through the pointers that the signature has as mutable.
    let result = unsafe {
        let mut actions = std::mem::zeroed::<libc::posix_spawn_file_actions_t>();
        let mut result = libc::posix_spawn_file_actions_init(&raw mut actions);
        let null = c"/dev/null".as_ptr();
        result |= libc::posix_spawn_file_actions_addopen(&raw mut actions, 0, null, libc::O_RDWR, 0);
        result |= libc::posix_spawn_file_actions_adddup2(&raw mut actions, 0, 1);
        result |= libc::posix_spawn_file_actions_adddup2(&raw mut actions, errors.as_raw_fd(), 2);
        result |= libc::posix_spawn_file_actions_adddup2(&raw mut actions, given.as_raw_fd(), 3);
        if result == 0 {
            let (argv, envp) = (arguments.pointers.as_ptr().cast(), environment.pointers.as_ptr().cast());
            let (path, none) = (program.as_ptr(), std::ptr::null());
            result = libc::posix_spawn(&raw mut pid, path, &raw const actions, none, argv, envp);
        }
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        result
    };
    if result != 0 {
        return Err(Errno::from_raw_os_error(result));
    }
    Pid::from_raw(pid).ok_or(Errno::SRCH)
}

/// Limits that the system has, by number.
const RESOURCES: std::ops::Range<u32> = 0..16;

/// All limits of this process.
pub(crate) fn rlimits() -> Vec<Rlimit> {
    let known = |limit: libc::rlim_t| (limit != libc::RLIM_INFINITY).then_some(limit);
    let read = |resource: u32| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes one struct of ours.
        let result = unsafe { libc::getrlimit(resource as _, &raw mut limit) };
        (result == 0).then(|| Rlimit { resource, soft: known(limit.rlim_cur), hard: known(limit.rlim_max) })
    };
    RESOURCES.filter_map(read).collect()
}

/// Sets one limit of this process.
pub(crate) fn set_rlimit(limit: &Rlimit) -> Result<(), Errno> {
    let raw = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    let value = libc::rlimit { rlim_cur: raw(limit.soft), rlim_max: raw(limit.hard) };
    // SAFETY: reads one struct of ours.
    check(unsafe { libc::setrlimit(limit.resource as _, &raw const value) }).map(drop)
}

/// Sets the length of the calling thread's turns, in nanoseconds; 0: the kernel's default. Its weight stays.
pub(crate) fn set_slice(slice: u64) -> Result<(), Errno> {
    // SAFETY: all of its fields are numbers, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(u32::MAX);
    // SAFETY: the kernel fills at most `size` bytes of a struct of that size.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    check(c_int::try_from(got).unwrap_or(-1))?;
    attributes.sched_runtime = slice;
    // SAFETY: the kernel reads a struct that says its own size.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check(c_int::try_from(set).unwrap_or(-1)).map(|_| ())
}
