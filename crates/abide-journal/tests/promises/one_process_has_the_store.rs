//! The lock: a second open is refused with the holder's pid; handed over by descriptor, it never is free in between.

use crate::world::{Dir, open};
use abide_journal::{AppendOptions, Entry, Error, FileDisk, Journal, LogOptions, Options, SystemClock};
use std::sync::Arc;

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
