//! Guard pages.
//!
//! A guard must not cost a mapping of its own: `vm.max_map_count` is 65,530 by default, and a stack
//! with a `PROT_NONE` page below it takes two. Linux 6.13 marks pages in the page table instead
//! (`MADV_GUARD_INSTALL`). Older kernels get `mprotect`, which works for some 32,000 stacks; then
//! making a further one is an error, never an unguarded stack.

use crate::sys;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a guard.
pub const GUARD_BYTES: usize = 4096;

const MADV_GUARD_INSTALL: i32 = 102;

/// Set once the kernel has said that it does not know guard markers.
static NO_MARKERS: AtomicBool = AtomicBool::new(false);

/// Makes each access to the [`GUARD_BYTES`] at `at` a fault.
///
/// # Errors
/// On kernels before 6.13 `ENOMEM` when the process may not have more mappings; the text names
/// `vm.max_map_count`.
///
/// # Safety
/// * The page at `at` belongs to the caller and is not in use.
pub unsafe fn install(at: *mut u8) -> io::Result<()> {
    if !NO_MARKERS.load(Ordering::Relaxed) {
        // SAFETY: the caller's page.
        match unsafe { sys::madvise(at, GUARD_BYTES, MADV_GUARD_INSTALL) } {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                NO_MARKERS.store(true, Ordering::Relaxed);
            }
            done => return done,
        }
    }
    let args = [at as usize, GUARD_BYTES, libc::PROT_NONE as usize, 0, 0, 0];
    // SAFETY: the caller's page.
    sys::check(unsafe { sys::raw(libc::SYS_mprotect, args) }).map(|_| ()).map_err(|e| {
        if e.raw_os_error() == Some(libc::ENOMEM) {
            io::Error::new(
                io::ErrorKind::OutOfMemory,
                "no mapping left for a stack's guard page: raise vm.max_map_count \
                 (Linux 6.13 and later need none)",
            )
        } else {
            e
        }
    })
}
