//! `abide wait`: until a session has ended, is silent, or printed something; over the death of the daemon too.

use std::process::Stdio;

use serde_json::Value;

use crate::harness::Place;

/// What a wait printed, and its exit status.
fn wait(place: &Place, args: &[&str]) -> (Value, Option<i32>) {
    let output = place.run(&[&["wait", "s"], args].concat());
    let printed = serde_json::from_slice(&output.stdout);
    (printed.unwrap_or_else(|_| panic!("{output:?}")), output.status.code())
}

#[test]
fn a_line_that_is_there_or_comes() {
    let place = Place::new();
    place.session(
        "s",
        r#"printf 'one\r\n\033[1merror\033[0m: two\r\nthree\r\n'; read line; echo "got $line"; sleep 1000"#,
    );
    let (found, status) = wait(&place, &["--match", "^error: .*", "--from", "0"]);
    assert_eq!((found["match"].as_str(), status), (Some("error: two"), Some(0)), "{found}");
    let from = found["offset"].as_u64().unwrap().to_string();
    let (found, _) = wait(&place, &["--match", "t[a-z]*", "--from", &from]);
    assert_eq!(found["match"].as_str(), Some("three"), "the line behind it: {found}");

    let (none, status) = wait(&place, &["--match", "four", "--from", "0", "--timeout", "300ms"]);
    assert_eq!((none["met"].as_bool(), status), (Some(false), Some(5)), "{none}");

    let mut waits = place.command(["wait", "s", "--match", "^got (.*)", "--from", "0"]);
    let waiter = waits.stdout(Stdio::piped()).spawn().unwrap();
    place.renew_daemon();
    let mut window = place.abide_window(&["attach", "s"]);
    window.type_text("that\r").unwrap();
    let output = waiter.wait_with_output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["match"].as_str(), Some("got that"), "{found}");
}

#[test]
fn the_end_with_its_status() {
    let place = Place::new();
    place.session("s", "read line; exit 3");
    let (not_yet, status) = wait(&place, &["--exit", "--timeout", "200ms"]);
    assert_eq!((&not_yet["met"], status), (&false.into(), Some(5)), "{not_yet}");
    let mut waits = place.command(["wait", "s", "--exit"]);
    let waiter = waits.stdout(Stdio::piped()).spawn().unwrap();
    let mut window = place.abide_window(&["attach", "s"]);
    window.type_text("\r").unwrap();
    let output = waiter.wait_with_output().unwrap();
    let ended: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&ended["met"], &ended["exit"]["code"]), (&true.into(), &3.into()), "{ended}");
    let (never, status) = wait(&place, &["--match", "more", "--timeout", "60s"]);
    assert_eq!((&never["met"], &never["exit"]["code"], status), (&false.into(), &3.into(), Some(5)), "at once");
}

#[test]
fn silence() {
    let place = Place::new();
    place.session("s", "i=0; while [ $i -lt 8 ]; do i=$((i + 1)); echo $i; sleep 0.1; done; sleep 1000");
    let (quiet, status) = wait(&place, &["--idle", "500ms"]);
    let end = place.record("s").end_offset.0;
    assert_eq!((&quiet["met"], quiet["offset"].as_u64(), status), (&true.into(), Some(end), Some(0)), "{quiet}");
    assert_eq!(place.ok(&["logs", "s"]).lines().last(), Some("8"));
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let place = Place::new();
    place.session("s", "sleep 1000");
    let output = place.run(&["wait", "s", "--match", "("]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("regular expression"), "{output:?}");
    assert_eq!(place.run(&["wait", "s"]).status.code(), Some(2));
    assert_eq!(place.run(&["wait", "t", "--exit"]).status.code(), Some(5));
    let removed = place.run(&["wait", "s", "--match", "x", "--from", "999"]);
    assert!(String::from_utf8_lossy(&removed.stderr).contains("OFFSET_AHEAD"), "{removed:?}");
}
