//! Protocol v1 as its specification writes it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod a_broken_frame_has_a_named_error;
mod a_list_comes_in_frames;
mod each_message_has_golden_bytes;
mod every_hello_row_is_answered;
