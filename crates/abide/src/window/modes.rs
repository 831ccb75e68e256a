//! What the program has switched on in the user's terminal, as far as leaving it must know.
//!
//! Everything but this is put back without looking; but leaving an alternate screen that is not there would move the
//! cursor, no line of ours may be written over one, and a key may come as a kitty sequence only after it was asked for.

/// The longest parameters that are looked at.
const PARAMETERS_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    Parameters,
}

/// Follows the program's output.
#[derive(Debug)]
pub(crate) struct Modes {
    state: State,
    parameters: Vec<u8>,
    /// The alternate screen is shown.
    pub(crate) alternate: bool,
    /// The kitty keyboard protocol was switched on at some time.
    pub(crate) kitty: bool,
}

impl Modes {
    pub(crate) fn new() -> Self {
        Self { state: State::Ground, parameters: Vec::new(), alternate: false, kitty: false }
    }

    /// Takes output, cut anywhere.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.state == State::Ground {
                // Text is passed over as a whole.
                let Some(escape) = bytes.iter().position(|byte| *byte == 0x1B) else { return };
                self.state = State::Escape;
                bytes = bytes.get(escape + 1..).unwrap_or_default();
            } else if let Some((byte, rest)) = bytes.split_first() {
                self.step(*byte);
                bytes = rest;
            }
        }
    }

    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (_, 0x1B) => State::Escape,
            (State::Escape, b'[') => {
                self.parameters.clear();
                State::Parameters
            }
            (State::Escape, b'c') => {
                self.alternate = false;
                State::Ground
            }
            (State::Parameters, b'0'..=b'?') if self.parameters.len() < PARAMETERS_BYTES_MAX => {
                self.parameters.push(byte);
                State::Parameters
            }
            (State::Parameters, final_byte) => {
                self.apply(final_byte);
                State::Ground
            }
            (State::Escape | State::Ground, _) => State::Ground,
        };
    }

    fn apply(&mut self, final_byte: u8) {
        match (self.parameters.split_first(), final_byte) {
            (Some((b'?', modes)), b'h' | b'l') if modes.split(|byte| *byte == b';').any(is_alternate) => {
                self.alternate = final_byte == b'h';
            }
            (Some((b'>' | b'=', _)), b'u') => self.kitty = true,
            _ => {}
        }
    }
}

/// The three modes that show the alternate screen.
fn is_alternate(mode: &[u8]) -> bool {
    matches!(mode, b"47" | b"1047" | b"1049")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alternate_screen_is_followed_wherever_output_is_cut() {
        let output = b"text\x1b[1;31mred\x1b[?25;1049hvim\x1b[?7l";
        for cut in 0..output.len() {
            let mut modes = Modes::new();
            modes.feed(&output[..cut]);
            modes.feed(&output[cut..]);
            assert!(modes.alternate && !modes.kitty, "cut at {cut}");
            modes.feed(b"\x1b[?1049l\x1b[>1u");
            assert!(!modes.alternate && modes.kitty);
        }
    }

    #[test]
    fn a_reset_leaves_it_and_garbage_does_not() {
        let mut modes = Modes::new();
        modes.feed(b"\x1b[?47h");
        modes.feed(&[b'\x1b', b'[', b'?'].into_iter().chain([b'1'; 500]).chain(*b"049l").collect::<Vec<u8>>());
        assert!(modes.alternate);
        modes.feed(b"\x1bc");
        assert!(!modes.alternate);
    }
}
