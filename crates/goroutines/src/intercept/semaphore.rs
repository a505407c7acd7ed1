//! C's semaphores. (`sync.rs` says how a goroutine waits for one.)
//!
//! `sem_post` may be called in a signal handler, where no lock may be taken: then it leaves word,
//! as every call that wakes does there, and the monitor looks ([`posted_in_handlers`]).

use super::futex::{wake_at, wake_everybody};
use super::known::{Flag, known};
use super::real::{Real, caller, errno, real, set_errno};
use super::sync::{ALL, anybody_waits, timed, wait_for_post};
use crate::g::G;
use crate::sched::SCHED;
use crate::sched::syscall::announced;
use crate::timer::alarm::NEVER;
use libc::{c_int, clockid_t, sem_t, timespec};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// There was a wake-up in a signal handler: the monitor is to find out which goroutines it is for.
static POSTED: AtomicBool = AtomicBool::new(false);
/// One has found no place among [`POSTED_AT`].
static POSTED_MORE: AtomicBool = AtomicBool::new(false);
/// The last addresses woken so, of semaphores and other futexes; 0: none.
static POSTED_AT: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

/// What the monitor does now and then: wakes for those who could not.
pub(crate) fn posted_in_handlers() {
    if POSTED.load(Ordering::Relaxed) && POSTED.swap(false, Ordering::Acquire) {
        if POSTED_MORE.swap(false, Ordering::Acquire) {
            wake_everybody();
        }
        for at in &POSTED_AT {
            let semaphore = at.swap(0, Ordering::Acquire);
            if semaphore != 0 {
                wake_at(semaphore, usize::MAX, ALL);
            }
        }
    }
}

/// Leaves word for the monitor. In a handler: no lock, no allocation.
pub(super) fn leave_word(address: usize) {
    let mut noted = false;
    for at in &POSTED_AT {
        let seen = at.load(Ordering::Relaxed);
        let ours = seen == address
            || (seen == 0
                && at.compare_exchange(0, address, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        if ours {
            noted = true;
            break;
        }
    }
    if !noted {
        POSTED_MORE.store(true, Ordering::Release);
    }
    POSTED.store(true, Ordering::Release);
    SCHED.sysmon.nudge();
}

/// A semaphore's word, for a goroutine.
fn sem_wait_for(
    gp: &'static G,
    semaphore: *mut sem_t,
    until: u64,
    in_libc: impl FnOnce() -> c_int,
) -> c_int {
    static TRYWAIT: Real = Real::new(c"sem_trywait");
    let attempt = || {
        // SAFETY: the user's semaphore.
        match unsafe { real!(TRYWAIT as fn(*mut sem_t) -> c_int)(semaphore) } {
            0 => 0,
            _ => errno(),
        }
    };
    let before = errno();
    let result = match attempt() {
        libc::EAGAIN => {
            // SAFETY: the user's semaphore.
            let shared = known().sem_shared.is_some_and(|(flag, plain)| unsafe {
                Flag::is_set(Some(flag), semaphore as usize, plain)
            });
            if shared {
                return announced(gp, in_libc);
            }
            wait_for_post(gp, semaphore as usize, until, attempt)
        }
        other => other,
    };
    match result {
        0 => {
            set_errno(before);
            0
        }
        error => {
            set_errno(error);
            -1
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_wait(semaphore: *mut sem_t) -> c_int {
    static REAL: Real = Real::new(c"sem_wait");
    // SAFETY: forwarded.
    let real = || unsafe { real!(REAL as fn(*mut sem_t) -> c_int)(semaphore) };
    match caller() {
        None => real(),
        Some(gp) => sem_wait_for(gp, semaphore, NEVER, real),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_timedwait(semaphore: *mut sem_t, time: *const timespec) -> c_int {
    static REAL: Real = Real::new(c"sem_timedwait");
    // SAFETY: forwarded.
    let real =
        || unsafe { real!(REAL as fn(*mut sem_t, *const timespec) -> c_int)(semaphore, time) };
    timed(libc::CLOCK_REALTIME, time, real, |gp, until| sem_wait_for(gp, semaphore, until, real))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_clockwait(
    semaphore: *mut sem_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    static REAL: Real = Real::new(c"sem_clockwait");
    // SAFETY: forwarded.
    let real = || unsafe {
        real!(REAL as fn(*mut sem_t, clockid_t, *const timespec) -> c_int)(semaphore, clock, time)
    };
    timed(clock, time, real, |gp, until| sem_wait_for(gp, semaphore, until, real))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_post(semaphore: *mut sem_t) -> c_int {
    static REAL: Real = Real::new(c"sem_post");
    // SAFETY: forwarded.
    let result = unsafe { real!(REAL as fn(*mut sem_t) -> c_int)(semaphore) };
    if anybody_waits() {
        wake_at(semaphore as usize, 1, ALL);
    }
    result
}
