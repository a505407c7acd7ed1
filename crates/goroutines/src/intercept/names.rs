//! A thread's name, as the kernel keeps it: the goroutine's own.
//!
//! The name that `/proc` and a debugger show is the OS thread's, which runs other goroutines too. A
//! goroutine that is locked to its thread gives it the name as well.

use super::pthread::goroutine;
use super::real::{Real, caller, real, result};
use super::user_memory;
use crate::g::G;
use libc::{c_char, c_int, pthread_t, size_t};
use std::sync::atomic::{AtomicU64, Ordering};

/// `TASK_COMM_LEN`.
const BYTES: usize = 16;

/// A name; zeroes: none was given.
#[derive(Debug, Default)]
pub(crate) struct Name([AtomicU64; 2]);

impl Name {
    fn set(&self, name: [u8; BYTES]) {
        let [first, second] = halves(name);
        self.0[0].store(first, Ordering::Relaxed);
        self.0[1].store(second, Ordering::Relaxed);
    }

    /// Takes the name away.
    #[inline]
    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|half| half.store(0, Ordering::Relaxed));
    }

    /// The name, if one was given.
    pub(crate) fn get(&self) -> Option<[u8; BYTES]> {
        let halves = [0, 1].map(|i: usize| self.0[i].load(Ordering::Relaxed));
        let mut name = [0; BYTES];
        name[..8].copy_from_slice(&halves[0].to_ne_bytes());
        name[8..].copy_from_slice(&halves[1].to_ne_bytes());
        (name[0] != 0).then_some(name)
    }
}

fn halves(name: [u8; BYTES]) -> [u64; 2] {
    let mut halves = [[0; 8]; 2];
    halves[0].copy_from_slice(&name[..8]);
    halves[1].copy_from_slice(&name[8..]);
    halves.map(u64::from_ne_bytes)
}

/// Copies a name from the caller's memory, as far as there is room for it, and says whether it is
/// longer.
fn copied(gp: &'static G, at: *const c_char) -> Result<([u8; BYTES], bool), i32> {
    const PAGE: usize = 4096;
    let mut name = [0; BYTES];
    for i in 0..BYTES {
        let at = at.wrapping_add(i).cast::<u8>();
        if i == 0 || (at as usize).is_multiple_of(PAGE) {
            user_memory::is_readable(gp, at as usize, 1)?;
        }
        // SAFETY: the kernel could read this page.
        let byte = unsafe { at.read() };
        if byte == 0 {
            return Ok((name, false));
        }
        if i == BYTES - 1 {
            break;
        }
        name[i] = byte;
    }
    Ok((name, true))
}

/// `prctl(PR_SET_NAME)` in a goroutine.
pub(super) fn set(gp: &'static G, at: *const c_char, real: impl FnOnce() -> c_int) -> c_int {
    match copied(gp, at) {
        Err(error) => result(-(error as isize)) as c_int,
        Ok((name, _)) => {
            gp.name.set(name);
            if gp.is_locked() { real() } else { 0 }
        }
    }
}

/// `prctl(PR_GET_NAME)` in a goroutine.
pub(super) fn get(gp: &'static G, at: *mut c_char, real: impl FnOnce() -> c_int) -> c_int {
    match gp.name.get() {
        None => real(),
        Some(name) => match user_memory::write(gp, at.cast(), name) {
            Ok(()) => 0,
            Err(error) => result(-(error as isize)) as c_int,
        },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(thread: pthread_t, at: *const c_char) -> c_int {
    static REAL: Real = Real::new(c"pthread_setname_np");
    let real = || {
        let real = real!(REAL as fn(pthread_t, *const c_char) -> c_int);
        // SAFETY: forwarded.
        unsafe { real(thread, at) }
    };
    let (Some(gp), Some(named)) = (caller(), goroutine(thread)) else { return real() };
    match copied(gp, at) {
        Err(error) => error,
        Ok((_, true)) => libc::ERANGE,
        Ok((name, false)) => {
            named.name.set(name);
            if std::ptr::eq(named, gp) && gp.is_locked() {
                // SAFETY: the name was readable.
                unsafe { libc::prctl(libc::PR_SET_NAME, at) };
            }
            0
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(thread: pthread_t, at: *mut c_char, n: size_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_getname_np");
    let real = || {
        let real = real!(REAL as fn(pthread_t, *mut c_char, size_t) -> c_int);
        // SAFETY: forwarded.
        unsafe { real(thread, at, n) }
    };
    let (Some(gp), Some(named)) = (caller(), goroutine(thread)) else { return real() };
    if n < BYTES {
        return libc::ERANGE;
    }
    let mut name = named.name.get();
    if name.is_none() {
        let mut own = [0u8; BYTES];
        // SAFETY: room for a name.
        unsafe { libc::prctl(libc::PR_GET_NAME, own.as_mut_ptr()) };
        name = Some(own);
    }
    match user_memory::write(gp, at.cast(), name.unwrap_or_default()) {
        Ok(()) => 0,
        Err(error) => error,
    }
}
