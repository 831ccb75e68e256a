//! J1: random operations on a store and on a model of it, trims and pins among them; both views agree with the model, over any number of opens.

use crate::simulated::{SimClock, SimDisk, cases, options};
use abide_journal::{
    AppendOptions, At, ByteOffset, Content, Cursor, Durability, Entry, Error, Expect, Follower, From, Journal, Level,
    Log, LogOptions, Lsn, Pin, ReadLimit, Record,
};
use abide_sim::{Disk, Rng};
use std::collections::BTreeMap;
use std::sync::Arc;

const NAMES: [&str; 5] = ["a", "b", "terminal/c", "d.e", "f"];

#[derive(Clone, Default)]
struct ModelLog {
    records: Vec<Entry>,
    /// Offset of each record, and of the end.
    offsets: Vec<u64>,
    checkpoints: BTreeMap<u64, Vec<u8>>,
    meta: BTreeMap<String, Vec<u8>>,
    created: u64,
    /// First record kept, counted from 0.
    base: usize,
}

impl ModelLog {
    fn new(created: u64) -> Self {
        Self { offsets: vec![0], created, ..Self::default() }
    }

    fn push(&mut self, entry: Entry) {
        self.offsets.push(self.end() + entry.content.advance());
        self.records.push(entry);
    }

    fn base(&self) -> u64 {
        self.base as u64 + 1
    }

    fn base_offset(&self) -> u64 {
        self.offsets[self.base]
    }

    fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn next(&self) -> u64 {
        self.records.len() as u64 + 1
    }

    /// LSN of the first record at an offset, or of the one that holds it.
    fn first_at(&self, offset: u64) -> u64 {
        let holds = |index: &usize| self.offsets[*index] == offset || self.offsets[index + 1] > offset;
        (self.base..self.records.len()).find(holds).map_or(self.next(), |index| index as u64 + 1)
    }

    /// Asserts that a piece is what stands at (lsn, offset), and says what stands behind it.
    fn check_piece(&self, piece: &Record, lsn: u64, offset: u64) -> (u64, u64) {
        let index = usize::try_from(lsn - 1).expect("an index");
        assert_eq!((piece.lsn().get(), piece.offset.0), (lsn, offset));
        let entry = &self.records[index];
        assert_eq!(piece.tag, entry.tag);
        let skip = offset - self.offsets[index];
        match (&piece.content, &entry.content) {
            (Content::Data(piece), Content::Data(whole)) => {
                let from = usize::try_from(skip).expect("an index");
                assert_eq!(piece[..], whole[from..from + piece.len()]);
            }
            (Content::Gap(piece), Content::Gap(whole)) => assert_eq!(*piece, whole - skip),
            (piece, whole) => assert_eq!(piece, whole),
        }
        let end = piece.end_offset().0;
        if end == self.offsets[index + 1] { (lsn + 1, end) } else { (lsn, end) }
    }
}

#[derive(Default, Debug)]
struct Tally {
    appended: u64,
    conflicts: u64,
    units: u64,
    read: u64,
    pieces: u64,
    inside: u64,
    followed: u64,
    checkpoints: u64,
    thinned: u64,
    drops: u64,
    opens: u64,
    clean: u64,
    segments_freed: u64,
    trims: u64,
    pinned: u64,
    trimmed_reads: u64,
}

struct Following {
    follower: Follower,
    name: &'static str,
    created: u64,
    lsn: u64,
    offset: u64,
}

struct World {
    rng: Rng,
    disk: Disk,
    clock: abide_sim::Clock,
    journal: Journal,
    model: BTreeMap<&'static str, ModelLog>,
    followers: Vec<Following>,
    /// Pins with the log's creation and the first record that they keep.
    pins: Vec<(Pin, u64, u64)>,
    created: u64,
    seed: u64,
    opens: u64,
}

fn entry(rng: &mut Rng) -> Entry {
    let length = [0, 1, 60, 500, 4_000, 12_000][rng.index(6)];
    let bytes: Vec<u8> = (0..rng.index(length + 1)).map(|_| u8::try_from(rng.below(256)).expect("a byte")).collect();
    let tag = u8::try_from(rng.below(256)).expect("a byte");
    match rng.below(10) {
        0..=5 => Entry::data(tag, bytes),
        6..=8 => Entry::mark(tag, bytes),
        _ => Entry::gap(1 + rng.below(100_000)),
    }
}

impl World {
    fn open(disk: &Disk, clock: &abide_sim::Clock, seed: u64) -> Journal {
        let (disk, clock) = (Arc::new(SimDisk(disk.clone())), Arc::new(SimClock(clock.clone())));
        Journal::open(disk, clock, options(seed)).expect("opens").0
    }

    fn new(seed: u64) -> Self {
        let (disk, clock) = (Disk::new(seed), abide_sim::Clock::at_wall_us(1_700_000_000_000_000));
        let journal = Self::open(&disk, &clock, seed);
        Self {
            rng: Rng::new(seed),
            disk,
            clock,
            journal,
            model: BTreeMap::new(),
            followers: Vec::new(),
            pins: Vec::new(),
            created: 0,
            seed,
            opens: 1,
        }
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.rng.index(NAMES.len())]
    }

    /// Some log that exists.
    fn some_log(&mut self) -> Option<(&'static str, Log)> {
        let name = self.name();
        let found = self.journal.log(name);
        assert_eq!(found.is_ok(), self.model.contains_key(name));
        found.ok().map(|log| (name, log))
    }

    fn step(&mut self, tally: &mut Tally) {
        match self.rng.below(100) {
            0..=9 => self.create(),
            10..=39 => self.append(tally),
            40..=49 => self.append_unit(tally),
            50..=59 => self.read(tally),
            60..=69 => self.read_bytes(tally),
            70..=74 => self.begin_following(),
            75..=84 => self.follow(tally),
            85..=89 => self.checkpoint(tally),
            90 => self.remove_checkpoint(),
            91 => self.pin(tally),
            93 => self.set_meta(),
            94 => self.sync(),
            95 => self.drop_log(tally),
            92 | 96 => self.trim(tally),
            97..=98 => self.clock.advance_ms(self.rng.below(2_000)),
            _ => self.reopen(tally),
        }
        if self.rng.percent(50) {
            while self.journal.turn() {}
        }
    }

    fn create(&mut self) {
        let name = self.name();
        let checkpoints_max = u32::try_from(1 + self.rng.below(6)).expect("small");
        let created = self.journal.create_log(name, LogOptions { checkpoints_max, ..LogOptions::default() }).wait();
        match created {
            Ok(_) => {
                self.created += 1;
                let old = self.model.insert(name, ModelLog::new(self.created));
                assert!(old.is_none(), "created twice");
            }
            Err(Error::LogExists) => assert!(self.model.contains_key(name)),
            Err(error) => panic!("{error}"),
        }
    }

    fn append(&mut self, tally: &mut Tally) {
        let Some((name, log)) = self.some_log() else { return };
        let model = self.model.get_mut(name).expect("exists");
        let entry = entry(&mut self.rng);
        let wrong = self.rng.percent(20);
        let expect = match self.rng.below(3) {
            0 => Some(Expect::Lsn(Lsn::new(model.next() + u64::from(wrong)).expect("not 0"))),
            1 => Some(Expect::Offset(ByteOffset(model.end() + u64::from(wrong)))),
            _ => None,
        };
        let durability = [Durability::Os, Durability::Interval, Durability::Always][self.rng.index(3)];
        let ticket = log.append(entry.clone(), AppendOptions { durability: Some(durability), expect });
        let refused = wrong && expect.is_some();
        if self.rng.percent(50) || refused {
            match ticket.wait() {
                Ok(appended) => {
                    assert!(!refused);
                    assert_eq!((appended.position.lsn.get(), appended.offset.0), (model.next(), model.end()));
                }
                Err(Error::AppendConflict { next_lsn, next_offset, .. }) => {
                    assert!(refused);
                    assert_eq!((next_lsn.get(), next_offset.0), (model.next(), model.end()));
                    tally.conflicts += 1;
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        model.push(entry);
        tally.appended += 1;
    }

    fn append_unit(&mut self, tally: &mut Tally) {
        let mut entries = Vec::new();
        let mut names = Vec::new();
        for _ in 0..=self.rng.below(4) {
            let Some((name, log)) = self.some_log() else { return };
            let entry = entry(&mut self.rng);
            names.push((name, entry.clone()));
            entries.push((log, entry));
        }
        let size: usize = names
            .iter()
            .map(|(_, entry)| match &entry.content {
                Content::Data(bytes) | Content::Mark(bytes) => bytes.len().next_multiple_of(8) + 56,
                Content::Gap(_) => 64,
            })
            .sum();
        match self.journal.append_batch(entries, AppendOptions::default()).wait() {
            Ok(appended) => {
                for (appended, (name, entry)) in appended.iter().zip(names) {
                    let model = self.model.get_mut(name).expect("exists");
                    assert_eq!((appended.position.lsn.get(), appended.offset.0), (model.next(), model.end()));
                    model.push(entry);
                }
                tally.units += 1;
            }
            Err(Error::TooLarge { .. }) => assert!(size > 32 << 10),
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything asked for is carried out.
    fn settle(&self) {
        while self.journal.turn() {}
    }

    fn limit(&mut self) -> ReadLimit {
        ReadLimit { bytes: 1 + self.rng.index(30_000), records: 1 + self.rng.index(40) }
    }

    fn read(&mut self, tally: &mut Tally) {
        self.settle();
        let Some((name, log)) = self.some_log() else { return };
        let limit = self.limit();
        let model = &self.model[name];
        let from = 1 + self.rng.below(model.next() + 1);
        match log.read(Lsn::new(from).expect("not 0"), limit, Level::Written) {
            Ok(out) => {
                assert!(from <= model.next() && from >= model.base());
                assert_eq!(out.records.is_empty(), from == model.next());
                assert!(out.records.len() <= limit.records);
                let (mut lsn, mut offset) = (from, model.offsets[usize::try_from(from - 1).expect("an index")]);
                for record in &out.records {
                    (lsn, offset) = model.check_piece(record, lsn, offset);
                    tally.read += 1;
                }
                assert_eq!(out.next, Cursor { offset: ByteOffset(offset), lsn: Lsn::new(lsn) });
                assert_eq!(out.end.lsn.get(), model.next());
            }
            Err(Error::PositionTrimmed { base }) => {
                assert!(from < model.base());
                assert_eq!((base.lsn.get(), base.offset.0), (model.base(), model.base_offset()));
                tally.trimmed_reads += 1;
            }
            Err(Error::PositionAhead { next }) => {
                assert!(from > model.next());
                assert_eq!((next.lsn.get(), next.offset.0), (model.next(), model.end()));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn read_bytes(&mut self, tally: &mut Tally) {
        self.settle();
        let Some((name, log)) = self.some_log() else { return };
        let (limit, marks) = (self.limit(), self.rng.percent(50));
        let model = &self.model[name];
        let offset = if self.rng.percent(50) && !model.records.is_empty() {
            model.offsets[self.rng.index(model.offsets.len())]
        } else {
            self.rng.below(model.end() + 2)
        };
        let mut cursor = Cursor::at(offset);
        let out = log.read_bytes(cursor, limit, Level::Written, marks);
        if offset > model.end() {
            assert!(matches!(out, Err(Error::PositionAhead { .. })));
            return;
        }
        if offset < model.base_offset() {
            assert!(matches!(out, Err(Error::PositionTrimmed { .. })));
            return;
        }
        tally.inside += u64::from(!model.offsets.contains(&offset));
        let (mut lsn, mut at) = (model.first_at(offset), offset);
        let is_mark = |lsn: u64| {
            let entry = usize::try_from(lsn - 1).ok().and_then(|index| model.records.get(index));
            entry.is_some_and(|entry| matches!(entry.content, Content::Mark(_)))
        };
        for _ in 0..=self.rng.below(20) {
            let out = log.read_bytes(cursor, limit, Level::Written, marks).expect("readable");
            let mut bytes = 0;
            for piece in &out.records {
                while !marks && is_mark(lsn) {
                    lsn += 1;
                }
                (lsn, at) = model.check_piece(piece, lsn, at);
                if let Content::Data(data) = &piece.content {
                    bytes += data.len();
                }
                tally.pieces += 1;
            }
            assert!(bytes <= limit.bytes, "{bytes} of {}", limit.bytes);
            while !marks && is_mark(lsn) && out.next.lsn.is_some_and(|next| next.get() > lsn) {
                lsn += 1;
            }
            assert_eq!(out.next, Cursor { offset: ByteOffset(at), lsn: Lsn::new(lsn) });
            let at_end = lsn == model.next();
            assert!(at_end || out.next != cursor, "no progress");
            cursor = out.next;
            if at_end {
                return;
            }
        }
    }

    fn begin_following(&mut self) {
        self.settle();
        let Some((name, log)) = self.some_log() else { return };
        let model = &self.model[name];
        let (from, lsn, offset) = if self.rng.percent(50) {
            let lsn = 1 + self.rng.below(model.next());
            let offset = model.offsets[usize::try_from(lsn - 1).expect("an index")];
            (From::Lsn(Lsn::new(lsn).expect("not 0")), lsn, offset)
        } else {
            let offset = self.rng.below(model.end() + 1);
            (From::Cursor(Cursor::at(offset)), model.first_at(offset), offset)
        };
        let follower = match log.follow(from, Level::Written) {
            Ok(follower) => follower,
            Err(Error::PositionTrimmed { .. }) => {
                assert!(lsn < model.base() || offset < model.base_offset());
                return;
            }
            Err(error) => panic!("{error}"),
        };
        self.followers.push(Following { follower, name, created: model.created, lsn, offset });
        if self.followers.len() > 8 {
            self.followers.remove(0);
        }
    }

    fn follow(&mut self, tally: &mut Tally) {
        if self.followers.is_empty() {
            return;
        }
        self.settle();
        let index = self.rng.index(self.followers.len());
        let following = &mut self.followers[index];
        let model = self.model.get(following.name).filter(|model| model.created == following.created);
        for _ in 0..self.rng.below(60) {
            match (following.follower.try_next(), model) {
                (Ok(Some(record)), Some(model)) => {
                    (following.lsn, following.offset) = model.check_piece(&record, following.lsn, following.offset);
                    tally.followed += 1;
                }
                (Ok(None), Some(model)) => {
                    assert_eq!(following.lsn, model.next());
                    return;
                }
                // What was read ahead of the drop may still come.
                (Ok(Some(_)), None) => {}
                (Err(Error::PositionTrimmed { .. }), Some(model)) => {
                    assert!(following.lsn < model.base());
                    self.followers.remove(index);
                    return;
                }
                (Err(Error::LogGone), None) => {
                    self.followers.remove(index);
                    return;
                }
                (other, model) => panic!("{other:?}, log there: {}", model.is_some()),
            }
        }
    }

    fn checkpoint(&mut self, tally: &mut Tally) {
        self.settle();
        let Some((name, log)) = self.some_log() else { return };
        let model = self.model.get_mut(name).expect("exists");
        let lsn = self.rng.below(model.next() + 1);
        let bytes: Vec<u8> = (0..self.rng.below(9_000)).map(|byte| u8::try_from(byte % 256).expect("a byte")).collect();
        match log.add_checkpoint(Lsn::new(lsn), bytes.clone()).wait() {
            Ok(checkpoint) => {
                assert!(lsn < model.next());
                assert_eq!(checkpoint.offset.0, model.offsets[usize::try_from(lsn).expect("an index")]);
                let max = log.info().expect("there").options.checkpoints_max;
                model.checkpoints.insert(lsn, bytes);
                if model.checkpoints.len() > max as usize {
                    let kept: Vec<u64> =
                        log.checkpoints().expect("there").iter().map(|c| c.lsn.map_or(0, Lsn::get)).collect();
                    assert!(kept.contains(&lsn), "the newcomer stays");
                    model.checkpoints.retain(|lsn, _| kept.contains(lsn));
                    assert_eq!(model.checkpoints.len(), max as usize);
                    tally.thinned += 1;
                }
                tally.checkpoints += 1;
            }
            Err(Error::CheckpointInvalid { .. }) => assert!(lsn == model.next() || lsn + 1 < model.base()),
            // One or two that are kept are both among the newest two.
            Err(Error::LimitExceeded { .. }) => assert!(log.info().expect("there").options.checkpoints_max <= 2),
            Err(error) => panic!("{error}"),
        }
        let at = self.rng.below(model.next());
        let found = log.checkpoint_at(At::Lsn(Lsn::new(at.max(1)).expect("not 0"))).expect("answered");
        let expected = model.checkpoints.range(..=at.max(1)).next_back();
        assert_eq!(found.map(|found| found.lsn.map_or(0, Lsn::get)), expected.map(|(lsn, _)| *lsn));
        if let (Some(found), Some((_, bytes))) = (found, expected) {
            assert_eq!(log.open_checkpoint(found.lsn).expect("opens")[..], bytes[..]);
        }
    }

    fn remove_checkpoint(&mut self) {
        let Some((name, log)) = self.some_log() else { return };
        let model = self.model.get_mut(name).expect("exists");
        let lsn = self.rng.below(model.next() + 1);
        let removed = log.remove_checkpoint(Lsn::new(lsn)).wait();
        if model.base > 0 && lsn + 1 == model.base() {
            assert!(removed.is_err(), "the base rests on it");
            return;
        }
        assert_eq!(removed.is_ok(), model.checkpoints.remove(&lsn).is_some());
    }

    fn set_meta(&mut self) {
        let Some((name, log)) = self.some_log() else { return };
        let (key, value) = (format!("k{}", self.rng.below(5)), vec![1; self.rng.index(3)]);
        log.set_meta(&key, &value).wait().expect("set");
        let model = self.model.get_mut(name).expect("exists");
        if value.is_empty() {
            model.meta.remove(&key)
        } else {
            model.meta.insert(key.clone(), value)
        };
        assert_eq!(log.meta(&key).expect("there"), model.meta.get(&key).cloned());
    }

    fn sync(&mut self) {
        let Some((_, log)) = self.some_log() else { return };
        self.journal.sync().wait().expect("synced");
        let tail = log.tail().get().expect("there");
        assert_eq!(tail.durable, tail.written);
    }

    fn pin(&mut self, tally: &mut Tally) {
        self.settle();
        if self.pins.len() > 3 {
            self.pins.remove(0);
        }
        if let Some((pin, created, keeps)) = self.pins.last_mut()
            && let Some(model) = self.model.values().find(|model| model.created == *created)
            && *keeps < model.next()
        {
            pin.advance(Lsn::new(*keeps).expect("not 0")).wait().expect("nothing before it is gone");
            *keeps += 1;
        }
        let Some((name, log)) = self.some_log() else { return };
        let model = &self.model[name];
        let lsn = self.rng.below(model.next());
        match log.pin(Lsn::new(lsn), "model").wait() {
            Ok(pin) => {
                assert!(lsn + 1 >= model.base());
                assert!(
                    log.info().expect("there").pins.iter().any(|(owner, at)| owner == "model" && at.get() == lsn + 1)
                );
                self.pins.push((pin, model.created, lsn + 1));
                tally.pinned += 1;
            }
            Err(Error::PinBelowBase { base }) => {
                assert!(lsn + 1 < model.base());
                assert_eq!(base.lsn.get(), model.base());
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn trim(&mut self, tally: &mut Tally) {
        self.settle();
        let Some((name, log)) = self.some_log() else { return };
        let model = self.model.get_mut(name).expect("exists");
        let lsn = 1 + self.rng.below(model.next());
        let held =
            self.pins.iter().filter(|(_, created, _)| *created == model.created).map(|(_, _, keeps)| *keeps).min();
        let expected = lsn.min(held.unwrap_or(u64::MAX)).max(model.base());
        let base = log.trim(Lsn::new(lsn).expect("not 0")).wait().expect("trimmed");
        model.base = usize::try_from(expected - 1).expect("an index");
        assert_eq!((base.lsn.get(), base.offset.0), (model.base(), model.base_offset()));
        let kept = model.base();
        model.checkpoints.retain(|lsn, _| lsn + 1 >= kept);
        tally.trims += 1;
    }

    fn drop_log(&mut self, tally: &mut Tally) {
        let Some((name, log)) = self.some_log() else { return };
        log.drop_log().wait().expect("dropped");
        self.model.remove(name);
        tally.drops += 1;
        assert!(matches!(log.append(Entry::data(0, "x"), AppendOptions::default()).wait(), Err(Error::LogGone)));
        assert!(matches!(log.info(), Err(Error::LogGone)));
    }

    fn reopen(&mut self, tally: &mut Tally) {
        self.followers.clear();
        self.pins.clear();
        if self.rng.percent(50) {
            self.journal.close().wait().expect("closed");
            tally.clean += 1;
        } else {
            // The handle goes, what was asked for is carried out, and the process dies.
            self.settle();
            self.disk.freeze();
        }
        let files = self.disk.list(std::path::Path::new("store/segments")).unwrap_or_default();
        let numbers = files.iter().filter_map(|name| u64::from_str_radix(name.split('.').next()?, 16).ok());
        tally.segments_freed += numbers.max().unwrap_or(0) - files.len() as u64;
        self.journal = Self::placeholder();
        self.disk.processes_die();
        self.opens += 1;
        self.journal = Self::open(&self.disk, &self.clock, self.seed * 31 + self.opens);
        tally.opens += 1;
        self.check_all();
    }

    /// Another store, so that the old one is dropped before it is opened again.
    fn placeholder() -> Journal {
        Self::open(&Disk::new(0), &abide_sim::Clock::default(), 0)
    }

    fn check_all(&self) {
        let names: Vec<String> = self.journal.logs().into_iter().map(|info| info.name).collect();
        let mut expected: Vec<&str> = self.model.keys().copied().collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
        for (name, model) in &self.model {
            let log = self.journal.log(name).expect("exists");
            let info = log.info().expect("there");
            assert_eq!((info.next.lsn.get(), info.next.offset.0), (model.next(), model.end()));
            assert_eq!((info.base.lsn.get(), info.base.offset.0), (model.base(), model.base_offset()));
            let last_mark = model.records.iter().rposition(|entry| matches!(entry.content, Content::Mark(_)));
            assert_eq!(info.last_mark.map(Lsn::get), last_mark.map(|index| index as u64 + 1));
            let kept: Vec<u64> = info.checkpoints.iter().map(|c| c.lsn.map_or(0, Lsn::get)).collect();
            assert_eq!(kept, model.checkpoints.keys().copied().collect::<Vec<_>>());
            for (key, value) in &model.meta {
                assert_eq!(log.meta(key).expect("there").as_ref(), Some(value));
            }
        }
    }
}

#[test]
fn over_random_operations() {
    let mut tally = Tally::default();
    let count = cases(500, 20_000);
    for seed in 0..count {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step(&mut tally);
        }
        world.settle();
        world.reopen(&mut tally);
    }
    println!("{tally:?}");
    for done in [tally.appended, tally.read, tally.pieces, tally.followed] {
        assert!(done > 10 * count, "{tally:?}");
    }
    for done in [tally.conflicts, tally.units, tally.inside, tally.checkpoints, tally.drops, tally.opens, tally.clean] {
        assert!(done > count, "{tally:?}");
    }
    for done in [tally.trims, tally.pinned, tally.trimmed_reads] {
        assert!(done > count, "{tally:?}");
    }
    assert!(tally.thinned > count / 10 && tally.segments_freed > count / 10, "{tally:?}");
}
