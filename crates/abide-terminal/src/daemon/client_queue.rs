//! What waits to be written to one client, over all of its connections: a bound that many slow streams have together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, futures::Notified};

use super::levels::Meter;

/// The queue of one client, as a count. Its connections share it.
#[derive(Debug)]
pub(super) struct ClientQueue {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// It has shrunk to where its streams go on.
    room: Notify,
    /// How full it is; none where there is nobody to be told.
    meter: Option<Meter>,
}

impl ClientQueue {
    pub(super) fn new(bytes_max: usize, meter: Option<Meter>) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max, room: Notify::new(), meter }
    }

    /// So many bytes more wait.
    pub(super) fn add(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.measure(before + bytes);
    }

    fn measure(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            meter.set(bytes);
        }
    }

    /// So many of them wait no more.
    pub(super) fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.measure(before - bytes);
        if before > self.low() && before - bytes <= self.low() {
            self.room.notify_waiters();
        }
    }

    /// How many bytes of output may be queued.
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes.load(Ordering::Relaxed))
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
