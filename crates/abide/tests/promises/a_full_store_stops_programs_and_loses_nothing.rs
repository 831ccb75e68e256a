//! A store that is full: programs wait, nothing is dropped, what needs no room goes on; and once an ended session is
//! removed everything continues by itself.

use std::fs;
use std::time::Instant;

use abide_terminal::ExitKind;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Lines, Peer, Place, SOON, ends_within, hello};

const MIB: u64 = 1 << 20;

/// Starts a program that only SIGKILL ends; its owner, and its process.
fn stubborn(place: &Place) -> (Peer, u32) {
    let mut owner = Peer::greeted(place, &hello("owner", "control"));
    let file = place.work().join("pid");
    let script = format!("trap '' HUP TERM; echo $$ > {}; while :; do sleep 1000; done", file.display());
    let create = r#"{"type":"create","id":"1","name":"stubborn","cols":80,"rows":24,"command":"sh","args":["-c","#;
    assert_eq!(owner.ask(&format!("{create}\"{script}\"]}}"))["type"], "ok");
    (owner, place.pid_in("pid"))
}

#[test]
fn a_full_store_stops_programs_and_loses_nothing() {
    let place = Place::new()
        .with("ABIDE_JOURNAL_SEGMENT_BYTES", &MIB.to_string())
        .with("ABIDE_JOURNAL_RECORD_BYTES_MAX", &(MIB / 2).to_string())
        .with("ABIDE_JOURNAL_APPEND_BYTES_MAX", &(MIB / 2).to_string())
        .with("ABIDE_JOURNAL_CHECKPOINT_INLINE_BYTES_MAX", "65536")
        .with("ABIDE_JOURNAL_BYTES_MAX", &(16 * MIB).to_string());
    // Ballast that a removal gives back.
    place.session("ballast", "seq 0 999999");
    place.wait_end("ballast");
    let stop = place.work().join("stop");
    let until = stop.display();
    place.session("flood", &format!("i=0; while [ ! -e {until} ]; do seq $i $((i+9999)); i=$((i+10000)); done"));
    let (mut owner, stubborn) = stubborn(&place);
    // One that is accepted just before there is no room left has no answer before there is some again.
    let create = || {
        let output = place.run(&["--timeout", "1s", "run", "-d", "--", "true"]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let deadline = Instant::now() + 2 * SOON;
    // The program stands still once there is no room: what it could print lies in the pipe of the terminal.
    let mut last = None;
    let full = loop {
        let refused = create().contains("JOURNAL_FULL");
        let record = place.record("flood");
        if refused && last.replace(record.end_offset) == Some(record.end_offset) {
            break record;
        }
        assert!(Instant::now() < deadline, "the store is never full");
    };
    assert!(place.ok(&["ls"]).contains("flood"), "a list needs no room");
    assert!(place.run(&["logs", "--tail", "5", "flood"]).stdout.len() > 5, "nor does looking back");
    assert!(create().contains("JOURNAL_FULL"));

    // A kill needs room for its record only; its signals are sent without.
    let killed = owner.ask(r#"{"type":"kill","id":"2","session":"stubborn","grace_ms":200}"#);
    assert!(killed["type"] == "ok" || killed["details"]["signalled"] == true, "{killed}");
    assert!(ends_within(stubborn, SOON), "it is gone while the store is full");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut stream = place.stream("reader", "flood", Mode::Observer, BEGINNING);
    let full_end = full.end_offset.0;
    let (told, reached) = std::sync::mpsc::channel();
    let reading = runtime.spawn(async move {
        let mut seen = Lines::default();
        loop {
            match timeout(2 * SOON, stream.next()).await.expect("the stream goes on") {
                Ok(StreamEvent::Output { bytes, .. }) => {
                    seen.take(&bytes);
                    if seen.bytes >= full_end {
                        let _ = told.send(());
                    }
                }
                Ok(StreamEvent::Hole(_) | StreamEvent::Skipped { .. } | StreamEvent::TakenBack { .. }) => {
                    panic!("something is missing")
                }
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => return seen,
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
    });
    reached.recv_timeout(SOON).expect("a viewer gets all that there is");
    // A daemon that starts on a full store serves too.
    place.renew_daemon();
    assert_eq!(place.record("flood").pid, full.pid, "the same program");
    place.ok(&["rm", "ballast"]);
    place.wait_output("flood", full_end + 100_000);
    assert_eq!(place.wait_end("stubborn").exit.unwrap().kind, ExitKind::Signal("SIGKILL".to_owned()));
    fs::write(&stop, "").unwrap();
    let seen = runtime.block_on(reading).unwrap();
    let record = place.record("flood");
    assert_eq!(seen.bytes, record.end_offset.0, "every byte, once");
    println!("stood still at {full_end} bytes, ended at {} with {} dense lines", seen.bytes, seen.next);
}
