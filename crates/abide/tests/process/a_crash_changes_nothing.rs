//! The daemon crashes at each step at which something was recorded or told and the next thing was not done yet. After
//! the next start everything is as it would have been, and no program was started twice.

use std::fs;
use std::process::Stdio;

use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::{Kill, Mode, Take};
use abide_terminal::{ExitKind, Record, State};
use tokio::time::timeout;

use crate::house::{BEGINNING, House, SOON, wait_for};

/// Places of a daemon's life, in the order in which a session's whole life passes them.
const PLACES: [&str; 22] = [
    "probed",
    "boot_recorded",
    "created_recorded",
    "log_created",
    "launched",
    "adopted",
    "start_recorded",
    "started_told",
    "started_recorded",
    "output_written",
    "output_acknowledged",
    "owner_changed_recorded",
    "owner_told",
    "kill_recorded",
    "ended_told",
    "exited_recorded",
    "finalized_recorded",
    "collect_queued",
    "holder_gone",
    "removed_recorded",
    "log_dropped",
    "recovered_recorded",
];

/// What the program prints: the numbers from 0 to 999, one a line.
const PRINTED_BYTES: usize = 10 * 3 + 90 * 4 + 900 * 5;

/// Starts a daemon that crashes at this place, if it comes to it; one that crashes at once has done so when this returns.
fn up_to(house: &House, place: &str) {
    let mut up = house.command(&["up"]);
    up.env("ABIDE_TEST_FAIL_AT", place).stdout(Stdio::null()).stderr(Stdio::null());
    up.status().unwrap();
}

fn crashes(house: &House) -> usize {
    house.log().matches("crashes here").count()
}

fn finalized(house: &House) -> Record {
    wait_for("the end of the session", || {
        let record = house.record("life");
        (record.state == State::Finalized).then_some(record)
    })
}

/// A client attaches as owner, and waits until it is: after a crash by another connection.
fn own(house: &House, client: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = house.stream(client, "life", Mode::Owner, BEGINNING);
        loop {
            match timeout(SOON, stream.next()).await.expect("it is granted") {
                Ok(StreamEvent::Attached(attached)) if attached.mode == Mode::Owner => return,
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => panic!("the stream ended"),
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
    });
}

fn take_over(house: &House, client: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = "life".parse().unwrap();
        let take = Take { session, owner_epoch: None, cols: 0, rows: 0 };
        timeout(SOON, house.client(client).call(take)).await.expect("it is answered").unwrap();
    });
}

fn kill(house: &House, client: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kill =
            Kill { session: "life".parse().unwrap(), grace_ms: None, force: false, signal: None, owner_epoch: None };
        // A kill that is repeated finds itself.
        timeout(SOON, house.client(client).call(kill)).await.expect("it is answered").unwrap();
    });
}

/// A session's whole life, with a crash at this place, and where a daemon is not called back by a client, a new one.
fn live(place: &str) {
    let house = House::new();
    up_to(&house, place);
    let (count, go) = (house.work().join("count"), house.work().join("go"));
    let script = format!(
        "echo start >> {}; trap 'exit 3' HUP TERM; seq 0 999; while [ ! -e {} ]; do sleep 0.02; done; exit 5",
        count.display(),
        go.display()
    );
    house.session("life", &script);
    wait_for("output", || (house.record("life").end_offset.0 > 3_000).then_some(()));
    own(&house, "first");
    take_over(&house, "second");
    let owner = house.record("life").owner;
    assert_eq!(owner.map(|owner| owner.to_string()).as_deref(), Some("second"), "{place}");
    if place == "recovered_recorded" {
        house.kill_daemon();
        up_to(&house, place);
        house.ok(&["up"]);
    }
    let killed = place == "kill_recorded";
    if killed {
        kill(&house, "second");
    } else {
        fs::write(&go, "").unwrap();
    }
    let record = finalized(&house);
    let exit = record.exit.map(|exit| exit.kind);
    let expected = if killed { ExitKind::Code(3) } else { ExitKind::Code(5) };
    assert_eq!(exit, Some(expected), "{place}");
    let mut lines = crate::house::Lines::default();
    let journalled = house.run(&["logs", "life"]).stdout;
    // A shell may say that what it waited for was terminated.
    let printed = if killed { &journalled[..PRINTED_BYTES] } else { &journalled[..] };
    lines.take(printed);
    assert_eq!(lines.next, 1_000, "{place}: output once");
    assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), 1, "{place}: started once");
    wait_for("the holder is collected", || (house.holders() == 0).then_some(()));
    house.run(&["rm", "life"]);
    wait_for("it is removed", || house.run(&["inspect", "life"]).status.code().filter(|code| *code == 5));
    assert_eq!(house.ok(&["ls", "-a", "-o", "json"]).trim(), "[]", "{place}");
    assert_eq!(crashes(&house), 1, "{place}: the crash struck once");
}

#[test]
fn a_crash_changes_nothing() {
    let mut failed = Vec::new();
    for place in PLACES {
        if std::panic::catch_unwind(|| live(place)).is_err() {
            failed.push(place);
        }
    }
    println!("{} places, failed at {failed:?}", PLACES.len());
    assert_eq!(failed, Vec::<&str>::new());
}
