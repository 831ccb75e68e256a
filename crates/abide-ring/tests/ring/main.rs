//! The ring over real shared memory.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod a_former_daemon_is_shut_out;
mod no_byte_is_lost_between_mappings;
mod only_sealed_rings_are_mapped;
