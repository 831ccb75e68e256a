//! What every protocol of Abide shares: the frame, the request id, and the registry of error codes.
//!
//! It is not a protocol: it knows no message, no connection and no runtime, and it does no I/O.
//!
//! Invariants:
//! - A [`Decoder`] allocates nothing on the word of a peer: a frame's bytes are kept only as they arrive, and a length
//!   over the limit is refused before any of its bytes are taken.
//! - A code stands once, in [`codes`](Code), with its spelling, its family and what its receiver may do. The page
//!   `docs/errors.md` is made from it.
//!
//! ```text
//!  u32 length, little-endian  u8 kind  payload
//! ├──────────────────────────┼────────┼───────────────┤
//!  counts what follows it     └── length bytes ───────┘
//! ```
//!
//! ```
//! use abide_wire::{Decoder, encode};
//!
//! let mut bytes = Vec::new();
//! encode(2, &[b"hi\n"], &mut bytes);
//! let mut decoder = Decoder::new(1024);
//! decoder.extend(&bytes);
//! let frame = decoder.next_frame()?.expect("it is complete");
//! assert_eq!((frame.kind, &frame.payload[..]), (2, &b"hi\n"[..]));
//! # Ok::<(), abide_wire::BadLength>(())
//! ```

mod code;
mod frame;
mod request_id;
mod retry;

pub use code::{Code, Entry, Family, JournalCode, UnknownCode, registry};
pub use frame::{BadLength, Decoder, HEADER_BYTES, RawFrame, encode, header};
pub use request_id::{InvalidRequestId, RequestId};
pub use retry::Retry;
