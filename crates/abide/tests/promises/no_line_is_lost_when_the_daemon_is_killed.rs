//! Sessions print numbered lines while the daemon is killed: every stream is dense, and so is the journal.

use abide_terminal::client::{Stream, StreamEvent, WhenGone};
use abide_terminal::protocol::{Attach, Mode, StartAt};
use abide_terminal::{ByteOffset, SessionId};
use tokio::time::timeout;

use crate::place::{Place, SOON, identity, rounds};

const SESSIONS: usize = 3;

#[test]
fn for_any_viewer_and_in_the_journal() {
    let place = Place::new();
    let kills = rounds(10, 1_000);
    let lines = rounds(200_000, 2_000_000);
    let script =
        format!("stty -opost; i=0; while [ $i -lt {lines} ]; do echo \"line $i\"; i=$((i + 1)); done; sleep 1000");
    let names: Vec<String> = (0..SESSIONS).map(|number| format!("s{number}")).collect();
    for name in &names {
        place.ok(&["run", "-d", "--name", name, "--", "sh", "-c", &script]);
    }
    let before = place.sessions();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let last = format!("line {}\n", lines - 1).into_bytes();
        let mut viewers: Vec<_> = before.iter().map(|record| viewer(&place, record.id)).collect();
        let mut outputs = vec![Vec::new(); viewers.len()];
        for round in 0..kills {
            for (stream, output) in viewers.iter_mut().zip(&mut outputs) {
                // Some more of each, then the daemon dies under all of them.
                let enough = output.len() + 50_000 * (round as usize % 3 + 1);
                while output.len() < enough && !output.ends_with(&last) {
                    take(stream, output).await;
                }
            }
            place.kill_daemon();
            place.start_daemon();
        }
        for (stream, output) in viewers.iter_mut().zip(&mut outputs) {
            while !output.ends_with(&last) {
                take(stream, output).await;
            }
        }
        let whole: Vec<u8> = (0..lines).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
        for output in &outputs {
            assert!(*output == whole, "no line lost, none twice");
        }
        for name in &names {
            assert!(place.abide(&["logs", name]).stdout == whole, "the journal equals the stream");
        }
        println!("{kills} kills, {} bytes on {} streams", whole.len(), outputs.len());
    });
    for (was, is) in before.iter().zip(place.sessions()) {
        assert_eq!((was.id, was.pid), (is.id, is.pid), "the same program");
    }
}

fn viewer(place: &Place, id: SessionId) -> Stream {
    let from = StartAt::Offset { offset: ByteOffset(0), epoch: None };
    let attach = Attach { from, ..Attach::new(id.into(), Mode::Observer) };
    Stream::new(identity(&format!("viewer-{id}")), place.address(), attach, WhenGone::Nearest)
}

async fn take(stream: &mut Stream, output: &mut Vec<u8>) {
    match timeout(SOON, stream.next()).await.expect("output comes") {
        Ok(StreamEvent::Output { offset, bytes }) => {
            assert_eq!(offset.0, output.len() as u64, "dense");
            output.extend_from_slice(&bytes);
        }
        Ok(StreamEvent::Attached(_) | StreamEvent::Away) => {}
        other => panic!("nothing is missing: {other:?}"),
    }
}
