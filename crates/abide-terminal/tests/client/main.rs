//! The client's cores against model daemons, over connections that are cut at any byte.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod a_request_is_answered_once;
mod a_stream_is_dense_over_every_cut;
mod wire;

/// How many histories are run.
fn seeds(ci: u64, nightly: u64) -> std::ops::Range<u64> {
    0..if std::env::var_os("ABIDE_NIGHTLY").is_some_and(|value| value == "1") { nightly } else { ci }
}
