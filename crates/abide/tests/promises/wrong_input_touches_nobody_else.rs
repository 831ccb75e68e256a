//! Wrong input on real sockets: each row has its answer, and neither the daemon nor another client notices.

use std::io::{ErrorKind, Read as _, Write as _};

use abide_sim::Rng;
use abide_wire::encode;
use serde_json::Value;

use crate::harness::{Peer, Place, SOON, hello, size};

/// Takes the refusal, and looks whether the connection is kept.
#[track_caller]
fn refused(peer: &mut Peer, code: &str, closes: bool) {
    let answer = peer.answer().expect("an answer comes");
    assert_eq!((&answer["type"], &answer["code"]), (&Value::from("error"), &Value::from(code)), "{answer}");
    if closes {
        assert_eq!(peer.answer(), None, "the connection is closed");
    } else {
        let answer = peer.ask(r#"{"type":"inspect","id":"still-there","session":"nobody"}"#);
        assert_eq!(answer["id"], "still-there", "the connection is kept");
    }
}

#[test]
fn each_row_has_its_answer() {
    let place = Place::new();
    place.start_daemon();
    let good = hello("c", "control");
    for (first, code) in [
        (good.replace("\"version\":1", "\"version\":2"), "PROTO_BREAKING_CHANGE"),
        (good.replace("abide-terminal", "tmux"), "PROTO_BREAKING_CHANGE"),
        (good.replace(",\"client_id\":\"c\"", ""), "PROTO_BREAKING_CHANGE"),
        (r#"{"type":"list","id":"1"}"#.to_owned(), "HELLO_REQUIRED"),
        (hello("a b", "control"), "BAD_REQUEST"),
        (hello("c", "king"), "BAD_REQUEST"),
    ] {
        let mut peer = Peer::new(&place);
        peer.say(&first);
        refused(&mut peer, code, true);
    }
    // Nothing for two seconds.
    refused(&mut Peer::new(&place), "HELLO_REQUIRED", true);
    let control = |bytes: &[u8], code: &str, closes: bool| {
        let mut peer = Peer::greeted(&place, &good);
        peer.raw(bytes);
        refused(&mut peer, code, closes);
    };
    let message = |json: &str| {
        let mut bytes = Vec::new();
        encode(1, &[json.as_bytes()], &mut bytes);
        bytes
    };
    control(&message(&good), "HELLO_REPEATED", false);
    control(&[0, 0, 0, 0], "FRAME_TOO_LARGE", true);
    control(&[1, 0, 16, 0], "FRAME_TOO_LARGE", true);
    control(&[1, 0, 0, 0, 9], "PROTO_MALFORMED", true);
    control(&message("{"), "PROTO_MALFORMED", true);
    control(&[2, 0, 0, 0, 3, 0], "PROTO_MALFORMED", true);
    control(&message(r#"{"type":"fly","id":"1"}"#), "UNKNOWN_REQUEST", false);
    control(&message(r#"{"type":"list","id":"1","limit":0}"#), "BAD_REQUEST", false);
    control(
        &message(r#"{"type":"attach","id":"1","session":"a","mode":"owner","on_lag":"follow"}"#),
        "ROLE_FORBIDDEN",
        false,
    );
    control(&[14, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'x'], "ROLE_FORBIDDEN", false);

    let mut stream = Peer::greeted(&place, &hello("c", "stream"));
    assert_eq!(stream.ask(r#"{"type":"list","id":"1"}"#)["code"], "ROLE_FORBIDDEN");
    assert_eq!(
        stream.ask(r#"{"type":"attach","id":"1","session":"nobody","mode":"owner","on_lag":"follow"}"#)["code"],
        "SESSION_NOT_FOUND"
    );
    assert_eq!(
        stream.ask(r#"{"type":"attach","id":"1","session":"nobody","mode":"owner","on_lag":"wait"}"#)["details"]["field"],
        "on_lag"
    );
    place.ok(&["ls", "--no-start"]);
}

#[test]
fn a_second_control_connection_takes_the_first_ones_place() {
    let place = Place::new();
    place.start_daemon();
    let mut first = Peer::greeted(&place, &hello("c", "control"));
    let _second = Peer::greeted(&place, &hello("c", "control"));
    let told = first.answer().expect("it is told");
    assert_eq!((&told["event"], &told["code"]), (&Value::from("detached"), &Value::from("CLIENT_REPLACED")), "{told}");
    assert_eq!(first.answer(), None);
}

const SAMPLES: [&str; 6] = [
    r#"{"type":"list","id":"2"}"#,
    r#"{"type":"attach","id":"2","session":"s","mode":"observer","on_lag":"follow"}"#,
    r#"{"type":"attach","id":"3","session":"s","mode":"observer","from":{"offset":99},"on_lag":"follow"}"#,
    r#"{"type":"inspect","id":"4","session":"s"}"#,
    r#"{"type":"signal","id":"5","session":"s","signal":"SIGKILL"}"#,
    r#"{"type":"resize","cols":80,"rows":24}"#,
];

/// What one connection sends: a greeting in most cases, then frames with some bytes changed, cut somewhere near the end.
fn fuzzed(round: usize, random: &mut Rng) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut frames = 0;
    let greetings = ["control", "stream"].map(|role| hello("c", role));
    if !round.is_multiple_of(4) {
        encode(1, &[greetings[round % 2].as_bytes()], &mut bytes);
    }
    let samples: Vec<&str> = greetings.iter().map(String::as_str).chain(SAMPLES).collect();
    for _ in 0..random.index(12) {
        let mut frame = Vec::new();
        let kind = u8::try_from(if random.index(4) == 0 { random.index(6) } else { 1 }).unwrap();
        encode(kind, &[samples[random.index(samples.len())].as_bytes()], &mut frame);
        for _ in 0..random.index(3) {
            let at = random.index(frame.len());
            // A long length would only be waited for.
            if at != 2 && at != 3 {
                frame[at] = u8::try_from(random.index(256)).unwrap();
            }
        }
        bytes.extend(frame);
        frames += 1;
    }
    bytes.truncate(bytes.len() - random.index(bytes.len().min(20) + 1));
    (bytes, frames)
}

#[test]
fn fuzzed_connections_leave_the_daemon_and_others_alone() {
    use abide_terminal::client::StreamEvent;
    use abide_terminal::protocol::{Mode, StartAt};

    let place = Place::new();
    place.ok(&["run", "-d", "--name", "s", "--", "cat"]);
    let daemon = place.daemon();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut random = Rng::new(0x5EED);
    let connections = size(300, 10_000);
    let (mut frames, mut closed) = (0, 0);
    runtime.block_on(async {
        let mut owner = place.stream("owner", "s", Mode::Owner, StartAt::Snapshot);
        for round in 0..connections {
            let mut peer = Peer::new(&place);
            let peer = peer.socket();
            let (bytes, count) = fuzzed(round, &mut random);
            frames += count;
            // A daemon that has closed takes no more: that is an answer too.
            if peer.write_all(&bytes).is_err() {
                closed += 1;
            }
            let _ = peer.shutdown(std::net::Shutdown::Write);
            let mut rest = Vec::new();
            match peer.read_to_end(&mut rest) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => closed += 1,
                Err(error) => panic!("round {round}: the daemon does not let go: {error}"),
            }
        }
        // The owner of the session has noticed nothing.
        let mut echoed = Vec::new();
        let mut typed = false;
        while !echoed.ends_with(b"alive\r\nalive\r\n") {
            match tokio::time::timeout(SOON, owner.next()).await.expect("the session answers") {
                Ok(StreamEvent::Output { bytes, .. }) => echoed.extend_from_slice(&bytes),
                Ok(StreamEvent::Away) => panic!("its connection was touched"),
                Ok(_) if !typed => typed = owner.write(b"alive\n") > 0,
                Ok(_) => {}
                Err(end) => panic!("it ended: {end:?}"),
            }
        }
    });
    assert_eq!(place.daemon(), daemon, "the same daemon");
    println!("{connections} connections, {frames} frames, {closed} closed on us");
    assert!(frames > connections && connections > 100);
}
