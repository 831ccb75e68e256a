//! Draws rows of cells with the codes of a terminal of the same size.

use std::io::Write;

use alacritty_terminal::grid::{Cursor, Dimensions, Grid, Row};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};

use crate::pen::Pen;

/// Blanks in a row from which on moving the cursor is shorter than writing them.
const MOVE_FROM: usize = 5;

#[derive(Default)]
pub(crate) struct Drawing {
    pub(crate) out: Vec<u8>,
    pen: Pen,
    /// Draw characters alone: for a screen that would be too large otherwise.
    pub(crate) plain: bool,
}

impl Drawing {
    pub(crate) fn put(&mut self, codes: &str) {
        self.out.extend_from_slice(codes.as_bytes());
    }

    pub(crate) fn pen(&mut self, pen: Pen) {
        if !self.plain {
            pen.write(&self.pen, &mut self.out);
            self.pen = pen;
        }
    }

    /// Row and column count from 0.
    pub(crate) fn go(&mut self, row: usize, col: usize) {
        let _ = write!(self.out, "\x1b[{};{}H", row + 1, col + 1);
    }

    /// Draws `grid` from row `first` (negative: history) on a cleared screen with the cursor at its top. `starts` gets
    /// for each row up to the screen's first that does not continue another the place where it begins.
    pub(crate) fn rows(&mut self, grid: &Grid<Cell>, first: Line, starts: &mut Vec<(usize, Line)>) {
        let bottom = grid.bottommost_line();
        let last = if first < Line(0) { bottom } else { last_used(grid, first) };
        let mut continues = false;
        for row in (first.0..=last.0).map(Line) {
            if !continues && row <= Line(0) {
                starts.push((self.out.len(), row));
            }
            let wraps = goes_on(&grid[row]) && row < bottom;
            self.row(&grid[row], wraps, continues);
            if !wraps && row < last {
                self.new_line();
            }
            continues = wraps;
        }
        self.pen(Pen::default());
    }

    /// Draws the rows behind `row` that continue it; the cursor stands behind its last column.
    fn continuation(&mut self, grid: &Grid<Cell>, mut row: Line) {
        while goes_on(&grid[row]) && row < grid.bottommost_line() {
            row += 1;
            self.row(&grid[row], goes_on(&grid[row]) && row < grid.bottommost_line(), true);
        }
    }

    fn new_line(&mut self) {
        // A row that scrolls in takes the colour of the pen.
        if self.pen.colours_blanks() {
            self.pen(Pen::default());
        }
        self.put("\r\n");
    }

    /// Everything in a row is relative to what stands before it: a terminal that takes clusters for narrower or wider
    /// than the model shows what it would have shown of the program's own output.
    fn row(&mut self, cells: &Row<Cell>, wraps: bool, continues: bool) {
        let mut end = if wraps { cells.len() } else { used(cells) };
        if continues {
            end = end.max(1);
            if Pen::of(&cells[Column(0)]).colours_blanks() {
                self.pen(Pen::default());
                self.put(" \r");
            }
        }
        let mut blanks = 0;
        for col in 0..end {
            let cell = &cells[Column(col)];
            if cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
                continue;
            }
            let must = (continues && col == 0) || col + 1 == end;
            if is_blank(cell) && !must {
                blanks += 1;
                continue;
            }
            self.blanks(std::mem::take(&mut blanks));
            self.cell(cell);
        }
    }

    fn blanks(&mut self, count: usize) {
        if count >= MOVE_FROM {
            let _ = write!(self.out, "\x1b[{count}C");
        } else if count > 0 {
            self.pen(Pen::default());
            self.out.resize(self.out.len() + count, b' ');
        }
    }

    pub(crate) fn cell(&mut self, cell: &Cell) {
        self.pen(Pen::of(cell));
        let marks = cell.zerowidth().filter(|_| !self.plain).unwrap_or_default();
        for c in std::iter::once(&cell.c).chain(marks) {
            self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// Puts the terminal's cursor where `cursor` is, with the margins at the borders of the screen or `top` rows above.
    /// A cursor behind the last column gets there by writing that column again.
    pub(crate) fn place(&mut self, grid: &Grid<Cell>, cursor: &Cursor<Cell>, top: usize) {
        let (row, mut col) = (cursor.point.line, cursor.point.column);
        let cells = &grid[row];
        if cursor.input_needs_wrap && cells[col].flags.contains(Flags::WIDE_CHAR_SPACER) {
            col -= 1;
        }
        self.go(usize::try_from(row.0).unwrap_or(0).saturating_sub(top), col.0);
        if cursor.input_needs_wrap {
            self.cell(&cells[col]);
        }
    }

    /// Mends what [`Self::place`] did to a row that goes on in the next one.
    pub(crate) fn mend(&mut self, grid: &Grid<Cell>, cursor: &Cursor<Cell>) {
        if cursor.input_needs_wrap {
            self.continuation(grid, cursor.point.line);
            self.pen(Pen::default());
        }
    }
}

pub(crate) fn goes_on(cells: &Row<Cell>) -> bool {
    cells.last().is_some_and(|cell| cell.flags.contains(Flags::WRAPLINE))
}

/// Columns up to the last that is not blank.
fn used(cells: &Row<Cell>) -> usize {
    cells.into_iter().rposition(|cell| !is_blank(cell)).map_or(0, |last| last + 1)
}

/// The last row that must be drawn, be it to make the one before it go on.
fn last_used(grid: &Grid<Cell>, first: Line) -> Line {
    let bottom = grid.bottommost_line().0;
    let is_used = |row: &i32| used(&grid[Line(*row)]) > 0 || goes_on(&grid[Line(*row)]);
    let last = (first.0..=bottom).rev().find(is_used).unwrap_or(first.0);
    Line(if goes_on(&grid[Line(last)]) { last + 1 } else { last }.min(bottom))
}

fn is_blank(cell: &Cell) -> bool {
    cell.c == ' '
        && !cell.flags.contains(Flags::WIDE_CHAR_SPACER)
        && cell.zerowidth().is_none_or(<[char]>::is_empty)
        && Pen::of(cell) == Pen::default()
}
