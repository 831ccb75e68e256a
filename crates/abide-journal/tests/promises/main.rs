//! One file for each promise of the journal.

#![expect(clippy::expect_used, reason = "tests state what must hold")]

mod a_damaged_byte_is_never_returned;
mod a_failed_disk_poisons_the_store;
mod a_full_store_recovers;
mod a_killed_writer_loses_nothing_acknowledged;
mod a_small_append_is_one_write;
mod one_process_has_the_store;
mod power_loss_takes_only_what_was_not_synced;
mod simulated;
mod the_format_does_not_change;
mod the_journal_equals_a_model;
mod what_is_appended_is_read_back;
mod world;
