//! What a thread does in libc at its start and at its end, and what a carrier does for it.
//!
//! glibc's `start_thread`, `__libc_thread_freeres`, `__nptl_deallocate_tsd` and the kernel's part
//! of a thread's end, line by line. libc's own TLS and thread block outlive a goroutine (T5), so
//! that the next one on the carrier has the malloc cache; whatever else they hold must be put back
//! by hand. Nearly all goroutines leave nothing of it there, which `quiet.rs` sees at once.
//!
//! | a thread | a carrier | test |
//! |---|---|---|
//! | points `__resp` to the resolver state of its block | the same, once (`resolver.rs`) | `resolver` |
//! | `__ctype_init`: tables of the locale | `uselocale`, which does it | `libc_is_as_in_a_new_thread` |
//! | registers rseq | T4: says that it is not; `sched_getcpu` asks the kernel | `goroutines_know_their_cpu` |
//! | tells the kernel its robust list | keeps the list; its owner tells the kernel while it matters, and has it gone through at the end (`robust.rs`) | `robust_mutexes_of_the_ended` |
//! | has the stack's place and size in its block | the same (`probe.rs`) | `libc_knows_how_large_the_stack_is` |
//! | waits for its creator's lock, `setxid_futex` | nothing: it is never held | |
//! | `specific[0]`, the first 32 keys | in the block; what looks them up never asks `specific[0]` | `pthread_keys_…` |
//! | `__call_tls_dtors` | the same | `destructors_run_once_…` |
//! | `__nptl_deallocate_tsd`: four rounds of keys' destructors, then values are dropped | the same (`keys.rs`); blocks of keys above 32 stay with the carrier | `values_that_keys_keep` |
//! | destructors that a key's destructor registers: never run, the memory goes | run after the keys, both in turn until nothing is left, at most four times: the memory is used again | `late_destructors` |
//! | `__res_thread_freeres` | closes and clears the state | `the_resolvers_state_begins_anew` |
//! | `__libc_dlerror_result_free` | asks `dlerror` until it has nothing to say | `errors_of_the_ended` |
//! | `__glibc_tls_internal_free`: texts of `strerror_l`, `strsignal` | stay with the carrier; the next text replaces them | |
//! | `__rpc_thread_destroy` | stays: for programs linked before glibc 2.32 | |
//! | `__malloc_arena_thread_freeres`: cache, arena | stay with the carrier, by intention | |
//! | vDSO `getrandom` state (2.41) | stays with the carrier: it has no value to look at | |
//! | `errno`, `h_errno`, locale, cancellation state and type: new | put back | `errors_of_the_ended`, `a_locale_does_not_…`, `cancellation_settings` |
//! | thread-locals that were allocated at their first use are freed | the same (`block.rs`) | `libraries` |
//! | rounding mode, signal stack, mask, name: new | the switch's, and the owner's | |
//! | owner of stdio locks that it holds: a dead thread | the same: the goroutine that ended | |
//! | `tid` is cleared, joiners are woken, the block is freed | the carrier is used again | |

use super::glibc::{Facts, facts};
use super::keys;
use std::ffi::{c_char, c_int};

unsafe extern "C" {
    fn uselocale(locale: libc::locale_t) -> libc::locale_t;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
    fn dlerror() -> *mut c_char;
    fn __h_errno_location() -> *mut c_int;
}

/// `LC_GLOBAL_LOCALE` of `<locale.h>`.
const GLOBAL: libc::locale_t = usize::MAX as libc::locale_t;
/// `PTHREAD_CANCEL_ENABLE`, and below `PTHREAD_CANCEL_DEFERRED`, of `<pthread.h>`.
const ENABLE: c_int = 0;
const DEFERRED: c_int = 0;

/// How often keys' destructors and those of thread-locals take turns.
const TURNS: usize = 4;

/// To be called on a new carrier, first of all: libc's `ctype` tables and the resolver's state are
/// behind thread-local pointers.
pub fn start() {
    let f = facts();
    // SAFETY: the global locale is always a valid argument; the caller's own block.
    unsafe {
        uselocale(GLOBAL);
        if let Some(resolver) = f.resolver {
            resolver.start(crate::arch::thread_pointer());
        }
    }
}

/// To be called on a carrier when its work is done: runs the destructors of `thread_local!`s (in
/// reverse order of their first use) and of pthread keys, then puts back what libc keeps per thread
/// and a reset would not touch.
///
/// Destructors are the program's code: they may block, and may be preempted.
///
/// Returns whether the flow holds robust mutexes: then [`leave_robust`] is to be called.
pub fn leave() -> bool {
    let f = facts();
    let tp = crate::arch::thread_pointer();
    // SAFETY: libc's own function for this moment, on a thread block of ours.
    unsafe { (f.call_tls_dtors)() };
    match &f.quiet {
        // SAFETY: the flow's own block.
        Some(quiet) if unsafe { quiet.is(tp) } => unsafe { quiet.clear_errors(tp) },
        _ => leave_thoroughly(f, tp),
    }
    // SAFETY: the flow's own block.
    f.robust_at.is_some_and(|head| unsafe { super::robust::has_any(tp + head) })
}

#[cold]
fn leave_thoroughly(f: &Facts, tp: usize) {
    if keys::are_used(f, tp) {
        leave_keys(f, tp);
    }
    // SAFETY: the flow's own block, in which no code of the program's runs any more.
    unsafe {
        if super::block::has_dynamic(tp) && own_are_static(f, tp) {
            super::block::free_dynamic(tp);
        }
        put_back(f, tp);
    }
}

/// Whether the runtime's own thread-locals lie in the block's static area. In a plug-in they don't:
/// they are still needed until the carrier is left, and are freed from elsewhere before it is used
/// again.
#[cold]
fn own_are_static(f: &Facts, tp: usize) -> bool {
    thread_local! {
        static OWN: u8 = const { 0 };
    }
    let own = OWN.with(|own| std::ptr::from_ref(own) as usize);
    own < tp && tp - own <= f.static_bytes
}

#[cold]
fn leave_keys(f: &Facts, tp: usize) {
    for _ in 0..TURNS {
        keys::run_destructors(f, tp);
        // SAFETY: as in `leave`.
        unsafe { (f.call_tls_dtors)() };
        if !keys::are_used(f, tp) {
            return;
        }
    }
    keys::drop_values(f, tp);
}

/// To be called after [`leave`] has asked for it, before joiners are told: gives up the robust
/// mutexes that the flow holds, under its carrier's id or under `tid`, that of its OS thread.
pub fn leave_robust(tid: u32) {
    let (f, tp) = (facts(), crate::arch::thread_pointer());
    if let Some(head) = f.robust_at {
        // SAFETY: the flow's own block.
        unsafe { super::robust::leave(tp + head, [f.tid_in(tp), tid]) };
    }
}

unsafe fn put_back(f: &Facts, tp: usize) {
    // SAFETY: plain calls of libc, and words of the caller's block.
    unsafe {
        if let Some(resolver) = f.resolver {
            resolver.leave(tp);
        }
        if uselocale(std::ptr::null_mut()) != GLOBAL {
            uselocale(GLOBAL);
        }
        if f.dlerror_at.is_none_or(|at| *((tp - at) as *const usize) != 0) {
            // The first call gives the text, the second frees it.
            while !dlerror().is_null() {}
        }
        let is_set = |at: usize| *((tp + at) as *const u8) != 0;
        if f.cancel_at.is_none_or(|[state, kind]| is_set(state) || is_set(kind)) {
            pthread_setcancelstate(ENABLE, std::ptr::null_mut());
            pthread_setcanceltype(DEFERRED, std::ptr::null_mut());
        }
        *__h_errno_location() = 0;
        *libc::__errno_location() = 0;
    }
}
