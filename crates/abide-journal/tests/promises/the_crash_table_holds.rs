//! J18: for each row of the specification's table of crashes, at five points around it or more, the next open finds what
//! the row says.

use crate::simulated::{SimClock, SimDisk, options};
use abide_journal::{
    AppendOptions, Appended, At, Content, Durability, Entry, Error, Journal, Level, Log, LogOptions, Lsn, Options,
    PositionAnswer, PositionQuery, ReadLimit, RecoveryReport,
};
use abide_sim::{Clock, Disk, Fault};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

fn open(disk: &Disk, seed: u64) -> Result<(Journal, RecoveryReport), Error> {
    let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())));
    let options = Options { checkpoint_inline_bytes_max: 1_000, chunk_bytes: 1_000, ..options(seed) };
    Journal::open(seams.0, seams.1, options)
}

fn payload(lsn: u64) -> Vec<u8> {
    vec![u8::try_from(lsn % 251).expect("a byte"); usize::try_from(1_000 + lsn * 97 % 2_000).expect("small")]
}

/// A store with one log. Nothing happens but when it is asked for: no clock moves.
struct Scene {
    disk: Disk,
    journal: Journal,
    log: Log,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let disk = Disk::new(seed);
        let (journal, _) = open(&disk, 1).expect("opens");
        let log = journal.create_log("a", LogOptions::default()).wait().expect("created");
        while journal.turn() {}
        Self { disk, journal, log }
    }

    fn append(&self, level: Durability) -> Result<Appended, Error> {
        let lsn = self.log.info().expect("there").next.lsn.get();
        self.log.append(Entry::data(0, payload(lsn)), AppendOptions::at(level)).wait()
    }

    fn head(&self) -> u64 {
        self.log.info().expect("there").next.lsn.get() - 1
    }

    fn calls(&self) -> u64 {
        self.disk.counts().calls
    }

    /// The process dies; what it asks of the disk while it is dropped is not carried out.
    fn killed(self) -> Disk {
        self.disk.freeze();
        drop((self.journal, self.log));
        self.disk.processes_die();
        self.disk
    }

    fn without_power(self) -> Disk {
        self.disk.freeze();
        drop((self.journal, self.log));
        self.disk.power_loss();
        self.disk
    }
}

/// Opens what a crash has left: the report, and the head of the log, whose records are as they were written.
fn found(disk: &Disk, seed: u64) -> (Journal, RecoveryReport, Log, u64) {
    let (journal, report) = open(disk, seed).expect("opens after any crash");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    let log = journal.log("a").expect("there");
    let info = log.info().expect("there");
    let (mut next, end) = (info.base.lsn, info.next.lsn);
    while next < end {
        for record in log.read(next, ReadLimit::default(), Level::Written).expect("readable").records {
            let Content::Data(bytes) = &record.content else { panic!("only data") };
            assert!(bytes[..] == payload(next.get())[..], "record {next} reads otherwise");
            next = next.next();
        }
    }
    let head = end.get() - 1;
    (journal, report, log, head)
}

/// The calls to the disk of what `step` does, and two before and behind.
fn around(scene: &Scene, step: impl FnOnce(&Scene)) -> RangeInclusive<u64> {
    let before = scene.calls();
    step(scene);
    let calls = before - 1..=scene.calls() + 2;
    assert!(calls.clone().count() >= 5, "{calls:?}");
    calls
}

/// Lets `course` run up to this call, where the process dies; whatever it had asked for then fails.
fn dies_at(call: u64, course: impl FnOnce(&Scene)) -> Disk {
    let scene = Scene::new(1);
    scene.disk.fail_after(call - scene.calls(), Fault::PowerLoss);
    course(&scene);
    assert_eq!(scene.disk.counts().faults, 1, "the crash came");
    scene.killed()
}

fn names(disk: &Disk, dir: &str) -> Vec<String> {
    disk.list(Path::new(dir)).expect("a directory")
}

/// The head of a segment's file: the number in it, 0 for none.
fn named_in_header(disk: &Disk, name: &str) -> u64 {
    let file = disk.open(&Path::new("store/segments").join(name)).expect("there");
    let mut bytes = [0; 8];
    file.read_at(32, &mut bytes).expect("read");
    u64::from_le_bytes(bytes)
}

/// Files among the segments whose header is missing, or names another segment.
fn headless(disk: &Disk) -> Vec<String> {
    let named = |name: &String| u64::from_str_radix(name.trim_end_matches(".seg"), 16).expect("a number");
    names(disk, "store/segments").into_iter().filter(|name| named_in_header(disk, name) != named(name)).collect()
}

#[test]
fn before_it_is_written_a_batch_is_absent_or_torn_and_cut() {
    let (mut absent, mut torn) = (0, 0);
    for before in 0..5 {
        for fault in [Fault::Error, Fault::Short] {
            let scene = Scene::new(1);
            for _ in 0..before {
                scene.append(Durability::Always).expect("appended");
            }
            scene.disk.fail_after(1, fault);
            let answer = scene.append(Durability::Os);
            assert!(matches!(answer, Err(Error::Unknown { .. } | Error::Poisoned(_))), "nobody is answered");
            let disk = scene.killed();
            let (_journal, report, _, head) = found(&disk, 2);
            assert_eq!(head, before);
            absent += u64::from(report.cut_bytes == 0);
            torn += u64::from(report.cut_bytes > 0);
        }
    }
    assert!(absent >= 5 && torn >= 5, "{absent} {torn}");
}

#[test]
fn written_and_killed_it_is_kept_copied_and_synced() {
    let mut copied = 0;
    for behind in 0..6 {
        let scene = Scene::new(behind);
        scene.append(Durability::Always).expect("appended");
        scene.append(Durability::Os).expect("written");
        for _ in 0..behind {
            scene.append(Durability::Os).expect("written");
        }
        let disk = scene.killed();
        let (journal, report, ..) = found(&disk, 2);
        assert_eq!(journal.logs()[0].next.lsn.get() - 1, behind + 2);
        copied += u64::from(report.copied_bytes > 0);
        // It is on the disk now, although nobody has asked for that.
        disk.freeze();
        drop(journal);
        disk.power_loss();
        let (.., head) = found(&disk, 3);
        assert_eq!(head, behind + 2, "what an open found survives");
    }
    assert_eq!(copied, 6);
}

#[test]
fn written_and_without_power_a_prefix_is_kept() {
    let (mut absent, mut torn, mut whole, mut diverged) = (0, 0, 0, 0);
    for seed in 0..60 {
        let scene = Scene::new(seed);
        scene.append(Durability::Always).expect("appended");
        let last: Vec<Appended> = (0..4).map(|_| scene.append(Durability::Os).expect("written")).collect();
        let disk = scene.without_power();
        let (_journal, report, log, head) = found(&disk, 2);
        assert!((1..=5).contains(&head), "{head}");
        for lost in last.iter().filter(|appended| appended.position.lsn.get() > head) {
            let behind = lost.position.lsn.next();
            let query = PositionQuery { epoch: Some(lost.position.epoch), at: At::Lsn(behind) };
            match log.check_position(query).expect("answered") {
                PositionAnswer::Diverged { common } => assert_eq!(common.lsn.get(), head + 1),
                other => panic!("seed {seed}: {other:?} for {behind} beyond {head}"),
            }
            diverged += 1;
        }
        match head {
            1 if report.cut_bytes == 0 => absent += 1,
            5 => whole += 1,
            _ => torn += 1,
        }
    }
    println!("Tally absent {absent}, torn {torn}, whole {whole}, diverged {diverged}");
    assert!(absent >= 5 && torn >= 5 && whole >= 5 && diverged >= 5);
}

/// Appends until a segment of this number is begun.
fn fill(scene: &Scene, segment: u64) {
    let begun = |disk: &Disk| {
        let name = format!("{segment:016x}.seg");
        names(disk, "store/segments").contains(&name) && named_in_header(disk, &name) == segment
    };
    for _ in 0..200 {
        if scene.append(Durability::Always).is_err() || begun(&scene.disk) {
            return;
        }
    }
    panic!("never begun");
}

#[test]
fn without_its_header_the_next_segment_does_not_exist() {
    let scene = Scene::new(1);
    let calls = {
        // Up to the last append before it.
        let probe = Scene::new(1);
        fill(&probe, 2);
        let last = probe.head();
        while scene.head() + 1 < last {
            scene.append(Durability::Always).expect("appended");
        }
        around(&scene, |scene| drop(scene.append(Durability::Always)))
    };
    let (mut without, mut with) = (0, 0);
    for call in calls {
        let mut acknowledged = 0;
        let disk = dies_at(call, |scene| {
            while let Ok(appended) = scene.append(Durability::Always) {
                acknowledged = appended.position.lsn.get();
            }
        });
        let begun = names(&disk, "store/segments").contains(&"0000000000000002.seg".to_owned());
        without += u64::from(begun && headless(&disk).len() == 1);
        with += u64::from(begun && headless(&disk).is_empty());
        let (_journal, report, _, head) = found(&disk, 2);
        assert!(head == acknowledged || head == acknowledged + 1, "call {call}: {head}, acknowledged {acknowledged}");
        assert_eq!(headless(&disk), [""; 0], "call {call}: what has no header is no part of the stream");
        assert!(!report.clean);
    }
    println!("Tally without {without}, with {with}");
    assert!(without >= 2 && with >= 1);
}

/// A course in which a spare segment becomes the next one: what is trimmed leaves whole segments.
fn reuse(scene: &Scene) {
    for round in 0..400 {
        let Ok(appended) = scene.append(Durability::Always) else { return };
        if round % 16 == 15 && scene.log.trim(appended.position.lsn).wait().is_err() {
            return;
        }
        while scene.journal.turn() {}
    }
}

#[test]
fn a_spare_segment_without_its_new_header_is_spare_again() {
    let (mut back, mut points) = (0, 0);
    let scene = Scene::new(1);
    reuse(&scene);
    let all = scene.calls();
    drop(scene.killed());
    for call in 100..all {
        let disk = dies_at(call, reuse);
        let old = |name: &String| {
            let number = u64::from_str_radix(name.trim_end_matches(".seg"), 16).expect("a number");
            let named = named_in_header(&disk, name);
            named != 0 && named != number
        };
        let renamed: Vec<String> = names(&disk, "store/segments").into_iter().filter(|name| old(name)).collect();
        if renamed.is_empty() {
            continue;
        }
        points += 1;
        let spares = names(&disk, "store/spare").len();
        let (_journal, ..) = found(&disk, 2);
        assert_eq!(headless(&disk), [""; 0], "call {call}");
        back += u64::from(names(&disk, "store/spare").len() > spares);
        if points >= 25 {
            break;
        }
    }
    println!("Tally {points} crashes with a renamed segment, {back} times it was spare again");
    assert!(points >= 5 && back == points);
}

#[test]
fn a_checkpoint_file_without_its_record_is_deleted() {
    let course = |scene: &Scene| {
        for _ in 0..3 {
            drop(scene.append(Durability::Always));
        }
        drop(scene.log.add_checkpoint(Lsn::new(2), vec![7; 5_000]).wait());
    };
    let scene = Scene::new(1);
    let first = scene.calls();
    course(&scene);
    let all = scene.calls();
    drop(scene.killed());
    let (mut orphans, mut recorded, mut none) = (0, 0, 0);
    for call in first + 1..=all {
        let disk = dies_at(call, course);
        let left = names(&disk, "store/checkpoints").len();
        let (_journal, _, log, _) = found(&disk, 2);
        let known = log.info().expect("there").checkpoints.len();
        assert_eq!(names(&disk, "store/checkpoints").len(), known, "call {call}: a file for each record, and no other");
        if known == 1 {
            assert_eq!(log.open_checkpoint(Lsn::new(2)).expect("whole")[..], [7; 5_000]);
        }
        match (left, known) {
            (1, 0) => orphans += 1,
            (1, 1) => recorded += 1,
            (0, 0) => none += 1,
            other => panic!("call {call}: {other:?}"),
        }
    }
    println!("Tally {orphans} orphans, {recorded} recorded, {none} before there was a file");
    assert!(orphans >= 5 && recorded >= 1 && none >= 5);
}

#[test]
fn on_a_full_disk_the_spare_segment_takes_the_tail() {
    for records in [1, 5, 10, 20, 30] {
        let scene = Scene::new(1);
        for _ in 0..records {
            scene.append(Durability::Always).expect("appended");
        }
        for _ in 0..40 {
            if !names(&scene.disk, "store/spare").is_empty() {
                break;
            }
            scene.append(Durability::Always).expect("appended");
            while scene.journal.turn() {}
        }
        let written = scene.head();
        let disk = scene.killed();
        // One spare segment, and none that was made ahead: it would be a second one.
        for name in names(&disk, "store/spare").iter().skip(1) {
            disk.remove(&Path::new("store/spare").join(name)).expect("removed");
        }
        for name in headless(&disk) {
            disk.remove(&Path::new("store/segments").join(name)).expect("removed");
        }
        assert_eq!(names(&disk, "store/spare").len(), 1);
        disk.set_capacity(u64::MAX - disk.free_bytes().0);
        let (journal, report, _, head) = found(&disk, 2);
        assert_eq!(head, written);
        assert!(report.copied_bytes > 0 && names(&disk, "store/spare").is_empty(), "it has taken the tail");
        disk.freeze();
        drop(journal);
        disk.processes_die();
        // Without one the store is full, and can be looked at.
        assert!(matches!(open(&disk, 3), Err(Error::Full)));
        disk.processes_die();
        let seams = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(Clock::default())));
        let (journal, _) = Journal::open_read_only(seams.0, seams.1, &options(4)).expect("for reading only");
        assert_eq!(journal.logs()[0].next.lsn.get() - 1, written);
    }
}
