//! A directory of its own for each test, and another user for tests of what a user may not do.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with its value.
#[derive(Debug)]
pub(crate) struct TestDir(PathBuf);

impl TestDir {
    /// Makes one below the system's directory for temporary files.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("abide-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left behind by a process that was killed and whose pid is used again.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        // A directory that stays is no failure of the test that used it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The user `nobody` of every Linux system.
const NOBODY: u32 = 65_534;

/// Runs a test's action as a user whom permissions bind: as `nobody` where the tests run as root. `owned` are given to
/// that user first. Only the one thread changes its user, and ends with the action.
pub(crate) fn as_plain_user<T: Send>(owned: &[&Path], action: impl FnOnce() -> T + Send) -> T {
    if !rustix::process::getuid().is_root() {
        return action();
    }
    for path in owned {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
    }
    let become_nobody = || {
        rustix::thread::set_thread_groups(&[]).expect("root may leave its groups");
        let group = rustix::process::Gid::from_raw(NOBODY);
        rustix::thread::set_thread_res_gid(group, group, group).expect("root may change its group");
        let user = rustix::process::Uid::from_raw(NOBODY);
        rustix::thread::set_thread_res_uid(user, user, user).expect("root may change its user");
        action()
    };
    std::thread::scope(|scope| scope.spawn(become_nobody).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
