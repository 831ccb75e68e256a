//! A store that is full: programs wait, nothing is dropped, what needs no room goes on; and once an ended session is
//! removed everything continues by itself.

use std::fs;

use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::house::{BEGINNING, House, Lines, SOON, wait_for};

const MIB: u64 = 1 << 20;

#[test]
fn a_full_store_stops_programs_and_loses_nothing() {
    let house = House::new()
        .with("ABIDE_JOURNAL_SEGMENT_BYTES", &MIB.to_string())
        .with("ABIDE_JOURNAL_RECORD_BYTES_MAX", &(MIB / 2).to_string())
        .with("ABIDE_JOURNAL_APPEND_BYTES_MAX", &(MIB / 2).to_string())
        .with("ABIDE_JOURNAL_CHECKPOINT_INLINE_BYTES_MAX", "65536")
        .with("ABIDE_JOURNAL_BYTES_MAX", &(16 * MIB).to_string());
    // Ballast that a removal gives back.
    house.session("ballast", "seq 0 999999");
    wait_for("the end of the ballast", || {
        (house.record("ballast").state == abide_terminal::State::Finalized).then_some(())
    });
    let stop = house.work().join("stop");
    let until = stop.display();
    house.session("flood", &format!("i=0; while [ ! -e {until} ]; do seq $i $((i+9999)); i=$((i+10000)); done"));
    house.session("typed", "stty -echo; exec cat");
    // One that is accepted just before there is no room left has no answer before there is some again.
    let create = || {
        let output = house.run(&["--timeout", "1s", "run", "-d", "--", "true"]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    wait_for("the store is full", || create().contains("JOURNAL_FULL").then_some(()));
    // The program stands still: what it could print lies in the pipe of the terminal.
    let mut last = 0;
    wait_for("the program waits", || {
        let end = house.record("flood").end_offset.0;
        std::mem::replace(&mut last, end).eq(&end).then_some(())
    });
    let full = house.record("flood");
    assert!(house.ok(&["ls"]).contains("flood"), "a list needs no room");
    assert!(house.run(&["logs", "--tail", "5", "flood"]).stdout.len() > 5, "nor does looking back");
    assert!(create().contains("JOURNAL_FULL"));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut stream = house.stream("reader", "flood", Mode::Observer, BEGINNING);
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
    house.kill_daemon();
    house.ok(&["up"]);
    assert_eq!(house.record("flood").pid, full.pid, "the same program");
    house.ok(&["rm", "ballast"]);
    wait_for("the program goes on", || (house.record("flood").end_offset.0 > full_end + 100_000).then_some(()));
    fs::write(&stop, "").unwrap();
    let seen = runtime.block_on(reading).unwrap();
    let record = house.record("flood");
    assert_eq!(seen.bytes, record.end_offset.0, "every byte, once");
    println!("stood still at {full_end} bytes, ended at {} with {} dense lines", seen.bytes, seen.next);
}
