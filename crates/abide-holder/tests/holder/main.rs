//! A holder as a process, driven as a daemon drives it. One file for each promise.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

mod daemon;

mod a_failed_start_says_why;
mod a_former_daemon_has_no_effect;
mod a_holder_is_nobodys_child;
mod a_probe_changes_nothing;
mod a_program_gets_what_it_expects;
mod a_program_runs_through_a_holder;
mod an_exit_is_safe_before_it_is_told;
mod hangup_and_abandon_end_what_they_should;
mod input_is_written_once;
mod no_output_is_lost_without_a_daemon;
mod one_holder_for_one_place;
mod signals_hit_whom_they_are_meant_for;
mod the_end_of_output_is_the_end;
