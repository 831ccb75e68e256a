//! Wrong input on real sockets: each row has its answer, and neither the daemon nor another client notices.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use abide_wire::{Decoder, encode};
use serde_json::Value;

use crate::place::{Place, SOON, identity, rounds};

const HELLO: &str =
    r#"{"type":"hello","id":"1","protocol":"abide-terminal","version":1,"client_id":"c","role":"control"}"#;
const STREAM_HELLO: &str =
    r#"{"type":"hello","id":"1","protocol":"abide-terminal","version":1,"client_id":"c","role":"stream"}"#;

struct Peer {
    socket: UnixStream,
    decoder: Decoder,
}

impl Peer {
    fn new(place: &Place) -> Self {
        Self { socket: place.connect(), decoder: Decoder::new(1 << 20) }
    }

    fn greeted(place: &Place, hello: &str) -> Self {
        let mut peer = Self::new(place);
        peer.say(hello);
        assert_eq!(peer.answer().unwrap()["type"], "hello_ok");
        peer
    }

    fn say(&mut self, json: &str) {
        self.send(1, json.as_bytes());
    }

    fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode(kind, &[payload], &mut bytes);
        self.raw(&bytes);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next message; `None` once the daemon has closed.
    fn answer(&mut self) -> Option<Value> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(serde_json::from_slice(&frame.payload).unwrap());
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => self.decoder.extend(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    #[track_caller]
    fn refused(&mut self, code: &str, closes: bool) {
        let answer = self.answer().expect("an answer comes");
        assert_eq!((&answer["type"], &answer["code"]), (&Value::from("error"), &Value::from(code)), "{answer}");
        if closes {
            assert_eq!(self.answer(), None, "the connection is closed");
        } else {
            self.say(r#"{"type":"inspect","id":"still-there","session":"nobody"}"#);
            let answer = self.answer().expect("the connection is kept");
            assert_eq!(answer["id"], "still-there");
        }
    }
}

#[test]
fn each_row_has_its_answer() {
    let place = Place::new();
    place.start_daemon();
    for (first, code) in [
        (HELLO.replace("\"version\":1", "\"version\":2"), "PROTO_BREAKING_CHANGE"),
        (HELLO.replace("abide-terminal", "tmux"), "PROTO_BREAKING_CHANGE"),
        (HELLO.replace(",\"client_id\":\"c\"", ""), "PROTO_BREAKING_CHANGE"),
        (r#"{"type":"list","id":"1"}"#.to_owned(), "HELLO_REQUIRED"),
        (HELLO.replace("\"c\"", "\"a b\""), "BAD_REQUEST"),
        (HELLO.replace("control", "king"), "BAD_REQUEST"),
    ] {
        let mut peer = Peer::new(&place);
        peer.say(&first);
        peer.refused(code, true);
    }
    // Nothing for two seconds.
    Peer::new(&place).refused("HELLO_REQUIRED", true);
    let control = |bytes: &[u8], code: &str, closes: bool| {
        let mut peer = Peer::greeted(&place, HELLO);
        peer.raw(bytes);
        peer.refused(code, closes);
    };
    let message = |json: &str| {
        let mut bytes = Vec::new();
        encode(1, &[json.as_bytes()], &mut bytes);
        bytes
    };
    control(&message(HELLO), "HELLO_REPEATED", false);
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

    let mut stream = Peer::greeted(&place, STREAM_HELLO);
    stream.say(r#"{"type":"list","id":"1"}"#);
    assert_eq!(stream.answer().unwrap()["code"], "ROLE_FORBIDDEN");
    stream.say(r#"{"type":"attach","id":"1","session":"nobody","mode":"owner","on_lag":"follow"}"#);
    assert_eq!(stream.answer().unwrap()["code"], "SESSION_NOT_FOUND");
    stream.say(r#"{"type":"attach","id":"1","session":"nobody","mode":"owner","on_lag":"resync"}"#);
    assert_eq!(stream.answer().unwrap()["details"]["field"], "on_lag");
    place.ok(&["ls", "--no-start"]);
}

#[test]
fn a_second_control_connection_takes_the_first_ones_place() {
    let place = Place::new();
    place.start_daemon();
    let mut first = Peer::greeted(&place, HELLO);
    let _second = Peer::greeted(&place, HELLO);
    let told = first.answer().expect("it is told");
    assert_eq!((&told["event"], &told["code"]), (&Value::from("detached"), &Value::from("CLIENT_REPLACED")), "{told}");
    assert_eq!(first.answer(), None);
}

const SAMPLES: [&str; 8] = [
    HELLO,
    STREAM_HELLO,
    r#"{"type":"list","id":"2"}"#,
    r#"{"type":"attach","id":"2","session":"s","mode":"observer","on_lag":"follow"}"#,
    r#"{"type":"attach","id":"3","session":"s","mode":"observer","from":{"offset":99},"on_lag":"follow"}"#,
    r#"{"type":"inspect","id":"4","session":"s"}"#,
    r#"{"type":"signal","id":"5","session":"s","signal":"SIGKILL"}"#,
    r#"{"type":"resize","cols":80,"rows":24}"#,
];

/// What one connection sends: a greeting in most cases, then frames with some bytes changed, cut somewhere near the end.
fn fuzzed(round: u32, random: &mut impl FnMut(usize) -> usize) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    let mut frames = 0;
    if !round.is_multiple_of(4) {
        encode(1, &[SAMPLES[round as usize % 2].as_bytes()], &mut bytes);
    }
    for _ in 0..random(12) {
        let mut frame = Vec::new();
        let kind = u8::try_from(if random(4) == 0 { random(6) } else { 1 }).unwrap();
        encode(kind, &[SAMPLES[random(SAMPLES.len())].as_bytes()], &mut frame);
        for _ in 0..random(3) {
            let at = random(frame.len());
            // A long length would only be waited for.
            if at != 2 && at != 3 {
                frame[at] = u8::try_from(random(256)).unwrap();
            }
        }
        bytes.extend(frame);
        frames += 1;
    }
    bytes.truncate(bytes.len() - random(bytes.len().min(20) + 1));
    (bytes, frames)
}

#[test]
fn fuzzed_connections_leave_the_daemon_and_others_alone() {
    use abide_terminal::client::{Stream, StreamEvent, WhenGone};
    use abide_terminal::protocol::{Attach, Mode};

    let place = Place::new();
    place.ok(&["run", "-d", "--name", "s", "--", "cat"]);
    let daemon = place.daemon();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seed = 0x5EED_u64;
    let mut random = move |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % end
    };
    let connections = rounds(300, 10_000);
    let (mut frames, mut closed) = (0, 0);
    runtime.block_on(async {
        let attach = Attach::new("s".parse().unwrap(), Mode::Owner);
        let mut owner = Stream::new(identity("owner"), place.address(), attach, WhenGone::Snapshot);
        for round in 0..connections {
            let mut peer = place.connect();
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
    assert!(frames > connections && u64::from(connections) > 100);
}
