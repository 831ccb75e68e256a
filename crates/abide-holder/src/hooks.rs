//! Faults that tests cannot make for real. They exist in builds with debug assertions only.
//!
//! `ABIDE_TEST_HOLDER` in the environment of whoever launches the holder: `name=number`, separated by commas. A name is
//! a step (`pty`, `fork`, `setsid`, `tty`, `chdir`, `exec`, `exit_file`, `spill`, `peer`) with the errno that it fails
//! with, or `unstarted_ms`, the time that a holder waits for its start.

use rustix::io::Errno;

/// The variable that hooks are read from.
pub(crate) const VARIABLE: &str = "ABIDE_TEST_HOLDER";

#[derive(Debug, Default)]
pub(crate) struct Hooks(Vec<(String, i32)>);

impl Hooks {
    pub(crate) fn read() -> Self {
        if !cfg!(debug_assertions) {
            return Self::default();
        }
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        Self(pairs.filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?))).collect())
    }

    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, number)| *number)
    }

    /// The fault at a step, if one is set.
    pub(crate) fn pass(&self, step: &str) -> Result<(), Errno> {
        self.number(step).map_or(Ok(()), |errno| Err(Errno::from_raw_os_error(errno)))
    }
}

/// Whether this process serves as a holder: from then on it allocates nothing, which the example `hold` checks with an
/// allocator of its own.
#[cfg(debug_assertions)]
#[doc(hidden)]
pub static SERVING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Serving begins or ends.
pub(crate) fn serving(serves: bool) {
    #[cfg(debug_assertions)]
    SERVING.store(serves, std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(debug_assertions))]
    let _unused = serves;
}
