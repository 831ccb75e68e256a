//! Output goes on without a daemon: into the ring, then into the spill, then the program waits. A daemon that comes finds
//! every byte, once, whatever became of those before it.

use abide_holder::{State, ToHolder};

use crate::daemon::{Daemon, Session, until};

/// Prints so many numbered lines of 64 bytes, without the terminal changing any byte.
fn numbered(lines: u32) -> Session {
    Session::new(&format!("stty raw; yes '{}' | head -n {lines} | nl -w 8 -s :", "x".repeat(54)))
}

fn numbered_text(lines: u32) -> Vec<u8> {
    (1..=lines).flat_map(|line| format!("{line:8}:{}\n", "x".repeat(54)).into_bytes()).collect()
}

const LINE_BYTES: u64 = 64;

fn assert_same(found: &[u8], expected: &[u8]) {
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!((found.len(), differs), (expected.len(), None));
}

#[test]
fn the_spill_takes_what_the_ring_cannot() {
    let lines = 10_000; // 640 KB through a ring of 64 KiB
    let session = numbered(lines);
    let daemon = session.run();
    drop(daemon);
    until("the program ends", || session.probe().unwrap().state == Some(State::Ended));
    let mut daemon = session.adopt(2);
    let header = daemon.header;
    assert!(header.spill_end > header.spill_start, "something was spilled");
    assert_eq!(header.output_head, u64::from(lines) * LINE_BYTES);
    let taken_before = header.spill_start;
    daemon.take_all();
    assert_same(&daemon.output, &numbered_text(lines)[usize::try_from(taken_before).unwrap()..]);
    until("the spill is cut", || daemon.header_now().spill_start == daemon.header_now().spill_end);
    assert!(
        !std::fs::read_dir(&session.dir)
            .unwrap()
            .flatten()
            .any(|file| { file.file_name().to_string_lossy().contains("spill") })
    );
    daemon.send(&ToHolder::Collect { eof_offset: daemon.from });
    session.wait_for_end();
}

#[test]
fn a_full_spill_stops_the_program_until_a_daemon_comes() {
    let lines = 10_000;
    let mut session = numbered(lines);
    session.spec.spill_bytes_max = 100_000;
    drop(session.run());
    stopped(&session);
    let mut daemon = session.adopt(1000);
    let header = daemon.header;
    assert_eq!(header.spill_end - header.spill_start, 100_000);
    assert_eq!(header.output_head - header.spill_end, 65536, "and the ring is full");
    let begin = usize::try_from(daemon.from).unwrap();
    daemon.take_all();
    assert_same(&daemon.output, &numbered_text(lines)[begin..]);
}

#[test]
fn a_spill_that_cannot_be_written_stops_it_too() {
    let lines = 5000;
    let session = numbered(lines).with_faults("spill=28");
    drop(session.run());
    stopped(&session);
    let mut daemon = session.adopt(1000);
    assert_eq!(daemon.header.spill_start, daemon.header.spill_end);
    assert_eq!(daemon.header.output_head - daemon.from, 65536);
    let begin = usize::try_from(daemon.from).unwrap();
    daemon.take_all();
    assert_same(&daemon.output, &numbered_text(lines)[begin..]);
}

/// Waits until the holder reads no more though its program would print.
fn stopped(session: &Session) {
    let holder = session.probe().unwrap().pid;
    // It sleeps in poll and was not woken in between: its count of voluntary switches stands still.
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{holder}/status")).unwrap();
        status.lines().find(|line| line.starts_with("voluntary")).unwrap().to_owned()
    };
    let (mut before, mut same) = (String::new(), 0);
    until("the holder stops reading", || {
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        let now = switches();
        same = if now == before { same + 1 } else { 0 };
        before = now;
        same >= 5
    });
}

#[test]
fn with_a_daemon_a_full_ring_stops_the_program() {
    let lines = 5000;
    let session = numbered(lines);
    let mut daemon = session.run();
    until("the ring is full", || daemon.header_now().output_head == 65536);
    stopped(&session);
    assert_eq!(daemon.header_now().output_head, 65536);
    assert_eq!(daemon.header_now().spill_end, 0, "nothing is spilled");
    daemon.take_all();
    assert_same(&daemon.output, &numbered_text(lines));
}

/// A daemon that takes output and is cut off in the middle, again and again.
#[test]
fn daemons_that_die_at_any_moment_lose_nothing() {
    let lines: u32 = if std::env::var_os("ABIDE_NIGHTLY").is_some() { 500_000 } else { 60_000 };
    let session = numbered(lines);
    let expected = numbered_text(lines);
    let mut journal: Vec<u8> = Vec::new();
    let mut first = session.run();
    take_some(&mut first, &mut journal, 1, true);
    drop(first);
    let (mut epoch, mut spilled, mut unacked) = (1, 0, 0);
    let mut seed = 42_u64;
    while journal.len() < expected.len() {
        epoch += 1;
        let mut daemon = session.adopt(epoch);
        spilled += u32::from(daemon.header.spill_end > daemon.header.spill_start);
        assert!(daemon.from <= journal.len() as u64, "nothing was let go of before it was acknowledged");
        unacked += u32::from(daemon.from < journal.len() as u64);
        // What was journalled and not acknowledged comes again: skipped by its offset.
        daemon.from = journal.len() as u64;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let reads = usize::try_from(seed >> 60).unwrap() + 1;
        take_some(&mut daemon, &mut journal, reads, (seed >> 50).is_multiple_of(2));
        if (seed >> 40).is_multiple_of(8) {
            drop(daemon);
            let before = session.probe().unwrap();
            let room = 4 * u64::from(u16::MAX);
            until("output without a daemon", || {
                let pong = session.probe().unwrap();
                pong.state == Some(State::Ended) || spare(&session) > room || pong.pid != before.pid
            });
        }
    }
    assert_same(&journal, &expected);
    println!("{epoch} daemons, {spilled} found a spill, {unacked} found bytes unacknowledged");
    assert!(epoch > 50 && spilled > 2 && unacked > 10);
}

/// Bytes that the spill of a session's holder has by now.
fn spare(session: &Session) -> u64 {
    let holder = session.probe().unwrap().pid;
    let files = std::fs::read_dir(format!("/proc/{holder}/fd")).unwrap().flatten();
    let unnamed = files.filter(|fd| {
        let target = std::fs::read_link(fd.path()).unwrap_or_default();
        target.starts_with(&session.dir) && target.to_string_lossy().ends_with("(deleted)")
    });
    unnamed.filter_map(|fd| Some(std::fs::metadata(fd.path()).ok()?.len())).sum()
}

/// Reads into the journal; the last read is not acknowledged if the daemon dies before.
fn take_some(daemon: &mut Daemon, journal: &mut Vec<u8>, reads: usize, acks_last: bool) {
    for read in 0..reads {
        let mark = daemon.holder.ring().mark();
        let bytes = daemon.holder.read(daemon.from, 3_000, journal).unwrap();
        daemon.from += bytes as u64;
        if acks_last || read + 1 < reads {
            daemon.holder.ack(daemon.from);
        }
        if bytes == 0 && daemon.holder.ring().sleep(mark) {
            if mark.eof_offset == daemon.from {
                return;
            }
            daemon.wait_woken();
        }
    }
}
