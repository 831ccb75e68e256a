//! How much output a client lets a stream send before it has said that it processed what came before.

use crate::ids::ByteOffset;

/// The window of one stream: output that was sent and not acknowledged is never more.
#[derive(Debug, Clone, Copy)]
pub struct Credit {
    /// None: it never waits for the client.
    window_bytes: Option<u64>,
    /// Everything below was processed, as if nothing had been skipped: bytes that were not sent are not waited for.
    processed: u64,
    /// The range that was skipped last.
    skipped: (u64, u64),
}

impl Credit {
    /// That of a stream which begins here.
    pub fn new(window_bytes: Option<u64>, begin: ByteOffset) -> Self {
        Self { window_bytes, processed: begin.0, skipped: (begin.0, begin.0) }
    }

    /// The client has processed everything below `offset`. `at` is what was sent last: beyond it nothing was.
    pub fn processed(&mut self, offset: ByteOffset, at: ByteOffset) {
        let (from, to) = self.skipped;
        let offset = offset.0.min(at.0);
        // What lies before a skip counts as if it stood directly before what comes behind it.
        let moved = if offset < from { offset + (to - from) } else { offset.max(to) };
        self.processed = self.processed.max(moved.min(at.0));
    }

    /// What lies between was not sent, and will not be.
    pub fn skip(&mut self, from: ByteOffset, to: ByteOffset) {
        self.processed = self.processed.saturating_add(to.0.saturating_sub(from.0));
        self.skipped = (from.0, to.0);
    }

    /// Bytes that may be sent, where `at` is what was sent last.
    pub fn left(&self, at: ByteOffset) -> u64 {
        let under_way = at.0.saturating_sub(self.processed);
        self.window_bytes.map_or(u64::MAX, |window| window.saturating_sub(under_way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(credit: &Credit, at: u64) -> u64 {
        credit.left(ByteOffset(at))
    }

    #[test]
    fn what_is_under_way_never_passes_the_window() {
        let mut credit = Credit::new(Some(100), ByteOffset(1_000));
        assert_eq!((left(&credit, 1_000), left(&credit, 1_060), left(&credit, 1_100)), (100, 40, 0));
        credit.processed(ByteOffset(1_050), ByteOffset(1_100));
        assert_eq!(left(&credit, 1_100), 50);
        credit.processed(ByteOffset(1_010), ByteOffset(1_100));
        assert_eq!(left(&credit, 1_100), 50, "old news");
        credit.processed(ByteOffset(9_999), ByteOffset(1_100));
        assert_eq!(left(&credit, 1_100), 100, "nobody has processed what was not sent");
        assert_eq!(left(&Credit::new(None, ByteOffset(0)), 1 << 40), u64::MAX);
    }

    #[test]
    fn what_is_skipped_is_not_waited_for() {
        let mut credit = Credit::new(Some(100), ByteOffset(0));
        assert_eq!(left(&credit, 80), 20);
        credit.skip(ByteOffset(80), ByteOffset(5_000));
        assert_eq!(left(&credit, 5_000), 20);
        assert_eq!(left(&credit, 5_020), 0);
        credit.processed(ByteOffset(30), ByteOffset(5_020));
        assert_eq!(left(&credit, 5_020), 30, "before the skip");
        credit.processed(ByteOffset(80), ByteOffset(5_020));
        assert_eq!(left(&credit, 5_020), 80);
        credit.processed(ByteOffset(5_020), ByteOffset(5_020));
        assert_eq!(left(&credit, 5_020), 100);
    }
}
