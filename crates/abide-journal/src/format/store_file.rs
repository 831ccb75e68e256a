use super::codec::Malformed;
use super::{FORMAT, crc};
use std::fmt::Write;

/// The file `store`, written once: identity and sizes, as lines of text with a checksum.
///
/// ```text
/// abide-journal
/// store_id 000102030405060708090a0b0c0d0e0f
/// format 1
/// segment_bytes 33554432
/// crc 0a1b2c3d
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFile {
    /// Random identity of the store.
    pub store_id: [u8; 16],
    /// Length of every segment.
    pub segment_bytes: u64,
}

impl StoreFile {
    /// The whole file.
    pub fn encode(&self) -> String {
        let mut text = String::from("abide-journal\nstore_id ");
        for byte in self.store_id {
            let _ = write!(text, "{byte:02x}");
        }
        let _ = write!(text, "\nformat {FORMAT}\nsegment_bytes {}\n", self.segment_bytes);
        let crc = crc::of(text.as_bytes());
        let _ = writeln!(text, "crc {crc:08x}");
        text
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("not text"))?;
        let mut lines = text.lines();
        let mut field = |name: &str| {
            lines
                .next()
                .and_then(|line| line.strip_prefix(name))
                .ok_or(Malformed("a line of the store file is missing"))
        };
        field("abide-journal")?;
        let id = u128::from_str_radix(field("store_id ")?, 16).map_err(|_| Malformed("store_id is no number"))?;
        let format = field("format ")?;
        if format.parse() != Ok(FORMAT) {
            return Err(Malformed("unknown format of the store"));
        }
        let segment_bytes = field("segment_bytes ")?.parse().map_err(|_| Malformed("segment_bytes is no number"))?;
        let store = Self { store_id: id.to_be_bytes(), segment_bytes };
        // Only one text says this, so comparing it whole also checks the checksum.
        if store.encode() == text { Ok(store) } else { Err(Malformed("the store file's checksum does not hold")) }
    }
}
