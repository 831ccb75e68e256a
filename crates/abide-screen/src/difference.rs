//! In what two models differ: everything that a program's further output could bring to light.

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::color;
use alacritty_terminal::vte::ansi::{CharsetIndex, StandardCharset};

use crate::engine::{Engine, Own};
use crate::pen::Pen;

/// The first difference found, in words.
pub(crate) fn between(a: &Engine, b: &Engine) -> Option<String> {
    let size = |engine: &Engine| (engine.cols(), engine.rows());
    let colors = |engine: &Engine| (0..color::COUNT).map(|index| engine.term.colors()[index]).collect::<Vec<_>>();
    None.or_else(|| differ("size", &size(a), &size(b)))
        .or_else(|| differ("alternate screen", &a.alternate_shown(), &b.alternate_shown()))
        .or_else(|| grids("main", a.main_grid(), b.main_grid()))
        .or_else(|| grids("shown", a.grid(), b.grid()))
        .or_else(|| differ("cursor", &cursor(&a.grid().cursor), &cursor(&b.grid().cursor)))
        .or_else(|| differ("main saved cursor and keyboard", &own(&a.main), &own(&b.main)))
        .or_else(|| differ("alternate saved cursor and keyboard", &own(&a.alternate), &own(&b.alternate)))
        .or_else(|| differ("margins", &a.region, &b.region))
        .or_else(|| differ("tab stops", &a.tabs, &b.tabs))
        .or_else(|| differ("charset", &a.charset, &b.charset))
        .or_else(|| differ("engine modes", a.term.mode(), b.term.mode()))
        .or_else(|| differ("input modes", &a.input, &b.input))
        .or_else(|| differ("insert and newline mode", &(a.insert, a.newline), &(b.insert, b.newline)))
        .or_else(|| differ("cursor style", &a.cursor_style, &b.cursor_style))
        .or_else(|| differ("palette", &colors(a), &colors(b)))
        .or_else(|| differ("character to repeat", &a.last, &b.last))
        .or_else(|| differ("titles", &(&a.title, &a.titles), &(&b.title, &b.titles)))
}

pub(crate) fn differ<T: PartialEq + std::fmt::Debug>(what: &str, a: &T, b: &T) -> Option<String> {
    (a != b).then(|| format!("{what}: {a:?} and {b:?}"))
}

fn grids(name: &str, a: &Grid<Cell>, b: &Grid<Cell>) -> Option<String> {
    if a.history_size() != b.history_size() {
        return differ(&format!("{name} screen's lines of history"), &a.history_size(), &b.history_size());
    }
    (a.topmost_line().0..=a.bottommost_line().0).find_map(|row| {
        (0..a.columns()).find_map(|col| {
            let (one, other) = (&a[Line(row)][Column(col)], &b[Line(row)][Column(col)]);
            if same_cells(one, other) {
                return None;
            }
            Some(format!("{name} screen, row {row}, column {col}: {:?} and {:?}", cell(one), cell(other)))
        })
    })
}

fn same_cells(a: &Cell, b: &Cell) -> bool {
    a == b || cell(a) == cell(b)
}

fn cell(cell: &Cell) -> (char, &[char], Pen, Flags) {
    let place = Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER | Flags::WRAPLINE;
    (cell.c, cell.zerowidth().unwrap_or_default(), Pen::of(cell), cell.flags & place)
}

type Place = (i32, usize, bool, Pen, [StandardCharset; 4]);

fn cursor(cursor: &Cursor<Cell>) -> Place {
    let sets = [CharsetIndex::G0, CharsetIndex::G1, CharsetIndex::G2, CharsetIndex::G3];
    (
        cursor.point.line.0,
        cursor.point.column.0,
        cursor.input_needs_wrap,
        Pen::of(&cursor.template),
        sets.map(|index| cursor.charsets[index]),
    )
}

fn own(own: &Own) -> impl PartialEq + std::fmt::Debug + '_ {
    (cursor(&own.saved.cursor), own.saved.charset, own.saved.origin, &own.keyboard)
}
