//! Guard pages.
//!
//! A guard must not cost a mapping of its own: `vm.max_map_count` is 65,530 by default, and a stack
//! with a `PROT_NONE` page below it takes two. Linux 6.13 marks pages in the page table instead
//! (`MADV_GUARD_INSTALL`). Older kernels get `mprotect`, which works for some 32,000 stacks; then
//! making a further one is an error, never an unguarded stack.
//!
//! Stacks don't take all mappings there are: threads, libraries and allocators need some too. So
//! [`RESERVE`] of them are held from the first such guard on, and given back to the program when no
//! other mapping is left; no further stack is made then. (`vm.max_map_count` could be read, but not
//! what else the program will have mapped.)

use crate::sys;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Bytes of a guard.
pub const GUARD_BYTES: usize = 4096;

const MADV_GUARD_INSTALL: i32 = 102;

/// Set once the kernel has said that it does not know guard markers.
static NO_MARKERS: AtomicBool = AtomicBool::new(false);

/// Mappings that stacks leave to the program.
pub const RESERVE: usize = 2048;

/// True once a guard was made by markers.
static MARKERS: AtomicBool = AtomicBool::new(false);

/// What holds the reserve; null before it is made, and after it was given back.
static HELD: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// True when no mapping was left but the reserve.
static USED_UP: AtomicBool = AtomicBool::new(false);

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
            // The first error says that there are no markers here: EINVAL before 6.13, or whatever
            // a sandbox says.
            Err(e)
                if e.raw_os_error() == Some(libc::EINVAL) || !MARKERS.load(Ordering::Relaxed) =>
            {
                NO_MARKERS.store(true, Ordering::Relaxed);
            }
            done => {
                MARKERS.store(true, Ordering::Relaxed);
                return done;
            }
        }
    }
    hold_reserve();
    if USED_UP.load(Ordering::Relaxed) {
        return Err(no_mapping());
    }
    // SAFETY: the caller's page.
    unsafe { protect(at, libc::PROT_NONE) }.map_err(|e| {
        if e.raw_os_error() == Some(libc::ENOMEM) {
            give_reserve_back();
            no_mapping()
        } else {
            e
        }
    })
}

/// # Safety
/// * The page at `at` belongs to the caller.
unsafe fn protect(at: *mut u8, prot: i32) -> io::Result<()> {
    let args = [at as usize, GUARD_BYTES, prot as usize, 0, 0, 0];
    // SAFETY: the caller's page.
    sys::check(unsafe { sys::raw(libc::SYS_mprotect, args) }).map(|_| ())
}

fn no_mapping() -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        "no mapping left for a stack's guard page: raise vm.max_map_count \
         (Linux 6.13 and later need none)",
    )
}

/// Splits a stretch of addresses into as many mappings as are to be left.
fn hold_reserve() {
    static HOLD: Once = Once::new();
    HOLD.call_once(|| {
        let Ok(held) = sys::map(RESERVE * GUARD_BYTES) else { return };
        for page in (0..RESERVE).step_by(2) {
            // SAFETY: a page of the mapping just made. (Where that fails few mappings are left, and
            // as many as were made are held.)
            let _ = unsafe { protect(held.wrapping_add(page * GUARD_BYTES), libc::PROT_NONE) };
        }
        HELD.store(held, Ordering::Release);
    });
}

#[cold]
fn give_reserve_back() {
    USED_UP.store(true, Ordering::Relaxed);
    let held = HELD.swap(std::ptr::null_mut(), Ordering::AcqRel);
    if !held.is_null() {
        // SAFETY: mapped by hold_reserve, and in no other use.
        unsafe { sys::unmap(held, RESERVE * GUARD_BYTES) };
    }
}
