//! The C library's password database: the one call here that no safe library offers.
//!
//! `/etc/passwd` alone will not do: where users come from a directory service, they do not stand in it.

#![expect(unsafe_code, reason = "getpwuid_r fills C strings into a buffer of the caller")]

use std::ffi::{CStr, OsString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::ptr;

/// The fields of an entry that are of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) home: OsString,
    pub(super) shell: OsString,
}

/// No entry is larger than this; a source that claims so is broken.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Reads a user's entry; none if there is none.
pub(super) fn entry_of(uid: u32) -> io::Result<Option<Entry>> {
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
