//! `setuid` and its kin, which change the credentials of all threads.
//!
//! To the kernel, credentials belong to a thread. So glibc has each of its threads make the call,
//! by a signal (33). The signal's handler notes, in the thread block under the thread pointer, that
//! the call was made, and the caller signals each thread again until it finds that note. Where the
//! note is made in a goroutine's block, that would go on for ever. So our handler stands before
//! glibc's and points the thread pointer at the M's own block while glibc's runs.
//!
//! glibc installs its handler with the first thread that it makes, and never again.

use crate::g::current;
use goroutines_switch::sys::raw;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The kernel's `struct sigaction`.
#[repr(C)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// glibc's `SIGSETXID`, which none of its functions lets a program name.
const SIGNAL: usize = 33;

/// glibc's handler.
static REAL: AtomicUsize = AtomicUsize::new(0);

/// Puts our handler before glibc's. To be called once, when there has been a second thread.
pub(crate) fn install() {
    let mut old = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: the kernel's layout.
    let got = unsafe { raw(libc::SYS_rt_sigaction, [SIGNAL, 0, &raw mut old as usize, 8, 0, 0]) };
    if got != 0 || old.handler == libc::SIG_DFL || old.handler == libc::SIG_IGN {
        return;
    }
    REAL.store(old.handler, Ordering::Release); // pairs with handler()
    // All signals are blocked from its first instruction to its last: no goroutine is preempted in
    // it and so moved to another M.
    let new = Action { handler: handler as *const () as usize, mask: !0, ..old };
    // SAFETY: as above; libc's flags and restorer are kept.
    unsafe { raw(libc::SYS_rt_sigaction, [SIGNAL, &raw const new as usize, 0, 8, 0, 0]) };
}

extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: glibc's handler, which has this signature.
    let real = unsafe { std::mem::transmute::<usize, Handler>(REAL.load(Ordering::Acquire)) };
    // There is none in a forked child, where the goroutine's block is that of a thread of glibc's.
    let Some(gp) = current::g() else { return real(signal, info, context) };
    let goroutines = goroutines_switch::thread_pointer();
    // SAFETY: all signals are blocked, so the goroutine stays on its M. The M's own context holds
    // the thread's own block, as switches write the stack pointer only, and nothing but `real` runs
    // on that block.
    unsafe {
        let own = (*gp.m().g0.get()).thread_pointer();
        set_thread_pointer(own);
        real(signal, info, context);
        set_thread_pointer(goroutines);
    }
}

/// # Safety
/// * `tp` is a thread block, which no other thread runs on.
unsafe fn set_thread_pointer(tp: usize) {
    const ARCH_SET_FS: usize = 0x1002;
    // SAFETY: the caller's.
    unsafe { raw(libc::SYS_arch_prctl, [ARCH_SET_FS, tp, 0, 0, 0, 0]) };
}
