//! The daemon crashes at each step at which something was recorded or told and the next thing was not done yet. After
//! the next start everything is as it would have been, and no program was started twice.

use std::fs;
use std::process::Stdio;

use abide_terminal::ExitKind;
use abide_terminal::client::{StreamEnd, StreamEvent};
use abide_terminal::protocol::{Kill, Mode, Take};
use tokio::time::timeout;

use crate::harness::{BEGINNING, Lines, Place, SOON, ends_within};

/// Steps of a daemon's life, in the order in which a session's whole life passes them.
const STEPS: [&str; 23] = [
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
    "screen_kept",
    "collect_queued",
    "holder_gone",
    "removed_recorded",
    "log_dropped",
    "recovered_recorded",
];

/// What the program prints: the numbers from 0 to 999, one a line.
const PRINTED_BYTES: usize = 10 * 3 + 90 * 4 + 900 * 5;

/// Starts a daemon that crashes at this step, if it comes to it; one that crashes at once has done so when this returns.
fn up_to(place: &Place, step: &str) {
    let mut up = place.command(["up"]);
    up.env("ABIDE_TEST_FAIL_AT", step).stdout(Stdio::null()).stderr(Stdio::null());
    up.status().unwrap();
}

fn crashes(place: &Place) -> usize {
    place.log().matches("crashes here").count()
}

/// A client attaches as owner, and waits until it is: after a crash by another connection.
fn own(place: &Place, client: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = place.stream(client, "life", Mode::Owner, BEGINNING);
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

fn take_over(place: &Place, client: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = "life".parse().unwrap();
        let take = Take { session, owner_epoch: None, cols: 0, rows: 0 };
        timeout(SOON, place.client(client).call(take)).await.expect("it is answered").unwrap();
    });
}

fn kill(place: &Place, client: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kill =
            Kill { session: "life".parse().unwrap(), grace_ms: None, force: false, signal: None, owner_epoch: None };
        // A kill that is repeated finds itself.
        timeout(SOON, place.client(client).call(kill)).await.expect("it is answered").unwrap();
    });
}

/// A session's whole life, with a crash at this step, and where a daemon is not called back by a client, a new one.
fn live(step: &str) {
    let place = Place::new();
    up_to(&place, step);
    let doomed = place.daemon();
    let (count, go) = (place.work().join("count"), place.work().join("go"));
    let script = format!(
        "echo start >> {}; trap 'exit 3' HUP TERM; seq 0 999; while [ ! -e {} ]; do sleep 0.02; done; exit 5",
        count.display(),
        go.display()
    );
    place.session("life", &script);
    place.wait_output("life", 3_000);
    own(&place, "first");
    take_over(&place, "second");
    let owner = place.record("life").owner;
    assert_eq!(owner.map(|owner| owner.to_string()).as_deref(), Some("second"), "{step}");
    if step == "recovered_recorded" {
        place.kill_daemon();
        up_to(&place, step);
        place.start_daemon();
    }
    let killed = step == "kill_recorded";
    if killed {
        kill(&place, "second");
    } else {
        fs::write(&go, "").unwrap();
    }
    let record = place.wait_end("life");
    let exit = record.exit.map(|exit| exit.kind);
    let expected = if killed { ExitKind::Code(3) } else { ExitKind::Code(5) };
    assert_eq!(exit, Some(expected), "{step}");
    if let Some(doomed) = doomed.filter(|_| !step.starts_with("removed") && !step.starts_with("log_dropped")) {
        // What follows the end happens without anybody who would call the next daemon.
        assert!(ends_within(doomed, SOON), "{step}: the crash strikes");
        place.start_daemon();
    }
    let mut lines = Lines::default();
    let journalled = place.run(&["logs", "life"]).stdout;
    // A shell may say that what it waited for was terminated.
    let printed = if killed { &journalled[..PRINTED_BYTES] } else { &journalled[..] };
    lines.take(printed);
    assert_eq!(lines.next, 1_000, "{step}: output once");
    assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), 1, "{step}: started once");
    place.wait_without_holders();
    // One that is repeated after the crash may find that it is done.
    place.run(&["rm", "life"]);
    assert_eq!(place.run(&["inspect", "life"]).status.code(), Some(5), "{step}: it is removed");
    assert_eq!(place.ok(&["ls", "-a", "-o", "json"]).trim(), "[]", "{step}");
    assert_eq!(crashes(&place), 1, "{step}: the crash struck once");
}

#[test]
fn a_crash_changes_nothing() {
    let mut failed = Vec::new();
    for step in STEPS {
        if std::panic::catch_unwind(|| live(step)).is_err() {
            failed.push(step);
        }
    }
    println!("{} steps, failed at {failed:?}", STEPS.len());
    assert_eq!(failed, Vec::<&str>::new());
}
