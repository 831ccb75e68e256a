//! Codes of greetings and requests.

use abide_wire::{Code, encode};
use serde_json::{Value, json};

use super::Met;
use crate::harness::{Peer, Place, hello};

pub(super) fn meet(met: &mut Met) {
    let place = Place::new();
    place.start_daemon();
    greetings_and_frames(met, &place);
    rights(met, &place);
    states(met, &place);
    limits(met);
}

fn first(place: &Place, message: &str) -> Value {
    Peer::new(place).ask(message)
}

fn greetings_and_frames(met: &mut Met, place: &Place) {
    let good = hello("c", "control");
    met.by(Code::ProtoBreakingChange, &first(place, &good.replace("\"version\":1", "\"version\":2")));
    met.by(Code::HelloRequired, &first(place, r#"{"type":"list","id":"1"}"#));
    let mut peer = Peer::greeted(place, &good);
    met.by(Code::HelloRepeated, &peer.ask(&good));
    met.by(Code::UnknownRequest, &peer.ask(r#"{"type":"fly","id":"2"}"#));
    met.by(Code::BadRequest, &peer.ask(r#"{"type":"list","id":"3","limit":0}"#));
    met.by(
        Code::RoleForbidden,
        &peer.ask(r#"{"type":"attach","id":"4","session":"a","mode":"owner","on_lag":"follow"}"#),
    );
    met.by(Code::ProtoMalformed, &Peer::greeted(place, &hello("d", "control")).ask("{"));
    let _newer = Peer::greeted(place, &good);
    met.by(Code::ClientReplaced, &peer.answer().expect("it is told"));
    let mut peer = Peer::new(place);
    peer.raw(&[0; 4]);
    met.by(Code::FrameTooLarge, &peer.answer().expect("an answer comes"));
}

fn create(name: &str, script: &str) -> String {
    json!({
        "type": "create", "id": "create", "name": name, "command": "sh", "args": ["-c", script], "cols": 80, "rows": 24,
        "takeover": "deny",
    })
    .to_string()
}

#[track_caller]
fn succeeds(answer: &Value) {
    assert_eq!(answer["type"], "ok", "{answer}");
}

fn rights(met: &mut Met, place: &Place) {
    let mut ada = Peer::greeted(place, &hello("ada", "control"));
    let mut bob = Peer::greeted(place, &hello("bob", "control"));
    succeeds(&ada.ask(&create("s", "exec cat")));
    met.by(Code::TakeoverDenied, &bob.ask(r#"{"type":"takeover","id":"1","session":"s"}"#));
    let resize = r#"{"type":"resize","id":"1","session":"s","cols":90,"rows":30,"owner_epoch":99}"#;
    met.by(Code::OwnerChanged, &ada.ask(resize));
    let mut stream = Peer::greeted(place, &hello("bob", "stream"));
    let attach = r#"{"type":"attach","id":"1","session":"s","mode":"owner","on_lag":"follow"}"#;
    met.by(Code::SessionOwned, &stream.ask(attach));
    met.by(Code::NameTaken, &bob.ask(&create("s", "exec cat")));
    met.by(Code::LimitEnv, &bob.ask(&create("t", "exec cat").replace("\"cols\"", r#""env":{"":"x"},"cols""#)));
}

fn states(met: &mut Met, place: &Place) {
    let mut ada = Peer::greeted(place, &hello("ada", "control"));
    let signal = |name: &str| format!(r#"{{"type":"signal","id":"signal","session":"{name}","signal":"SIGCONT"}}"#);
    met.by(Code::SessionNotFound, &ada.ask(&signal("nobody")));
    // Both are read at once: the signal is looked at before the program can run.
    let mut bytes = Vec::new();
    encode(1, &[create("u", "trap '' HUP TERM; echo ready; while :; do sleep 1000; done").as_bytes()], &mut bytes);
    encode(1, &[signal("u").as_bytes()], &mut bytes);
    ada.raw(&bytes);
    met.by(Code::SessionStarting, &ada.answer().expect("the signal is answered first"));
    let created = ada.answer().expect("the program runs");
    succeeds(&created);
    met.by(Code::SessionRunning, &ada.ask(r#"{"type":"remove","id":"1","session":"u"}"#));
    place.wait_printed("u", "ready", |printed| printed.contains("ready").then_some(()));
    succeeds(&ada.ask(r#"{"type":"kill","id":"1","session":"u","grace_ms":60000}"#));
    met.by(Code::SessionTerminating, &ada.ask(&signal("u")));
    succeeds(&ada.ask(r#"{"type":"kill","id":"1","session":"u","force":true}"#));
    place.wait_end("u");
    met.by(Code::SessionExited, &ada.ask(&signal("u")));
    succeeds(&ada.ask(r#"{"type":"remove","id":"1","session":"u"}"#));
    let id = created["result"]["session"]["id"].as_str().expect("it has an id");
    met.by(Code::SessionGone, &ada.ask(&signal(id)));
}

fn limits(met: &mut Met) {
    let place = Place::new()
        .with("ABIDE_TERMINAL_SESSIONS_MAX", "1")
        .with("ABIDE_TERMINAL_OBSERVERS_MAX", "0")
        .with("ABIDE_TERMINAL_CLIENTS_MAX", "2");
    place.start_daemon();
    let mut ada = Peer::greeted(&place, &hello("ada", "control"));
    succeeds(&ada.ask(&create("s", "exec cat")));
    met.by(Code::LimitSessions, &ada.ask(&create("t", "exec cat")));
    let mut stream = Peer::greeted(&place, &hello("bob", "stream"));
    let attach = r#"{"type":"attach","id":"1","session":"s","mode":"observer","on_lag":"follow"}"#;
    met.by(Code::LimitObservers, &stream.ask(attach));
    met.by(Code::LimitClients, &first(&place, &hello("cy", "control")));
}
