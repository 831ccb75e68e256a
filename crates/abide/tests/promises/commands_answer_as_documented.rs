//! Outputs, JSON shapes and exit codes of the command line.

use std::io::{Read as _, Write as _};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::harness::Place;

fn text(output: &Output) -> (i32, String, String) {
    let of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), of(&output.stdout), of(&output.stderr))
}

/// Runs a script with this input in a pipe, given when it has said that it is ready; what it says after that.
fn piped(place: &Place, script: &str, input: &str) -> (i32, String, String) {
    let script = format!("stty -echo -opost; echo ready; {script}");
    let mut child = place.command(["run", "--", "sh", "-c", &script]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), input.as_bytes().to_vec());
    let typist = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = text(&child.wait_with_output().unwrap());
    typist.join().unwrap();
    output
}

#[test]
fn run_ends_with_the_programs_status() {
    let place = Place::new();
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
        let (code, _, err) = text(&place.run(&["run", "--", "sh", "-c", script]));
        assert_eq!(code, status, "{script}: {err}");
    }
    let (code, _, err) = text(&place.run(&["run", "--", "no-such-program"]));
    assert_eq!(code, 127);
    assert!(err.starts_with("abide: no-such-program: ") && err.contains("(COMMAND_NOT_FOUND)"), "{err}");
    let (code, _, err) = text(&place.run(&["run", "--", "/"]));
    assert_eq!(code, 126, "{err}");
    let (code, _, err) = text(&place.run(&["run", "--cwd", "/no/such/place"]));
    assert_eq!(code, 125, "{err}");
    assert!(err.contains("CWD_MISSING"), "{err}");
}

#[test]
fn run_pipes_without_a_terminal() {
    let place = Place::new();
    let (code, out, err) = piped(&place, "sort", "b\na\nc");
    assert_eq!((code, out.as_str(), err.as_str()), (0, "a\nb\nc\n", ""));
    let many = (0..20_000).map(|number| number.to_string()).collect::<Vec<_>>().join("\n") + "\n";
    let (code, out, err) = piped(&place, "cat", &many);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out == many, "{} of {} bytes came back", out.len(), many.len());
}

#[test]
fn sessions_are_listed_described_killed_and_removed() {
    let place = Place::new();
    let (code, out, err) = text(&place.run(&[]));
    assert_eq!(code, 0);
    assert_eq!(out, "NAME  STATE  PID  AGE  IDLE  OWNER  OBSERVERS  SIZE  COMMAND\n");
    assert!(err.contains("abide run") && err.contains("abide attach NAME"), "{err}");

    assert_eq!(
        place.ok(&["run", "-d", "--name", "build", "--label", "team=a", "--", "sh", "-c", "echo hi; cat"]),
        "build\n"
    );
    let drawn = place.ok(&["run", "-d", "--", "cat"]);
    assert!(drawn.trim_end().contains('-'), "two words are drawn: {drawn}");
    let labelled: Value = serde_json::from_str(&place.ok(&["ls", "--label", "team=a", "-o", "json"])).unwrap();
    assert_eq!(labelled.as_array().unwrap().len(), 1);
    assert_eq!(place.ok(&["ls", "-o", "jsonl"]).lines().count(), 2);
    let inspected: Value = serde_json::from_str(&place.ok(&["inspect", "build"])).unwrap();
    assert_eq!(inspected["session"]["labels"]["team"], "a");
    assert_eq!(inspected["streams"], serde_json::json!([]));

    let (code, _, err) = text(&place.run(&["inspect"]));
    assert_eq!((code, err.as_str()), (2, "abide: there are 2 sessions; name one. Try: abide ls\n"));
    let (code, _, err) = text(&place.run(&["attach", "nobody"]));
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("(SESSION_NOT_FOUND). Try: abide ls -a"), "{err}");
    let (code, _, err) = text(&place.run(&["attach", "nobody", "-o", "json"]));
    let object: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(
        (code, object["code"].as_str(), object["retry"].as_str()),
        (5, Some("SESSION_NOT_FOUND"), Some("give_up"))
    );
    let (code, _, err) = text(&place.run(&["run", "-d", "--name", "build", "--", "cat"]));
    assert_eq!(code, 125, "{err}");
    assert!(err.contains("(NAME_TAKEN). Try: abide attach build"), "{err}");
    let (code, _, err) = text(&place.run(&["rm", "build"]));
    assert_eq!(code, 1);
    assert!(err.contains("(SESSION_RUNNING). Try: abide kill build"), "{err}");

    assert_eq!(place.ok(&["kill", "build"]), "build: ended by SIGHUP\n");
    assert_eq!(place.ok(&["kill", "--force", drawn.trim_end()]), format!("{}: ended by SIGKILL\n", drawn.trim_end()));
    let (code, _, err) = text(&place.run(&["attach", "build"]));
    assert_eq!(code, 129, "it ends with the program's status: {err}");
    assert_eq!(place.ok(&["rm", "build"]), "removed build\n");
    assert_eq!(place.ok(&["rm", "--all-finalized"]), format!("removed {}\n", drawn.trim_end()));
    let (code, _, err) = text(&place.run(&["inspect", "build"]));
    assert_eq!(code, 5, "{err}");
}

#[test]
fn a_key_makes_one_session_however_often_it_is_asked_for() {
    let place = Place::new();
    place.start_daemon();
    let children: Vec<_> = (0..20)
        .map(|_| place.command(["run", "-d", "--key", "k", "--", "cat"]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    let names: std::collections::BTreeSet<String> = children
        .into_iter()
        .map(|child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(place.records().len(), 1);
}

#[test]
fn logs_begin_where_they_are_asked_to() {
    let place = Place::new();
    let script = "stty -opost; i=0; while [ $i -lt 30000 ]; do echo \"line $i\"; i=$((i + 1)); done";
    let (code, whole, _) = text(&place.run(&["run", "--name", "s", "--", "sh", "-c", script]));
    assert_eq!(code, 0);
    assert_eq!(whole.lines().count(), 30_000);
    assert!(place.ok(&["logs", "s"]) == whole);
    assert_eq!(place.ok(&["logs", "s", "--tail", "2"]), "line 29998\nline 29999\n");
    assert_eq!(place.ok(&["logs", "s", "--tail", "12000"]).lines().next(), Some("line 18000"), "farther back");
    assert!(place.ok(&["logs", "s", "--tail", "99999"]) == whole);
    assert_eq!(place.ok(&["logs", "s", "--from", &(whole.len() - 6).to_string()]), "29999\n");
    assert!(place.ok(&["logs", "s", "-f"]) == whole, "it ends with the session");
    let (code, _, err) = text(&place.run(&["logs", "s", "--from", "99999999"]));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("OFFSET_AHEAD"), "{err}");
}

#[test]
fn stop_and_restart_leave_programs_alone() {
    let place = Place::new();
    place.ok(&["run", "-d", "--name", "s", "--", "cat"]);
    let before = place.record("s");
    let (code, _, err) = text(&place.run(&["restart"]));
    assert_eq!((code, err.as_str()), (0, "restarted; 1 sessions go on\n"));
    let (code, _, err) = text(&place.run(&["stop"]));
    assert_eq!((code, err.as_str()), (0, "stopped; the sessions live on\n"));
    assert_eq!(text(&place.run(&["ls", "--no-start"])).0, 4);
    let after = place.record("s");
    assert_eq!((before.id, before.pid), (after.id, after.pid));
    let (code, _, err) = text(&place.run(&["restart", "--binary", "/bin/false"]));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("(UPGRADE_FAILED)"), "{err}");
    assert_eq!(place.record("s").pid, before.pid);
    assert_eq!(text(&place.run(&["stop", "--terminate"])).0, 0);
    assert_eq!(place.record("s").state, abide_terminal::State::Finalized);
}
