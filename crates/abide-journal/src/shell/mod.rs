//! Files, threads and handles around the core.

mod cache;
mod encode;
mod engine;
mod follower;
mod io;
mod journal;
mod log;
mod open;
mod paths;
mod read;
mod recover;
mod scan;
mod shared;
mod ticket;
mod watch;

pub use follower::{Follower, From};
pub use journal::Journal;
pub use log::{At, Checkpoint, Log, LogInfo, Outcome, PositionAnswer, PositionQuery, Tail, TailWatch};
pub use open::{FoundDamage, RecoveryReport};
pub use read::{ReadLimit, ReadOut};
pub use ticket::Ticket;
pub use watch::SpaceWatch;
