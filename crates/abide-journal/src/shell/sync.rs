//! The one place that locks and threads come from, so that shuttle can take their place.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock, mpsc};
#[cfg(not(shuttle))]
pub(crate) use std::thread;

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, mpsc};
#[cfg(shuttle)]
pub(crate) use shuttle::thread;
