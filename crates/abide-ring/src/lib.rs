//! The ring between a holder (the process that owns a pseudo-terminal) and its daemon: program output goes
//! through shared memory, so that the bytes outlive the daemon and cost no system call when both are busy.
//!
//! What it is not: it opens no terminal and no socket, writes no eventfd (it says when one must be written), and
//! knows nothing of frames. It never blocks and holds no lock.
//!
//! Invariants:
//! - Only the holder can write the ring's memory: it is sealed against writable mappings after its own.
//! - Only the daemon of one adoption has that adoption's [`Page`]; a later adoption brings another page, so a
//!   former daemon's stores reach nobody.
//! - Valid data, `[max(output_acked, spill_end), output_head)`, is never overwritten. Cursors only grow.
//! - No wake-up is lost: a sleeper raises its flag, fences, and looks again; the other side moves its cursor,
//!   fences, and looks at the flag.
//!
//! ```text
//!        acked / spill_end                      head
//!  ─────────┬──────────────────────────────────┬──────────► offset (counts all output of a session)
//!   free    │            valid data            │  free      offset o lies at o mod ring_bytes
//! ```
//!
//! ```
//! use abide_ring::{Copied, Identity, Page, Producer};
//!
//! let mut holder = Producer::heap(&Identity { ring_bytes: 4096, ..Identity::default() })?;
//! let page = Page::heap();
//! let mut daemon = holder.heap_consumer(&page, 1).expect("a ring on the heap");
//! holder.adopt(page, 1);
//!
//! holder.fill(|free| -> Result<usize, ()> { free[..5].copy_from_slice(b"hello"); Ok(5) }).unwrap();
//! assert!(!holder.must_wake_daemon(), "it does not sleep");
//!
//! let mut bytes = Vec::new();
//! assert_eq!(daemon.copy_out(0, 100, &mut bytes)?, Copied::Bytes(5));
//! assert_eq!(bytes, b"hello");
//! let _wake_holder = daemon.ack(5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The hand-over and the wake-ups are model-checked: `RUSTFLAGS="--cfg loom" cargo test -p abide-ring --release
//! --test loom` (with a target directory of its own, since the flags differ).

mod consumer;
mod layout;
mod producer;
mod shm;
mod sync;

pub use consumer::{Consumer, Copied, Mark, ReadError};
pub use layout::{
    HEADER_BYTES, Header, Identity, Invalid, MAGIC, NO_EOF, PAGE_BYTES, RING_BYTES_MAX, RING_BYTES_MIN, State, VERSION,
};
pub use producer::{BrokenPeer, Producer};
pub use shm::{MapError, Page};
