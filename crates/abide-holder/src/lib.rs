//! The holder: the process that owns a pseudo-terminal, so that daemon, clients and windows may go while the program
//! stays. And what a daemon needs to launch, probe and adopt one.
//!
//! What it is not: it parses no escape sequence, knows no client, no journal and no policy, and uses no async runtime.
//! One process, one thread, one `poll` loop around plain functions ([`core`]).
//!
//! Invariants:
//! - The program starts once, on `start`; the holder ends only by `collect`, by `hangup`, or because nobody ever started
//!   it. The death of a daemon changes nothing.
//! - Every descriptor is CLOEXEC: no process but the holder has the terminal's master.
//! - A connection is a probe, without effect, until it says `adopt`; the highest daemon epoch has the holder.
//! - Nothing is allocated after `start`, and no file of the installation is needed after the launch.
//! - The program stays unreaped as long as its holder lives, so that no signal hits a stranger with its number.
//!
//! ```text
//!  launch(SELF, &spec) ──► abide hold ──fork──► holder ── PTY ── program
//!                                                 │ socket: frames        connect, recv_with_fds, ToHolder, FromHolder
//!                                                 │ ring, page, eventfds  Adopted { read, ack, ring().sleep, wake_fd }
//!                                                 │ exit file             ExitRecord
//! ```
//!
//! A daemon's side in short:
//! ```no_run
//! use abide_holder::{Adopted, FromHolder, ToHolder};
//! # fn spec() -> abide_holder::Spec { unimplemented!() }
//! # fn next_frame(_: &std::os::unix::net::UnixStream, _: &mut Vec<std::os::fd::OwnedFd>) -> FromHolder { unimplemented!() }
//! # fn journal(_: &[u8]) {}
//! let spec = spec();
//! abide_holder::launch(abide_holder::SELF.as_ref(), &spec)?;
//! let stream = abide_holder::connect(&spec.paths.socket)?;
//! let mut frames = Vec::new();
//! ToHolder::Adopt { daemon_epoch: 7, session: spec.session, version: abide_holder::VERSION }.encode(&mut frames);
//! // … send the frames, receive with `recv_with_fds`, decode with `FromHolder::decode` …
//! let mut fds = Vec::new();
//! let FromHolder::Adopted(header) = next_frame(&stream, &mut fds) else { return Ok(()) };
//! let mut holder = Adopted::new(header, fds, 7)?;
//! let (mut from, mut bytes) = (holder.ring().acked(), Vec::new());
//! loop {
//!     let mark = holder.ring().mark();
//!     while holder.read(from, 1 << 20, &mut bytes)? > 0 {
//!         journal(&bytes);
//!         from += bytes.len() as u64;
//!         bytes.clear();
//!         holder.ack(from);
//!     }
//!     if mark.eof_offset == from { break }
//!     if holder.ring().sleep(mark) {
//!         // … wait until `holder.wake_fd()` is readable …
//!         holder.woken();
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adopted;
mod boot;
mod connect;
pub mod core;
mod exit_record;
pub mod frames;
mod hold;
mod hooks;
mod inherited;
mod launch;
mod slice;
mod spec;
mod stat;
mod sys;

pub use abide_ring::{Consumer, Copied, Header, Mark, NO_EOF, ReadError, State, VERSION};
pub use adopted::{AdoptError, Adopted, OutputError};
pub use boot::BootId;
pub use connect::{ProbeError, ProbeTimeouts, connect, probe, recv_with_fds};
pub use exit_record::{EXIT_RECORD_VERSION, ExitRecord};
pub use frames::{FrameError, FromHolder, Pong, Target, ToHolder};
pub use hold::{SPEC_FD, Step, hold, hold_from_fd_3};
#[cfg(debug_assertions)]
#[doc(hidden)]
pub use hooks::SERVING;
pub use inherited::Inherited;
pub use launch::{LaunchError, SELF, launch};
pub use slice::short_slices;
pub use spec::{InvalidSpec, Paths, Rlimit, Spec};
pub use stat::start_time;
