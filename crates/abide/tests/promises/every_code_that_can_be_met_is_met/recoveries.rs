//! Codes of sessions whose holder is gone, silent, or speaks of something else: those that a start of the daemon reports.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use abide_terminal::{ExitKind, SessionId};
use abide_wire::Code;
use serde_json::{Value, json};

use super::Met;
use crate::harness::{Peer, Place, hello, kill};

pub(super) fn meet(met: &mut Met) {
    lost(met);
    strange(met);
    rebooted_and_missing(met);
    looping(met);
}

/// A program that takes its holder down each time it is started.
fn looping(met: &mut Met) {
    let place = Place::new();
    let script = "kill -KILL $PPID; exec sleep 1000";
    place.run(&["run", "-d", "--name", "s", "--restore", "command", "--", "sh", "-c", script]);
    place.wait_end("s");
    met.by_command(Code::RestoreFailed, &place, &["recover", "s"]);
}

/// What the last start found of a session.
fn found(place: &Place, session: SessionId) -> Value {
    let mut peer = Peer::greeted(place, &hello("looker", "control"));
    let report = peer.ask(r#"{"type":"recovery_report","id":"1"}"#);
    let sessions = report["result"]["sessions"].as_array().expect("it names sessions").clone();
    sessions.into_iter().find(|entry| entry["session"] == json!(session)).expect("it names this session")
}

fn socket(place: &Place, session: SessionId) -> PathBuf {
    place.state().join(format!("run/holders/{session}.sock"))
}

fn lost(met: &mut Met) {
    let place = Place::new();
    place.session("s", "exec sleep 1000");
    kill(place.holder("s"));
    let Some(ExitKind::Lost(code)) = place.wait_end("s").exit.map(|exit| exit.kind) else { panic!("it is not lost") };
    met.by(Code::HolderLost, &json!({ "code": code }));
}

/// In the place of two holders: one who accepts and says nothing, and one who says what no holder says.
fn strange(met: &mut Met) {
    let place = Place::new();
    let sessions = ["silent", "foreign"].map(|name| {
        place.session(name, "exec sleep 1000");
        place.record(name).id
    });
    place.kill_daemon();
    let [_silent, foreign] = sessions.map(|session| {
        fs::rename(socket(&place, session), place.work().join(session.to_string())).unwrap();
        // The path may be longer than an address.
        UnixListener::bind(
            PathBuf::from(format!("/proc/self/fd/{}", holders_fd(&place))).join(format!("{session}.sock")),
        )
        .unwrap()
    });
    std::thread::spawn(move || {
        // A connection that is closed at once is no answer of any version.
        while let Ok((peer, _)) = foreign.accept() {
            drop(peer);
        }
    });
    place.start_daemon();
    met.by(Code::HolderUnresponsive, &found(&place, sessions[0]));
    met.by(Code::HolderProtoUnsupported, &found(&place, sessions[1]));
}

/// A descriptor of the directory of holders, open as long as this program.
fn holders_fd(place: &Place) -> i32 {
    std::os::fd::IntoRawFd::into_raw_fd(fs::File::open(place.state().join("run/holders")).unwrap())
}

/// A machine that was started anew, and then a holder of the boot before, whose session has ended.
fn rebooted_and_missing(met: &mut Met) {
    let place = Place::new();
    place.session("s", "exec sleep 1000");
    let session = place.record("s").id;
    place.kill_daemon();
    let aside = place.work().join("aside");
    fs::rename(socket(&place, session), &aside).unwrap();
    let boot = "0123456789abcdef0123456789abcdef";
    assert!(place.command(["up"]).env("ABIDE_TEST_BOOT_ID", boot).output().unwrap().status.success());
    met.by(Code::HostRebooted, &found(&place, session));
    place.wait_end("s");
    place.kill_daemon();
    fs::rename(&aside, socket(&place, session)).unwrap();
    place.start_daemon();
    met.by(Code::JournalMissing, &found(&place, session));
}
