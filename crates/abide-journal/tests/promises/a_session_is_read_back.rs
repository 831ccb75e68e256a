//! J14: as a terminal uses the journal: output as data, marks at equal offsets, gaps, screens as checkpoints at any record,
//! thinned out, trimming at checkpoints only, readers cut and resumed by cursor, kills between. Each byte and mark comes
//! once, or is named by a gap, and the base lies behind a checkpoint that can be trusted.

use crate::simulated::{SimClock, SimDisk, cases, options};
use abide_journal::{
    AppendOptions, At, ByteOffset, Content, Cursor, Entry, Error, Journal, Level, Log, LogOptions, Lsn, OnDamage,
    Options, ReadLimit, Retention,
};
use abide_sim::{Clock, Disk, Rng};
use std::sync::Arc;

/// What a session printed: the byte at an offset says which one it is.
fn source(log: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9).wrapping_add(log as u64 * 77) >> 7).to_le_bytes()[0]
}

#[derive(Debug, Clone, Default)]
struct Session {
    end: u64,
    /// Offset of each mark, in order, with its number in its payload.
    marks: Vec<u64>,
    gaps: Vec<(u64, u64)>,
    last_mark: u64,
    records: u64,
    reader: Option<Cursor>,
    marks_read: u64,
}

#[derive(Default, Debug)]
struct Tally {
    pieces: u64,
    marks: u64,
    gaps: u64,
    trimmed: u64,
    checkpoints: u64,
    resumed: u64,
    kills: u64,
}

struct World {
    rng: Rng,
    disk: Disk,
    clock: Clock,
    seed: u64,
    opens: u64,
    sessions: Vec<Session>,
}

fn log_options() -> LogOptions {
    LogOptions {
        retention: Retention { bytes_max: 30_000, trim_at_checkpoint: true, ..Retention::default() },
        checkpoints_max: 8,
        on_damage: OnDamage::Serve,
        self_contained: true,
        ..LogOptions::default()
    }
}

impl World {
    fn open(&mut self) -> (Journal, Vec<Log>) {
        self.opens += 1;
        let (disk, clock) = (Arc::new(SimDisk(self.disk.clone())), Arc::new(SimClock(self.clock.clone())));
        let options = Options { trim_interval_ms: 50, ..options(self.seed * 100 + self.opens) };
        let (journal, report) = Journal::open(disk, clock, options).expect("opens");
        assert!(report.damage.is_empty());
        let logs = (0..self.sessions.len())
            .map(|index| {
                let name = format!("terminal/{index}");
                journal.log(&name).or_else(|_| journal.create_log(&name, log_options()).wait()).expect("a log")
            })
            .collect();
        (journal, logs)
    }

    fn print(&mut self, log: &Log, index: usize, tally: &mut Tally) {
        let session = &mut self.sessions[index];
        let expect = AppendOptions::default().expect(abide_journal::Expect::Offset(ByteOffset(session.end)));
        session.records += 1;
        match self.rng.below(20) {
            0 => {
                let length = 1 + self.rng.below(5_000);
                log.append(Entry::gap(length), expect).wait().expect("appended");
                session.gaps.push((session.end, session.end + length));
                session.end += length;
                tally.gaps += 1;
            }
            1..=5 => {
                let number = session.marks.len() as u64;
                log.append(Entry::mark(3, number.to_le_bytes().to_vec()), expect).wait().expect("appended");
                session.marks.push(session.end);
                session.last_mark = session.records;
            }
            _ => {
                let length = 1 + self.rng.below(2_000);
                let bytes: Vec<u8> = (session.end..session.end + length).map(|offset| source(index, offset)).collect();
                log.append(Entry::data(0, bytes), expect).wait().expect("appended");
                session.end += length;
            }
        }
    }

    /// A screen stands for all up to some record; its bytes say where.
    fn screen(&mut self, log: &Log, tally: &mut Tally) {
        let info = log.info().expect("there");
        let (base, next) = (info.base.lsn.get(), info.next.lsn.get());
        let lsn = base - 1 + self.rng.below(next - base + 1);
        match log.add_checkpoint(Lsn::new(lsn), lsn.to_le_bytes().repeat(40)).wait() {
            Ok(_) => tally.checkpoints += 1,
            // The checkpoint before it let the base move on meanwhile.
            Err(Error::CheckpointInvalid { .. }) if log.info().expect("there").base.lsn.get() > lsn + 1 => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn read_on(&mut self, log: &Log, index: usize, tally: &mut Tally) {
        let info = log.info().expect("there");
        let session = &mut self.sessions[index];
        let cursor = session.reader.unwrap_or(Cursor::at(0));
        let limit = ReadLimit { bytes: 1 + self.rng.index(4_000), records: 1 + self.rng.index(20) };
        let out = match log.read_bytes(cursor, limit, Level::Written, true) {
            Ok(out) => out,
            Err(Error::PositionTrimmed { base }) => {
                // Whoever was too slow begins again with the screen on which the base rests.
                assert!(cursor.offset <= base.offset);
                let screen = log.checkpoint_at(At::Lsn(base.last().expect("trimmed"))).expect("there").expect("one");
                assert_eq!((screen.lsn, screen.offset), (base.last(), base.offset));
                let bytes = log.open_checkpoint(screen.lsn).expect("trusted");
                assert_eq!(bytes[..8], screen.lsn.map_or(0, Lsn::get).to_le_bytes());
                session.reader = Some(base.cursor());
                // Marks at the offset of the base lie before or behind it: the next one read tells.
                session.marks_read = u64::MAX;
                tally.resumed += 1;
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let mut at = cursor.offset.0;
        for piece in &out.records {
            assert_eq!(piece.offset.0, at, "dense");
            match &piece.content {
                Content::Data(bytes) => {
                    assert!(
                        bytes.iter().zip(at..).all(|(byte, offset)| *byte == source(index, offset)),
                        "foreign bytes"
                    );
                    tally.pieces += 1;
                }
                Content::Mark(bytes) => {
                    let number = u64::from_le_bytes(bytes[..].try_into().expect("a number"));
                    assert!(session.marks_read == u64::MAX || session.marks_read == number, "each mark once");
                    assert_eq!(session.marks[usize::try_from(number).expect("small")], at);
                    session.marks_read = number + 1;
                    tally.marks += 1;
                }
                Content::Gap(length) => assert!(
                    session.gaps.iter().any(|(from, to)| *from <= at && at + length == *to),
                    "a gap that nobody appended"
                ),
            }
            at = piece.end_offset().0;
        }
        assert_eq!(out.next.offset.0, at);
        session.reader = Some(out.next);
        assert!(out.end.offset.0 == session.end && info.last_mark.map_or(0, Lsn::get) == session.last_mark);
        tally.trimmed += u64::from(info.base.lsn > Lsn::FIRST);
    }
}

fn run(seed: u64, sessions: usize, tally: &mut Tally) {
    let clock = Clock::at_wall_us(1_700_000_000_000_000);
    let (rng, disk) = (Rng::new(seed), Disk::new(seed));
    let mut world = World { rng, disk, clock, seed, opens: 0, sessions: vec![Session::default(); sessions] };
    for _ in 0..4 {
        let (journal, logs) = world.open();
        for _ in 0..120 * sessions {
            let index = world.rng.index(sessions);
            match world.rng.below(10) {
                0 => world.screen(&logs[index], tally),
                1..=3 => world.read_on(&logs[index], index, tally),
                _ => world.print(&logs[index], index, tally),
            }
            if world.rng.percent(5) {
                world.clock.advance_ms(60);
                while journal.turn() {}
            }
        }
        if world.rng.percent(40) {
            journal.close().wait().expect("closed");
        }
        world.disk.freeze();
        drop((journal, logs));
        world.disk.processes_die();
        tally.kills += 1;
    }
}

#[test]
fn whoever_reads_it_and_when() {
    let mut tally = Tally::default();
    for seed in 0..cases(12, 60) {
        run(seed, 12, &mut tally);
    }
    run(99, usize::try_from(cases(50, 200)).expect("small"), &mut tally);
    println!("Tally {tally:?}");
    assert!(tally.pieces > 10_000 && tally.marks > 3_000 && tally.gaps > 1_000, "{tally:?}");
    assert!(tally.trimmed > 1_000 && tally.resumed > 40 && tally.checkpoints > 1_000 && tally.kills > 40, "{tally:?}");
}
