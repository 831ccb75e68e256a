//! What waits to be written to one client, over all of its connections: a bound that many slow streams have together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, futures::Notified};

/// The queue of one client, as a count. Its connections share it.
#[derive(Debug)]
pub(super) struct ClientQueue {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// It has shrunk to where its streams go on.
    room: Notify,
}

impl ClientQueue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max, room: Notify::new() }
    }

    /// So many bytes more wait.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many of them wait no more.
    pub(super) fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.low() && before - bytes <= self.low() {
            self.room.notify_waiters();
        }
    }

    /// Whether output may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.bytes_max
    }

    /// Whether streams that waited go on.
    pub(super) fn is_low(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) <= self.low()
    }

    /// The next time that it has shrunk so far; to be called before [`ClientQueue::is_low`] is asked.
    pub(super) fn shrunk(&self) -> Notified<'_> {
        self.room.notified()
    }

    /// 70 % of the bound.
    fn low(&self) -> usize {
        self.bytes_max / 10 * 7
    }
}
