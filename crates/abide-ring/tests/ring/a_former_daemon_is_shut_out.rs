//! After another adoption nothing that the former daemon does or copies has an effect, and peers that do not keep to
//! the rules are named.

use abide_ring::{BrokenPeer, Consumer, Copied, Identity, Page, Producer, ReadError};

fn ring() -> (Producer, Consumer) {
    let mut producer = Producer::heap(&Identity { ring_bytes: 16, ..Identity::default() }).unwrap();
    let page = Page::heap();
    let consumer = producer.heap_consumer(&page, 1).unwrap();
    producer.adopt(page, 1);
    (producer, consumer)
}

fn fill(producer: &mut Producer, bytes: &[u8]) {
    let filled = producer.fill(|free| -> Result<usize, ()> {
        free[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    });
    assert_eq!(filled, Ok(bytes.len()));
}

fn second_daemon(producer: &mut Producer) -> Consumer {
    let page = Page::heap();
    producer.release();
    let consumer = producer.heap_consumer(&page, 2).unwrap();
    producer.adopt(page, 2);
    consumer
}

#[test]
fn its_acknowledgements_and_wishes_reach_nobody() {
    let (mut producer, mut former) = ring();
    fill(&mut producer, b"0123456789");
    assert!(!former.ack(4));
    let daemon = second_daemon(&mut producer);
    assert_eq!((daemon.acked(), producer.acked()), (4, 4), "what it acknowledged in time is taken");
    assert!(!former.ack(10));
    assert!(former.sleep(former.mark()));
    producer.refresh().unwrap();
    assert_eq!(producer.acked(), 4);
    assert!(!producer.must_wake_daemon());
}

#[test]
fn what_it_copied_is_thrown_away() {
    let (mut producer, mut former) = ring();
    fill(&mut producer, b"0123456789abcdef");
    let mut daemon = second_daemon(&mut producer);
    let _wake = daemon.ack(16);
    producer.refresh().unwrap();
    fill(&mut producer, b"overwritten");
    let mut bytes = b"kept".to_vec();
    assert_eq!(former.copy_out(0, 100, &mut bytes), Err(ReadError::Stale(2)));
    assert_eq!(bytes, b"kept");
    assert_eq!(daemon.copy_out(16, 100, &mut bytes), Ok(Copied::Bytes(11)));
}

#[test]
fn one_without_connection_sees_that_its_bytes_were_spilled() {
    let (mut producer, mut former) = ring();
    fill(&mut producer, b"0123456789abcdef");
    producer.release();
    producer.begin_spill();
    producer.spilled_to(8);
    let mut bytes = Vec::new();
    assert_eq!(former.copy_out(0, 100, &mut bytes), Ok(Copied::Spilled { start: 0, end: 8 }));
    assert_eq!(former.copy_out(8, 100, &mut bytes), Ok(Copied::Bytes(8)));
    assert_eq!(bytes, b"89abcdef");
}

#[test]
fn cursors_out_of_range_are_named() {
    let (mut producer, _) = ring();
    producer.release();
    let page = Page::heap();
    let [mut ahead, mut behind] = [(); 2].map(|()| producer.heap_consumer(&page, 2).unwrap());
    producer.adopt(page, 2);
    fill(&mut producer, b"01234567");
    assert!(!ahead.ack(4));
    producer.refresh().unwrap();
    assert!(!behind.ack(2));
    assert_eq!(producer.refresh(), Err(BrokenPeer { found: 2, least: 4, most: 8 }));
    producer.release();
    assert_eq!(producer.acked(), 4, "the believable part is kept");
    let mut bytes = Vec::new();
    assert!(matches!(ahead.copy_out(9, 10, &mut bytes), Err(ReadError::Broken { head: 8, from: 9, .. })));
    assert!(matches!(ahead.copy_out(3, 10, &mut bytes), Err(ReadError::Broken { from: 3, .. })));
}
