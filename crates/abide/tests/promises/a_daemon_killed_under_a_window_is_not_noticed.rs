//! The daemon is killed under a window: it is started again, and the user sees at most a pause.

use std::time::{Duration, Instant};

use crate::harness::{Place, SOON};

#[test]
fn and_the_same_program_goes_on() {
    let place = Place::new();
    let mut window = place.abide_window(&["run", "--name", "s", "--", "sh", "-c", "echo pid $$; exec cat"]);
    window.wait_for("pid", SOON).unwrap();
    for round in 0..3 {
        window.type_text(&format!("round {round}\r")).unwrap();
        window.wait_for(&format!("round {round}\nround {round}"), SOON).unwrap();
        place.kill_daemon();
        window.type_text(&format!("typed into the gap {round}\r")).unwrap();
        window.wait_for(&format!("gap {round}\ntyped into the gap {round}"), SOON).unwrap();
    }
    let pid = place.record("s").pid.unwrap();
    window.wait_for(&format!("pid {pid}"), SOON).unwrap();
    window.watch(Instant::now() + Duration::from_millis(50)).unwrap();
    let screen = window.screen();
    for round in 0..3 {
        assert_eq!(screen.matches(&format!("into the gap {round}")).count(), 2, "once typed, once answered: {screen}");
    }
}

#[test]
fn a_restart_is_a_pause() {
    let place = Place::new();
    let mut window = place.abide_window(&["run", "--name", "s", "--", "cat"]);
    window.type_text("before\r").unwrap();
    window.wait_for("before\nbefore", SOON).unwrap();
    let daemon = place.daemon();
    let said = place.run(&["restart"]);
    assert!(said.status.success(), "{said:?}");
    assert_ne!(place.daemon(), daemon, "another process serves");
    window.type_text("after\r").unwrap();
    window.wait_for("after\nafter", SOON).unwrap();
    assert!(!window.screen().contains("abide:"), "nothing was shown: {}", window.screen());
}
