//! `abide send`: a script types into a session that nobody owns, and waits for what comes of it.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Place, SOON};

#[test]
fn and_waits_for_the_answer() {
    let place = Place::new();
    place.session("s", r#"stty -echo; echo ready; while read line; do echo "got $line"; done"#);
    place.ok(&["wait", "s", "--match", "ready", "--from", "0"]);
    for turn in 1..=3 {
        let sent: Value = serde_json::from_str(&place.ok(&["send", "s", "again", "--enter"])).unwrap();
        let from = sent["offset"].to_string();
        let found: Value =
            serde_json::from_str(&place.ok(&["wait", "s", "--match", "got again", "--from", &from])).unwrap();
        assert_eq!(found["met"], true, "{turn}: {found}");
    }
    assert_eq!(place.ok(&["logs", "s"]).matches("got again").count(), 3, "each once");
    let record = place.record("s");
    assert_eq!(record.owner, None, "handed back");
}

#[test]
fn more_than_a_window_from_standard_input() {
    let place = Place::new();
    place.session("s", "stty raw -echo; head -c 300000 | cksum; sleep 1000");
    let text: Vec<u8> = (0..300_000_u32).map(|at| b'a' + u8::try_from(at / 7 % 26).unwrap()).collect();
    let mut send = place.command(["send", "s", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    send.stdin.take().unwrap().write_all(&text).unwrap();
    assert!(send.wait().unwrap().success());
    let mut cksum = std::process::Command::new("cksum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cksum.stdin.take().unwrap().write_all(&text).unwrap();
    let expected = String::from_utf8(cksum.wait_with_output().unwrap().stdout).unwrap();
    place.wait_printed("s", "the sum", |printed| printed.contains(expected.trim()).then_some(()));
}

#[test]
fn an_owner_is_asked_for_by_name() {
    let place = Place::new();
    let mut window = place.abide_window(&["run", "--name", "s", "--", "cat"]);
    window.type_text("mine\r").unwrap();
    window.wait_for("mine\nmine", SOON).unwrap();
    let refused = place.run(&["send", "s", "x"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("SESSION_OWNED"), "{refused:?}");
    place.ok(&["send", "s", "from elsewhere", "--enter", "--take"]);
    window.wait_for("from elsewhere\nfrom elsewhere", SOON).unwrap();
    window.type_text("mine again\r").unwrap();
    window.wait_for("mine again\nmine again", SOON).unwrap();
}
