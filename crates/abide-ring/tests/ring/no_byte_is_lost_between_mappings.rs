//! Two threads with mappings of their own, as two processes have them, sleeping and waking through eventfds.

use std::os::fd::{AsFd, OwnedFd};

use abide_ring::{Consumer, Copied, Identity, Page, Producer, RING_BYTES_MIN};
use rustix::event::{EventfdFlags, eventfd};

fn bytes_total() -> u64 {
    let nightly = std::env::var_os("ABIDE_NIGHTLY").is_some();
    if nightly { 2 << 30 } else { 64 << 20 }
}

/// The byte at an offset: no two ring lengths apart are alike.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0]
}

fn write_event(event: &OwnedFd) {
    rustix::io::write(event, &1_u64.to_ne_bytes()).unwrap();
}

fn wait_event(event: &OwnedFd) {
    let mut count = [0; 8];
    assert_eq!(rustix::io::read(event, &mut count).unwrap(), 8);
}

#[derive(Default)]
struct Counts {
    slept: u64,
    woke: u64,
}

fn produce(mut producer: Producer, total: u64, to_daemon: &OwnedFd, to_holder: &OwnedFd) -> Counts {
    let mut counts = Counts::default();
    let mut size = 1;
    while producer.head() < total {
        producer.refresh().unwrap();
        if producer.free_bytes() == 0 {
            if producer.ask_for_space().unwrap() {
                counts.slept += 1;
                wait_event(to_holder);
            }
            continue;
        }
        let head = producer.head();
        size = (size * 5 + 3) % 8191;
        let room = usize::try_from(total - head).unwrap().min(size + 1);
        producer
            .fill(|free| -> Result<usize, ()> {
                let bytes = room.min(free.len());
                for (byte, offset) in free[..bytes].iter_mut().zip(head..) {
                    *byte = byte_at(offset);
                }
                Ok(bytes)
            })
            .unwrap();
        if producer.must_wake_daemon() {
            counts.woke += 1;
            write_event(to_daemon);
        }
    }
    producer.set_eof();
    if producer.must_wake_daemon() {
        write_event(to_daemon);
    }
    counts
}

#[test]
fn every_byte_arrives_once_and_in_order() {
    let total = bytes_total();
    let identity = Identity { ring_bytes: RING_BYTES_MIN, ..Identity::default() };
    let (mut producer, ring) = Producer::create(&identity).unwrap();
    let (page, page_fd) = Page::create().unwrap();
    producer.adopt(page, 1);
    let mut consumer = Consumer::map(ring.as_fd(), page_fd.as_fd(), 1).unwrap();
    let [to_daemon, to_holder] = [(); 2].map(|()| eventfd(0, EventfdFlags::CLOEXEC).unwrap());
    let (holder, slept) = std::thread::scope(|scope| {
        let holder = scope.spawn(|| produce(producer, total, &to_daemon, &to_holder));
        let (mut from, mut bytes, mut slept) = (0, Vec::new(), 0);
        loop {
            let mark = consumer.mark();
            bytes.clear();
            match consumer.copy_out(from, usize::MAX, &mut bytes).unwrap() {
                Copied::Bytes(_) => {
                    for (byte, offset) in bytes.iter().zip(from..) {
                        assert_eq!(*byte, byte_at(offset), "at {offset}");
                    }
                    from += bytes.len() as u64;
                    if consumer.ack(from) {
                        write_event(&to_holder);
                    }
                }
                Copied::Nothing if mark.eof_offset == from => break,
                Copied::Nothing => {
                    if consumer.sleep(mark) {
                        slept += 1;
                        wait_event(&to_daemon);
                    }
                }
                Copied::Spilled { .. } => panic!("there is no spill"),
            }
        }
        assert_eq!(from, total);
        (holder.join().unwrap(), slept)
    });
    println!("{total} bytes, daemon slept {slept}, was woken {}, holder slept {}", holder.woke, holder.slept);
    assert!(slept > 10 && holder.slept > 10, "both sides slept now and then");
}
