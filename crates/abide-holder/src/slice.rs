//! How soon a thread that wakes gets its turn on a busy machine.
//!
//! What carries keystrokes runs for microseconds and then waits. A thread that asks the kernel for short slices may take
//! the place of one in the middle of a long slice (Linux 6.12 and later; earlier kernels ignore the wish). It gets no
//! larger share of the processor by it: one that runs long loses its turns like any other.

use rustix::io::Errno;

use crate::sys;

/// The shortest that the kernel gives.
const SHORT: u64 = 100_000;

/// Asks for short slices for the calling thread. What it starts later begins with the same.
///
/// # Errors
/// The kernel refuses; everything works without it.
pub fn short_slices() -> Result<(), Errno> {
    sys::set_slice(SHORT)
}

/// Gives the calling thread the slices that programs have by default.
pub(crate) fn default_slices() -> Result<(), Errno> {
    sys::set_slice(0)
}
