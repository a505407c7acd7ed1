//! How much static TLS there is for libraries that are loaded later.
//!
//! glibc keeps some 1.7 KiB under each thread pointer free for them. A carrier that kept them too
//! would not share a page with its first frames any more, which costs 4 KiB per goroutine. But what
//! ld.so has given to a library must be there in every thread, a goroutine too; nothing can be
//! moved under frames that exist.
//!
//! **Rejected.** Looking at what was loaded, after `dlopen`: libc loads libraries itself (for names
//! of hosts and users, for character sets), and by then their thread-locals lie on goroutines'
//! frames. Taking the rest away with a library of our own: it would get the part next to the thread
//! pointer, the wrong one.
//!
//! **Chosen.** ld.so is told that the static area is smaller. Then it refuses what has no room as
//! it does when the area is used up: `dlopen` fails with a text, and libraries that can do with
//! dynamic TLS get that. The size stands beside the alignment among its own data; it is changed
//! only where both are found there once, where the bytes in use are found too, and where ld.so
//! itself then tells the new size. Else, and with `keep_surplus`, carriers keep all.

use super::glibc::{field, static_info, symbol};
use std::ffi::{c_int, c_void};

/// Bytes that carriers keep for later libraries, beside what is in use.
const KEPT: usize = 0;

/// Has ld.so give no more static TLS than `KEPT` bytes beyond those in use, of which `used` are
/// known. Returns the bytes under the thread pointer that ld.so may use from now on; none where it
/// could not be told.
pub(super) fn limit(full: usize, used: usize, sizeof_pthread: usize) -> Option<usize> {
    let most = full.checked_sub(sizeof_pthread)?;
    let (_, align) = static_info(symbol(c"_dl_get_tls_static_info").ok()?);
    let in_use = bytes_in_use().filter(|bytes| (used..=most).contains(bytes))?;
    let size = (in_use + KEPT + sizeof_pthread).next_multiple_of(align.max(64));
    if size >= full {
        return None;
    }
    let at = find([full, align])?;
    // SAFETY: ld.so's word, found to be what it tells as the size.
    unsafe { write(at, size)? };
    if static_info(symbol(c"_dl_get_tls_static_info").ok()?).0 != size {
        // SAFETY: as above; what was there.
        unsafe { write(at, full)? };
        return None;
    }
    Some(size - sizeof_pthread)
}

/// How far under the thread pointer static TLS was given out, in all name spaces; libraries that
/// were closed may have left holes.
fn bytes_in_use() -> Option<usize> {
    // The list whose place libc tells debuggers, how many modules were there at start, and this.
    let list = field(c"_thread_db_rtld_global__dl_tls_dtv_slotinfo_list").ok()?;
    let at = symbol(c"_rtld_global").ok()? as usize + list + 2 * size_of::<usize>();
    // SAFETY: a word of ld.so's data; what it says is checked by the caller.
    Some(unsafe { (at as *const usize).read() })
}

/// The only place of the two words in ld.so's read-only data.
fn find(pair: [usize; 2]) -> Option<usize> {
    let start = symbol(c"_rtld_global_ro").ok()? as usize;
    let words = size_of_symbol(start)? / size_of::<usize>();
    // SAFETY: the words of that object.
    let words = unsafe { std::slice::from_raw_parts(start as *const usize, words) };
    let mut found = words.windows(2).enumerate().filter(|(_, words)| *words == pair);
    let (index, _) = found.next()?;
    found.next().is_none().then_some(start + index * size_of::<usize>())
}

fn size_of_symbol(at: usize) -> Option<usize> {
    unsafe extern "C" {
        fn dladdr1(
            at: *const c_void,
            info: *mut libc::Dl_info,
            extra: *mut *mut c_void,
            flags: c_int,
        ) -> c_int;
    }
    const RTLD_DL_SYMENT: c_int = 1;
    let mut symbol: *mut c_void = std::ptr::null_mut();
    // SAFETY: a record and a pointer to write.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let found =
            dladdr1(at as *const c_void, &raw mut info, &raw mut symbol, RTLD_DL_SYMENT) != 0;
        (found && !symbol.is_null() && info.dli_saddr as usize == at)
            .then(|| (*symbol.cast::<libc::Elf64_Sym>()).st_size as usize)
    }
}

/// Writes a word of an object's data, also where that is read-only after the start. None if it
/// can't be.
unsafe fn write(at: usize, word: usize) -> Option<()> {
    let page = at & !4095;
    let protect = |bits: c_int| {
        // SAFETY: a page of ld.so's data; it stays readable.
        crate::sys::check(unsafe {
            crate::sys::raw(libc::SYS_mprotect, [page, 4096, bits as usize, 0, 0, 0])
        })
        .ok()
    };
    let is_read_only = is_relro(at);
    if is_read_only {
        protect(libc::PROT_READ | libc::PROT_WRITE)?;
    }
    // SAFETY: the caller's word, in a page that can be written now.
    unsafe { (at as *mut usize).write_volatile(word) };
    if is_read_only {
        protect(libc::PROT_READ)?;
    }
    Some(())
}

/// Whether `at` lies in pages that the loader has made read-only after relocation.
fn is_relro(at: usize) -> bool {
    unsafe extern "C" fn each(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        at: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader's record.
        let info = unsafe { &*info };
        let is_in = super::modules::Walk::headers(info)
            .iter()
            .filter(|h| h.p_type == libc::PT_GNU_RELRO)
            .map(|h| super::modules::Walk::segment(info, h))
            .any(|range| (range.start & !4095..range.end & !4095).contains(&(at as usize)));
        c_int::from(is_in)
    }
    // SAFETY: `each` gets an address as a number, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(each), at as *mut c_void) != 0 }
}
