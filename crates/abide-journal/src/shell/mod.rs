//! Files, threads and handles around the core.

mod cache;
mod checkpoint;
mod digest;
mod encode;
mod engine;
mod follower;
mod io;
mod journal;
mod log;
mod open;
mod paths;
mod pin;
mod read;
mod recover;
mod scan;
mod scrub;
mod shared;
mod sync;
mod ticket;
mod upkeep;
mod watch;

pub use follower::{Follower, From};
pub use journal::Journal;
pub use log::{At, Checkpoint, Log, LogInfo, Outcome, PositionAnswer, PositionQuery, Tail, TailWatch};
pub use open::{FoundDamage, RecoveryReport};
pub use pin::{Pin, PinStatus};
pub use read::{ReadLimit, ReadOut};
pub use scrub::{Scrub, ScrubStep};
pub use ticket::Ticket;
pub use watch::SpaceWatch;
