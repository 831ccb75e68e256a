//! Removes from output what makes a terminal answer.

use crate::control::{Csi, body, osc, seven_bit};
use crate::sequence::{Kind, Scanner, Token};

/// Longest CSI sequence that is held back while it may still become a query; those of programs are far shorter.
const CSI_HELD_MAX: usize = 64;

/// Streaming filter for output on its way to a terminal that must not answer it. It removes queries as a whole, passes
/// on everything else unchanged and in order, and holds back no more than a sequence that may still become a query.
#[derive(Debug)]
pub struct QueryFilter {
    scanner: Scanner,
    clipboard: bool,
    /// How much of what the scanner holds was passed on already.
    passed: usize,
    /// What becomes of the long sequence that is under way.
    dropping: bool,
    /// What was passed on last is a sequence, or a part of a character, that only what comes next ends.
    open: bool,
    /// The last two bytes of a long sequence.
    tail: [u8; 2],
}

impl QueryFilter {
    /// For the owner's terminal, below the offset from which on it answers.
    pub fn owner() -> Self {
        Self { scanner: Scanner::new(), clipboard: false, passed: 0, dropping: false, open: false, tail: [0; 2] }
    }

    /// For an observer's terminal: removes access to the clipboard (OSC 52) too.
    pub fn observer() -> Self {
        Self { clipboard: true, ..Self::owner() }
    }

    /// Appends to `out` what of `bytes`, which follow those of the last call, may be handed to the terminal.
    pub fn filter(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut scanner = std::mem::replace(&mut self.scanner, Scanner::new());
        scanner.scan(bytes, &mut |token| self.token(&token, out));
        self.scanner = scanner;
        self.pass_clear(out);
    }

    fn token(&mut self, token: &Token<'_>, out: &mut Vec<u8>) {
        match *token {
            Token::Text(bytes) | Token::Broken(bytes) => {
                self.open = matches!(token, Token::Broken(_));
                out.extend_from_slice(bytes);
            }
            Token::Cancelled(bytes) => {
                self.open = !matches!(bytes.last(), Some(0x18 | 0x1a));
                self.pass(bytes, out);
            }
            Token::Sequence(kind, bytes) => match replacement(kind, bytes, self.clipboard) {
                Some(kept) if self.passed == 0 => {
                    self.close(out);
                    out.extend_from_slice(&kept);
                }
                _ => {
                    self.open = is_text(kind) && !is_ended(bytes);
                    self.pass(bytes, out);
                }
            },
            Token::Long(kind, bytes) => {
                self.dropping = self.passed == 0 && is_clipboard(kind, bytes, self.clipboard);
                if self.dropping {
                    self.close(out);
                } else {
                    self.long(bytes, out);
                }
            }
            Token::LongPart(bytes) if !self.dropping => self.long(bytes, out),
            Token::LongPart(_) | Token::Control(_) => {}
            Token::LongEnd => {
                self.open = !self.dropping && !is_ended(&self.tail);
                self.dropping = false;
            }
        }
    }

    /// Passes on what of `bytes` was not passed on before.
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let passed = std::mem::take(&mut self.passed).min(bytes.len());
        out.extend_from_slice(&bytes[passed..]);
    }

    fn long(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in &bytes[bytes.len().saturating_sub(2)..] {
            self.tail = [self.tail[1], byte];
        }
        self.pass(bytes, out);
    }

    /// Ends what was to be ended by a sequence that is removed.
    fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.open) {
            out.extend_from_slice(b"\x1b\\");
        }
    }

    /// Appends what is held back: the offset has come from which on the terminal answers.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.dropping {
            if !self.scanner.is_long() {
                out.extend_from_slice(&self.scanner.held()[self.passed..]);
            }
            if self.scanner.ends_in_escape() {
                out.push(0x1b);
            }
        }
    }

    /// Passes on what is held, if it can no more become something to remove.
    fn pass_clear(&mut self, out: &mut Vec<u8>) {
        let held = self.scanner.held();
        let clear = match self.scanner.held_kind() {
            Some(kind) => !self.scanner.is_long() && !may_be_removed(kind, held, self.clipboard),
            None => false,
        };
        if clear {
            out.extend_from_slice(&held[self.passed..]);
            self.passed = held.len();
        }
    }
}

fn is_text(kind: Kind) -> bool {
    !matches!(kind, Kind::Escape | Kind::Csi)
}

/// Whether the end of a text is written, or the control that cancels it.
fn is_ended(text: &[u8]) -> bool {
    text.ends_with(b"\x1b\\") || text.ends_with(b"\xc2\x9c") || matches!(text.last(), Some(0x07 | 0x18 | 0x1a))
}

/// What is to stand in a query's place: nothing, but for the controls within it and what it sets besides. None if
/// `sequence` is no query.
fn replacement(kind: Kind, sequence: &[u8], clipboard: bool) -> Option<Vec<u8>> {
    match kind {
        Kind::Escape => (*seven_bit(sequence) == *b"\x1bZ").then(|| controls(sequence)),
        Kind::Csi => is_csi_query(&Csi::parse(&seven_bit(sequence))).then(|| controls(sequence)),
        Kind::Osc => osc_replacement(body(sequence), clipboard),
        Kind::Dcs => [&b"+q"[..], b"$q"].iter().any(|start| body(sequence).starts_with(start)).then(Vec::new),
        Kind::Apc => is_graphics_query(body(sequence)).then(Vec::new),
        Kind::Ignored => None,
    }
}

fn controls(sequence: &[u8]) -> Vec<u8> {
    sequence.iter().copied().filter(|&byte| byte < 0x20 && byte != 0x1b).collect()
}

fn is_csi_query(csi: &Csi<'_>) -> bool {
    match (csi.marker, csi.intermediates, csi.last) {
        // DECREQTPARM. Device attributes.
        (None, b"", b'x') | (None | Some(b'>' | b'='), b"", b'c')
        // Status and cursor, also of parts. DECRQM.
        | (None | Some(b'?'), b"", b'n') | (None | Some(b'?'), b"$", b'p')
        // XTVERSION. Kitty keyboard, XTQMODKEYS, XTSMGRAPHICS.
        | (Some(b'>'), b"", b'q') | (Some(b'?'), b"", b'u' | b'm' | b'S')
        // Presentation state. Checksum of cells. Supplemental set. Colours on the stack. Locator.
        | (None, b"$", b'w') | (None, b"*", b'y') | (None, b"&", b'u') | (None, b"#", b'R') | (None, b"'", b'|') => true,
        // Window: state, place, sizes, titles.
        (None, b"", b't') => matches!(csi.number(0), 11 | 13..=16 | 18..=21),
        _ => false,
    }
}

/// Colours, the clipboard and the font may be asked for in the place of a value, between others that are set.
fn osc_replacement(text: &[u8], clipboard: bool) -> Option<Vec<u8>> {
    let (number, rest) = osc(text)?;
    let asked = |value: &[u8]| value == b"?";
    let values = || rest.split(|&byte| byte == b';');
    match number {
        52 if clipboard || values().nth(1).is_some_and(asked) => Some(Vec::new()),
        50 if rest.starts_with(b"?") => Some(Vec::new()),
        4 | 5 if values().skip(1).step_by(2).any(asked) => {
            let all: Vec<&[u8]> = values().collect();
            let set = all.chunks(2).filter(|pair| !pair.get(1).is_some_and(|value| asked(value)));
            Some(set.flat_map(|pair| osc_of(number, &pair.join(&b';'))).collect())
        }
        10..=19 if values().any(asked) => {
            let set = (number..).zip(values()).filter(|(_, value)| !asked(value) && !value.is_empty());
            Some(set.flat_map(|(number, value)| osc_of(number, value)).collect())
        }
        // kitty's colours, `name=?`.
        21 if values().any(|value| value.ends_with(b"=?")) => {
            let set: Vec<&[u8]> = values().filter(|value| !value.ends_with(b"=?")).collect();
            Some(if set.is_empty() { Vec::new() } else { osc_of(number, &set.join(&b';')) })
        }
        _ => None,
    }
}

fn osc_of(number: u16, rest: &[u8]) -> Vec<u8> {
    [format!("\x1b]{number};").as_bytes(), rest, b"\x1b\\"].concat()
}

/// kitty graphics: `G`, then keys, then `;` and data; `a=q` asks.
fn is_graphics_query(text: &[u8]) -> bool {
    let keys = text.split(|&byte| byte == b';').next().unwrap_or_default();
    keys.strip_prefix(b"G").is_some_and(|keys| keys.split(|&byte| byte == b',').any(|key| key == b"a=q"))
}

/// Whether what has come of a sequence may be the begin of one to be removed.
fn may_be_removed(kind: Kind, held: &[u8], clipboard: bool) -> bool {
    match kind {
        Kind::Escape => true,
        Kind::Csi => held.len() < CSI_HELD_MAX,
        Kind::Osc => {
            let text = held.get(2..).unwrap_or_default();
            let Some(end) = text.iter().position(|&byte| byte == b';') else { return text.len() <= 2 };
            matches!(&text[..end], b"4" | b"5" | b"21" | b"50" | b"52" | [b'1', b'0'..=b'9'])
                || is_clipboard(kind, held, clipboard)
        }
        Kind::Dcs => {
            let text = held.get(2..).unwrap_or_default();
            [&b"+q"[..], b"$q"].iter().any(|start| start.starts_with(text) || text.starts_with(start))
        }
        Kind::Apc => {
            let text = held.get(2..).unwrap_or_default();
            text.first().is_none_or(|&first| first == b'G') && !text.contains(&b';') || is_graphics_query(text)
        }
        Kind::Ignored => false,
    }
}

fn is_clipboard(kind: Kind, held: &[u8], clipboard: bool) -> bool {
    clipboard && kind == Kind::Osc && osc(held.get(2..).unwrap_or_default()).is_some_and(|(number, _)| number == 52)
}
