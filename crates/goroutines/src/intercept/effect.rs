//! Whether what is taken over is really called.
//!
//! A symbol of the program's own goes before all libraries'. One of a library that is opened later
//! (a plug-in) goes last: its calls, those of std in it too, find libc's functions. All is right
//! then, but a call that blocks holds its thread. A library that is linked with `-Bsymbolic` finds
//! its own.

use crate::base::sys;
use std::ffi::c_void;
use std::ptr::null_mut;

/// Says on stderr that it is not so, once: it is called at start.
pub(crate) fn check() {
    if !is_there() {
        sys::write_all(
            2,
            b"goroutines: in this library, calls that block hold a thread, as they go to libc: \
              link it with -Bsymbolic. In its build.rs: \
              println!(\"cargo::rustc-link-arg-cdylib=-Wl,-Bsymbolic\");\n",
        );
    }
}

/// Whether calls of `read` in this object come to the function of this object. (As well where the
/// loader can't say which object that is.)
fn is_there() -> bool {
    let read: *const c_void;
    // SAFETY: an entry of the global offset table, which the loader has filled in; where the linker
    // knows the function, it is the function's address.
    unsafe {
        std::arch::asm!(
            "mov {}, qword ptr [rip + read@GOTPCREL]",
            out(reg) read,
            options(nostack, readonly, preserves_flags),
        );
    }
    let here = is_there as *const c_void;
    match (object_of(read), object_of(here)) {
        (Some(of_read), Some(own)) => of_read == own,
        _ => true,
    }
}

/// Where the object that `at` lies in begins.
fn object_of(at: *const c_void) -> Option<*mut c_void> {
    let mut info = libc::Dl_info {
        dli_fname: null_mut(),
        dli_fbase: null_mut(),
        dli_sname: null_mut(),
        dli_saddr: null_mut(),
    };
    // SAFETY: a record to write.
    let found = unsafe { libc::dladdr(at, &raw mut info) };
    (found != 0).then_some(info.dli_fbase)
}
