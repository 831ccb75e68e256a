//! Tests that fail on an untidy tree: who may know whom, what cores may not use, whose code is used, and links that lead
//! nowhere. They read the repository; they know no crate of it.

#![expect(clippy::expect_used, reason = "a test that cannot read the repository has failed")]

mod cores_are_pure;
mod crates_know_only_whom_they_may;
mod dependencies_may_be_used;
mod every_crate_has_the_lints;
mod links_lead_somewhere;
mod tree;
