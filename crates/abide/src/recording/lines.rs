//! Output as text on standard output or in a file.

use std::io::{self, Write};

use abide_screen::{Piece, Plain};

/// Writes output as the lines of a log, each when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    plain: Plain,
}

impl Lines {
    /// Takes bytes that follow those of the last call.
    pub(crate) fn write(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        let mut text = Vec::new();
        self.plain.feed(bytes, &mut |piece, line| put(piece, line, &mut text));
        out.write_all(&text)
    }

    /// Writes the line that has not ended.
    pub(crate) fn finish(self, out: &mut impl Write) -> io::Result<()> {
        let mut text = Vec::new();
        self.plain.finish(&mut |piece, line| put(piece, line, &mut text));
        out.write_all(&text)
    }
}

fn put(piece: Piece, line: &str, text: &mut Vec<u8>) {
    match piece {
        Piece::Line => text.extend([line.as_bytes(), b"\n"].concat()),
        Piece::Part => text.extend(line.as_bytes()),
        Piece::Overwritten => {}
    }
}
