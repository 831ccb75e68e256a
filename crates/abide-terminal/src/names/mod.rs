//! The rules for the texts that callers choose (names, keys, labels, directories), and the names that are drawn.

mod words;

use std::collections::BTreeMap;
use std::path::Path;

use crate::ids::{InvalidId, SessionId};
use words::{ADJECTIVES, NOUNS};

/// Bytes of a name and of a key.
const TEXT_BYTES_MAX: usize = 64;
/// Labels of one session.
const LABELS_MAX: usize = 32;
/// Bytes of a label's value.
const LABEL_VALUE_BYTES_MAX: usize = 256;

/// Checks a session's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, not beginning with `-` or `.`, and nothing that could be
/// taken for a session's id.
///
/// # Errors
/// The field `name`, and its rule.
pub fn check_name(name: &str) -> Result<(), InvalidId> {
    let rule = if !is_text(name, b"._-") || name.starts_with(['-', '.']) {
        "1 to 64 of A-Z a-z 0-9 . _ -, not beginning with - or ."
    } else if ulid::Ulid::from_string(name).is_ok() {
        "something that does not look like a session's id"
    } else {
        return Ok(());
    };
    Err(InvalidId { what: "name", rule })
}

/// Checks a create's key: 1 to 64 of `A-Z a-z 0-9 . _ : / -`.
///
/// # Errors
/// The field `key`, and its rule.
pub fn check_key(key: &str) -> Result<(), InvalidId> {
    let rule = "1 to 64 of A-Z a-z 0-9 . _ : / -";
    if is_text(key, b"._:/-") { Ok(()) } else { Err(InvalidId { what: "key", rule }) }
}

/// Checks a session's labels: at most 32, each key 1 to 64 of `A-Z a-z 0-9 . _ / -`, each value at most 256 bytes.
///
/// # Errors
/// The field `labels`, and the rule that is broken.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), InvalidId> {
    let rule = if labels.len() > LABELS_MAX {
        "at most 32"
    } else if !labels.keys().all(|key| is_text(key, b"._/-")) {
        "keys of 1 to 64 of A-Z a-z 0-9 . _ / -"
    } else if labels.values().any(|value| value.len() > LABEL_VALUE_BYTES_MAX) {
        "values of at most 256 bytes"
    } else {
        return Ok(());
    };
    Err(InvalidId { what: "labels", rule })
}

/// Checks the directory of a create: the daemon's own is no place to begin at.
///
/// # Errors
/// The field `cwd`, and its rule.
pub fn check_cwd(cwd: &Path) -> Result<(), InvalidId> {
    let has_nul = cwd.as_os_str().as_encoded_bytes().contains(&0);
    let rule = "an absolute path without NUL";
    if cwd.is_absolute() && !has_nul { Ok(()) } else { Err(InvalidId { what: "cwd", rule }) }
}

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
        let kept = name.get(..TEXT_BYTES_MAX - suffix.len()).unwrap_or(name);
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

fn is_text(text: &str, also: &[u8]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || also.contains(&byte);
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use super::*;

    fn field(result: Result<(), InvalidId>) -> Option<&'static str> {
        result.err().map(|error| error.what)
    }

    #[test]
    fn a_name_is_short_plain_and_no_id() {
        for good in ["a", "build", "Build_2.x-y", "_", "0", &"x".repeat(64), &"u".repeat(26), "quiet-heron"] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        let id = SessionId::from_parts(1_760_000_000_000, 42).to_string();
        for bad in ["", "-a", ".a", "a b", "a/b", "a:b", "ä", "a\0", &"x".repeat(65), &id, &id.to_lowercase()] {
            assert_eq!(field(check_name(bad)), Some("name"), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_short_and_plain() {
        for good in ["a", "-", ".", "run:7/build_1.x", &"x".repeat(64), "01JD0000000000000000000000"] {
            assert_eq!(check_key(good), Ok(()), "{good:?}");
        }
        for bad in ["", "a b", "a=b", "ä", &"x".repeat(65)] {
            assert_eq!(field(check_key(bad)), Some("key"), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_few_with_plain_keys_and_short_values() {
        let labels = |count: usize, value: &str| (0..count).map(|n| (format!("k/{n}"), value.to_owned())).collect();
        assert_eq!(check_labels(&labels(32, &"ä".repeat(128))), Ok(()));
        assert_eq!(check_labels(&labels(0, "")), Ok(()));
        assert_eq!(field(check_labels(&labels(33, ""))), Some("labels"));
        assert_eq!(field(check_labels(&labels(1, &"x".repeat(257)))), Some("labels"));
        for bad in ["", "a b", "a:b", &"x".repeat(65)] {
            let labels = BTreeMap::from([(bad.to_owned(), String::new())]);
            assert_eq!(field(check_labels(&labels)), Some("labels"), "{bad:?}");
        }
    }

    #[test]
    fn a_directory_is_absolute() {
        assert_eq!(check_cwd(Path::new("/src/ä b")), Ok(()));
        for bad in ["", "src", "./src", "~/src", "/a\0b"] {
            assert_eq!(field(check_cwd(Path::new(bad))), Some("cwd"), "{bad:?}");
        }
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
        assert_eq!(check_name(&long), Ok(()));
    }

    #[test]
    fn orphans_that_began_together_have_different_names() {
        let names = [1, 2].map(|random| of_orphan(SessionId::from_parts(1_760_000_000_000, random)));
        assert_eq!(names, ["orphan-00000001", "orphan-00000002"]);
        assert!(names.iter().all(|name| check_name(name).is_ok()));
    }
}
