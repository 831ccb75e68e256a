//! J2: a writer process is killed with SIGKILL again and again. What it had been told is written is there, once, with dense
//! numbers; units are whole; a byte log whose producer resends from its last acknowledgement equals its source.

use crate::simulated::cases;
use crate::world::{Dir, open};
use abide_journal::{
    AppendOptions, Content, Cursor, Durability, Entry, Error, Expect, Journal, Level, Log, LogOptions, Lsn, Options,
    ReadLimit, Ticket,
};
use abide_sim::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const LEVELS: [Durability; 4] = [Durability::Os, Durability::Interval, Durability::Always, Durability::Committed];
const LOGS: usize = 8;

/// The byte that the producer's source has at an offset.
fn source(offset: u64) -> u8 {
    let mixed = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[6]
}

fn log_name(index: usize) -> String {
    format!("log/{index}")
}

fn options(dir: PathBuf) -> Options {
    Options {
        segment_bytes: 256 << 10,
        record_bytes_max: 64 << 10,
        append_bytes_max: 128 << 10,
        checkpoint_inline_bytes_max: 64 << 10,
        index_interval_bytes: 512 << 10,
        sync_interval_ms: 5,
        ..Options::new(dir)
    }
}

enum Waiting {
    /// Record number and level.
    Unit(u64, Durability, Ticket<Vec<abide_journal::Appended>>),
    Bytes(Ticket<abide_journal::Appended>),
}

/// Not a test of its own: the process that is killed. It says on standard output what it was told.
#[test]
fn writer_process() {
    let Some(dir) = std::env::var_os("ABIDE_JOURNAL_WRITER") else { return };
    let number = |name: &str| -> u64 { std::env::var(name).expect("set").parse().expect("a number") };
    let (mut next, acknowledged) = (number("ABIDE_JOURNAL_NEXT"), number("ABIDE_JOURNAL_ACKNOWLEDGED"));
    let (journal, _) = open(options(dir.into()));
    let get = |name: &str, durability| {
        let options = LogOptions { durability, ..LogOptions::default() };
        journal.log(name).or_else(|_| journal.create_log(name, options).wait()).expect("a log")
    };
    let logs: Vec<Log> = (0..LOGS).map(|index| get(&log_name(index), LEVELS[index % 4])).collect();
    let bytes = get("bytes", Durability::Os);
    let mut rng = Rng::new(next);
    // The producer knows its last acknowledgement; the journal says where it really ends.
    let expect = |offset| AppendOptions::default().expect(Expect::Offset(abide_journal::ByteOffset(offset)));
    let mut offset = match bytes.append(Entry::data(0, vec![source(acknowledged)]), expect(acknowledged)).wait() {
        Ok(appended) => appended.end_offset.0,
        Err(Error::AppendConflict { next_offset, .. }) => next_offset.0,
        Err(error) => panic!("{error}"),
    };
    assert!(offset >= acknowledged, "acknowledged bytes are gone");
    let mut waiting = VecDeque::new();
    let mut out = std::io::stdout().lock();
    loop {
        if rng.percent(30) {
            let chunk: Vec<u8> = (offset..offset + 1 + rng.below(5_000)).map(source).collect();
            let options = expect(offset);
            offset += chunk.len() as u64;
            waiting.push_back(Waiting::Bytes(bytes.append(Entry::data(0, chunk), options)));
        } else {
            let first = rng.index(LOGS);
            let mut entries = vec![(logs[first].clone(), Entry::data(0, next.to_le_bytes().to_vec()))];
            let mut level = LEVELS[first % 4];
            if rng.percent(30) {
                let second = (first + 1) % LOGS;
                let payload = [&next.to_le_bytes()[..], &vec![1; rng.index(20_000)]].concat();
                entries.push((logs[second].clone(), Entry::mark(1, payload)));
                level = level.max(LEVELS[second % 4]);
            }
            waiting.push_back(Waiting::Unit(next, level, journal.append_batch(entries, AppendOptions::default())));
            next += 1;
        }
        while waiting.len() > 16 {
            let told = match waiting.pop_front().expect("some") {
                Waiting::Unit(number, level, ticket) => {
                    ticket.wait().expect("appended");
                    format!("u {number} {}", level as u8)
                }
                Waiting::Bytes(ticket) => format!("b {} 1", ticket.wait().expect("appended").end_offset.0),
            };
            if writeln!(out, "{told}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    }
}

#[derive(Default)]
struct Known {
    acknowledged: BTreeSet<u64>,
    bytes: u64,
    next: u64,
    levels: BTreeMap<String, u64>,
}

/// Runs a writer until it has told `count` things, kills it, and takes in what it still told.
fn run_writer(dir: &Dir, count: u64, known: &mut Known) {
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_killed_writer_loses_nothing_acknowledged::writer_process", "--nocapture"])
        .env("ABIDE_JOURNAL_WRITER", dir.path().join("store"))
        .env("ABIDE_JOURNAL_NEXT", known.next.to_string())
        .env("ABIDE_JOURNAL_ACKNOWLEDGED", known.bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a writer");
    let mut told = 0;
    for line in BufReader::new(writer.stdout.take().expect("piped")).lines() {
        let line = line.unwrap_or_default();
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["u", number, level] => {
                known.acknowledged.insert(number.parse().expect("a number"));
                *known.levels.entry(level.to_owned()).or_default() += 1;
            }
            ["b", offset, _] => known.bytes = offset.parse().expect("a number"),
            _ => continue,
        }
        told += 1;
        if told == count {
            writer.kill().expect("killed");
        }
    }
    writer.wait().expect("ended");
    assert!(told >= count, "the writer ended by itself after {told} of {count}");
}

fn check_units(journal: &Journal, known: &mut Known) {
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    let mut marked = BTreeSet::new();
    for index in 0..LOGS {
        let log = journal.log(&log_name(index)).expect("a log");
        let (mut next, mut last) = (Lsn::FIRST, None);
        loop {
            let out = log.read(next, ReadLimit::default(), Level::Written).expect("readable");
            if out.records.is_empty() {
                break;
            }
            for record in &out.records {
                assert_eq!(record.lsn(), next, "dense");
                next = next.next();
                let (Content::Data(bytes) | Content::Mark(bytes)) = &record.content else { panic!("no gaps") };
                let number = u64::from_le_bytes(*bytes.first_chunk().expect("a number"));
                assert!(last < Some(number), "twice, or out of order");
                last = Some(number);
                *found.entry(number).or_default() += 1;
                if matches!(record.content, Content::Mark(_)) {
                    marked.insert(number);
                }
            }
        }
    }
    for number in &known.acknowledged {
        assert!(found.contains_key(number), "acknowledged {number} is lost");
    }
    for (number, count) in &found {
        assert_eq!(*count, 1 + u32::from(marked.contains(number)), "unit {number} is torn");
    }
    known.next = found.keys().next_back().map_or(0, |last| last + 1).max(known.next);
}

fn check_bytes(journal: &Journal, known: &Known) {
    let log = journal.log("bytes").expect("a log");
    let mut cursor = Cursor::at(0);
    loop {
        let out = log.read_bytes(cursor, ReadLimit::default(), Level::Written, true).expect("readable");
        for piece in &out.records {
            let Content::Data(bytes) = &piece.content else { panic!("only data") };
            assert!(bytes.iter().zip(piece.offset.0..).all(|(byte, offset)| *byte == source(offset)), "foreign bytes");
        }
        cursor = out.next;
        if cursor.lsn == Some(out.end.lsn) {
            assert!(out.end.offset.0 >= known.bytes, "acknowledged bytes are lost");
            return;
        }
    }
}

#[test]
fn over_many_kills() {
    let dir = Dir::new();
    let mut known = Known::default();
    let mut rng = Rng::new(2);
    let cycles = cases(60, 1_000);
    let mut copied = 0;
    for cycle in 0..cycles {
        run_writer(&dir, 1 + rng.below(400), &mut known);
        let (journal, report) = open(options(dir.path().join("store")));
        copied += u64::from(report.copied_bytes > 0);
        check_units(&journal, &mut known);
        check_bytes(&journal, &known);
        if cycle % 3 == 0 {
            journal.close().wait().expect("closed");
        }
        // Numbers that were under way when the writer died are not used again.
        known.next += 100;
    }
    println!(
        "Tally {} units, {} bytes, {:?}, {copied} tails copied",
        known.acknowledged.len(),
        known.bytes,
        known.levels
    );
    assert!(known.levels.len() == 4 && known.levels.values().all(|count| *count > cycles), "{:?}", known.levels);
    assert!(copied > cycles / 2 && known.bytes > 10_000 * cycles);
}
