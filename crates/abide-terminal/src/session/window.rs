//! The window of a session's input: which bytes of a frame are new, and whether they may be taken.

use crate::ids::{InputOffset, OwnerEpoch};
use crate::protocol::limits::INPUT_WINDOW_BYTES;

/// The accepted end of the present owner's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    epoch: OwnerEpoch,
    end: InputOffset,
}

/// What becomes of an input frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Its bytes from here on are new; all of it may be known already.
    From(usize),
    /// It begins beyond the accepted end, which is this.
    Gap(InputOffset),
    /// It would pass the window: it is refused whole.
    Full,
    /// It is of another epoch.
    Stale,
}

impl Window {
    /// The window of an epoch of which `applied` bytes are known to be written.
    pub fn new(epoch: OwnerEpoch, applied: InputOffset) -> Self {
        Self { epoch, end: applied }
    }

    /// The epoch that is counted.
    pub fn epoch(&self) -> OwnerEpoch {
        self.epoch
    }

    /// The offset after the last byte accepted.
    pub fn end(&self) -> InputOffset {
        self.end
    }

    /// Takes a frame of `len` bytes at `offset` in; `applied` is what the holder's header says at this moment.
    pub fn accept(&mut self, epoch: OwnerEpoch, offset: InputOffset, len: usize, applied: InputOffset) -> Accepted {
        if epoch != self.epoch {
            return Accepted::Stale;
        }
        if offset > self.end {
            return Accepted::Gap(self.end);
        }
        let frame_end = offset.0.saturating_add(len as u64);
        if frame_end > applied.0.saturating_add(INPUT_WINDOW_BYTES) {
            return Accepted::Full;
        }
        let known = usize::try_from(self.end.0 - offset.0).unwrap_or(len).min(len);
        self.end = InputOffset(self.end.0.max(frame_end));
        Accepted::From(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_input_is_cut_off_and_the_rest_taken_once() {
        let mut window = Window::new(OwnerEpoch(2), InputOffset(10));
        let mut take = |epoch, offset, len| window.accept(OwnerEpoch(epoch), InputOffset(offset), len, InputOffset(10));
        assert_eq!(take(2, 4, 8), Accepted::From(6));
        assert_eq!(take(2, 4, 8), Accepted::From(8), "all of it is known");
        assert_eq!(take(2, 13, 1), Accepted::Gap(InputOffset(12)));
        assert_eq!(take(1, 12, 1), Accepted::Stale);
        assert_eq!(take(2, 12, 65_535), Accepted::Full);
        assert_eq!(take(2, 12, 65_534), Accepted::From(0));
        assert_eq!(window.end(), InputOffset(65_546));
    }
}
