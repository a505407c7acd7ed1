//! Whether this process is the one that has started the runtime, or a copy of it.
//!
//! A copy (the child of `fork`, of `clone`, of a raw system call) has one thread, and none of the
//! scheduler's. It finds that out by a page that the kernel gives it empty (`MADV_WIPEONFORK`), so no
//! call that makes a copy has to be known. Where the kernel refuses that, a copy is told by the handlers
//! of `fork` only (`intercept/fork.rs`).

use goroutines_switch::sys;
use std::sync::atomic::{AtomicU32, Ordering};

const PAGE: usize = 4096;

/// Zero at first, so that it lies in memory of no file, as the advice demands.
#[repr(C, align(4096))]
struct Page {
    is_origin: AtomicU32,
    _rest: [u8; PAGE - 4],
}

static HERE: Page = Page { is_origin: AtomicU32::new(0), _rest: [0; PAGE - 4] };

/// Marks this process as the one in which the runtime runs.
pub(crate) fn mark() {
    let page = (&raw const HERE).cast_mut().cast();
    // SAFETY: a page of its own; that it is zero in a copy is what it is for.
    let _ = unsafe { sys::madvise(page, PAGE, libc::MADV_WIPEONFORK) };
    HERE.is_origin.store(1, Ordering::Relaxed);
}

/// Whether this process was marked, and is no copy.
#[inline]
pub(crate) fn is_here() -> bool {
    HERE.is_origin.load(Ordering::Relaxed) != 0
}

/// This process is a copy: for kernels that don't wipe the page.
pub(crate) fn unmark() {
    HERE.is_origin.store(0, Ordering::Relaxed);
}
