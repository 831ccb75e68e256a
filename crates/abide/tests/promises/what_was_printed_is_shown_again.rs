//! What a session printed comes back: as lines, as its bytes, as a recording with times and sizes, as a replay.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use abide_drive::Key;
use serde_json::Value;

use crate::harness::{Place, SOON};

/// Prints colours, progress, a character that comes in two writes, and, after a resize and a signal, a last line without
/// an end.
const PROGRAM: &str = "stty -echo; trap 'printf after; kill $!; exit 0' USR1; \
    printf '\\033[1mbold\\033[m\\n 50 %%\\r100 %%\\n'; printf 'd\\303'; printf '\\251j\\303\\240\\n'; \
    sleep 1000 & echo ready; wait";

const RAW: &str = "\x1b[1mbold\x1b[m\r\n 50 %\r100 %\r\ndéjà\r\nready\r\nafter";
const PLAIN: &str = "bold\n100 %\ndéjà\nready\nafter";

/// A session that has printed all that and has ended; its terminal had two sizes.
fn recorded(place: &Place) {
    place.session("s", PROGRAM);
    place.wait_printed("s", "ready", |text| text.contains("ready\r\n").then_some(()));
    assert_eq!(place.ok(&["resize", "s", "100x30"]), "s: 100x30\n");
    assert_eq!(place.ok(&["signal", "s", "USR1", "--target", "leader"]), "s: sent SIGUSR1\n");
    place.wait_end("s");
}

#[test]
fn as_bytes_and_as_lines() {
    let place = Place::new();
    recorded(&place);
    for args in [&["logs", "s"][..], &["logs", "s", "--raw"], &["export", "s", "--format", "raw"]] {
        assert_eq!(place.ok(args), RAW, "{args:?}");
    }
    for args in [&["logs", "s", "--plain"][..], &["logs", "s", "--plain", "-f"], &["export", "--format", "text"]] {
        assert_eq!(place.ok(args), PLAIN, "{args:?}");
    }
    assert_eq!(place.ok(&["logs", "s", "--plain", "--tail", "2"]), "ready\nafter");
    assert_eq!(place.ok(&["export", "s", "--format", "text", "--out", "text"]), "");
    assert_eq!(fs::read_to_string(place.work().join("text")).unwrap(), PLAIN);
    let refused = place.run(&["export", "s", "--out", "no/such/place"]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && errors.starts_with("abide: no/such/place: "), "{errors}");
}

#[test]
fn as_a_recording_with_times_and_sizes() {
    let place = Place::new();
    recorded(&place);
    let record = place.record("s");
    let cast = place.ok(&["export", "s"]);
    let mut lines = cast.lines();
    let mut header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let began = header["timestamp"].take().as_u64().unwrap();
    assert!((record.created_at / 1_000..=record.exited_at.unwrap() / 1_000).contains(&began), "{began}: {record:?}");
    insta::assert_snapshot!(header, @r#"{"env":{"TERM":"xterm-256color"},"height":24,"timestamp":null,"title":"s","version":2,"width":80}"#);

    let events: Vec<(f64, String, String)> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.is_sorted_by(|one, next| one.0 <= next.0), "{events:?}");
    let of =
        |code: &str| events.iter().filter(|event| event.1 == code).map(|event| event.2.as_str()).collect::<Vec<_>>();
    assert_eq!(of("o").concat(), RAW);
    assert_eq!(of("r"), ["100x30"]);
    let resized = events.iter().position(|event| event.1 == "r").unwrap();
    assert!(events[..resized].iter().any(|event| event.2.contains("ready")), "{events:?}");
    assert!(events[resized..].iter().any(|event| event.2.contains("after")), "{events:?}");
}

#[test]
fn as_a_replay() {
    let place = Place::new();
    recorded(&place);
    assert_eq!(place.ok(&["replay", "s", "--speed", "1000"]), RAW);
    assert_eq!(place.ok(&["replay", "s", "--idle-max", "0s"]), RAW);
    let ahead = place.run(&["replay", "s", "--from", "999999"]);
    assert!(String::from_utf8_lossy(&ahead.stderr).contains("(OFFSET_AHEAD)"), "{ahead:?}");

    // In a window, from a place in the middle: with the screen as it was there.
    let from = RAW.find("ready").unwrap().to_string();
    let mut window = place.abide_window(&["replay", "s", "--from", &from, "--idle-max", "0s"]);
    assert!(window.wait_end(SOON).unwrap().success(), "{}", window.screen());
    assert_eq!(window.screen().lines().take(5).collect::<Vec<_>>(), ["bold", "100 %", "déjà", "ready", "after"]);
}

#[test]
fn a_replay_ends_when_the_user_leaves_and_answers_no_query() {
    let place = Place::new();
    // What comes next of this session is far in its future: the replay waits for it.
    let script = "stty -echo; printf 'one\\033[c\\033[?1002h\\033[?25l'; read line; printf two; sleep 1000";
    let mut typist = place.abide_window(&["run", "--name", "u", "--", "sh", "-c", script]);
    typist.wait_for("one", SOON).unwrap();
    wait_for_another_millisecond(&place, "u");
    typist.type_text("x\r").unwrap();
    typist.wait_for("two", SOON).unwrap();

    let before = "before=$(stty -g)";
    let after = "[ \"$before\" = \"$(stty -g)\" ] && echo same settings";
    let replay = format!("{before}; {} replay u --speed 0.0000001; {after}", crate::harness::ABIDE);
    let mut window = place.window(&["sh", "-c", &replay]);
    window.wait_for("one", SOON).unwrap();
    window.key(Key::Control(b'c')).unwrap();
    window.wait_for("same settings", SOON).unwrap();
    assert!(!window.screen().contains("two"), "{}", window.screen());
    assert!(!window.screen().contains("62;22c"), "nothing was answered: {}", window.screen());
    let modes = String::from_utf8_lossy(&window.model().snapshot(0).bytes).into_owned();
    assert!(!modes.contains("\x1b[?1002h") && !modes.contains("\x1b[?25l"), "{modes:?}");
}

/// Times are told in milliseconds: what comes next has another one.
fn wait_for_another_millisecond(place: &Place, session: &str) {
    let last = Duration::from_millis(place.record(session).last_output_at.unwrap() + 1);
    while SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() <= last {
        std::thread::yield_now();
    }
}

#[test]
fn nobody_reads_it_to_the_end() {
    let place = Place::new();
    place.session("s", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i + 1)); done");
    place.wait_end("s");
    for args in [&["logs", "s", "--plain"][..], &["export", "s"], &["replay", "s"]] {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn lines_come_as_they_end() {
    let place = Place::new();
    place.session("s", "stty -echo; trap 'echo later; exit 0' USR1; echo sooner; printf unfinished; sleep 1000 & wait");
    let mut follow = place.command(["logs", "s", "--plain", "-f"]);
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 7];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"sooner\n", "while the program runs");
    place.ok(&["signal", "s", "USR1", "--target", "leader"]);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "unfinishedlater\n");
    assert!(child.wait().unwrap().success());
}
