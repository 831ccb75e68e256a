//! The screen as text.

use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};

use crate::draw::goes_on;

/// Which part of a model [`crate::Model::text`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The screen that is shown, row by row.
    Screen,
    /// History and the screen that is shown; a line that was wrapped is one line.
    All,
}

/// The characters of a screen, and where its cursor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Lines ended by `\n`, without blanks at their ends and without blank lines at the end.
    pub text: String,
    /// Columns of the screen.
    pub cols: u16,
    /// Rows of the screen.
    pub rows: u16,
    /// Column and row of the cursor, from 0.
    pub cursor: (u16, u16),
    /// Whether the alternate screen is shown.
    pub alternate: bool,
}

/// The last `lines_max` lines of `grid`, with its history if `all`.
pub(crate) fn lines(grid: &Grid<Cell>, all: bool, lines_max: Option<usize>) -> String {
    let first = if all { grid.topmost_line() } else { Line(0) };
    let mut lines = vec![String::new()];
    for row in (first.0..=grid.bottommost_line().0).map(Line) {
        let continues = all && row > first && goes_on(&grid[Line(row.0 - 1)]);
        if row > first && !continues {
            lines.push(String::new());
        }
        if let Some(last) = lines.last_mut() {
            push_row(grid, row, all, last);
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
    let from = lines.len().saturating_sub(lines_max.unwrap_or(usize::MAX));
    lines[from..].iter().flat_map(|line| [line, "\n"]).collect()
}

fn push_row(grid: &Grid<Cell>, row: Line, all: bool, line: &mut String) {
    let cols = grid.columns();
    let cells = &grid[row];
    // A wrapped row may end in a column too narrow for the wide character that follows.
    let left_over = all
        && goes_on(cells)
        && row < grid.bottommost_line()
        && cells[Column(cols - 1)].c == ' '
        && grid[Line(row.0 + 1)][Column(0)].flags.contains(Flags::WIDE_CHAR);
    for cell in cells.into_iter().take(cols - usize::from(left_over)) {
        if !cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
            line.push(cell.c);
            line.extend(cell.zerowidth().into_iter().flatten());
        }
    }
}
