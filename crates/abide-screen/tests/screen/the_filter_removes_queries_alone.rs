//! The filter removes what a terminal would answer, for observers access to the clipboard too, and not a byte more.

use abide_screen::QueryFilter;
use proptest::prelude::*;

use crate::cases;
use crate::random::{Happening, happening};

fn filtered(new: fn() -> QueryFilter, output: &[u8], step: usize) -> Vec<u8> {
    let (mut filter, mut out) = (new(), Vec::new());
    for part in output.chunks(step) {
        filter.filter(part, &mut out);
    }
    filter.finish(&mut out);
    out
}

#[track_caller]
fn check(new: fn() -> QueryFilter, output: &[u8], expected: &[u8]) {
    for step in 1..=output.len() {
        let out = filtered(new, output, step);
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "split at each {step}");
    }
}

const QUERIES: [&[u8]; 34] = [
    b"\x1b[\xc2\x9d0c",
    b"\x1b[c",
    b"\x1b[0c",
    b"\x1b[>c",
    b"\x1b[=c",
    b"\x1b[5n",
    b"\x1b[6n",
    b"\x1b[?6n",
    b"\x1b[?996n",
    b"\x1b[>q",
    b"\x1b[>0q",
    b"\x1b[?25$p",
    b"\x1b[4$p",
    b"\x1b[?u",
    b"\x1b[?4m",
    b"\x1b[14t",
    b"\x1b[18t",
    b"\x1b[21t",
    b"\x1b[x",
    b"\x1b[?1;1;0S",
    b"\x1b[1$w",
    b"\x1bZ",
    b"\x1b]4;1;?\x07",
    b"\x1b]4;1;?;2;?\x1b\\",
    b"\x1b]10;?\x1b\\",
    b"\x1b]11;?\x07",
    b"\x1b]12;?\x07",
    b"\x1b]10;?;?\x07",
    b"\x1b]52;c;?\x07",
    b"\x1bP+q544e\x1b\\",
    b"\x1bP$qm\x1b\\",
    b"\x1b_Gi=1,a=q;AAAA\x1b\\",
    b"\xc2\x9b6n",
    b"\xc2\x9d11;?\xc2\x9c",
];

const KEPT: [&[u8]; 24] = [
    b"\x1b[1;31m",
    b"\x1b[m",
    b"\x1b[2J",
    b"\x1b[?25l",
    b"\x1b[>1u",
    b"\x1b[<u",
    b"\x1b[=1;1u",
    b"\x1b[u",
    b"\x1b[22;2t",
    b"\x1b[8;24;80t",
    b"\x1b[2 q",
    b"\x1b[!p",
    b"\x1b7",
    b"\x1b(0",
    b"\x1b]0;title?\x07",
    b"\x1b]8;;http://x/?\x1b\\",
    b"\x1b]4;1;#ffffff\x07",
    b"\x1b]10;#ffffff\x1b\\",
    b"\x1bPq#0~\x1b\\",
    b"\x1b_Ga=T;AAAA\x1b\\",
    b"\x1b[>4;2m",
    b"\x18",
    b"\x1b]7;file://h/?\x07",
    b"\x1b[1;5r",
];

#[test]
fn every_query_of_the_list() {
    for new in [QueryFilter::owner, QueryFilter::observer] {
        for query in QUERIES {
            check(new, &[b"before", query, b"after"].concat(), b"beforeafter");
            check(new, &[query, query].concat(), b"");
        }
    }
}

#[test]
fn nothing_of_these() {
    for new in [QueryFilter::owner, QueryFilter::observer] {
        for kept in KEPT {
            let output = [b"before", kept, "after é漢".as_bytes()].concat();
            check(new, &output, &output);
        }
    }
}

#[test]
fn the_clipboard_for_observers_only() {
    let long = [&b"a\x1b]52;c;"[..], &b"Q".repeat(20_000)[..], b"\x1b\\b"].concat();
    for (output, without) in [(&b"a\x1b]52;c;YWJj\x07b"[..], b"ab"), (b"a\x1b]52;;YWJj\x1b\\b", b"ab"), (&long, b"ab")]
    {
        for step in [1, 2, 7, 4_096, output.len()] {
            assert_eq!(filtered(QueryFilter::observer, output, step), without);
            assert_eq!(filtered(QueryFilter::owner, output, step), output);
        }
    }
}

#[test]
fn what_a_query_sets_besides_is_still_set() {
    check(QueryFilter::owner, b"\x1b]4;1;?;2;#abcdef\x07", b"\x1b]4;2;#abcdef\x1b\\");
    check(QueryFilter::owner, b"\x1b]10;?;#abcdef\x07", b"\x1b]11;#abcdef\x1b\\");
    check(QueryFilter::owner, b"\x1b[\n6\rn", b"\n\r");
}

#[test]
fn what_is_cut_is_passed_on_when_the_terminal_answers() {
    for query in QUERIES {
        for cut in 1..query.len() {
            let (mut filter, mut out) = (QueryFilter::owner(), Vec::new());
            filter.filter(&query[..cut], &mut out);
            filter.finish(&mut out);
            assert_eq!(out, &query[..cut]);
        }
    }
}

#[test]
fn what_can_be_no_query_is_passed_on_at_once() {
    for begin in [&b"\x1b]0;tit"[..], b"\x1bPq#0;2", b"\x1b]8;;http", b"\x1b_Ga=T;AAAA", b"text", "é".as_bytes()] {
        let mut out = Vec::new();
        QueryFilter::observer().filter(begin, &mut out);
        assert_eq!(out, begin);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(500, 20_000), failure_persistence: None, ..ProptestConfig::default() })]

    /// Between whole sequences that are kept, exactly the queries are missing.
    #[test]
    fn among_others(pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..3), 0..30), step in 1_usize..20) {
        let (mut output, mut expected) = (Vec::new(), Vec::new());
        for (index, which) in pieces {
            let piece = match which {
                0 => QUERIES[index.index(QUERIES.len())],
                1 => KEPT[index.index(KEPT.len())],
                _ => "text é漢\r\n".as_bytes(),
            };
            output.extend_from_slice(piece);
            if which > 0 {
                expected.extend_from_slice(piece);
            }
        }
        prop_assert_eq!(filtered(QueryFilter::owner, &output, step), expected);
    }

    /// What a model makes of output is the same with and without its queries, and then it answers nothing.
    #[test]
    fn and_the_screen_stays_the_same(happenings in prop::collection::vec(happening(), 1..40), step in 1_usize..20) {
        let output = |happening: &Happening| if let Happening::Output(bytes) = happening { bytes.clone() } else { Vec::new() };
        // REP repeats what stands right before it, which would be another thing.
        let repeats = |output: &Vec<u8>| output.starts_with(b"\x1b[") && output.ends_with(b"b");
        let output: Vec<u8> = happenings.iter().map(output).filter(|output| !repeats(output)).flatten().collect();
        let without = filtered(QueryFilter::observer, &output, step);
        let size = abide_screen::Size { cols: 20, rows: 6 };
        let (mut one, mut other) = (abide_screen::Model::new(size, 50), abide_screen::Model::new(size, 50));
        one.feed(&output).unwrap();
        other.feed(&without).unwrap();
        prop_assert_eq!(other.take_answers(), b"");
        let difference = one.difference(&other).filter(|what| !what.starts_with("character to repeat"));
        prop_assert_eq!(difference, None);
    }
}
