//! A text that runs through screen and history is drawn from where it shows, and nothing tells the difference.

use abide_screen::{Model, Size};
use proptest::prelude::*;

use crate::cases;
use crate::random::{Happening, happening};

const HISTORY_LINES: usize = 7;

/// Lines as programs print them, some of them with what must not be left out.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => "[ -~]{0,20}\r\n",
        10 => "[0-9]{1,3}\r\n",
        4 => "[a-z]{0,5}\t[a-z]{0,5}\x08\x08x\r\n",
        4 => "[a-z漢🙂é]{1,30}\r\n",
        3 => "[a-z]{1,9}\n",
        2 => "\u{301}?[a-z]{0,3}\r",
        1 => prop::sample::select(vec!["\x0e\r\n", "\x0f\r\n", "\x05", "\u{9b}1m\r\n", "\x0c", "\x07"])
            .prop_map(str::to_owned),
        1 => prop::char::range('\u{80}', '\u{9f}').prop_map(|control| format!("{control}\r\n")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(2_000, 100_000)))]

    #[test]
    fn and_nothing_tells_the_difference(
        before in prop::collection::vec(happening(), 0..12),
        lines in prop::collection::vec(line(), 0..160),
        repeated in 1_usize..4,
        margins in prop::bool::weighted(0.2),
        bare in prop::bool::weighted(0.2),
        after in prop::collection::vec(happening(), 0..6),
    ) {
        let size = Size { cols: 12, rows: 4 };
        let (mut at_once, mut in_pieces) = (Model::new(size, HISTORY_LINES), Model::new(size, HISTORY_LINES));
        let feed = |model: &mut Model, happening: &Happening| match happening {
            Happening::Output(bytes) => model.feed(bytes).unwrap(),
            // Few rows: what is long is a matter of them.
            Happening::Resize(cols, rows) => model.resize(*cols, rows % 8).unwrap(),
        };
        for happening in &before {
            feed(&mut at_once, happening);
            feed(&mut in_pieces, happening);
        }
        let lines = lines.concat().repeat(repeated);
        // Without a return each line goes on in the column of the one before.
        let lines = if bare { lines.replace('\r', "") } else { lines };
        let text = if margins { format!("\x1b[2;3r{lines}") } else { lines };
        at_once.feed(text.as_bytes()).unwrap();
        for piece in text.as_bytes().chunks(7) {
            in_pieces.feed(piece).unwrap();
        }
        prop_assert_eq!(at_once.difference(&in_pieces), None);
        prop_assert_eq!(at_once.take_answers(), in_pieces.take_answers());
        for happening in &after {
            feed(&mut at_once, happening);
            feed(&mut in_pieces, happening);
        }
        prop_assert_eq!(at_once.difference(&in_pieces), None);
        prop_assert_eq!(at_once.snapshot(HISTORY_LINES), in_pieces.snapshot(HISTORY_LINES));
    }
}
