//! Another size: the main screen is wrapped anew, the alternate one is cut, as its program draws it again anyway.

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};

use super::{Engine, Region, line};
use crate::Size;

impl Engine {
    pub(crate) fn resize(&mut self, size: Size) {
        if (size.columns(), size.screen_lines()) == (self.cols(), self.rows()) {
            return;
        }
        self.last = None;
        if let Some(main) = self.covered.take() {
            self.resize_both(main, size);
        } else {
            self.grid_mut().saved_cursor = self.main.saved.cursor.clone();
            self.resize_main(size);
            self.main.saved.cursor = self.grid().saved_cursor.clone();
            clamp(&mut self.alternate.saved.cursor, size);
        }
        clamp(&mut self.main.saved.cursor, size);
        clamp(&mut self.grid_mut().cursor, size);
        self.region = Region { top: 0, bottom: size.screen_lines() };
        let tabs = self.tabs.len();
        self.tabs.resize_with(size.columns(), || false);
        for col in tabs..self.tabs.len() {
            self.tabs[col] = col % super::TAB_INTERVAL == 0;
        }
        self.settle();
    }

    fn resize_both(&mut self, main: Grid<Cell>, size: Size) {
        let mut alternate = std::mem::replace(self.grid_mut(), main);
        self.resize_main(size);
        self.main.saved.cursor = self.grid().cursor.clone();
        alternate.saved_cursor = self.alternate.saved.cursor.clone();
        alternate.resize(false, size.screen_lines(), size.columns());
        self.alternate.saved.cursor = alternate.saved_cursor.clone();
        clamp(&mut self.alternate.saved.cursor, size);
        tidy(&mut alternate);
        self.covered = Some(std::mem::replace(self.grid_mut(), alternate));
        clamp(&mut self.main.saved.cursor, size);
        self.anchor_covered();
    }

    fn resize_main(&mut self, size: Size) {
        mark_left_over(self.grid_mut());
        self.term.resize(size);
        tidy(self.grid_mut());
    }
}

/// Marks the spaces that only fill a column too narrow for the wide character behind them: they vanish where it fits.
fn mark_left_over(grid: &mut Grid<Cell>) {
    let end = Column(grid.columns() - 1);
    for row in grid.topmost_line().0..grid.bottommost_line().0 {
        let wide = grid[Line(row + 1)][Column(0)].flags.contains(Flags::WIDE_CHAR);
        let cell = &mut grid[Line(row)][end];
        let is_space = cell.c == ' ' && !cell.flags.contains(Flags::WIDE_CHAR_SPACER);
        if wide && is_space && cell.flags.contains(Flags::WRAPLINE) {
            cell.flags.insert(Flags::LEADING_WIDE_CHAR_SPACER);
        }
    }
}

/// Leaves no mark, no half of a wide character, and no row that goes on before its end or behind the last row.
fn tidy(grid: &mut Grid<Cell>) {
    let (cols, last) = (grid.columns(), line(grid.screen_lines() - 1));
    for row in grid.topmost_line().0..=last.0 {
        let cells = &mut grid[Line(row)];
        for col in 0..cols {
            let at = Column(col);
            cells[at].flags.remove(Flags::LEADING_WIDE_CHAR_SPACER);
            if col + 1 < cols || Line(row) == last {
                cells[at].flags.remove(Flags::WRAPLINE);
            }
            let after_wide = col > 0 && cells[Column(col - 1)].flags.contains(Flags::WIDE_CHAR);
            if cells[at].flags.contains(Flags::WIDE_CHAR_SPACER) != after_wide {
                if after_wide {
                    cells[Column(col - 1)].clear_wide();
                }
                cells[at].flags.remove(Flags::WIDE_CHAR_SPACER);
            }
        }
        if cells[Column(cols - 1)].flags.contains(Flags::WIDE_CHAR) {
            cells[Column(cols - 1)].clear_wide();
        }
    }
}

/// Puts a cursor inside `size`; behind the last column it stays only if that is still the last.
fn clamp(cursor: &mut Cursor<Cell>, size: Size) {
    let last = size.columns() - 1;
    if cursor.input_needs_wrap && cursor.point.column.0 < last {
        cursor.input_needs_wrap = false;
        cursor.point.column += 1;
    }
    cursor.point.column = cursor.point.column.min(Column(last));
    cursor.point.line = cursor.point.line.clamp(Line(0), line(size.screen_lines() - 1));
}
