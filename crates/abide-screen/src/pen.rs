//! Codes for the attributes of text.

use std::io::Write;

use alacritty_terminal::term::cell::{Cell, Flags, Hyperlink};
use alacritty_terminal::vte::ansi::{Color, NamedColor};

use crate::engine::BLINK;

/// Flags that say how a cell looks, with the SGR parameter of each; the others say where it lies.
const LOOKS: [(Flags, &str); 12] = [
    (Flags::BOLD, "1"),
    (Flags::DIM, "2"),
    (Flags::ITALIC, "3"),
    (Flags::UNDERLINE, "4"),
    (Flags::DOUBLE_UNDERLINE, "21"),
    (Flags::UNDERCURL, "4:3"),
    (Flags::DOTTED_UNDERLINE, "4:4"),
    (Flags::DASHED_UNDERLINE, "4:5"),
    (BLINK, "5"),
    (Flags::INVERSE, "7"),
    (Flags::HIDDEN, "8"),
    (Flags::STRIKEOUT, "9"),
];

/// How text is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pen {
    fg: Color,
    bg: Color,
    flags: Flags,
    underline: Option<Color>,
    link: Option<Hyperlink>,
}

impl Default for Pen {
    fn default() -> Self {
        Self::of(&Cell::default())
    }
}

impl Pen {
    pub(crate) fn of(cell: &Cell) -> Self {
        let looks = LOOKS.iter().fold(Flags::empty(), |all, (flag, _)| all | *flag);
        Self {
            fg: cell.fg,
            bg: cell.bg,
            flags: cell.flags & looks,
            underline: cell.underline_color(),
            link: cell.hyperlink(),
        }
    }

    /// Whether erased cells would show it.
    pub(crate) fn colours_blanks(&self) -> bool {
        self.bg != Color::Named(NamedColor::Background)
    }

    /// Writes what makes this pen of `before`.
    pub(crate) fn write(&self, before: &Self, out: &mut Vec<u8>) {
        if self.link != before.link {
            match &self.link {
                None => out.extend_from_slice(b"\x1b]8;;\x1b\\"),
                Some(link) if link.id().is_empty() => {
                    let _ = write!(out, "\x1b]8;;{}\x1b\\", link.uri());
                }
                Some(link) => {
                    let _ = write!(out, "\x1b]8;id={};{}\x1b\\", link.id(), link.uri());
                }
            }
        }
        if (self.fg, self.bg, self.flags, self.underline) != (before.fg, before.bg, before.flags, before.underline) {
            self.write_sgr(out);
        }
    }

    fn write_sgr(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[0");
        for (_, code) in LOOKS.iter().filter(|(flag, _)| self.flags.contains(*flag)) {
            let _ = write!(out, ";{code}");
        }
        write_color(self.fg, 30, out);
        write_color(self.bg, 40, out);
        // With colons: who does not know 58 skips them, too.
        match self.underline {
            Some(Color::Indexed(index)) => {
                let _ = write!(out, ";58:5:{index}");
            }
            Some(Color::Spec(rgb)) => {
                let _ = write!(out, ";58:2::{}:{}:{}", rgb.r, rgb.g, rgb.b);
            }
            _ => {}
        }
        out.push(b'm');
    }
}

/// `base` is 30 for text, 40 for what is behind it.
fn write_color(color: Color, base: usize, out: &mut Vec<u8>) {
    let _ = match color {
        Color::Named(name) => match name as usize {
            index @ 0..=7 => write!(out, ";{}", base + index),
            index @ 8..=15 => write!(out, ";{}", base + 60 + index - 8),
            _ => Ok(()),
        },
        Color::Indexed(index) => write!(out, ";{};5;{index}", base + 8),
        Color::Spec(rgb) => write!(out, ";{};2;{};{};{}", base + 8, rgb.r, rgb.g, rgb.b),
    };
}
