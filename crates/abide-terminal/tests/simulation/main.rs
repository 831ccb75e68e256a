//! A daemon, its holders with scripted programs, its clients and its journal under one seed: whatever is killed, cut off
//! or fails, what is promised holds.
//!
//! Rules are the product's own: sessions, recovery, registry, intake of output, streams, both client links, the holder's
//! input and output over a ring on the heap, the journal on a simulated disk, every frame and message. What is written
//! here is the plumbing between them (sockets, tasks, processes), the faults, and the checks.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a failing seed says how it is seen again")]
#![expect(clippy::too_many_lines, reason = "a fault, a stage and a step of a start each have their place in one list")]
#![expect(clippy::needless_pass_by_value, reason = "what is told once is given away")]

mod check;
mod client;
mod daemon;
mod disk;
mod faults;
mod holder;
mod machine;
mod mutant;
mod network;
mod program;
mod seeds;
mod tally;
mod world;
