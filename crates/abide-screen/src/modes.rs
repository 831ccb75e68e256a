//! The modes that decide what a terminal sends when a key is pressed, the mouse moves or its window changes. The
//! engine has no use for them, so they are kept here; a snapshot asserts each in both directions.

use std::io::Write;

/// Private modes that are on or off, and nothing else: cursor keys, reverse screen, focus reports, bracketed paste,
/// reports of colour scheme and size.
const FLAGS: [u16; 6] = [1, 5, 1004, 2004, 2031, 2048];
/// What the mouse reports: at most one is on.
const TRACKING: [u16; 4] = [9, 1000, 1002, 1003];
/// How the mouse reports it: at most one is on.
const ENCODING: [u16; 4] = [1005, 1006, 1015, 1016];
/// Wheel as cursor keys on the alternate screen: terminals differ in its default, so only a program's wish is repeated.
const ALTERNATE_SCROLL: u16 = 1007;
/// DECNKM, the same mode as DECKPAM and DECKPNM.
const KEYPAD: u16 = 66;

/// Depth of the stack of kitty keyboard flags, as the protocol's author has it; the oldest entries fall out.
const KEYBOARD_DEPTH_MAX: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputModes {
    flags: [bool; FLAGS.len()],
    tracking: Option<u16>,
    encoding: Option<u16>,
    alternate_scroll: Option<bool>,
    pub(crate) application_keypad: bool,
    /// xterm's modifyOtherKeys, 0 to 2.
    pub(crate) modify_other_keys: u8,
}

impl InputModes {
    /// Takes note of private mode `mode`; false if it is none of these.
    pub(crate) fn set(&mut self, mode: u16, on: bool) -> bool {
        if let Some(at) = FLAGS.iter().position(|&flag| flag == mode) {
            self.flags[at] = on;
        } else if TRACKING.contains(&mode) {
            self.tracking = on.then_some(mode);
        } else if ENCODING.contains(&mode) {
            // Off is for the one that is on; another one's off leaves it alone.
            if on || self.encoding == Some(mode) {
                self.encoding = on.then_some(mode);
            }
        } else if mode == ALTERNATE_SCROLL {
            self.alternate_scroll = Some(on);
        } else if mode == KEYPAD {
            self.application_keypad = on;
        } else {
            return false;
        }
        true
    }

    /// Whether private mode `mode` is on; none if it is none of these.
    pub(crate) fn get(&self, mode: u16) -> Option<bool> {
        if let Some(at) = FLAGS.iter().position(|&flag| flag == mode) {
            return Some(self.flags[at]);
        }
        match mode {
            mode if TRACKING.contains(&mode) => Some(self.tracking == Some(mode)),
            mode if ENCODING.contains(&mode) => Some(self.encoding == Some(mode)),
            ALTERNATE_SCROLL => Some(self.alternate_scroll.unwrap_or(false)),
            KEYPAD => Some(self.application_keypad),
            _ => None,
        }
    }

    /// What a soft reset (DECSTR) puts back.
    pub(crate) fn soft_reset(&mut self) {
        self.set(1, false);
        self.application_keypad = false;
    }

    /// Writes the codes that turn all of them off.
    pub(crate) fn write_off(out: &mut Vec<u8>) {
        for mode in FLAGS.iter().chain(&TRACKING).chain(&ENCODING) {
            let _ = write!(out, "\x1b[?{mode}l");
        }
        out.extend_from_slice(b"\x1b>\x1b[>4;0m");
    }

    /// Writes the codes that turn on what is on, on a terminal where all are off.
    pub(crate) fn write_on(&self, out: &mut Vec<u8>) {
        let flags = FLAGS.iter().zip(self.flags).filter_map(|(mode, on)| on.then_some(*mode));
        for mode in flags.chain(self.tracking).chain(self.encoding) {
            let _ = write!(out, "\x1b[?{mode}h");
        }
        if let Some(on) = self.alternate_scroll {
            let _ = write!(out, "\x1b[?{ALTERNATE_SCROLL}{}", if on { 'h' } else { 'l' });
        }
        if self.application_keypad {
            out.extend_from_slice(b"\x1b=");
        }
        if self.modify_other_keys > 0 {
            let _ = write!(out, "\x1b[>4;{}m", self.modify_other_keys);
        }
    }
}

/// The kitty keyboard protocol's flags of one screen: those in force are the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyboardFlags(Vec<u8>);

impl KeyboardFlags {
    pub(crate) fn push(&mut self, flags: u8) {
        if self.0.is_empty() {
            self.0.push(0);
        }
        if self.0.len() == KEYBOARD_DEPTH_MAX {
            self.0.remove(0);
        }
        self.0.push(flags);
    }

    pub(crate) fn pop(&mut self, count: usize) {
        self.0.truncate(self.0.len().saturating_sub(count));
    }

    /// Changes the flags in force; `change` gets those that are.
    pub(crate) fn change(&mut self, change: impl FnOnce(u8) -> u8) {
        match self.0.last_mut() {
            Some(last) => *last = change(*last),
            None => self.0.push(change(0)),
        }
    }

    /// Writes the codes that make the present screen's flags these.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "\x1b[<{KEYBOARD_DEPTH_MAX}u");
        if let Some((first, others)) = self.0.split_first() {
            let _ = write!(out, "\x1b[={first};1u");
            for flags in others {
                let _ = write!(out, "\x1b[>{flags}u");
            }
        }
    }
}
