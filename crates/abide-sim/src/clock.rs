use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Times>);

#[derive(Debug, Default)]
struct Times {
    wall_us: AtomicU64,
    tick_ms: AtomicU64,
}

impl Clock {
    /// Begins at this wall-clock time, with 0 ms of the other.
    pub fn at_wall_us(wall_us: u64) -> Self {
        let clock = Self::default();
        clock.set_wall_us(wall_us);
        clock
    }

    /// Wall clock in µs.
    pub fn wall_us(&self) -> u64 {
        self.0.wall_us.load(Ordering::Relaxed)
    }

    /// Monotonic clock in ms.
    pub fn tick_ms(&self) -> u64 {
        self.0.tick_ms.load(Ordering::Relaxed)
    }

    /// Time passes on both clocks.
    pub fn advance_ms(&self, ms: u64) {
        self.0.tick_ms.fetch_add(ms, Ordering::Relaxed);
        self.0.wall_us.fetch_add(ms * 1_000, Ordering::Relaxed);
    }

    /// The wall clock jumps; the other goes on.
    pub fn set_wall_us(&self, wall_us: u64) {
        self.0.wall_us.store(wall_us, Ordering::Relaxed);
    }
}
