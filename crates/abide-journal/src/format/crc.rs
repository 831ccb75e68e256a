//! CRC-32C, continued and combined.
//!
//! A payload lies in two checksums: its record's and its batch's. It is read once, and its checksum is combined with
//! that of what stands before it in each.

use crc_fast::{CrcAlgorithm, checksum, checksum_combine};

const ALGORITHM: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;

/// Checksum of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    narrow(checksum(ALGORITHM, bytes))
}

/// Checksum of something with checksum `before`, followed by `bytes`.
pub(crate) fn append(before: u32, bytes: &[u8]) -> u32 {
    // The state of the register between two pieces is the complement of the checksum.
    let mut digest = crc_fast::Digest::new_with_init_state(ALGORITHM, u64::from(!before));
    digest.update(bytes);
    narrow(digest.finalize())
}

/// Checksum of something with checksum `before`, followed by `len` bytes with checksum `after`.
pub(crate) fn combine(before: u32, after: u32, len: usize) -> u32 {
    narrow(checksum_combine(ALGORITHM, u64::from(before), u64::from(after), len as u64))
}

#[expect(clippy::cast_possible_truncation, reason = "the algorithm has 32 bits")]
fn narrow(crc: u64) -> u32 {
    crc as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_value() {
        assert_eq!(of(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn continued_and_combined_equal_the_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        for cut in [0, 1, 7, 56, 4_096, 5_000] {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(append(of(before), after), of(&bytes));
            assert_eq!(combine(of(before), of(after), after.len()), of(&bytes));
        }
        // A salt is nobody's checksum, but counts like one.
        assert_eq!(combine(append(77, &bytes[..9]), of(&bytes[9..]), bytes.len() - 9), append(77, &bytes));
    }
}
