//! J13: a store as format 1 has left it, committed as text, opens and tells all that it held: by this version and every
//! later one. It holds each kind of record that this version writes, two epochs, moved records, a
//! trimmed log, both forms of checkpoints, an index snapshot and a tail behind it.
//!
//! `ABIDE_WRITE_FIXTURE=1` writes it anew, which only a new format may need.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{
    AppendOptions, At, ByteOffset, Cursor, Durability, Entry, Error, Journal, Level, LogOptions, Lsn, OnDamage,
    Options, ReadLimit, Retention,
};
use abide_sim::{Clock, Disk};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FIXTURE: &str = include_str!("../golden/store-1.txt");
const DIRS: [&str; 4] = ["store", "store/segments", "store/index", "store/checkpoints"];

fn open(disk: &Disk, clock: &Clock, seed: u64, ratio: f64) -> Journal {
    let (disk, clock) = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
    let options = Options { checkpoint_inline_bytes_max: 1_000, compact_live_ratio: ratio, ..options(seed) };
    Journal::open(disk, clock, options).expect("opens").0
}

fn payload(lsn: u64) -> Vec<u8> {
    format!("record {lsn} ").repeat(usize::try_from(1 + lsn % 9).expect("small")).into_bytes()
}

fn entry(lsn: u64) -> Entry {
    match lsn % 5 {
        3 => Entry::mark(7, payload(lsn)),
        4 if lsn > 5 => Entry::gap(lsn * 100),
        _ => Entry::data(1, payload(lsn)),
    }
}

/// The store, as it is when its process dies.
fn make() -> Disk {
    let (disk, clock) = (Disk::new(13), Clock::at_wall_us(1_760_000_000_000_000));
    let journal = open(&disk, &clock, 1, 0.5);
    let plain = LogOptions { durability: Durability::Os, ..LogOptions::default() };
    let retention = Retention { bytes_max: 1 << 20, age_ms_max: 0, trim_at_checkpoint: true };
    let kept = LogOptions { retention, checkpoints_max: 5, on_damage: OnDamage::Refuse, essential: true, ..plain };
    let create = |name: &str, options| journal.create_log(name, options).wait().expect("created");
    let (a, trimmed, filler) = (create("terminal/a", plain), create("documents", kept), create("filler", plain));
    for lsn in 1..=40 {
        for log in [&a, &trimmed] {
            log.append(entry(lsn), AppendOptions::default()).wait().expect("appended");
        }
        clock.advance_ms(7);
    }
    a.set_meta("origin", b"first release").wait().expect("noted");
    trimmed.add_checkpoint(Lsn::new(20), vec![1; 300]).wait().expect("inline");
    trimmed.add_checkpoint(Lsn::new(30), vec![2; 3_000]).wait().expect("a file");
    trimmed.trim(Lsn::new(25).expect("not 0")).wait().expect("trimmed");
    // What fills the segment goes, and what is left in it is written again elsewhere.
    for _ in 0..8 {
        filler.append(Entry::data(0, vec![9; 8_000]), AppendOptions::default()).wait().expect("appended");
    }
    filler.drop_log().wait().expect("dropped");
    for _ in 0..20 {
        clock.advance_ms(300);
        while journal.turn() {}
    }
    journal.close().wait().expect("closed");
    drop((journal, a, trimmed, filler));
    disk.processes_die();
    let journal = open(&disk, &clock, 2, 0.0);
    for name in ["terminal/a", "documents"] {
        let log = journal.log(name).expect("there");
        for lsn in 41..=45 {
            log.append(entry(lsn), AppendOptions::at(Durability::Always)).wait().expect("appended");
        }
    }
    disk.freeze();
    drop(journal);
    disk.processes_die();
    disk
}

/// Rows of 32 bytes that are not zero, as hex digits behind their place.
fn to_text(disk: &Disk) -> String {
    let mut text = String::new();
    for dir in DIRS {
        for name in disk.list(Path::new(dir)).expect("a directory") {
            let path = Path::new(dir).join(&name);
            let file = disk.open(&path).expect("there");
            let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
            file.read_at(0, &mut bytes).expect("read");
            if name == "lock" {
                continue;
            }
            let _ = writeln!(text, "{} {}", path.display(), bytes.len());
            for (row, bytes) in bytes.chunks(32).enumerate().filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)) {
                let _ = write!(text, "{:08x} ", row * 32);
                for byte in bytes {
                    let _ = write!(text, "{byte:02x}");
                }
                text.push('\n');
            }
        }
    }
    text
}

fn from_text(text: &str) -> Disk {
    let disk = Disk::new(1);
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        let (left, right) = line.split_once(' ').expect("two fields");
        if left.starts_with("store") {
            files.push((left.into(), vec![0; right.parse().expect("a length")]));
            continue;
        }
        let at = usize::from_str_radix(left, 16).expect("a place");
        let (_, bytes) = files.last_mut().expect("a file");
        for (byte, digits) in bytes[at..].iter_mut().zip(right.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("digits");
        }
    }
    for (path, bytes) in files {
        let file = disk.create(&path).expect("made");
        file.write_at(0, &[&bytes]).expect("written");
        file.sync_data().expect("synced");
    }
    for dir in DIRS {
        disk.sync_dir(Path::new(dir)).expect("synced");
    }
    disk
}

fn check(journal: &Journal, name: &str, base: u64) {
    let log = journal.log(name).expect("there");
    let info = log.info().expect("there");
    assert_eq!((info.base.lsn.get(), info.next.lsn.get()), (base, 46));
    assert_eq!(info.epochs.iter().map(|entry| (entry.epoch, entry.start_lsn)).collect::<Vec<_>>(), [(1, 1), (2, 41)]);
    assert_eq!(info.last_mark.map(Lsn::get), Some(43));
    let (mut next, mut offset) = (info.base.lsn, info.base.offset.0);
    while next.get() < 46 {
        for record in log.read(next, ReadLimit::default(), Level::Written).expect("readable").records {
            let expected = entry(next.get());
            assert_eq!((record.lsn(), record.offset.0, record.tag), (next, offset, expected.tag));
            assert_eq!(record.content, expected.content);
            assert_eq!(record.epoch().0, 1 + u64::from(next.get() > 40));
            assert!(record.time_us >= 1_760_000_000_000_000);
            (next, offset) = (next.next(), record.end_offset().0);
        }
    }
    assert_eq!(info.next.offset, ByteOffset(offset));
    let out = log.read_bytes(Cursor::at(offset - 3), ReadLimit::default(), Level::Written, false).expect("readable");
    assert_eq!(out.records.iter().map(|piece| piece.content.advance()).sum::<u64>(), 3);
}

#[test]
fn and_tells_all_that_it_held() {
    if std::env::var_os("ABIDE_WRITE_FIXTURE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/store-1.txt");
        std::fs::write(path, to_text(&make())).expect("written");
        return;
    }
    let disk = from_text(FIXTURE);
    let journal = open(&disk, &Clock::default(), 3, 0.5);
    assert_eq!(journal.logs().iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["documents", "terminal/a"]);
    check(&journal, "terminal/a", 1);
    check(&journal, "documents", 21);
    let (a, documents) = (journal.log("terminal/a").expect("there"), journal.log("documents").expect("there"));
    assert_eq!(a.meta("origin").expect("there").as_deref(), Some(&b"first release"[..]));
    let options = documents.info().expect("there").options;
    assert_eq!(
        (options.retention.bytes_max, options.checkpoints_max, options.on_damage),
        (1 << 20, 5, OnDamage::Refuse)
    );
    assert!(options.essential && options.retention.trim_at_checkpoint && !options.self_contained);
    assert_eq!(documents.open_checkpoint(Lsn::new(20)).expect("verified")[..], [1; 300]);
    assert_eq!(documents.open_checkpoint(Lsn::new(30)).expect("verified")[..], [2; 3_000]);
    let at = documents.checkpoint_at(At::Lsn(Lsn::new(29).expect("not 0"))).expect("there");
    assert_eq!(at.and_then(|found| found.lsn), Lsn::new(20));
    assert!(matches!(journal.log("filler"), Err(Error::LogNotFound)));
    // It is a store like any other: it goes on.
    a.append(Entry::data(0, "on"), AppendOptions::at(Durability::Always)).wait().expect("appended");
    journal.close().wait().expect("closed");
}
