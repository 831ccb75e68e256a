//! The client's cores against model daemons, over connections that are cut at any byte.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod a_request_is_answered_once;
mod a_stream_is_dense_over_every_cut;
mod wire;
