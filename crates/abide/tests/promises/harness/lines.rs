//! What programs print that count.

use std::io::Write as _;

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

/// What `seq` prints on a terminal, from the first number with as many digits as it takes to be this long on: lines of the
/// same length, each of them another one.
pub(crate) struct Numbers {
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    first: u64,
    lines: u64,
}

impl Numbers {
    /// About so many bytes.
    pub(crate) fn about(bytes: usize) -> Self {
        let holds = |digits: &u32| 9 * 10_u64.pow(digits - 1) * u64::from(digits + 2) >= bytes as u64;
        let digits = (6..16).find(holds).unwrap();
        let (first, width) = (10_u64.pow(digits - 1), digits as usize + 2);
        let lines = (bytes / width) as u64;
        let mut all = Vec::with_capacity(bytes);
        for number in first..first + lines {
            write!(all, "{number}\r\n").unwrap();
        }
        Self { bytes: all, first, lines }
    }

    /// The command that prints it, in `parts` one after another.
    pub(crate) fn command(&self, parts: u64, between: &str) -> String {
        let begin = |part: u64| self.first + self.lines * part / parts;
        let part = |part: u64| format!("seq {} {}", begin(part), begin(part + 1) - 1);
        (0..parts).map(part).collect::<Vec<String>>().join(between)
    }

    /// How long it is.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// These bytes stand there.
    #[track_caller]
    pub(crate) fn check(&self, offset: u64, bytes: &[u8]) {
        let at = usize::try_from(offset).unwrap();
        let stands = self.bytes.get(at..at + bytes.len());
        assert!(stands == Some(bytes), "{} bytes at {offset} are not those that were printed", bytes.len());
    }
}
