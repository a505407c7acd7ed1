//! C's mutexes. (`sync.rs` says how a goroutine waits for one, `bound.rs` which mutexes know their
//! owner as a thread.)
//!
//! **What unlocks unseen.** An ordinary thread's `pthread_cond_wait` unlocks the mutex inside libc.
//! So such a thread marks the mutex first ([`InCond`]) and wakes the goroutines that wait for it;
//! these, and those that come later, see the mark and wait in libc, announced.

use super::bound::{self, is_bound};
use super::futex::wake_at;
use super::real::{Real, real};
use super::sync::{ALL, anybody_waits, is_supported, unlocked, wait_for};
use super::time;
use crate::g::{G, current};
use crate::sched::syscall::announced;
use crate::timer::alarm::NEVER;
use libc::{c_int, clockid_t, pthread_mutex_t, timespec};
use std::sync::atomic::{AtomicU32, Ordering};

/// Threads inside `pthread_cond_wait`, by the mutex they unlock there, hashed.
static IN_COND: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

/// While it lives, goroutines wait for the mutex in libc.
pub(super) struct InCond(&'static AtomicU32);

fn in_cond(mutex: usize) -> &'static AtomicU32 {
    &IN_COND[(mutex >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (usize::BITS - 8)]
}

impl InCond {
    pub(super) fn new(mutex: usize) -> Self {
        let mark = in_cond(mutex);
        mark.fetch_add(1, Ordering::SeqCst);
        if anybody_waits() {
            wake_at(mutex, usize::MAX, ALL);
        }
        Self(mark)
    }
}

impl Drop for InCond {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

static TRYLOCK: Real = Real::new(c"pthread_mutex_trylock");
static LOCK: Real = Real::new(c"pthread_mutex_lock");
static UNLOCK: Real = Real::new(c"pthread_mutex_unlock");
static TIMEDLOCK: Real = Real::new(c"pthread_mutex_timedlock");

/// The kind of a mutex, without what was decided on lock elision (bits 8 and 9: yes, no; a type
/// that is set by an attribute decides too).
fn kind_of(mutex: *mut pthread_mutex_t) -> c_int {
    /// The place of the kind is a part of libc's interface: static initialisers fill it in.
    const KIND_AT: usize = 16;
    // SAFETY: the user's mutex.
    let kind = unsafe { mutex.cast::<u8>().add(KIND_AT).cast::<c_int>().read_volatile() };
    kind & !0x300
}

/// Whether a mutex of this kind is normal, recursive, error-checking or adaptive, of this process
/// only, and nothing else.
fn is_plain(kind: c_int) -> bool {
    (0..=3).contains(&kind)
}

fn real_try_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the user's mutex.
    unsafe { real!(TRYLOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) }
}

fn real_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the user's mutex.
    unsafe { real!(LOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) }
}

fn real_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the user's mutex.
    unsafe { real!(UNLOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) }
}

fn real_timed_lock(mutex: *mut pthread_mutex_t, time: *const timespec) -> c_int {
    let real = real!(TIMEDLOCK as fn(*mut pthread_mutex_t, *const timespec) -> c_int);
    // SAFETY: the user's mutex, and time.
    unsafe { real(mutex, time) }
}

/// What locking by a time long past returns: a trial does not tell that the caller itself has
/// locked an error-checking mutex.
fn lock_by_now(mutex: *mut pthread_mutex_t) -> c_int {
    static LONG_AGO: timespec = timespec { tv_sec: -1, tv_nsec: 0 };
    real_timed_lock(mutex, &raw const LONG_AGO)
}

/// Locks for a goroutine.
fn lock_for(
    gp: &'static G,
    mutex: *mut pthread_mutex_t,
    until: u64,
    in_libc: impl FnOnce() -> c_int,
) -> c_int {
    let kind = kind_of(mutex);
    match real_try_lock(mutex) {
        libc::EBUSY if is_plain(kind) => {}
        libc::EBUSY => return announced(gp, in_libc),
        other => return other,
    }
    if kind == libc::PTHREAD_MUTEX_ERRORCHECK {
        match lock_by_now(mutex) {
            libc::ETIMEDOUT => {}
            other => return other,
        }
    }
    let at = mutex as usize;
    let marked = || in_cond(at).load(Ordering::SeqCst) > 0;
    wait_for(gp, at, until, libc::EBUSY, || real_try_lock(mutex), marked)
        .unwrap_or_else(|| announced(gp, in_libc))
}

/// Locks, for a goroutine or a thread.
pub(super) fn lock(mutex: *mut pthread_mutex_t) -> c_int {
    let Some(gp) = current::g() else { return real_lock(mutex) };
    let kind = kind_of(mutex);
    if is_bound(kind) {
        bound::lock(gp, kind, || real_lock(mutex))
    } else if gp.nopreempt.load(Ordering::Relaxed) == 0 {
        lock_for(gp, mutex, NEVER, || real_lock(mutex))
    } else {
        real_lock(mutex)
    }
}

/// Tries to lock, for a goroutine or a thread.
pub(super) fn try_lock(mutex: *mut pthread_mutex_t) -> c_int {
    let kind = kind_of(mutex);
    match current::g() {
        Some(gp) if is_bound(kind) => bound::try_lock(gp, kind, || real_try_lock(mutex)),
        _ => real_try_lock(mutex),
    }
}

/// Locks by a time, for a goroutine or a thread. `real` is libc's call.
pub(super) fn lock_by(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
    real: impl Fn() -> c_int,
) -> c_int {
    let Some(gp) = current::g() else { return real() };
    let kind = kind_of(mutex);
    if is_bound(kind) {
        return bound::lock(gp, kind, real);
    }
    if gp.nopreempt.load(Ordering::Relaxed) != 0 {
        return real();
    }
    // libc says what is wrong with the time, and says so only to callers that have to wait.
    let until = if time.is_null() || !is_supported(clock) {
        None
    } else {
        time::deadline(clock, time).ok()
    };
    match until {
        Some(until) => lock_for(gp, mutex, until, real),
        None => announced(gp, real),
    }
}

/// Unlocks, for a goroutine or a thread.
pub(super) fn unlock(mutex: *mut pthread_mutex_t) -> c_int {
    let kind = kind_of(mutex);
    if is_bound(kind)
        && let Some(gp) = current::g()
    {
        return bound::unlock(gp, kind, || real_unlock(mutex));
    }
    let result = real_unlock(mutex);
    unlocked(mutex as usize, 1);
    result
}

/// Makes a call on a mutex that neither locks nor unlocks it for good, for a goroutine or a thread.
fn other(mutex: *mut pthread_mutex_t, real: impl FnOnce() -> c_int) -> c_int {
    let kind = kind_of(mutex);
    match current::g() {
        Some(gp) if is_bound(kind) => bound::other(gp, kind, real),
        _ => real(),
    }
}

/// Makes libc's wait for a condition, which unlocks the mutex and locks it again, as a goroutine.
/// Announced.
pub(super) fn while_waiting(
    gp: &'static G,
    mutex: *mut pthread_mutex_t,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let kind = kind_of(mutex);
    if is_bound(kind) { bound::wait(gp, kind, real) } else { announced(gp, real) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    lock(mutex)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int {
    try_lock(mutex)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    unlock(mutex)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_timedlock(
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    lock_by(mutex, libc::CLOCK_REALTIME, time, || real_timed_lock(mutex, time))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_mutex_clocklock");
    // SAFETY: forwarded.
    let real = || unsafe {
        real!(REAL as fn(*mut pthread_mutex_t, clockid_t, *const timespec) -> c_int)(
            mutex, clock, time,
        )
    };
    lock_by(mutex, clock, time, real)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_consistent(mutex: *mut pthread_mutex_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_mutex_consistent");
    // SAFETY: forwarded.
    other(mutex, || unsafe { real!(REAL as fn(*mut pthread_mutex_t) -> c_int)(mutex) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_setprioceiling(
    mutex: *mut pthread_mutex_t,
    ceiling: c_int,
    old: *mut c_int,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_mutex_setprioceiling");
    // SAFETY: forwarded.
    other(mutex, || unsafe {
        real!(REAL as fn(*mut pthread_mutex_t, c_int, *mut c_int) -> c_int)(mutex, ceiling, old)
    })
}
