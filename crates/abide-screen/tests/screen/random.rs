//! Random output: any control function with any parameters, and text of any width.

use proptest::prelude::*;
use proptest::strategy::Union;

/// What happens to a terminal.
#[derive(Clone)]
pub(crate) enum Happening {
    Output(Vec<u8>),
    Resize(u16, u16),
}

impl std::fmt::Debug for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Output(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::Resize(cols, rows) => write!(f, "<{cols}x{rows}>"),
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        12 => prop::char::range(' ', '~'),
        2 => Just('漢'),
        1 => Just('é'),
        1 => Just('\u{301}'),
        1 => Just('🙂'),
        1 => Just('\u{200d}'),
        1 => Just('ｗ'),
    ];
    prop::collection::vec(character, 1..40).prop_map(String::from_iter)
}

fn control() -> impl Strategy<Value = String> {
    const CONTROLS: &[&str] = &["\r\n", "\n", "\r", "\t", "\x08", "\x0e", "\x0f", "\x0b", "\x07", "\r\n\r\n", "\x18"];
    prop::sample::select(CONTROLS).prop_map(str::to_owned)
}

fn escape() -> impl Strategy<Value = String> {
    const ESCAPES: &[&str] = &[
        "7", "8", "D", "E", "H", "M", "c", "=", ">", "n", "o", "(0", ")0", "*0", "+0", "(B", ")B", "*B", "#8", "Z",
        "\\",
    ];
    prop::sample::select(ESCAPES).prop_map(|last| format!("\x1b{last}"))
}

fn number() -> impl Strategy<Value = u16> {
    prop_oneof![10 => 0_u16..14, 1 => 14_u16..400, 1 => Just(65535)]
}

fn csi() -> impl Strategy<Value = String> {
    let finals: Vec<char> = "@ABCDEFGHIJKLMPSTXZ`abdefgrsu".chars().collect();
    (prop::collection::vec(number(), 0..3), prop::sample::select(finals)).prop_map(|(params, last)| {
        let params: Vec<String> = params.iter().map(u16::to_string).collect();
        format!("\x1b[{}{last}", params.join(";"))
    })
}

fn sgr() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        8 => (0_u16..10).prop_map(|n| n.to_string()),
        4 => (21_u16..50).prop_filter("colours have parameters", |n| ![38, 48].contains(n)).prop_map(|n| n.to_string()),
        2 => (90_u16..108).prop_map(|n| n.to_string()),
        1 => (0_u16..6).prop_map(|n| format!("4:{n}")),
        1 => any::<u8>().prop_map(|n| format!("38;5;{n}")),
        1 => any::<(u8, u8, u8)>().prop_map(|(r, g, b)| format!("48;2;{r};{g};{b}")),
        1 => any::<(u8, u8, u8)>().prop_map(|(r, g, b)| format!("58:2::{r}:{g}:{b}")),
        1 => any::<u8>().prop_map(|n| format!("58;5;{n}")),
        1 => Just("59".to_owned()),
    ];
    prop::collection::vec(one, 0..4).prop_map(|all| format!("\x1b[{}m", all.join(";")))
}

fn mode() -> impl Strategy<Value = String> {
    const MODES: &[&str] = &[
        "?1", "?3", "?5", "?6", "?7", "?9", "?12", "?25", "?47", "?66", "?1000", "?1002", "?1003", "?1004", "?1005",
        "?1006", "?1007", "?1015", "?1016", "?1047", "?1048", "?1049", "?2004", "?2026", "?2031", "?2048", "4", "20",
        "?6;7", "?69",
    ];
    (prop::sample::select(MODES), prop::sample::select(&["h", "l"][..]))
        .prop_map(|(mode, on)| format!("\x1b[{mode}{on}"))
}

fn other() -> impl Strategy<Value = String> {
    const OTHERS: &[&str] = &[
        "\x1b]0;a title\x07",
        "\x1b]2;\x1b\\",
        "\x1b]2;tïtle; with parts\x1b\\",
        "\x1b]7;file://host/tmp/a%20b\x07",
        "\x1b]8;;http://example.org/;x\x1b\\",
        "\x1b]8;id=1;http://example.org\x07",
        "\x1b]8;;\x07",
        "\x1b]4;1;rgb:12/34/56\x07",
        "\x1b]10;#aabbcc\x07",
        "\x1b]11;rgb:0/8/f\x07",
        "\x1b]12;rgb:1234/5678/9abc\x07",
        "\x1b]104\x07",
        "\x1b]110\x07",
        "\x1b]52;c;YWJj\x07",
        "\x1bP+q544e\x1b\\",
        "\x1bPq#0;2;0;0;0~~\x1b\\",
        "\x1b_Ga=q;abc\x1b\\",
        "\x1bXignored\x1b\\",
        "\x1b[!p",
        "\x1b[22;2t",
        "\x1b[23;2t",
        "\x1b[>1u",
        "\x1b[>5u",
        "\x1b[<u",
        "\x1b[<2u",
        "\x1b[=3;2u",
        "\x1b[=1u",
        "\x1b[>4;2m",
        "\x1b[>4m",
        "\x1b[3g",
        "\x1b[?5W",
        "\x1b[ q",
        "\x1b[3 q",
        "\x1b[5 q",
        "\x1b[6n",
        "\x1b[c",
        "\x1b]50;CursorShape=1\x07",
        "\u{9b}31m",
        "\u{9d}0;c1\u{9c}",
        "\u{85}",
        "\x1b[5\n;1H",
        "\x1b[3\x1b[1m",
        "\x1b]0;cut\x1b[2J",
    ];
    prop::sample::select(OTHERS).prop_map(str::to_owned)
}

fn broken() -> impl Strategy<Value = Vec<u8>> {
    let broken: [&[u8]; 8] =
        [b"\xff", b"\xe2\x82", b"\xf0\x9f", b"\x9b", b"\xc2", b"\xe2\x82\x1b[m", b"\x1b[", b"\x1b]0;unfinished"];
    prop::sample::select(broken.map(<[u8]>::to_vec).to_vec())
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    let output = Union::new_weighted(vec![
        (20, text().prop_map(String::into_bytes).boxed()),
        (6, control().prop_map(String::into_bytes).boxed()),
        (5, escape().prop_map(String::into_bytes).boxed()),
        (15, csi().prop_map(String::into_bytes).boxed()),
        (6, sgr().prop_map(String::into_bytes).boxed()),
        (6, mode().prop_map(String::into_bytes).boxed()),
        (6, other().prop_map(String::into_bytes).boxed()),
        (1, broken().boxed()),
    ]);
    prop_oneof![
        30 => output.prop_map(Happening::Output),
        1 => (2_u16..24, 1_u16..12).prop_map(|(cols, rows)| Happening::Resize(cols, rows)),
    ]
}
