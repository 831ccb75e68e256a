//! A store with a byte that was changed, or with its end cut off: living programs are all taken up again and nothing is
//! invented; or the start is refused by name, nothing is touched, and with the store out of the way all live on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use abide_sim::Rng;
use abide_terminal::Record;

use crate::harness::{Place, SOON, is_alive, size};

/// What a session that has ended printed.
const PRINTED: u64 = 2_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_name() != "lock" && entry.file_name() != "LOCK" {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(directory).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// The end of what was written: behind it the file is zeros.
fn end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

struct Damaged {
    place: Place,
    whole: PathBuf,
    journal: PathBuf,
    programs: BTreeSet<u32>,
    served: usize,
    refused: usize,
}

impl Damaged {
    /// Three sessions, one of which has ended, and a copy of their store as a killed daemon left it.
    fn new() -> Self {
        let place = Place::new();
        place.session("ended", &format!("seq {PRINTED}"));
        place.wait_end("ended");
        for name in ["one", "two"] {
            place.session(name, "echo begins; exec cat");
            place.wait_output(name, 0);
        }
        let programs = ["one", "two"].iter().filter_map(|name| place.record(name).pid).collect();
        place.kill_daemon();
        let (journal, whole) = (place.state().join("journal"), place.work().join("whole"));
        copy(&journal, &whole);
        Self { place, whole, journal, programs, served: 0, refused: 0 }
    }

    /// The records once every program that lives is known by its number. Each look is a command of its own.
    fn taken_up(&self, what: &str) -> Vec<Record> {
        let deadline = Instant::now() + SOON;
        loop {
            let records = self.place.records();
            let known = |record: &Record| record.exit.is_some() || record.pid.is_some();
            if records.iter().all(known) {
                return records;
            }
            assert!(Instant::now() < deadline, "{what}: {records:?}");
        }
    }

    /// Starts a daemon on the store with this damage, and looks what it makes of it.
    fn start(&mut self, what: &str, spoil: impl FnOnce(&Path)) {
        fs::remove_dir_all(&self.journal).unwrap();
        copy(&self.whole, &self.journal);
        spoil(&self.journal);
        let before = contents(&self.journal);
        let opened = |place: &Place| place.log().matches("the journal is open").count();
        let before_start = opened(&self.place);
        let up = self.place.run(&["up"]);
        assert!(self.programs.iter().all(|pid| is_alive(*pid)), "{what}: programs live on");
        if !up.status.success() {
            let log = self.place.log();
            let last = log.lines().next_back().unwrap_or_default();
            assert!(["journal", "registry", "store"].iter().any(|word| last.contains(word)), "{what}: {last}");
            // What the journal can read and the registry cannot was opened.
            let untouched = opened(&self.place) > before_start || contents(&self.journal) == before;
            assert!(untouched, "{what}: nothing is touched");
            self.refused += 1;
            return;
        }
        let records = self.taken_up(what);
        let found: BTreeSet<u32> =
            records.iter().filter(|record| record.exit.is_none()).filter_map(|r| r.pid).collect();
        assert_eq!(found, self.programs, "{what}: all are taken up: {records:?}");
        for record in records.iter().filter(|record| record.exit.is_some()) {
            let printed = self.place.run(&["logs", &record.id.to_string()]).stdout;
            for line in String::from_utf8_lossy(&printed).lines() {
                // Where output is missing a line may be cut.
                let known = line.trim_end().parse::<u64>().is_ok_and(|number| number <= PRINTED);
                assert!(known || line.trim_end().is_empty(), "{what}: invented: {line:?}");
            }
        }
        self.place.kill_daemon();
        self.served += 1;
    }
}

#[test]
fn damage_is_named_or_refused() {
    let (flips, cuts) = (size(20, 500), size(20, 4_096));
    let mut damaged = Damaged::new();
    let mut dice = Rng::new(21);
    for _ in 0..flips {
        let place = dice.below(u64::MAX);
        damaged.start(&format!("flip {place}"), |journal| {
            let all = contents(journal);
            let written: usize = all.iter().map(|(_, bytes)| end(bytes)).sum();
            let mut at = usize::try_from(place).unwrap() % written;
            for (file, mut bytes) in all {
                let here = end(&bytes);
                if at < here {
                    bytes[at] ^= 0x40;
                    return fs::write(file, bytes).unwrap();
                }
                at -= here;
            }
        });
    }
    let step = 4_096 / cuts;
    for cut in (0..4_096).step_by(step.max(1)).take(cuts) {
        damaged.start(&format!("cut {cut}"), |journal| {
            let segments = journal.join("segments");
            let (file, mut bytes) = contents(&segments).pop().unwrap();
            let end = end(&bytes).saturating_sub(cut);
            bytes[end..].fill(0);
            fs::write(file, bytes).unwrap();
        });
    }
    assert_eq!(damaged.served + damaged.refused, flips + cuts);
    assert!(damaged.served > 0, "no damage was survived");
    // Whatever the damage: with the store out of the way all live on.
    fs::rename(&damaged.journal, damaged.place.work().join("aside")).unwrap();
    damaged.place.start_daemon();
    let found: BTreeSet<u32> = damaged.taken_up("no store").iter().filter_map(|record| record.pid).collect();
    assert_eq!(found, damaged.programs);
    println!("{flips} bytes changed, {cuts} ends cut: {} served, {} refused", damaged.served, damaged.refused);
}
