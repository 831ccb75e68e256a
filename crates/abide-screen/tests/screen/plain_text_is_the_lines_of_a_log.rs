//! Output as lines: without control sequences, as it stood at the end, whatever the reads cut.

use abide_screen::{Piece, Plain};
use proptest::prelude::*;

use crate::random::{Happening, happening};
use crate::{cases, recording};

fn pieces<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Piece, String)> {
    let mut pieces = Vec::new();
    let mut plain = Plain::default();
    for chunk in chunks {
        plain.feed(chunk, &mut |piece, text| pieces.push((piece, text.to_owned())));
    }
    plain.finish(&mut |piece, text| pieces.push((piece, text.to_owned())));
    pieces
}

/// What is printed of a log.
fn log(output: &[u8]) -> String {
    let printed = pieces([output]).into_iter().map(|(piece, text)| match piece {
        Piece::Line => text + "\n",
        Piece::Part => text,
        Piece::Overwritten => String::new(),
    });
    printed.collect()
}

fn overwritten(output: &[u8]) -> Vec<String> {
    let pieces = pieces([output]).into_iter();
    pieces.filter(|(piece, _)| *piece == Piece::Overwritten).map(|(_, text)| text).collect()
}

#[test]
fn sequences_and_controls_are_left_out() {
    let output = b"\x1b[1;31merror\x1b[0m\x07: \x1b]8;;http://example.org\x1b\\here\x1b]8;;\x07\x1b(B\ttab\x0e\r\n\
        \x1b]0;title\x07next\x1bP+q544e\x1b\\\x1b_Gabc\x1b\\ \xc2\x9b32mline\n";
    assert_eq!(log(output), "error: here\ttab\nnext line\n");
    let long = [b"a\x1b]52;c;".as_slice(), &[b'x'; 10_000], b"\x07b\n"].concat();
    assert_eq!(log(&long), "ab\n", "sequences of any length");
}

#[test]
fn a_line_is_what_it_was_in_the_end() {
    assert_eq!(log(b"  1 %\r 50 %\r100 %\r\ndone\r\n"), "100 %\ndone\n");
    assert_eq!(log(b"long progress\rshort\n"), "shortprogress\n", "as on a terminal");
    assert_eq!(log(b"long progress\r\x1b[Kshort\n"), "short\n");
    assert_eq!(log(b"Building 3/9\r\x1b[K Compiling a\nBuilding 4/9\r\x1b[2KDone\n"), " Compiling a\nDone\n");
    assert_eq!(log(b"mistake\x08 \x08\x08 \x08k\n"), "mistak\n");
    assert_eq!(log(b"lx\x08 \x08s\r\n"), "ls\n", "a rubbed out letter");
    assert_eq!(log(b"|\x08/\x08-\x08 \x08ready\n"), "ready\n");
    assert_eq!(log(b"\x08\x08a\x08\x08\x08b\n"), "b\n", "not before the begin");
    assert_eq!(log(b"abcdef\x08\x08\x08\x1b[1Kx\n"), "   xef\n");
    assert_eq!(log(b"blanks at the end   \r\n\r\n"), "blanks at the end\n\n");
}

#[test]
fn rows_are_not_joined() {
    assert_eq!(log(b"\x1b[H\x1b[2Jone\x1b[2;1Htwo\x1b[1Athree\x1b[Efour\x1bDfive\n"), "one\ntwo\nthree\nfour\nfive\n");
    assert_eq!(log(b"a\x0bb\x0cc\n"), "a\nb\nc\n");
    assert_eq!(log(b"a\x1b[?1049hb\x1b[31Cc\n"), "abc\n", "what leaves the row alone ends no line");
}

#[test]
fn what_was_written_over_is_told_apart() {
    assert_eq!(overwritten(b" 50 %\r100 %\rdone \r\n"), [" 50 %", "100 %"]);
    assert_eq!(overwritten(b"50 %\r\x1b[K\rdone\r\n"), ["50 %"]);
    assert_eq!(overwritten(b"one\r\ntwo\r\r\n"), [""; 0], "an end of a line overwrites nothing");
    assert_eq!(overwritten(b"a whole line\rab\rabc\n"), ["a whole line", "ab"], "no more than was written");
}

#[test]
fn characters_that_are_cut_are_joined_and_broken_ones_are_named() {
    let output = "déjà vu · 漢字 🙂\n".as_bytes();
    for at in 0..output.len() {
        let (before, behind) = output.split_at(at);
        assert_eq!(pieces([before, behind]), [(Piece::Line, "déjà vu · 漢字 🙂".to_owned())]);
    }
    assert_eq!(log(b"a\xff\xe2\x82b\x80\n"), "a\u{fffd}\u{fffd}b\u{fffd}\n");
    assert_eq!(log(b"a\xe2\x82"), "a\u{fffd}");
}

#[test]
fn an_unfinished_line_can_be_seen() {
    let mut plain = Plain::default();
    plain.feed(b"one\r\n\x1b[1mpass", &mut |_, _| {});
    plain.feed(b"word: \x1b[", &mut |_, _| {});
    assert_eq!(plain.unfinished(), "password: ");
    let mut rest = Vec::new();
    plain.finish(&mut |piece, text| rest.push((piece, text.to_owned())));
    assert_eq!(rest, [(Piece::Part, "password: ".to_owned())]);
    assert_eq!(pieces([&b"one\r\n"[..]]).len(), 1, "a line that has ended leaves nothing");
}

#[test]
fn a_line_without_end_is_told_in_parts() {
    let chunk = [b'x'; 1000];
    let told = pieces(std::iter::repeat_n(&chunk[..], 200));
    let lengths: Vec<(Piece, usize)> = told.iter().map(|(piece, text)| (*piece, text.len())).collect();
    assert_eq!(lengths, [(Piece::Part, 65_536), (Piece::Part, 65_536), (Piece::Part, 65_536), (Piece::Part, 3_392)]);
    assert_eq!(log(&vec![b'x'; 65_536]), "x".repeat(65_536));
}

#[test]
fn recordings_have_the_lines_that_were_printed() {
    let recordings = recording::all();
    let recorded = |name: &str| {
        let found = recordings.iter().find(|recording| recording.name == name).unwrap();
        let output = found.happenings.iter().filter_map(|happening| match happening {
            Happening::Output(bytes) => Some(bytes.as_slice()),
            Happening::Resize(..) => None,
        });
        log(&output.collect::<Vec<_>>().concat())
    };
    for recording in &recordings {
        let text = recorded(&recording.name);
        let bad = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(bad, None, "{}", recording.name);
    }
    assert!(recorded("shell").contains("$ ls"), "{}", recorded("shell"));
    assert!(recordings.len() >= 12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500, 20_000)))]

    #[test]
    fn cuts_change_nothing(happenings in prop::collection::vec(happening(), 1..40), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let output: Vec<u8> = happenings.into_iter().flat_map(|happening| match happening {
            Happening::Output(bytes) => bytes,
            Happening::Resize(..) => Vec::new(),
        }).collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (output.len() + 1)).collect();
        at.sort_unstable();
        let begins = std::iter::once(0).chain(at.iter().copied());
        let ends = at.iter().copied().chain([output.len()]);
        let cut = pieces(begins.zip(ends).map(|(begin, end)| &output[begin..end]));
        prop_assert_eq!(&cut, &pieces([&output[..]]));
        let told: usize = cut.iter().map(|(_, text)| text.len()).sum();
        prop_assert!(told <= 2 * 3 * output.len(), "{} of {}", told, output.len());
    }
}
