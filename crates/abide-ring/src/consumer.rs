//! The daemon's side: it reads header and data, acknowledges, and says when the holder must be woken.

use std::os::fd::BorrowedFd;

use crate::layout::{Header, Invalid};
use crate::producer::{acquire, place};
use crate::shm::{MapError, Page, RingMemory};
use crate::sync::{Ordering, fence};

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// So many bytes were appended to the caller's buffer; at least one.
    Bytes(usize),
    /// Nothing lies beyond the offset asked for. Sleep, or wait for the end.
    Nothing,
    /// The offset lies in the spill, or did before the spill could be read: read the file from `offset − start` up to
    /// `end`, then ask the ring again.
    Spilled {
        /// First offset in the spill.
        start: u64,
        /// Offset after the last one in the spill.
        end: u64,
    },
}

/// Why nothing can be read. What was copied before is as it was; nothing of this read was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A newer daemon has the ring. The caller stops using it, and acknowledges nothing more.
    #[error("daemon epoch {0} has adopted the holder")]
    Stale(u64),
    /// The holder does not keep to the cursor rules. The caller drops it as one of an unknown version.
    #[error("the ring's cursors are broken: head {head}, valid from {valid}, asked for {from}")]
    Broken {
        /// The head as found.
        head: u64,
        /// Start of the valid data as found.
        valid: u64,
        /// The offset asked for.
        from: u64,
    },
}

/// What a sleeper has seen of the ring; anything else wakes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Offset after the last byte of output.
    pub head: u64,
    /// The final head, or [`crate::NO_EOF`].
    pub eof_offset: u64,
    state: u32,
}

/// The reader of a ring for one adoption.
pub struct Consumer {
    ring: RingMemory,
    page: Page,
    daemon_epoch: u64,
    acked: u64,
    head: u64,
}

impl core::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut debug = f.debug_struct("Consumer");
        debug.field("daemon_epoch", &self.daemon_epoch).field("acked", &self.acked).finish_non_exhaustive()
    }
}

impl Consumer {
    /// Maps the ring (for reading) and the page that came with `adopted`. `daemon_epoch` is the adopter's own.
    pub fn map(ring: BorrowedFd<'_>, page: BorrowedFd<'_>, daemon_epoch: u64) -> Result<Self, MapError> {
        Ok(Self::new(RingMemory::open(ring)?, Page::open(page)?, daemon_epoch))
    }

    pub(crate) fn new(ring: RingMemory, page: Page, daemon_epoch: u64) -> Self {
        let acked = acquire(&page.fields().output_acked);
        Self { ring, page, daemon_epoch, acked, head: acked }
    }

    /// The header as it stands; also of a dead holder.
    pub fn header(&self) -> Result<Header, Invalid> {
        self.ring.fields().load()
    }

    /// What is to be seen now; taken before a round of reading, given to [`Consumer::sleep`] after it.
    pub fn mark(&self) -> Mark {
        let fields = self.ring.fields();
        let state = fields.state.load(Ordering::Acquire);
        let eof_offset = acquire(&fields.eof_offset);
        Mark { head: acquire(&fields.output_head), eof_offset, state }
    }

    /// What this daemon, or the one before, acknowledged last.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Input bytes of the present owner epoch that are written to the PTY; meaningless while an `owner` frame is
    /// unanswered.
    pub fn input_applied(&self) -> u64 {
        acquire(&self.ring.fields().input_applied)
    }

    /// The same for one owner epoch: 0 while the holder has not come to it.
    pub fn input_applied_in(&self, owner_epoch: u32) -> u64 {
        // The holder stores the epoch behind the count that begins with it.
        let current = acquire(&self.ring.fields().owner_epoch) == u64::from(owner_epoch);
        if current { self.input_applied() } else { 0 }
    }

    /// Whether no other daemon has adopted the holder; after a fence, so that what was copied before is judged by it.
    pub fn check_current(&self) -> Result<(), ReadError> {
        fence(Ordering::SeqCst);
        let epoch = acquire(&self.ring.fields().daemon_epoch);
        // Before the holder has stored ours it has an older one; only a newer one took the ring away.
        if epoch > self.daemon_epoch { Err(ReadError::Stale(epoch)) } else { Ok(()) }
    }

    /// Appends up to `max` bytes of output from offset `from` on to `out`. Fewer come at the wrap: ask again.
    ///
    /// `from` may lie anywhere in spill or ring at or after [`Consumer::acked`]. On an error, and when the bytes were
    /// moved to the spill meanwhile, `out` is as before.
    pub fn copy_out(&mut self, from: u64, max: usize, out: &mut Vec<u8>) -> Result<Copied, ReadError> {
        let length = out.len();
        let read = self.try_copy(from, max, out);
        if let Err(stale) = self.check_current() {
            // A former daemon sees cursors that are not its own: whatever it found means nothing.
            out.truncate(length);
            return Err(stale);
        }
        let spill_end = acquire(&self.ring.fields().spill_end);
        if from < spill_end {
            out.truncate(length);
            return Ok(Copied::Spilled { start: acquire(&self.ring.fields().spill_start), end: spill_end });
        }
        read
    }

    fn try_copy(&mut self, from: u64, max: usize, out: &mut Vec<u8>) -> Result<Copied, ReadError> {
        let fields = self.ring.fields();
        let head = acquire(&fields.output_head);
        let valid = self.acked.max(acquire(&fields.spill_end));
        let ring_bytes = self.ring.data_bytes();
        let shrank = head < self.head;
        if shrank || head.saturating_sub(valid) > ring_bytes as u64 || from > head || from < self.acked {
            return Err(ReadError::Broken { head, valid, from });
        }
        self.head = head;
        let (at, to_wrap) = place(from, ring_bytes);
        let bytes = usize::try_from(head - from).map_or(max, |bytes| bytes.min(max)).min(to_wrap);
        if bytes == 0 || from < valid {
            return Ok(Copied::Nothing);
        }
        self.ring.copy_to(at, bytes, out);
        Ok(Copied::Bytes(bytes))
    }

    /// Bytes below `to` are in the journal. Returns whether the eventfd to the holder must be written.
    ///
    /// # Panics
    /// If `to` shrinks, or lies above what was read: the holder would drop the connection.
    #[must_use]
    pub fn ack(&mut self, to: u64) -> bool {
        assert!(to >= self.acked && to <= acquire(&self.ring.fields().output_head), "acknowledged what was read");
        self.acked = to;
        let page = self.page.fields();
        page.output_acked.store(to, Ordering::Release);
        fence(Ordering::SeqCst);
        page.holder_waits.load(Ordering::Relaxed) == 1 && page.holder_waits.swap(0, Ordering::Relaxed) == 1
    }

    /// Asks to be woken through the eventfd when anything differs from `seen`. `false`: it already does, read again
    /// instead of sleeping.
    #[must_use]
    pub fn sleep(&self, seen: Mark) -> bool {
        self.page.fields().daemon_waits.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.mark() == seen
    }
}
