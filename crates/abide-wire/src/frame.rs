//! `u32 length` (little-endian, of what follows, at least 1) · `u8 kind` · payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before a frame's payload: the length and the kind.
pub const HEADER_BYTES: usize = 5;

/// Bytes of the length field, which does not count itself.
const LENGTH_BYTES: usize = 4;

/// One frame as it came: what the kind means is the protocol's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// What the payload is.
    pub kind: u8,
    /// What follows the kind; shares the memory in which it was received.
    pub payload: Bytes,
}

/// A length that no frame of this protocol has: 0, or over the limit. Nothing after it can be read; close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes, where 1 to {length_max} are allowed")]
pub struct BadLength {
    /// The length that the frame gave.
    pub length: u32,
    /// The largest length allowed.
    pub length_max: u32,
}

/// The five bytes before a payload of `payload_bytes`, for a writer that sends header and payload in one vectored write.
///
/// A payload that does not fit a `u32` is a bug of the caller; its length is written as the largest one, which every
/// decoder refuses.
pub fn header(kind: u8, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(payload_bytes.saturating_add(1)).unwrap_or(u32::MAX);
    let [a, b, c, d] = length.to_le_bytes();
    [a, b, c, d, kind]
}

/// Appends one frame whose payload is `parts`, one after another.
pub fn encode(kind: u8, parts: &[&[u8]], out: &mut impl BufMut) {
    out.put_slice(&header(kind, parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        out.put_slice(part);
    }
}

/// Cuts a stream of bytes into frames.
///
/// Feed it with [`extend`](Self::extend), or read straight into [`buffer`](Self::buffer), then take frames until there
/// is none. What it keeps is at most one frame and what was read behind it.
#[derive(Debug)]
pub struct Decoder {
    received: BytesMut,
    length_max: u32,
}

impl Decoder {
    /// A decoder that refuses frames whose length field is over `length_max`.
    pub fn new(length_max: u32) -> Self {
        Self { received: BytesMut::new(), length_max }
    }

    /// Takes bytes that were read elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The buffer to read into: append to it, never change what it holds.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// The next whole frame; `None` until more bytes come. A bad length is told again at each call.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame>, BadLength> {
        let Some((length_field, _)) = self.received.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length_field);
        if length == 0 || length > self.length_max {
            return Err(BadLength { length, length_max: self.length_max });
        }
        let whole = LENGTH_BYTES + length as usize;
        if self.received.len() < whole {
            return Ok(None);
        }
        let mut payload = self.received.split_to(whole).freeze();
        payload.advance(LENGTH_BYTES);
        let kind = payload.get_u8();
        Ok(Some(RawFrame { kind, payload }))
    }

    /// True if the bytes so far end inside a frame: a stream that ends now was cut.
    pub fn is_inside_frame(&self) -> bool {
        !self.received.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_worked_example_of_the_specification() {
        let mut bytes = Vec::new();
        encode(2, &[&300u64.to_le_bytes(), b"hi\n"], &mut bytes);
        assert_eq!(bytes, [12, 0, 0, 0, 2, 0x2C, 1, 0, 0, 0, 0, 0, 0, 0x68, 0x69, 0x0A]);
    }

    #[test]
    fn a_length_out_of_range_is_refused_before_its_bytes_come() {
        for length in [0u32, 17, u32::MAX] {
            let mut decoder = Decoder::new(16);
            decoder.extend(&length.to_le_bytes());
            let refusal = Err(BadLength { length, length_max: 16 });
            assert_eq!(decoder.next_frame(), refusal);
            assert_eq!(decoder.next_frame(), refusal);
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_of_the_stream(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 1..8),
            cut in 1usize..50,
        ) {
            let mut stream = Vec::new();
            for (kind, payload) in &frames {
                encode(*kind, &[payload], &mut stream);
            }
            let mut decoder = Decoder::new(41);
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.extend(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push((frame.kind, frame.payload.to_vec()));
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(!decoder.is_inside_frame());
        }
    }
}
