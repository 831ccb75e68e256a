//! However many daemons and clients start at once: one daemon, found by all.

use std::process::Stdio;

use crate::place::{Place, eventually};

fn daemons(place: &Place) -> usize {
    let is_daemon = |pid: &rustix::process::Pid| {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"up")
    };
    place.processes().iter().filter(|pid| is_daemon(pid)).count()
}

#[test]
fn and_every_client_finds_it() {
    let place = Place::new();
    let mut started = Vec::new();
    for number in 0..30 {
        let args: &[&str] = if number % 3 == 0 { &["up"] } else { &["ls", "-o", "json"] };
        started.push(place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    }
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    eventually("the others have ended", || daemons(&place) == 1);
}

#[test]
fn a_stale_socket_is_replaced_and_a_second_start_is_told() {
    let place = Place::new();
    place.start_daemon();
    place.kill_daemon();
    assert!(place.socket().exists(), "a killed daemon leaves its socket");
    assert_eq!(place.ok(&["ls", "-o", "json"]), "[]\n");
    assert!(place.ok(&["up"]).contains("\"already\":true"));
    assert_eq!(daemons(&place), 1);
}

#[test]
fn one_that_only_looks_starts_none() {
    let place = Place::new();
    let output = place.abide(&["ls", "--no-start"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let output = place.abide(&["stop"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no daemon"), "{output:?}");
    assert_eq!(daemons(&place), 0);
}

#[test]
fn a_long_path_is_no_obstacle() {
    let place = Place::new();
    let deep = place.root().join("d".repeat(60)).join("e".repeat(60));
    let output =
        place.command(["run", "-d", "--name", "s", "--", "cat"]).env("XDG_STATE_HOME", &deep).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = place.command(["ls"]).env("XDG_STATE_HOME", &deep).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("s     Running"), "{output:?}");
}
