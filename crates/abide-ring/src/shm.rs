//! The memory itself: mapped memfds between processes, or the heap within one (simulation, loom).

#![expect(unsafe_code, reason = "memory shared between processes is reached through pointers")]

#[cfg(not(loom))]
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::layout::{Fields, HEADER_BYTES, Identity, Invalid, PAGE_BYTES, PageFields, RING_BYTES_MAX, RING_BYTES_MIN};
use crate::sync::Arc;

/// Descriptors that do not give a ring. Nothing is mapped; the caller leaves the holder alone.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was asked of it.
        what: &'static str,
        /// Its answer.
        #[source]
        source: rustix::io::Errno,
    },
    /// The memory could be cut or rewritten under its reader.
    #[error("the memory lacks seals: it has {0:#x}")]
    Unsealed(u32),
    /// The memory is not as long as it says, or as any ring is.
    #[error("the memory has {0} bytes")]
    Length(u64),
    /// What it holds is no ring of this version.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

fn os(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> MapError {
    move |source| MapError::Os { what, source }
}

/// A mapped memfd. `Send`, `Sync`: all access goes through atomics, or through the ring's cursor rules.
struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping is plain memory without ties to a thread; see the type's doc for how it is accessed.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, bytes: usize, access: ProtFlags) -> Result<Self, MapError> {
        // SAFETY: the kernel chooses the address, so no memory of ours is replaced.
        let base = unsafe { rustix::mm::mmap(core::ptr::null_mut(), bytes, access, MapFlags::SHARED, fd, 0) };
        let base = base.map_err(os("mmap"))?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(MapError::Length(0))?;
        Ok(Self { base, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `new` with this length, and nothing borrowed from it outlives it.
        // A failure leaves the memory mapped until the process ends: harmless, and nobody could act on it.
        let _unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Makes a memfd of `bytes` and maps it writable. It can be neither cut nor grown; `more` seals come on top.
fn create(name: &core::ffi::CStr, bytes: usize, more: SealFlags) -> Result<(Mapping, OwnedFd), MapError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(name, flags).map_err(os("memfd_create"))?;
    rustix::fs::ftruncate(&fd, bytes as u64).map_err(os("ftruncate"))?;
    let mapping = Mapping::new(std::os::fd::AsFd::as_fd(&fd), bytes, ProtFlags::READ | ProtFlags::WRITE)?;
    rustix::fs::fcntl_add_seals(&fd, frozen_size() | more).map_err(os("seal"))?;
    Ok((mapping, fd))
}

fn frozen_size() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// Maps a peer's memfd of `least` to `most` bytes after seeing that nobody can cut it under us.
fn open(
    fd: BorrowedFd<'_>,
    (least, most): (u64, u64),
    seals: SealFlags,
    access: ProtFlags,
) -> Result<Mapping, MapError> {
    let found = rustix::fs::fcntl_get_seals(fd).map_err(os("get seals"))?;
    if !found.contains(seals) {
        return Err(MapError::Unsealed(found.bits()));
    }
    let bytes = rustix::fs::fstat(fd).map_err(os("fstat"))?.st_size;
    let bytes = u64::try_from(bytes).unwrap_or(0);
    if bytes < least || bytes > most {
        return Err(MapError::Length(bytes));
    }
    let length = usize::try_from(bytes).map_err(|_| MapError::Length(bytes))?;
    Mapping::new(fd, length, access)
}

/// The ring's memory: header and data.
pub(crate) enum RingMemory {
    Heap(Arc<HeapRing>),
    Mapped(MappedRing),
}

pub(crate) struct HeapRing {
    fields: Fields,
    data: Bytes,
}

pub(crate) struct MappedRing {
    mapping: Mapping,
    data_bytes: usize,
}

impl RingMemory {
    pub(crate) fn heap(identity: &Identity) -> Result<Self, Invalid> {
        let bad_size = Invalid::Size { header_bytes: 4096, ring_bytes: identity.ring_bytes };
        let data_bytes = usize::try_from(identity.ring_bytes).map_err(|_| bad_size)?;
        if !identity.ring_bytes.is_power_of_two() || identity.ring_bytes > RING_BYTES_MAX {
            return Err(bad_size);
        }
        let fields = Fields::zeroed();
        fields.begin(identity);
        Ok(Self::Heap(Arc::new(HeapRing { fields, data: Bytes::zeroed(data_bytes) })))
    }

    pub(crate) fn create(identity: &Identity) -> Result<(Self, OwnedFd), MapError> {
        let ring_bytes = identity.ring_bytes;
        if !ring_bytes.is_power_of_two() || !(RING_BYTES_MIN..=RING_BYTES_MAX).contains(&ring_bytes) {
            return Err(Invalid::Size { header_bytes: 4096, ring_bytes }.into());
        }
        let data_bytes = usize::try_from(ring_bytes).map_err(|_| MapError::Length(ring_bytes))?;
        let (mapping, fd) = create(c"abide-ring", HEADER_BYTES + data_bytes, SealFlags::FUTURE_WRITE)?;
        let memory = Self::Mapped(MappedRing { mapping, data_bytes });
        memory.fields().begin(identity);
        Ok((memory, fd))
    }

    /// Maps a holder's ring for reading only.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> Result<Self, MapError> {
        let header = HEADER_BYTES as u64;
        let range = (header + RING_BYTES_MIN, header + RING_BYTES_MAX);
        let mapping = open(fd, range, frozen_size() | SealFlags::FUTURE_WRITE, ProtFlags::READ)?;
        let data_bytes = mapping.bytes - HEADER_BYTES;
        let memory = Self::Mapped(MappedRing { mapping, data_bytes });
        let stated = memory.fields().load()?.ring_bytes;
        if stated != data_bytes as u64 {
            return Err(MapError::Length(stated));
        }
        Ok(memory)
    }

    pub(crate) fn share_heap(&self) -> Option<Self> {
        match self {
            Self::Heap(ring) => Some(Self::Heap(Arc::clone(ring))),
            Self::Mapped(_) => None,
        }
    }

    pub(crate) fn fields(&self) -> &Fields {
        match self {
            Self::Heap(ring) => &ring.fields,
            // SAFETY: the mapping is longer than a header and page-aligned, lives as long as `self`, cannot be cut
            // (sealed), and consists of atomics, for which any bytes are valid.
            Self::Mapped(ring) => unsafe { ring.mapping.base.cast::<Fields>().as_ref() },
        }
    }

    pub(crate) fn data_bytes(&self) -> usize {
        match self {
            Self::Heap(ring) => ring.data.len(),
            Self::Mapped(ring) => ring.data_bytes,
        }
    }

    /// Lends `[at, at + bytes)` of the data for writing; it does not cross the end. The caller (the only producer)
    /// owns that range by the cursor rules.
    pub(crate) fn with_free<R>(&mut self, at: usize, bytes: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        assert!(at + bytes <= self.data_bytes(), "a range lies within the ring");
        match self {
            Self::Heap(ring) => ring.data.with_mut(at, bytes, write),
            Self::Mapped(ring) => {
                // SAFETY: in bounds as asserted; the only writable mapping is ours and borrowed mutably; readers in
                // other processes copy from this range only what they throw away after their check.
                let free = unsafe {
                    core::slice::from_raw_parts_mut(ring.mapping.base.add(HEADER_BYTES + at).as_ptr(), bytes)
                };
                write(free)
            }
        }
    }

    /// Lends valid bytes `[at, at + bytes)` for reading, to the producer: nobody else writes them.
    pub(crate) fn with_valid<R>(&self, at: usize, bytes: usize, read: impl FnOnce(&[u8]) -> R) -> R {
        assert!(at + bytes <= self.data_bytes(), "a range lies within the ring");
        match self {
            Self::Heap(ring) => ring.data.with(at, bytes, read),
            Self::Mapped(ring) => {
                // SAFETY: in bounds as asserted; only the caller writes this memory, and it is borrowed meanwhile.
                let valid =
                    unsafe { core::slice::from_raw_parts(ring.mapping.base.add(HEADER_BYTES + at).as_ptr(), bytes) };
                read(valid)
            }
        }
    }

    /// Appends a copy of `[at, at + bytes)` to `out`. The range may be written meanwhile if its reader is no longer
    /// the adopted one: it finds that out afterwards and throws the copy away.
    pub(crate) fn copy_to(&self, at: usize, bytes: usize, out: &mut Vec<u8>) {
        assert!(at + bytes <= self.data_bytes(), "a range lies within the ring");
        match self {
            Self::Heap(ring) => ring.data.with(at, bytes, |valid| out.extend_from_slice(valid)),
            Self::Mapped(ring) => {
                out.reserve(bytes);
                // SAFETY: source in bounds as asserted, target reserved, never overlapping; no reference to the shared
                // bytes is made. Then these bytes of `out` are initialised.
                unsafe {
                    let from = ring.mapping.base.add(HEADER_BYTES + at).as_ptr();
                    core::ptr::copy_nonoverlapping(from, out.as_mut_ptr().add(out.len()), bytes);
                    out.set_len(out.len() + bytes);
                }
            }
        }
    }
}

/// The daemon's side of one adoption: what it acknowledged, and who wants to be woken.
pub struct Page(PageOwner);

enum PageOwner {
    Heap(Arc<PageFields>),
    Mapped(Mapping),
}

impl Page {
    /// A page within this process, for simulation and tests.
    pub fn heap() -> Self {
        Self(PageOwner::Heap(Arc::new(PageFields::zeroed())))
    }

    /// A page to share with the daemon that adopts, and its descriptor. Allocates no heap memory.
    pub fn create() -> Result<(Self, OwnedFd), MapError> {
        let (mapping, fd) = create(c"abide-page", PAGE_BYTES, SealFlags::empty())?;
        Ok((Self(PageOwner::Mapped(mapping)), fd))
    }

    /// Maps the page that came with an adoption.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> Result<Self, MapError> {
        let exact = PAGE_BYTES as u64;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        Ok(Self(PageOwner::Mapped(open(fd, (exact, exact), frozen_size(), access)?)))
    }

    pub(crate) fn share_heap(&self) -> Option<Self> {
        match &self.0 {
            PageOwner::Heap(page) => Some(Self(PageOwner::Heap(Arc::clone(page)))),
            PageOwner::Mapped(_) => None,
        }
    }

    pub(crate) fn fields(&self) -> &PageFields {
        match &self.0 {
            PageOwner::Heap(page) => page,
            // SAFETY: as for the ring's header: long enough, aligned, sealed, atomics only.
            PageOwner::Mapped(mapping) => unsafe { mapping.base.cast::<PageFields>().as_ref() },
        }
    }
}

impl core::fmt::Debug for Page {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Page")
    }
}

/// Data bytes on the heap. Under loom each byte is a cell that loom watches, so that a copy of a byte that is being
/// written fails the test.
struct Bytes {
    #[cfg(not(loom))]
    cells: Box<[UnsafeCell<u8>]>,
    #[cfg(loom)]
    cells: Box<[loom::cell::UnsafeCell<u8>]>,
}

// SAFETY: producer and consumer touch disjoint ranges by the cursor rules, which loom checks.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

#[cfg(not(loom))]
impl Bytes {
    fn zeroed(bytes: usize) -> Self {
        Self { cells: (0..bytes).map(|_| UnsafeCell::new(0)).collect() }
    }

    fn len(&self) -> usize {
        self.cells.len()
    }

    fn with_mut<R>(&self, at: usize, bytes: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let cells = &self.cells[at..at + bytes];
        let start = UnsafeCell::raw_get(cells.as_ptr());
        // SAFETY: the cells lie in one slice; only the one producer calls this, on bytes that no consumer reads.
        write(unsafe { core::slice::from_raw_parts_mut(start, bytes) })
    }

    fn with<R>(&self, at: usize, bytes: usize, read: impl FnOnce(&[u8]) -> R) -> R {
        let cells = &self.cells[at..at + bytes];
        let start = UnsafeCell::raw_get(cells.as_ptr()).cast_const();
        // SAFETY: the cells lie in one slice, of valid bytes, which the producer does not write meanwhile.
        read(unsafe { core::slice::from_raw_parts(start, bytes) })
    }
}

#[cfg(loom)]
impl Bytes {
    fn zeroed(bytes: usize) -> Self {
        Self { cells: (0..bytes).map(|_| loom::cell::UnsafeCell::new(0)).collect() }
    }

    fn len(&self) -> usize {
        self.cells.len()
    }

    fn with_mut<R>(&self, at: usize, bytes: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut copy = vec![0; bytes];
        let result = write(&mut copy);
        for (cell, byte) in self.cells[at..at + bytes].iter().zip(copy) {
            // SAFETY: loom checks that nobody else has the cell.
            cell.with_mut(|cell| unsafe { *cell = byte });
        }
        result
    }

    fn with<R>(&self, at: usize, bytes: usize, read: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: loom checks that nobody writes the cell.
        let copy: Vec<u8> = self.cells[at..at + bytes].iter().map(|cell| cell.with(|cell| unsafe { *cell })).collect();
        read(&copy)
    }
}
