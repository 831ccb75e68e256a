//! The lock: a second open is refused with the holder's pid; handed over by descriptor, it never is free in between.

use crate::simulated::{self, SimClock, SimDisk, cases};
use crate::world::{Dir, open};
use abide_journal::{
    AppendOptions, Content, Disk, DiskSpace, Durability, Entry, Error, File, FileDisk, Journal, Level, Lock, Log,
    LogOptions, Lsn, Options, ReadLimit, SystemClock,
};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn try_open(options: Options) -> Result<Journal, Error> {
    Journal::open(Arc::new(FileDisk), Arc::new(SystemClock), options).map(|(journal, _)| journal)
}

#[test]
fn a_second_open_is_refused() {
    let dir = Dir::new();
    let (journal, _) = dir.open();
    match try_open(dir.options()) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    journal.close().wait().expect("closed");
    dir.open();
}

#[test]
fn dropping_the_last_handle_frees_it() {
    let dir = Dir::new();
    let log = {
        let (journal, _) = dir.open();
        journal.create_log("a", LogOptions::default()).wait().expect("created")
    };
    let ticket = log.append(Entry::data(0, "x"), AppendOptions::default());
    drop(log);
    assert!(matches!(try_open(dir.options()), Err(Error::Locked { .. })), "a ticket is a handle");
    drop(ticket);
    let (journal, _) = dir.open();
    let log = journal.log("a").expect("there");
    assert_eq!(log.info().expect("there").next.lsn.get(), 2, "what was asked for was carried out");
}

#[test]
fn handed_over_it_is_never_free() {
    let dir = Dir::new();
    for round in 1..=3 {
        let (journal, report) = dir.open();
        assert_eq!(report.incarnation.0, round * 2 - 1);
        let old = journal.clone();
        let lock = journal.into_lock().wait().expect("the lock");
        assert!(matches!(try_open(dir.options()), Err(Error::Locked { .. })), "a rival");
        assert!(matches!(old.create_log("a", LogOptions::default()).wait(), Err(Error::Closed)));
        let (journal, report) = open(Options { lock: Some(lock), ..dir.options() });
        assert!(report.clean);
        assert!(matches!(try_open(dir.options()), Err(Error::Locked { .. })), "a rival");
        journal.close().wait().expect("closed");
    }
}

#[test]
fn other_sizes_are_refused() {
    let dir = Dir::new();
    dir.open().0.close().wait().expect("closed");
    let other = Options { segment_bytes: 512 << 10, ..dir.options() };
    assert!(matches!(try_open(other), Err(Error::Format { .. })));
    std::fs::write(dir.path().join("store/store"), "abide-journal\n").expect("written");
    assert!(matches!(try_open(dir.options()), Err(Error::Format { .. })));
}

/// The operating system's disk, of which one sync fails: then every later one does.
#[derive(Debug)]
struct FailingDisk {
    syncs_left: Arc<AtomicI64>,
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn File>,
    syncs_left: Arc<AtomicI64>,
}

impl FailingDisk {
    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FailingFile { file, syncs_left: Arc::clone(&self.syncs_left) })
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        FileDisk.open(path).map(|file| self.wrap(file))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        FileDisk.create(path).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileDisk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        FileDisk.list(dir)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        FileDisk.make_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FileDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<DiskSpace> {
        FileDisk.free_bytes(dir)
    }

    fn lock(&self, path: &Path, inherited: Option<Lock>) -> io::Result<Lock> {
        FileDisk.lock(path, inherited)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Lock> {
        FileDisk.lock_shared(path)
    }

    fn still_locked(&self, path: &Path, lock: &Lock) -> bool {
        FileDisk.still_locked(path, lock)
    }
}

impl File for FailingFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(at, into)
    }

    fn write_at(&self, at: u64, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_at(at, buffers)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.syncs_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::other("the disk fails"));
        }
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// Not a test of its own: a process whose disk fails under load, and which then executes itself anew with the lock on its
/// standard input.
#[test]
fn poisoned_process() {
    let Some(dir) = std::env::var_os("ABIDE_JOURNAL_POISONED") else { return };
    let life: u32 = std::env::var("ABIDE_JOURNAL_LIFE").expect("set").parse().expect("a number");
    let lives: u32 = std::env::var("ABIDE_JOURNAL_LIVES").expect("set").parse().expect("a number");
    let lock = (life > 0).then(|| Lock::Descriptor(io::stdin().as_fd().try_clone_to_owned().expect("a descriptor")));
    let world = Options {
        lock,
        segment_bytes: 256 << 10,
        record_bytes_max: 64 << 10,
        append_bytes_max: 128 << 10,
        ..Options::new(&dir)
    };
    let world = Options { checkpoint_inline_bytes_max: 64 << 10, ..world };
    let disk = FailingDisk { syncs_left: Arc::new(AtomicI64::new(i64::MAX)) };
    let syncs_left = Arc::clone(&disk.syncs_left);
    let (journal, _) = Journal::open(Arc::new(disk), Arc::new(SystemClock), world).expect("opens");
    let get =
        |name| journal.log(name).or_else(|_| journal.create_log(name, LogOptions::default()).wait()).expect("a log");
    let (a, b) = (get("a"), get("b"));
    // The writer knows how far it had printed; what the store lost of that is named.
    let printed: u64 = std::env::var("ABIDE_JOURNAL_PRINTED").expect("set").parse().expect("a number");
    let end = a.info().expect("there").next.offset.0;
    if printed > end {
        a.append(Entry::gap(printed - end), AppendOptions::at(Durability::Always)).wait().expect("appended");
    }
    let mut printed = a.info().expect("there").next.offset.0;
    if life == lives {
        journal.close().wait().expect("closed");
        return;
    }
    syncs_left.store(i64::from(3 + life * 5 % 17), Ordering::SeqCst);
    let mut number = 0_u64;
    while journal.ended().is_none() {
        let bytes = vec![u8::try_from(life).expect("small"); 1 + usize::try_from(number % 3_000).expect("small")];
        let unit = vec![(a.clone(), Entry::data(0, bytes.clone())), (b.clone(), Entry::data(0, bytes.clone()))];
        let level = if number.is_multiple_of(4) { Durability::Always } else { Durability::Os };
        let ticket = journal.append_batch(unit, AppendOptions::at(level));
        printed += bytes.len() as u64;
        if number.is_multiple_of(7) {
            drop(ticket.wait());
        }
        number += 1;
    }
    // What it prints while the store is down.
    printed += 1_000;
    let Lock::Descriptor(fd) = journal.into_lock().wait().expect("the lock") else { panic!("a descriptor") };
    let error = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "one_process_has_the_store::poisoned_process", "--nocapture"])
        .env("ABIDE_JOURNAL_LIFE", (life + 1).to_string())
        .env("ABIDE_JOURNAL_PRINTED", printed.to_string())
        .stdin(Stdio::from(fd))
        .exec();
    panic!("{error}");
}

/// J17: poisoned under load, the process executes itself anew with the lock; a rival tries the lock all the time. Units of two
/// logs are whole or absent, and offsets behind a named loss are true.
#[test]
fn not_even_while_it_begins_anew() {
    let dir = Dir::new();
    let lives = u32::try_from(cases(12, 100)).expect("small");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "one_process_has_the_store::poisoned_process", "--nocapture"])
        .env("ABIDE_JOURNAL_POISONED", dir.path().join("store"))
        .env("ABIDE_JOURNAL_LIFE", "0")
        .env("ABIDE_JOURNAL_LIVES", lives.to_string())
        .env("ABIDE_JOURNAL_PRINTED", "0")
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    let lock = dir.path().join("store/lock");
    let (mut tries, mut got, mut last) = (0_u64, 0_u64, 0_u64);
    let status = loop {
        if let Some(status) = child.try_wait().expect("waited") {
            break status;
        }
        // Written under the lock of the first open, which the rival must not be in the way of.
        if tries == 0 && !dir.path().join("store/store").exists() {
            continue;
        }
        // Before its first open and after its end the store is free: only what is followed by a refusal lies between.
        if FileDisk.lock_shared(&lock).is_ok() {
            last += u64::from(tries > 0);
        } else {
            got += std::mem::take(&mut last);
            tries += 1;
        }
    };
    assert!(status.success(), "{status}");
    let (journal, report) = open(dir.options());
    assert!(report.clean && report.incarnation.0 == u64::from(lives) + 2, "{report:?}");
    let (mut a, b) = (contents(&journal.log("a").expect("there")), contents(&journal.log("b").expect("there")));
    let gaps = a.len();
    a.retain(|content| matches!(content, Content::Data(_)));
    let gaps = gaps - a.len();
    assert_eq!(a, b, "units are whole or absent");
    println!("Tally {tries} tries, {got} successes, {} units, {gaps} gaps", a.len());
    assert_eq!(got, 0, "a rival got it");
    let lives = usize::try_from(lives).expect("small");
    assert!(tries > 100 && a.len() > lives && gaps == lives, "{tries} {} {gaps}", a.len());
}

fn contents(log: &Log) -> Vec<Content> {
    let (mut all, mut next, mut offset) = (Vec::new(), Lsn::FIRST, 0);
    loop {
        let out = log.read(next, ReadLimit::default(), Level::Durable).expect("readable");
        if out.records.is_empty() {
            return all;
        }
        for record in out.records {
            assert_eq!(record.offset.0, offset, "offsets are true");
            offset = record.end_offset().0;
            all.push(record.content);
        }
        next = out.next.lsn.expect("a full cursor");
    }
}

/// A process stood still; somebody took its lock away, and another process has the store. Gone on, it writes nothing.
#[test]
fn a_process_that_was_put_aside_writes_nothing() {
    let (disk, clock) = (abide_sim::Disk::new(7), abide_sim::Clock::at_wall_us(1_700_000_000_000_000));
    let open = |seed| {
        let (disk, clock) = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
        Journal::open(disk, clock, simulated::options(seed)).expect("the store opens").0
    };
    let paused = open(1);
    let log = paused.create_log("a", LogOptions::default()).wait().expect("created");
    log.append(Entry::data(0, "before"), AppendOptions::at(Durability::Always)).wait().expect("appended");
    disk.remove(Path::new("store/lock")).expect("removed");
    let successor = open(2);
    let its = successor.log("a").expect("there");
    its.append(Entry::data(0, "its"), AppendOptions::at(Durability::Always)).wait().expect("appended");
    clock.advance_ms(1_000);
    let refused = log.append(Entry::data(0, "late"), AppendOptions::at(Durability::Always)).wait();
    assert!(refused.is_err(), "{refused:?}");
    let ended = paused.ended();
    assert!(matches!(ended, Some(Error::Poisoned(abide_journal::Cause::LockLost))), "{ended:?}");
    its.append(Entry::data(0, "after"), AppendOptions::at(Durability::Always)).wait().expect("appended");
    disk.freeze();
    drop((paused, log, successor, its));
    disk.processes_die();
    let read = open(3).log("a").expect("there").read(Lsn::FIRST, ReadLimit::default(), Level::Written).expect("read");
    let texts: Vec<&[u8]> = read
        .records
        .iter()
        .filter_map(|record| match &record.content {
            Content::Data(bytes) => Some(&bytes[..]),
            _ => None,
        })
        .collect();
    assert_eq!(texts, [&b"before"[..], b"its", b"after"]);
}
