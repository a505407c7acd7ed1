//! Whether this process is the one that has started the runtime, or a copy of it.
//!
//! A copy (the child of `fork`, of `clone`, of a raw system call) has one thread, and none of the
//! scheduler's. It finds that out by a page that the kernel gives it empty (`MADV_WIPEONFORK`), so
//! no call that makes a copy has to be known. Where the kernel refuses that, a copy is told by the
//! handlers of `fork` only (`intercept/fork.rs`).
//!
//! Asking would cost each section a load and a compare more, a tenth of a switch. So the page holds
//! the word that a section's beginning compares its lease with anyway: in a copy it is 0, the
//! compare fails, and only then is anything asked. Where entries are dear (`base/atomic.rs`) it is
//! 0 as well.

use goroutines_switch::sys;
use std::sync::atomic::{AtomicU32, Ordering};

const PAGE: usize = 4096;

/// Where the words are in the page: a processor that takes a load for one of what was just stored
/// at the same place of another page has to load again, and at this place of a carrier's page is
/// what is rarely written.
const AT: usize = 0xa40;

/// Zero at first, so that it lies in memory that belongs to no file, as the advice demands.
#[repr(C, align(4096))]
struct Page {
    _before: [u8; AT],
    is_origin: AtomicU32,
    owned: AtomicU32,
    _after: [u8; PAGE - AT - 8],
}

static HERE: Page = Page {
    _before: [0; AT],
    is_origin: AtomicU32::new(0),
    owned: AtomicU32::new(0),
    _after: [0; PAGE - AT - 8],
};

/// Marks this process as the one in which the runtime runs. `owned` is what an M's lease is where a
/// section may begin without a closer look, or 0 if each is to look closer.
pub(crate) fn mark(owned: u32) {
    let page = (&raw const HERE).cast_mut().cast();
    // SAFETY: a page of its own; that it is zero in a copy is what it is for.
    let _ = unsafe { sys::madvise(page, PAGE, libc::MADV_WIPEONFORK) };
    HERE.is_origin.store(1, Ordering::Relaxed);
    HERE.owned.store(owned, Ordering::Relaxed);
}

/// Makes each section look closer from now on.
pub(crate) fn look_closer() {
    HERE.owned.store(0, Ordering::SeqCst);
}

/// What an M's lease is where a section may begin without a closer look.
#[inline]
pub(crate) fn owned() -> u32 {
    HERE.owned.load(Ordering::Relaxed)
}

/// Whether this process was marked, and is no copy.
#[inline]
pub(crate) fn is_here() -> bool {
    HERE.is_origin.load(Ordering::Relaxed) != 0
}

/// Notes that this process is a copy, for kernels that don't wipe the page.
pub(crate) fn unmark() {
    HERE.is_origin.store(0, Ordering::Relaxed);
    look_closer();
}
