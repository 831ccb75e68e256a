//! Promises of the whole program, kept by real processes and real `kill -9`: a file for each.
//!
//! Each test has a [`harness::Place`] of its own: directories, daemon, sessions. Nothing outside of it is touched, and
//! what still lives in it at the end of the test is ended.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a test that failed shows the daemon's log")]

mod harness;

mod a_burst_is_followed_over_every_attach;
mod a_condition_is_waited_for;
mod a_crash_changes_nothing;
mod a_daemon_killed_under_a_window_is_not_noticed;
mod a_failed_sync_is_a_pause;
mod a_full_store_stops_programs_and_loses_nothing;
mod a_killed_session_leaves_nothing_behind;
mod a_long_session_keeps_its_end;
mod a_lost_holder_is_named;
mod a_lost_program_is_restored;
mod a_machine_at_its_limits_is_named;
mod a_machine_is_looked_at;
mod a_new_user_runs_leaves_and_returns;
mod a_program_without_a_record_becomes_a_session;
mod a_query_is_answered_at_most_once;
mod a_restart_is_a_pause;
mod a_screen_is_read_as_text;
mod a_script_types;
mod a_session_gets_another_name;
mod a_session_survives_its_daemon;
mod a_slow_viewer_costs_its_own_place;
mod a_wish_that_cannot_be_met_leaves_nothing;
mod an_ssh_agent_is_reached_again;
mod commands_answer_as_documented;
mod commands_follow_the_configuration;
mod commands_have_their_shapes;
mod damage_is_named_or_refused;
mod each_role_has_its_rights;
mod events_are_told_once_and_in_order;
mod every_code_that_can_be_met_is_met;
mod keystrokes_arrive_once;
mod one_daemon_serves;
mod one_types_and_others_look_on;
mod only_the_owner_changes_a_session;
mod secrets_and_planted_links;
mod sixteen_clients_race_for_a_session;
mod systemd_starts_and_restarts_the_daemon;
mod the_journal_is_looked_at_without_a_daemon;
mod the_terminal_is_put_back;
mod what_was_printed_is_shown_again;
mod wrong_input_touches_nobody_else;
