//! A program that asks its terminal something gets one answer: from the model while nobody who types is attached, from
//! the owner's terminal (which is silent here) while one is, and none again over a kill of the daemon.

use std::fs;

use abide_terminal::client::StreamEvent;
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Peer, Place, SOON, hello};

/// Asks for the device's attributes when file `$1` is there, and prints what came within a second, in hexadecimal.
const ASK: &str = r#"
stty -icanon -echo min 0 time 10
ask() {
  while [ ! -e "$1" ]; do sleep 0.02; done
  printf '\033[c'
  printf '%s: %s.\n' "$1" "$(dd bs=64 count=1 2>/dev/null | od -An -tx1 | tr -d ' \n')"
}
for phase in detached attached again killed; do ask $phase; done
"#;

/// `CSI ? 62 ; 22 c` in hexadecimal.
const ANSWER: &str = "1b5b3f36323b323263";

/// Lets the program ask, and waits until it says what it got.
fn ask(place: &Place, phase: &str) -> String {
    fs::write(place.work().join(phase), "").unwrap();
    let begin = format!("{phase}: ");
    place.wait_printed("asker", phase, |output| {
        let line = output.lines().find(|line| line.contains(&begin) && line.trim_end().ends_with('.'))?;
        Some(line.split(&begin).nth(1)?.trim_end().trim_end_matches('.').to_owned())
    })
}

#[test]
fn a_query_is_answered_at_most_once() {
    let place = Place::new();
    place.session("asker", ASK);
    assert_eq!(ask(&place, "detached"), ANSWER, "the model answers");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut stream = {
        let _inside = runtime.enter();
        place.stream("owner", "asker", Mode::Owner, BEGINNING)
    };
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    runtime.block_on(async {
        loop {
            match timeout(SOON, stream.next()).await.expect("it is granted") {
                Ok(StreamEvent::Attached(_)) => break,
                Ok(_) => {}
                Err(end) => panic!("the stream ended: {end:?}"),
            }
        }
    });
    let reading = runtime.spawn(async move {
        tokio::select! {
            _ = left => stream.detach(),
            () = async { while stream.next().await.is_ok() {} } => {}
        }
        while stream.next().await.is_ok() {}
    });
    assert_eq!(ask(&place, "attached"), "", "the owner's terminal would answer");

    drop(leave);
    runtime.block_on(async { timeout(SOON, reading).await.expect("it leaves").unwrap() });
    assert_eq!(ask(&place, "again"), ANSWER, "the model answers");

    place.renew_daemon();
    assert_eq!(ask(&place, "killed"), ANSWER, "the next daemon answers what is asked of it, once");
}

/// Prints more than a stream may lag behind, asks, and waits for the answer.
const FLOOD_AND_ASK: &str = r#"
stty raw -echo
while [ ! -e go ]; do sleep 0.02; done
seq 1000000
printf '\033[c'
printf 'got: %s.' "$(dd bs=64 count=1 2>/dev/null | od -An -tx1 | tr -d ' \n')"
exec sleep 1000
"#;

/// What it prints before it waits.
const ASKED_AT: u64 = 6_888_896 + 3;

#[test]
fn what_the_owners_terminal_skips_is_answered_by_the_model() {
    let place = Place::new();
    place.session("asker", FLOOD_AND_ASK);
    let mut owner = Peer::greeted(&place, &hello("owner", "stream"));
    let attach = r#"{"type":"attach","id":"1","session":"asker","mode":"owner","from":"live","lag_bytes_max":65536}"#;
    assert_eq!(owner.ask(attach)["mode"], "owner");
    fs::write(place.work().join("go"), "").unwrap();
    place.wait_output("asker", ASKED_AT - 1);
    // A snapshot of all that was printed: the model is behind the query.
    let mut looker = Peer::greeted(&place, &hello("looker", "stream"));
    let attached = looker.ask(r#"{"type":"attach","id":"1","session":"asker","mode":"observer"}"#);
    assert_eq!(attached["offset"], ASKED_AT);

    let (mut seen, mut skipped) = (Vec::new(), 0);
    while !seen.ends_with(b".") {
        let frame = owner.frame().expect("the stream goes on");
        match frame.kind {
            1 => {
                let message: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
                if message["type"] == "lagged" {
                    assert_eq!((&message["to"], &message["mode"]), (&ASKED_AT.into(), &"owner".into()));
                    skipped += 1;
                    seen.clear();
                }
            }
            2 => seen.extend_from_slice(&frame.payload[8..]),
            _ => {}
        }
    }
    assert_eq!(skipped, 1);
    assert_eq!(String::from_utf8_lossy(&seen), format!("got: {ANSWER}."), "the model answers, once");
}
