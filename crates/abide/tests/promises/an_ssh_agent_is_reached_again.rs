//! A program reaches its user's ssh agent by one path, wherever the agent is after a reconnect.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use abide_drive::{Key, Terminal};

use crate::harness::{ABIDE, Place, SOON};

/// A window with an `abide` command in it whose user has this agent.
fn window(place: &Place, agent: &Path, args: &[&str]) -> Terminal {
    let agent = format!("SSH_AUTH_SOCK={}", agent.display());
    place.window(&[&["env", &agent, ABIDE], args].concat())
}

#[test]
fn by_each_owner_that_brings_one() {
    let place = Place::new();
    let path = |name: &str| place.work().join(name);
    let listeners: Vec<UnixListener> =
        ["first", "second", "third"].iter().map(|name| UnixListener::bind(path(name)).unwrap()).collect();
    let script = "echo agent: $SSH_AUTH_SOCK; exec cat";
    let mut first = window(&place, &path("first"), &["run", "--name", "s", "--", "sh", "-c", script]);
    first.wait_for("agent: ", SOON).unwrap();
    let link = place.wait_printed("s", "its agent", |text| {
        let line = text.split_once("agent: ")?.1.split_once("\r\n")?.0;
        Some(PathBuf::from(line))
    });
    assert_eq!(link, place.state().join("run/agents").join(place.record("s").id.to_string()));
    let leads_to = || fs::read_link(&link).unwrap();
    assert_eq!(leads_to(), path("first"));
    assert!(std::os::unix::net::UnixStream::connect(&link).is_ok());

    // Who only looks on brings nothing, until it takes over.
    let mut second = window(&place, &path("second"), &["attach", "s"]);
    second.wait_for("Enter takes over", SOON).unwrap();
    assert_eq!(leads_to(), path("first"));
    second.key(Key::Enter).unwrap();
    second.type_text("mine\r").unwrap();
    second.wait_for("mine\nmine", SOON).unwrap();
    assert_eq!(leads_to(), path("second"));
    for window in [&mut first, &mut second] {
        window.key(Key::Control(b'\\')).unwrap();
        window.wait_for("detached from s", SOON).unwrap();
    }

    // A later owner, under another daemon; then one whose agent is none.
    place.renew_daemon();
    fs::write(path("file"), "").unwrap();
    for (agent, expected) in [("third", "third"), ("file", "third"), ("missing", "third")] {
        let mut next = window(&place, &path(agent), &["attach", "s"]);
        next.type_text(&format!("by {agent}\r")).unwrap();
        next.wait_for(&format!("by {agent}\nby {agent}"), SOON).unwrap();
        assert_eq!(leads_to(), path(expected), "{agent}");
        next.key(Key::Control(b'\\')).unwrap();
        next.wait_for("detached from s", SOON).unwrap();
    }
    place.ok(&["kill", "s"]);
    place.ok(&["rm", "s"]);
    assert!(fs::symlink_metadata(&link).is_err(), "nothing is left of it");
    assert_eq!(listeners.len(), 3);
}

#[test]
fn a_program_without_one_gets_none() {
    let place = Place::new();
    let agent = place.work().join("agent");
    let _listener = UnixListener::bind(&agent).unwrap();
    place.session("s", "echo agent: $SSH_AUTH_SOCK.; exec cat");
    place.wait_printed("s", "no agent", |text| text.contains("agent: .").then_some(()));
    let mut owner = window(&place, &agent, &["attach", "s"]);
    owner.type_text("here\r").unwrap();
    owner.wait_for("here\nhere", SOON).unwrap();
    assert_eq!(fs::read_dir(place.state().join("run/agents")).unwrap().count(), 0);
}
