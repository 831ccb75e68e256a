//! What must hold of the product as its users run it: real processes, real `kill -9`, one file for each promise.
//!
//! Each test has a [`house::House`] of its own: directories, daemon, sessions. Nothing outside of it is touched, and
//! what still lives in it at the end of the test is ended.

mod house;

mod a_session_survives_its_daemon;
mod keystrokes_arrive_once;
