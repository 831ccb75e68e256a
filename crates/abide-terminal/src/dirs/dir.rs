//! A directory of this user alone, and access to what lies in it.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::Error;

/// Bits of a mode that open a file to others than its owner.
const OPEN_TO_OTHERS: u32 = 0o077;

/// An open directory that belongs to one user and is open to nobody else.
///
/// Everything in it is reached through the descriptor, so that nobody can put another directory in its place; names are
/// single components, and a link under a name is never followed.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    uid: u32,
}

impl Dir {
    /// Opens a directory, and makes it and those above it if they are missing.
    ///
    /// # Errors
    /// It belongs to another user, is open to others, is a link, or cannot be made or opened.
    pub fn create(path: &Path, uid: u32) -> Result<Self, Error> {
        if let Some(above) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(above);
            made.map_err(|source| Error::Io { path: above.to_owned(), source })?;
        }
        Self::make_and_open(CWD, path.as_os_str(), path, uid)
    }

    /// Opens a directory that must be there.
    ///
    /// # Errors
    /// As [`Dir::create`], and if it is missing.
    pub fn open(path: &Path, uid: u32) -> Result<Self, Error> {
        Self::open_at(CWD, path.as_os_str(), path, uid)
    }

    /// Opens a directory in this one, and makes it if it is missing.
    ///
    /// # Errors
    /// As [`Dir::create`].
    pub fn subdir(&self, name: &str) -> Result<Self, Error> {
        Self::make_and_open(self.fd(), OsStr::new(name), &self.path.join(name), self.uid)
    }

    fn make_and_open(at: BorrowedFd<'_>, name: &OsStr, path: &Path, uid: u32) -> Result<Self, Error> {
        match mkdirat(at, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open_at(at, name, path, uid),
            Err(errno) => Err(Error::io(path)(errno)),
        }
    }

    fn open_at(at: BorrowedFd<'_>, name: &OsStr, path: &Path, uid: u32) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(at, name, flags, Mode::empty()).map_err(|errno| {
            let is_link =
                statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| kind(&found) == FileType::Symlink);
            if is_link { Self::is_a_link(path) } else { Error::io(path)(errno) }
        })?;
        let found = fstat(&fd).map_err(Error::io(path))?;
        let forbidden = |reason, mend| Err(Error::Forbidden { path: path.to_owned(), reason, mend });
        if found.st_uid != uid {
            return forbidden("belongs to another user", format!("sudo chown -R {uid} {}", quoted(path)));
        }
        if found.st_mode & OPEN_TO_OTHERS != 0 {
            return forbidden("is open to other users", format!("chmod 700 {}", quoted(path)));
        }
        Ok(Self { fd, path: path.to_owned(), uid })
    }

    fn is_a_link(path: &Path) -> Error {
        let mend = format!("rm {}", quoted(path));
        Error::Forbidden { path: path.to_owned(), reason: "is a symbolic link", mend }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user that it belongs to.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// The names in it, in no order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(self.fd())? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Opens a plain file of this user in it, to be read and written; it is made with mode 0600 if it is missing.
    ///
    /// # Errors
    /// There is something else under that name, or the file belongs to another user.
    pub fn create_file(&self, name: &str) -> Result<File, Error> {
        self.open_file(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Opens a plain file of this user in it, to be read.
    ///
    /// # Errors
    /// As [`Dir::create_file`], and if it is missing.
    pub fn read_file(&self, name: &str) -> Result<File, Error> {
        self.open_file(name, OFlags::RDONLY)
    }

    fn open_file(&self, name: &str, access: OFlags) -> Result<File, Error> {
        let path = self.path.join(name);
        // A pipe under that name must not hold this process up.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(self.fd(), name, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| match errno {
            Errno::LOOP => Self::is_a_link(&path),
            errno => Error::io(&path)(errno),
        })?;
        let found = fstat(&fd).map_err(Error::io(&path))?;
        let reason = if kind(&found) != FileType::RegularFile {
            "is no plain file"
        } else if found.st_uid != self.uid {
            "belongs to another user"
        } else {
            return Ok(File::from(fd));
        };
        let mend = format!("rm {}", quoted(&path));
        Err(Error::Forbidden { path, reason, mend })
    }

    /// Removes a file; a missing one is removed already.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        match unlinkat(self.fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// What a file is.
pub(super) fn kind(found: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use abide_wire::Code;

    use super::*;
    use crate::test_dir::TestDir;

    fn own_uid() -> u32 {
        rustix::process::getuid().as_raw()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    #[track_caller]
    fn forbidden<T>(result: Result<T, Error>) -> (&'static str, String) {
        match result {
            Err(error @ Error::Forbidden { .. }) => {
                assert_eq!(error.code(), Some(Code::UidForbidden));
                let Error::Forbidden { reason, mend, .. } = error else { unreachable!() };
                (reason, mend)
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was accepted"),
        }
    }

    #[test]
    fn a_directory_is_made_for_this_user_alone() {
        let dir = TestDir::new();
        let path = dir.path().join("a/b");
        let made = Dir::create(&path, own_uid()).expect("it is made");
        made.subdir("c").expect("it is made");
        assert_eq!((mode(&path), mode(&path.join("c")), mode(&dir.path().join("a"))), (0o700, 0o700, 0o700));
        assert!(Dir::open(&path, own_uid()).is_ok());
        assert!(matches!(Dir::open(&dir.path().join("none"), own_uid()), Err(Error::Io { .. })));
    }

    #[test]
    fn a_directory_open_to_others_is_refused_with_the_command_that_mends_it() {
        let dir = TestDir::new();
        let path = dir.path().join("it's");
        fs::create_dir(&path).expect("it is made");
        for bits in [0o710, 0o740, 0o720, 0o701, 0o702, 0o704] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).expect("its mode is set");
            let (reason, mend) = forbidden(Dir::create(&path, own_uid()));
            assert_eq!(reason, "is open to other users", "{bits:o}");
            assert!(std::process::Command::new("sh").args(["-c", &mend]).status().expect("sh is there").success());
            assert!(Dir::create(&path, own_uid()).is_ok(), "{mend}");
        }
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let dir = TestDir::new();
        let path = dir.path().join("state");
        fs::create_dir(&path).expect("it is made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("its mode is set");
        let (reason, mend) = forbidden(Dir::create(&path, own_uid() + 1));
        assert_eq!(reason, "belongs to another user");
        assert_eq!(mend, format!("sudo chown -R {} {}", own_uid() + 1, path.display()));
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_never_followed() {
        let dir = TestDir::new();
        let target = Dir::create(&dir.path().join("target"), own_uid()).expect("it is made");
        let link = dir.path().join("link");
        symlink(target.path(), &link).expect("it is made");
        assert_eq!(forbidden(Dir::create(&link, own_uid())).0, "is a symbolic link");
        symlink(target.path(), target.path().join("below")).expect("it is made");
        assert_eq!(forbidden(target.subdir("below")).0, "is a symbolic link");

        // One above the last component is the user's own arrangement.
        target.subdir("inner").expect("it is made");
        assert!(Dir::open(&link.join("inner"), own_uid()).is_ok());
    }

    #[test]
    fn what_is_in_a_directory_stays_reachable_when_another_takes_its_place() {
        let dir = TestDir::new();
        let path = dir.path().join("state");
        let state = Dir::create(&path, own_uid()).expect("it is made");
        fs::rename(&path, dir.path().join("moved")).expect("it is moved");
        fs::create_dir(&path).expect("another is made");
        state.create_file("file").expect("it is made");
        assert!(dir.path().join("moved/file").is_file());
        assert!(!path.join("file").exists());
    }

    #[test]
    fn a_file_is_private_plain_and_never_a_link() {
        let dir = TestDir::new();
        let state = Dir::create(&dir.path().join("state"), own_uid()).expect("it is made");
        state.create_file("file").expect("it is made");
        assert_eq!(mode(&state.path().join("file")), 0o600);
        assert!(state.read_file("file").is_ok());
        assert!(matches!(state.read_file("none"), Err(Error::Io { .. })));

        symlink(state.path().join("file"), state.path().join("link")).expect("it is made");
        assert_eq!(forbidden(state.create_file("link")).0, "is a symbolic link");
        assert_eq!(forbidden(state.read_file("link")).0, "is a symbolic link");
        let pipe = state.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("it is made");
        assert_eq!(forbidden(state.read_file("pipe")).0, "is no plain file");

        let mut names = state.names().expect("it is read");
        names.sort();
        assert_eq!(names, ["file", "link", "pipe"]);
        for name in ["link", "pipe", "none"] {
            state.remove_file(name).expect("it is removed");
        }
        assert_eq!(state.names().expect("it is read"), ["file"], "the link's target stays");
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let dir = TestDir::new();
        let mut state = Dir::create(&dir.path().join("state"), own_uid()).expect("it is made");
        state.create_file("file").expect("it is made");
        state.uid += 1;
        assert_eq!(forbidden(state.read_file("file")).0, "belongs to another user");
    }
}
