//! A program that asks its terminal something gets one answer: from the model while nobody who types is attached, from
//! the owner's terminal (which is silent here) while one is, and none again over a kill of the daemon.

use std::fs;

use abide_terminal::client::StreamEvent;
use abide_terminal::protocol::Mode;
use tokio::time::timeout;

use crate::harness::{BEGINNING, Place, SOON};

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
