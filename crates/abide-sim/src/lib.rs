//! Simulated disk and clock.
