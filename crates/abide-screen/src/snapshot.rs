//! A snapshot: the codes that make any terminal of the same size show what a model shows, and behave alike.

use std::io::Write;

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::color;
use alacritty_terminal::vte::ansi::{CharsetIndex, CursorShape, NamedColor, StandardCharset};

use crate::draw::Drawing;
use crate::engine::{Engine, Region, Saved, line};
use crate::modes::InputModes;
use crate::pen::Pen;

const CHARSETS_OFF: &str = "\x1b(B\x1b)B\x1b*B\x1b+B\x0f";

/// The codes, and the places where rows of history begin: what lies between the first and another may be left out.
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) starts: Vec<(usize, Line)>,
}

/// Writes everything but the rest: what comes between the last complete sequence and the present position.
pub(crate) fn write(engine: &Engine, current_dir: Option<&str>, history_lines: usize, plain: bool) -> Written {
    let mut drawing = Drawing::default();
    drawing.plain = plain;
    let mut starts = Vec::new();
    reset(&mut drawing.out);
    engine.main.keyboard.write(&mut drawing.out);
    palette(engine, &mut drawing.out);
    titles(engine, current_dir, &mut drawing.out);
    tabs(&engine.tabs, &mut drawing.out);
    if !engine.alternate_shown() {
        drawing.put("\x1b[?1049h");
        engine.alternate.keyboard.write(&mut drawing.out);
        let blank = Grid::new(engine.rows(), engine.cols(), 0);
        save(&mut drawing, &blank, &engine.alternate.saved);
        drawing.put("\x1b[?1049l");
    }

    drawing.put("\x1b[H\x1b[2J");
    let main = engine.main_grid();
    let history = line(main.history_size().min(history_lines));
    drawing.rows(main, Line(-history.0), &mut starts);
    save(&mut drawing, main, &engine.main.saved);
    if engine.alternate_shown() {
        // The switch saves the cursor, so it goes back to where it was saved.
        drawing.put("\x1b8\x1b[?1049h\x1b[?6l\x1b[m\x1b]8;;\x1b\\");
        drawing.put(CHARSETS_OFF);
        engine.alternate.keyboard.write(&mut drawing.out);
        drawing.put("\x1b[H\x1b[2J");
        drawing.rows(engine.grid(), Line(0), &mut Vec::new());
        save(&mut drawing, engine.grid(), &engine.alternate.saved);
    }
    live(engine, &mut drawing);
    Written { bytes: drawing.out, starts }
}

/// Makes a terminal in any state, in the middle of a sequence even, a plain one. Its cells are left.
fn reset(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x18\x1b\\\x1b[?2026l\x1b[?1049l\x1b[r\x1b[?6l");
    plain(out);
}

/// Resets what can be reset without moving the cursor.
pub(crate) fn plain(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[m\x1b]8;;\x1b\\\x1b[4l\x1b[20l\x1b[?7h");
    out.extend_from_slice(CHARSETS_OFF.as_bytes());
    InputModes::write_off(out);
    out.extend_from_slice(b"\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\");
}

fn palette(engine: &Engine, out: &mut Vec<u8>) {
    let colors = engine.term.colors();
    for index in 0..color::COUNT {
        let Some(rgb) = colors[index] else { continue };
        let _ = match index {
            0..=255 => write!(out, "\x1b]4;{index};"),
            _ => write!(out, "\x1b]{};", 10 + index - NamedColor::Foreground as usize),
        };
        let _ = write!(out, "rgb:{:02x}/{:02x}/{:02x}\x1b\\", rgb.r, rgb.g, rgb.b);
    }
}

/// A title that was never set is left as it is on the terminal, also in what was put aside.
fn titles(engine: &Engine, current_dir: Option<&str>, out: &mut Vec<u8>) {
    let mut before = None;
    let mut show = |title: &Option<String>, out: &mut Vec<u8>| {
        if title.as_deref() != before.as_deref() {
            let _ = write!(out, "\x1b]2;{}\x1b\\", title.as_deref().unwrap_or_default());
            before.clone_from(title);
        }
    };
    for title in &engine.titles {
        show(title, out);
        out.extend_from_slice(b"\x1b[22;2t");
    }
    show(&engine.title, out);
    if let Some(current_dir) = current_dir {
        let _ = write!(out, "\x1b]7;{current_dir}\x1b\\");
    }
}

fn tabs(tabs: &[bool], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[3g");
    for col in tabs.iter().enumerate().filter_map(|(col, &tab)| tab.then_some(col)) {
        let _ = write!(out, "\x1b[{}G\x1bH", col + 1);
    }
}

/// Makes the terminal put `saved` aside, and leaves its cells, pen and charsets as they were.
fn save(drawing: &mut Drawing, grid: &Grid<Cell>, saved: &Saved) {
    if saved.origin {
        drawing.put("\x1b[?6h");
    }
    drawing.place(grid, &saved.cursor, 0);
    charsets(&saved.cursor, saved.charset, drawing);
    drawing.pen(Pen::of(&saved.cursor.template));
    drawing.put("\x1b7");
    drawing.pen(Pen::default());
    drawing.put(CHARSETS_OFF);
    if saved.origin {
        drawing.put("\x1b[?6l");
        drawing.place(grid, &saved.cursor, 0);
    }
    drawing.mend(grid, &saved.cursor);
}

fn charsets(cursor: &Cursor<Cell>, active: CharsetIndex, drawing: &mut Drawing) {
    use CharsetIndex::{G0, G1, G2, G3};
    for (index, code) in [(G0, "\x1b(0"), (G1, "\x1b)0"), (G2, "\x1b*0"), (G3, "\x1b+0")] {
        if cursor.charsets[index] == StandardCharset::SpecialCharacterAndLineDrawing {
            drawing.put(code);
        }
    }
    drawing.put(match active {
        G0 => "",
        G1 => "\x0e",
        G2 => "\x1bn",
        G3 => "\x1bo",
    });
}

/// The state that is not on the screen, the cursor, and last of all the character that REP would repeat.
fn live(engine: &Engine, drawing: &mut Drawing) {
    let Region { top, bottom } = engine.region;
    if (top, bottom) != (0, engine.rows()) {
        let _ = write!(drawing.out, "\x1b[{};{bottom}r", top + 1);
    }
    if engine.origin() {
        drawing.put("\x1b[?6h");
    }
    engine.input.write_on(&mut drawing.out);
    cursor_look(engine, drawing);

    let (grid, cursor) = (engine.grid(), &engine.grid().cursor);
    let top = if engine.origin() { top } else { 0 };
    let printed = engine.last.map(|_| printed(grid));
    if let Some(col) = printed {
        drawing.go(usize::try_from(cursor.point.line.0).unwrap_or(0).saturating_sub(top), col.0);
    } else {
        drawing.place(grid, cursor, top);
        // What was written to get there is not to be repeated.
        drawing.pen(Pen::default());
        drawing.put("\x1b[m");
    }
    if !engine.term.mode().contains(TermMode::LINE_WRAP) {
        drawing.put("\x1b[?7l");
    }
    if engine.newline {
        drawing.put("\x1b[20h");
    }
    let inserted = printed.filter(|_| engine.insert);
    if let Some(col) = inserted {
        // Written again, the character moves the others again: so they move back first.
        let width = if grid[cursor.point.line][col].flags.contains(Flags::WIDE_CHAR) { 2 } else { 1 };
        if col.0 + width < engine.cols() {
            let _ = write!(drawing.out, "\x1b[{width}P");
        }
    }
    if engine.insert {
        drawing.put("\x1b[4h");
    }
    charsets(cursor, engine.charset, drawing);
    let plain = std::mem::take(&mut drawing.plain);
    drawing.pen(Pen::of(&cursor.template));
    drawing.plain = plain;
    if let Some(col) = printed {
        drawing.out.extend_from_slice(grid[cursor.point.line][col].c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// The column of the character that was printed last, just before the cursor.
fn printed(grid: &Grid<Cell>) -> Column {
    let cursor = &grid.cursor;
    let cells = &grid[cursor.point.line];
    let col = if cursor.input_needs_wrap { cursor.point.column.0 } else { cursor.point.column.0.saturating_sub(1) };
    let spacer = cells[Column(col)].flags.contains(Flags::WIDE_CHAR_SPACER);
    Column(col.saturating_sub(usize::from(spacer)))
}

fn cursor_look(engine: &Engine, drawing: &mut Drawing) {
    let style = engine.cursor_style.map_or(0, |style| {
        let steady = match style.shape {
            CursorShape::Underline => 4,
            CursorShape::Beam => 6,
            _ => 2,
        };
        steady - u8::from(style.blinking)
    });
    let shown = if engine.term.mode().contains(TermMode::SHOW_CURSOR) { 'h' } else { 'l' };
    let _ = write!(drawing.out, "\x1b[{style} q\x1b[?25{shown}");
}
