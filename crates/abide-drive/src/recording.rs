//! Recordings: what a program wrote and what sizes its terminal had, as text that people can read.
//!
//! The first line is `abide recording 1`. Then `size COLSxROWS`, at the begin and wherever it changes, and `out TEXT`:
//! output, of which a new line begins after each line feed. In it `\e` is ESC, `\r` `\n` `\t` are as usual, `\\` is a
//! backslash, and `\xHH` any other byte that is no printable character.

use std::fmt::Write;

use abide_screen::Size;

const HEAD: &str = "abide recording 1\n";

/// What happened on a terminal, in order.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    text: String,
    pending: Vec<u8>,
}

impl Recording {
    pub(crate) fn size(&mut self, size: Size) {
        self.flush();
        if self.text.is_empty() {
            self.text.push_str(HEAD);
        }
        let _ = writeln!(self.text, "size {}x{}", size.cols, size.rows);
    }

    pub(crate) fn output(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The recording so far.
    pub(crate) fn text(&mut self) -> &str {
        self.flush();
        &self.text
    }

    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for line in pending.split_inclusive(|&byte| byte == b'\n') {
            self.text.push_str("out ");
            for chunk in line.utf8_chunks() {
                chunk.valid().chars().for_each(|c| push(c, &mut self.text));
                for byte in chunk.invalid() {
                    let _ = write!(self.text, "\\x{byte:02x}");
                }
            }
            self.text.push('\n');
        }
    }
}

fn push(c: char, text: &mut String) {
    match c {
        '\x1b' => text.push_str("\\e"),
        '\r' => text.push_str("\\r"),
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        '\\' => text.push_str("\\\\"),
        c if c.is_control() => {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        c => text.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_like_its_output() {
        let mut recording = Recording::default();
        recording.size(Size { cols: 80, rows: 24 });
        recording.output(b"\x1b[1mhi\r\n\xc3");
        recording.output(b"\xa9\xff\\\x07");
        recording.size(Size { cols: 90, rows: 30 });
        let expected = "abide recording 1\nsize 80x24\nout \\e[1mhi\\r\\n\nout é\\xff\\\\\\x07\nsize 90x30\n";
        assert_eq!(recording.text(), expected);
    }
}
