//! CRC-32C, continued and combined.
//!
//! A payload lies in two checksums: its record's and its batch's. It is read once, and its checksum is combined with
//! that of what stands before it in each.

use crc_fast::{CrcAlgorithm, checksum};

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
///
/// Bytes behind it multiply a checksum by x^8 each. The powers for 1, 2, 4 … bytes are in a table, so this takes one
/// multiplication for each bit that is set in `len`; the library's way takes microseconds.
pub(crate) fn combine(before: u32, after: u32, len: usize) -> u32 {
    let mut shifted = before;
    let mut rest = len;
    while rest != 0 {
        shifted = multiply(POWERS[rest.trailing_zeros() as usize], shifted);
        rest &= rest - 1;
    }
    shifted ^ after
}

/// The polynomial, lowest power in the highest bit, as in the checksum itself.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x^(8 · 2^n).
const POWERS: [u32; 64] = {
    let mut powers = [0; 64];
    // x^1, squared three times.
    let mut power = 1 << 30;
    let mut square = 0;
    while square < 3 {
        power = multiply(power, power);
        square += 1;
    }
    let mut n = 0;
    while n < 64 {
        powers[n] = power;
        power = multiply(power, power);
        n += 1;
    }
    powers
};

/// Product modulo the polynomial.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = (b >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(b & 1));
        bit >>= 1;
    }
    product
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
