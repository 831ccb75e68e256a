//! One file for each promise of the journal.

mod what_is_appended_is_read_back;
mod world;
