//! What the configuration says holds for commands as for the daemon that they start.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;

use abide_drive::{Key, Terminal};

use crate::harness::{Place, SOON, wait_in};

/// Presses a key in a window in which a session is shown, and sees that it leaves.
fn leaves(mut window: Terminal, key: u8) {
    window.wait_for("ready", SOON).unwrap();
    window.key(Key::Control(key)).unwrap();
    window.wait_for("detached from s", SOON).unwrap();
    assert!(window.wait_end(SOON).unwrap().success(), "{}", window.screen());
}

const PROGRAM: [&str; 4] = ["--", "sh", "-c", "stty raw -echo; echo ready; exec cat"];

#[test]
fn the_socket_is_where_it_says_and_the_key_that_leaves_is_the_one_it_names() {
    let place = Place::new();
    place.configure("[terminal]\nsocket_dir = 'sockets'\ndetach_key = 'ctrl-a'\n");
    leaves(place.abide_window(&[&["run", "--name", "s"], &PROGRAM[..]].concat()), b'a');
    assert!(place.state().join("sockets/terminal.sock").exists());
    assert!(!place.socket().exists(), "nothing is where it would be without");
    leaves(place.abide_window(&["attach", "s"]), b'a');
    leaves(place.abide_window(&["attach", "s", "--detach-key", "ctrl-b"]), b'b');
    place.ok(&["restart"]);
    assert!(place.ok(&["ls", "--no-start"]).contains("s     Running"));
    place.ok(&["stop"]);
    assert_eq!(place.run(&["ls", "--no-start"]).status.code(), Some(4));
}

#[test]
fn a_file_that_is_named_takes_the_place_of_the_usual_one() {
    let place = Place::new();
    place.configure("[terminal]\nno_such_key = 1\n");
    let refused = place.run(&["ls"]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && errors.contains("terminal.no_such_key"), "{errors}");

    fs::write(place.work().join("mine.toml"), "[terminal]\nsocket_dir = 'mine'\nsessions_max = 1\n").unwrap();
    let named = |args: &[&str]| place.run(&[&["--config", "mine.toml"], args].concat());
    assert!(named(&["run", "-d", "--name", "s", "--", "cat"]).status.success());
    let too_many = named(&["run", "-d", "--", "cat"]);
    assert!(String::from_utf8_lossy(&too_many.stderr).contains("LIMIT_SESSIONS"), "the daemon goes by it too");
    // A successor is asked for its formats, and started, with the same file.
    assert!(named(&["restart"]).status.success());
    let too_many = named(&["run", "-d", "--", "cat"]);
    assert!(String::from_utf8_lossy(&too_many.stderr).contains("LIMIT_SESSIONS"), "so does its successor");
    let by_variable = place.command(["ls", "--no-start"]).env("ABIDE_CONFIG", place.work().join("mine.toml")).output();
    assert!(String::from_utf8_lossy(&by_variable.unwrap().stdout).contains("s     Running"));
    assert!(named(&["stop"]).status.success());
    assert!(named(&["up"]).status.success(), "a daemon that is started by hand");
    assert!(String::from_utf8_lossy(&named(&["ls", "--no-start"]).stdout).contains("s     Running"));

    let missing = place.run(&["--config", "nothing-there.toml", "ls"]);
    let errors = String::from_utf8_lossy(&missing.stderr);
    assert!(missing.status.code() == Some(2) && errors.contains("nothing-there.toml"), "{errors}");
}

#[test]
fn what_is_in_force_is_shown_with_where_it_comes_from() {
    let place = Place::new().with("ABIDE_TERMINAL_MODELS_MAX", "7");
    place.configure("[terminal]\nsocket_dir = 'sockets'\njournal.sync = 'os'\n");
    let shown = place.ok(&["config", "show", "--origin"]);
    let file = place.state().parent().unwrap().parent().unwrap().join("config/abide/abide.toml");
    for line in [
        &format!("socket_dir = 'sockets'  # {}", file.display()),
        "models_max = 7  # ABIDE_TERMINAL_MODELS_MAX",
        "ring_bytes = 262144  # default",
        "# shell =  # default",
        "[journal]",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    // It is a configuration that says the same.
    fs::write(place.work().join("shown.toml"), &shown).unwrap();
    let plain = place.ok(&["config", "show"]);
    assert_eq!(place.ok(&["--config", "shown.toml", "config", "show"]), plain);
    assert!(!plain.contains("default"), "{plain}");

    let objects: Vec<serde_json::Value> =
        serde_json::from_str(&place.ok(&["config", "show", "--origin", "-o", "json"])).unwrap();
    let models = objects.iter().find(|object| object["key"] == "terminal.models_max").unwrap();
    assert_eq!((models["value"].as_str(), models["origin"].as_str()), (Some("7"), Some("ABIDE_TERMINAL_MODELS_MAX")));
    assert!(models["about"].as_str().unwrap().starts_with("Screen models"), "{models}");
    assert_eq!(place.ok(&["config", "show", "-o", "jsonl"]).lines().count(), objects.len());
    assert!(!place.state().exists(), "no daemon was started");
}

#[test]
fn variables_that_are_no_text_are_left_out_and_named() {
    let place = Place::new();
    let run = |args: &[&str]| {
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let mut command =
            place.command([args, &["run", "-d", "--", "sh", "-c", "env > part; mv part seen; exec cat"]].concat());
        command.env("GOOD", "text").env("BAD_VALUE", bytes(b"\xff")).env(bytes(b"BAD_NAME_\xff"), "x");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let told = run(&[]);
    assert!(told.starts_with("abide: 2 variables are not UTF-8 and are not passed on: "), "{told}");
    assert!(told.contains("BAD_VALUE") && told.contains("BAD_NAME_"), "{told}");
    let seen = wait_in(&place.work(), "its environment", || fs::read(place.work().join("seen")).ok());
    assert_eq!(run(&["--quiet"]), "");
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("GOOD=text") && !seen.contains("BAD_"), "{seen}");
}

#[test]
fn each_level_of_sync_brings_a_session_to_its_end() {
    for level in ["os", "interval", "always"] {
        let place = Place::new().with("ABIDE_TERMINAL_JOURNAL_SYNC", level);
        place.session("s", "echo done");
        place.wait_end("s");
        place.wait_without_holders();
        let told = place.ok(&["events"]);
        assert!(told.contains("finalized"), "{level}: {told}");
        place.ok(&["rm", "s"]);
    }
}
