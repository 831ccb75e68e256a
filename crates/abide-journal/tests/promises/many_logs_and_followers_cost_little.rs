//! J11: 10,000 logs, one writer, 100 followers anywhere, one of which hangs. Each follower gets its log without a hole, the hung
//! one is told that it was trimmed; memory, index and open files stay within their bounds, and after a kill little is read to
//! open the store again. On the real disk, in processes of their own, so that the kernel counts.

use crate::world::{Dir, open};
use abide_journal::format::Snapshot;
use abide_journal::{
    AppendOptions, Cursor, Durability, Entry, Error, Follower, From, Level, Log, LogOptions, Lsn, Options, Ticket,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::task::LocalSet;

const LOGS: usize = 10_000;
const RECORDS: u64 = 1_000_000;
const RECORD_BYTES: usize = 100;
/// That read to the end; one more hangs.
const FOLLOWERS: u64 = 99;
/// Of these, as many read the log that gets every second record.
const FOLLOWERS_OF_FIRST: u64 = 12;
const SEGMENT_BYTES: u64 = 1 << 20;
const INDEX_INTERVAL_BYTES: u64 = 4 << 20;
const TAIL_CACHE_BYTES: u64 = 4 << 20;
const OPEN_FILES_MAX: u64 = 64;

fn options(dir: PathBuf) -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        record_bytes_max: 256 << 10,
        append_bytes_max: 512 << 10,
        checkpoint_inline_bytes_max: 256 << 10,
        index_interval_bytes: INDEX_INTERVAL_BYTES,
        tail_cache_bytes: usize::try_from(TAIL_CACHE_BYTES).expect("small"),
        ..Options::new(dir)
    }
}

/// The first log gets every second record, the others take turns.
fn log_of(number: u64) -> usize {
    if number.is_multiple_of(2) { 0 } else { 1 + usize::try_from(number / 2).expect("small") % (LOGS - 1) }
}

fn in_log(log: usize) -> u64 {
    let others = LOGS as u64 - 1;
    match log {
        0 => RECORDS / 2,
        log => (RECORDS / 2 - (log as u64 - 1)).div_ceil(others),
    }
}

/// A number from a file of `/proc/self`, behind the name of its line.
fn proc(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(Path::new("/proc/self").join(file)).expect("/proc");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
    line.trim_start_matches(':').split_whitespace().next().expect("a value").parse().expect("a number")
}

fn resident_bytes() -> u64 {
    proc("status", "VmRSS") << 10
}

fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").expect("/proc").count() as u64
}

/// Reads records or pieces from some place of a log to its end; says how many.
async fn follow(mut follower: Follower, first: u64, end: u64) -> u64 {
    for expected in first..=end {
        let record = follower.next().await.expect("followed");
        assert_eq!(record.lsn().get(), expected, "dense");
    }
    end + 1 - first
}

/// All followers on one thread, each a task that waits for its log; says how many records they got.
fn follow_all(logs: &[Log]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let tasks = LocalSet::new();
    let all: Vec<_> = (0..FOLLOWERS)
        .map(|number| {
            let index = if number < FOLLOWERS_OF_FIRST { 0 } else { usize::try_from(number).expect("small") * 100 };
            let from = From::Cursor(Cursor::at(0));
            let follower = logs[index].follow(from, Level::Written).expect("follows");
            tasks.spawn_local(follow(follower, 1, in_log(index)))
        })
        .collect();
    runtime.block_on(tasks.run_until(async {
        let mut read = 0;
        for task in all {
            read += task.await.expect("a follower ended");
        }
        read
    }))
}

/// Appends everything, at most a few hundred records ahead of what is written; says how many files were open at most.
fn write_all(logs: &[Log]) -> u64 {
    let mut files = 0;
    let mut last: Option<Ticket<_>> = None;
    for number in 0..RECORDS {
        let ticket = logs[log_of(number)].append(Entry::data(0, vec![7; RECORD_BYTES]), AppendOptions::default());
        if number % 256 == 0 {
            last.replace(ticket).map(|ticket| ticket.wait().expect("appended"));
        }
        if number % 4_096 == 0 {
            files = files.max(open_files());
        }
    }
    last.map(|ticket| ticket.wait().expect("appended"));
    files
}

/// Not a test of its own: the process that writes and follows, and is killed when it has told what it saw.
#[test]
fn store_process() {
    let Some(dir) = std::env::var_os("ABIDE_JOURNAL_MANY") else { return };
    let (journal, _) = open(options(dir.into()));
    let plain = LogOptions { durability: Durability::Os, ..LogOptions::default() };
    let created: Vec<_> = (0..LOGS).map(|index| journal.create_log(&format!("log/{index}"), plain)).collect();
    let logs: Vec<Log> = created.into_iter().map(|log| log.wait().expect("created")).collect();
    let mut hung = logs[0].follow(From::Lsn(Lsn::FIRST), Level::Written).expect("follows");
    let before = resident_bytes();
    let (files, read) = std::thread::scope(|scope| {
        let followers = scope.spawn(|| follow_all(&logs));
        let files = write_all(&logs);
        (files.max(open_files()), followers.join().expect("all have followed"))
    });
    println!("Tally memory {}", resident_bytes().saturating_sub(before));
    println!("Tally files {files}");
    println!("Tally read {read}");
    let end = logs[0].info().expect("there").next.lsn;
    logs[0].trim(end).wait().expect("trimmed");
    assert!(matches!(hung.try_next(), Err(Error::PositionTrimmed { .. })));
    println!("Tally hung 1");
    // Until it is killed.
    std::io::stdin().lines().for_each(drop);
}

/// Not a test of its own: the process that opens what was left.
#[test]
fn opening_process() {
    let Some(dir) = std::env::var_os("ABIDE_JOURNAL_MANY_AGAIN") else { return };
    let before = proc("io", "rchar");
    let (journal, _) = open(options(dir.into()));
    println!("Tally opening {}", proc("io", "rchar") - before);
    println!("Tally logs {}", journal.logs().len());
    journal.close().wait().expect("closed");
}

/// Runs one of the processes until it has told `last` or has ended; what it told.
fn run(process: &str, variable: &str, dir: &Path, last: &str) -> BTreeMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("many_logs_and_followers_cost_little::{process}"), "--nocapture"])
        .env(variable, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut told = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        if let Some((name, value)) = line.split_once("Tally ").and_then(|(_, told)| told.split_once(' ')) {
            told.insert(name.to_owned(), value.parse().expect("a number"));
            if name == last {
                child.kill().expect("killed");
            }
        }
    }
    child.wait().expect("ended");
    assert!(told.contains_key(last), "it ended with {told:?}");
    told
}

/// Length of the newest index snapshot, and what it may be.
fn index(dir: &Path) -> (u64, u64) {
    let files = fs::read_dir(dir.join("index")).expect("a directory").flatten().map(|entry| entry.path());
    let newest = files.filter(|path| path.extension().is_some_and(|it| it == "idx")).max().expect("a snapshot");
    let bytes = fs::read(newest).expect("readable");
    let snapshot = Snapshot::decode(&bytes).expect("it holds");
    let extents: usize = snapshot.logs.iter().map(|log| log.extents.len()).sum();
    (bytes.len() as u64, 64 * extents as u64 + 1_024 * snapshot.logs.len() as u64)
}

#[test]
fn each_bound_holds() {
    let dir = Dir::new();
    let store = dir.path().join("store");
    let told = run("store_process", "ABIDE_JOURNAL_MANY", &store, "hung");
    let (index_bytes, index_max) = index(&store);
    let opening_max = index_bytes + INDEX_INTERVAL_BYTES.max(4 * index_bytes) + 2 * SEGMENT_BYTES;
    // The index is there once, and once more while a snapshot of it is written.
    let memory_max = index_max + index_bytes + TAIL_CACHE_BYTES + (16 << 20);
    let again = run("opening_process", "ABIDE_JOURNAL_MANY_AGAIN", &store, "logs");
    println!(
        "Tally {told:?}, of memory {memory_max}; index {index_bytes} of {index_max}; {again:?}, of reading {opening_max}"
    );
    let expected: u64 = (FOLLOWERS_OF_FIRST..FOLLOWERS).map(|n| in_log(usize::try_from(n).expect("small") * 100)).sum();
    assert_eq!(told["read"], FOLLOWERS_OF_FIRST * in_log(0) + expected, "each follower got all of its log");
    assert!(index_bytes <= index_max, "the index");
    assert!(told["memory"] <= memory_max, "memory");
    assert!(told["files"] <= OPEN_FILES_MAX, "open files");
    assert!(again["opening"] <= opening_max, "what an opening reads");
    assert_eq!(again["logs"], LOGS as u64);
}
