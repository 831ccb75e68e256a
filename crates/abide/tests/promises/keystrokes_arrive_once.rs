//! The daemon is killed while somebody types: each line reaches the program exactly once.

use std::time::Duration;

use abide_sim::Rng;
use abide_terminal::client::StreamEvent;
use abide_terminal::protocol::Mode;
use tokio::time::{Instant, sleep_until, timeout};

use crate::harness::{BEGINNING, Place, SOON, size};

#[test]
fn keystrokes_arrive_once() {
    let kills = size(50, 1_000);
    let place = Place::new();
    // What the program reads is what counts: without echo, the output is exactly that.
    place.session("typed", "stty -echo -icanon min 1; echo ready; exec cat");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (typed, struck) = runtime.block_on(async {
        let mut stream = place.stream("typist", "typed", Mode::Owner, BEGINNING);
        let mut output = Vec::new();
        let mut dice = Rng::new(7);
        let (mut struck, mut written) = (0, String::new());
        let (mut line, mut sent) = (0_u64, 0);
        let mut next_kill = Instant::now() + Duration::from_millis(300);
        let mut done = false;
        while !done {
            tokio::select! {
                event = timeout(3 * SOON, stream.next()) => match event.expect("there is always something to come") {
                    Ok(StreamEvent::Output { bytes, .. }) => output.extend_from_slice(&bytes),
                    Ok(StreamEvent::InputLost { .. } | StreamEvent::Refused(_)) => panic!("input is lost"),
                    Ok(_) => {}
                    Err(end) => panic!("the stream ended: {end:?}"),
                },
                () = sleep_until(next_kill), if struck < kills => {
                    place.renew_daemon();
                    struck += 1;
                    next_kill = Instant::now() + Duration::from_millis(100 + dice.below(200));
                }
                () = tokio::task::yield_now() => {}
            }
            let ready = output.starts_with(b"ready\r\n");
            // A few lines ahead of what came back, so that some are always under way.
            let behind = written.len().saturating_sub(output.len());
            if ready && struck < kills && behind < 2_000 {
                written.extend(["line ", &line.to_string(), "\n"]);
                line += 1;
            }
            while sent < written.len() {
                let taken = stream.write(&written.as_bytes()[sent..]);
                if taken == 0 {
                    break;
                }
                sent += taken;
            }
            let expected = format!("ready\r\n{}", written.replace('\n', "\r\n"));
            done = struck == kills && sent == written.len() && output.len() >= expected.len();
            if done {
                assert_eq!(String::from_utf8_lossy(&output), expected, "each line once, in order");
            }
        }
        (line, struck)
    });
    println!("{struck} kills, {typed} lines typed");
    assert!(typed >= kills as u64 * 5, "only {typed} lines were typed over {kills} kills");
}
