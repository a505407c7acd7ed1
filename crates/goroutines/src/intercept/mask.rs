//! Signal masks.
//!
//! A mask is the OS thread's, as is said in `table.rs`. But two things must hold whatever a goroutine blocks:
//!
//! * MA1: the runtime's signal is never blocked for long, or no time slice would end on that thread. A goroutine that
//!   blocks it is told that it is blocked, and signals of the same number that are the program's wait until the
//!   goroutine unblocks it.
//! * MA2: the mask that a thread has in ordinary code is known, so that handlers that are not installed through us can
//!   be told by theirs (PR5): goroutines that run on a thread after one that has left its mask behind are preempted as
//!   before.

use super::real::{Real, real};
use super::signal;
use crate::base::sys;
use crate::g::{G, current};
use crate::m::thread::{self, word_of};
use crate::sched::preempt;
use libc::{c_int, sigset_t};

type Call = unsafe extern "C" fn(c_int, *const sigset_t, *mut sigset_t) -> c_int;

const OWN: u64 = 1 << (preempt::SIGNAL - 1);

/// A set of the kernel's 64 bits.
fn set_of(word: u64) -> sigset_t {
    // SAFETY: plain old data, which begins with them.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        (&raw mut set).cast::<u64>().write(word);
        set
    }
}

/// Changes the mask of the thread that `gp` is on, and notes it.
fn change(gp: &G, real: Call, how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: null, or the user's set.
    let wanted = unsafe { set.as_ref() }.map(word_of);
    let stripped = wanted.map(|word| set_of(word & !OWN));
    let new = stripped.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: null or a set to read, and the user's to write.
    let result = unsafe { real(how, new, old) };
    if result != 0 {
        return result;
    }
    let was_blocked = gp.urgent_blocked.get();
    // SAFETY: null, or what the call has filled in.
    if let Some(old) = unsafe { old.as_mut() }
        && was_blocked
    {
        *old = set_of(word_of(old) | OWN);
    }
    if let Some(wanted) = wanted {
        let names_it = wanted & OWN != 0;
        gp.urgent_blocked.set(match how {
            libc::SIG_BLOCK => was_blocked || names_it,
            libc::SIG_UNBLOCK => was_blocked && !names_it,
            _ => names_it,
        });
        let now = sys::block_signals(0);
        let is_usual = thread::usual_mask() == Some(now);
        gp.m().mask.set((!is_usual).then_some(now));
        gp.has_mask.set(!is_usual);
    }
    result
}

fn call(real: Call, how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // A handler's mask ends with it.
    let Some(gp) = current::g().filter(|_| !signal::in_handler()) else {
        // SAFETY: forwarded.
        return unsafe { real(how, set, old) };
    };
    current::raise(gp);
    let result = change(gp, real, how, set, old);
    current::lower(gp);
    if !gp.urgent_blocked.get() && gp.urgent_pending.replace(false) {
        sys::tgkill(sys::gettid(), preempt::SIGNAL);
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_sigmask");
    call(real!(REAL as fn(c_int, *const sigset_t, *mut sigset_t) -> c_int), how, set, old)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    static REAL: Real = Real::new(c"sigprocmask");
    call(real!(REAL as fn(c_int, *const sigset_t, *mut sigset_t) -> c_int), how, set, old)
}

fn one(how: c_int, signal: c_int) -> c_int {
    if !(1..=64).contains(&signal) {
        super::real::set_errno(libc::EINVAL);
        return -1;
    }
    let set = set_of(1 << (signal - 1));
    // SAFETY: a set to read.
    unsafe { sigprocmask(how, &raw const set, std::ptr::null_mut()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sighold(signal: c_int) -> c_int {
    one(libc::SIG_BLOCK, signal)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigrelse(signal: c_int) -> c_int {
    one(libc::SIG_UNBLOCK, signal)
}
