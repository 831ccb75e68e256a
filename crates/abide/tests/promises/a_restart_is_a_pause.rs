//! A daemon is replaced under a client that reads a program at full speed; and what replaces it may be broken: the old
//! one serves again, and says why.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use abide_terminal::client::{Stream, StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::harness::{ABIDE, BEGINNING, Lines, Place, SOON, size};

/// What a client saw, and the longest time between two pieces of it.
async fn read_all(mut stream: Stream) -> (Lines, Duration) {
    let (mut seen, mut pause, mut last) = (Lines::default(), Duration::ZERO, None);
    loop {
        match timeout(3 * SOON, stream.next()).await.expect("the stream goes on") {
            Ok(StreamEvent::Output { offset, bytes }) => {
                assert_eq!(offset.0, seen.bytes, "gapless");
                let now = Instant::now();
                pause = pause.max(now - last.replace(now).unwrap_or(now));
                seen.take(&bytes);
            }
            Ok(StreamEvent::Skipped { .. } | StreamEvent::TakenBack { .. } | StreamEvent::Hole(_)) => {
                panic!("something is missing")
            }
            Ok(_) => {}
            Err(StreamEnd::Finished(_)) => return (seen, pause),
            Err(StreamEnd::Failed(error)) => panic!("the stream failed: {error}"),
        }
    }
}

/// A session that prints numbered lines as fast as it can until a file is there; that file.
fn flood(place: &Place) -> PathBuf {
    let stop = place.work().join("stop");
    let until = stop.display();
    place.session("flood", &format!("i=0; while [ ! -e {until} ]; do seq $i $((i+9999)); i=$((i+10000)); done"));
    stop
}

/// Waits until that much more was printed.
fn more_output(place: &Place) {
    place.wait_output("flood", place.record("flood").end_offset.0 + 200_000);
}

#[test]
fn a_restart_is_a_pause() {
    let restarts = size(5, 100);
    let place = Place::new().keeping_all();
    let stop = flood(&place);
    let pid = place.record("flood").pid;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let reading = runtime.spawn(read_all(place.stream("reader", "flood", Mode::Observer, BEGINNING)));
    let mut daemons = vec![place.daemon().unwrap()];
    for _ in 0..restarts {
        more_output(&place);
        place.ok(&["restart"]);
        assert_eq!(place.record("flood").pid, pid, "the same program");
        daemons.push(place.daemon().unwrap());
    }
    daemons.dedup();
    assert_eq!(daemons.len(), restarts + 1, "each restart brought another daemon");
    fs::write(&stop, "").unwrap();
    let (seen, pause) = runtime.block_on(reading).unwrap();
    assert_eq!(seen.bytes, place.record("flood").end_offset.0);
    println!("{restarts} restarts, {} lines, {} bytes, longest pause {} ms", seen.next, seen.bytes, pause.as_millis());
    assert!(seen.next > 10_000 * restarts as u64, "{} lines", seen.next);
}

/// A program that answers the check as it should and does something else when it is to serve.
fn impostor(place: &Place, name: &str, check: &str, serve: &str) -> String {
    let path = place.work().join(name);
    let script = format!("#!/bin/sh\ncase \"$*\" in\n*--check*) {check} ;;\n*) {serve} ;;\nesac\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_broken_successor_changes_nothing() {
    let place = Place::new().keeping_all();
    let stop = flood(&place);
    let pid = place.record("flood").pid;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let reading = runtime.spawn(read_all(place.stream("reader", "flood", Mode::Observer, BEGINNING)));
    let good = format!("exec {ABIDE} \"$@\"");
    let broken = [
        (place.work().join("nothing-there").to_str().unwrap().to_owned(), "check", "cannot be executed"),
        (impostor(&place, "no-check", "exit 3", &good), "check", "ended with"),
        (impostor(&place, "no-formats", "echo hello", &good), "check", "formats"),
        (impostor(&place, "fails", &good, "exit 4"), "start", "ended before"),
        (impostor(&place, "crashes", &good, "kill -SEGV $$"), "start", "ended before"),
        (impostor(&place, "mutters", &good, "printf rea; sleep 1000; :"), "start", "not ready in time"),
        (impostor(&place, "hangs", &good, "sleep 1000; :"), "start", "not ready in time"),
    ];
    let daemon = place.daemon();
    for (binary, phase, reason) in &broken {
        more_output(&place);
        let output = place.run(&["restart", "-o", "json", "--binary", binary]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{binary} was taken for good: {errors}");
        assert!(errors.contains("UPGRADE_FAILED"), "{binary}: {errors}");
        assert!(errors.contains(phase) && errors.contains(reason), "{binary}: {errors}");
        assert_eq!(place.daemon(), daemon, "{binary}: the same process serves again");
        assert_eq!(place.record("flood").pid, pid, "the same program");
    }
    let left = place.processes_with("sleep");
    assert_eq!(left, Vec::<u32>::new(), "nothing of a broken successor is left");
    more_output(&place);
    place.ok(&["restart"]);
    fs::write(&stop, "").unwrap();
    let (seen, pause) = runtime.block_on(reading).unwrap();
    assert_eq!(seen.bytes, place.record("flood").end_offset.0, "nothing is lost");
    println!("{} broken successors, {} lines, longest pause {} ms", broken.len(), seen.next, pause.as_millis());
}
