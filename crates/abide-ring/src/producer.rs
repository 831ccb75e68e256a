//! The holder's side: it writes the header and the data, and says when the daemon must be woken.

use std::os::fd::OwnedFd;

use crate::consumer::Consumer;
use crate::layout::{Header, Identity, Invalid, State, pack_size};
use crate::shm::{MapError, Page, RingMemory};
use crate::sync::{AtomicU64, Ordering, fence};

/// The daemon's cursor left the range that an honest daemon keeps to. The holder drops the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("output_acked is {found}, outside {least}..={most}")]
pub struct BrokenPeer {
    /// What was found on the page.
    pub found: u64,
    /// The former value: it may not shrink.
    pub least: u64,
    /// The head: what was not read cannot be acknowledged.
    pub most: u64,
}

/// The only writer of a ring. After it is made, nothing here allocates heap memory.
pub struct Producer {
    ring: RingMemory,
    page: Option<Page>,
    head: u64,
    acked: u64,
    spill_start: u64,
    spill_end: u64,
}

impl core::fmt::Debug for Producer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("head", &self.head)
            .field("acked", &self.acked)
            .field("spill", &(self.spill_start..self.spill_end))
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// A ring in memory to share with daemons, and its descriptor (sealed: only this process can write it).
    pub fn create(identity: &Identity) -> Result<(Self, OwnedFd), MapError> {
        let (ring, fd) = RingMemory::create(identity)?;
        Ok((Self::new(ring, identity), fd))
    }

    /// A ring within this process, of any power of two, for simulation and tests.
    pub fn heap(identity: &Identity) -> Result<Self, Invalid> {
        Ok(Self::new(RingMemory::heap(identity)?, identity))
    }

    fn new(ring: RingMemory, identity: &Identity) -> Self {
        let base = identity.output_base;
        Self { ring, page: None, head: base, acked: base, spill_start: base, spill_end: base }
    }

    /// The daemon's side of a ring on the heap, with the page that [`Producer::adopt`] is then given; `None` if ring or
    /// page are mapped.
    pub fn heap_consumer(&self, page: &Page, daemon_epoch: u64) -> Option<Consumer> {
        let page = page.share_heap()?;
        page.fields().output_acked.store(self.acked, Ordering::Relaxed);
        Some(Consumer::new(self.ring.share_heap()?, page, daemon_epoch))
    }

    /// Gives the ring to a new daemon: its page begins where the former one ended. Before the page is shared.
    pub fn adopt(&mut self, page: Page, daemon_epoch: u64) {
        self.release();
        page.fields().output_acked.store(self.acked, Ordering::Relaxed);
        self.ring.fields().daemon_epoch.store(daemon_epoch, Ordering::Release);
        // A former daemon that copies sees the new epoch no later than bytes written from here on.
        fence(Ordering::SeqCst);
        self.page = Some(page);
    }

    /// Ends an adoption: its cursor is taken a last time as far as it is believable, then its page is let go.
    pub fn release(&mut self) {
        if let Some(page) = self.page.take() {
            let last = page.fields().output_acked.load(Ordering::Acquire);
            self.acked = last.clamp(self.acked, self.head);
        }
    }

    /// Whether a daemon has the ring.
    pub fn is_adopted(&self) -> bool {
        self.page.is_some()
    }

    /// Takes the daemon's cursor. A value that shrank or lies beyond the head ends the adoption.
    pub fn refresh(&mut self) -> Result<(), BrokenPeer> {
        let Some(page) = &self.page else { return Ok(()) };
        let found = page.fields().output_acked.load(Ordering::Acquire);
        if found < self.acked || found > self.head {
            return Err(BrokenPeer { found, least: self.acked, most: self.head });
        }
        self.acked = found;
        Ok(())
    }

    /// Offset after the last byte of output.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The daemon's cursor as last taken: bytes below are in its journal.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// The range that lies in the spill.
    pub fn spill(&self) -> core::ops::Range<u64> {
        self.spill_start..self.spill_end
    }

    /// First offset whose byte lies in the ring and is still needed.
    pub fn valid_start(&self) -> u64 {
        self.acked.max(self.spill_end)
    }

    /// Data bytes of the ring.
    pub fn ring_bytes(&self) -> u64 {
        self.ring.data_bytes() as u64
    }

    /// Bytes that can be taken in now.
    pub fn free_bytes(&self) -> u64 {
        self.ring_bytes() - (self.head - self.valid_start())
    }

    /// Lets `read` write output into free space (up to the wrap) and publishes as many bytes as it returns; the daemon
    /// is not woken by this. Without free space `read` gets an empty slice.
    pub fn fill<E>(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        let (at, to_wrap) = self.place(self.head);
        let bytes = usize::try_from(self.free_bytes()).map_or(to_wrap, |free| free.min(to_wrap));
        let taken = self.ring.with_free(at, bytes, read)?;
        assert!(taken <= bytes, "no more was read than there was room for");
        self.head += taken as u64;
        self.ring.fields().output_head.store(self.head, Ordering::Release);
        Ok(taken)
    }

    /// Lends the valid bytes from `from` (up to the wrap, at most `max`), to be written to the spill.
    pub fn with_valid<R>(&self, from: u64, max: u64, read: impl FnOnce(&[u8]) -> R) -> R {
        assert!(from >= self.valid_start() && from <= self.head, "the bytes are valid");
        let (at, to_wrap) = self.place(from);
        let bytes = usize::try_from((self.head - from).min(max)).map_or(to_wrap, |bytes| bytes.min(to_wrap));
        self.ring.with_valid(at, bytes, read)
    }

    /// An empty spill begins at what is needed next; any former content is acknowledged.
    pub fn begin_spill(&mut self) {
        assert!(self.acked >= self.spill_end, "what is in the spill is acknowledged");
        let fields = self.ring.fields();
        fields.spill_end.store(self.acked, Ordering::Release);
        fields.spill_start.store(self.acked, Ordering::Release);
        (self.spill_start, self.spill_end) = (self.acked, self.acked);
    }

    /// All of the spill is acknowledged and its file is cut: it is empty, where it ended.
    pub fn end_spill(&mut self) {
        assert!(self.acked >= self.spill_end, "what is in the spill is acknowledged");
        self.spill_start = self.spill_end;
        self.ring.fields().spill_start.store(self.spill_end, Ordering::Release);
    }

    /// Bytes below `end` are in the spill now; their place in the ring is free.
    pub fn spilled_to(&mut self, end: u64) {
        assert!(end >= self.spill_end && end <= self.head, "the spill grows, up to the head");
        self.spill_end = end;
        self.ring.fields().spill_end.store(end, Ordering::Release);
        // A reader that copies what is overwritten from here on sees that it was spilled.
        fence(Ordering::SeqCst);
    }

    /// After moving the head or changing state or `eof_offset`: whether the eventfd to the daemon must be written.
    #[must_use]
    pub fn must_wake_daemon(&self) -> bool {
        let Some(page) = &self.page else { return false };
        fence(Ordering::SeqCst);
        let waits = &page.fields().daemon_waits;
        waits.load(Ordering::Relaxed) == 1 && waits.swap(0, Ordering::Relaxed) == 1
    }

    /// Asks to be woken when the daemon acknowledges more than was taken so far. `Ok(false)`: it already has, look
    /// again instead of sleeping.
    pub fn ask_for_space(&mut self) -> Result<bool, BrokenPeer> {
        let before = self.acked;
        if let Some(page) = &self.page {
            page.fields().holder_waits.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
        self.refresh()?;
        Ok(self.acked == before)
    }

    /// The program runs.
    pub fn set_running(&mut self, pid: u32, start_time: u64) {
        let fields = self.ring.fields();
        fields.child_pid.store(pid, Ordering::Relaxed);
        fields.child_start.store(start_time, Ordering::Relaxed);
        fields.state.store(State::Running.code(), Ordering::Release);
    }

    /// The program could not be started.
    pub fn set_failed(&mut self, step: u32, errno: u32) {
        let fields = self.ring.fields();
        fields.step.store(step, Ordering::Relaxed);
        fields.errno.store(errno, Ordering::Relaxed);
        fields.state.store(State::Failed.code(), Ordering::Release);
    }

    /// The program has ended.
    pub fn set_ended(&mut self, wait_status: u32, exited_ms: u64) {
        let fields = self.ring.fields();
        fields.wait_status.store(wait_status, Ordering::Relaxed);
        fields.exited_ms.store(exited_ms, Ordering::Relaxed);
        fields.state.store(State::Ended.code(), Ordering::Release);
    }

    /// The terminal has ended: the head is final.
    pub fn set_eof(&mut self) {
        self.ring.fields().eof_offset.store(self.head, Ordering::Release);
    }

    /// The terminal's size.
    pub fn set_size(&mut self, cols: u16, rows: u16) {
        self.ring.fields().size.store(pack_size(cols, rows), Ordering::Relaxed);
    }

    /// Input bytes written to the terminal in this owner epoch; after the write.
    pub fn set_input_applied(&mut self, bytes: u64) {
        self.ring.fields().input_applied.store(bytes, Ordering::Release);
    }

    /// A new owner epoch: its count begins at 0, `former` is the last epoch that wrote any, with its final count.
    pub fn set_owner(&mut self, epoch: u32, former_epoch: u32, former_applied: u64) {
        let fields = self.ring.fields();
        fields.former_applied.store(former_applied, Ordering::Relaxed);
        fields.former_epoch.store(u64::from(former_epoch), Ordering::Relaxed);
        fields.input_applied.store(0, Ordering::Relaxed);
        fields.owner_epoch.store(u64::from(epoch), Ordering::Release);
    }

    /// The header as it stands.
    pub fn header(&self) -> Header {
        match self.ring.fields().load() {
            Ok(header) => header,
            // Nobody else can write it, and nothing else is ever written.
            Err(invalid) => unreachable!("a header of our own: {invalid}"),
        }
    }

    /// Position of an offset in the data, and the bytes from there to the wrap.
    fn place(&self, offset: u64) -> (usize, usize) {
        place(offset, self.ring.data_bytes())
    }
}

/// Position of an offset in data of `ring_bytes` (a power of two), and the bytes from there to the wrap.
pub(crate) fn place(offset: u64, ring_bytes: usize) -> (usize, usize) {
    let at = usize::try_from(offset & (ring_bytes as u64 - 1)).unwrap_or(0);
    (at, ring_bytes - at)
}

/// A cursor as its reader sees it.
pub(crate) fn acquire(cursor: &AtomicU64) -> u64 {
    cursor.load(Ordering::Acquire)
}
