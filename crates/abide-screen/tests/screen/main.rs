//! The promises of the crate, a file for each.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod a_long_text_costs_what_shows_of_it;
mod a_snapshot_rebuilds_the_screen;
mod plain_text_is_the_lines_of_a_log;
mod queries_are_answered_once;
mod random;
mod recording;
mod the_engine_may_fail;
mod the_filter_removes_queries_alone;
mod what_text_says;

/// How many cases a test over random ones runs.
fn cases(ordinary: u32, nightly: u32) -> u32 {
    if std::env::var_os("ABIDE_NIGHTLY").is_some() { nightly } else { ordinary }
}
