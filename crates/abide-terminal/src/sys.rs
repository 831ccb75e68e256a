//! What no safe library offers: the password database, descriptors that are known by number only, waiting for any
//! descriptor, reading into free capacity, and giving back what the allocator keeps.

#![expect(
    unsafe_code,
    reason = "getpwuid_r fills C strings into a buffer of the caller; a number is no descriptor yet; tokio registers descriptors by number; the kernel fills free capacity; malloc_trim is the C library's"
)]

use std::ffi::{CStr, OsString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor whose readiness can be awaited. To be called within a runtime.
pub(crate) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open for as long as it lives, always gives the same number, and nobody else closes it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Reads once, into the free capacity of a buffer.
pub(crate) fn read_into(fd: BorrowedFd<'_>, buffer: &mut BytesMut) -> io::Result<usize> {
    let (read, _) = rustix::io::read(fd, buffer.spare_capacity_mut())?;
    let count = read.len();
    let end = buffer.len() + count;
    // SAFETY: the kernel has written these `count` bytes of the free capacity, right behind what was there.
    unsafe { buffer.set_len(end) };
    Ok(count)
}

/// Gives memory that was freed back to the system. The C library keeps what a flow of output needed for good otherwise; on
/// another C library it may.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The fields of an entry of the password database that are of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) home: OsString,
    pub(crate) shell: OsString,
}

/// No entry is larger than this; a source that claims so is broken.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Reads a user's entry from the password database; none if there is none.
///
/// `/etc/passwd` alone will not do: where users come from a directory service, they do not stand in it.
pub(crate) fn entry_of(uid: u32) -> io::Result<Option<Entry>> {
    let mut buffer: Vec<c_char> = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live values of ours, and the length is that of the buffer.
        let errno = unsafe {
            libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), ptr::addr_of_mut!(found))
        };
        match errno {
            libc::ERANGE if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 2, 0),
            libc::EINTR => {}
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: on success `found` points to `entry`, which is filled; its strings lie in `buffer`, end with a
                // NUL, and are copied while the buffer lives.
                let entry = unsafe {
                    let entry = entry.assume_init_ref();
                    Entry { name: copy(entry.pw_name), home: copy(entry.pw_dir), shell: copy(entry.pw_shell) }
                };
                return Ok(Some(entry));
            }
            // What some sources answer where they know no such user.
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Copies a C string; nothing where there is none.
///
/// # Safety
/// `text` is null, or points to bytes that end with a NUL.
unsafe fn copy(text: *const c_char) -> OsString {
    if text.is_null() {
        return OsString::new();
    }
    // SAFETY: promised by the caller.
    OsString::from_vec(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}

/// Takes over a descriptor that this process was started with, known by the number on its command line. The answer is
/// a duplicate, which shares locks and connections with it; the number itself stays open until the process ends or
/// executes another program. Neither is inherited by a program that this process starts.
///
/// # Errors
/// The number is that of a standard stream, or of no open descriptor.
pub(crate) fn inherit(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is not -1, and is borrowed for two calls that answer EBADF if nothing is open there.
    let original = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(original, rustix::io::FdFlags::CLOEXEC)?;
    Ok(rustix::io::fcntl_dupfd_cloexec(original, libc::STDERR_FILENO + 1)?)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn only_an_open_descriptor_beyond_the_standard_streams_is_inherited() {
        for number in [-1, 0, 1, 2, 1_000_000] {
            assert!(inherit(number).is_err(), "{number}");
        }
        let file = std::fs::File::open("/dev/null").expect("it is there");
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("it is open");
        let inherited = inherit(file.as_raw_fd()).expect("it is open");
        assert_ne!(inherited.as_raw_fd(), file.as_raw_fd());
        for fd in [&inherited, &OwnedFd::from(file)] {
            assert_eq!(rustix::io::fcntl_getfd(fd).expect("it is open"), rustix::io::FdFlags::CLOEXEC);
        }
    }
}
