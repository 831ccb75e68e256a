//! What lies where in the shared memory, version 1. Little-endian, aligned, every field an atomic.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// First eight bytes of a ring.
pub const MAGIC: [u8; 8] = *b"ABIDRING";
/// The layout's version, and that of the holder's frames.
pub const VERSION: u32 = 1;
/// Bytes of the header, before the data.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Least data bytes of a mapped ring.
pub const RING_BYTES_MIN: u64 = 64 << 10;
/// Most data bytes of a ring.
pub const RING_BYTES_MAX: u64 = 16 << 20;
/// `eof_offset` until the terminal has ended.
pub const NO_EOF: u64 = u64::MAX;

const _: () = assert!(cfg!(target_endian = "little"), "the layout is little-endian");

/// The ring's header. Written by the holder alone.
#[repr(C)]
pub(crate) struct Fields {
    magic: AtomicU64,
    version: AtomicU32,
    header_bytes: AtomicU32,
    ring_bytes: AtomicU64,
    boot_id: [AtomicU64; 2],
    session: [AtomicU64; 2],
    incarnation: AtomicU64,
    pub(crate) output_head: AtomicU64,
    pub(crate) input_applied: AtomicU64,
    unused_80: [u64; 6],
    pub(crate) state: AtomicU32,
    pub(crate) child_pid: AtomicU32,
    pub(crate) child_start: AtomicU64,
    pub(crate) wait_status: AtomicU32,
    pub(crate) errno: AtomicU32,
    pub(crate) step: AtomicU32,
    pub(crate) size: AtomicU32,
    pub(crate) spill_start: AtomicU64,
    pub(crate) spill_end: AtomicU64,
    pub(crate) owner_epoch: AtomicU64,
    pub(crate) former_applied: AtomicU64,
    pub(crate) former_epoch: AtomicU64,
    unused_200: [u64; 7],
    pub(crate) daemon_epoch: AtomicU64,
    pub(crate) eof_offset: AtomicU64,
    pub(crate) exited_ms: AtomicU64,
}

/// The daemon's side. Each cursor and flag has a cache line of its own.
#[repr(C)]
pub(crate) struct PageFields {
    pub(crate) output_acked: AtomicU64,
    unused_8: [u64; 7],
    pub(crate) daemon_waits: AtomicU32,
    unused_68: [u32; 15],
    pub(crate) holder_waits: AtomicU32,
}

/// Byte positions of the header's fields, for the copy that travels in a frame.
mod at {
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = 8;
    pub(super) const HEADER_BYTES: usize = 12;
    pub(super) const RING_BYTES: usize = 16;
    pub(super) const BOOT_ID: usize = 24;
    pub(super) const SESSION: usize = 40;
    pub(super) const INCARNATION: usize = 56;
    pub(super) const OUTPUT_HEAD: usize = 64;
    pub(super) const INPUT_APPLIED: usize = 72;
    pub(super) const STATE: usize = 128;
    pub(super) const CHILD_PID: usize = 132;
    pub(super) const CHILD_START: usize = 136;
    pub(super) const WAIT_STATUS: usize = 144;
    pub(super) const ERRNO: usize = 148;
    pub(super) const STEP: usize = 152;
    pub(super) const SIZE: usize = 156;
    pub(super) const SPILL_START: usize = 160;
    pub(super) const SPILL_END: usize = 168;
    pub(super) const OWNER_EPOCH: usize = 176;
    pub(super) const FORMER_APPLIED: usize = 184;
    pub(super) const FORMER_EPOCH: usize = 192;
    pub(super) const DAEMON_EPOCH: usize = 256;
    pub(super) const EOF_OFFSET: usize = 264;
    pub(super) const EXITED_MS: usize = 272;
}

/// The memory and the frame agree on every position.
#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Fields, magic) == at::MAGIC && offset_of!(Fields, version) == at::VERSION);
    assert!(offset_of!(Fields, header_bytes) == at::HEADER_BYTES && offset_of!(Fields, ring_bytes) == at::RING_BYTES);
    assert!(offset_of!(Fields, boot_id) == at::BOOT_ID && offset_of!(Fields, session) == at::SESSION);
    assert!(offset_of!(Fields, incarnation) == at::INCARNATION && offset_of!(Fields, output_head) == at::OUTPUT_HEAD);
    assert!(offset_of!(Fields, input_applied) == at::INPUT_APPLIED && offset_of!(Fields, state) == at::STATE);
    assert!(offset_of!(Fields, child_pid) == at::CHILD_PID && offset_of!(Fields, child_start) == at::CHILD_START);
    assert!(offset_of!(Fields, wait_status) == at::WAIT_STATUS && offset_of!(Fields, errno) == at::ERRNO);
    assert!(offset_of!(Fields, step) == at::STEP && offset_of!(Fields, size) == at::SIZE);
    assert!(offset_of!(Fields, spill_start) == at::SPILL_START && offset_of!(Fields, spill_end) == at::SPILL_END);
    assert!(offset_of!(Fields, owner_epoch) == at::OWNER_EPOCH);
    assert!(offset_of!(Fields, former_applied) == at::FORMER_APPLIED);
    assert!(offset_of!(Fields, former_epoch) == at::FORMER_EPOCH && offset_of!(Fields, exited_ms) == at::EXITED_MS);
    assert!(offset_of!(Fields, daemon_epoch) == at::DAEMON_EPOCH && offset_of!(Fields, eof_offset) == at::EOF_OFFSET);
    assert!(size_of::<Fields>() <= HEADER_BYTES && size_of::<PageFields>() <= PAGE_BYTES);
    assert!(offset_of!(PageFields, output_acked) == 0);
    assert!(offset_of!(PageFields, daemon_waits) == 64 && offset_of!(PageFields, holder_waits) == 128);
};

/// What a ring is made for: the fields that are written before it is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Data bytes, a power of two; a mapped ring: [`RING_BYTES_MIN`] to [`RING_BYTES_MAX`].
    pub ring_bytes: u64,
    /// The boot in which the holder runs.
    pub boot_id: [u8; 16],
    /// The session's id.
    pub session: [u8; 16],
    /// Number of this start of the session's program, from 1.
    pub incarnation: u64,
    /// Offset at which this incarnation's output begins.
    pub output_base: u64,
    /// Owner epoch in force at the start.
    pub owner_epoch: u32,
}

/// What a holder is doing. States only move down this list; `Ended` and `Failed` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// The program has not been started.
    #[default]
    Waiting,
    /// The program runs.
    Running,
    /// The program has ended; its status is known.
    Ended,
    /// The program could not be started; step and errno are known.
    Failed,
}

impl State {
    /// The number that stands for it in memory and in frames.
    pub fn code(self) -> u32 {
        match self {
            Self::Waiting => 0,
            Self::Running => 1,
            Self::Ended => 2,
            Self::Failed => 3,
        }
    }

    /// The state of that number, or `None`: a peer of another version.
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::Waiting, Self::Running, Self::Ended, Self::Failed].into_iter().find(|state| state.code() == code)
    }
}

/// Memory that is no ring of this version. The caller leaves the holder alone: it may serve another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a ring at all.
    #[error("the memory does not begin with the ring's magic")]
    Magic,
    /// A ring of another layout.
    #[error("ring version {0}, this program knows {VERSION}")]
    Version(u32),
    /// A size that no ring has, or that differs from the memory's.
    #[error("a ring of {ring_bytes} bytes behind a header of {header_bytes}")]
    Size {
        /// Header bytes as stated.
        header_bytes: u32,
        /// Data bytes as stated.
        ring_bytes: u64,
    },
    /// A state number that this version does not have.
    #[error("state {0} is unknown")]
    State(u32),
}

/// A copy of the ring's header, taken at one moment: from memory, or from the frame `adopted`.
///
/// `output_head` and `eof_offset` may be believed at any time. `input_applied` belongs to `owner_epoch`: only while
/// no `owner` frame is unanswered, or when the holder is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Data bytes of the ring.
    pub ring_bytes: u64,
    /// The boot in which the holder runs.
    pub boot_id: [u8; 16],
    /// The session's id.
    pub session: [u8; 16],
    /// Number of this start of the session's program.
    pub incarnation: u64,
    /// Offset after the last byte read from the terminal.
    pub output_head: u64,
    /// The owner's input bytes written to the terminal in this owner epoch.
    pub input_applied: u64,
    /// What the holder is doing.
    pub state: State,
    /// The program's pid; 0 before it runs.
    pub child_pid: u32,
    /// The program's start time (field 22 of its `stat`).
    pub child_start: u64,
    /// Wait status as `waitpid` gave it; of meaning in [`State::Ended`].
    pub wait_status: u32,
    /// Errno of a failed start; of meaning in [`State::Failed`].
    pub errno: u32,
    /// Step of a failed start; of meaning in [`State::Failed`].
    pub step: u32,
    /// The terminal's columns.
    pub cols: u16,
    /// The terminal's rows.
    pub rows: u16,
    /// First offset in the spill.
    pub spill_start: u64,
    /// Offset after the last one in the spill: output from here on lies in the ring.
    pub spill_end: u64,
    /// Owner epoch in force.
    pub owner_epoch: u32,
    /// Final `input_applied` of `former_epoch`.
    pub former_applied: u64,
    /// The last owner epoch before this one that wrote any input; 0: none.
    pub former_epoch: u32,
    /// Epoch of the daemon that adopted last; 0: none yet.
    pub daemon_epoch: u64,
    /// The final `output_head` once the terminal has ended, [`NO_EOF`] before.
    pub eof_offset: u64,
    /// Time of the exit in milliseconds since 1970; of meaning in [`State::Ended`].
    pub exited_ms: u64,
}

impl Header {
    /// Reads the header that a frame `adopted` carries.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Invalid> {
        let four = |at: usize| u32::from_le_bytes(array(bytes, at));
        let eight = |at: usize| u64::from_le_bytes(array(bytes, at));
        check(array(bytes, at::MAGIC), four(at::VERSION), four(at::HEADER_BYTES), eight(at::RING_BYTES))?;
        let (cols, rows) = unpack_size(four(at::SIZE));
        Ok(Self {
            ring_bytes: eight(at::RING_BYTES),
            boot_id: array(bytes, at::BOOT_ID),
            session: array(bytes, at::SESSION),
            incarnation: eight(at::INCARNATION),
            output_head: eight(at::OUTPUT_HEAD),
            input_applied: eight(at::INPUT_APPLIED),
            state: State::from_code(four(at::STATE)).ok_or(Invalid::State(four(at::STATE)))?,
            child_pid: four(at::CHILD_PID),
            child_start: eight(at::CHILD_START),
            wait_status: four(at::WAIT_STATUS),
            errno: four(at::ERRNO),
            step: four(at::STEP),
            cols,
            rows,
            spill_start: eight(at::SPILL_START),
            spill_end: eight(at::SPILL_END),
            owner_epoch: low_half(eight(at::OWNER_EPOCH)),
            former_applied: eight(at::FORMER_APPLIED),
            former_epoch: low_half(eight(at::FORMER_EPOCH)),
            daemon_epoch: eight(at::DAEMON_EPOCH),
            eof_offset: eight(at::EOF_OFFSET),
            exited_ms: eight(at::EXITED_MS),
        })
    }

    /// The 4,096 bytes that a frame `adopted` carries: the header as it lies in memory.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let header_bytes = u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX);
        put(&mut bytes, at::MAGIC, MAGIC);
        put(&mut bytes, at::VERSION, VERSION.to_le_bytes());
        put(&mut bytes, at::HEADER_BYTES, header_bytes.to_le_bytes());
        put(&mut bytes, at::RING_BYTES, self.ring_bytes.to_le_bytes());
        put(&mut bytes, at::BOOT_ID, self.boot_id);
        put(&mut bytes, at::SESSION, self.session);
        put(&mut bytes, at::INCARNATION, self.incarnation.to_le_bytes());
        put(&mut bytes, at::OUTPUT_HEAD, self.output_head.to_le_bytes());
        put(&mut bytes, at::INPUT_APPLIED, self.input_applied.to_le_bytes());
        put(&mut bytes, at::STATE, self.state.code().to_le_bytes());
        put(&mut bytes, at::CHILD_PID, self.child_pid.to_le_bytes());
        put(&mut bytes, at::CHILD_START, self.child_start.to_le_bytes());
        put(&mut bytes, at::WAIT_STATUS, self.wait_status.to_le_bytes());
        put(&mut bytes, at::ERRNO, self.errno.to_le_bytes());
        put(&mut bytes, at::STEP, self.step.to_le_bytes());
        put(&mut bytes, at::SIZE, pack_size(self.cols, self.rows).to_le_bytes());
        put(&mut bytes, at::SPILL_START, self.spill_start.to_le_bytes());
        put(&mut bytes, at::SPILL_END, self.spill_end.to_le_bytes());
        put(&mut bytes, at::OWNER_EPOCH, u64::from(self.owner_epoch).to_le_bytes());
        put(&mut bytes, at::FORMER_APPLIED, self.former_applied.to_le_bytes());
        put(&mut bytes, at::FORMER_EPOCH, u64::from(self.former_epoch).to_le_bytes());
        put(&mut bytes, at::DAEMON_EPOCH, self.daemon_epoch.to_le_bytes());
        put(&mut bytes, at::EOF_OFFSET, self.eof_offset.to_le_bytes());
        put(&mut bytes, at::EXITED_MS, self.exited_ms.to_le_bytes());
        bytes
    }

    /// Whether the terminal has ended: `eof_offset` is known.
    pub fn has_ended_output(&self) -> bool {
        self.eof_offset != NO_EOF
    }
}

impl Fields {
    /// Zeroes, for a ring on the heap.
    pub(crate) fn zeroed() -> Self {
        let four = || AtomicU32::new(0);
        let word = || AtomicU64::new(0);
        Self {
            magic: word(),
            version: four(),
            header_bytes: four(),
            ring_bytes: word(),
            boot_id: [word(), word()],
            session: [word(), word()],
            incarnation: word(),
            output_head: word(),
            input_applied: word(),
            unused_80: [0; 6],
            state: four(),
            child_pid: four(),
            child_start: word(),
            wait_status: four(),
            errno: four(),
            step: four(),
            size: four(),
            spill_start: word(),
            spill_end: word(),
            owner_epoch: word(),
            former_applied: word(),
            former_epoch: word(),
            unused_200: [0; 7],
            daemon_epoch: word(),
            eof_offset: word(),
            exited_ms: word(),
        }
    }

    /// Writes what stands in a header before it is shared.
    pub(crate) fn begin(&self, identity: &Identity) {
        let relaxed = Ordering::Relaxed;
        self.magic.store(u64::from_le_bytes(MAGIC), relaxed);
        self.version.store(VERSION, relaxed);
        self.header_bytes.store(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX), relaxed);
        self.ring_bytes.store(identity.ring_bytes, relaxed);
        store_16(&self.boot_id, identity.boot_id);
        store_16(&self.session, identity.session);
        self.incarnation.store(identity.incarnation, relaxed);
        self.output_head.store(identity.output_base, relaxed);
        self.spill_start.store(identity.output_base, relaxed);
        self.spill_end.store(identity.output_base, relaxed);
        self.owner_epoch.store(u64::from(identity.owner_epoch), relaxed);
        self.eof_offset.store(NO_EOF, Ordering::Release);
    }

    /// Takes a copy. What a field speaks of is loaded after it, as the holder stores it before.
    pub(crate) fn load(&self) -> Result<Header, Invalid> {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        let ring_bytes = self.ring_bytes.load(relaxed);
        let magic = self.magic.load(relaxed).to_le_bytes();
        check(magic, self.version.load(relaxed), self.header_bytes.load(relaxed), ring_bytes)?;
        let state = self.state.load(acquire);
        let eof_offset = self.eof_offset.load(acquire);
        let output_head = self.output_head.load(acquire);
        let spill_end = self.spill_end.load(acquire);
        let owner_epoch = self.owner_epoch.load(acquire);
        let (cols, rows) = unpack_size(self.size.load(relaxed));
        Ok(Header {
            ring_bytes,
            boot_id: load_16(&self.boot_id),
            session: load_16(&self.session),
            incarnation: self.incarnation.load(relaxed),
            output_head,
            input_applied: self.input_applied.load(acquire),
            state: State::from_code(state).ok_or(Invalid::State(state))?,
            child_pid: self.child_pid.load(relaxed),
            child_start: self.child_start.load(relaxed),
            wait_status: self.wait_status.load(relaxed),
            errno: self.errno.load(relaxed),
            step: self.step.load(relaxed),
            cols,
            rows,
            spill_start: self.spill_start.load(acquire),
            spill_end,
            owner_epoch: low_half(owner_epoch),
            former_applied: self.former_applied.load(relaxed),
            former_epoch: low_half(self.former_epoch.load(relaxed)),
            daemon_epoch: self.daemon_epoch.load(acquire),
            eof_offset,
            exited_ms: self.exited_ms.load(relaxed),
        })
    }
}

impl PageFields {
    /// Zeroes, for a page on the heap.
    pub(crate) fn zeroed() -> Self {
        Self {
            output_acked: AtomicU64::new(0),
            unused_8: [0; 7],
            daemon_waits: AtomicU32::new(0),
            unused_68: [0; 15],
            holder_waits: AtomicU32::new(0),
        }
    }
}

/// Size as the header has it: columns + rows × 65536.
pub(crate) fn pack_size(cols: u16, rows: u16) -> u32 {
    u32::from(cols) | u32::from(rows) << 16
}

fn unpack_size(size: u32) -> (u16, u16) {
    let [a, b, c, d] = size.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

fn check(magic: [u8; 8], version: u32, header_bytes: u32, ring_bytes: u64) -> Result<(), Invalid> {
    if magic != MAGIC {
        return Err(Invalid::Magic);
    }
    if version != VERSION {
        return Err(Invalid::Version(version));
    }
    if header_bytes as usize != HEADER_BYTES || !ring_bytes.is_power_of_two() || ring_bytes > RING_BYTES_MAX {
        return Err(Invalid::Size { header_bytes, ring_bytes });
    }
    Ok(())
}

/// Epochs of owners are 32 bits wide in frames and lie in 64 bits here.
fn low_half(epoch: u64) -> u32 {
    u32::try_from(epoch).unwrap_or(u32::MAX)
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn put<const N: usize>(bytes: &mut [u8; HEADER_BYTES], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn store_16(words: &[AtomicU64; 2], bytes: [u8; 16]) {
    for (word, half) in words.iter().zip(bytes.as_chunks().0) {
        word.store(u64::from_le_bytes(*half), Ordering::Relaxed);
    }
}

fn load_16(words: &[AtomicU64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (word, half) in words.iter().zip(bytes.as_chunks_mut().0) {
        *half = word.load(Ordering::Relaxed).to_le_bytes();
    }
    bytes
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn memory_and_frame_say_the_same() {
        let fields = Fields::zeroed();
        let identity = Identity {
            ring_bytes: 65536,
            boot_id: [7; 16],
            session: *b"0123456789abcdef",
            incarnation: 3,
            output_base: 1_000_000,
            owner_epoch: 9,
        };
        fields.begin(&identity);
        fields.input_applied.store(77, Ordering::Relaxed);
        fields.size.store(pack_size(80, 24), Ordering::Relaxed);
        fields.exited_ms.store(5, Ordering::Relaxed);
        let header = fields.load().unwrap();
        let bytes = header.to_bytes();
        assert_eq!(Header::from_bytes(&bytes).unwrap(), header);
        assert_eq!((header.cols, header.rows, header.output_head, header.owner_epoch), (80, 24, 1_000_000, 9));
        assert_eq!(bytes[..16], *b"ABIDRING\x01\0\0\0\0\x10\0\0");
        assert_eq!(bytes[156..160], [80, 0, 24, 0]);
        assert_eq!(bytes[264..272], [0xff; 8]);
        assert_eq!(bytes[40..56], *b"0123456789abcdef");
    }

    #[test]
    fn foreign_memory_is_named() {
        let fields = Fields::zeroed();
        assert_eq!(fields.load(), Err(Invalid::Magic));
        fields.begin(&Identity { ring_bytes: 65536, ..Identity::default() });
        fields.version.store(2, Ordering::Relaxed);
        assert_eq!(fields.load(), Err(Invalid::Version(2)));
        fields.version.store(1, Ordering::Relaxed);
        fields.state.store(4, Ordering::Relaxed);
        assert_eq!(fields.load(), Err(Invalid::State(4)));
        fields.ring_bytes.store(65537, Ordering::Relaxed);
        assert_eq!(fields.load(), Err(Invalid::Size { header_bytes: 4096, ring_bytes: 65537 }));
    }
}
