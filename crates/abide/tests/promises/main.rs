//! Promises of the whole program, kept by real processes: a file for each.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a test that failed shows the daemon's log")]

mod a_daemon_killed_under_a_window_is_not_noticed;
mod a_keystroke_reaches_the_program_once;
mod a_new_user_runs_leaves_and_returns;
mod commands_answer_as_documented;
mod no_line_is_lost_when_the_daemon_is_killed;
mod of_ten_daemons_one_serves;
mod one_types_and_others_look_on;
mod place;
mod the_terminal_is_put_back;
mod wrong_input_touches_nobody_else;
