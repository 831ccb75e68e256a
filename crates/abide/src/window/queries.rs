//! Which of the program's queries the user's terminal may see: each is answered at most once.
//!
//! The owner's terminal answers from the offset on at which it became the owner's; below it the daemon did. An observer's
//! terminal answers none. What is no terminal sees every byte.

use abide_screen::QueryFilter;
use abide_terminal::ByteOffset;
use bytes::Bytes;

/// The filter between the stream and the terminal.
#[derive(Debug)]
pub(super) struct Queries {
    is_terminal: bool,
    filter: Option<QueryFilter>,
    /// From where on the terminal answers; `None`: it never does.
    answers_from: Option<ByteOffset>,
}

impl Queries {
    pub(super) fn new(is_terminal: bool) -> Self {
        Self { is_terminal, filter: is_terminal.then(QueryFilter::observer), answers_from: None }
    }

    /// The stream stands: the terminal answers from this offset on, or not at all.
    pub(super) fn attached(&mut self, answers_from: Option<ByteOffset>) {
        self.answers_from = answers_from;
        let filter = if answers_from.is_some() { QueryFilter::owner() } else { QueryFilter::observer() };
        self.filter = self.is_terminal.then_some(filter);
    }

    /// What the terminal gets of these bytes; of a snapshot if they have no offset.
    pub(super) fn filter(&mut self, offset: Option<ByteOffset>, mut bytes: Bytes) -> Bytes {
        let Some(filter) = &mut self.filter else { return bytes };
        let mut kept = Vec::with_capacity(bytes.len());
        let below = match (offset, self.answers_from) {
            (Some(offset), Some(from)) => usize::try_from(from.0.saturating_sub(offset.0)).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        if bytes.len() < below {
            filter.filter(&bytes, &mut kept);
            return kept.into();
        }
        filter.filter(&bytes.split_to(below), &mut kept);
        if let Some(filter) = self.filter.take() {
            filter.finish(&mut kept);
        }
        if kept.is_empty() {
            return bytes;
        }
        kept.extend_from_slice(&bytes);
        kept.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x1b[c";

    fn seen(queries: &mut Queries, offset: Option<u64>, bytes: &[u8]) -> Vec<u8> {
        queries.filter(offset.map(ByteOffset), Bytes::copy_from_slice(bytes)).to_vec()
    }

    #[test]
    fn an_owner_answers_from_its_offset_on() {
        for cut in 0..=6 {
            let output = [b"ab".as_slice(), QUERY, b"c"].concat();
            let mut queries = Queries::new(true);
            queries.attached(Some(ByteOffset(10)));
            let (first, rest) = output.split_at(cut);
            let mut got = seen(&mut queries, Some(0), first);
            got.extend(seen(&mut queries, Some(cut as u64), rest));
            assert_eq!(got, b"abc", "cut at {cut}");
            assert_eq!(seen(&mut queries, Some(6), b"defg"), b"defg");
            assert_eq!(seen(&mut queries, Some(10), QUERY), QUERY);
        }
    }

    #[test]
    fn a_piece_across_the_offset_is_filtered_below_it() {
        let mut queries = Queries::new(true);
        queries.attached(Some(ByteOffset(3)));
        assert_eq!(seen(&mut queries, Some(0), &[QUERY, QUERY].concat()), QUERY);
    }

    #[test]
    fn an_observer_never_answers_and_no_terminal_sees_all() {
        let mut observer = Queries::new(true);
        observer.attached(None);
        assert_eq!(seen(&mut observer, Some(0), QUERY), b"");
        assert_eq!(seen(&mut observer, Some(99), QUERY), b"");
        let mut pipe = Queries::new(false);
        pipe.attached(None);
        assert_eq!(seen(&mut pipe, Some(0), QUERY), QUERY);
    }

    #[test]
    fn who_becomes_the_owner_answers_and_who_was_does_not() {
        let mut queries = Queries::new(true);
        queries.attached(None);
        assert_eq!(seen(&mut queries, Some(0), QUERY), b"");
        queries.attached(Some(ByteOffset(3)));
        assert_eq!(seen(&mut queries, Some(3), QUERY), QUERY);
        queries.attached(None);
        assert_eq!(seen(&mut queries, Some(6), QUERY), b"");
    }
}
