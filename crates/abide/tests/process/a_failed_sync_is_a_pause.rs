//! A disk that fails makes the daemon start itself anew: programs go on, whoever is attached goes on where it was, and
//! nothing that was printed is lost.

use std::fs;
use std::path::PathBuf;

use abide_terminal::State;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::house::{BEGINNING, House, Lines, SOON, size, wait_for};

/// A house whose disk fails while its switch is there.
fn house() -> (House, PathBuf) {
    let switch = std::env::temp_dir().join(format!("abide-disk-{}-{}", std::process::id(), thread_number()));
    let house = House::new().with("ABIDE_TEST_DISK", &switch.display().to_string());
    (house, switch)
}

fn thread_number() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn failures(house: &House) -> usize {
    house.log().matches("the journal failed; the daemon starts itself anew").count()
}

#[test]
fn programs_and_streams_go_on_after_a_failed_sync() {
    let rounds = size(2, 10);
    let (house, switch) = house();
    let stop = house.work().join("stop");
    let until = stop.display();
    house
        .session("flood", &format!("i=0; while [ ! -e {until} ]; do seq $i $((i+99)); i=$((i+100)); sleep 0.01; done"));
    let (program, daemon) = (house.record("flood").pid, house.daemon());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut stream = house.stream("reader", "flood", Mode::Observer, BEGINNING);
    let reading = runtime.spawn(async move {
        let (mut seen, mut away) = (Lines::default(), 0);
        loop {
            match timeout(2 * SOON, stream.next()).await.expect("the stream goes on") {
                Ok(StreamEvent::Output { bytes, .. }) => seen.take(&bytes),
                Ok(StreamEvent::Hole(_) | StreamEvent::Skipped { .. }) => panic!("something is missing"),
                Ok(StreamEvent::Away) => away += 1,
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => return (seen, away),
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
    });
    for round in 1..=rounds {
        let (end, before) = (house.record("flood").end_offset.0, failures(&house));
        wait_for("output", || (house.record("flood").end_offset.0 > end + 5_000).then_some(()));
        fs::write(&switch, if round % 2 == 0 { "write" } else { "sync" }).unwrap();
        wait_for("the fault strikes", || (failures(&house) > before).then_some(()));
        fs::remove_file(&switch).unwrap();
        wait_for("it serves again", || house.run(&["ls"]).status.success().then_some(()));
        assert_eq!(house.record("flood").pid, program, "the same program");
    }
    assert_eq!(house.daemon(), daemon, "the same process, executed anew");
    fs::write(&stop, "").unwrap();
    let (seen, away) = runtime.block_on(reading).unwrap();
    assert!(seen.is_whole() && away >= rounds, "{away} interruptions");
    let record = house.record("flood");
    assert_eq!((record.state, record.end_offset.0), (State::Finalized, seen.bytes));
    println!("{rounds} failures of the disk, {} dense lines over {away} interruptions", seen.next);
}

#[test]
fn a_disk_that_goes_on_failing_is_named_until_it_is_mended() {
    let (house, switch) = house();
    house.session("held", "stty -echo; exec cat");
    let program = house.record("held").pid;
    fs::write(&switch, "sync").unwrap();
    // The record of a new session is what fails; who asked is told, or meets the daemon that refuses.
    let refused = wait_for("a request is refused", || {
        let output = house.run(&["run", "-d", "--", "true"]);
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        line.contains("JOURNAL_FAILED").then_some(line)
    });
    wait_for("it tries again", || (failures(&house) >= 2).then_some(()));
    assert!(String::from_utf8_lossy(&house.run(&["ls"]).stderr).contains("JOURNAL_FAILED"), "{refused}");
    fs::remove_file(&switch).unwrap();
    wait_for("it heals by itself", || house.run(&["ls"]).status.success().then_some(()));
    assert_eq!(house.record("held").pid, program, "the same program");
    let again = failures(&house);
    assert!(again < 10, "it is not tried without a pause: {again}");
    println!("{again} failed starts, then {}", house.ok(&["ls"]).lines().count());
}
