//! What must hold of the product as its users run it: real processes, real `kill -9`, one file for each promise.
//!
//! Each test has a [`house::House`] of its own: directories, daemon, sessions. Nothing outside of it is touched, and
//! what still lives in it at the end of the test is ended.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "a test that failed shows the daemon's log")]

mod house;

mod a_crash_changes_nothing;
mod a_failed_sync_is_a_pause;
mod a_full_store_stops_programs_and_loses_nothing;
mod a_killed_session_leaves_nothing_behind;
mod a_lost_holder_is_named;
mod a_lost_program_is_restored;
mod a_program_without_a_record_becomes_a_session;
mod a_query_is_answered_at_most_once;
mod a_restart_is_a_pause;
mod a_session_survives_its_daemon;
mod a_wish_that_cannot_be_met_leaves_nothing;
mod keystrokes_arrive_once;
mod one_daemon_serves;
