//! Memory for pending sets, without a lock.
//!
//! It is asked for in handlers, where nothing may allocate (SG5).

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const CHUNK_BYTES: usize = 64 << 10;

/// Memory that is never freed, for objects of one type; without a lock.
pub(super) struct Chunks {
    now: AtomicPtr<Chunk>,
}

#[repr(C, align(64))]
struct Chunk {
    used: AtomicUsize,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { now: AtomicPtr::new(null_mut()) }
    }

    /// Room for a `T`; none where there is no memory.
    pub(super) fn make<T>(&self) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= align_of::<Chunk>()) };
        let bytes = size_of::<T>().next_multiple_of(align_of::<Chunk>());
        loop {
            let now = self.now.load(Ordering::Acquire);
            // SAFETY: null, or a chunk, which is never unmapped once it is here.
            if let Some(chunk) = unsafe { now.as_ref() } {
                let at = size_of::<Chunk>() + chunk.used.fetch_add(bytes, Ordering::Relaxed);
                if at + bytes <= CHUNK_BYTES {
                    return NonNull::new(now.cast::<u8>().wrapping_add(at).cast());
                }
            }
            let new: *mut Chunk = goroutines_switch::sys::map(CHUNK_BYTES).ok()?.cast();
            // Release: zeroes, which is an empty chunk.
            if self.now.compare_exchange(now, new, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: ours, and no other code has seen it.
                unsafe { goroutines_switch::sys::unmap(new.cast(), CHUNK_BYTES) };
            }
        }
    }
}
