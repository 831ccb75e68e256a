//! The emulator: `alacritty_terminal` behind a handler that puts right where it differs from what `TERM=xterm-256color`
//! promises, and keeps what it does not tell: both screens, tab stops, margins, the charset in use, saved cursors.

use alacritty_terminal::Term;
use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::Config;
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::vte::ansi::{CharsetIndex, CursorStyle, NamedPrivateMode, StandardCharset};

use crate::Size;
use crate::answers::Answers;
use crate::modes::{InputModes, KeyboardFlags};

mod erase;
mod flood;
mod handler;
mod print;
mod resize;

/// Blinking text: the engine has no name for it, and one bit of its cells is free.
pub(crate) const BLINK: Flags = Flags::from_bits_retain(1 << 15);
/// Combining characters of one cell; further ones are dropped, so that no program grows a model without end.
pub(crate) const COMBINING_MAX: usize = 16;
/// Titles that programs may put aside; the oldest fall out.
const TITLE_STACK_MAX: usize = 8;
const TAB_INTERVAL: usize = 8;

/// The scroll region: its first row and the one behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) top: usize,
    pub(crate) bottom: usize,
}

/// What DECSC puts aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) cursor: Cursor<Cell>,
    pub(crate) charset: CharsetIndex,
    pub(crate) origin: bool,
}

impl Default for Saved {
    fn default() -> Self {
        Self { cursor: Cursor::default(), charset: CharsetIndex::G0, origin: false }
    }
}

/// What each of the two screens has for itself besides its cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) saved: Saved,
    pub(crate) keyboard: KeyboardFlags,
}

pub(crate) struct Engine {
    pub(crate) term: Term<VoidListener>,
    /// The main screen while the alternate one is shown.
    pub(crate) covered: Option<Grid<Cell>>,
    pub(crate) main: Own,
    pub(crate) alternate: Own,
    pub(crate) region: Region,
    pub(crate) tabs: Vec<bool>,
    pub(crate) charset: CharsetIndex,
    pub(crate) cursor_style: Option<CursorStyle>,
    pub(crate) input: InputModes,
    /// IRM: a character moves what follows it to the right.
    pub(crate) insert: bool,
    /// LNM: a line feed goes to the first column.
    pub(crate) newline: bool,
    pub(crate) title: Option<String>,
    pub(crate) titles: Vec<Option<String>>,
    pub(crate) answers: Answers,
    /// Lines that are kept of what scrolls off the main screen.
    pub(crate) history_lines_max: usize,
    /// The character that REP repeats: the last one printed, while nothing else was done since.
    pub(crate) last: Option<char>,
}

impl Engine {
    pub(crate) fn new(size: Size, history_lines_max: usize) -> Self {
        let config = Config { scrolling_history: history_lines_max, ..Config::default() };
        Self {
            term: Term::new(config, &size, VoidListener),
            covered: None,
            main: Own::default(),
            alternate: Own::default(),
            region: Region { top: 0, bottom: size.screen_lines() },
            tabs: default_tabs(size.columns()),
            charset: CharsetIndex::G0,
            cursor_style: None,
            input: InputModes::default(),
            insert: false,
            newline: false,
            title: None,
            titles: Vec::new(),
            answers: Answers::default(),
            history_lines_max,
            last: None,
        }
    }

    pub(crate) fn cols(&self) -> usize {
        self.term.columns()
    }

    pub(crate) fn rows(&self) -> usize {
        self.term.screen_lines()
    }

    /// The screen that is shown.
    pub(crate) fn grid(&self) -> &Grid<Cell> {
        self.term.grid()
    }

    pub(crate) fn grid_mut(&mut self) -> &mut Grid<Cell> {
        self.term.grid_mut()
    }

    pub(crate) fn main_grid(&self) -> &Grid<Cell> {
        self.covered.as_ref().unwrap_or_else(|| self.term.grid())
    }

    pub(crate) fn alternate_shown(&self) -> bool {
        self.covered.is_some()
    }

    /// What the screen that is shown has for itself.
    pub(crate) fn own(&mut self) -> &mut Own {
        if self.covered.is_some() { &mut self.alternate } else { &mut self.main }
    }

    pub(crate) fn origin(&self) -> bool {
        use alacritty_terminal::term::TermMode;
        self.term.mode().contains(TermMode::ORIGIN)
    }

    fn save_cursor(&mut self) {
        let saved = Saved { cursor: self.grid().cursor.clone(), charset: self.charset, origin: self.origin() };
        self.own().saved = saved;
    }

    fn restore_cursor(&mut self) {
        use alacritty_terminal::vte::ansi::Handler;
        let saved = self.own().saved.clone();
        self.charset = saved.charset;
        self.term.set_active_charset(saved.charset);
        if saved.origin != self.origin() {
            let mode = NamedPrivateMode::Origin.into();
            if saved.origin { self.term.set_private_mode(mode) } else { self.term.unset_private_mode(mode) }
        }
        self.grid_mut().cursor = saved.cursor;
        if saved.origin {
            let (top, last) = (line(self.region.top), line(self.region.bottom - 1));
            let cursor = &mut self.grid_mut().cursor;
            cursor.point.line = cursor.point.line.clamp(top, last);
        }
        self.settle();
    }

    /// Shows the alternate screen, empty. The cursor stays where it is.
    fn show_alternate(&mut self) {
        if self.covered.is_some() {
            return;
        }
        let mut grid = Grid::new(self.rows(), self.cols(), 0);
        grid.cursor = self.grid().cursor.clone();
        grid.reset_region(..);
        self.covered = Some(std::mem::replace(self.grid_mut(), grid));
        self.anchor_covered();
    }

    /// Shows the main screen. The cursor stays where it is.
    fn show_main(&mut self) {
        if let Some(main) = self.covered.take() {
            let alternate = std::mem::replace(self.grid_mut(), main);
            self.grid_mut().cursor = alternate.cursor;
            self.settle();
        }
    }

    /// The covered screen has no cursor but the saved one, which says what a resize keeps in view.
    fn anchor_covered(&mut self) {
        if let Some(main) = &mut self.covered {
            let cursor = &mut self.main.saved.cursor;
            cursor.input_needs_wrap &= !main[cursor.point].flags.contains(Flags::WRAPLINE);
            main.cursor = cursor.clone();
        }
    }

    /// A cursor behind the last column of a row that goes on in the next one: the row has moved under it.
    fn settle(&mut self) {
        let cursor = &self.grid().cursor;
        if cursor.input_needs_wrap && self.grid()[cursor.point].flags.contains(Flags::WRAPLINE) {
            self.grid_mut().cursor.input_needs_wrap = false;
        }
    }

    /// The last row of a screen goes on nowhere.
    fn end_last_row(&mut self) {
        let (last, end) = (line(self.rows() - 1), Column(self.cols() - 1));
        if self.grid()[last][end].flags.contains(Flags::WRAPLINE) {
            self.grid_mut()[last][end].flags.remove(Flags::WRAPLINE);
        }
    }

    fn reset(&mut self) {
        use alacritty_terminal::vte::ansi::Handler;
        self.show_main();
        self.term.reset_state();
        self.main = Own::default();
        self.alternate = Own::default();
        self.region = Region { top: 0, bottom: self.rows() };
        self.tabs = default_tabs(self.cols());
        self.charset = CharsetIndex::G0;
        self.cursor_style = None;
        self.input = InputModes::default();
        self.insert = false;
        self.newline = false;
        self.title = None;
        self.titles.clear();
    }

    /// DECSTR: what a program finds at its start, but for the cells and the cursor's place.
    pub(crate) fn soft_reset(&mut self) {
        use alacritty_terminal::vte::ansi::{Attr, Handler};
        self.term.unset_private_mode(NamedPrivateMode::Origin.into());
        self.term.set_private_mode(NamedPrivateMode::LineWrap.into());
        self.term.set_private_mode(NamedPrivateMode::ShowCursor.into());
        self.insert = false;
        self.term.terminal_attribute(Attr::Reset);
        self.term.set_hyperlink(None);
        for index in [CharsetIndex::G0, CharsetIndex::G1, CharsetIndex::G2, CharsetIndex::G3] {
            self.term.configure_charset(index, StandardCharset::Ascii);
        }
        self.set_active_charset(CharsetIndex::G0);
        self.set_region(Region { top: 0, bottom: self.rows() });
        self.own().saved = Saved::default();
        self.input.soft_reset();
    }

    /// Sets the margins; the cursor stays where it is.
    fn set_region(&mut self, region: Region) {
        use alacritty_terminal::vte::ansi::Handler;
        self.region = region;
        let cursor = self.grid().cursor.clone();
        self.term.set_scrolling_region(region.top + 1, Some(region.bottom));
        self.grid_mut().cursor = cursor;
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        use alacritty_terminal::vte::ansi::Handler;
        self.charset = index;
        self.term.set_active_charset(index);
    }

    /// Locking shifts to G2 and G3, which the parser does not know.
    pub(crate) fn shift(&mut self, index: CharsetIndex) {
        self.set_active_charset(index);
    }

    pub(crate) fn set_title(&mut self, title: Option<String>) {
        self.title = title;
    }
}

fn default_tabs(cols: usize) -> Vec<bool> {
    (0..cols).map(|col| col % TAB_INTERVAL == 0).collect()
}

/// Row `row` of the screen.
pub(crate) fn line(row: usize) -> Line {
    // At most 1,000 rows.
    Line(i32::try_from(row).unwrap_or(i32::MAX))
}
