//! A holder as a process, driven as a daemon drives it.

mod daemon;

mod a_program_runs_through_a_holder;
