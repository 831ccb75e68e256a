//! What is written to the terminal: the owner's input, exactly once by offset, and injected answers.

use std::collections::VecDeque;

use crate::frames::{INJECT_BYTES_MAX, INPUT_BYTES_MAX};

/// What became of an `input` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// So many of its last bytes were new and are held; 0: all of it was known.
    Bytes(usize),
    /// It is of another owner epoch, leaves a gap, or is over the buffer: dropped whole.
    Dropped,
}

/// Where the bytes that are due come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The owner: counted.
    Owner,
    /// An answer to a query: not counted.
    Injected,
}

/// Input that waits to be written. Allocates only when it is made.
#[derive(Debug)]
pub struct Input {
    owner_epoch: u32,
    applied: u64,
    former_epoch: u32,
    former_applied: u64,
    held: VecDeque<u8>,
    injected: VecDeque<u8>,
    /// A part of what was injected is written: owner input now would fall into the middle of an escape sequence.
    inject_begun: bool,
}

impl Input {
    /// Nothing waits; nothing was written in `owner_epoch`.
    pub fn new(owner_epoch: u32) -> Self {
        Self {
            owner_epoch,
            applied: 0,
            former_epoch: 0,
            former_applied: 0,
            held: VecDeque::with_capacity(INPUT_BYTES_MAX),
            injected: VecDeque::with_capacity(INJECT_BYTES_MAX),
            inject_begun: false,
        }
    }

    /// The owner epoch in force.
    pub fn owner_epoch(&self) -> u32 {
        self.owner_epoch
    }

    /// The owner's bytes written in this epoch.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The last epoch before this one that wrote any input, and its final count; (0, 0): none.
    pub fn former(&self) -> (u32, u64) {
        (self.former_epoch, self.former_applied)
    }

    /// Takes what is new of an `input` frame. The accepted end is what was written and what is held.
    pub fn accept(&mut self, owner_epoch: u32, input_offset: u64, bytes: &[u8]) -> Accepted {
        let end = self.applied + self.held.len() as u64;
        if owner_epoch != self.owner_epoch || input_offset > end {
            return Accepted::Dropped;
        }
        let known = usize::try_from(end - input_offset).unwrap_or(usize::MAX);
        let new = bytes.get(known..).unwrap_or_default();
        if self.held.len() + new.len() > INPUT_BYTES_MAX {
            return Accepted::Dropped;
        }
        self.held.extend(new);
        Accepted::Bytes(new.len())
    }

    /// Takes an answer to a query, whole or, when too much waits already, not at all.
    pub fn inject(&mut self, bytes: &[u8]) -> bool {
        let fits = self.injected.len() + bytes.len() <= INJECT_BYTES_MAX;
        if fits {
            self.injected.extend(bytes);
        }
        fits
    }

    /// A new owner: what its predecessor sent and was not written is dropped. `false`: the epoch is not higher.
    pub fn own(&mut self, owner_epoch: u32) -> bool {
        if owner_epoch <= self.owner_epoch {
            return false;
        }
        if self.applied > 0 {
            (self.former_epoch, self.former_applied) = (self.owner_epoch, self.applied);
        }
        self.owner_epoch = owner_epoch;
        self.applied = 0;
        self.held.clear();
        true
    }

    /// What is to be written next, in one piece; `None`: nothing waits.
    pub fn due(&self) -> Option<(Source, &[u8])> {
        let waits = |queue: &VecDeque<u8>| !queue.is_empty();
        if waits(&self.injected) && (self.inject_begun || self.held.is_empty()) {
            return Some((Source::Injected, self.injected.as_slices().0));
        }
        waits(&self.held).then_some((Source::Owner, self.held.as_slices().0))
    }

    /// The first `bytes` of what was due are written.
    pub fn wrote(&mut self, source: Source, bytes: usize) {
        match source {
            Source::Owner => {
                self.held.drain(..bytes);
                self.applied += bytes as u64;
            }
            Source::Injected => {
                self.injected.drain(..bytes);
                self.inject_begun = !self.injected.is_empty();
            }
        }
    }

    /// The terminal is closed: nothing will be written any more.
    pub fn clear(&mut self) {
        self.held.clear();
        self.injected.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_all(input: &mut Input) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some((source, bytes)) = input.due() {
            all.extend_from_slice(bytes);
            let bytes = bytes.len();
            input.wrote(source, bytes);
        }
        all
    }

    #[test]
    fn a_resend_is_written_once_and_a_gap_not_at_all() {
        let mut input = Input::new(1);
        assert_eq!(input.accept(1, 0, b"abc"), Accepted::Bytes(3));
        assert_eq!(input.accept(1, 4, b"x"), Accepted::Dropped);
        assert_eq!(input.accept(1, 1, b"bcd"), Accepted::Bytes(1));
        assert_eq!(input.accept(2, 4, b"x"), Accepted::Dropped);
        assert_eq!(write_all(&mut input), b"abcd");
        assert_eq!(input.accept(1, 0, b"abcde"), Accepted::Bytes(1));
        assert_eq!(input.accept(1, 0, b"ab"), Accepted::Bytes(0));
        assert_eq!((write_all(&mut input), input.applied()), (b"e".to_vec(), 5));
    }

    #[test]
    fn the_buffer_has_a_bound() {
        let mut input = Input::new(1);
        let full = vec![0; INPUT_BYTES_MAX];
        assert_eq!(input.accept(1, 0, &full), Accepted::Bytes(INPUT_BYTES_MAX));
        assert_eq!(input.accept(1, INPUT_BYTES_MAX as u64, b"x"), Accepted::Dropped);
        input.wrote(Source::Owner, 1);
        assert_eq!(input.accept(1, INPUT_BYTES_MAX as u64, b"x"), Accepted::Bytes(1));
        assert!(input.inject(&[0; INJECT_BYTES_MAX]) && !input.inject(b"x"));
    }

    #[test]
    fn a_new_owner_begins_at_zero_and_learns_the_last_count_that_was_not_zero() {
        let mut input = Input::new(1);
        input.accept(1, 0, b"abc");
        input.wrote(Source::Owner, 2);
        assert!(input.own(2) && !input.own(2) && !input.own(1));
        assert_eq!((input.applied(), input.former(), input.due()), (0, (1, 2), None));
        assert!(input.own(5));
        assert_eq!(input.former(), (1, 2));
    }

    #[test]
    fn an_answer_waits_for_owner_input_and_is_not_torn_apart_by_it() {
        let mut input = Input::new(1);
        input.accept(1, 0, b"ab");
        input.inject(b"\x1b[0n");
        assert_eq!(input.due(), Some((Source::Owner, b"ab".as_slice())));
        input.wrote(Source::Owner, 2);
        input.wrote(Source::Injected, 1);
        input.accept(1, 2, b"c");
        assert_eq!(write_all(&mut input), b"[0nc");
        assert_eq!(input.applied(), 3);
    }
}
