//! The detach key among what the keyboard sends.
//!
//! It comes as one byte, or, where the program switched the kitty protocol on, as an escape sequence, perhaps split over
//! two reads. Inside a bracketed paste it is text. Pressed once it detaches; pressed again within [`TWICE_WITHIN`] it is
//! sent to the program instead.

use std::time::{Duration, Instant};

use abide_terminal::options::DetachKey;

/// How long the second press of the detach key is waited for.
pub(crate) const TWICE_WITHIN: Duration = Duration::from_millis(250);

/// How long the rest of an escape sequence is waited for.
const PARTIAL_FOR: Duration = Duration::from_millis(50);

/// No escape sequence of a key is longer.
const SEQUENCE_BYTES_MAX: usize = 32;

const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// The key's code in the kitty encoding: that of the key without Control, in lower case.
fn kitty_code(key: DetachKey) -> u32 {
    u32::from((key.byte() | 0x40).to_ascii_lowercase())
}

/// Reads `ESC [ code : … ; modifiers : event ; … u`. `None` if it is not this key with Control alone.
fn kitty_event(key: DetachKey, sequence: &[u8]) -> Option<KeyEvent> {
    let body = std::str::from_utf8(sequence).ok()?.strip_prefix("\x1b[")?.strip_suffix('u')?;
    let mut fields = body.split(';');
    let code = fields.next()?.split(':').next()?.parse::<u32>().ok()?;
    let mut modifiers = fields.next()?.split(':');
    // One is added to the bits; the locks (64, 128) do not count.
    let bits = modifiers.next()?.parse::<u32>().ok()?.checked_sub(1)? & !(64 | 128);
    if code != kitty_code(key) || bits != 4 {
        return None;
    }
    match modifiers.next() {
        None | Some("" | "1") => Some(KeyEvent::Press),
        Some(_) => Some(KeyEvent::Other),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyEvent {
    Press,
    /// A repeat or a release: it is nothing.
    Other,
}

/// Takes the detach key out of what the keyboard sends.
#[derive(Debug)]
pub(crate) struct Keys {
    key: DetachKey,
    /// The beginning of an escape sequence that may be the key.
    partial: Vec<u8>,
    partial_since: Option<Instant>,
    /// The first press, as it came.
    pressed: Option<(Instant, Vec<u8>)>,
    paste: Paste,
}

impl Keys {
    pub(crate) fn new(key: DetachKey) -> Self {
        Self { key, partial: Vec::new(), partial_since: None, pressed: None, paste: Paste::default() }
    }

    pub(crate) fn key(&self) -> DetachKey {
        self.key
    }

    /// Takes what was read and appends to `pass` what is for the program. `kitty`: whether the terminal may send the key
    /// as an escape sequence; if not, nothing is ever held back.
    pub(crate) fn feed(&mut self, bytes: &[u8], kitty: bool, now: Instant, pass: &mut Vec<u8>) {
        for &byte in bytes {
            let in_paste = self.paste.feed(byte);
            if !self.partial.is_empty() {
                self.partial.push(byte);
                self.judge_partial(now, pass);
            } else if in_paste {
                pass.push(byte);
            } else if byte == self.key.byte() {
                self.press(vec![byte], now, pass);
            } else if byte == 0x1B && kitty {
                self.partial.push(byte);
                self.partial_since = Some(now);
            } else {
                pass.push(byte);
            }
        }
    }

    /// Looks whether the sequence so far is the key, is something else, or needs more bytes.
    fn judge_partial(&mut self, now: Instant, pass: &mut Vec<u8>) {
        let more = match *self.partial.as_slice() {
            [0x1B, b'['] => true,
            [0x1B, b'[', .., last] => {
                matches!(last, b'0'..=b'9' | b':' | b';') && self.partial.len() < SEQUENCE_BYTES_MAX
            }
            _ => false,
        };
        if more {
            return;
        }
        let sequence = std::mem::take(&mut self.partial);
        self.partial_since = None;
        match kitty_event(self.key, &sequence) {
            Some(KeyEvent::Press) => self.press(sequence, now, pass),
            Some(KeyEvent::Other) if self.pressed.is_some() => {}
            _ => pass.extend_from_slice(&sequence),
        }
    }

    /// The second press in time is sent; the first one is held until then.
    fn press(&mut self, spelling: Vec<u8>, now: Instant, pass: &mut Vec<u8>) {
        match self.pressed.take() {
            Some((since, _)) if now.saturating_duration_since(since) < TWICE_WITHIN => {
                pass.extend_from_slice(&spelling);
            }
            _ => self.pressed = Some((now, spelling)),
        }
    }

    /// When [`expire`](Self::expire) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let partial = self.partial_since.map(|since| since + PARTIAL_FOR);
        let pressed = self.pressed.as_ref().map(|(since, _)| *since + TWICE_WITHIN);
        partial.into_iter().chain(pressed).min()
    }

    /// Passes on a sequence that did not go on in time; true if the detach key was pressed once.
    pub(crate) fn expire(&mut self, now: Instant, pass: &mut Vec<u8>) -> bool {
        if self.partial_since.is_some_and(|since| since + PARTIAL_FOR <= now) {
            self.partial_since = None;
            pass.append(&mut self.partial);
        }
        self.pressed.as_ref().is_some_and(|(since, _)| *since + TWICE_WITHIN <= now)
    }
}

/// Whether the keyboard's bytes are a bracketed paste just now.
#[derive(Debug, Default)]
struct Paste {
    inside: bool,
    /// How much of the bracket that would change it has been seen.
    matched: usize,
}

impl Paste {
    /// True if this byte belongs to a paste.
    fn feed(&mut self, byte: u8) -> bool {
        let bracket = if self.inside { PASTE_ENDS } else { PASTE_BEGINS };
        let was_inside = self.inside;
        self.matched =
            if bracket.get(self.matched) == Some(&byte) { self.matched + 1 } else { usize::from(byte == 0x1B) };
        if self.matched == bracket.len() {
            self.inside = !self.inside;
            self.matched = 0;
        }
        was_inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds pieces 1 ms apart, lets time pass, and tells what was passed on and whether it detached.
    fn check(pieces: &[&[u8]], kitty: bool) -> (String, bool) {
        let (mut keys, mut now, mut pass) = (Keys::new(DetachKey::default()), Instant::now(), Vec::new());
        for piece in pieces {
            keys.feed(piece, kitty, now, &mut pass);
            now += Duration::from_millis(1);
        }
        let detached = keys.expire(now + Duration::from_secs(1), &mut pass);
        (String::from_utf8(pass).unwrap(), detached)
    }

    #[test]
    fn once_detaches_and_twice_is_sent() {
        assert_eq!(check(&[b"ls\x1c"], false), ("ls".to_owned(), true));
        assert_eq!(check(&[b"\x1c\x1c"], false), ("\x1c".to_owned(), false));
        assert_eq!(check(&[b"\x1c", b"\x1c"], false), ("\x1c".to_owned(), false));
        assert_eq!(check(&[b"\x1c\x1c\x1c"], false), ("\x1c".to_owned(), true));
        assert_eq!(check(&[b"plain"], false), ("plain".to_owned(), false));
    }

    #[test]
    fn too_late_is_not_twice() {
        let (mut keys, now, mut pass) = (Keys::new(DetachKey::default()), Instant::now(), Vec::new());
        keys.feed(b"\x1c", false, now, &mut pass);
        assert!(!keys.expire(now + TWICE_WITHIN / 2, &mut pass));
        assert_eq!(keys.poll_timeout(), Some(now + TWICE_WITHIN));
        assert!(keys.expire(now + TWICE_WITHIN, &mut pass));
        assert!(pass.is_empty());
    }

    #[test]
    fn the_kitty_encoding_is_recognised_split_at_any_byte() {
        for key in ["\x1b[92;5u", "\x1b[92;5:1u", "\x1b[92:124;5u", "\x1b[92;197u"] {
            for cut in 0..key.len() {
                let (first, rest) = key.as_bytes().split_at(cut);
                assert_eq!(check(&[b"a", first, rest, b"b"], true), ("ab".to_owned(), true), "{key:?} at {cut}");
            }
        }
        let pressed_and_released_twice = b"\x1b[92;5u\x1b[92;5:3u\x1b[92;5u";
        assert_eq!(check(&[pressed_and_released_twice], true), ("\x1b[92;5u".to_owned(), false));
    }

    #[test]
    fn other_sequences_are_passed_on_whole() {
        for other in ["\x1b[92;6u", "\x1b[A", "\x1bOP", "\x1b[1;5C", "\x1b[93;5u", "\x1b[92u", "\x1b\x1b", "\x1b[200~"]
        {
            for cut in 0..other.len() {
                let (first, rest) = other.as_bytes().split_at(cut);
                assert_eq!(check(&[first, rest], true), (other.to_owned(), false), "{other:?} at {cut}");
            }
        }
    }

    #[test]
    fn a_lone_escape_is_held_only_where_the_key_may_begin_with_it() {
        let (mut keys, now, mut pass) = (Keys::new(DetachKey::default()), Instant::now(), Vec::new());
        keys.feed(b"\x1b", false, now, &mut pass);
        assert_eq!((pass.as_slice(), keys.poll_timeout()), (&b"\x1b"[..], None));
        pass.clear();
        keys.feed(b"\x1b", true, now, &mut pass);
        assert_eq!((pass.as_slice(), keys.poll_timeout()), (&b""[..], Some(now + PARTIAL_FOR)));
        assert!(!keys.expire(now + PARTIAL_FOR, &mut pass));
        assert_eq!(pass, b"\x1b");
    }

    #[test]
    fn a_paste_is_text() {
        let paste = "\x1b[200~a\x1cb\x1b[201~";
        assert_eq!(check(&[paste.as_bytes()], true), (paste.to_owned(), false));
        assert_eq!(check(&[paste.as_bytes(), b"\x1c"], false), (paste.to_owned(), true));
    }
}
