//! `dlopen`: libraries loaded while goroutines exist.

use super::real::{Real, real};
use crate::base::fatal;
use crate::sched::SCHED;
use libc::{c_char, c_int, c_void};
use std::sync::atomic::Ordering;

#[unsafe(no_mangle)]
unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void {
    static REAL: Real = Real::new(c"dlopen");
    // SAFETY: forwarded.
    let handle = unsafe { real!(REAL as fn(*const c_char, c_int) -> *mut c_void)(file, flags) };
    if !handle.is_null() && SCHED.started.load(Ordering::Acquire) {
        // SAFETY: the handle just returned.
        unsafe { extend(handle) };
    }
    handle
}

/// A library with thread-locals in the initial-exec model, loaded now, uses bytes under the thread pointer
/// of each goroutine: where room was kept they are made its own, else they hold stack frames.
///
/// # Safety
/// * `handle` is of `dlopen`.
unsafe fn extend(handle: *mut c_void) {
    let facts = goroutines_switch::thread_pointer::facts();
    // SAFETY: the caller's handle. (Two threads that load at once at worst do the same twice.)
    if let Err(bytes) = unsafe { facts.library_loaded(handle) } {
        crate::base::sys::write_all(
            2,
            format!(
                "goroutines: a library loaded by dlopen needs {bytes} bytes of static thread-local \
                 storage, and goroutines have {}. Load it before the runtime is started, or start \
                 the runtime with runtime::Builder::keep_dlopen_surplus(true).\n",
                facts.static_tls_bytes()
            )
            .as_bytes(),
        );
        fatal::fatal("no room for a library's thread-local storage");
    }
}
