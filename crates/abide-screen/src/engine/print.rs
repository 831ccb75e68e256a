//! Characters and where they go.

use alacritty_terminal::index::Column;
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::vte::ansi::{Handler, StandardCharset};

use super::{COMBINING_MAX, Engine, line};

impl Engine {
    /// Prints `text`, all of it from space to tilde, row by row: most output is this.
    pub(crate) fn print_ascii(&mut self, mut text: &[u8]) {
        let ascii = self.grid().cursor.charsets[self.charset] == StandardCharset::Ascii;
        if self.insert || !ascii || !self.term.mode().contains(TermMode::LINE_WRAP) {
            for &byte in text {
                self.input(char::from(byte));
            }
            return;
        }
        self.last = text.last().map(|&byte| char::from(byte));
        while !text.is_empty() {
            if self.grid().cursor.input_needs_wrap {
                self.wrap();
            }
            let room = self.cols() - self.col();
            let (now, later) = text.split_at(room.min(text.len()));
            if !self.overwrite(now) {
                for &byte in now {
                    self.term.input(char::from(byte));
                }
            }
            text = later;
        }
        self.printed();
    }

    /// Prints `text`, which fits into the row, unless wide characters are in its way.
    fn overwrite(&mut self, text: &[u8]) -> bool {
        let (cols, from) = (self.cols(), self.col());
        let grid = self.grid_mut();
        let template = grid.cursor.template.clone();
        let (row, to) = (grid.cursor.point.line, from + text.len());
        let cells = &mut grid[row][Column(from)..Column(to)];
        if cells.iter().any(|cell| cell.flags.intersects(Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER)) {
            return false;
        }
        for (cell, &byte) in cells.iter_mut().zip(text) {
            cell.c = char::from(byte);
            cell.fg = template.fg;
            cell.bg = template.bg;
            cell.flags = template.flags;
            if cell.extra.is_some() || template.extra.is_some() {
                cell.extra.clone_from(&template.extra);
            }
        }
        grid.cursor.input_needs_wrap = to == cols;
        grid.cursor.point.column = Column(to.min(cols - 1));
        true
    }

    pub(super) fn combine(&mut self, c: char) {
        let cursor = &self.grid().cursor;
        let (row, mut col) = (cursor.point.line, cursor.point.column);
        if !cursor.input_needs_wrap {
            col.0 = col.0.saturating_sub(1);
        }
        if self.grid()[row][col].flags.contains(Flags::WIDE_CHAR_SPACER) {
            col.0 = col.0.saturating_sub(1);
        }
        if self.grid()[row][col].zerowidth().is_none_or(|marks| marks.len() < COMBINING_MAX) {
            self.grid_mut()[row][col].push_zerowidth(c);
        }
    }

    pub(super) fn print(&mut self, c: char, width: usize) {
        let wraps = self.term.mode().contains(TermMode::LINE_WRAP);
        if width == 2 && self.col() + 1 == self.cols() {
            if !wraps {
                self.grid_mut().cursor.input_needs_wrap = true;
                return self.settle();
            }
            if !self.grid().cursor.input_needs_wrap {
                // An ordinary space fills the column that is left over.
                self.term.input(' ');
            }
        }
        if self.insert {
            if self.grid().cursor.input_needs_wrap && wraps {
                self.wrap();
            }
            if self.col() + width < self.cols() {
                self.insert_blank(width);
            }
        }
        self.term.input(c);
        // As it is shown: a charset maps nothing to what it maps further.
        self.last = Some(self.grid().cursor.charsets[self.charset].map(c));
    }

    fn wrap(&mut self) {
        let (point, bottom) = (self.grid().cursor.point, line(self.region.bottom));
        self.grid_mut()[point].flags.insert(Flags::WRAPLINE);
        if point.line + 1 >= bottom {
            self.term.linefeed();
        } else {
            self.grid_mut().cursor.point.line += 1;
        }
        self.term.carriage_return();
    }

    /// What is to be right after characters were printed: on a row below the margins a wrap leads nowhere.
    pub(super) fn printed(&mut self) {
        if self.region.bottom != self.rows() {
            self.end_last_row();
        }
    }
}
