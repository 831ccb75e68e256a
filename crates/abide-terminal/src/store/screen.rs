//! A screen: the checkpoint of a session log. A snapshot's bytes behind a fixed header.

use crate::ids::Incarnation;

/// Most bytes of a screen; older history lines are left out to stay below it.
pub const SCREEN_BYTES_MAX: usize = 8 << 20;

/// What stands before the snapshot's bytes: `u32 version 1, u32 cols, u32 rows, u64 incarnation`, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenHeader {
    /// Columns that the snapshot was taken at.
    pub cols: u16,
    /// Rows that the snapshot was taken at.
    pub rows: u16,
    /// The program start that drew it.
    pub incarnation: Incarnation,
}

impl ScreenHeader {
    /// Length of the header.
    pub const BYTES: usize = 20;
    const VERSION: u32 = 1;

    /// The bytes of a screen.
    pub fn with(self, snapshot: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES + snapshot.len());
        bytes.extend_from_slice(&Self::VERSION.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.cols).to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.rows).to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.0.to_le_bytes());
        bytes.extend_from_slice(snapshot);
        bytes
    }

    /// Takes a screen apart. `None` if it is of another version or too short: the next older one is asked then.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (version, rest) = bytes.split_first_chunk::<4>()?;
        let (cols, rest) = rest.split_first_chunk::<4>()?;
        let (rows, rest) = rest.split_first_chunk::<4>()?;
        let (incarnation, snapshot) = rest.split_first_chunk::<8>()?;
        if u32::from_le_bytes(*version) != Self::VERSION {
            return None;
        }
        let header = Self {
            cols: u16::try_from(u32::from_le_bytes(*cols)).ok()?,
            rows: u16::try_from(u32::from_le_bytes(*rows)).ok()?,
            incarnation: Incarnation(u64::from_le_bytes(*incarnation)),
        };
        Some((header, snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_has_these_bytes() {
        let header = ScreenHeader { cols: 80, rows: 24, incarnation: Incarnation(2) };
        let bytes = header.with(b"hi");
        assert_eq!(bytes, b"\x01\0\0\0\x50\0\0\0\x18\0\0\0\x02\0\0\0\0\0\0\0hi");
        assert_eq!(ScreenHeader::read(&bytes), Some((header, b"hi".as_slice())));
        assert_eq!(ScreenHeader::read(&bytes[..19]), None);
        assert_eq!(ScreenHeader::read(b"\x02\0\0\0\x50\0\0\0\x18\0\0\0\x02\0\0\0\0\0\0\0"), None);
    }
}
