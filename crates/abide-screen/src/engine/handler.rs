//! What each control function does: most of it is the engine's.

use alacritty_terminal::index::Column;
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::Hyperlink as CellLink;
use alacritty_terminal::vte::ansi::{
    Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes,
    KeyboardModesApplyBehavior, LineClearMode, Mode, ModifyOtherKeys, NamedMode, NamedPrivateMode, PrivateMode, Rgb,
    StandardCharset, TabulationClearMode,
};
use unicode_width::UnicodeWidthChar;

use super::{BLINK, Engine, Region, TITLE_STACK_MAX, line};

/// The alternate screen without the cursor (47), cleared (1047), the cursor alone (1048), and both (1049).
const ALTERNATE: [u16; 2] = [47, 1047];
const SAVE_CURSOR: u16 = 1048;
const ALTERNATE_AND_CURSOR: u16 = 1049;

impl Engine {
    /// Moves the cursor up or down; margins stop it unless it is outside of them already.
    fn move_row(&mut self, up: usize, down: usize) {
        let row = self.row();
        let top = if row < self.region.top { 0 } else { self.region.top };
        let last = if row < self.region.bottom { self.region.bottom } else { self.rows() } - 1;
        let target = row.saturating_sub(up).saturating_add(down).clamp(top, last);
        let cursor = &mut self.grid_mut().cursor;
        cursor.point.line = line(target);
        cursor.input_needs_wrap = false;
    }

    pub(super) fn row(&self) -> usize {
        usize::try_from(self.grid().cursor.point.line.0).unwrap_or(0)
    }

    pub(super) fn col(&self) -> usize {
        self.grid().cursor.point.column.0
    }

    fn set_col(&mut self, col: usize) {
        self.grid_mut().cursor.point.column = Column(col);
    }

    pub(crate) fn private_mode(&self, mode: u16) -> Option<bool> {
        let has = |flag| Some(self.term.mode().contains(flag));
        match mode {
            6 => has(TermMode::ORIGIN),
            7 => has(TermMode::LINE_WRAP),
            12 => Some(self.cursor_style.is_some_and(|style| style.blinking)),
            25 => has(TermMode::SHOW_CURSOR),
            47 | 1047 | ALTERNATE_AND_CURSOR => Some(self.alternate_shown()),
            2026 => Some(false),
            _ => self.input.get(mode),
        }
    }

    fn change_private_mode(&mut self, mode: PrivateMode, on: bool) {
        let raw = mode.raw();
        if self.input.set(raw, on) {
            return;
        }
        match (raw, mode) {
            (raw, _) if ALTERNATE.contains(&raw) => self.switch(on),
            (SAVE_CURSOR, _) if on => self.save_cursor(),
            (SAVE_CURSOR, _) => self.restore_cursor(),
            (ALTERNATE_AND_CURSOR, _) if on => {
                self.save_cursor();
                self.switch(true);
            }
            (ALTERNATE_AND_CURSOR, _) => {
                self.switch(false);
                self.restore_cursor();
            }
            (_, PrivateMode::Named(NamedPrivateMode::BlinkingCursor)) => {
                self.cursor_style.get_or_insert_default().blinking = on;
            }
            (
                _,
                PrivateMode::Named(
                    NamedPrivateMode::Origin | NamedPrivateMode::LineWrap | NamedPrivateMode::ShowCursor,
                ),
            ) => {
                if on {
                    self.term.set_private_mode(mode);
                } else {
                    self.term.unset_private_mode(mode);
                }
                if raw == 6 && !on {
                    self.term.goto(0, 0);
                }
            }
            _ => {}
        }
    }

    fn switch(&mut self, alternate: bool) {
        if alternate {
            self.show_alternate();
        } else {
            self.show_main();
        }
    }

    fn change_mode(&mut self, mode: Mode, on: bool) {
        match mode {
            Mode::Named(NamedMode::Insert) => self.insert = on,
            Mode::Named(NamedMode::LineFeedNewLine) => self.newline = on,
            Mode::Unknown(_) => {}
        }
    }
}

impl Handler for Engine {
    #[inline]
    fn input(&mut self, c: char) {
        self.last = None;
        match c.width() {
            Some(0) => self.combine(c),
            Some(width) => self.print(c, width),
            None => {}
        }
        self.printed();
    }

    fn goto(&mut self, row: i32, col: usize) {
        self.term.goto(row, col);
    }

    fn goto_line(&mut self, row: i32) {
        self.term.goto_line(row);
    }

    fn goto_col(&mut self, col: usize) {
        self.set_col(col.min(self.cols() - 1));
        self.grid_mut().cursor.input_needs_wrap = false;
    }

    fn move_up(&mut self, rows: usize) {
        self.move_row(rows, 0);
    }

    fn move_down(&mut self, rows: usize) {
        self.move_row(0, rows);
    }

    fn move_down_and_cr(&mut self, rows: usize) {
        self.move_row(0, rows);
        self.term.carriage_return();
    }

    fn move_up_and_cr(&mut self, rows: usize) {
        self.move_row(rows, 0);
        self.term.carriage_return();
    }

    fn move_forward(&mut self, cols: usize) {
        self.term.move_forward(cols);
    }

    fn move_backward(&mut self, cols: usize) {
        self.term.move_backward(cols);
    }

    fn put_tab(&mut self, count: u16) {
        self.move_forward_tabs(count);
    }

    fn move_forward_tabs(&mut self, count: u16) {
        for _ in 0..usize::from(count).min(self.cols()) {
            let next = (self.col() + 1..self.cols()).find(|&col| self.tabs[col]);
            self.set_col(next.unwrap_or(self.cols() - 1));
        }
    }

    fn move_backward_tabs(&mut self, count: u16) {
        for _ in 0..usize::from(count).min(self.cols()) {
            let before = (0..self.col()).rev().find(|&col| self.tabs[col]);
            self.set_col(before.unwrap_or(0));
            self.grid_mut().cursor.input_needs_wrap = false;
        }
    }

    fn set_horizontal_tabstop(&mut self) {
        let col = self.col();
        self.tabs[col] = true;
    }

    fn clear_tabs(&mut self, mode: TabulationClearMode) {
        match mode {
            TabulationClearMode::Current => {
                let col = self.col();
                self.tabs[col] = false;
            }
            TabulationClearMode::All => self.tabs.fill(false),
        }
    }

    fn set_tabs(&mut self, interval: u16) {
        for (col, tab) in self.tabs.iter_mut().enumerate() {
            *tab = col % usize::from(interval.max(1)) == 0;
        }
    }

    fn backspace(&mut self) {
        self.term.backspace();
    }

    fn carriage_return(&mut self) {
        self.term.carriage_return();
    }

    #[inline]
    fn linefeed(&mut self) {
        self.term.linefeed();
        self.grid_mut().cursor.input_needs_wrap = false;
        if self.newline {
            self.term.carriage_return();
        }
    }

    fn reverse_index(&mut self) {
        self.term.reverse_index();
        self.grid_mut().cursor.input_needs_wrap = false;
        self.end_last_row();
    }

    fn scroll_up(&mut self, rows: usize) {
        self.term.scroll_up(rows);
        self.settle();
    }

    fn scroll_down(&mut self, rows: usize) {
        self.term.scroll_down(rows);
        self.end_last_row();
        self.settle();
    }

    fn insert_blank(&mut self, count: usize) {
        Engine::insert_blank(self, count);
    }

    fn delete_chars(&mut self, count: usize) {
        Engine::delete_chars(self, count);
    }

    fn erase_chars(&mut self, count: usize) {
        Engine::erase_chars(self, count);
    }

    fn insert_blank_lines(&mut self, count: usize) {
        Engine::insert_lines(self, count);
    }

    fn delete_lines(&mut self, count: usize) {
        Engine::delete_lines(self, count);
    }

    fn clear_line(&mut self, mode: LineClearMode) {
        Engine::clear_line(self, mode);
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        Engine::clear_screen(self, mode);
    }

    fn decaln(&mut self) {
        self.set_region(Region { top: 0, bottom: self.rows() });
        self.term.decaln();
        self.term.goto(0, 0);
    }

    fn identify_terminal(&mut self, intermediate: Option<char>) {
        if intermediate.is_none() {
            self.answers.device_attributes();
        }
    }

    fn device_status(&mut self, what: usize) {
        match what {
            5 => self.answers.status(),
            6 => {
                let top = if self.origin() { self.region.top } else { 0 };
                let (row, col) = (self.row().saturating_sub(top), self.col());
                self.answers.cursor(row + 1, col + 1);
            }
            _ => {}
        }
    }

    fn report_mode(&mut self, mode: Mode) {
        let on = match mode {
            Mode::Named(NamedMode::Insert) => Some(self.insert),
            Mode::Named(NamedMode::LineFeedNewLine) => Some(self.newline),
            Mode::Unknown(_) => None,
        };
        self.answers.mode("", mode.raw(), on);
    }

    fn report_private_mode(&mut self, mode: PrivateMode) {
        let on = self.private_mode(mode.raw());
        self.answers.mode("?", mode.raw(), on);
    }

    fn save_cursor_position(&mut self) {
        self.save_cursor();
    }

    fn restore_cursor_position(&mut self) {
        self.restore_cursor();
    }

    fn reset_state(&mut self) {
        self.reset();
    }

    fn terminal_attribute(&mut self, attr: Attr) {
        let flags = &mut self.grid_mut().cursor.template.flags;
        match attr {
            Attr::BlinkSlow | Attr::BlinkFast => flags.insert(BLINK),
            Attr::CancelBlink => flags.remove(BLINK),
            // SGR 21: xterm underlines twice.
            Attr::CancelBold => self.term.terminal_attribute(Attr::DoubleUnderline),
            attr => self.term.terminal_attribute(attr),
        }
    }

    fn set_hyperlink(&mut self, link: Option<Hyperlink>) {
        // A link without an id stays one: the engine would number it.
        let link = link.map(|link| CellLink::new(Some(link.id.unwrap_or_default()), link.uri));
        self.grid_mut().cursor.template.set_hyperlink(link);
    }

    fn set_mode(&mut self, mode: Mode) {
        self.change_mode(mode, true);
    }

    fn unset_mode(&mut self, mode: Mode) {
        self.change_mode(mode, false);
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        self.change_private_mode(mode, true);
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        self.change_private_mode(mode, false);
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let bottom = bottom.unwrap_or(self.rows()).min(self.rows());
        if top < bottom {
            self.set_region(Region { top: top - 1, bottom });
            self.term.goto(0, 0);
        }
    }

    fn set_keypad_application_mode(&mut self) {
        self.input.application_keypad = true;
    }

    fn unset_keypad_application_mode(&mut self) {
        self.input.application_keypad = false;
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.shift(index);
    }

    fn configure_charset(&mut self, index: CharsetIndex, charset: StandardCharset) {
        self.term.configure_charset(index, charset);
    }

    fn set_color(&mut self, index: usize, color: Rgb) {
        self.term.set_color(index, color);
    }

    fn reset_color(&mut self, index: usize) {
        self.term.reset_color(index);
    }

    fn set_cursor_style(&mut self, style: Option<CursorStyle>) {
        self.cursor_style = style;
    }

    fn set_cursor_shape(&mut self, shape: CursorShape) {
        self.cursor_style.get_or_insert_default().shape = shape;
    }

    fn push_title(&mut self) {
        if self.titles.len() == TITLE_STACK_MAX {
            self.titles.remove(0);
        }
        self.titles.push(self.title.clone());
    }

    fn pop_title(&mut self) {
        if let Some(title) = self.titles.pop() {
            self.title = title;
        }
    }

    fn push_keyboard_mode(&mut self, mode: KeyboardModes) {
        self.own().keyboard.push(mode.bits());
    }

    fn pop_keyboard_modes(&mut self, count: u16) {
        self.own().keyboard.pop(usize::from(count));
    }

    fn set_keyboard_mode(&mut self, mode: KeyboardModes, behavior: KeyboardModesApplyBehavior) {
        let mode = mode.bits();
        self.own().keyboard.change(|flags| match behavior {
            KeyboardModesApplyBehavior::Replace => mode,
            KeyboardModesApplyBehavior::Union => flags | mode,
            KeyboardModesApplyBehavior::Difference => flags & !mode,
        });
    }

    fn set_modify_other_keys(&mut self, mode: ModifyOtherKeys) {
        self.input.modify_other_keys = match mode {
            ModifyOtherKeys::Reset => 0,
            ModifyOtherKeys::EnableExceptWellDefined => 1,
            ModifyOtherKeys::EnableAll => 2,
        };
    }
}
