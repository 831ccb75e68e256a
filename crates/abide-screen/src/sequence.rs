//! Cuts a program's output into text and control sequences, wherever the reads happen to end.
//!
//! The model, the query filter and plain text all need to know where a sequence begins and ends, and all may be stopped
//! between any two bytes. What has begun and not ended is held here, so that none has a second idea of it.

/// Longest control sequence that is looked into, introducer and terminator included. Of a longer one the first bytes
/// are kept, and it has no effect on a model.
pub(crate) const SEQUENCE_BYTES_MAX: usize = 4096;

const ESC: u8 = 0x1b;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const BEL: u8 = 0x07;
/// First byte of the two that UTF-8 gives to U+0080 … U+00BF, thus to the eight-bit control characters.
const C1_LEAD: u8 = 0xc2;

/// What a complete sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ESC x`, with intermediates or without.
    Escape,
    /// `ESC [` parameters, intermediates, one final byte.
    Csi,
    /// `ESC ]` text, ended by BEL or `ESC \`.
    Osc,
    /// `ESC P` text, ended by `ESC \`.
    Dcs,
    /// Application program commands: `ESC _` text, ended by `ESC \`.
    Apc,
    /// `ESC X` and `ESC ^`: text without any meaning, ended by `ESC \`.
    Ignored,
}

/// One piece of output, in the order written.
#[derive(Debug)]
pub(crate) enum Token<'a> {
    /// Whole characters and C0 controls.
    Text(&'a [u8]),
    /// Bytes that are no character.
    Broken(&'a [u8]),
    /// A C0 control inside a sequence: it acts at once. Its byte comes again within the sequence.
    Control(u8),
    /// A complete sequence as it was written.
    Sequence(Kind, &'a [u8]),
    /// A sequence that was broken off; it has no effect.
    Cancelled(&'a [u8]),
    /// The first [`SEQUENCE_BYTES_MAX`] bytes of a longer sequence; its other bytes follow as `LongPart`.
    Long(Kind, &'a [u8]),
    /// More of a long sequence.
    LongPart(&'a [u8]),
    /// The long sequence is over.
    LongEnd,
}

impl Token<'_> {
    /// How many bytes of output it stands for: over all tokens each byte is counted once.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Text(bytes)
            | Self::Broken(bytes)
            | Self::Sequence(_, bytes)
            | Self::Cancelled(bytes)
            | Self::Long(_, bytes)
            | Self::LongPart(bytes) => bytes.len() as u64,
            // Its byte comes again within the sequence; the end of a long one has none.
            Self::Control(_) | Self::LongEnd => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    Intermediate,
    Csi,
    Text(Kind),
    /// ESC within text: ends it, with `\` as part of it, with anything else as the begin of the next sequence.
    TextEscape(Kind),
    /// 0xC2 within text: U+009C ends it.
    TextLead(Kind),
}

enum Step {
    Inside,
    Control,
    End(Kind),
    Cancel,
    /// The byte is an ESC that cancels the sequence and begins another.
    Again,
    /// The text ended before the ESC that came last; that ESC and this byte belong to the next sequence.
    EndBefore(Kind),
}

/// Streaming cutter; holds at most [`SEQUENCE_BYTES_MAX`] bytes.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    held: Vec<u8>,
    long: bool,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { state: State::Ground, held: Vec::new(), long: false }
    }

    /// What has begun and not ended: an incomplete character, or the first bytes of a sequence. Without an ESC at its
    /// end, if [`Self::ends_in_escape`].
    pub(crate) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Whether the sequence under way is longer than what is held of it.
    pub(crate) fn is_long(&self) -> bool {
        self.long
    }

    /// Whether an ESC within text came last: the first half of its end, or the begin of another sequence.
    pub(crate) fn ends_in_escape(&self) -> bool {
        matches!(self.state, State::TextEscape(_))
    }

    /// What kind of sequence is held; none for an incomplete character, and where only ESC came so far `Escape`.
    pub(crate) fn held_kind(&self) -> Option<Kind> {
        match self.state {
            State::Ground => None,
            State::Escape | State::Intermediate => Some(Kind::Escape),
            State::Csi => Some(Kind::Csi),
            State::Text(kind) | State::TextEscape(kind) | State::TextLead(kind) => Some(kind),
        }
    }

    /// Cuts `bytes`, which follow those of the last call.
    pub(crate) fn scan(&mut self, bytes: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += if self.state != State::Ground {
                self.sequence(rest, sink)
            } else if self.held.is_empty() {
                self.text(rest, sink)
            } else {
                self.character(rest, sink)
            };
        }
    }

    /// Takes text up to the next introducer; returns how much of `bytes` that was.
    fn text(&mut self, bytes: &[u8], sink: &mut impl FnMut(Token<'_>)) -> usize {
        let mut from = 0;
        while let Some(found) = memchr::memchr2(ESC, C1_LEAD, &bytes[from..]).map(|found| from + found) {
            if bytes[found] == ESC {
                emit_text(&bytes[..found], sink);
                if let Some(csi) = whole_csi(&bytes[found..]) {
                    sink(Token::Sequence(Kind::Csi, csi));
                    return found + csi.len();
                }
                self.state = State::Escape;
                return found + self.begin(&bytes[found..], 1, sink);
            }
            if let Some(state) = bytes.get(found + 1).and_then(|&second| c1(second)) {
                emit_text(&bytes[..found], sink);
                self.state = state;
                return found + self.begin(&bytes[found..], 2, sink);
            }
            from = found + 1;
        }
        let whole = bytes.len() - incomplete(bytes);
        if whole > 0 {
            sink(Token::Text(&bytes[..whole]));
        }
        self.held.extend_from_slice(&bytes[whole..]);
        bytes.len()
    }

    /// Completes the character that the last call left incomplete.
    fn character(&mut self, bytes: &[u8], sink: &mut impl FnMut(Token<'_>)) -> usize {
        if let (&[C1_LEAD], Some(state)) = (&self.held[..], c1(bytes[0])) {
            self.state = state;
            self.held.push(bytes[0]);
            if state == State::Ground {
                sink(Token::Sequence(Kind::Escape, &self.held));
                self.held.clear();
            }
            return 1;
        }
        self.held.push(bytes[0]);
        match std::str::from_utf8(&self.held) {
            Ok(_) => sink(Token::Text(&self.held)),
            Err(error) if error.error_len().is_none() => return 1,
            Err(_) => {
                self.held.pop();
                sink(Token::Broken(&self.held));
                self.held.clear();
                return 0;
            }
        }
        self.held.clear();
        1
    }

    /// A sequence whose introducer is the first `introducer` of `bytes`: goes on with it without copying it.
    fn begin(&mut self, bytes: &[u8], introducer: usize, sink: &mut impl FnMut(Token<'_>)) -> usize {
        if self.state == State::Ground {
            sink(Token::Sequence(Kind::Escape, &bytes[..introducer]));
            return introducer;
        }
        self.walk(bytes, introducer, sink)
    }

    fn sequence(&mut self, bytes: &[u8], sink: &mut impl FnMut(Token<'_>)) -> usize {
        self.walk(bytes, 0, sink)
    }

    /// Steps through `bytes[from..]` to the end of the sequence, of which `bytes[..from]` are known to be part.
    fn walk(&mut self, bytes: &[u8], from: usize, sink: &mut impl FnMut(Token<'_>)) -> usize {
        if let State::TextEscape(kind) = self.state {
            return self.after_escape(kind, bytes[0], sink);
        }
        for (at, &byte) in bytes.iter().enumerate().skip(from) {
            match self.step(byte) {
                Step::Inside => {}
                Step::Control => sink(Token::Control(byte)),
                Step::End(kind) => {
                    self.finish(kind, &bytes[..=at], sink);
                    self.state = State::Ground;
                    return at + 1;
                }
                Step::Cancel => {
                    self.cancel(&bytes[..=at], sink);
                    self.state = State::Ground;
                    return at + 1;
                }
                Step::Again => {
                    self.cancel(&bytes[..at], sink);
                    self.state = State::Escape;
                    self.held.push(ESC);
                    return at + 1;
                }
                Step::EndBefore(kind) => {
                    self.finish(kind, &bytes[..at - 1], sink);
                    self.state = State::Escape;
                    self.held.push(ESC);
                    return at;
                }
            }
        }
        let owed = usize::from(matches!(self.state, State::TextEscape(_)));
        self.hold(&bytes[..bytes.len() - owed], sink);
        bytes.len()
    }

    /// The last call ended with an ESC within text, which is not held: it may belong to the next sequence.
    fn after_escape(&mut self, kind: Kind, byte: u8, sink: &mut impl FnMut(Token<'_>)) -> usize {
        if byte == b'\\' {
            self.finish(kind, b"\x1b\\", sink);
            self.state = State::Ground;
            return 1;
        }
        self.finish(kind, &[], sink);
        self.state = State::Escape;
        self.held.push(ESC);
        0
    }

    fn finish(&mut self, kind: Kind, more: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        if !self.long && self.held.len() + more.len() <= SEQUENCE_BYTES_MAX {
            if self.held.is_empty() {
                sink(Token::Sequence(kind, more));
            } else {
                self.held.extend_from_slice(more);
                sink(Token::Sequence(kind, &self.held));
            }
        } else {
            self.hold(more, sink);
            sink(Token::LongEnd);
        }
        self.held.clear();
        self.long = false;
    }

    fn cancel(&mut self, more: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        if self.long {
            sink(Token::LongPart(more));
            sink(Token::LongEnd);
        } else {
            if !self.held.is_empty() {
                sink(Token::Cancelled(&self.held));
            }
            sink(Token::Cancelled(more));
        }
        self.held.clear();
        self.long = false;
    }

    fn hold(&mut self, more: &[u8], sink: &mut impl FnMut(Token<'_>)) {
        let room = SEQUENCE_BYTES_MAX - self.held.len().min(SEQUENCE_BYTES_MAX);
        let (kept, over) = more.split_at(room.min(more.len()));
        self.held.extend_from_slice(kept);
        if over.is_empty() {
            return;
        }
        if !self.long {
            self.long = true;
            sink(Token::Long(self.held_kind().unwrap_or(Kind::Ignored), &self.held));
        }
        sink(Token::LongPart(over));
    }

    fn step(&mut self, byte: u8) -> Step {
        match (self.state, byte) {
            (State::Text(kind), _) => self.step_text(kind, byte),
            (State::TextLead(kind), 0x9c) | (State::TextEscape(kind), b'\\') => Step::End(kind),
            (State::TextLead(kind), _) => {
                self.state = State::Text(kind);
                self.step_text(kind, byte)
            }
            (State::TextEscape(kind), _) => Step::EndBefore(kind),
            (_, ESC) => Step::Again,
            (_, CAN | SUB) => Step::Cancel,
            (_, 0x00..=0x1f) => Step::Control,
            (State::Escape, _) => self.step_escape(byte),
            (State::Intermediate, 0x30..=0x7e) => Step::End(Kind::Escape),
            (State::Csi, 0x40..=0x7e) => Step::End(Kind::Csi),
            _ => Step::Inside,
        }
    }

    fn step_escape(&mut self, byte: u8) -> Step {
        self.state = match byte {
            b'[' => State::Csi,
            b']' => State::Text(Kind::Osc),
            b'P' => State::Text(Kind::Dcs),
            b'_' => State::Text(Kind::Apc),
            b'X' | b'^' => State::Text(Kind::Ignored),
            0x20..=0x2f => State::Intermediate,
            0x30..=0x7e => return Step::End(Kind::Escape),
            _ => State::Escape,
        };
        Step::Inside
    }

    fn step_text(&mut self, kind: Kind, byte: u8) -> Step {
        match byte {
            BEL if kind == Kind::Osc => return Step::End(kind),
            CAN | SUB => return Step::Cancel,
            ESC => self.state = State::TextEscape(kind),
            C1_LEAD => self.state = State::TextLead(kind),
            _ => {}
        }
        Step::Inside
    }
}

/// The CSI sequence that `bytes` begin with, if it is there to its end and ordinary: most sequences are.
fn whole_csi(bytes: &[u8]) -> Option<&[u8]> {
    let body = bytes.strip_prefix(b"\x1b[")?;
    let end = body.iter().take(64).position(|byte| !(0x20..=0x3f).contains(byte))?;
    (0x40..=0x7e).contains(&body[end]).then(|| &bytes[..end + 3])
}

/// Emits text that a sequence follows: what is incomplete at its end stays so.
fn emit_text(text: &[u8], sink: &mut impl FnMut(Token<'_>)) {
    let (whole, broken) = text.split_at(text.len() - incomplete(text));
    if !whole.is_empty() {
        sink(Token::Text(whole));
    }
    if !broken.is_empty() {
        sink(Token::Broken(broken));
    }
}

/// The state behind an eight-bit control character, given the second of its two bytes; ground where it is complete.
fn c1(second: u8) -> Option<State> {
    match second {
        0x9b => Some(State::Csi),
        0x9d => Some(State::Text(Kind::Osc)),
        0x90 => Some(State::Text(Kind::Dcs)),
        0x9f => Some(State::Text(Kind::Apc)),
        0x98 | 0x9e => Some(State::Text(Kind::Ignored)),
        0x80..=0x9f => Some(State::Ground),
        _ => None,
    }
}

/// How many bytes at the end of `bytes` begin a character that goes on behind them.
fn incomplete(bytes: &[u8]) -> usize {
    if bytes.last().is_none_or(u8::is_ascii) {
        return 0;
    }
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(lead) = tail.iter().rposition(|&byte| byte >= 0xc0) else { return 0 };
    match std::str::from_utf8(&tail[lead..]) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() == 0 => tail.len() - lead,
        _ => 0,
    }
}
