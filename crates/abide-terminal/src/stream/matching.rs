//! Finding a line of output that matches an expression.

use std::ops::ControlFlow;

use abide_screen::{Piece, Plain};
use regex::{Regex, RegexBuilder};

use crate::ids::ByteOffset;

/// Memory that an expression may take once it is compiled, in bytes.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// A text that is no regular expression, or too large a one. The caller corrects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no regular expression")]
pub struct NoExpression;

/// What matched, and the offset behind its line, or behind what is there of one that has not ended.
pub type Found = (String, ByteOffset);

/// Looks at output as lines of text, each as it was before it was written over too.
#[derive(Debug)]
pub struct Matcher {
    expression: Regex,
    plain: Plain,
    end: ByteOffset,
}

impl Matcher {
    /// One that looks for this expression, in the syntax of the crate `regex`.
    pub fn new(expression: &str) -> Result<Self, NoExpression> {
        let expression = RegexBuilder::new(expression).size_limit(EXPRESSION_BYTES_MAX).build();
        let expression = expression.map_err(|_| NoExpression)?;
        Ok(Self { expression, plain: Plain::default(), end: ByteOffset(0) })
    }

    /// Takes output that follows that of the last call, but for what is missing; the first match in it.
    pub fn take(&mut self, offset: ByteOffset, bytes: &[u8]) -> ControlFlow<Found> {
        let Self { expression, plain, end } = self;
        *end = offset;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            *end = ByteOffset(end.0 + line.len() as u64);
            let mut found = None;
            plain.feed(line, &mut |_: Piece, text| {
                if found.is_none() {
                    found = expression.find(text).map(|matched| matched.as_str().to_owned());
                }
            });
            if let Some(found) = found {
                return ControlFlow::Break((found, *end));
            }
        }
        ControlFlow::Continue(())
    }

    /// The match in the line that has not ended.
    pub fn unfinished(&self) -> Option<Found> {
        let matched = self.expression.find(&self.plain.unfinished())?.as_str().to_owned();
        Some((matched, self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(expression: &str, pieces: &[&[u8]]) -> Option<(String, u64)> {
        let mut matcher = Matcher::new(expression).unwrap();
        let mut offset = 1_000;
        for piece in pieces {
            if let ControlFlow::Break((text, end)) = matcher.take(ByteOffset(offset), piece) {
                return Some((text, end.0));
            }
            offset += piece.len() as u64;
        }
        matcher.unfinished().map(|(text, end)| (text, end.0))
    }

    #[test]
    fn a_line_matches_without_its_colours_however_it_is_cut() {
        let output = b"one\r\n\x1b[1;31merror\x1b[0m: two\r\nthree\r\n".as_slice();
        let expected = Some(("error: two".to_owned(), 1_028));
        assert_eq!(first("^error.*$", &[output]), expected);
        for cut in 0..output.len() {
            assert_eq!(first("^error.*$", &[&output[..cut], &output[cut..]]), expected, "{cut}");
        }
        assert_eq!(first("four", &[output]), None);
    }

    #[test]
    fn a_prompt_matches_before_its_line_ends() {
        assert_eq!(first(r"\$ $", &[b"one\r\n$ "]), Some(("$ ".to_owned(), 1_007)));
    }

    #[test]
    fn what_was_written_over_matches() {
        assert_eq!(first("50 %", &[b"50 %\r99 %\r\n"]), Some(("50 %".to_owned(), 1_011)));
    }

    #[test]
    fn an_expression_that_takes_too_much_is_none() {
        assert!(Matcher::new("(").is_err());
        assert!(Matcher::new(r"\w{1000}{1000}").is_err());
    }
}
