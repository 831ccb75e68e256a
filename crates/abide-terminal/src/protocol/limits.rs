//! The protocol's fixed numbers. They are part of version 1.

use std::time::Duration;

/// The protocol's name in the hello.
pub const PROTOCOL: &str = "abide-terminal";

/// The one version spoken here.
pub const VERSION: u32 = 1;

/// Where the answer to a client of another version sends its reader.
pub const DOCS: &str = "clients/typescript/README.md#migration";

/// Largest length field of a frame, which counts the kind and the payload.
pub const FRAME_BYTES_MAX: u32 = 1_048_576;

/// Input bytes that a client may have under way beyond what was applied.
pub const INPUT_WINDOW_BYTES: u64 = 65_536;

/// Most bytes of output in one frame.
pub const OUTPUT_CHUNK_BYTES_MAX: usize = 65_536;

/// Requests of one connection that may be unanswered; beyond them the socket is not read.
pub const UNANSWERED_MAX: usize = 256;

/// Time for a connection to say hello.
pub const HELLO_TIME: Duration = Duration::from_secs(2);

/// Time for a stream connection to attach after its hello.
pub const ATTACH_TIME: Duration = Duration::from_secs(10);

/// Largest number of columns or rows.
pub const SIZE_MAX: u16 = 4_096;

/// Largest integer in JSON that every language reads exactly: 2^53 − 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Most records in one answer to `list`.
pub const LIST_MAX: u16 = 1_000;

/// Longest grace of a kill, in milliseconds.
pub const GRACE_MS_MAX: u32 = 60_000;

/// Most history lines in a snapshot.
pub const SCROLLBACK_LINES_MAX: u32 = 100_000;

/// Most labels of a session.
pub const LABELS_MAX: usize = 32;

/// Longest key of a label, and longest key of a session, in bytes.
pub const KEY_BYTES_MAX: usize = 64;

/// Most bytes of a program's arguments, written as JSON: so that a record of it fits a frame.
pub const ARGUMENTS_BYTES_MAX: usize = 524_288;

/// Longest value of a label, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// Most sessions that one subscription names.
pub const WATCHED_MAX: usize = 1_000;

/// Least distance by which a stream may be allowed to fall behind, in bytes.
pub const LAG_BYTES_MIN: u64 = 65_536;

/// Greatest such distance.
pub const LAG_BYTES_MAX: u64 = 1 << 30;

/// Least window of a stream, in bytes.
pub const WINDOW_BYTES_MIN: u64 = 65_536;

/// Most input of one `write`, in bytes.
pub const WRITE_BYTES_MAX: usize = 65_536;
