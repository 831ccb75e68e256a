//! What programs print that count.

/// What a reader has seen of a program that prints the numbers from 0 on, one a line.
#[derive(Default)]
pub(crate) struct Lines {
    /// The number that must come next.
    pub(crate) next: u64,
    /// Bytes so far.
    pub(crate) bytes: u64,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes what came next: no line may be missing, and none may come twice.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let text = std::str::from_utf8(&self.partial).unwrap();
                let number: u64 = text.trim_end().parse().unwrap_or_else(|_| panic!("a line: {text:?}"));
                assert_eq!(number, self.next, "no line lost, none twice");
                self.next += 1;
                self.partial.clear();
            }
        }
    }

    /// Whether the last line has come to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.partial.is_empty()
    }
}
