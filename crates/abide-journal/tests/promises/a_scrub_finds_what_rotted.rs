//! What rots while nobody reads it is found by a scrub, noted durably, and served around; what is accepted stays named.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::format::DamageState;
use abide_journal::{
    AppendOptions, Durability, Entry, Error, Journal, Level, LogOptions, Lsn, OnDamage, Options, ReadLimit, ScrubStep,
};
use abide_sim::{Clock, Disk, Rng};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn seams(disk: &Disk) -> (Arc<SimDisk>, Arc<SimClock>) {
    (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())))
}

fn open(disk: &Disk, seed: u64) -> Journal {
    let (disk, clock) = seams(disk);
    let options = Options { checkpoint_inline_bytes_max: 2_000, ..options(seed) };
    Journal::open(disk, clock, options).expect("opens").0
}

fn steps(journal: &Journal) -> Vec<ScrubStep> {
    let mut pass = journal.scrub();
    std::iter::from_fn(|| pass.step()).collect::<Result<_, _>>().expect("read")
}

fn content(lsn: u64) -> Vec<u8> {
    let mut bytes = vec![0xa5; 700];
    bytes[..8].copy_from_slice(&lsn.to_le_bytes());
    bytes
}

/// 40 records rot where they lie: in the payload, which nothing but a reader looks at.
fn rot(disk: &Disk) -> BTreeSet<u64> {
    let mut rng = Rng::new(5);
    let mut hit: BTreeSet<u64> = BTreeSet::new();
    let files = disk.list(Path::new("store/segments")).expect("a directory");
    while hit.len() < 40 {
        let path = Path::new("store/segments").join(&files[rng.index(files.len())]);
        let file = disk.open(&path).expect("there");
        let mut image = vec![0; 64 << 10];
        let length = file.read_at(0, &mut image).expect("read");
        let wanted = 1 + rng.below(150);
        let place = (0..length.saturating_sub(700)).step_by(8).find(|at| image[*at..at + 700] == content(wanted)[..]);
        if let Some(place) = place
            && hit.insert(wanted)
        {
            assert!(disk.flip_bit(&path, place + 20 + rng.index(600), 3));
        }
    }
    hit
}

#[test]
fn and_names_exactly_that() {
    let disk = Disk::new(5);
    let journal = open(&disk, 1);
    for (name, on_damage) in [("serves", OnDamage::Serve), ("refuses", OnDamage::Refuse)] {
        let log = journal.create_log(name, LogOptions { on_damage, ..LogOptions::default() }).wait().expect("created");
        for lsn in 1..=150 {
            log.append(Entry::data(0, content(lsn)), AppendOptions::default()).wait().expect("appended");
        }
        log.add_checkpoint(Lsn::new(100), vec![1; 5_000]).wait().expect("added");
    }
    assert!(
        steps(&journal).iter().all(|step| step.damage.is_empty() && step.checkpoint.is_none()),
        "nothing rotted yet"
    );
    journal.close().wait().expect("closed");
    drop(journal);
    disk.processes_die();
    let hit = rot(&disk);
    let checkpoint = disk.list(Path::new("store/checkpoints")).expect("a directory")[0].clone();
    assert!(disk.flip_bit(&Path::new("store/checkpoints").join(checkpoint), 5_000, 1));
    // For reading only: told, and nothing written.
    let before = disk.counts().calls;
    let (sim, clock) = seams(&disk);
    let (journal, _) = Journal::open_read_only(sim, clock, &Options::new("store")).expect("opens");
    let told: usize = steps(&journal).iter().map(|step| step.damage.len()).sum();
    assert!(told > 0 && disk.counts().calls == before);
    drop(journal);
    disk.processes_die();
    let journal = open(&disk, 2);
    let found = steps(&journal);
    assert_eq!(found.iter().filter(|step| step.checkpoint.is_some()).count(), 1);
    let mut named = BTreeSet::new();
    for damage in found.iter().flat_map(|step| &step.damage) {
        named.extend(damage.from.get()..=damage.to.expect("records").get());
        assert!(damage.file.starts_with("store/segments"));
    }
    assert_eq!(named, hit, "all of it, and nothing else");
    assert!(steps(&journal).iter().map(|step| step.damage.len()).sum::<usize>() == told, "told again, noted once");
    disk.freeze();
    drop(journal);
    disk.processes_die();
    let journal = open(&disk, 3);
    for info in journal.logs() {
        assert!(!info.damage.is_empty() && info.damage.iter().all(|damage| damage.state == DamageState::Found));
        if info.name == "refuses" {
            assert!(matches!(journal.log("refuses"), Err(Error::Corrupt(_))));
        }
        for damage in info.damage {
            journal.accept_loss(&info.name, damage).wait().expect("accepted");
        }
        let log = journal.log(&info.name).expect("given out again");
        let (mut next, mut lost) = (Lsn::FIRST, 0);
        while next.get() <= 150 {
            match log.read(next, ReadLimit::default(), Level::Written) {
                Ok(out) => next = out.next.lsn.expect("a full cursor"),
                Err(Error::Corrupt(corruption)) => {
                    let range = corruption.range.as_ref().expect("a range");
                    lost += range.to.get() - range.from.get() + 1;
                    next = range.behind.lsn;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(lost > 0 && lost <= 40);
        log.append(Entry::data(0, "on"), AppendOptions::at(Durability::Always)).wait().expect("appended");
    }
}
