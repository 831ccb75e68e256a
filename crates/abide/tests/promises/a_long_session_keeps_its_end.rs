//! Output beyond what a session keeps is trimmed, up to a screen; sessions that have ended go after their time; and all of
//! them together stay within a bound.

use abide_terminal::{Record, State};

use crate::harness::{Place, wait_in};

const MIB: u64 = 1 << 20;

/// Output between two screens.
const DISTANCE: u64 = 8 * MIB;

fn place() -> Place {
    Place::new()
        .with("ABIDE_JOURNAL_SEGMENT_BYTES", &(4 * MIB).to_string())
        .with("ABIDE_JOURNAL_RECORD_BYTES_MAX", &MIB.to_string())
        .with("ABIDE_JOURNAL_APPEND_BYTES_MAX", &(2 * MIB).to_string())
        .with("ABIDE_TERMINAL_MODEL_LAG_BYTES_MAX", &MIB.to_string())
}

fn kept(record: &Record) -> u64 {
    record.end_offset.0 - record.base_offset.0
}

/// Bytes of the store, but for its index.
fn store_bytes(place: &Place) -> u64 {
    let files = std::fs::read_dir(place.segments()).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// What `abide logs` prints is the program's last lines, without a hole, from the base on.
fn assert_end(place: &Place, session: &str, last: u64) {
    let base = place.record(session).base_offset.0;
    let printed = place.run(&["logs", session]).stdout;
    let text = String::from_utf8(printed).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 50, "{} lines", lines.len());
    let numbers = lines[1..].iter().map(|line| line.trim_end().parse::<u64>().unwrap());
    let mut expected = last + 1 - (lines.len() as u64 - 1);
    for number in numbers {
        assert_eq!(number, expected, "{session} from {base} on");
        expected += 1;
    }
    assert_eq!(expected, last + 1);
}

#[test]
fn a_long_session_keeps_its_end() {
    let place = place().with("ABIDE_TERMINAL_RETENTION_BYTES", &MIB.to_string());
    let last = 11_999_999;
    place.session("long", &format!("seq 0 {last}"));
    let ended = place.wait_end("long");
    // Counted as the journal does, and the model had to be no further behind than 1 MiB.
    let bound = MIB + 2 * DISTANCE + MIB;
    let record = place.wait_trimmed("long", ended.end_offset.0 - bound - 1);
    assert!(kept(&record) <= bound, "{record:?}");
    assert_end(&place, "long", last);
    let on_disk = store_bytes(&place);
    assert!(on_disk < ended.end_offset.0 * 2 / 3, "{on_disk} bytes of {}", ended.end_offset);
    place.kill_daemon();
    let found = place.record("long");
    assert!(found.base_offset >= record.base_offset && found.end_offset == record.end_offset, "{found:?}");
    assert_end(&place, "long", last);
    println!("{} of {} bytes kept, {on_disk} on disk", kept(&found), found.end_offset);
}

#[test]
fn ended_sessions_go_by_number_and_for_room_and_then_the_longest_is_cut() {
    let place = place()
        .with("ABIDE_TERMINAL_FINALIZED_SESSIONS_MAX", "2")
        .with("ABIDE_TERMINAL_OUTPUT_BYTES_MAX", &(24 * MIB).to_string());
    let names = |place: &Place| {
        let mut names: Vec<String> = place.records().into_iter().map(|record| record.name).collect();
        names.sort_unstable();
        names
    };
    let wait_names = |expected: &[&str]| {
        wait_in(&place.segments(), &format!("sessions {expected:?}"), || (names(&place) == expected).then_some(()));
    };
    for name in ["a", "b", "c"] {
        place.session(name, "seq 0 99");
        place.wait_end(name);
    }
    wait_names(&["b", "c"]);
    place.session("small", "seq 0 99; while :; do sleep 1000; done");
    place.session("large", "seq 0 5999999; while :; do sleep 1000; done");
    wait_names(&["large", "small"]);
    let printed = 52_888_890;
    place.wait_output("large", printed - 1);
    let record = place.wait_trimmed("large", printed - 24 * MIB - DISTANCE - 1);
    assert!(kept(&record) <= 24 * MIB + DISTANCE, "{record:?}");
    assert!(place.records().iter().all(|record| record.state == State::Running));
    assert_end(&place, "small", 99);
    assert_end(&place, "large", 5_999_999);
}

#[test]
fn a_session_that_ended_goes_after_its_time() {
    let place = place().with("ABIDE_TERMINAL_FINALIZED_KEEP_MS", "300");
    place.session("short", "true");
    place.session("stays", "while :; do sleep 1000; done");
    wait_in(&place.segments(), "it is removed", || {
        let names: Vec<String> = place.records().into_iter().map(|record| record.name).collect();
        (names == ["stays"]).then_some(())
    });
    assert_eq!(place.run(&["inspect", "short"]).status.code(), Some(5));
}
