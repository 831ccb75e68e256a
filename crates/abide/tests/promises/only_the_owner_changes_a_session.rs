//! Commands that need ownership claim a free session and hand it back; another's only when they are told to.

use std::process::Output;

use abide_drive::Key;
use abide_terminal::Record;

use crate::harness::{Place, SOON};

fn refused(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn owner(record: &Record) -> Option<String> {
    record.owner.as_ref().map(ToString::to_string)
}

#[test]
fn a_free_session_is_free_again() {
    let place = Place::new();
    place.session("s", "trap 'echo hit; exit 3' INT; echo ready; sleep 1000 & wait");
    place.wait_printed("s", "ready", |text| text.contains("ready").then_some(()));
    assert_eq!(place.ok(&["resize", "s", "120x40", "-o", "json"]), "{\n  \"cols\": 120,\n  \"rows\": 40\n}\n");
    let record = place.record("s");
    assert_eq!(((record.cols, record.rows), owner(&record)), ((120, 40), None));
    assert_eq!(place.ok(&["--quiet", "resize", "s", "80x24"]), "");
    assert_eq!(place.ok(&["release", "s"]), "s: owned by nobody\n");
    let none = refused(&place.run(&["release", "s", "--to", "nobody-here"]));
    assert_eq!(none, (1, "abide: s: to is not attached to this session (BAD_REQUEST).\n".to_owned()));
    assert_eq!(owner(&place.record("s")), None);
    assert_eq!(place.ok(&["signal", "s", "SIGINT", "-o", "jsonl"]), "{}\n");
    assert_eq!(place.wait_end("s").exit.map(|exit| exit.kind), Some(abide_terminal::ExitKind::Code(3)));
    let (code, error) = refused(&place.run(&["signal", "s", "INT"]));
    assert!(code == 1 && error.contains("(SESSION_EXITED)"), "{error}");
    for (args, told) in
        [(&["signal", "s", "NOPE"][..], "SIGNAL"), (&["resize", "s", "0x24"], "80x24"), (&["signal", "s"], "<SIGNAL>")]
    {
        let (code, error) = refused(&place.run(args));
        assert!(code == 2 && error.contains(told), "{args:?}: {error}");
    }
}

#[test]
fn anothers_session_is_taken_only_when_asked_and_given_back() {
    let place = Place::new();
    let mut window = place.abide_window(&["run", "--name", "s", "--", "cat"]);
    window.type_text("one\r").unwrap();
    window.wait_for("one\none", SOON).unwrap();
    let before = place.record("s");
    let owned_by = owner(&before).unwrap();
    for args in [&["resize", "s", "100x30"][..], &["signal", "s", "INT"]] {
        let line = format!("abide: s: session s is owned by {owned_by} (ROLE_FORBIDDEN). Try: abide attach s --take\n");
        assert_eq!(refused(&place.run(args)), (1, line), "{args:?}");
    }
    assert_eq!(place.record("s").owner_epoch, before.owner_epoch, "nobody took it");

    assert_eq!(place.ok(&["resize", "s", "100x30", "--take"]), "s: 100x30\n");
    let after = place.record("s");
    assert_eq!((owner(&after), after.owner_epoch.0), (Some(owned_by), before.owner_epoch.0 + 2));
    window.type_text("two\r").unwrap();
    window.wait_for("two\ntwo", SOON).unwrap();

    assert_eq!(place.ok(&["release", "s"]), "s: owned by nobody\n");
    assert_eq!(owner(&place.record("s")), None);
    let mut second = place.abide_window(&["attach", "s"]);
    second.type_text("three\r").unwrap();
    second.wait_for("three\nthree", SOON).unwrap();
    let second_owner = owner(&place.record("s")).unwrap();
    let streams: serde_json::Value = serde_json::from_str(&place.ok(&["inspect", "s"])).unwrap();
    let clients: Vec<&str> =
        streams["streams"].as_array().unwrap().iter().filter_map(|stream| stream["client_id"].as_str()).collect();
    let first = *clients.iter().find(|client| **client != second_owner).unwrap();
    assert_eq!(place.ok(&["release", "s", "--to", first]), format!("s: owned by {first}\n"));
    assert_eq!(owner(&place.record("s")).as_deref(), Some(first));
    second.key(Key::Control(b'\\')).unwrap();
    second.wait_for("detached from s", SOON).unwrap();
}

#[test]
fn who_may_not_be_robbed_is_not() {
    let place = Place::new().with("ABIDE_TERMINAL_TAKEOVER", "deny");
    let mut window = place.abide_window(&["run", "--name", "s", "--", "cat"]);
    window.type_text("one\r").unwrap();
    window.wait_for("one\none", SOON).unwrap();
    for args in [&["resize", "s", "100x30", "--take"][..], &["signal", "s", "INT", "--take"], &["release", "s"]] {
        let (code, error) = refused(&place.run(args));
        assert!(code == 1 && error.contains("(TAKEOVER_DENIED)"), "{args:?}: {error}");
    }
    window.type_text("two\r").unwrap();
    window.wait_for("two\ntwo", SOON).unwrap();
}
