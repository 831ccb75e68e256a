//! Sockets in a directory: bound, reached and removed without ever touching anything else.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, renameat, statat, symlinkat};
use rustix::io::Errno;

use super::dir::{kind, quoted};
use super::{Dir, Error, SOCKET};

/// The longest path that fits into a socket's address, with its end.
const ADDRESS_BYTES_MAX: usize = 107;

impl Dir {
    /// The path by which a socket in this directory is bound and connected: its own, or, where that is too long for an
    /// address, one through this directory's descriptor. It is good while this value lives.
    pub fn address(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        if path.as_os_str().as_bytes().len() <= ADDRESS_BYTES_MAX {
            path
        } else {
            PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd().as_raw_fd()))
        }
    }

    /// Listens on a socket in this directory, in the place of a stale one. Only for who has the lock: the one who listened
    /// there before is not asked.
    ///
    /// # Errors
    /// There is something else than a socket of this user, or the system refuses.
    pub fn listen(&self, name: &str) -> Result<UnixListener, Error> {
        self.remove_socket(name)?;
        UnixListener::bind(self.address(name)).map_err(|source| Error::Io { path: self.path().join(name), source })
    }

    /// Makes a link, in the place of what is there under its name: there is no moment without it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn link(&self, name: &str, target: &Path) -> io::Result<()> {
        // Under a name of its own first.
        let new = format!(".{name}.{}", std::process::id());
        self.remove_file(&new)?;
        symlinkat(target, self.fd(), &new)?;
        renameat(self.fd(), &new, self.fd(), name)?;
        Ok(())
    }

    /// Whether there is a link under this name, wherever it leads.
    pub fn has_link(&self, name: &str) -> bool {
        statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| kind(&found) == FileType::Symlink)
    }

    /// Whether a path leads to a socket of the user to whom this directory belongs.
    pub fn leads_to_socket(&self, path: &Path) -> bool {
        rustix::fs::stat(path).is_ok_and(|found| kind(&found) == FileType::Socket && found.st_uid == self.uid())
    }

    /// Removes a socket; a missing one is removed already.
    ///
    /// # Errors
    /// There is something else than a socket of this user: it stays.
    pub fn remove_socket(&self, name: &str) -> Result<(), Error> {
        let path = self.path().join(name);
        let found = match statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::io(&path)(errno)),
        };
        if kind(&found) != FileType::Socket || found.st_uid != self.uid() {
            let mend = format!("rm {}", quoted(&path));
            return Err(Error::Forbidden { path, reason: "is no socket of this user", mend });
        }
        self.remove_file(name).map_err(|source| Error::Io { path, source })
    }
}

/// Makes `$XDG_RUNTIME_DIR/abide/terminal.sock` a link to the socket, for programs that look there. Nothing depends on it:
/// a failure is for the log.
///
/// # Errors
/// The directory is not this user's alone, there is something else than a link, or the system refuses.
pub fn link_in_runtime_dir(runtime_dir: &Path, run: &Dir) -> Result<(), Error> {
    let dir = Dir::create(&runtime_dir.join("abide"), run.uid())?;
    let path = dir.path().join(SOCKET);
    match statat(dir.fd(), SOCKET, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if kind(&found) != FileType::Symlink => {
            let mend = format!("rm {}", quoted(&path));
            return Err(Error::Forbidden { path, reason: "is no symbolic link", mend });
        }
        Ok(_) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(Error::io(&path)(errno)),
    }
    dir.link(SOCKET, &run.path().join(SOCKET)).map_err(|source| Error::Io { path, source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::test_dir::TestDir;

    fn own_dir(path: &Path) -> Dir {
        Dir::create(path, rustix::process::getuid().as_raw()).expect("it is made")
    }

    #[test]
    fn a_socket_is_reached_however_long_its_path_is() {
        let root = TestDir::new();
        let mut direct = 0;
        let mut through_descriptor = 0;
        let short = root.path().as_os_str().len() + "//s.sock".len();
        for length in short + 1..=ADDRESS_BYTES_MAX + 20 {
            let dir = own_dir(&root.path().join("d".repeat(length - short)));
            let path = dir.path().join("s.sock");
            assert_eq!(path.as_os_str().len(), length);
            let _listener = dir.listen("s.sock").unwrap_or_else(|error| panic!("{length}: {error}"));
            assert!(UnixStream::connect(dir.address("s.sock")).is_ok(), "{length}");
            assert!(path.exists(), "{length}: it lies where it belongs");
            *if dir.address("s.sock") == path { &mut direct } else { &mut through_descriptor } += 1;
        }
        assert_eq!(through_descriptor, 20);
        assert!(direct > 20, "{direct}");
    }

    #[test]
    fn a_stale_socket_gives_way_and_nothing_else_does() {
        let root = TestDir::new();
        let dir = own_dir(&root.path().join("run"));
        drop(dir.listen("s.sock").expect("the place is free"));
        assert!(UnixStream::connect(dir.address("s.sock")).is_err(), "nobody listens any more");
        let _listener = dir.listen("s.sock").expect("the stale one gives way");
        assert!(UnixStream::connect(dir.address("s.sock")).is_ok());

        fs::write(dir.path().join("file"), "kept").expect("it is written");
        fs::create_dir(dir.path().join("folder")).expect("it is made");
        symlink("s.sock", dir.path().join("link")).expect("it is made");
        for name in ["file", "folder", "link"] {
            let refused = dir.listen(name).map(drop);
            assert!(matches!(refused, Err(Error::Forbidden { reason: "is no socket of this user", .. })), "{name}");
            assert!(dir.path().join(name).symlink_metadata().is_ok(), "{name} stays");
        }
        dir.remove_socket("s.sock").expect("it is removed");
        dir.remove_socket("s.sock").expect("it is removed already");
    }

    #[test]
    fn the_runtime_directory_holds_a_link_that_follows_the_socket() {
        let root = TestDir::new();
        let runtime = root.path().join("runtime");
        let link = runtime.join("abide").join(SOCKET);
        for name in ["one", "two"] {
            let run = own_dir(&root.path().join(name));
            link_in_runtime_dir(&runtime, &run).expect("it is made");
            assert_eq!(fs::read_link(&link).expect("it is a link"), run.path().join(SOCKET));
        }
        assert_eq!(fs::read_dir(runtime.join("abide")).expect("it is there").count(), 1, "nothing is left over");

        fs::remove_file(&link).expect("it is removed");
        fs::write(&link, "kept").expect("it is written");
        let refused = link_in_runtime_dir(&runtime, &own_dir(&root.path().join("one")));
        assert!(matches!(refused, Err(Error::Forbidden { reason: "is no symbolic link", .. })));
        assert_eq!(fs::read(&link).expect("it is there"), b"kept");
    }
}
