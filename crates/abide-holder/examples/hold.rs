//! The command `abide hold` as a program of its own: what tests of this crate launch. With debug assertions a holder
//! that allocates while it serves is aborted, so that every test sees it.

fn main() -> std::process::ExitCode {
    abide_holder::hold_from_fd_3()
}

#[cfg(debug_assertions)]
mod no_allocation_while_serving {
    #![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::Ordering;

    struct Refusing;

    #[global_allocator]
    static ALLOCATOR: Refusing = Refusing;

    // SAFETY: hands everything to the system's allocator, or ends the process.
    unsafe impl GlobalAlloc for Refusing {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if abide_holder::SERVING.load(Ordering::Relaxed) {
                std::process::abort();
            }
            // SAFETY: the caller's duties are passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: as above.
            unsafe { System.dealloc(memory, layout) }
        }
    }
}
