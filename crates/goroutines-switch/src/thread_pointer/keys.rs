//! The values of pthread keys at a goroutine's end.

use super::glibc::Facts;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;

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

/// Whether a value was set in the block at `tp`, which is the caller's, since values were last seen
/// to.
#[inline]
pub(super) fn are_used(f: &Facts, tp: usize) -> bool {
    // SAFETY: libc's flag in the caller's block.
    f.specific_used_at.is_none_or(|at| unsafe { *((tp + at) as *const u8) != 0 })
}

fn set_unused(f: &Facts, tp: usize) {
    if let Some(at) = f.specific_used_at {
        // SAFETY: as in `are_used`.
        unsafe { *((tp + at) as *mut u8) = 0 };
    }
}

/// As POSIX has it: every non-null value is taken and destroyed, until none is left or four rounds.
/// What is left then is dropped.
pub(super) fn run_destructors(f: &Facts, tp: usize) {
    for _ in 0..ROUNDS {
        set_unused(f, tp);
        let found = take_all(|key, value| {
            // Another thread may delete the key meanwhile, hence volatile. SAFETY: an entry of
            // libc's table, and the destructor that the program gave for its values.
            unsafe {
                if let Some(destroy) = (&raw const key.destructor).read_volatile() {
                    destroy(value);
                }
            }
        });
        if !found || (f.specific_used_at.is_some() && !are_used(f, tp)) {
            set_unused(f, tp);
            return;
        }
    }
    drop_values(f, tp);
}

/// No value is left, and no destructor is called.
pub(super) fn drop_values(f: &Facts, tp: usize) {
    take_all(|_, _| ());
    set_unused(f, tp);
}

/// Takes every value of the caller's, and says whether there were any.
fn take_all(mut then: impl FnMut(&Key, *mut c_void)) -> bool {
    let Some(keys) = keys() else { return false };
    let mut found = false;
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
            found = true;
            libc::pthread_setspecific(index, std::ptr::null());
            then(key, value);
        }
    }
    found
}
