//! The lock of a daemon on its directories: one daemon for each, however many are started at once.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{AtFlags, FlockOperation, flock, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::dirs::{Dir, Error};
use crate::ids::DaemonEpoch;
use crate::sys;

/// Name of the lock file in the directory of the sockets.
const NAME: &str = "daemon.lock";
/// A lock file is one short line; more of it is not read.
const LINE_BYTES_MAX: u64 = 4096;
/// How often a lock file that vanishes while it is being locked is opened again.
const ATTEMPTS_MAX: usize = 16;

/// Who has the lock, in one line of JSON: for people, and for daemons on other hosts that share the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its process id on its host.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start_time: u64,
    /// The host's name.
    pub host: String,
    /// The daemon's version.
    pub version: String,
    /// The daemon's epoch; 0 until it has one.
    pub daemon_epoch: DaemonEpoch,
}

/// The name of this host.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What came of trying to take the lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Taken(Lock),
    /// Another process has it, and may have said who it is.
    Held(Option<Owner>),
}

/// The lock, held until this value and every duplicate of its descriptor is gone.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Tries to take the lock, without waiting.
    ///
    /// # Errors
    /// There is something else than a plain file of this user, or the system refuses.
    pub fn take(run: &Dir) -> Result<Attempt, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let mut file = run.create_file(NAME)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(Attempt::Held(read(&mut file))),
                Err(errno) => return Err(failed(run, errno.into())),
            }
            let lock = Self { file };
            // Who removed the file between our opening and locking it may have made and locked another.
            if lock.is_current(run).map_err(|error| failed(run, error))? {
                return Ok(Attempt::Taken(lock));
            }
        }
        Err(failed(run, io::Error::other("the file is removed again and again")))
    }

    /// Takes over the lock that a former daemon passed on, by the number of its descriptor. It is another's if the lock
    /// file at its path is not that one any more.
    ///
    /// # Errors
    /// There is no such descriptor, or it does not hold a lock.
    pub fn inherit(number: RawFd, run: &Dir) -> Result<Attempt, Error> {
        let file = File::from(sys::inherit(number).map_err(|error| failed(run, error))?);
        // On the descriptor that holds the lock this changes nothing, on any other it fails.
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| failed(run, errno.into()))?;
        let lock = Self { file };
        match lock.is_current(run) {
            Ok(true) => Ok(Attempt::Taken(lock)),
            Ok(false) => Ok(Attempt::Held(None)),
            Err(error) => Err(failed(run, error)),
        }
    }

    /// Whether the lock file at its path is still the one that is held here: by device and inode. If not, another daemon
    /// may have taken this one's place.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn is_current(&self, run: &Dir) -> io::Result<bool> {
        let held = self.file.metadata()?;
        match statat(run.fd(), NAME, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (held.dev(), held.ino())),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Says who has it.
    ///
    /// # Errors
    /// It cannot be written; the lock holds all the same.
    pub fn write(&self, owner: &Owner) -> io::Result<()> {
        let mut line = serde_json::to_vec(owner)?;
        line.push(b'\n');
        self.file.write_all_at(&line, 0)?;
        self.file.set_len(line.len() as u64)
    }
}

impl AsFd for Lock {
    /// The descriptor, to be passed on to a successor.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Reads who has a lock; none if that is not written, or only half.
fn read(file: &mut File) -> Option<Owner> {
    file.rewind().ok()?;
    let mut line = Vec::new();
    file.take(LINE_BYTES_MAX).read_to_end(&mut line).ok()?;
    serde_json::from_slice(&line).ok()
}

fn failed(run: &Dir, source: io::Error) -> Error {
    Error::Io { path: run.path().join(NAME), source }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::Barrier;

    use super::*;
    use crate::test_dir::TestDir;

    fn run_dir(root: &TestDir) -> Dir {
        Dir::create(&root.path().join("run"), rustix::process::getuid().as_raw()).expect("it is made")
    }

    fn owner(epoch: u64) -> Owner {
        Owner {
            pid: 4711,
            start_time: 99,
            host: "host".to_owned(),
            version: "0.1.0".to_owned(),
            daemon_epoch: DaemonEpoch(epoch),
        }
    }

    /// The lock, once nobody has it: what other tests start has copies of its descriptor for a moment.
    fn freed(run: &Dir) -> Lock {
        loop {
            if let Attempt::Taken(lock) = Lock::take(run).expect("it can be tried") {
                return lock;
            }
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn taken(attempt: Result<Attempt, Error>) -> Lock {
        match attempt.expect("it can be tried") {
            Attempt::Taken(lock) => lock,
            Attempt::Held(owner) => panic!("held by {owner:?}"),
        }
    }

    #[track_caller]
    fn held(attempt: Result<Attempt, Error>) -> Option<Owner> {
        match attempt.expect("it can be tried") {
            Attempt::Taken(_) => panic!("it was taken"),
            Attempt::Held(owner) => owner,
        }
    }

    #[test]
    fn one_has_the_lock_and_the_others_are_told_who() {
        let root = TestDir::new();
        let run = run_dir(&root);
        let lock = taken(Lock::take(&run));
        assert_eq!(held(Lock::take(&run)), None, "nothing is written yet");
        for epoch in [1_000_000, 1] {
            lock.write(&owner(epoch)).expect("it is written");
            assert_eq!(held(Lock::take(&run)), Some(owner(epoch)), "a shorter line leaves nothing of a longer one");
        }
        drop(lock);
        let next = freed(&run);
        assert!(next.is_current(&run).expect("it can be told"), "the file of a former daemon is used again");
    }

    #[test]
    fn of_many_that_race_one_wins() {
        let (racers, rounds) = (10, 50);
        for _ in 0..rounds {
            let root = TestDir::new();
            let run = run_dir(&root);
            let (start, end) = (Barrier::new(racers), Barrier::new(racers));
            let race = || {
                start.wait();
                let attempt = Lock::take(&run);
                end.wait();
                matches!(attempt.expect("it can be tried"), Attempt::Taken(_))
            };
            let wins = std::thread::scope(|scope| {
                let racing: Vec<_> = (0..racers).map(|_| scope.spawn(race)).collect();
                racing.into_iter().map(|racer| racer.join().expect("it raced")).filter(|&won| won).count()
            });
            assert_eq!(wins, 1);
        }
    }

    #[test]
    fn a_lock_whose_file_was_removed_or_replaced_is_not_current() {
        let root = TestDir::new();
        let run = run_dir(&root);
        let old = taken(Lock::take(&run));
        assert!(old.is_current(&run).expect("it can be told"));
        run.remove_file(NAME).expect("it is removed");
        assert!(!old.is_current(&run).expect("it can be told"));
        let new = taken(Lock::take(&run));
        assert!(!old.is_current(&run).expect("it can be told"));
        assert!(new.is_current(&run).expect("it can be told"));
    }

    #[test]
    fn a_lock_is_passed_on_without_a_moment_in_which_nobody_has_it() {
        let root = TestDir::new();
        let run = run_dir(&root);
        let first = taken(Lock::take(&run));
        let second = taken(Lock::inherit(first.as_fd().as_raw_fd(), &run));
        drop(first);
        held(Lock::take(&run));
        drop(second);
        freed(&run);
    }

    #[test]
    fn only_the_lock_itself_can_be_inherited() {
        let root = TestDir::new();
        let run = run_dir(&root);
        let other = run.create_file("other").expect("it is made");
        assert_eq!(held(Lock::inherit(other.as_raw_fd(), &run)), None, "another file");
        assert!(Lock::inherit(2, &run).is_err(), "a standard stream");
        assert!(Lock::inherit(1_000_000, &run).is_err(), "a number without a descriptor");
        let _lock = taken(Lock::take(&run));
        let same_file = run.create_file(NAME).expect("it is opened");
        assert!(Lock::inherit(same_file.as_raw_fd(), &run).is_err(), "opened anew, so not the one that holds it");
    }

    #[test]
    fn what_lies_in_the_locks_place_is_not_followed() {
        let root = TestDir::new();
        let run = run_dir(&root);
        std::os::unix::fs::symlink("/etc/passwd", run.path().join(NAME)).expect("it is made");
        assert!(matches!(Lock::take(&run), Err(Error::Forbidden { .. })));
    }

    #[test]
    fn the_line_is_a_contract() {
        let line = r#"{"pid":4711,"start_time":99,"host":"host","version":"0.1.0","daemon_epoch":12}"#;
        assert_eq!(serde_json::to_string(&owner(12)).expect("it is JSON"), line);
        assert!(!host_name().is_empty());
    }
}
