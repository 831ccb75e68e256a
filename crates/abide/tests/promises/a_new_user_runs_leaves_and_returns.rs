//! Run, type, leave, list, attach: without any configuration, and what was on the screen is there again.

use abide_drive::Key;

use crate::harness::{Place, SOON};

const LEAVE: Key = Key::Control(b'\\');

#[test]
fn and_finds_the_screen_as_it_was() {
    let place = Place::new();
    let mut window = place.abide_window(&["run", "--name", "build", "--", "sh"]);
    window.wait_for("$", SOON).unwrap();
    window.type_text("echo one; echo t''wo\r").unwrap();
    window.wait_for("two\n$", SOON).unwrap();
    window.key(LEAVE).unwrap();
    window.wait_for("detached from build · abide attach build", SOON).unwrap();
    assert!(window.wait_end(SOON).unwrap().success());

    let record = place.record("build");
    assert!(record.owner.is_none() && record.detached_at.is_some(), "leaving releases: {record:?}");
    assert!(place.ok(&["ls"]).contains("build  Running"));

    // Without a name: the session that was left last.
    let mut window = place.abide_window(&["attach"]);
    window.wait_for("two\n$", SOON).unwrap();
    window.type_text("exit 3\r").unwrap();
    assert_eq!(window.wait_end(SOON).unwrap().code(), Some(3), "{}", window.screen());
    assert!(place.ok(&["ls", "-a"]).contains("build  Finalized (3)"));
    place.ok(&["rm", "build"]);
    assert!(place.records().is_empty());
}

#[test]
fn the_key_pressed_twice_is_the_programs() {
    let place = Place::new();
    let mut window = place.abide_window(&[
        "run",
        "--",
        "sh",
        "-c",
        "stty raw -echo; echo ready; dd bs=1 count=1 2>/dev/null | od -c",
    ]);
    window.wait_for("ready", SOON).unwrap();
    window.type_text("\x1c\x1c").unwrap();
    window.wait_for("034", SOON).unwrap();
    assert!(window.wait_end(SOON).unwrap().success());
}

#[test]
fn the_key_is_seen_in_its_kitty_encoding_split_over_two_reads() {
    let place = Place::new();
    let mut window =
        place.abide_window(&["run", "--name", "k", "--", "sh", "-c", r"printf '\033[>1u'; echo ready; cat"]);
    window.wait_for("ready", SOON).unwrap();
    window.type_text("\x1b[92").unwrap();
    window.type_text(";5u").unwrap();
    window.wait_for("detached from k", SOON).unwrap();
    assert!(window.wait_end(SOON).unwrap().success());
    assert_eq!(place.record("k").state, abide_terminal::State::Running);
}

#[test]
fn the_size_of_the_window_is_the_sessions() {
    let place = Place::new();
    let script = "trap 'stty size' WINCH; stty size; while :; do read line && echo \"got $line\"; done";
    let mut window = place.abide_window(&["run", "--", "sh", "-c", script]);
    window.wait_for("24 80", SOON).unwrap();
    window.resize(abide_screen::Size { cols: 100, rows: 30 }).unwrap();
    // Some shells run a trap only when their read returns.
    window.type_text("x\r").unwrap();
    window.wait_for("30 100", SOON).unwrap();
}
