//! A holder that is killed takes its program with it and nothing else: its session ends and says why, and what was
//! printed before is there.

use std::fs;
use std::path::Path;

use abide_terminal::ExitKind;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::{EntryOutcome, GetRecoveryReport, Mode};
use tokio::time::timeout;

use crate::house::{BEGINNING, House, Lines, SOON, is_alive, kill, wait_for};

fn finalized(house: &House, name: &str) -> abide_terminal::Record {
    wait_for("the end of the session", || {
        let record = house.record(name);
        (record.state == abide_terminal::State::Finalized).then_some(record)
    })
}

fn pid_in(file: &Path) -> u32 {
    wait_for("a pid", || fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// What the journal has of a program that prints numbers: dense, and as long as the record says.
fn journalled(house: &House, name: &str) -> Lines {
    let mut lines = Lines::default();
    lines.take(&house.run(&["logs", name]).stdout);
    assert_eq!(lines.bytes, house.record(name).end_offset.0);
    lines
}

#[test]
fn a_holder_killed_under_a_daemon_takes_its_program_and_no_output() {
    let house = House::new();
    let mut bytes = 0;
    for (round, ignores) in [false, true, false, true].into_iter().enumerate() {
        let name = format!("s{round}");
        let child = house.work().join(format!("child{round}"));
        let trap = if ignores { "trap '' HUP; " } else { "" };
        let child = child.display();
        // With a second process that a signal to the leader alone would leave behind.
        house.session(
            &name,
            &format!("{trap}sleep 1000 & echo $! > {child}; i=0; while :; do seq $i $((i+999)); i=$((i+1000)); done"),
        );
        let leader = house.record(&name).pid.unwrap();
        let child = pid_in(&house.work().join(format!("child{round}")));
        wait_for("output", || (house.record(&name).end_offset.0 > 300_000).then_some(()));
        kill(house.holder(&name));
        let record = finalized(&house, &name);
        assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::Lost("HOLDER_LOST".to_owned())));
        wait_for("the program is gone", || (!is_alive(leader) && !is_alive(child)).then_some(()));
        bytes += journalled(&house, &name).bytes;
    }
    println!("4 holders killed under a daemon, {bytes} bytes dense");
}

#[test]
fn what_a_holder_held_while_no_daemon_ran_is_lost_with_it_and_named() {
    let house = House::new();
    house.session("lost", "i=0; while :; do seq $i $((i+999)); i=$((i+1000)); sleep 0.01; done");
    wait_for("output", || (house.record("lost").end_offset.0 > 100_000).then_some(()));
    let leader = house.record("lost").pid.unwrap();
    let holder = house.holder("lost");
    house.kill_daemon();
    kill(holder);
    house.ok(&["up"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let holes = runtime.block_on(async {
        let report = house.client("looker").call(GetRecoveryReport {}).await.unwrap();
        let [entry] = &report.sessions[..] else { panic!("{report:?}") };
        assert!(matches!(entry.outcome, EntryOutcome::Unrecoverable | EntryOutcome::Zombie), "{entry:?}");
        assert_eq!(entry.code.map(|code| code.to_string()).as_deref(), Some("HOLDER_LOST"));
        assert_eq!(entry.lost_bytes.as_ref().map(|lost| lost.bytes), Some(None), "nobody can know how much: {entry:?}");
        let mut stream = house.stream("reader", "lost", Mode::Observer, BEGINNING);
        let (mut holes, mut seen) = (Vec::new(), Lines::default());
        loop {
            match timeout(SOON, stream.next()).await.expect("the stream goes on") {
                Ok(StreamEvent::Output { bytes, .. }) => seen.take(&bytes),
                Ok(StreamEvent::Hole(hole)) => holes.push(hole),
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => break,
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
        assert!(seen.bytes > 100_000);
        holes
    });
    assert_eq!(holes.len(), 1, "{holes:?}");
    assert_eq!(holes[0].lost_bytes, None);
    let record = finalized(&house, "lost");
    assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::Lost("HOLDER_LOST".to_owned())));
    wait_for("the program is gone", || (!is_alive(leader)).then_some(()));
    println!("1 hole named behind {} lines", journalled(&house, "lost").next);
}

/// Sessions that end while no daemon runs, in a house with these faults of holders.
fn ends_alone(house: &House) -> u64 {
    let go = house.work().join("go");
    let flood = "seq 0 399999";
    let scripts = [("zero", "exit 0", ExitKind::Code(0)), ("seven", "exit 7", ExitKind::Code(7))];
    let signal = ("killed", "kill -TERM $$", ExitKind::Signal("SIGTERM".to_owned()));
    for (name, end, _) in scripts.iter().chain([&signal]) {
        house.session(name, &format!("while [ ! -e {} ]; do sleep 0.02; done; {flood}; {end}", go.display()));
    }
    let pids: Vec<u32> = scripts.iter().chain([&signal]).map(|(name, ..)| house.record(name).pid.unwrap()).collect();
    house.kill_daemon();
    fs::write(&go, "").unwrap();
    // The program stays a zombie of its holder until it is collected.
    wait_for("the programs end", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()));
    house.ok(&["up"]);
    let mut lines = 0;
    for (name, _, exit) in scripts.into_iter().chain([signal]) {
        assert_eq!(finalized(house, name).exit.map(|found| found.kind), Some(exit), "{name}: its true status");
        let seen = journalled(house, name);
        assert_eq!(seen.next, 400_000, "{name}: all that it printed, more than a ring holds");
        lines += seen.next;
    }
    wait_for("the holders are collected", || (house.holders() == 0).then_some(()));
    lines
}

#[test]
fn a_program_that_ended_alone_has_its_true_status_and_all_its_output() {
    let house = House::new();
    println!("{} lines of 3 programs that ended while no daemon ran", ends_alone(&house));
}

#[test]
fn a_status_that_could_not_be_written_is_kept_by_the_holder() {
    // ENOSPC.
    let house = House::new().with("ABIDE_TEST_HOLDER", "exit_file=28");
    println!("{} lines of 3 programs without an exit file", ends_alone(&house));
}
