//! The terminal is as it was after every way out.

use abide_drive::{Key, Terminal};
use rustix::process::Signal;

use crate::harness::{ABIDE, Place, SOON, arguments, signal};

/// A shell that tells the terminal's settings before and after a program that switches on all it can.
fn window(place: &Place) -> Terminal {
    let all_on =
        r"printf '\033[?1049h\033[?1002h\033[?1006h\033[?1004h\033[?2004h\033[?25l\033[?1h\033[4h'; echo ready; cat";
    let script = format!(
        "stty -g > before; {ABIDE} run --name s -- sh -c \"{all_on}\"; echo \"status $?\"; stty -g > after; echo done"
    );
    let mut window = place.window(&["sh", "-c", &script]);
    window.wait_for("ready", SOON).unwrap();
    window
}

#[track_caller]
fn check(place: &Place, window: &mut Terminal) {
    window.wait_for("done", SOON).unwrap();
    let read = |name: &str| std::fs::read_to_string(place.work().join(name)).unwrap();
    assert_eq!(read("before"), read("after"), "the modes of the line");
    // The same screen as one on which nothing of it ever happened: no modes, no alternate screen, a visible cursor.
    let text = window.screen();
    assert!(!text.contains("ready"), "the alternate screen is left: {text}");
    let mut fresh = abide_screen::Model::new(abide_screen::Size { cols: 80, rows: 24 }, 0);
    fresh.feed(b"\x1b[?1h\x1b[?1002h").unwrap();
    let modes = |model: &abide_screen::Model| {
        let bytes = model.snapshot(0).bytes;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        ["\x1b[?1002h", "\x1b[?1006h", "\x1b[?1004h", "\x1b[?2004h", "\x1b[?25l", "\x1b[?1h", "\x1b[4h"]
            .map(|on| text.contains(on))
    };
    assert!(modes(&fresh).contains(&true), "a snapshot shows what is on");
    assert_eq!(modes(window.model()), [false; 7], "{:?}", String::from_utf8_lossy(&window.model().snapshot(0).bytes));
}

fn window_process(place: &Place) -> u32 {
    let is_run = |pid: &u32| arguments(*pid).get(1).is_some_and(|command| command == "run");
    place.processes().into_iter().find(is_run).expect("the window's process runs")
}

#[test]
fn after_leaving() {
    let place = Place::new();
    let mut window = window(&place);
    window.key(Key::Control(b'\\')).unwrap();
    check(&place, &mut window);
    window.wait_for("status 0", SOON).unwrap();
}

#[test]
fn after_the_programs_end() {
    let place = Place::new();
    let mut window = window(&place);
    window.key(Key::Control(b'd')).unwrap();
    check(&place, &mut window);
}

#[test]
fn after_a_signal_that_detaches_and_releases() {
    for number in [Signal::TERM, Signal::HUP] {
        let place = Place::new();
        let mut window = window(&place);
        signal(window_process(&place), number);
        check(&place, &mut window);
        let record = place.record("s");
        assert!(record.owner.is_none() && record.state == abide_terminal::State::Running, "{record:?}");
    }
}

#[test]
fn after_the_daemon_was_stopped() {
    let place = Place::new();
    let mut window = window(&place);
    place.ok(&["stop"]);
    check(&place, &mut window);
    window.wait_for("status 4", SOON).unwrap();
    window.wait_for("DAEMON_STOPPING", SOON).unwrap();
    assert_eq!(place.record("s").state, abide_terminal::State::Running, "the session lives on");
}

#[test]
fn while_it_is_suspended() {
    let place = Place::new();
    let script = format!(
        "set -m; {ABIDE} run --name s -- sh -c 'echo ready; cat'; echo suspended; stty -a | grep -c ' icanon'; fg >/dev/null; echo over"
    );
    let mut window = place.window(&["sh", "-c", &script]);
    window.wait_for("ready", SOON).unwrap();
    signal(window_process(&place), Signal::TSTP);
    window.wait_for("suspended\n1", SOON).unwrap();
    window.wait_gone("suspended", SOON).unwrap();
    window.wait_for("ready", SOON).unwrap();
    window.type_text("typed\r").unwrap();
    window.wait_for("typed\ntyped", SOON).unwrap();
}
