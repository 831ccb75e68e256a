//! Numbers that need not be secret: jitter, and keys from a drawn seed.

/// A small generator (splitmix64): the same seed, the same numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// `value`, up to a fifth more or less.
    pub(super) fn around(&mut self, value: u64) -> u64 {
        let spread = value / 5;
        value - spread + self.next() % (2 * spread + 1)
    }
}
