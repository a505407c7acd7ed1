//! libc's own functions, and how ours are defined over them.

use crate::base::fatal;
use crate::g::{G, current};
use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// libc's own function of a name, found once.
pub(super) struct Real {
    name: &'static CStr,
    at: AtomicUsize,
}

impl Real {
    pub(super) const fn new(name: &'static CStr) -> Self {
        Self { name, at: AtomicUsize::new(0) }
    }

    /// As [`new`](Self::new), for a name that ends with a NUL.
    pub(super) const fn of(name: &'static str) -> Self {
        match CStr::from_bytes_with_nul(name.as_bytes()) {
            Ok(name) => Self::new(name),
            Err(_) => panic!("a name with one NUL, at its end"),
        }
    }

    /// Its address.
    #[inline]
    pub(super) fn get(&self) -> usize {
        match self.at.load(Ordering::Relaxed) {
            0 => self.find(),
            at => at,
        }
    }

    #[cold]
    fn find(&self) -> usize {
        // SAFETY: a NUL-terminated name.
        let at = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) } as usize;
        if at == 0 {
            fatal::throw!("libc has no {:?}", self.name);
        }
        self.at.store(at, Ordering::Relaxed);
        at
    }
}

/// The goroutine that calls, if it is one that may be parked here: not on ordinary threads and on
/// an M's own stack, not inside the runtime, a signal handler (`signal.rs`) or a call that is
/// announced.
#[inline]
pub(super) fn caller() -> Option<&'static G> {
    let gp = current::g()?;
    if gp.nopreempt.load(Ordering::Relaxed) == 0 { Some(gp) } else { after_handler(gp) }
}

/// The count is raised; it may be so on account of a handler that was left.
#[cold]
fn after_handler(gp: &'static G) -> Option<&'static G> {
    let here = 0u8;
    super::signal::set_right(Some(gp), &raw const here as usize, None).then_some(gp)
}

/// Sets `errno`.
pub(super) fn set_errno(error: i32) {
    // SAFETY: the calling flow's own.
    unsafe { *libc::__errno_location() = error };
}

/// `errno`.
pub(super) fn errno() -> i32 {
    // SAFETY: the calling flow's own.
    unsafe { *libc::__errno_location() }
}

/// Turns the kernel's word into what libc returns: -1 and `errno` for an error.
#[inline]
pub(super) fn result(word: isize) -> isize {
    if word < 0 {
        set_errno(-word as i32);
        return -1;
    }
    word
}

/// A function of the type `F`, which is that of libc's function of this name.
#[inline]
pub(super) fn function<F: Copy>(real: &Real) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>(), "a function's address") };
    let at = real.get();
    // SAFETY: `F` is a type of functions, in this module and below only, and libc's is of it.
    unsafe { std::mem::transmute_copy::<usize, F>(&at) }
}

/// libc's function of a name.
macro_rules! real {
    ($real:ident as fn($($arg:ty),* $(,)?) -> $ret:ty) => {
        $crate::intercept::real::function::<unsafe extern "C" fn($($arg),*) -> $ret>(&$real)
    };
}
pub(super) use real;

/// Takes over functions of libc: in a goroutine the block is the call; elsewhere libc's own
/// function is called. `real` in the block's head is a closure that calls that.
macro_rules! take_over {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty
        = |$gp:ident, $real:ident| $body:expr;)*) => {$(
        $(#[$meta])*
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> $ret {
            static REAL: $crate::intercept::real::Real =
                $crate::intercept::real::Real::of(concat!(stringify!($name), "\0"));
            let $real = || {
                let real = $crate::intercept::real::real!(REAL as fn($($ty),*) -> $ret);
                // SAFETY: the arguments are forwarded.
                unsafe { real($($arg),*) }
            };
            match $crate::intercept::real::caller() {
                None => $real(),
                Some($gp) => $body,
            }
        }
    )*};
}
pub(super) use take_over;
