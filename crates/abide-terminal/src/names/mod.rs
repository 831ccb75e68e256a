//! Names that nobody chose: drawn for a create without one, numbered where one was taken, made for an orphan.
//!
//! What a name may look like is the protocol's rule ([`Name`](crate::protocol::Name)).

mod words;

use crate::ids::SessionId;
use crate::protocol::limits::KEY_BYTES_MAX;
use words::{ADJECTIVES, NOUNS};

/// Draws a name of two words, `quiet-heron`, that nobody has. The search begins at a pair chosen by `random` and goes on
/// from there, so that it ends; if every pair is taken, the first one gets a number.
pub fn draw(random: u64, is_taken: impl Fn(&str) -> bool) -> String {
    let pairs = (ADJECTIVES.len() * NOUNS.len()) as u64;
    let pair = |index: u64| {
        let index = usize::try_from(index % pairs).unwrap_or(0);
        format!("{}-{}", ADJECTIVES[index / NOUNS.len()], NOUNS[index % NOUNS.len()])
    };
    let mut names = (0..pairs).map(|step| pair((random % pairs) + step));
    names.find(|name| !is_taken(name)).unwrap_or_else(|| number(&pair(random), is_taken))
}

/// Gives a name whose own was taken meanwhile the first free one of `name-2`, `name-3` …, shortened where it would
/// become too long.
pub fn number(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = |number: u64| {
        let suffix = format!("-{number}");
        // A name that passed its check is ASCII, so that any cut is between characters.
        let kept = name.get(..KEY_BYTES_MAX - suffix.len()).unwrap_or(name);
        format!("{kept}{suffix}")
    };
    let mut number = 2;
    while is_taken(&numbered(number)) {
        number += 1;
    }
    numbered(number)
}

/// The name of a session that is taken in without a record: `orphan-` and the last 8 characters of its id. The first
/// ones are a time, and the same for sessions that began together.
pub fn of_orphan(id: SessionId) -> String {
    let id = id.to_string();
    format!("orphan-{}", id.get(18..).unwrap_or(&id))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::ids::InvalidId;
    use crate::protocol::Name;

    fn check_name(name: &str) -> Result<Name, InvalidId> {
        name.parse()
    }

    #[test]
    fn the_words_are_many_plain_and_distinct() {
        for list in [&ADJECTIVES[..], &NOUNS[..]] {
            assert!(list.len() >= 200, "{}", list.len());
            assert!(list.is_sorted_by(|a, b| a < b), "in order, none twice");
            assert!(
                list.iter().all(|word| (2..=10).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase()))
            );
        }
        assert!(ADJECTIVES.iter().all(|word| !NOUNS.contains(word)));
    }

    #[test]
    fn every_pair_of_words_can_be_drawn_and_is_a_name() {
        let pairs = (ADJECTIVES.len() * NOUNS.len()) as u64;
        let names: BTreeSet<String> = (0..pairs).map(|random| draw(random, |_| false)).collect();
        assert_eq!(names.len() as u64, pairs);
        assert!(names.iter().all(|name| check_name(name).is_ok()));
        assert!(check_name(&draw(u64::MAX, |_| false)).is_ok());
    }

    #[test]
    fn a_drawn_name_is_one_that_nobody_has() {
        let first = draw(7, |_| false);
        let second = draw(7, |name| name == first);
        assert_ne!(first, second);

        let asked = Cell::new(0_u64);
        let all_pairs_taken = |name: &str| {
            asked.set(asked.get() + 1);
            name.bytes().filter(|&byte| byte == b'-').count() == 1
        };
        assert_eq!(draw(7, all_pairs_taken), format!("{first}-2"));
        assert!(asked.get() > 40_000, "every pair was looked at: {}", asked.get());
    }

    #[test]
    fn a_taken_name_gets_the_first_free_number() {
        assert_eq!(number("build", |_| false), "build-2");
        assert_eq!(number("build", |name| ["build-2", "build-3"].contains(&name)), "build-4");
        let long = number(&"x".repeat(64), |_| false);
        assert_eq!(long, format!("{}-2", "x".repeat(62)));
        assert!(check_name(&long).is_ok());
    }

    #[test]
    fn orphans_that_began_together_have_different_names() {
        let names = [1, 2].map(|random| of_orphan(SessionId::from_parts(1_760_000_000_000, random)));
        assert_eq!(names, ["orphan-00000001", "orphan-00000002"]);
        assert!(names.iter().all(|name| check_name(name).is_ok()));
    }
}
