//! The object that the runtime is a part of stays loaded.
//!
//! A plug-in that uses goroutines may be closed by its host, but the runtime's threads go on in its
//! code.

use std::ffi::{c_int, c_void};

/// Makes the loader never unload the library that this code is in, if it is in one.
pub(crate) fn loaded() {
    // SAFETY: a record to write, and the loader's own name of the library, which is loaded.
    unsafe {
        let here = loaded as *const c_void;
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(here, &raw mut info) != 0 && !info.dli_fname.is_null() && is_library(here) {
            let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            let _ = libc::dlopen(info.dli_fname, flags);
        }
    }
}

/// Whether `at` lies in an object that the loader has a name for: the program has none.
fn is_library(at: *const c_void) -> bool {
    struct Search {
        at: usize,
        found: bool,
    }
    unsafe extern "C" fn each(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader's record with its program headers, and the Search given below.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
        // SAFETY: as above.
        let headers =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum as usize) };
        let is_here = headers.iter().filter(|h| h.p_type == libc::PT_LOAD).any(|h| {
            let start = (info.dlpi_addr as usize).wrapping_add(h.p_vaddr as usize);
            search.at.wrapping_sub(start) < h.p_memsz as usize
        });
        if is_here {
            // SAFETY: null or NUL-terminated.
            search.found = !info.dlpi_name.is_null() && unsafe { *info.dlpi_name } != 0;
        }
        c_int::from(is_here)
    }
    let mut search = Search { at: at as usize, found: false };
    // SAFETY: `each` gets the Search, which outlives the call, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut search).cast()) };
    search.found
}
