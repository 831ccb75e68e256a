//! Who answers a program's queries: the owner's terminal while one is attached, the model otherwise. Each query is
//! answered at most once.

use std::collections::VecDeque;

use crate::ids::ByteOffset;

/// From which offsets on the model answers, and where it stops.
///
/// The two sides meet here under one lock: the hub names the end of the log when an owner's terminal comes or goes, and
/// the worker names what it is about to feed. What the worker has taken is never given to a terminal as well, since the
/// hub's boundary is never below it.
#[derive(Debug)]
pub(super) struct Answers {
    /// Whether the model answers at `taken`.
    model: bool,
    /// Offset up to which the worker has taken output.
    taken: ByteOffset,
    /// Changes ahead of that: from this offset on, the model answers or does not.
    changes: VecDeque<(ByteOffset, bool)>,
    /// Answers to queries that the owner's terminal is to answer, each with the offset behind its query: its stream may
    /// skip them. The newest, [`KEPT_BYTES_MAX`] at most.
    kept: VecDeque<(ByteOffset, Vec<u8>)>,
    kept_bytes: usize,
}

/// Most bytes of answers that are kept: as many as a holder takes at once.
const KEPT_BYTES_MAX: usize = 4 << 10;

impl Answers {
    /// What was journalled before counts as answered; from here on the model answers.
    pub(super) fn from(end: ByteOffset) -> Self {
        Self {
            model: false,
            taken: ByteOffset(0),
            changes: VecDeque::from([(end, true)]),
            kept: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    /// An owner's terminal came (false) or the last one went (true), with the log's end where it is now. The boundary:
    /// output below it is the former's to answer.
    pub(super) fn model_answers(&mut self, end: ByteOffset, model: bool) -> ByteOffset {
        let boundary = end.max(self.taken);
        if self.is_model() != model {
            self.changes.push_back((boundary, model));
        }
        boundary
    }

    /// Whether the model answers from the last boundary on.
    pub(super) fn is_model(&self) -> bool {
        self.changes.back().map_or(self.model, |(_, model)| *model)
    }

    /// The worker is about to feed output from `from` to `to`. How much of it, and whether the model answers there: not
    /// in what was taken before, which a model that is built again takes once more.
    pub(super) fn take(&mut self, from: ByteOffset, to: ByteOffset) -> (ByteOffset, bool) {
        if from < self.taken {
            return (to.min(self.taken), false);
        }
        while let Some((at, model)) = self.changes.front().copied()
            && at <= from
        {
            self.model = model;
            self.changes.pop_front();
        }
        let until = self.changes.front().map_or(to, |(at, _)| to.min(*at));
        self.taken = self.taken.max(until);
        (until, self.model)
    }
}

impl Answers {
    /// The model would have answered a query that ends at `behind`, and left it to the owner's terminal.
    pub(super) fn keep(&mut self, behind: ByteOffset, answer: Vec<u8>) {
        self.kept_bytes += answer.len();
        self.kept.push_back((behind, answer));
        while self.kept_bytes > KEPT_BYTES_MAX {
            self.drop_oldest();
        }
    }

    /// The answers to queries that the stream of the owner's terminal skips from here to there; each once. What lies before
    /// was seen by it.
    pub(super) fn take_kept(&mut self, from: ByteOffset, to: ByteOffset) -> Vec<u8> {
        self.forget_kept(from);
        let mut answers = Vec::new();
        while self.kept.front().is_some_and(|(behind, _)| *behind <= to)
            && let Some((_, answer)) = self.drop_oldest()
        {
            answers.extend(answer);
        }
        answers
    }

    /// Queries that end at or below this are not skipped by anybody any more.
    pub(super) fn forget_kept(&mut self, below: ByteOffset) {
        while self.kept.front().is_some_and(|(behind, _)| *behind <= below) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> Option<(ByteOffset, Vec<u8>)> {
        let oldest = self.kept.pop_front()?;
        self.kept_bytes -= oldest.1.len();
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_one_who_answers() {
        let mut answers = Answers::from(ByteOffset(100));
        let take = |answers: &mut Answers, from, to| {
            let (until, model) = answers.take(ByteOffset(from), ByteOffset(to));
            (until.0, model)
        };
        assert_eq!(take(&mut answers, 50, 200), (100, false), "journalled before: answered");
        assert_eq!(take(&mut answers, 100, 200), (200, true));
        assert_eq!(answers.model_answers(ByteOffset(150), false), ByteOffset(200), "not below what the model took");
        assert_eq!(answers.model_answers(ByteOffset(260), true), ByteOffset(260));
        assert_eq!(take(&mut answers, 200, 300), (260, false));
        assert_eq!(take(&mut answers, 260, 300), (300, true));
        assert_eq!(take(&mut answers, 250, 400), (300, false), "a model that was built again");
        assert_eq!(take(&mut answers, 300, 400), (400, true));
    }

    #[test]
    fn what_a_terminal_skips_is_answered_once() {
        let mut answers = Answers::from(ByteOffset(0));
        for behind in [10_u8, 20, 30, 40] {
            answers.keep(ByteOffset(behind.into()), vec![behind]);
        }
        assert_eq!(answers.take_kept(ByteOffset(10), ByteOffset(30)), [20, 30], "what ends in what it saw is its own");
        assert!(answers.take_kept(ByteOffset(10), ByteOffset(30)).is_empty());
        answers.forget_kept(ByteOffset(40));
        assert!(answers.take_kept(ByteOffset(30), ByteOffset(99)).is_empty());
        for behind in 0..9_u8 {
            answers.keep(ByteOffset(100 + u64::from(behind)), vec![behind; 1 << 10]);
        }
        let kept = answers.take_kept(ByteOffset(0), ByteOffset(999));
        assert_eq!((kept.len(), kept.first(), kept.last()), (4 << 10, Some(&5), Some(&8)), "the newest");
    }
}
