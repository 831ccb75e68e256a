//! The measurements. Each is made in a process of its own, so that what it writes and uses is told apart.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::store::{self, Store, System, Use};
use crate::usage::Usage;

/// Logs that are appended to.
const LOGS: u64 = 4_096;
/// Length of their records.
const RECORD_BYTES: usize = 1_024;
/// Logs of the store that is opened and scanned, and the length of their records.
const READ_LOGS: u64 = 400;
const READ_RECORD_BYTES: usize = 200;
/// How long a store may go on by itself before it is scanned again.
const REST_MAX: Duration = Duration::from_secs(20);
/// Before this nothing counts.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Writers that each wait for the sync of one record before the next.
    Sync { writers: u64, seconds: f64 },
    /// One writer that waits until each record is written, not synced.
    Os { appends: u64 },
    /// As many records, each into a random log, one at a time; then the process ends without closing the store.
    Load { records: u64 },
    /// Opens what `Load` left, scans all, closes it, and opens it once more.
    Read { records: u64 },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Measured {
    Appends(Appends),
    Read(Read),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Appends {
    pub seconds: f64,
    pub appends: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub user_bytes: u64,
    pub usage: Usage,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Read {
    /// After its process had been killed.
    pub open_killed_seconds: f64,
    pub scan_seconds: f64,
    /// The same scan when the store has done what it does by itself, such as regrouping.
    pub scan_rested_seconds: f64,
    pub records: u64,
    /// After it had been closed.
    pub open_closed_seconds: f64,
}

pub(crate) fn measure(system: System, dir: &Path, case: Case) -> anyhow::Result<Option<Measured>> {
    Ok(match case {
        Case::Sync { writers, seconds } => Some(Measured::Appends(synced(system, dir, writers, seconds)?)),
        Case::Os { appends } => Some(Measured::Appends(unsynced(system, dir, appends)?)),
        Case::Load { records } => {
            load(system, dir, records)?;
            None
        }
        Case::Read { records } => Some(Measured::Read(read(system, dir, records)?)),
    })
}

/// What writers do now.
const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const DONE: u8 = 2;

fn synced(system: System, dir: &Path, writers: u64, seconds: f64) -> anyhow::Result<Appends> {
    let store = store::open(system, dir, LOGS, Use::Append)?;
    // What was made ready, and what ran before, is not to be synced by those who are measured.
    rustix::fs::sync();
    let (phase, begin) = (AtomicU8::new(WARMING), Barrier::new(usize::try_from(writers)? + 1));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let (store, phase, begin) = (store.as_ref(), &phase, &begin);
                scope.spawn(move || {
                    begin.wait();
                    write_until_done(store, writer, writers, phase)
                })
            })
            .collect();
        begin.wait();
        thread::sleep(WARM_UP);
        let (before, clock) = (Usage::now()?, Instant::now());
        phase.store(COUNTING, Ordering::Relaxed);
        thread::sleep(Duration::from_secs_f64(seconds));
        phase.store(DONE, Ordering::Relaxed);
        let (seconds, usage) = (clock.elapsed().as_secs_f64(), Usage::now()?.since(&before));
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| anyhow!("a writer panicked"))??);
        }
        Ok(Appends::of(times, seconds, usage))
    })
}

/// Appends to its share of the logs in turn; nanoseconds of each append that counts.
fn write_until_done(store: &dyn Store, writer: u64, writers: u64, phase: &AtomicU8) -> anyhow::Result<Vec<u64>> {
    let (mut appender, payload, mut times) = (store.writer(), random_bytes(writer, RECORD_BYTES), Vec::new());
    for log in (writer..LOGS).step_by(usize::try_from(writers)?).cycle() {
        let clock = Instant::now();
        appender.append(log, &payload, true)?;
        match phase.load(Ordering::Relaxed) {
            WARMING => {}
            COUNTING => times.push(nanos(clock.elapsed())),
            _ => break,
        }
    }
    Ok(times)
}

fn unsynced(system: System, dir: &Path, appends: u64) -> anyhow::Result<Appends> {
    let store = store::open(system, dir, LOGS, Use::Append)?;
    rustix::fs::sync();
    let (mut appender, payload) = (store.writer(), random_bytes(1, RECORD_BYTES));
    let mut times = Vec::with_capacity(usize::try_from(appends)?);
    for log in 0..LOGS {
        appender.append(log, &payload, false)?;
    }
    let (before, clock) = (Usage::now()?, Instant::now());
    for number in 0..appends {
        let clock = Instant::now();
        appender.append(number % LOGS, &payload, false)?;
        times.push(nanos(clock.elapsed()));
    }
    Ok(Appends::of(times, clock.elapsed().as_secs_f64(), Usage::now()?.since(&before)))
}

impl Appends {
    fn of(mut times: Vec<u64>, seconds: f64, usage: Usage) -> Self {
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).map_or(f64::NAN, |time| *time as f64 / 1e3);
        let appends = times.len() as u64;
        let user_bytes = appends * RECORD_BYTES as u64;
        Self { seconds, appends, p50_us: at(50), p99_us: at(99), user_bytes, usage }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.appends as f64 / self.seconds
    }
}

fn load(system: System, dir: &Path, records: u64) -> anyhow::Result<()> {
    let store = store::open(system, dir, READ_LOGS, Use::Read)?;
    let (mut appender, payload, mut random) = (store.writer(), random_bytes(1, READ_RECORD_BYTES), 1);
    for _ in 0..records {
        appender.append(next(&mut random) % READ_LOGS, &payload, false)?;
    }
    rustix::fs::sync();
    // As if it were killed: nothing is closed.
    drop(appender);
    std::mem::forget(store);
    Ok(())
}

fn read(system: System, dir: &Path, records: u64) -> anyhow::Result<Read> {
    let clock = Instant::now();
    let store = store::open(system, dir, READ_LOGS, Use::Read)?;
    let open_killed_seconds = clock.elapsed().as_secs_f64();
    let scan_seconds = scan(store.as_ref(), records)?;
    rest()?;
    let scan_rested_seconds = scan(store.as_ref(), records)?;
    store.close()?;
    let clock = Instant::now();
    let store = store::open(system, dir, READ_LOGS, Use::Read)?;
    let open_closed_seconds = clock.elapsed().as_secs_f64();
    store.close()?;
    Ok(Read { open_killed_seconds, scan_seconds, scan_rested_seconds, records, open_closed_seconds })
}

/// Reads all logs from end to end; says how long that took.
fn scan(store: &dyn Store, records: u64) -> anyhow::Result<f64> {
    let clock = Instant::now();
    let mut found = (0, 0);
    for log in 0..READ_LOGS {
        let (records, bytes) = store.scan(log)?;
        found = (found.0 + records, found.1 + bytes);
    }
    ensure!(found == (records, records * READ_RECORD_BYTES as u64), "{found:?} of {records} records");
    Ok(clock.elapsed().as_secs_f64())
}

/// Waits until this process has written nothing for a second.
fn rest() -> anyhow::Result<()> {
    let (mut writes, clock) = (Usage::now()?.writes, Instant::now());
    while clock.elapsed() < REST_MAX {
        thread::sleep(Duration::from_secs(1));
        let now = Usage::now()?.writes;
        if now == writes {
            return Ok(());
        }
        writes = now;
    }
    Ok(())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// xorshift64.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length).map(|_| next(&mut state).to_le_bytes()[3]).collect()
}
