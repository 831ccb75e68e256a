//! What the terminal says when a program asks: DA1, DSR 5 and 6, XTVERSION and DECRQM, nothing else.

use std::io::Write;

/// Answers that nobody took are dropped beyond this, so that a program which only asks does not grow a model.
const ANSWERS_BYTES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<u8>);

impl Answers {
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Bytes of answers that nobody took.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// DA1: a VT220 with colours.
    pub(crate) fn device_attributes(&mut self) {
        self.say(format_args!("\x1b[?62;22c"));
    }

    /// DSR 5: in working order.
    pub(crate) fn status(&mut self) {
        self.say(format_args!("\x1b[0n"));
    }

    /// DSR 6: where the cursor is, counted from 1.
    pub(crate) fn cursor(&mut self, row: usize, col: usize) {
        self.say(format_args!("\x1b[{row};{col}R"));
    }

    /// XTVERSION: a name without a version.
    pub(crate) fn version(&mut self) {
        self.say(format_args!("\x1bP>|abide\x1b\\"));
    }

    /// DECRQM: whether a mode is on; none for one that is unknown. `private` is `"?"` or empty.
    pub(crate) fn mode(&mut self, private: &str, mode: u16, on: Option<bool>) {
        let state = match on {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        self.say(format_args!("\x1b[{private}{mode};{state}$y"));
    }

    fn say(&mut self, answer: std::fmt::Arguments<'_>) {
        let before = self.0.len();
        let _ = self.0.write_fmt(answer);
        if self.0.len() > ANSWERS_BYTES_MAX {
            self.0.truncate(before);
        }
    }
}
