//! What may be read from the terminal, and what goes to the spill.

use abide_ring::{BrokenPeer, Producer};

/// What to do before the next read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is free space: read.
    Read,
    /// Write valid bytes from `from` to the spill file at `position`, at most `bytes`; then ask again.
    Spill {
        /// First offset to write.
        from: u64,
        /// Position in the file.
        position: u64,
        /// How many.
        bytes: u64,
    },
    /// No space: the program blocks on its next write until the daemon acknowledges, or one comes.
    Full,
}

/// The output side: the ring, and the bound of the spill.
#[derive(Debug)]
pub struct Output {
    ring: Producer,
    spill_bytes_max: u64,
    /// The spill is full or cannot be written: until a daemon comes nothing more is tried.
    spill_failed: bool,
}

impl Output {
    /// An empty ring, no spill.
    pub fn new(ring: Producer, spill_bytes_max: u64) -> Self {
        Self { ring, spill_bytes_max, spill_failed: false }
    }

    /// The ring.
    pub fn ring(&self) -> &Producer {
        &self.ring
    }

    /// The ring, to read into and to write its header.
    pub fn ring_mut(&mut self) -> &mut Producer {
        &mut self.ring
    }

    /// Whether more can be read, and what must be done for it. With a daemon and a full ring the daemon has been asked
    /// to wake the holder. An error: drop the connection, then ask again.
    pub fn room(&mut self) -> Result<Room, BrokenPeer> {
        self.ring.refresh()?;
        if self.ring.free_bytes() > 0 {
            return Ok(Room::Read);
        }
        if self.ring.is_adopted() {
            let sleeps = self.ring.ask_for_space()?;
            return Ok(if sleeps || self.ring.free_bytes() == 0 { Room::Full } else { Room::Read });
        }
        Ok(self.plan_spill())
    }

    /// The older half of the ring goes to the spill, as far as the bound allows.
    fn plan_spill(&mut self) -> Room {
        // A former spill that is acknowledged, cut or not, is overwritten from its beginning.
        if self.ring.acked() > self.ring.spill().end && !self.spill_failed {
            self.ring.begin_spill();
        }
        let spill = self.ring.spill();
        let position = spill.end - spill.start;
        let half = (self.ring.head() - self.ring.valid_start()) / 2;
        let bytes = half.min(self.spill_bytes_max.saturating_sub(position));
        if self.spill_failed || bytes == 0 {
            return Room::Full;
        }
        Room::Spill { from: self.ring.valid_start(), position, bytes }
    }

    /// So many bytes, as [`Room::Spill`] asked, are in the file.
    pub fn spilled(&mut self, bytes: u64) {
        let end = self.ring.valid_start() + bytes;
        self.ring.spilled_to(end);
    }

    /// The file could not be written.
    pub fn spill_failed(&mut self) {
        self.spill_failed = true;
    }

    /// A daemon has come: the spill may be tried again when it is gone.
    pub fn adopted(&mut self) {
        self.spill_failed = false;
    }

    /// Whether all of a spill is acknowledged: its file can be cut to nothing, then [`Output::spill_cut`] is due.
    pub fn spill_is_over(&self) -> bool {
        let spill = self.ring.spill();
        !spill.is_empty() && self.ring.acked() >= spill.end
    }

    /// The file is cut.
    pub fn spill_cut(&mut self) {
        self.ring.end_spill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide_ring::{Copied, Identity, Page};

    fn fill(output: &mut Output, bytes: usize) {
        let filled = output.ring_mut().fill(|free| -> Result<usize, ()> {
            free[..bytes].fill(b'x');
            Ok(bytes)
        });
        assert_eq!(filled, Ok(bytes));
    }

    #[test]
    fn without_a_daemon_the_older_half_is_spilled_up_to_the_bound() {
        let identity = Identity { ring_bytes: 16, output_base: 100, ..Identity::default() };
        let mut output = Output::new(Producer::heap(&identity).unwrap(), 12);
        fill(&mut output, 12); // to the wrap: 100 mod 16 = 4
        assert_eq!(output.room(), Ok(Room::Read));
        fill(&mut output, 4);
        assert_eq!(output.room(), Ok(Room::Spill { from: 100, position: 0, bytes: 8 }));
        output.spilled(8);
        assert_eq!(output.room(), Ok(Room::Read));
        fill(&mut output, 8);
        assert_eq!(output.room(), Ok(Room::Spill { from: 108, position: 8, bytes: 4 }));
        output.spilled(4);
        fill(&mut output, 4);
        assert_eq!(output.room(), Ok(Room::Full));
    }

    #[test]
    fn a_spill_after_an_acknowledged_one_begins_anew() {
        let mut output = Output::new(Producer::heap(&Identity { ring_bytes: 16, ..Identity::default() }).unwrap(), 100);
        fill(&mut output, 16);
        assert_eq!(output.room(), Ok(Room::Spill { from: 0, position: 0, bytes: 8 }));
        output.spilled(8);
        let page = Page::heap();
        let mut daemon = output.ring().heap_consumer(&page, 1).unwrap();
        output.ring_mut().adopt(page, 1);
        assert!(!daemon.ack(10));
        output.ring_mut().release();
        fill(&mut output, 10);
        assert_eq!(output.room(), Ok(Room::Spill { from: 10, position: 0, bytes: 8 }));
        assert_eq!(output.ring().spill(), 10..10);
    }

    #[test]
    fn a_daemon_takes_the_spill_first_and_then_the_ring() {
        let identity = Identity { ring_bytes: 16, ..Identity::default() };
        let mut output = Output::new(Producer::heap(&identity).unwrap(), 100);
        fill(&mut output, 16);
        assert_eq!(output.room(), Ok(Room::Spill { from: 0, position: 0, bytes: 8 }));
        output.spilled(8);
        fill(&mut output, 8);
        let page = Page::heap();
        let mut daemon = output.ring().heap_consumer(&page, 1).unwrap();
        output.ring_mut().adopt(page, 1);
        let mut bytes = Vec::new();
        assert_eq!(daemon.copy_out(0, 100, &mut bytes), Ok(Copied::Spilled { start: 0, end: 8 }));
        assert_eq!(daemon.copy_out(8, 100, &mut bytes), Ok(Copied::Bytes(8)));
        assert_eq!(output.room(), Ok(Room::Full), "a daemon has the ring: nothing is spilled");
        assert!(daemon.ack(8), "the holder asked to be woken");
        assert_eq!(output.room(), Ok(Room::Full));
        assert!(output.spill_is_over());
        output.spill_cut();
        assert!(daemon.ack(9));
        assert_eq!(output.room(), Ok(Room::Read));
    }
}
