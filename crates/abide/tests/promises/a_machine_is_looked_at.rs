//! `abide doctor` says what stands in the way of sessions, starts nothing, and removes nothing but stale sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use serde_json::Value;

use crate::harness::{Place, SOON, ends_within, kill};

/// What is found, by check; and the exit status.
fn findings(place: &Place, args: &[&str]) -> (i32, Vec<Value>) {
    let output = place.run(&[&["doctor", "-o", "json"], args].concat());
    assert!(output.stderr.is_empty(), "{output:?}");
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<(&'a str, &'a str)> {
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check.map(|finding| (finding["level"].as_str().unwrap(), finding["message"].as_str().unwrap())).collect()
}

#[test]
fn before_there_is_anything() {
    let place = Place::new();
    let (status, found) = findings(&place, &[]);
    assert_eq!(status, 0, "{found:?}");
    let mut checks: Vec<&str> = found.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    checks.dedup();
    let expected = [
        "configuration",
        "state directory",
        "socket directory",
        "daemon",
        "disk",
        "descriptors",
        "terminals",
        "linger",
        "KillUserProcesses",
        "cgroup",
    ];
    assert_eq!(checks, expected);
    assert_eq!(of(&found, "daemon"), [("ok", "none has run here yet; commands start one")]);
    assert!(!place.state().exists(), "nothing is made");
    assert_eq!(place.daemons(), Vec::<u32>::new(), "nothing is started");
    let table = place.ok(&["doctor"]);
    assert!(table.starts_with("LEVEL") && table.lines().count() == found.len() + 1, "{table}");
    assert_eq!(place.ok(&["doctor", "-o", "jsonl"]).lines().count(), found.len());
}

#[test]
fn what_serves_and_what_is_left_of_the_dead() {
    let place = Place::new();
    for name in ["one", "two"] {
        place.session(name, "exec cat");
    }
    let daemon = place.daemon().unwrap();
    let (status, found) = findings(&place, &[]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(status, 0, "{found:?}");
    assert_eq!(of(&found, "daemon"), [("ok", format!("process {daemon}, version {version} serves").as_str())]);
    assert_eq!(of(&found, "holders"), [("ok", "2 answer")]);

    // A holder that was killed while no daemon runs leaves its socket.
    let holder = place.holder("one");
    place.ok(&["stop"]);
    assert!(ends_within(daemon, SOON));
    kill(holder);
    let holders = place.state().join("run/holders");
    let files = || fs::read_dir(&holders).unwrap().count();
    fs::write(holders.join("kept.sock.txt"), "").unwrap();
    let (status, found) = findings(&place, &[]);
    assert_eq!((status, files()), (0, 3), "{found:?}");
    assert_eq!(of(&found, "daemon"), [("ok", "none runs; commands start one")]);
    let left = of(&found, "holders");
    assert_eq!((left[0], left[1].0), (("ok", "1 answer"), "warning"), "{left:?}");
    assert!(left[1].1.starts_with("nobody listens at "), "{left:?}");

    let (status, found) = findings(&place, &["--fix"]);
    assert_eq!((status, files()), (0, 2), "{found:?}");
    assert_eq!(of(&found, "holders"), [("ok", "1 answer"), ("ok", "1 stale sockets removed")]);
    assert_eq!(place.daemons(), Vec::<u32>::new(), "none was started");
    let two = place.record("two");
    assert_eq!(two.state, abide_terminal::State::Running, "the other one was left alone");
}

#[test]
fn what_keeps_sessions_from_living_is_an_error() {
    let place = Place::new();
    place.start_daemon();
    place.ok(&["stop"]);
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o755)).unwrap();
    place.configure("[terminal]\nno_such_key = 1\n");
    let output = place.run(&["doctor", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let configuration = of(&found, "configuration");
    assert!(configuration[0].0 == "error" && configuration[0].1.contains("terminal.no_such_key"), "{configuration:?}");
    let state = found.iter().find(|finding| finding["check"] == "state directory").unwrap();
    assert_eq!(
        (state["level"].as_str(), state["try"].as_str()),
        (Some("error"), Some(&*format!("chmod 700 {}", place.state().display())))
    );
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700)).unwrap();

    // Somebody listens there and says nothing, with the lock.
    place.configure("");
    fs::remove_file(place.socket()).unwrap();
    let _silent = UnixListener::bind(place.socket()).unwrap();
    let lock = fs::File::open(place.lock()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (status, found) = findings(&place, &[]);
    let daemon = of(&found, "daemon");
    assert!(status == 1 && daemon[0].1.ends_with("has the lock and does not answer"), "{daemon:?}");
}
