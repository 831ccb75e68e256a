//! Codes of streams.

use abide_wire::Code;
use serde_json::Value;

use super::Met;
use crate::harness::{Peer, Place, hello};

/// Attaches to the session `s`, and takes the answer.
fn attach(place: &Place, client: &str, mode: &str, fields: &str) -> (Peer, Value) {
    let mut peer = Peer::greeted(place, &hello(client, "stream"));
    let attach = r#"{"type":"attach","id":"1","session":"s","on_lag":"follow","from":{"offset":0},"mode":"#;
    let answer = peer.ask(&format!("{attach}\"{mode}\"{fields}}}"));
    (peer, answer)
}

/// The next message of this type.
fn next(peer: &mut Peer, kind: &str) -> Value {
    loop {
        let message = peer.answer().expect("the stream goes on");
        if message["type"] == kind {
            return message;
        }
    }
}

/// A frame of input.
fn input(epoch: u32, offset: u64, bytes: usize) -> Vec<u8> {
    [&epoch.to_le_bytes()[..], &offset.to_le_bytes()[..], &vec![b'x'; bytes][..]].concat()
}

pub(super) fn meet(met: &mut Met) {
    let place = Place::new();
    place.session("s", "echo something; exec sleep 1000");
    place.wait_output("s", 5);
    let (mut owner, attached) = attach(&place, "ada", "owner", "");
    assert_eq!(attached["mode"], "owner", "{attached}");
    let epoch = u32::try_from(attached["owner_epoch"].as_u64().expect("it has an epoch")).unwrap();
    owner.send(3, &input(epoch, 5, 1));
    met.by(Code::InputGap, &next(&mut owner, "error"));
    owner.send(3, &input(epoch, 0, 65_537));
    met.by(Code::InputQueueFull, &next(&mut owner, "error"));
    let mut control = Peer::greeted(&place, &hello("ada", "control"));
    met.by(Code::InputOnStream, &control.ask(r#"{"type":"write","id":"1","session":"s","data_base64":"eA=="}"#));
    let (mut newer, _) = attach(&place, "ada", "owner", "");
    met.by(Code::Replaced, &next(&mut owner, "detached"));
    newer.say(r#"{"type":"detach"}"#);
    met.by(Code::Detached, &next(&mut newer, "detached"));

    let (mut short, _) = attach(&place, "bob", "observer", r#","until":1"#);
    met.by(Code::EndReached, &next(&mut short, "detached"));
    let mut ahead = Peer::greeted(&place, &hello("bob", "stream"));
    let beyond =
        r#"{"type":"attach","id":"1","session":"s","on_lag":"follow","from":{"offset":9999},"mode":"observer"}"#;
    met.by(Code::OffsetAhead, &ahead.ask(beyond));

    // Twice what lies between two screens.
    let create = r#"{"type":"create","id":"1","name":"long","retention_bytes":1,"cols":80,"rows":24,"command":"seq","#;
    let mut creator = Peer::greeted(&place, &hello("ada", "control"));
    assert_eq!(creator.ask(&format!("{create}\"args\":[\"2200000\"]}}"))["type"], "ok");
    place.wait_trimmed("long", 0);
    let mut late = Peer::greeted(&place, &hello("bob", "stream"));
    let gone = r#"{"type":"attach","id":"1","session":"long","on_lag":"follow","from":{"offset":0},"mode":"observer"}"#;
    met.by(Code::OffsetTrimmed, &late.ask(gone));

    // It takes nothing while more is printed than it may lag behind.
    let slow = r#","on_lag":"disconnect","lag_bytes_max":65536"#;
    let attach_slow = r#"{"type":"attach","id":"1","session":"flood","from":{"offset":0},"mode":"observer""#;
    let mut slow_peer = Peer::greeted(&place, &hello("cy", "stream"));
    place.session("flood", "while [ ! -e flood ]; do sleep 0.02; done; seq 1000000; exec sleep 1000");
    assert_eq!(slow_peer.ask(&format!("{attach_slow}{slow}}}"))["type"], "attached");
    std::fs::write(place.work().join("flood"), "").unwrap();
    place.wait_output("flood", 6_000_000);
    met.by(Code::SlowSubscriber, &next(&mut slow_peer, "detached"));

    let (mut last, _) = attach(&place, "bob", "observer", "");
    place.ok(&["stop"]);
    met.by(Code::DaemonStopping, &next(&mut last, "detached"));
}
