//! A small append costs one write, at `Always` one sync more: no file is opened for it, nothing else is written.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{AppendOptions, Durability, Entry, Journal, LogOptions, Options};
use abide_sim::{Clock, Disk};
use std::sync::Arc;

const APPENDS: u64 = 100;

fn calls(durability: Durability) -> (u64, u64) {
    let disk = Disk::new(1);
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())));
    let options = Options { segment_bytes: 1 << 20, threads: true, ..options(1) };
    let (journal, _) = Journal::open(seams.0, seams.1, options).expect("opens");
    let log = journal.create_log("a", LogOptions { durability: Durability::Os, ..LogOptions::default() });
    let log = log.wait().expect("created");
    let append = || log.append(Entry::data(0, "x"), AppendOptions::at(durability)).wait().expect("appended");
    // The first one begins the epoch, which is synced.
    append();
    journal.sync().wait().expect("synced");
    let before = disk.counts();
    for _ in 0..APPENDS {
        append();
    }
    let after = disk.counts();
    (after.calls - before.calls, after.opens - before.opens)
}

#[test]
fn in_the_page_cache() {
    assert_eq!(calls(Durability::Os), (APPENDS, 0));
}

#[test]
fn on_the_disk() {
    assert_eq!(calls(Durability::Always), (2 * APPENDS, 0));
}
