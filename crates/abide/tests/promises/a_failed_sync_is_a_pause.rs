//! A disk that fails makes the daemon start itself anew: programs go on, whoever is attached goes on where it was, and
//! nothing that was printed is lost.

use std::fs;
use std::path::PathBuf;

use abide_terminal::State;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Lines, Place, SOON, size, wait_in};

/// A place whose disk fails while its switch is there.
fn place() -> (Place, PathBuf) {
    let place = Place::new();
    let switch = place.work().join("disk");
    let named = switch.display().to_string();
    (place.with("ABIDE_TEST_DISK", &named), switch)
}

/// How often the daemon said this.
fn said(place: &Place, what: &str) -> usize {
    place.log().matches(what).count()
}

const FAILED: &str = "the journal failed; the daemon starts itself anew";
const OPEN: &str = "the journal is open";

/// Waits until the daemon has said this once more than so many times.
#[track_caller]
fn wait_said(place: &Place, what: &str, times: usize) {
    wait_in(&place.state(), what, || (said(place, what) > times).then_some(()));
}

#[test]
fn programs_and_streams_go_on_after_a_failed_sync() {
    let rounds = size(2, 10);
    let (place, switch) = place();
    let stop = place.work().join("stop");
    let until = stop.display();
    place
        .session("flood", &format!("i=0; while [ ! -e {until} ]; do seq $i $((i+99)); i=$((i+100)); sleep 0.01; done"));
    let (program, daemon) = (place.record("flood").pid, place.daemon());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut stream = place.stream("reader", "flood", Mode::Observer, BEGINNING);
    let (tell_back, back) = std::sync::mpsc::channel();
    let reading = runtime.spawn(async move {
        let (mut seen, mut away, mut is_away) = (Lines::default(), 0, false);
        loop {
            match timeout(2 * SOON, stream.next()).await.expect("the stream goes on") {
                Ok(StreamEvent::Output { bytes, .. }) => {
                    seen.take(&bytes);
                    if std::mem::take(&mut is_away) {
                        let _ = tell_back.send(());
                    }
                }
                Ok(StreamEvent::Hole(_) | StreamEvent::Skipped { .. }) => panic!("something is missing"),
                Ok(StreamEvent::Away) => {
                    away += 1;
                    is_away = true;
                }
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => return (seen, away),
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
    });
    for round in 1..=rounds {
        let (failed, open) = (said(&place, FAILED), said(&place, OPEN));
        place.wait_output("flood", place.record("flood").end_offset.0 + 5_000);
        fs::write(&switch, if round % 2 == 0 { "write" } else { "sync" }).unwrap();
        wait_said(&place, FAILED, failed);
        fs::remove_file(&switch).unwrap();
        wait_said(&place, OPEN, open);
        assert_eq!(place.record("flood").pid, program, "the same program");
        // Or one interruption would last over two failures.
        back.recv_timeout(2 * SOON).expect("the reader goes on");
    }
    assert_eq!(place.daemon(), daemon, "the same process, executed anew");
    fs::write(&stop, "").unwrap();
    let (seen, away) = runtime.block_on(reading).unwrap();
    assert!(seen.is_whole() && away >= rounds, "{away} interruptions");
    let record = place.record("flood");
    assert_eq!((record.state, record.end_offset.0), (State::Finalized, seen.bytes));
    println!("{rounds} failures of the disk, {} dense lines over {away} interruptions", seen.next);
}

#[test]
fn a_disk_that_goes_on_failing_is_named_until_it_is_mended() {
    let (place, switch) = place();
    place.session("held", "stty -echo; exec cat");
    let program = place.record("held").pid;
    fs::write(&switch, "sync").unwrap();
    // The record of a new session is what fails; who asked is told, or meets the daemon that refuses.
    let refused = |args: &[&str]| String::from_utf8_lossy(&place.run(args).stderr).contains("JOURNAL_FAILED");
    assert!(refused(&["run", "-d", "--", "true"]));
    wait_said(&place, FAILED, 1);
    assert!(refused(&["ls"]), "whoever comes is told");
    let open = said(&place, OPEN);
    fs::remove_file(&switch).unwrap();
    wait_said(&place, OPEN, open);
    assert_eq!(place.record("held").pid, program, "the same program");
    let again = said(&place, FAILED);
    assert!(again < 10, "it is not tried without a pause: {again}");
    println!("{again} failed starts, then {}", place.ok(&["ls"]).lines().count());
}
