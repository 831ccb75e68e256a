//! A holder's files: its socket, the exit record, and the spill. All are reached through directories that are opened
//! once, and their names are made before the start: nothing here allocates afterwards.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::exit_record::ExitRecord;
use crate::hooks::Hooks;
use crate::spec::Spec;

/// A file that this holder makes: a name in a directory, and the name that it has until it is complete.
struct Place {
    dir: OwnedFd,
    name: CString,
    temporary: CString,
}

impl Place {
    fn new(path: &Path) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        let (dir, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
        let temporary = [b".".as_slice(), name.as_bytes(), format!(".{}", std::process::id()).as_bytes()].concat();
        Ok(Self { dir: open_dir(dir)?, name: CString::new(name.as_bytes())?, temporary: CString::new(temporary)? })
    }

    fn remove(&self, name: &CStr) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// All of them.
pub(crate) struct Files {
    socket: Place,
    socket_inode: u64,
    exit_file: Place,
    spill_dir: OwnedFd,
    spill: Option<OwnedFd>,
    spill_name: CString,
}

impl Files {
    /// Opens the directories, and binds the socket at its place: complete, listening, or not at all. `EEXIST`: another
    /// holder has the place.
    pub(crate) fn make(spec: &Spec) -> io::Result<(Self, OwnedFd)> {
        let socket = Place::new(&spec.paths.socket)?;
        let exit_file = Place::new(&spec.paths.exit_file)?;
        let spill_dir = open_dir(&spec.paths.spill_dir)?;
        let spill_name = CString::new(format!(".spill.{}", std::process::id()))?;
        let (listener, socket_inode) = listen(&socket)?;
        Ok((Self { socket, socket_inode, exit_file, spill_dir, spill: None, spill_name }, listener))
    }

    /// Removes socket and exit file. What another has put in the socket's place since is left alone.
    pub(crate) fn remove(&self) {
        let found = rustix::fs::statat(&self.socket.dir, &self.socket.name, AtFlags::SYMLINK_NOFOLLOW);
        // A failure leaves files that the daemon's next start removes.
        let _left = self.exit_file.remove(&self.exit_file.name);
        if found.is_ok_and(|found| found.st_ino == self.socket_inode) {
            let _left = self.socket.remove(&self.socket.name);
        }
    }

    /// Writes the exit record so that it is there whole and for good, or not at all.
    pub(crate) fn write_exit(&self, record: &ExitRecord, hooks: &Hooks) -> Result<(), Errno> {
        let place = &self.exit_file;
        let mut line = [0; 512];
        let bytes = record.write_to(&mut line).ok_or(Errno::MSGSIZE)?;
        hooks.pass("exit_file")?;
        place.remove(&place.temporary)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.dir, &place.temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let written = write_all(&file, &line[..bytes])
            .and_then(|()| rustix::fs::fdatasync(&file))
            .and_then(|()| rustix::fs::renameat(&place.dir, &place.temporary, &place.dir, &place.name))
            .and_then(|()| rustix::fs::fsync(&place.dir));
        if written.is_err() {
            let _left = place.remove(&place.temporary);
        }
        written
    }

    /// The spill's descriptor, if it was made.
    pub(crate) fn spill(&self) -> Option<&OwnedFd> {
        self.spill.as_ref()
    }

    /// Writes to the spill, which has no name: it lives and dies with this process and those it is passed to.
    pub(crate) fn write_spill(&mut self, position: u64, bytes: &[u8], hooks: &Hooks) -> Result<usize, Errno> {
        hooks.pass("spill")?;
        if self.spill.is_none() {
            self.spill = Some(self.make_spill()?);
        }
        let Some(file) = &self.spill else { return Err(Errno::BADF) };
        rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, position))
    }

    fn make_spill(&self) -> Result<OwnedFd, Errno> {
        let (mode, flags) = (Mode::RUSR | Mode::WUSR, OFlags::RDWR | OFlags::CLOEXEC);
        match rustix::fs::openat(&self.spill_dir, c".", flags | OFlags::TMPFILE, mode) {
            // The file system has no unnamed files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {}
            result => return result,
        }
        let named = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.spill_dir, &self.spill_name, named, mode)?;
        rustix::fs::unlinkat(&self.spill_dir, &self.spill_name, AtFlags::empty())?;
        Ok(file)
    }

    /// Gives the spill's disk space back.
    pub(crate) fn cut_spill(&self) -> Result<(), Errno> {
        self.spill.as_ref().map_or(Ok(()), |file| rustix::fs::ftruncate(file, 0))
    }
}

/// Binds under a temporary name, listens, and only then takes the place: a path that refuses connections is stale.
fn listen(place: &Place) -> io::Result<(OwnedFd, u64)> {
    use std::os::fd::AsRawFd;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Through the directory's descriptor: the path itself may be longer than an address.
    let name = place.temporary.to_string_lossy();
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", place.dir.as_raw_fd()))?;
    place.remove(&place.temporary)?;
    rustix::net::bind(&listener, &address)?;
    let linked = rustix::net::listen(&listener, BACKLOG)
        .and_then(|()| rustix::fs::linkat(&place.dir, &place.temporary, &place.dir, &place.name, AtFlags::empty()))
        .and_then(|()| rustix::fs::statat(&place.dir, &place.temporary, AtFlags::SYMLINK_NOFOLLOW));
    place.remove(&place.temporary)?;
    Ok((listener, linked?.st_ino))
}

/// Connections that wait to be accepted: a daemon, and a few probes.
const BACKLOG: i32 = 64;

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}
