//! What a starting daemon makes of the sessions and holders that it finds.

mod decide;
mod recorded;

pub use recorded::left_ends;

pub use decide::{
    Child, Decision, ExitFile, ExitSource, Facts, HolderEffect, Missing, Orphans, Outcome, Pong, Probe, Session,
    SessionEffect, Stage, decide, is_served, next_epoch,
};
