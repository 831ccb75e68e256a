//! The screen of a terminal: what a program's output makes of it, and how to rebuild it on another terminal.
//!
//! A [`Model`] is fed a program's output and knows cells, cursors, modes and titles at each moment. Its [`Snapshot`] is
//! a sequence of escape codes that makes any terminal of the same size show the same, so that output from there on may
//! follow. A [`QueryFilter`] removes from output what a terminal would answer; [`Plain`] makes lines of text of it.
//!
//! What it is not: it knows no session, no journal, no clock and no process; it draws on no display; it answers queries
//! only by saying what the answer would be; it never alters output.
//!
//! ```text
//!  output ──► scanner ──► text, sequences ──► engine ──► cells, modes ──► snapshot, text
//!               │ holds what is cut                └────► answers
//!               └──────────────────────────────────────────────────────► the end of a snapshot
//! ```
//!
//! # Invariants
//!
//! - A model fed a snapshot of another one equals it, whatever either is fed afterwards, however that is cut.
//! - Memory is bounded by size, lines of history, and constants; not by what a program prints.
//! - A snapshot contains no RIS, and no byte above 0x7F in its codes.
//!
//! ```
//! use abide_screen::{Model, Size, What};
//!
//! let mut model = Model::new(Size { cols: 80, rows: 24 }, 2_000);
//! model.feed(b"\x1b[1mhello\x1b[0m\r\n")?;
//! let mut again = Model::new(Size { cols: 80, rows: 24 }, 2_000);
//! again.feed(&model.snapshot(1_000).bytes)?;
//! assert_eq!(again.text(What::Screen, None).text, "hello\n");
//! # Ok::<(), abide_screen::Failed>(())
//! ```

mod answers;
mod control;
mod difference;
mod directory;
mod draw;
mod engine;
mod model;
mod modes;
mod pen;
mod plain;
mod queries;
mod seam;
mod sequence;
mod size;
mod snapshot;
mod text;

pub use model::{Answer, Failed, Model, Snapshot};

pub use plain::{Piece, Plain};
pub use queries::QueryFilter;
pub use seam::seam;
pub use size::Size;
pub use text::{Text, What};
