//! Output as the lines of a log.

use crate::control::seven_bit;
use crate::sequence::{Kind, Scanner, Token};

/// Longest line; a longer one is told in parts.
const LINE_CHARS_MAX: usize = 64 * 1024;

/// What a text that [`Plain`] tells of is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A line that has ended, or the last part of one, without the blanks at its end.
    Line,
    /// The begin of a line that goes on with the next text: of one that is too long, or of the last one.
    Part,
    /// What stood in a line before the program went back to its begin and wrote over it, as programs do that show their
    /// progress. What became of the line comes later: who prints a log leaves this out, who looks for a text does not.
    Overwritten,
}

/// Streaming reader of output as lines of text, without control sequences: what a terminal of endless width would show
/// of each line.
///
/// - A line ends with a line feed, and where the cursor is sent to another row.
/// - A carriage return goes back to its begin, a backspace one character; what follows is written over what stands there.
/// - "Erase in line" erases. Tabs stay. Other controls and sequences are left out.
/// - Bytes that are no UTF-8 become U+FFFD, one for each sequence that was broken off.
///
/// What is told depends on the bytes alone, not on how they are cut. Memory is bounded by the longest line, 65,536
/// characters, and the scanner's.
///
/// A program that draws on the whole screen leaves no lines: [`Model`](crate::Model) shows what it drew.
#[derive(Debug)]
pub struct Plain {
    scanner: Scanner,
    line: Line,
}

impl Default for Plain {
    fn default() -> Self {
        Self { scanner: Scanner::new(), line: Line::default() }
    }
}

impl Plain {
    /// Takes bytes, which follow those of the last call, and tells `sink` of each text that is complete with them.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(Piece, &str)) {
        let line = &mut self.line;
        self.scanner.scan(bytes, &mut |token| line.token(&token, sink));
    }

    /// The line that has not ended, as it stands: a prompt, for example.
    pub fn unfinished(&self) -> String {
        self.line.chars.iter().collect()
    }

    /// The end of the output: tells of what is left.
    pub fn finish(mut self, sink: &mut impl FnMut(Piece, &str)) {
        // What is held without being a sequence is a part of a character.
        if self.scanner.held_kind().is_none() && !self.scanner.held().is_empty() {
            self.line.put(char::REPLACEMENT_CHARACTER, sink);
        }
        if !self.line.chars.is_empty() {
            self.line.tell(Piece::Part, self.line.chars.len(), sink);
        }
    }
}

/// The line under way. Each character takes one place, whatever its width.
#[derive(Debug, Default)]
struct Line {
    chars: Vec<char>,
    /// Where the next character goes: in the line, or at its end.
    at: usize,
    /// What was written since the last return to the begin ends here.
    written: usize,
    /// Whether the cursor went back to the begin, and nothing was written since.
    returned: bool,
    /// For what is told, so that it is not allocated each time.
    text: String,
}

impl Line {
    fn token(&mut self, token: &Token<'_>, sink: &mut impl FnMut(Piece, &str)) {
        match *token {
            Token::Text(bytes) | Token::Broken(bytes) => {
                for chunk in bytes.utf8_chunks() {
                    chunk.valid().chars().for_each(|c| self.character(c, sink));
                    if !chunk.invalid().is_empty() {
                        self.put(char::REPLACEMENT_CHARACTER, sink);
                    }
                }
            }
            Token::Control(byte) => self.character(char::from(byte), sink),
            Token::Sequence(kind @ (Kind::Csi | Kind::Escape), bytes) => self.sequence(kind, &seven_bit(bytes), sink),
            Token::Sequence(..) | Token::Cancelled(_) | Token::Long(..) | Token::LongPart(_) | Token::LongEnd => {}
        }
    }

    fn character(&mut self, c: char, sink: &mut impl FnMut(Piece, &str)) {
        match c {
            '\n' | '\x0b' | '\x0c' => self.end(sink),
            '\r' => {
                self.at = 0;
                self.returned = self.written > 0;
            }
            '\x08' => self.at = self.at.saturating_sub(1),
            '\t' => self.put(c, sink),
            c if c.is_control() => {}
            c => self.put(c, sink),
        }
    }

    fn sequence(&mut self, kind: Kind, sequence: &[u8], sink: &mut impl FnMut(Piece, &str)) {
        match (kind, sequence) {
            (Kind::Csi, [.., b'0'..=b'9' | b'[', b'K']) => self.erase(sequence.get(2).copied(), sink),
            // To another row: up, down, to a place; index, next line, reverse index, reset.
            (Kind::Csi, [.., b'0'..=b'9' | b';' | b'[', b'A' | b'B' | b'E' | b'F' | b'H' | b'd' | b'e' | b'f'])
            | (Kind::Escape, [_, b'D' | b'E' | b'M' | b'c'])
                if !self.chars.is_empty() =>
            {
                self.end(sink);
            }
            _ => {}
        }
    }

    fn erase(&mut self, part: Option<u8>, sink: &mut impl FnMut(Piece, &str)) {
        self.begin_over(sink);
        match part {
            Some(b'K' | b'0') => self.chars.truncate(self.at),
            Some(b'1') => {
                let end = self.chars.len().min(self.at + 1);
                self.chars[..end].fill(' ');
            }
            Some(b'2') => {
                self.chars.truncate(self.at);
                self.chars.fill(' ');
            }
            _ => {}
        }
        self.written = self.written.min(self.chars.len());
    }

    fn put(&mut self, c: char, sink: &mut impl FnMut(Piece, &str)) {
        self.begin_over(sink);
        match self.chars.get_mut(self.at) {
            Some(there) => *there = c,
            None => self.chars.push(c),
        }
        self.at += 1;
        self.written = self.written.max(self.at);
        if self.at == LINE_CHARS_MAX {
            self.tell(Piece::Part, LINE_CHARS_MAX, sink);
            self.clear();
        }
    }

    /// Something is about to be written: what stood there before a return is told first. Only what was written since the
    /// return before: so all that is told is no more than what was written.
    fn begin_over(&mut self, sink: &mut impl FnMut(Piece, &str)) {
        if std::mem::take(&mut self.returned) {
            self.tell(Piece::Overwritten, self.written, sink);
            self.written = 0;
        }
    }

    fn end(&mut self, sink: &mut impl FnMut(Piece, &str)) {
        self.tell(Piece::Line, self.chars.len(), sink);
        self.clear();
    }

    fn clear(&mut self) {
        self.chars.clear();
        (self.at, self.written, self.returned) = (0, 0, false);
    }

    fn tell(&mut self, piece: Piece, end: usize, sink: &mut impl FnMut(Piece, &str)) {
        self.text.clear();
        self.text.extend(&self.chars[..end]);
        sink(piece, if piece == Piece::Part { &self.text } else { self.text.trim_end() });
    }
}
