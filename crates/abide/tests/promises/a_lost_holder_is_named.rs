//! A holder that is killed takes its program with it and nothing else: its session ends and says why, and what was
//! printed before is there.

use std::fs;

use abide_terminal::ExitKind;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::{EntryOutcome, GetRecoveryReport, Mode};
use tokio::time::timeout;

use crate::harness::{BEGINNING, Lines, Place, SOON, ends_within, kill};

/// What the journal has of a program that prints numbers: dense, and as long as the record says.
fn journalled(place: &Place, name: &str) -> Lines {
    let mut lines = Lines::default();
    lines.take(&place.run(&["logs", name]).stdout);
    assert_eq!(lines.bytes, place.record(name).end_offset.0);
    lines
}

#[test]
fn a_holder_killed_under_a_daemon_takes_its_program_and_no_output() {
    let place = Place::new();
    let mut bytes = 0;
    for (round, ignores) in [false, true, false, true].into_iter().enumerate() {
        let name = format!("s{round}");
        let child = place.work().join(format!("child{round}"));
        let trap = if ignores { "trap '' HUP; " } else { "" };
        let child = child.display();
        // With a second process that a signal to the leader alone would leave behind.
        place.session(
            &name,
            &format!("{trap}sleep 1000 & echo $! > {child}; i=0; while :; do seq $i $((i+999)); i=$((i+1000)); done"),
        );
        let leader = place.record(&name).pid.unwrap();
        let child = place.pid_in(&format!("child{round}"));
        place.wait_output(&name, 300_000);
        kill(place.holder(&name));
        let record = place.wait_end(&name);
        assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::Lost("HOLDER_LOST".to_owned())));
        assert!(ends_within(leader, SOON) && ends_within(child, SOON), "the program is gone");
        bytes += journalled(&place, &name).bytes;
    }
    println!("4 holders killed under a daemon, {bytes} bytes dense");
}

#[test]
fn what_a_holder_held_while_no_daemon_ran_is_lost_with_it_and_named() {
    let place = Place::new();
    place.session("lost", "i=0; while :; do seq $i $((i+999)); i=$((i+1000)); sleep 0.01; done");
    place.wait_output("lost", 100_000);
    let leader = place.record("lost").pid.unwrap();
    let holder = place.holder("lost");
    place.kill_daemon();
    kill(holder);
    place.ok(&["up"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let holes = runtime.block_on(async {
        let report = place.client("looker").call(GetRecoveryReport {}).await.unwrap();
        let [entry] = &report.sessions[..] else { panic!("{report:?}") };
        assert!(matches!(entry.outcome, EntryOutcome::Unrecoverable | EntryOutcome::Zombie), "{entry:?}");
        assert_eq!(entry.code.map(|code| code.to_string()).as_deref(), Some("HOLDER_LOST"));
        assert_eq!(entry.lost_bytes.as_ref().map(|lost| lost.bytes), Some(None), "nobody can know how much: {entry:?}");
        let mut stream = place.stream("reader", "lost", Mode::Observer, BEGINNING);
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
    let record = place.wait_end("lost");
    assert_eq!(record.exit.map(|exit| exit.kind), Some(ExitKind::Lost("HOLDER_LOST".to_owned())));
    assert!(ends_within(leader, SOON), "the program is gone");
    println!("1 hole named behind {} lines", journalled(&place, "lost").next);
}

/// Sessions that end while no daemon runs, in a place with these faults of holders.
fn ends_alone(place: &Place) -> u64 {
    let go = place.work().join("go");
    let flood = "seq 0 399999";
    let scripts = [("zero", "exit 0", ExitKind::Code(0)), ("seven", "exit 7", ExitKind::Code(7))];
    let signal = ("killed", "kill -TERM $$", ExitKind::Signal("SIGTERM".to_owned()));
    for (name, end, _) in scripts.iter().chain([&signal]) {
        place.session(name, &format!("while [ ! -e {} ]; do sleep 0.02; done; {flood}; {end}", go.display()));
    }
    let pids: Vec<u32> = scripts.iter().chain([&signal]).map(|(name, ..)| place.record(name).pid.unwrap()).collect();
    place.kill_daemon();
    fs::write(&go, "").unwrap();
    // The program stays a zombie of its holder until it is collected.
    assert!(pids.iter().all(|pid| ends_within(*pid, SOON)), "the programs end");
    place.ok(&["up"]);
    let mut lines = 0;
    for (name, _, exit) in scripts.into_iter().chain([signal]) {
        assert_eq!(place.wait_end(name).exit.map(|found| found.kind), Some(exit), "{name}: its true status");
        let seen = journalled(place, name);
        assert_eq!(seen.next, 400_000, "{name}: all that it printed, more than a ring holds");
        lines += seen.next;
    }
    place.wait_without_holders();
    lines
}

#[test]
fn a_program_that_ended_alone_has_its_true_status_and_all_its_output() {
    let place = Place::new();
    println!("{} lines of 3 programs that ended while no daemon ran", ends_alone(&place));
}

#[test]
fn a_status_that_could_not_be_written_is_kept_by_the_holder() {
    // ENOSPC.
    let place = Place::new().with("ABIDE_TEST_HOLDER", "exit_file=28");
    println!("{} lines of 3 programs without an exit file", ends_alone(&place));
}
