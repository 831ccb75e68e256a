//! One file for each promise of the journal.

mod power_loss_takes_only_what_was_not_synced;
mod simulated;
mod what_is_appended_is_read_back;
mod world;
