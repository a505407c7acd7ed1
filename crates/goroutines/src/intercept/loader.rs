//! `dlopen`: libraries loaded while goroutines exist.

use crate::base::fatal;
use crate::sched::SCHED;
use libc::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

#[unsafe(no_mangle)]
unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let mut real = REAL.load(Ordering::Relaxed);
    if real == 0 {
        // SAFETY: a NUL-terminated name.
        real = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) } as usize;
        if real == 0 {
            fatal::throw!("libc has no dlopen");
        }
        REAL.store(real, Ordering::Relaxed);
    }
    // SAFETY: libc's dlopen has this signature; the arguments are forwarded.
    let handle = unsafe {
        std::mem::transmute::<usize, unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void>(
            real,
        )(file, flags)
    };
    if !handle.is_null() && SCHED.started.load(Ordering::Acquire) {
        check();
    }
    handle
}

/// A library with thread-locals in the initial-exec model, loaded now, would use bytes under the thread
/// pointer of each goroutine that hold its stack frames.
fn check() {
    let facts = goroutines_switch::thread_pointer::facts();
    if let Err(bytes) = facts.check_static_tls() {
        crate::base::sys::write_all(
            2,
            format!(
                "goroutines: a library loaded by dlopen needs {bytes} bytes of static thread-local \
                 storage, and goroutines have {}. Load it before the runtime is started, or start \
                 the runtime with runtime::Builder::keep_dlopen_surplus(true) after it.\n",
                facts.static_tls_bytes()
            )
            .as_bytes(),
        );
        fatal::fatal("no room for a library's thread-local storage");
    }
}
