//! The daemon is killed again and again, at random moments, while sessions print: every program lives on under the same
//! process id, and every viewer gets every line once.

use std::time::Duration;

use abide_sim::Rng;
use abide_terminal::client::{Stream, StreamEnd, StreamEvent};
use abide_terminal::protocol::Mode;
use tokio::time::{Instant, sleep_until, timeout};

use crate::harness::{BEGINNING, Lines, Place, SOON, inspect, size};

/// Sessions that print.
const SESSIONS: usize = 8;

/// Clients that read each of them.
const VIEWERS: usize = 2;

async fn read_all(mut stream: Stream) -> Lines {
    let mut seen = Lines::default();
    loop {
        match stream.next().await {
            Ok(StreamEvent::Output { offset, bytes }) => {
                assert_eq!(offset.0, seen.bytes, "gapless");
                seen.take(&bytes);
            }
            Ok(StreamEvent::Skipped { .. } | StreamEvent::TakenBack { .. } | StreamEvent::Hole(_)) => {
                panic!("nothing is missing")
            }
            Ok(_) => {}
            Err(StreamEnd::Finished(_)) => return seen,
            Err(StreamEnd::Failed(error)) => panic!("the stream failed: {error}"),
        }
    }
}

/// Prints numbered lines until a file is there: the first session as fast as it can, up to a bound, the others in
/// small steps.
fn script(number: usize, stop: &str) -> String {
    if number == 0 {
        format!("i=0; while [ ! -e {stop} ] && [ $i -lt 4000000 ]; do seq $i $((i+9999)); i=$((i+10000)); done")
    } else {
        format!("i=0; while [ ! -e {stop} ]; do seq $i $((i+999)); i=$((i+1000)); sleep 0.05; done")
    }
}

#[test]
fn a_session_survives_its_daemon() {
    let kills = size(100, 1_000);
    let place = Place::new().keeping_all();
    let stop = place.work().join("stop");
    for number in 0..SESSIONS {
        place.session(&format!("s{number}"), &script(number, stop.to_str().unwrap()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (lines, struck) = runtime.block_on(async {
        let mut client = place.client("inspector");
        let mut pids = Vec::new();
        for number in 0..SESSIONS {
            pids.push(inspect(&mut client, &format!("s{number}")).await.pid);
        }
        let mut readers = tokio::task::JoinSet::new();
        for number in 0..SESSIONS * VIEWERS {
            let session = format!("s{}", number % SESSIONS);
            readers.spawn(read_all(place.stream(&format!("viewer{number}"), &session, Mode::Observer, BEGINNING)));
        }
        let mut dice = Rng::new(0x5eed);
        let mut struck = 0;
        for _ in 0..kills {
            sleep_until(Instant::now() + Duration::from_millis(20 + dice.below(180))).await;
            place.renew_daemon();
            struck += 1;
            for (number, pid) in pids.iter().enumerate() {
                let record =
                    timeout(SOON, inspect(&mut client, &format!("s{number}"))).await.expect("recovered in time");
                assert_eq!(record.pid, *pid, "the same program");
            }
        }
        std::fs::write(&stop, "").unwrap();
        let mut lines = 0;
        while let Some(seen) = timeout(6 * SOON, readers.join_next()).await.expect("every viewer comes to the end") {
            let seen = seen.unwrap();
            assert!(seen.is_whole(), "whole lines");
            lines += seen.next;
        }
        (lines, struck)
    });
    println!("{struck} kills, {lines} lines read by {} viewers", SESSIONS * VIEWERS);
    for number in 0..SESSIONS {
        let record = place.record(&format!("s{number}"));
        let journal = place.run(&["logs", &format!("s{number}")]).stdout;
        let mut seen = Lines::default();
        seen.take(&journal);
        assert_eq!(seen.bytes, record.end_offset.0, "the journal is the stream");
        assert!(seen.next > 1_000, "session {number} printed {} lines", seen.next);
    }
}
