//! Fidelity: a snapshot makes of an empty terminal one that equals the model, now and whatever follows, wherever the
//! output was cut; and the snapshot of that one is the same, byte for byte.

use abide_screen::{Model, Size};
use proptest::prelude::*;

use crate::random::{Happening, happening};
use crate::{cases, recording};

const HISTORY_LINES: usize = 200;

fn model(size: Size) -> Model {
    Model::new(size, HISTORY_LINES)
}

fn happen_all(model: &mut Model, happenings: &[Happening]) {
    for happening in happenings {
        happen(model, happening);
    }
}

fn happen(model: &mut Model, happening: &Happening) {
    match happening {
        Happening::Output(bytes) => model.feed(bytes).unwrap(),
        Happening::Resize(cols, rows) => model.resize(*cols, *rows).unwrap(),
    }
}

/// Both promises at the present position; returns the terminal rebuilt.
fn check(model: &Model) -> Result<Model, String> {
    let mut again = self::model(model.size());
    let snapshot = model.snapshot(HISTORY_LINES);
    again.feed(&snapshot.bytes).unwrap();
    same(model, &again)?;
    let second = again.snapshot(HISTORY_LINES);
    if snapshot != second {
        return Err(format!("no fixpoint:\n{}\n{}", snapshot.bytes.escape_ascii(), second.bytes.escape_ascii()));
    }
    Ok(again)
}

fn same(a: &Model, b: &Model) -> Result<(), String> {
    a.difference(b).map_or(Ok(()), |difference| {
        Err(format!("{difference}\nsnapshot: {}", a.snapshot(HISTORY_LINES).bytes.escape_ascii()))
    })
}

#[test]
fn of_real_programs_at_every_byte_of_a_sample() {
    // Consecutive bytes of each output that are cuts, and from where to where the next such stretch is.
    let (stretch, apart) = if cases(0, 1) == 1 { (1, 1) } else { (40, 700) };
    let recordings = recording::all();
    assert!(recordings.len() >= 12, "only {} recordings", recordings.len());
    for recording in &recordings {
        let (mut cuts, mut ends) = (0, 0);
        let mut all = model(recording.size);
        for (at, happening) in recording.happenings.iter().enumerate() {
            let Happening::Output(bytes) = happening else {
                happen(&mut all, happening);
                check(&all).unwrap_or_else(|why| panic!("{} after a resize: {why}", recording.name));
                continue;
            };
            for (offset, byte) in bytes.iter().enumerate() {
                if offset % apart < stretch {
                    let mut again =
                        check(&all).unwrap_or_else(|why| panic!("{} at {at}/{offset}: {why}", recording.name));
                    cuts += 1;
                    if cuts % 50 == 1 {
                        ends += 1;
                        let mut whole = check(&all).unwrap();
                        for model in [&mut again, &mut whole] {
                            model.feed(&bytes[offset..]).unwrap();
                            happen_all(model, &recording.happenings[at + 1..]);
                        }
                        same(&whole, &again)
                            .unwrap_or_else(|why| panic!("{} from {at}/{offset}: {why}", recording.name));
                    }
                }
                all.feed(&[*byte]).unwrap();
            }
        }
        assert!(cuts >= 60 && ends >= 2, "{}: {cuts} cuts, {ends} compared at the end", recording.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(600, 20_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_random_output_cut_anywhere(
        (cols, rows) in (2_u16..24, 1_u16..12),
        before in prop::collection::vec(happening(), 1..60),
        cut in any::<prop::sample::Index>(),
        rest in prop::collection::vec(happening(), 0..12),
    ) {
        let mut all = model(Size { cols, rows });
        happen_all(&mut all, &before);
        let mut again = check(&all).map_err(TestCaseError::fail)?;
        for happening in &rest {
            let parts = match happening {
                Happening::Output(bytes) => {
                    let (one, other) = bytes.split_at(cut.index(bytes.len() + 1));
                    vec![Happening::Output(one.to_vec()), Happening::Output(other.to_vec())]
                }
                resize @ Happening::Resize(..) => vec![resize.clone()],
            };
            for part in parts {
                happen(&mut all, &part);
                happen(&mut again, &part);
                same(&all, &again).map_err(TestCaseError::fail)?;
                again = check(&all).map_err(TestCaseError::fail)?;
            }
        }
    }

    /// Titles, directory and the wheel's mode are what a snapshot leaves as they are where its model has none.
    #[test]
    fn on_a_terminal_in_any_state(
        (cols, rows) in (2_u16..24, 1_u16..12),
        here in prop::collection::vec(happening(), 1..30),
        there in prop::collection::vec(happening(), 1..30),
    ) {
        let mut model = Model::new(Size { cols, rows }, 0);
        happen_all(&mut model, &here);
        let size = model.size();
        let mut used = Model::new(size, 0);
        for happening in &there {
            if !matches!(happening, Happening::Output(bytes) if bytes.windows(5).any(|part| part == b"?1007")) {
                happen(&mut used, happening);
            }
        }
        used.resize(size.cols, size.rows).unwrap();
        used.feed(&model.snapshot(0).bytes).unwrap();
        if let Some(difference) = model.difference(&used) {
            let left = ["titles", "working directory"].iter().any(|left| difference.starts_with(left));
            prop_assert!(left, "{}\nsnapshot: {}", difference, model.snapshot(0).bytes.escape_ascii());
        }
    }

    #[test]
    fn however_its_output_was_split(
        happenings in prop::collection::vec(happening(), 1..40),
        splits in prop::collection::vec(1_usize..9, 1..20),
    ) {
        let size = Size { cols: 20, rows: 6 };
        let (mut whole, mut split) = (model(size), model(size));
        let output = |happening: &Happening| if let Happening::Output(bytes) = happening { bytes.clone() } else { Vec::new() };
        let bytes: Vec<u8> = happenings.iter().flat_map(output).collect();
        whole.feed(&bytes).unwrap();
        let mut rest = &bytes[..];
        for size in splits.iter().cycle() {
            let (part, later) = rest.split_at((*size).min(rest.len()));
            split.feed(part).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        same(&whole, &split).map_err(TestCaseError::fail)?;
        prop_assert_eq!(whole.take_answers(), split.take_answers());
    }
}

#[test]
fn with_as_much_history_as_asked_for() {
    let size = Size { cols: 10, rows: 3 };
    let mut all = model(size);
    for line in 0..50 {
        all.feed(format!("line {line}\r\n").as_bytes()).unwrap();
    }
    let mut again = model(size);
    again.feed(&all.snapshot(7).bytes).unwrap();
    let text = again.text(abide_screen::What::All, None).text;
    assert_eq!(text.lines().next(), Some("line 41"));
    assert_eq!(text.lines().count(), 7 + 2);
}

#[test]
fn within_so_many_bytes_by_leaving_out_older_history() {
    let size = Size { cols: 40, rows: 5 };
    let mut all = model(size);
    for line in 0..190 {
        all.feed(format!("\x1b[3{}mline {line} wraps, as it is longer than a row\r\n", line % 8).as_bytes()).unwrap();
    }
    let whole = all.snapshot(HISTORY_LINES).bytes.len();
    let least = all.snapshot(0).bytes.len();
    for bytes_max in (least + 60..whole).step_by(97) {
        let snapshot = all.snapshot_within(bytes_max);
        assert!(snapshot.bytes.len() <= bytes_max);
        assert!(snapshot.bytes.len() + 80 > bytes_max, "{} of {bytes_max} bytes", snapshot.bytes.len());
        let mut again = model(size);
        again.feed(&snapshot.bytes).unwrap();
        let (text, all) =
            (again.text(abide_screen::What::All, None).text, all.text(abide_screen::What::All, None).text);
        assert!(all.ends_with(&text));
    }
    assert_eq!(all.snapshot_within(whole), all.snapshot(HISTORY_LINES));
}

/// A screen checkpoint is at most 8 MiB; the screen comes without its attributes where they take more.
#[test]
fn within_eight_mebibytes_whatever_is_on_it() {
    let mut large = Model::new(Size { cols: 1_000, rows: 1_000 }, 100);
    let mut output = Vec::new();
    for cell in 0..1_000_000_u32 {
        output.extend_from_slice(format!("\x1b[38;2;{};{};{}m", cell & 0xff, cell >> 8 & 0xff, cell >> 16).as_bytes());
        output.extend_from_slice("\u{1d11e}".as_bytes());
    }
    large.feed(&output).unwrap();
    large.feed(b"\x1b[?47h").unwrap();
    large.feed(&output).unwrap();
    let snapshot = large.snapshot_within(8 << 20);
    assert!(snapshot.bytes.len() <= 8 << 20, "{} bytes", snapshot.bytes.len());
    let mut again = Model::new(large.size(), 100);
    again.feed(&snapshot.bytes).unwrap();
    assert_eq!(again.text(abide_screen::What::Screen, None), large.text(abide_screen::What::Screen, None));
}

#[test]
fn in_seven_bits_and_without_a_reset() {
    for recording in recording::all() {
        let mut model = model(recording.size);
        for happening in &recording.happenings {
            happen(&mut model, happening);
            let bytes = model.snapshot(HISTORY_LINES).bytes;
            let text = String::from_utf8(bytes).unwrap_or_else(|_| panic!("{}: characters are whole", recording.name));
            assert!(!text.contains("\x1bc"), "{}: no RIS", recording.name);
            assert!(
                !text.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c)),
                "{}: no eight-bit controls",
                recording.name
            );
        }
    }
}

#[test]
fn a_sequence_over_four_kibibytes_is_cut_and_has_no_effect() {
    let size = Size { cols: 20, rows: 3 };
    let long = [b"\x1b]0;", &[b'x'; 10_000][..], b"\x07after"].concat();
    for cut in [0, 3, 4_000, 4_095, 4_096, 4_097, 9_000, 10_004, 10_005, 10_008] {
        let mut all = model(size);
        all.feed(&long[..cut]).unwrap();
        let mut again = check(&all).unwrap();
        assert!(all.snapshot(0).bytes.len() < 4_096 + 1_000);
        for model in [&mut all, &mut again] {
            model.feed(&long[cut..]).unwrap();
        }
        same(&all, &again).unwrap();
        assert_eq!((all.title(), all.text(abide_screen::What::Screen, None).text.as_str()), (None, "after\n"));
    }
}
