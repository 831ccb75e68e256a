//! Numbered lines typed while the daemon is killed again and again: each reaches the program exactly once, in order.

use abide_terminal::client::{Stream, StreamEvent, WhenGone};
use abide_terminal::protocol::{Attach, Mode, StartAt};
use abide_terminal::{ByteOffset, SessionId};
use tokio::time::timeout;

use crate::place::{Place, SOON, identity, rounds};

#[test]
fn over_many_kills_of_the_daemon() {
    let place = Place::new();
    let received = place.root().join("received");
    let script = format!("stty -echo; echo ready; cat > {}", received.display());
    place.ok(&["run", "-d", "--name", "s", "--", "sh", "-c", &script]);
    let id = place.session("s").id;
    let kills = rounds(10, 1_000);
    let lines_typed = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(type_while_killing(&place, id, kills));
    let text = std::fs::read_to_string(&received).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    println!("{kills} kills, {lines_typed} lines");
    assert_eq!(lines.len(), lines_typed, "each line once");
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("line {number}"));
    }
    assert!(lines_typed >= kills as usize * 20);
}

/// Types on while the daemon dies and comes back; the number of lines.
async fn type_while_killing(place: &Place, id: SessionId, kills: u32) -> usize {
    let from = StartAt::Offset { offset: ByteOffset(0), epoch: None };
    let attach = Attach { from, ..Attach::new(id.into(), Mode::Owner) };
    let mut stream = Stream::new(identity("typist"), place.address(), attach, WhenGone::Nearest);
    let mut output = Vec::new();
    let mut lines = 0;
    while !output.ends_with(b"ready\r\n") {
        if let StreamEvent::Output { bytes, .. } = next(&mut stream).await {
            output.extend_from_slice(&bytes);
        }
    }
    for _ in 0..kills {
        for _ in 0..20 {
            let line = format!("line {lines}\n");
            assert_eq!(stream.write(line.as_bytes()), line.len(), "there is room for a line");
            lines += 1;
        }
        // It dies while the lines are on their way.
        place.kill_daemon();
        place.start_daemon();
        while !stream.link().is_input_applied() {
            next(&mut stream).await;
        }
    }
    lines
}

async fn next(stream: &mut Stream) -> StreamEvent {
    match timeout(SOON, stream.next()).await.expect("an event comes") {
        Ok(event @ (StreamEvent::InputLost { .. } | StreamEvent::Refused(_))) => panic!("input was lost: {event:?}"),
        Ok(event) => event,
        Err(end) => panic!("the stream ended: {end:?}"),
    }
}
