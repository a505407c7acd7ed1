//! The allocator of all these tests: libc's, which counts, and ends the process where a thread enters it that must
//! not. It can have a lock, as many allocators do.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

/// Libc's allocator, guarded.
#[derive(Debug)]
pub struct Guarded;

#[global_allocator]
static ALLOCATOR: Guarded = Guarded;

/// There is a lock, which is held for this many turns of a loop each time; 0: there is none.
static TURNS: AtomicU32 = AtomicU32::new(0);
static LOCK: AtomicBool = AtomicBool::new(false);

/// Bytes that are in use, blocks that are, and how often some were asked for.
pub static BYTES: AtomicI64 = AtomicI64::new(0);
/// See [`BYTES`].
pub static BLOCKS: AtomicI64 = AtomicI64::new(0);
/// See [`BYTES`].
pub static ASKED: AtomicI64 = AtomicI64::new(0);

fn count(bytes: i64, blocks: i64) {
    BYTES.fetch_add(bytes, Ordering::Relaxed);
    BLOCKS.fetch_add(blocks, Ordering::Relaxed);
    if bytes > 0 {
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
}

/// From now on each allocation takes a spin lock, and holds it for `turns` turns of a loop.
pub fn spin_lock(turns: u32) {
    TURNS.store(turns, Ordering::Relaxed);
}

/// Takes the spin lock, and never gives it back: a thread that allocates from now on waits for
/// ever.
pub fn seize() {
    take();
    spin_lock(1);
}

fn take() {
    while LOCK.swap(true, Ordering::Acquire) {
        while LOCK.load(Ordering::Relaxed) {
            spin_loop();
        }
    }
}

fn guarded<R>(f: impl FnOnce() -> R) -> R {
    if goroutines::__may_not_allocate() {
        const TEXT: &[u8] = b"a helper thread of the runtime is in the program's allocator\n";
        // SAFETY: bytes to read.
        unsafe { libc::write(2, TEXT.as_ptr().cast(), TEXT.len()) };
        std::process::abort();
    }
    let turns = TURNS.load(Ordering::Relaxed);
    if turns == 0 {
        return f();
    }
    take();
    (0..turns).for_each(|_| spin_loop());
    let result = f();
    LOCK.store(false, Ordering::Release);
    result
}

// SAFETY: libc's.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller's.
        guarded(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller's.
        guarded(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(-(layout.size() as i64), -1);
        count(bytes as i64, 1);
        // SAFETY: the caller's.
        guarded(|| unsafe { System.realloc(at, layout, bytes) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), -1);
        // SAFETY: the caller's.
        guarded(|| unsafe { System.dealloc(at, layout) });
    }
}
