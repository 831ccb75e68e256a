//! A daemon maps nothing that could be cut or rewritten under it, and cannot write what is the holder's.

use std::os::fd::{AsFd, OwnedFd};

use abide_ring::{Consumer, Identity, Invalid, MapError, Page, Producer, RING_BYTES_MIN};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

fn ring() -> (Producer, OwnedFd) {
    Producer::create(&Identity { ring_bytes: RING_BYTES_MIN, ..Identity::default() }).unwrap()
}

fn memory(bytes: u64, seals: SealFlags) -> OwnedFd {
    let fd = rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, bytes).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

const ALL: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

#[test]
fn no_daemon_can_write_or_cut_the_ring() {
    let (_producer, fd) = ring();
    assert_eq!(rustix::io::write(&fd, b"x"), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&fd, 1), Err(Errno::PERM));
    assert_eq!(map(&fd, ProtFlags::READ | ProtFlags::WRITE), Err(Errno::PERM));
    assert_eq!(map(&fd, ProtFlags::READ), Ok(()));
}

#[expect(unsafe_code, reason = "asks the kernel whether it would map")]
fn map(fd: &OwnedFd, access: ProtFlags) -> Result<(), Errno> {
    // SAFETY: at an address of the kernel's choice, and unmapped at once.
    unsafe {
        let at = rustix::mm::mmap(std::ptr::null_mut(), 4096, access, MapFlags::SHARED, fd, 0)?;
        rustix::mm::munmap(at, 4096)
    }
}

#[test]
fn unsealed_short_and_foreign_memory_is_refused() {
    let (_producer, ring_fd) = ring();
    let (_page, page_fd) = Page::create().unwrap();
    let whole = 4096 + RING_BYTES_MIN;
    let error = |ring: &OwnedFd, page: &OwnedFd| Consumer::map(ring.as_fd(), page.as_fd(), 1).unwrap_err();
    let unsealed = memory(whole, SealFlags::SHRINK | SealFlags::GROW);
    assert!(matches!(error(&unsealed, &page_fd), MapError::Unsealed(_)));
    assert!(matches!(error(&memory(4096, ALL), &page_fd), MapError::Length(4096)));
    assert!(matches!(error(&memory(whole, ALL), &page_fd), MapError::Invalid(Invalid::Magic)));
    assert!(matches!(error(&ring_fd, &memory(4096, SealFlags::empty())), MapError::Unsealed(_)));
    assert!(matches!(error(&ring_fd, &memory(8192, ALL)), MapError::Length(8192)));
    assert!(matches!(error(&ring_fd, &std::fs::File::open("/dev/null").unwrap().into()), MapError::Os { .. }));
    assert!(Consumer::map(ring_fd.as_fd(), page_fd.as_fd(), 1).is_ok());
}

#[test]
fn only_sizes_of_a_ring_are_made() {
    for ring_bytes in [0, 4096, RING_BYTES_MIN + 1, 32 << 20] {
        let made = Producer::create(&Identity { ring_bytes, ..Identity::default() });
        assert!(matches!(made, Err(MapError::Invalid(Invalid::Size { .. }))), "{ring_bytes}");
    }
}
