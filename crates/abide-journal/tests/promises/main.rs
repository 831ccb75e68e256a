//! One file for each promise of the journal.

#![expect(clippy::expect_used, reason = "tests state what must hold")]

mod a_crash_at_any_call_changes_nothing;
mod a_damaged_byte_is_never_returned;
mod a_failed_disk_poisons_the_store;
mod a_full_store_recovers;
mod a_killed_writer_loses_nothing_acknowledged;
mod a_pin_holds_what_it_names;
mod a_scrub_finds_what_rotted;
mod a_session_is_read_back;
mod a_small_append_is_one_write;
mod an_old_store_opens;
mod checkpoints_are_used_verified;
mod limits_bound_a_log;
mod many_logs_and_followers_cost_little;
mod one_process_has_the_store;
mod power_loss_takes_only_what_was_not_synced;
mod simulated;
mod the_crash_table_holds;
mod the_format_does_not_change;
mod the_journal_equals_a_model;
mod upkeep_comes_to_rest;
mod what_is_appended_is_read_back;
mod world;
