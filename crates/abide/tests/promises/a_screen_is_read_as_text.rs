//! `abide screen`: what a terminal would show, from a session that nobody is attached to.

use serde_json::Value;

use crate::harness::Place;

#[test]
fn with_its_history_and_where_it_stands() {
    let place = Place::new();
    place.session("s", r"seq 1 30; printf '\033[31mred\033[0m'; sleep 1000");
    place.wait_printed("s", "the end of the output", |printed| printed.contains("red").then_some(()));
    let screen = place.ok(&["screen", "s"]);
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[23]), (24, "8", "red"), "{screen}");
    let more = place.ok(&["screen", "s", "--scrollback", "3"]);
    assert_eq!(more.lines().next(), Some("5"), "{more}");
    let json: Value = serde_json::from_str(&place.ok(&["screen", "s", "--json"])).unwrap();
    assert_eq!(json["cursor"], serde_json::json!([3, 23]), "{json}");
    assert_eq!((&json["cols"], &json["rows"], &json["alternate"]), (&80.into(), &24.into(), &false.into()));
    assert_eq!(json["offset"], place.record("s").end_offset.0);
}

#[test]
fn of_the_alternate_screen_and_after_the_end() {
    let place = Place::new();
    place.session("s", r"echo main; printf '\033[?1049hother'; read line; printf '\033[?1049l'; echo end");
    place.wait_printed("s", "the other screen", |printed| printed.contains("other").then_some(()));
    let json: Value = serde_json::from_str(&place.ok(&["screen", "s", "--json"])).unwrap();
    assert_eq!((json["alternate"].as_bool(), json["text"].as_str().map(str::trim)), (Some(true), Some("other")));
    place.ok(&["kill", "s"]);
    place.renew_daemon();
    assert_eq!(place.ok(&["screen", "s"]).trim(), "other", "as it was when the program was killed");
}
