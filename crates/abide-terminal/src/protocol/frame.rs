//! The frames of protocol v1: kind 1 is a JSON message, 2 to 4 carry the bytes of a session as they are.

use abide_wire::{BadLength, Code, HEADER_BYTES, RawFrame, encode, header};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::error::WireError;
use super::limits::FRAME_BYTES_MAX;
use crate::ids::{ByteOffset, InputOffset, OwnerEpoch};

const MESSAGE: u8 = 1;
const OUTPUT: u8 = 2;
const INPUT: u8 = 3;
const SNAPSHOT: u8 = 4;

/// One frame. Payload bytes share the memory in which they were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Kind 1, both ways: one JSON message, not read yet.
    Message(Bytes),
    /// Kind 2, `u64 offset` and bytes, daemon to stream.
    Output {
        /// Offset of the first byte.
        offset: ByteOffset,
        /// At least one.
        bytes: Bytes,
    },
    /// Kind 3, `u32 owner_epoch`, `u64 input_offset` and bytes, stream to daemon.
    Input {
        /// The epoch in which they are counted.
        owner_epoch: OwnerEpoch,
        /// Offset of the first byte.
        input_offset: InputOffset,
        /// At least one.
        bytes: Bytes,
    },
    /// Kind 4, `u64 position` in the snapshot and bytes, daemon to stream.
    Snapshot {
        /// Where in the snapshot the first byte stands.
        position: u64,
        /// The bytes.
        bytes: Bytes,
    },
}

/// Cuts what a peer sends into frames; a broken one is told with its code, after which the connection must be closed.
#[derive(Debug)]
pub struct Decoder {
    frames: abide_wire::Decoder,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { frames: abide_wire::Decoder::new(FRAME_BYTES_MAX) }
    }
}

impl Decoder {
    /// Takes bytes that were read elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.frames.extend(bytes);
    }

    /// The buffer to read into: append to it, never change what it holds.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.frames.buffer()
    }

    /// The next whole frame; `None` until more bytes come.
    ///
    /// Errors: `FRAME_TOO_LARGE` for a length of 0 or over the limit, `PROTO_MALFORMED` for an unknown kind or a payload
    /// shorter than its fields. Whether a kind may come in this direction is for the caller to judge.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        match self.frames.next_frame() {
            Ok(Some(raw)) => typed(raw).map(Some),
            Ok(None) => Ok(None),
            Err(bad) => Err(too_large(bad)),
        }
    }

    /// True if the bytes so far end inside a frame: a stream that ends now was cut, and the fragment is dropped.
    pub fn is_inside_frame(&self) -> bool {
        self.frames.is_inside_frame()
    }
}

fn too_large(bad: BadLength) -> WireError {
    WireError::new(Code::FrameTooLarge, bad.to_string())
        .with("length", bad.length)
        .with("frame_bytes_max", bad.length_max)
}

fn typed(RawFrame { kind, payload: mut bytes }: RawFrame) -> Result<Frame, WireError> {
    let (field_bytes, data_bytes_min) = match kind {
        MESSAGE => (0, 1),
        OUTPUT => (8, 1),
        INPUT => (12, 1),
        SNAPSHOT => (8, 0),
        unknown => {
            return Err(WireError::new(Code::ProtoMalformed, format!("frames of kind {unknown} do not exist")));
        }
    };
    if bytes.len() < field_bytes + data_bytes_min {
        let short = format!("a frame of kind {kind} with a payload of {} bytes", bytes.len());
        return Err(WireError::new(Code::ProtoMalformed, short));
    }
    Ok(match kind {
        OUTPUT => Frame::Output { offset: ByteOffset(bytes.get_u64_le()), bytes },
        INPUT => Frame::Input {
            owner_epoch: OwnerEpoch(bytes.get_u32_le()),
            input_offset: InputOffset(bytes.get_u64_le()),
            bytes,
        },
        SNAPSHOT => Frame::Snapshot { position: bytes.get_u64_le(), bytes },
        _ => Frame::Message(bytes),
    })
}

/// Appends a JSON message. Types of this module always become JSON; what they hold is bounded by the caller, since a
/// message over [`FRAME_BYTES_MAX`] is refused by its receiver.
pub fn message_frame(message: &impl Serialize, out: &mut impl BufMut) {
    let json = serde_json::to_vec(message).unwrap_or_default();
    encode(MESSAGE, &[&json], out);
}

/// Appends input: at most [`INPUT_WINDOW_BYTES`](super::limits::INPUT_WINDOW_BYTES), at least one byte.
pub fn input_frame(owner_epoch: OwnerEpoch, input_offset: InputOffset, bytes: &[u8], out: &mut impl BufMut) {
    encode(INPUT, &[&owner_epoch.0.to_le_bytes(), &input_offset.0.to_le_bytes(), bytes], out);
}

/// What stands before `len` bytes of output, at least one: for a writer that sends both in one vectored write.
pub fn output_header(offset: ByteOffset, len: usize) -> [u8; HEADER_BYTES + 8] {
    positioned(OUTPUT, offset.0, len)
}

/// What stands before `len` bytes of a snapshot.
pub fn snapshot_header(position: u64, len: usize) -> [u8; HEADER_BYTES + 8] {
    positioned(SNAPSHOT, position, len)
}

fn positioned(kind: u8, position: u64, len: usize) -> [u8; HEADER_BYTES + 8] {
    let mut bytes = [0; HEADER_BYTES + 8];
    let (head, tail) = bytes.split_at_mut(HEADER_BYTES);
    head.copy_from_slice(&header(kind, len.saturating_add(8)));
    tail.copy_from_slice(&position.to_le_bytes());
    bytes
}
