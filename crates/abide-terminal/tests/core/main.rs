//! The rules of a session against small models of what is around them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::match_same_arms, reason = "tables are read row by row")]
#![expect(clippy::similar_names, reason = "who asks, and what was asked")]

mod a_count_that_nobody_told_is_unknown;
mod a_full_store_stops_no_kill;
mod a_kill_reaches_a_holder_out_of_reach;
mod a_lost_program_is_followed_by_its_policy;
mod a_program_without_a_record_is_taken_in;
mod adoption_makes_nobody_an_owner;
mod an_owner_epoch_is_one_streams;
mod any_order_of_events_keeps_the_rules;
mod coverage;
mod each_operation_has_its_answer_in_each_state;
mod holder;
mod journal;
mod levels_are_told_exactly;
mod script;
mod what_a_kill_was_to_end_ends;
mod world;
