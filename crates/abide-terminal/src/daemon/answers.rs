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
}

impl Answers {
    /// What was journalled before counts as answered; from here on the model answers.
    pub(super) fn from(end: ByteOffset) -> Self {
        Self { model: false, taken: ByteOffset(0), changes: VecDeque::from([(end, true)]) }
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
}
