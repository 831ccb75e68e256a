//! While a program prints without a pause, a client leaves and comes back again and again, at no known size, and two
//! others take the session from each other: whoever follows by offset gets every byte, and everybody gets in.

use std::fs;
use std::sync::Arc;

use abide_terminal::client::{Client, Stream, StreamEnd, StreamEvent};
use abide_terminal::protocol::{Mode, StartAt, Take};
use abide_terminal::{ByteOffset, OwnerEpoch};
use tokio::time::timeout;

use crate::harness::{BEGINNING, Numbers, Place, SOON, size};

/// Pieces of the burst, between which the program rests for a moment: long enough for all that is done to it.
const PIECES: u64 = 100;

/// Takes output of this stream up to `until`; where it stands then, and the epoch of the log.
async fn read_to(stream: &mut Stream, numbers: &Numbers, mut next: u64, until: u64) -> (u64, Option<u64>) {
    let mut epoch = None;
    while next < until {
        match timeout(SOON, stream.next()).await.expect("there is more to come") {
            Ok(StreamEvent::Attached(attached)) => {
                assert_eq!(attached.offset.0, next, "it begins where it was left");
                assert_eq!((attached.cols, attached.rows), (80, 24), "no size changes nothing");
                epoch = Some(attached.epoch);
            }
            Ok(StreamEvent::Output { offset, bytes }) => {
                assert_eq!(offset.0, next, "gapless");
                numbers.check(offset.0, &bytes);
                next += bytes.len() as u64;
            }
            Ok(StreamEvent::Skipped { .. } | StreamEvent::Lagged(_) | StreamEvent::Hole(_)) => {
                panic!("nothing is missing")
            }
            Ok(_) => {}
            Err(end) => panic!("the stream ended: {end:?}"),
        }
    }
    (next, epoch)
}

/// Attaches, reads a piece and leaves, until all was read; how often, and how often while the program still printed.
async fn comes_and_goes(place: &Place, numbers: &Numbers, times: u64) -> (u64, u64) {
    let (mut next, mut epoch, mut during) = (0, None, 0);
    for time in 0..times {
        let until = numbers.len() * (time + 1) / times;
        let from = StartAt::Offset { offset: ByteOffset(next), epoch };
        let mut stream = place.stream("guest", "burst", Mode::Observer, from);
        let (stands, log_epoch) = read_to(&mut stream, numbers, next, until).await;
        (next, epoch) = (stands, log_epoch);
        stream.detach();
        loop {
            match timeout(SOON, stream.next()).await.expect("it may leave") {
                Ok(StreamEvent::Output { offset, bytes }) => {
                    assert_eq!(offset.0, next);
                    numbers.check(offset.0, &bytes);
                    next += bytes.len() as u64;
                }
                Ok(_) => {}
                Err(StreamEnd::Finished(_)) => break,
                Err(StreamEnd::Failed(error)) => panic!("{error}"),
            }
        }
        during += u64::from(next < numbers.len());
    }
    (times, during)
}

/// An owner whose window has no size changes none, and gets in.
async fn owns_at_no_size(place: &Place) {
    let mut stream = place.stream("first", "burst", Mode::Owner, BEGINNING);
    match timeout(SOON, stream.next()).await.expect("it is answered") {
        Ok(StreamEvent::Attached(attached)) => {
            assert_eq!((attached.mode, attached.cols, attached.rows), (Mode::Owner, 80, 24));
        }
        other => panic!("{other:?}"),
    }
    stream.detach();
    while timeout(SOON, stream.next()).await.expect("it may leave").is_ok() {}
}

/// Follows all of it, while somebody owns the session and somebody else takes it; the epochs that were told.
async fn follows(mut stream: Stream, numbers: Arc<Numbers>) -> Vec<OwnerEpoch> {
    let (mut next, mut epochs) = (0, Vec::new());
    while next < numbers.len() {
        match timeout(SOON, stream.next()).await.expect("there is more to come") {
            Ok(StreamEvent::Output { offset, bytes }) => {
                assert_eq!(offset.0, next, "gapless");
                numbers.check(offset.0, &bytes);
                next += bytes.len() as u64;
            }
            Ok(StreamEvent::OwnershipChanged(change)) => epochs.push(change.owner_epoch),
            Ok(StreamEvent::Attached(_) | StreamEvent::InputApplied(_) | StreamEvent::Backpressure(_)) => {}
            Ok(event) => panic!("{event:?}"),
            Err(end) => panic!("the stream ended: {end:?}"),
        }
    }
    epochs
}

#[test]
fn a_burst_is_followed_over_every_attach() {
    let numbers = Arc::new(Numbers::about(size(50 << 20, 500 << 20)));
    let attaches = 100;
    let place = Arc::new(Place::new().keeping_all());
    let burst = numbers.command(PIECES, "; sleep 0.02; ");
    place.session("burst", &format!("while [ ! -e go ]; do sleep 0.02; done; {burst}; exec sleep 1000"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(owns_at_no_size(&place));
    fs::write(place.work().join("go"), "").unwrap();
    let (came, during, swaps, epochs) = runtime.block_on(async {
        let followers = ["ada", "bob"].map(|client| {
            let stream = place.stream(client, "burst", Mode::Observer, BEGINNING);
            tokio::spawn(follows(stream, Arc::clone(&numbers)))
        });
        let swapping = tokio::spawn({
            let place = Arc::clone(&place);
            async move {
                let mut clients: [Client; 2] = ["ada", "bob"].map(|client| place.client(client));
                let mut epoch = OwnerEpoch(0);
                for swap in 0..100 {
                    let take = Take { session: "burst".parse().unwrap(), owner_epoch: None, cols: 0, rows: 0 };
                    let taken = timeout(SOON, clients[swap % 2].call(take)).await.expect("in time").unwrap();
                    assert!(taken.owner_epoch > epoch, "each owner has an epoch of its own");
                    epoch = taken.owner_epoch;
                }
                100
            }
        });
        let guest = tokio::spawn({
            let (place, numbers) = (Arc::clone(&place), Arc::clone(&numbers));
            async move { comes_and_goes(&place, &numbers, attaches).await }
        });
        let swaps = swapping.await.unwrap();
        let (came, during) = guest.await.unwrap();
        let mut epochs = Vec::new();
        for follower in followers {
            epochs.push(follower.await.unwrap());
        }
        (came, during, swaps, epochs)
    });
    println!("{came} attaches, {during} of them before the end of the burst; {swaps} changes of owner");
    assert!(during >= 50 && came >= attaches, "only {during} of {came}");
    for told in epochs {
        assert!(told.len() >= 50, "{} changes were told", told.len());
        assert!(told.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "each owner once, in order: {told:?}");
    }
}
