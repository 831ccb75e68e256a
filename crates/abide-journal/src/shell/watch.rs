//! A value that can be read at once and awaited, by any number of readers, in the order in which they began to wait.

use super::sync::Mutex;
use crate::core::Space;
use std::sync::{Arc, PoisonError};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Watch<T> {
    state: Mutex<(u64, T)>,
    changed: Notify,
}

impl<T: Clone> Watch<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { state: Mutex::new((0, value)), changed: Notify::new() }
    }

    pub(crate) fn get(&self) -> T {
        self.versioned().1
    }

    pub(crate) fn versioned(&self) -> (u64, T) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, value: T) {
        self.change(|old| *old = value);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 += 1;
            change(&mut state.1);
        }
        self.changed.notify_waiters();
    }

    /// Waits until the value is newer than version `seen`; returns it. Cancel-safe.
    pub(crate) async fn newer_than(&self, seen: u64) -> (u64, T) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = self.versioned();
            if now.0 > seen {
                return now;
            }
            changed.await;
        }
    }
}

/// Room in the store, to be read at once or awaited.
#[derive(Debug, Clone)]
pub struct SpaceWatch {
    pub(crate) watch: Arc<Watch<Space>>,
    pub(crate) seen: u64,
}

impl SpaceWatch {
    /// The room now.
    pub fn get(&mut self) -> Space {
        let (version, space) = self.watch.versioned();
        self.seen = version;
        space
    }

    /// Waits until the state differs from what was last returned here. Cancel-safe.
    pub async fn changed(&mut self) -> Space {
        let (version, space) = self.watch.newer_than(self.seen).await;
        self.seen = version;
        space
    }
}
