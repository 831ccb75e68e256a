//! The model says what a terminal would answer to DA1, DSR 5 and 6, XTVERSION and DECRQM, once each, and nothing else.

use abide_screen::{Model, Size};

fn answers(output: &[u8], step: usize) -> Vec<u8> {
    let mut model = Model::new(Size { cols: 80, rows: 24 }, 0);
    let mut all = Vec::new();
    for part in output.chunks(step) {
        model.feed(part).unwrap();
        all.extend(model.take_answers());
    }
    all
}

#[track_caller]
fn check(output: &[u8], answer: &[u8]) {
    for step in 1..=output.len() {
        let said = answers(output, step);
        assert_eq!(said.escape_ascii().to_string(), answer.escape_ascii().to_string(), "split at each {step}");
    }
}

#[test]
fn each_with_these_bytes() {
    check(b"\x1b[c", b"\x1b[?62;22c");
    check(b"\x1b[0c", b"\x1b[?62;22c");
    check(b"\x1bZ", b"\x1b[?62;22c");
    check(b"\x1b[5n", b"\x1b[0n");
    check(b"\x1b[6n", b"\x1b[1;1R");
    check(b"\x1b[7;9H\x1b[6n", b"\x1b[7;9R");
    check(b"\x1b[5;10r\x1b[?6h\x1b[2;3H\x1b[6n", b"\x1b[2;3R");
    check(b"\x1b[>q", b"\x1bP>|abide\x1b\\");
    check(b"\x1b[>0q", b"\x1bP>|abide\x1b\\");
    check(b"\x1b[?25$p", b"\x1b[?25;1$y");
    check(b"\x1b[?25l\x1b[?25$p", b"\x1b[?25;2$y");
    check(b"\x1b[?2026$p", b"\x1b[?2026;2$y");
    check(b"\x1b[?1049h\x1b[?1049$p", b"\x1b[?1049;1$y");
    check(b"\x1b[?1006h\x1b[?1006$p\x1b[?1005$p", b"\x1b[?1006;1$y\x1b[?1005;2$y");
    check(b"\x1b[?12345$p", b"\x1b[?12345;0$y");
    check(b"\x1b[4h\x1b[4$p\x1b[20$p\x1b[3$p", b"\x1b[4;1$y\x1b[20;2$y\x1b[3;0$y");
    check("text\u{9b}6nmore".as_bytes(), b"\x1b[1;5R");
}

#[test]
fn nothing_else() {
    let silent: [&[u8]; 24] = [
        b"\x1b[>c",
        b"\x1b[=c",
        b"\x1b[?6n",
        b"\x1b[?996n",
        b"\x1b[14t",
        b"\x1b[18t",
        b"\x1b[21t",
        b"\x1b[?u",
        b"\x1b[?4m",
        b"\x1b[x",
        b"\x1b[1$w",
        b"\x1b]4;1;?\x07",
        b"\x1b]10;?\x1b\\",
        b"\x1b]11;?\x07",
        b"\x1b]12;?\x07",
        b"\x1b]52;c;?\x07",
        b"\x1bP+q544e\x1b\\",
        b"\x1bP$qm\x1b\\",
        b"\x1b_Gi=1,a=q;AAAA\x1b\\",
        b"\x05",
        b"\x1b[1c",
        b"\x1b[7n",
        b"\x1b[>1q",
        b"\x1b[?1;1;1S",
    ];
    for query in silent {
        check(query, b"");
    }
}

#[test]
fn not_twice() {
    let mut model = Model::new(Size { cols: 80, rows: 24 }, 0);
    model.feed(b"\x1b[c\x1b[5n").unwrap();
    assert_eq!(model.take_answers(), b"\x1b[?62;22c\x1b[0n");
    assert_eq!(model.take_answers(), b"");
    // A snapshot asks nothing.
    let snapshot = model.snapshot(0);
    model.feed(&snapshot.bytes).unwrap();
    assert_eq!(model.take_answers(), b"");
}

#[test]
fn a_program_that_only_asks_is_not_answered_without_end() {
    let mut model = Model::new(Size { cols: 80, rows: 24 }, 0);
    for _ in 0..10_000 {
        model.feed(b"\x1b[6n").unwrap();
    }
    let answers = model.take_answers();
    assert_eq!(answers.len() % b"\x1b[1;1R".len(), 0, "answers are whole");
    assert!((4_000..=4_096).contains(&answers.len()), "{} bytes", answers.len());
}

#[test]
fn each_with_the_place_of_its_query() {
    let output = "ab\u{1b}[cxyz\u{1b}[6né\u{1b}]0;title\u{7}\u{1b}[?25$p\u{18}\u{1b}[5n tail".as_bytes();
    let ends = [&b"[c"[..], b"[6n", b"$p", b"[5n"].map(|end| {
        let at = output.windows(end.len()).position(|window| window == end).unwrap();
        (at + end.len()) as u64
    });
    for step in 1..=output.len() {
        let mut model = Model::new(Size { cols: 80, rows: 24 }, 0);
        let (mut fed, mut places, mut answers) = (0, Vec::new(), Vec::new());
        for part in output.chunks(step) {
            model.feed(part).unwrap();
            fed += part.len() as u64;
            for answer in model.take_answers_placed() {
                places.push(fed - answer.back);
                answers.push(answer.bytes);
            }
        }
        assert_eq!(places, ends, "split at each {step}");
        assert_eq!(answers, [&b"\x1b[?62;22c"[..], b"\x1b[1;6R", b"\x1b[?25;1$y", b"\x1b[0n"]);
    }
}
