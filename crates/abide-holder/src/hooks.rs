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
