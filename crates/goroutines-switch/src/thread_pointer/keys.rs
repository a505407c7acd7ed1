//! What a thread does in libc at its beginning and at its end, for carriers.

use super::glibc::facts;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;

unsafe extern "C" {
    fn uselocale(locale: libc::locale_t) -> libc::locale_t;
}

/// `LC_GLOBAL_LOCALE` of `<locale.h>`.
const GLOBAL: libc::locale_t = usize::MAX as libc::locale_t;

/// To be called on a new carrier, first of all: libc's `ctype` tables are thread-local pointers.
pub fn start() {
    // SAFETY: the global locale is always a valid argument.
    unsafe { uselocale(GLOBAL) };
}

/// To be called on a carrier when its work is done: runs the destructors of `thread_local!`s (in
/// reverse order of their first use) and of pthread keys, then puts back what libc keeps per thread
/// and a reset would not touch.
///
/// Destructors are the program's code: they may block, and may be preempted.
pub fn leave() {
    let f = facts();
    let tp = crate::arch::thread_pointer();
    // SAFETY: libc's own function for this moment, on a thread block of ours.
    unsafe {
        (f.call_tls_dtors)();
        let used = match f.specific_used_at {
            Some(at) => *((tp + at) as *const u8) != 0,
            None => true,
        };
        if used {
            run_key_destructors();
            if let Some(at) = f.specific_used_at {
                *((tp + at) as *mut u8) = 0;
            }
        }
        if uselocale(std::ptr::null_mut()) != GLOBAL {
            uselocale(GLOBAL);
        }
        *libc::__errno_location() = 0;
    }
}

/// `struct pthread_key_struct`: odd `seq` means in use.
#[repr(C)]
struct Key {
    seq: usize,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
}

const KEYS: usize = 1024;
const ROUNDS: usize = 4; // PTHREAD_DESTRUCTOR_ITERATIONS

fn keys() -> Option<&'static [Key; KEYS]> {
    static AT: OnceLock<usize> = OnceLock::new();
    let at = *AT.get_or_init(|| {
        // SAFETY: NUL-terminated names. The size is checked, so the array is what we take it for.
        unsafe {
            let keys = libc::dlsym(libc::RTLD_DEFAULT, c"__pthread_keys".as_ptr());
            let size =
                libc::dlsym(libc::RTLD_DEFAULT, c"_thread_db_sizeof_pthread_key_struct".as_ptr());
            let fits = !size.is_null() && *size.cast::<c_uint>() as usize == size_of::<Key>();
            if fits { keys as usize } else { 0 }
        }
    });
    // SAFETY: libc's table of keys, which lives as long as the process.
    (at != 0).then(|| unsafe { &*(at as *const [Key; KEYS]) })
}

/// As POSIX has it: every non-null value is taken and destroyed, until none is left or four rounds.
fn run_key_destructors() {
    let Some(keys) = keys() else { return };
    for _ in 0..ROUNDS {
        let mut again = false;
        for (index, key) in keys.iter().enumerate() {
            // Another thread may create or delete keys meanwhile, hence volatile.
            // SAFETY: an entry of libc's table.
            let seq = unsafe { (&raw const key.seq).read_volatile() };
            if seq & 1 == 0 {
                continue;
            }
            let index = index as c_int as libc::pthread_key_t;
            // SAFETY: a key in use, or one just deleted, for which both calls do nothing.
            unsafe {
                let value = libc::pthread_getspecific(index);
                if value.is_null() {
                    continue;
                }
                again = true;
                libc::pthread_setspecific(index, std::ptr::null());
                if let Some(destroy) = (&raw const key.destructor).read_volatile() {
                    destroy(value);
                }
            }
        }
        if !again {
            return;
        }
    }
}
