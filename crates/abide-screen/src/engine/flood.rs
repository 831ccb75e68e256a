//! What still shows of a long text when all of it has been printed. A program that prints faster than anybody reads is
//! followed at the price of what is left of it: a screen and its history, however much scrolled through.

use super::Engine;

impl Engine {
    /// The end of `text` (whole characters and controls) that makes the same of this engine as all of it: what comes
    /// before scrolls off the screen, and out of its history.
    pub(crate) fn what_shows<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        // The rows that are there scroll off, the same number again may be drawn over before that, then the history.
        let lines = self.history_lines_max + 2 * self.rows() + 1;
        let margins = self.region.top > 0 || self.region.bottom < self.rows();
        // A line that counts has two bytes at least.
        if text.len() < 2 * lines || margins {
            return text;
        }
        // From the first column of a line on, nothing depends on the line before.
        let mut ends = memchr::memrchr_iter(b'\n', text).skip(lines);
        let Some(cut) = ends.find_map(|end| end.checked_sub(1).filter(|&at| text.get(at) == Some(&b'\r'))) else {
            return text;
        };
        let (before, rest) = text.split_at(cut);
        if is_ordinary(before) { rest } else { text }
    }
}

/// Whether nothing in it acts beyond its line: no change of the charset, no query.
fn is_ordinary(text: &[u8]) -> bool {
    !text.iter().any(|&byte| byte < 0x20 && !matches!(byte, b'\r' | b'\n' | b'\t' | 0x08))
}
