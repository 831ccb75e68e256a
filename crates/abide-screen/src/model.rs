//! The model: engine, scanner, and what a panic of the engine leads to.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::vte::ansi::{CharsetIndex, Handler, Processor, Timeout};

use crate::control::{Csi, body, osc, seven_bit};
use crate::difference::{self, differ};
use crate::directory::CurrentDir;
use crate::engine::Engine;
use crate::seam::seam;
use crate::sequence::{Kind, Scanner, Token};
use crate::text::{Text, What, lines};
use crate::{Size, snapshot};

/// Codes that rebuild a screen on a terminal of `cols` × `rows` in any state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Columns of the model; at most 1,000, whatever the program's terminal has.
    pub cols: u16,
    /// Rows of the model; at most 1,000.
    pub rows: u16,
    /// What to hand to the terminal. Output from the model's position on may follow directly.
    pub bytes: Vec<u8>,
}

/// The engine panicked: the model is of no use any more, its screen is lost, and each further call says so.
///
/// The caller builds another model from the last snapshot it kept, feeds what followed, and, should that fail at the
/// same place, starts with an empty one behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the screen engine failed on this output")]
pub struct Failed;

/// What a terminal answers to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How many bytes were fed behind the query.
    pub back: u64,
    /// The answer.
    pub bytes: Vec<u8>,
}

/// What a program's output has made of a terminal's screen.
pub struct Model {
    engine: Engine,
    processor: Processor<Unsynchronized>,
    scanner: Scanner,
    current_dir: Option<CurrentDir>,
    /// Bytes that were fed, and how many of them are in tokens that were applied.
    fed: u64,
    applied: u64,
    /// Where the queries end that were answered: bytes applied by then, and bytes of answers.
    answered: Vec<(u64, usize)>,
    failed: bool,
    #[cfg(debug_assertions)]
    fails_on: Option<Vec<u8>>,
}

/// Synchronized updates are shown as they come: a snapshot has no frame to wait for.
#[derive(Default)]
struct Unsynchronized;

impl Timeout for Unsynchronized {
    fn set_timeout(&mut self, _: std::time::Duration) {}

    fn clear_timeout(&mut self) {}

    fn pending_timeout(&self) -> bool {
        false
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("size", &self.size()).field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Model {
    /// An empty screen of `size` (see [`Size`] for its limits), which keeps up to `history_lines_max` lines that scroll
    /// off its top.
    pub fn new(size: Size, history_lines_max: usize) -> Self {
        Self {
            engine: Engine::new(size.clamped(), history_lines_max),
            processor: Processor::new(),
            scanner: Scanner::new(),
            current_dir: None,
            fed: 0,
            applied: 0,
            answered: Vec::new(),
            failed: false,
            #[cfg(debug_assertions)]
            fails_on: None,
        }
    }

    /// Takes output that follows that of the last call; it may be cut anywhere. Of text that runs through screen and
    /// history within one call only the end is drawn: long pieces cost less than the same bytes in short ones.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.guarded(|model| {
            #[cfg(debug_assertions)]
            let fails_on = model.fails_on.clone();
            let Self { engine, processor, scanner, current_dir, applied, answered, .. } = model;
            scanner.scan(bytes, &mut |token| {
                #[cfg(debug_assertions)]
                fail(fails_on.as_deref(), &token);
                let before = engine.answers.len();
                apply(engine, processor, current_dir, &token);
                *applied += token.len();
                let after = engine.answers.len();
                if after > before {
                    answered.push((*applied, after));
                }
            });
            model.fed += bytes.len() as u64;
        })
    }

    /// Gives the screen another size; see [`Size`] for its limits.
    pub fn resize(&mut self, cols: u16, rows: u16) -> Result<(), Failed> {
        self.guarded(|model| model.engine.resize(Size { cols, rows }.clamped()))
    }

    /// The present size.
    pub fn size(&self) -> Size {
        let side = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
        Size { cols: side(self.engine.cols()), rows: side(self.engine.rows()) }
    }

    /// The screen with up to `history_lines` lines that scrolled off its top.
    pub fn snapshot(&self, history_lines: usize) -> Snapshot {
        let written = snapshot::write(&self.engine, self.written_dir(), history_lines, false);
        self.finished(written.bytes)
    }

    /// The screen with as much history as fits into `bytes_max`. A screen that is too large by itself comes without its
    /// attributes; at 1,000 × 1,000 cells that is less than 8 MiB.
    pub fn snapshot_within(&self, bytes_max: usize) -> Snapshot {
        let history = self.engine.main_grid().history_size();
        for (lines, plain) in [(history, false), (0, false)] {
            let written = snapshot::write(&self.engine, self.written_dir(), lines, plain);
            let mut bytes = written.bytes;
            let room = bytes_max.saturating_sub(self.rest().len());
            let over = bytes.len().saturating_sub(room);
            let first = written.starts.first().map_or(0, |start| start.0);
            if let Some((kept, _)) = written.starts.iter().find(|(start, _)| start - first >= over) {
                bytes.drain(first..*kept);
                return self.finished(bytes);
            }
        }
        self.finished(snapshot::write(&self.engine, self.written_dir(), 0, true).bytes)
    }

    /// The characters of the screen, at most the last `lines_max` lines of them.
    pub fn text(&self, what: What, lines_max: Option<usize>) -> Text {
        let grid = self.engine.grid();
        let side = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
        let point = grid.cursor.point;
        Text {
            text: lines(grid, what == What::All, lines_max),
            cols: self.size().cols,
            rows: self.size().rows,
            cursor: (side(point.column.0), u16::try_from(point.line.0).unwrap_or(0)),
            alternate: self.engine.alternate_shown(),
        }
    }

    /// What a terminal would have answered to the queries in the output fed since the last call. The caller passes it
    /// to the program or drops it; answers beyond 4 KiB are dropped here.
    pub fn take_answers(&mut self) -> Vec<u8> {
        self.answered.clear();
        self.engine.answers.take()
    }

    /// The same one by one, each with the place of its query.
    pub fn take_answers_placed(&mut self) -> Vec<Answer> {
        let mut rest = self.engine.answers.take();
        let mut placed = Vec::with_capacity(self.answered.len());
        let mut begin = 0;
        for (applied, end) in self.answered.drain(..) {
            let behind = rest.split_off(end - begin);
            placed.push(Answer { back: self.fed - applied, bytes: std::mem::replace(&mut rest, behind) });
            begin = end;
        }
        placed
    }

    /// The title that the program gave to its window, if any.
    pub fn title(&self) -> Option<&str> {
        self.engine.title.as_deref()
    }

    /// The path of the working directory that the program told last, if any.
    pub fn current_dir(&self) -> Option<&str> {
        self.current_dir.as_ref().map(|dir| dir.path.as_str())
    }

    /// Whether private mode `mode` is on, as DECRQM would tell; none for one that the model does not know.
    pub fn private_mode(&self, mode: u16) -> Option<bool> {
        self.engine.private_mode(mode)
    }

    /// Draws the seam between a program that was lost and the one that follows it; what was held of an unfinished
    /// sequence is forgotten.
    pub fn restored(&mut self, code: &str, at: &str) -> Result<(), Failed> {
        self.feed(&seam(code, at))
    }

    /// The first thing in which two models differ, in words; none if they show the same, and will do so whatever both
    /// are fed. Of answers not taken and of how much history may be kept nothing is said.
    pub fn difference(&self, other: &Self) -> Option<String> {
        difference::between(&self.engine, &other.engine)
            .or_else(|| differ("working directory", &self.current_dir, &other.current_dir))
            .or_else(|| differ("rest", &self.rest(), &other.rest()))
    }

    /// Gives the memory kept for lines to come back to the allocator, for other models to use. For a session that has
    /// become quiet.
    pub fn compact(&mut self) {
        self.engine.grid_mut().truncate();
        if let Some(main) = &mut self.engine.covered {
            main.truncate();
        }
    }

    /// Makes the model fail when it is fed `bytes` in one piece, for tests of what follows. Not in release builds.
    #[cfg(debug_assertions)]
    pub fn fail_on(&mut self, bytes: &[u8]) {
        self.fails_on = Some(bytes.to_vec());
    }

    fn written_dir(&self) -> Option<&str> {
        self.current_dir.as_ref().map(|dir| dir.written.as_str())
    }

    fn finished(&self, mut bytes: Vec<u8>) -> Snapshot {
        bytes.extend_from_slice(&self.rest());
        let Size { cols, rows } = self.size();
        Snapshot { cols, rows, bytes }
    }

    /// The bytes of an unfinished sequence or character, without the controls in it that have acted already.
    fn rest(&self) -> Cow<'_, [u8]> {
        let held = self.scanner.held();
        let mut rest = match self.scanner.held_kind() {
            Some(Kind::Escape | Kind::Csi) => without_controls(held),
            _ => Cow::Borrowed(held),
        };
        if self.scanner.ends_in_escape() {
            rest.to_mut().push(0x1b);
        }
        rest
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Self)) -> Result<(), Failed> {
        if self.failed {
            return Err(Failed);
        }
        // The model is not used again after a panic.
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        self.failed = done.is_err();
        done.map_err(|_| Failed)
    }
}

fn without_controls(held: &[u8]) -> Cow<'_, [u8]> {
    let Some((first, others)) = held.split_first() else { return Cow::Borrowed(held) };
    if others.iter().all(|&byte| byte >= 0x20) {
        return Cow::Borrowed(held);
    }
    std::iter::once(*first).chain(others.iter().copied().filter(|&byte| byte >= 0x20)).collect::<Vec<u8>>().into()
}

#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "this is the hook that makes a model fail")]
fn fail(on: Option<&[u8]>, token: &Token<'_>) {
    let (Token::Text(bytes) | Token::Sequence(_, bytes)) = token else { return };
    if let Some(on) = on.filter(|on| !on.is_empty())
        && memchr::memmem::find(bytes, on).is_some()
    {
        panic!("asked to fail");
    }
}

type Parser = Processor<Unsynchronized>;

fn apply(engine: &mut Engine, parser: &mut Parser, current_dir: &mut Option<CurrentDir>, token: &Token<'_>) {
    match token {
        Token::Text(text) => print(engine, parser, engine.what_shows(text)),
        Token::Broken(_) => parser.advance(engine, "\u{fffd}".as_bytes()),
        Token::Control(byte) => print(engine, parser, &[*byte]),
        Token::Sequence(Kind::Csi, bytes) => {
            let bytes = seven_bit(bytes);
            let last = engine.last.take();
            csi(engine, parser, last, &bytes);
        }
        Token::Sequence(kind, bytes) => {
            engine.last = None;
            match kind {
                Kind::Escape => escape(engine, parser, &seven_bit(bytes)),
                Kind::Osc => operating_system(engine, parser, current_dir, body(bytes)),
                _ => {}
            }
        }
        Token::Cancelled(_) | Token::Long(..) | Token::LongPart(_) | Token::LongEnd => engine.last = None,
    }
}

/// Takes whole characters and controls: what is ASCII directly, the rest through the parser.
fn print(engine: &mut Engine, parser: &mut Parser, mut text: &[u8]) {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte);
    while !text.is_empty() {
        let (ascii, others) = text.split_at(text.iter().position(|byte| !plain(byte)).unwrap_or(text.len()));
        if !ascii.is_empty() {
            engine.print_ascii(ascii);
        }
        let (others, rest) = others.split_at(others.iter().position(plain).unwrap_or(others.len()));
        match others {
            [] => {}
            b"\r\n" => {
                engine.carriage_return();
                engine.linefeed();
                engine.last = None;
            }
            _ => {
                // The parser would hold back what looks incomplete at the end.
                parser.advance(engine, String::from_utf8_lossy(others).as_bytes());
                if others.last().is_some_and(|&last| last < 0x20) {
                    engine.last = None;
                }
            }
        }
        text = rest;
    }
}

fn escape(engine: &mut Engine, parser: &mut Parser, bytes: &[u8]) {
    match bytes {
        b"\x1bn" => engine.shift(CharsetIndex::G2),
        b"\x1bo" => engine.shift(CharsetIndex::G3),
        // Ends a text, which has ended by itself.
        b"\x1b\\" => {}
        _ => parser.advance(engine, bytes),
    }
}

fn csi(engine: &mut Engine, parser: &mut Parser, last: Option<char>, bytes: &[u8]) {
    let csi = Csi::parse(bytes);
    match (csi.marker, csi.intermediates, csi.last) {
        (None, b"", b'b') => {
            if let Some(c) = last {
                // More than a screen of one character is a screen of it.
                for _ in 0..csi.number(0).max(1).min(engine.cols() * engine.rows()) {
                    engine.input(c);
                }
                engine.last = None;
            }
        }
        (Some(b'>'), b"", b'q') if csi.number(0) == 0 => engine.answers.version(),
        (None, b"!", b'p') => engine.soft_reset(),
        // Other device attributes are not answered.
        (Some(_), _, b'c') => {}
        _ => parser.advance(engine, bytes),
    }
}

fn operating_system(engine: &mut Engine, parser: &mut Parser, current_dir: &mut Option<CurrentDir>, text: &[u8]) {
    let Some((number, rest)) = osc(text) else { return };
    match number {
        0 | 2 => {
            let title: String = String::from_utf8_lossy(rest).chars().filter(|c| !c.is_control()).collect();
            engine.set_title(Some(title).filter(|title| !title.is_empty()));
        }
        7 => {
            if let Some(dir) = CurrentDir::parse(rest) {
                *current_dir = Some(dir);
            }
        }
        52 => {}
        _ => {
            parser.advance(engine, b"\x1b]");
            parser.advance(engine, text);
            parser.advance(engine, b"\x07");
        }
    }
}

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }

    fn screen_lines(&self) -> usize {
        usize::from(self.rows)
    }

    fn columns(&self) -> usize {
        usize::from(self.cols)
    }
}
