//! C's condition variables.
//!
//! A goroutine that waits for one stands in the futexes' table, under the condition variable's
//! address. A signal looks there first, then asks libc; where goroutines and threads may both wait,
//! both get their turns. Condition variables shared between processes, and waits with times that
//! libc refuses, are left to libc, announced.

use super::futex::{Woken, wait_at_after, wake_at};
use super::known::{Flag, known};
use super::mutex::{self, InCond};
use super::real::{Real, caller, function, real};
use super::sync::{ALL, WaitingForC, anybody_waits, is_supported, unlocked};
use super::time;
use crate::base::sys;
use crate::g::G;
use crate::g::reason::WaitReason;
use crate::sched::SCHED;
use crate::timer::alarm::NEVER;
use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, timespec};
use std::sync::atomic::{AtomicU32, Ordering};

/// A goroutine's wait. None: it is to wait in libc.
fn wait_for(
    gp: &'static G,
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: u64,
) -> Option<c_int> {
    // SAFETY: the user's condition variable; a plain one has zeroes there.
    if unsafe { Flag::is_set(known().cond_shared, cond as usize, 0) } {
        return None;
    }
    let mut unlock_error = 0;
    let woken = {
        let _counted = WaitingForC::new();
        let why = (WaitReason::Pthread, sys::nanotime());
        // The goroutine enters the list first, then it unlocks: a signal after that finds it.
        let unlock = || {
            unlock_error = mutex::unlock(mutex);
            unlock_error == 0
        };
        wait_at_after(gp, (cond as usize, ALL), until, why, || false, unlock)
    };
    if unlock_error != 0 {
        return Some(unlock_error);
    }
    match (mutex::lock(mutex), woken) {
        (0, Woken::Timeout) => Some(libc::ETIMEDOUT),
        (locked, _) => Some(locked),
    }
}

/// Calls libc's wait, with the mark set for goroutines that want the mutex.
fn wait_in_libc(mutex: *mut pthread_mutex_t, real: impl FnOnce() -> c_int) -> c_int {
    if !SCHED.started.load(Ordering::Acquire) {
        return real();
    }
    let _mark = InCond::new(mutex as usize);
    match caller() {
        Some(gp) => mutex::while_waiting(gp, mutex, real),
        None => real(),
    }
}

/// Waits, for a goroutine or a thread. `real` is libc's call.
pub(super) fn wait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    real: impl FnOnce() -> c_int,
) -> c_int {
    caller()
        .and_then(|gp| wait_for(gp, cond, mutex, NEVER))
        .unwrap_or_else(|| wait_in_libc(mutex, real))
}

/// Waits until `time` on `clock` at the latest, for a goroutine or a thread. `real` is libc's call.
fn wait_until(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let wanted = caller().filter(|_| !time.is_null() && is_supported(clock));
    let wanted = wanted.and_then(|gp| Some((gp, time::deadline(clock, time).ok()?)));
    wanted
        .and_then(|(gp, until)| wait_for(gp, cond, mutex, until))
        .unwrap_or_else(|| wait_in_libc(mutex, real))
}

/// As `pthread_cond_timedwait`, for a goroutine or a thread: on the clock that was chosen when
/// `cond` was made. `real` is libc's call.
pub(super) fn wait_by(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
    real: impl FnOnce() -> c_int,
) -> c_int {
    if caller().is_none() {
        return wait_in_libc(mutex, real);
    }
    // SAFETY: the user's condition variable; a plain one has zeroes there.
    let monotonic = unsafe { Flag::is_set(known().cond_monotonic, cond as usize, 0) };
    let clock = if monotonic { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME };
    wait_until(cond, mutex, clock, time, real)
}

/// Wakes one waiter; the caller may be a goroutine or a thread. `real` is libc's call.
pub(super) fn signal(cond: *mut pthread_cond_t, real: impl FnOnce() -> c_int) -> c_int {
    static TURN: AtomicU32 = AtomicU32::new(0);
    if !anybody_waits() || wake_at(cond as usize, 1, ALL) == 0 {
        return real();
    }
    // Threads may wait as well, which libc does not say. So now and then a thread is woken too.
    if TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(4) { real() } else { 0 }
}

/// Wakes all waiters; the caller may be a goroutine or a thread. `real` is libc's call.
pub(super) fn broadcast(cond: *mut pthread_cond_t, real: impl FnOnce() -> c_int) -> c_int {
    unlocked(cond as usize, usize::MAX);
    real()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_wait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_wait");
    // SAFETY: forwarded.
    wait(cond, mutex, || unsafe {
        real!(REAL as fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int)(cond, mutex)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_timedwait");
    type Wait =
        unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int;
    // SAFETY: forwarded.
    wait_by(cond, mutex, time, || unsafe { function::<Wait>(&REAL)(cond, mutex, time) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_clockwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_clockwait");
    type Wait = unsafe extern "C" fn(
        *mut pthread_cond_t,
        *mut pthread_mutex_t,
        clockid_t,
        *const timespec,
    ) -> c_int;
    // SAFETY: forwarded.
    let real = || unsafe { function::<Wait>(&REAL)(cond, mutex, clock, time) };
    wait_until(cond, mutex, clock, time, real)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_signal(cond: *mut pthread_cond_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_signal");
    // SAFETY: forwarded.
    signal(cond, || unsafe { real!(REAL as fn(*mut pthread_cond_t) -> c_int)(cond) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_broadcast(cond: *mut pthread_cond_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_broadcast");
    // SAFETY: forwarded.
    broadcast(cond, || unsafe { real!(REAL as fn(*mut pthread_cond_t) -> c_int)(cond) })
}
