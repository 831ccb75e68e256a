//! No wake-up is lost, and no byte is copied while it is written. `RUSTFLAGS="--cfg loom" cargo test -p abide-ring
//! --release --test loom`, with a target directory of its own.

#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use abide_ring::{Consumer, Copied, Identity, Page, Producer};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// An eventfd: a wait ends once it was written, and a write is not forgotten.
#[derive(Default)]
struct Event {
    written: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    fn write(&self) {
        *self.written.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut written = self.written.lock().unwrap();
        while !*written {
            written = self.changed.wait(written).unwrap();
        }
        *written = false;
    }
}

fn pair(ring_bytes: u64) -> (Producer, Consumer, Arc<Event>, Arc<Event>) {
    let mut producer = Producer::heap(&Identity { ring_bytes, ..Identity::default() }).unwrap();
    let page = Page::heap();
    let consumer = producer.heap_consumer(&page, 1).unwrap();
    producer.adopt(page, 1);
    (producer, consumer, Arc::new(Event::default()), Arc::new(Event::default()))
}

/// The holder's part: byte number n is n; it sleeps while the ring is full.
fn produce(mut producer: Producer, total: u8, to_daemon: &Event, to_holder: &Event) {
    let mut next = 0;
    while next < total {
        producer.refresh().unwrap();
        if producer.free_bytes() == 0 {
            if producer.ask_for_space().unwrap() {
                to_holder.wait();
            }
            continue;
        }
        let filled = producer.fill(|free| -> Result<usize, ()> {
            free[0] = next;
            Ok(1)
        });
        assert_eq!(filled, Ok(1));
        next += 1;
        if next == total {
            producer.set_eof();
        }
        if producer.must_wake_daemon() {
            to_daemon.write();
        }
    }
}

/// The daemon's part: it sleeps while there is nothing, until the end.
fn consume(mut consumer: Consumer, to_daemon: &Event, to_holder: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mark = consumer.mark();
        let from = bytes.len() as u64;
        match consumer.copy_out(from, 10, &mut bytes).unwrap() {
            Copied::Bytes(_) => {
                if consumer.ack(bytes.len() as u64) {
                    to_holder.write();
                }
            }
            Copied::Nothing if mark.eof_offset == from => return bytes,
            Copied::Nothing => {
                if consumer.sleep(mark) {
                    to_daemon.wait();
                }
            }
            Copied::Spilled { .. } => panic!("there is no spill"),
        }
    }
}

fn hand_over(ring_bytes: u64, total: u8) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let (producer, consumer, to_daemon, to_holder) = pair(ring_bytes);
        let (daemon_event, holder_event) = (Arc::clone(&to_daemon), Arc::clone(&to_holder));
        let holder = thread::spawn(move || produce(producer, total, &daemon_event, &holder_event));
        let bytes = consume(consumer, &to_daemon, &to_holder);
        assert_eq!(bytes, (0..total).collect::<Vec<u8>>());
        holder.join().unwrap();
    });
}

#[test]
fn a_sleeping_daemon_is_woken_and_sees_whole_bytes() {
    hand_over(4, 2);
}

#[test]
fn a_full_ring_blocks_and_goes_on() {
    hand_over(1, 2);
}

#[test]
fn the_end_of_output_wakes_a_sleeping_daemon() {
    loom::model(|| {
        let (mut producer, consumer, to_daemon, to_holder) = pair(2);
        let event = Arc::clone(&to_daemon);
        let holder = thread::spawn(move || {
            producer.set_eof();
            if producer.must_wake_daemon() {
                event.write();
            }
        });
        assert_eq!(consume(consumer, &to_daemon, &to_holder), Vec::<u8>::new());
        holder.join().unwrap();
    });
}
