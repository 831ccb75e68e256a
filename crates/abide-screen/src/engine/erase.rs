//! Erasing, inserting and deleting: what is cut in two loses both halves, as in every terminal a user may have.

use alacritty_terminal::index::Column;
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::vte::ansi::{ClearMode, Handler, LineClearMode};

use super::{Engine, line};

impl Engine {
    /// Blanks a wide character that reaches over the border before column `col` of the cursor's row.
    fn cut(&mut self, col: usize) {
        let row = line(self.row());
        let wide = |cells: &Self, col| cells.grid()[row][Column(col)].flags.contains(Flags::WIDE_CHAR);
        if col > 0 && col < self.cols() && wide(self, col - 1) {
            let cells = &mut self.grid_mut()[row];
            cells[Column(col - 1)].clear_wide();
            cells[Column(col)].flags.remove(Flags::WIDE_CHAR_SPACER);
        }
    }

    /// The cursor's row goes on nowhere.
    fn end_row(&mut self) {
        let (row, end) = (line(self.row()), Column(self.cols() - 1));
        self.grid_mut()[row][end].flags.remove(Flags::WRAPLINE);
    }

    pub(super) fn insert_blank(&mut self, count: usize) {
        let count = count.min(self.cols() - self.col());
        self.cut(self.col());
        self.cut(self.cols() - count);
        self.end_row();
        self.term.insert_blank(count);
    }

    pub(super) fn delete_chars(&mut self, count: usize) {
        let count = count.min(self.cols() - self.col());
        self.cut(self.col());
        self.cut(self.col() + count);
        self.end_row();
        self.term.delete_chars(count);
    }

    pub(super) fn erase_chars(&mut self, count: usize) {
        self.cut(self.col());
        self.cut(self.col().saturating_add(count));
        self.term.erase_chars(count);
    }

    pub(super) fn clear_line(&mut self, mode: LineClearMode) {
        match mode {
            LineClearMode::Right if self.grid().cursor.input_needs_wrap => return,
            LineClearMode::Right => self.cut(self.col()),
            LineClearMode::Left => self.cut(self.col() + 1),
            LineClearMode::All => {}
        }
        self.term.clear_line(mode);
    }

    pub(super) fn clear_screen(&mut self, mode: ClearMode) {
        match mode {
            ClearMode::Below => {
                self.cut(self.col());
                self.term.clear_screen(mode);
            }
            ClearMode::Above => {
                self.clear_line(LineClearMode::Left);
                let row = line(self.row());
                self.grid_mut().reset_region(..row);
            }
            // Erased where it is, as xterm does: it is not history.
            ClearMode::All => self.grid_mut().reset_region(..),
            ClearMode::Saved => self.term.clear_screen(mode),
        }
    }

    pub(super) fn insert_lines(&mut self, count: usize) {
        if self.in_region() {
            self.term.insert_blank_lines(count);
            self.term.carriage_return();
            self.end_last_row();
        }
    }

    pub(super) fn delete_lines(&mut self, count: usize) {
        if !self.in_region() {
            return;
        }
        if self.row() > 0 {
            self.term.delete_lines(count);
        } else {
            self.delete_first_lines(count.min(self.region.bottom));
        }
        self.term.carriage_return();
    }

    /// Deleted lines are gone; the engine would make history of those at the top.
    fn delete_first_lines(&mut self, count: usize) {
        let bottom = self.region.bottom;
        let grid = self.grid_mut();
        for row in 0..bottom - count {
            let deleted = std::mem::take(&mut grid[line(row)]);
            grid[line(row)] = std::mem::replace(&mut grid[line(row + count)], deleted);
        }
        grid.reset_region(line(bottom - count)..line(bottom));
    }

    fn in_region(&self) -> bool {
        (self.region.top..self.region.bottom).contains(&self.row())
    }
}
