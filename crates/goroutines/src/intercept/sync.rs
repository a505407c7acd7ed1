//! Locks of C: `pthread_mutex_*`, `pthread_rwlock_*`, `pthread_cond_*`; what `semaphore.rs` has in common with them.
//!
//! **The problem.** A goroutine that waits for one of these must not hold its thread. The objects are libc's,
//! and stay so: threads wait in them as ever, and libc itself looks into them.
//!
//! **Chosen.** A goroutine *tries* (`trylock`, `trywait`); where it would wait, it waits in the futexes' table,
//! under the object's address, and tries again when woken. Whoever unlocks or posts, on any thread, calls
//! libc's function and then looks for goroutines in the table. While no goroutine waits for anything of C's,
//! that is one load.
//!
//! * PT1: who waits is counted in [`WAITING`] before it tries for the last time; who unlocks has unlocked
//!   before he looks: one of them sees the other.
//!
//! **What unlocks unseen.** `pthread_cond_wait` of an ordinary thread, inside libc. So such a thread marks the
//! mutex first ([`InCond`]) and wakes the goroutines that wait for it; they, and those that come, see the mark
//! and wait in libc, announced.
//!
//! **Condition variables.** A goroutine that waits for one stands in the table, under its address; who
//! signals looks there first, then asks libc; goroutines and threads in turns, where both may wait.
//!
//! Objects shared between processes, robust ones and those with priority protocols are left to libc,
//! announced. How libc tells them from others is found out by making some (`known.rs`).

use super::futex::{Woken, wait_at, wake_at};
use super::known::{Flag, known};
use super::real::{Real, caller, real};
use super::time;
use crate::base::sys;
use crate::g::G;
use crate::g::reason::WaitReason;
use crate::sched::SCHED;
use crate::sched::syscall::announced;
use crate::timer::alarm::NEVER;
use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, timespec};
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

/// All bits of a futex's mask.
pub(super) const ALL: u32 = u32::MAX;

/// Goroutines that wait for anything of C's, or are about to.
static WAITING: AtomicU32 = AtomicU32::new(0);

/// Whether goroutines may wait. After an unlock, which on x86 is a locked instruction and so the barrier of
/// PT1; elsewhere it would have to be made.
#[inline]
pub(super) fn anybody_waits() -> bool {
    const { assert!(cfg!(target_arch = "x86_64"), "PT1 needs a fence here") };
    compiler_fence(Ordering::SeqCst);
    WAITING.load(Ordering::Relaxed) != 0
}

/// Threads inside `pthread_cond_wait`, by the mutex they unlock there, hashed.
static IN_COND: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

/// While it lives, goroutines wait for the mutex in libc.
struct InCond(&'static AtomicU32);

fn in_cond(mutex: usize) -> &'static AtomicU32 {
    &IN_COND[(mutex >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (usize::BITS - 8)]
}

impl InCond {
    fn new(mutex: usize) -> Self {
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

/// Waits for the object at `address` until `attempt` says something other than `busy`. None: in libc.
pub(super) fn wait_for(
    gp: &'static G,
    address: usize,
    until: u64,
    busy: c_int,
    attempt: impl Fn() -> c_int,
    in_libc: impl Fn() -> bool,
) -> Option<c_int> {
    WAITING.fetch_add(1, Ordering::SeqCst); // PT1
    let since = sys::nanotime();
    let result = loop {
        let mut result = None;
        let mut gives_up = false;
        let woken = wait_at(gp, (address, ALL), until, (WaitReason::Pthread, since), || {
            match attempt() {
                error if error == busy => gives_up = in_libc(),
                other => result = Some(other),
            }
            result.is_some() || gives_up
        });
        if result.is_some() || gives_up {
            break result;
        }
        if woken == Woken::Timeout {
            break Some(libc::ETIMEDOUT);
        }
    };
    WAITING.fetch_sub(1, Ordering::Relaxed);
    result
}

/// After an unlock: the first of those who wait, or all, may try again.
#[inline]
fn unlocked(address: usize, most: usize) {
    if anybody_waits() {
        wake_at(address, most, ALL);
    }
}

static TRYLOCK: Real = Real::new(c"pthread_mutex_trylock");
static LOCK: Real = Real::new(c"pthread_mutex_lock");
static UNLOCK: Real = Real::new(c"pthread_mutex_unlock");
static TIMEDLOCK: Real = Real::new(c"pthread_mutex_timedlock");

fn try_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the user's mutex.
    unsafe { real!(TRYLOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) }
}

/// The kind of a mutex, without what was decided on lock elision (bits 8 and 9: yes, no; a type that is set
/// by an attribute decides too).
fn kind_of(mutex: *mut pthread_mutex_t) -> c_int {
    /// Where its kind stands is a part of libc's interface: static initialisers fill it in.
    const KIND_AT: usize = 16;
    // SAFETY: the user's mutex.
    let kind = unsafe { mutex.cast::<u8>().add(KIND_AT).cast::<c_int>().read_volatile() };
    kind & !0x300
}

/// Normal, recursive, error-checking or adaptive, of this process, and nothing else.
fn is_plain_mutex(mutex: *mut pthread_mutex_t) -> bool {
    (0..=3).contains(&kind_of(mutex))
}

/// What locking by a time long past says: a trial does not tell that the caller has locked an error-checking
/// mutex itself.
fn lock_by_now(mutex: *mut pthread_mutex_t) -> c_int {
    static LONG_AGO: timespec = timespec { tv_sec: -1, tv_nsec: 0 };
    let real = real!(TIMEDLOCK as fn(*mut pthread_mutex_t, *const timespec) -> c_int);
    // SAFETY: the user's mutex; a time to read.
    unsafe { real(mutex, &raw const LONG_AGO) }
}

/// Locks for a goroutine.
fn lock_for(
    gp: &'static G,
    mutex: *mut pthread_mutex_t,
    until: u64,
    in_libc: impl FnOnce() -> c_int,
) -> c_int {
    match try_lock(mutex) {
        libc::EBUSY if is_plain_mutex(mutex) => {}
        libc::EBUSY => return announced(gp, in_libc),
        other => return other,
    }
    if kind_of(mutex) == libc::PTHREAD_MUTEX_ERRORCHECK {
        match lock_by_now(mutex) {
            libc::ETIMEDOUT => {}
            other => return other,
        }
    }
    let at = mutex as usize;
    let marked = || in_cond(at).load(Ordering::SeqCst) > 0;
    wait_for(gp, at, until, libc::EBUSY, || try_lock(mutex), marked)
        .unwrap_or_else(|| announced(gp, in_libc))
}

fn unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the user's mutex.
    let result = unsafe { real!(UNLOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) };
    unlocked(mutex as usize, 1);
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: forwarded.
    let real = || unsafe { real!(LOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) };
    match caller() {
        None => real(),
        Some(gp) => lock_for(gp, mutex, NEVER, real),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    unlock(mutex)
}

/// Whether libc's objects can be waited for on `clock`; others are libc's to refuse.
fn is_supported(clock: clockid_t) -> bool {
    matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC)
}

/// A timed call: `f` with the deadline, in a goroutine; `real` elsewhere, and to say what is wrong.
pub(super) fn timed(
    clock: clockid_t,
    time: *const timespec,
    real: impl Fn() -> c_int,
    f: impl FnOnce(&'static G, u64) -> c_int,
) -> c_int {
    match caller() {
        None => real(),
        Some(gp) if time.is_null() || !is_supported(clock) => announced(gp, real),
        Some(gp) => match time::deadline(clock, time) {
            Ok(until) => f(gp, until),
            Err(_) => announced(gp, real),
        },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_timedlock(
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: forwarded.
    let real = || unsafe {
        real!(TIMEDLOCK as fn(*mut pthread_mutex_t, *const timespec) -> c_int)(mutex, time)
    };
    timed(libc::CLOCK_REALTIME, time, real, |gp, until| lock_for(gp, mutex, until, real))
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
    timed(clock, time, real, |gp, until| lock_for(gp, mutex, until, real))
}

/// A wait for a condition variable. None: in libc.
fn cond_wait_for(
    gp: &'static G,
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: u64,
) -> Option<c_int> {
    // SAFETY: the user's condition variable; a plain one has zeroes there.
    if !is_plain_mutex(mutex) || unsafe { Flag::is_set(known().cond_shared, cond as usize, 0) } {
        return None;
    }
    WAITING.fetch_add(1, Ordering::SeqCst);
    let since = sys::nanotime();
    // In the list first, then unlocked: a signal after that finds it.
    let woken = super::futex::wait_at_after(
        gp,
        (cond as usize, ALL),
        until,
        (WaitReason::Pthread, since),
        || false,
        || {
            unlock(mutex);
        },
    );
    WAITING.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: forwarded.
    let in_libc = || unsafe { real!(LOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) };
    let locked = lock_for(gp, mutex, NEVER, in_libc);
    match woken {
        _ if locked != 0 => Some(locked),
        Woken::Timeout => Some(libc::ETIMEDOUT),
        _ => Some(0),
    }
}

/// Calls libc's wait, with the mark for those that want the mutex.
fn cond_wait_in_libc(mutex: *mut pthread_mutex_t, real: impl FnOnce() -> c_int) -> c_int {
    if !SCHED.started.load(Ordering::Acquire) {
        return real();
    }
    let _mark = InCond::new(mutex as usize);
    match caller() {
        Some(gp) => announced(gp, real),
        None => real(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_wait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_wait");
    // SAFETY: forwarded.
    let real = || unsafe {
        real!(REAL as fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int)(cond, mutex)
    };
    caller()
        .and_then(|gp| cond_wait_for(gp, cond, mutex, NEVER))
        .unwrap_or_else(|| cond_wait_in_libc(mutex, real))
}

/// A timed wait on `clock`.
fn cond_timed(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
    real: impl Fn() -> c_int,
) -> c_int {
    let wanted = caller().filter(|_| !time.is_null() && is_supported(clock));
    let wanted = wanted.and_then(|gp| Some((gp, time::deadline(clock, time).ok()?)));
    wanted
        .and_then(|(gp, until)| cond_wait_for(gp, cond, mutex, until))
        .unwrap_or_else(|| cond_wait_in_libc(mutex, real))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_timedwait");
    type Wait = (*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec);
    let arguments: Wait = (cond, mutex, time);
    // SAFETY: forwarded.
    let real = || unsafe {
        real!(REAL as fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int)(
            arguments.0,
            arguments.1,
            arguments.2,
        )
    };
    if caller().is_none() {
        return cond_wait_in_libc(mutex, real);
    }
    // SAFETY: the user's condition variable; a plain one has zeroes there.
    let monotonic = unsafe { Flag::is_set(known().cond_monotonic, cond as usize, 0) };
    let clock = if monotonic { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME };
    cond_timed(cond, mutex, clock, time, real)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_clockwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_clockwait");
    // SAFETY: forwarded.
    let real = || unsafe {
        real!(
            REAL as fn(
                *mut pthread_cond_t,
                *mut pthread_mutex_t,
                clockid_t,
                *const timespec,
            ) -> c_int
        )(cond, mutex, clock, time)
    };
    cond_timed(cond, mutex, clock, time, real)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_signal(cond: *mut pthread_cond_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_signal");
    static TURN: AtomicU32 = AtomicU32::new(0);
    // SAFETY: forwarded.
    let real = || unsafe { real!(REAL as fn(*mut pthread_cond_t) -> c_int)(cond) };
    if !anybody_waits() || wake_at(cond as usize, 1, ALL) == 0 {
        return real();
    }
    // Threads may wait as well; libc does not say. Now and then one of them is woken too.
    if TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(4) { real() } else { 0 }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_broadcast(cond: *mut pthread_cond_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_cond_broadcast");
    unlocked(cond as usize, usize::MAX);
    // SAFETY: forwarded.
    unsafe { real!(REAL as fn(*mut pthread_cond_t) -> c_int)(cond) }
}

static TRYRDLOCK: Real = Real::new(c"pthread_rwlock_tryrdlock");
static TRYWRLOCK: Real = Real::new(c"pthread_rwlock_trywrlock");

/// A read or write lock of a goroutine; `attempt` is which.
fn rwlock_for(
    gp: &'static G,
    lock: *mut pthread_rwlock_t,
    attempt: &Real,
    until: u64,
    in_libc: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the user's lock.
    let attempt = || unsafe { real!(attempt as fn(*mut pthread_rwlock_t) -> c_int)(lock) };
    match attempt() {
        libc::EBUSY => {}
        other => return other,
    }
    // SAFETY: the user's lock; a plain one has zeroes there.
    if unsafe { Flag::is_set(known().rwlock_shared, lock as usize, 0) } {
        return announced(gp, in_libc);
    }
    wait_for(gp, lock as usize, until, libc::EBUSY, attempt, || false)
        .unwrap_or_else(|| announced(gp, in_libc))
}

macro_rules! rwlock {
    ($($name:ident, $timed:ident, $clocked:ident, $attempt:ident;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(lock: *mut pthread_rwlock_t) -> c_int {
            static REAL: Real = Real::of(concat!(stringify!($name), "\0"));
            // SAFETY: forwarded.
            let real = || unsafe { real!(REAL as fn(*mut pthread_rwlock_t) -> c_int)(lock) };
            match caller() {
                None => real(),
                Some(gp) => rwlock_for(gp, lock, &$attempt, NEVER, real),
            }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $timed(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int {
            static REAL: Real = Real::of(concat!(stringify!($timed), "\0"));
            // SAFETY: forwarded.
            let real = || unsafe {
                real!(REAL as fn(*mut pthread_rwlock_t, *const timespec) -> c_int)(lock, time)
            };
            timed(libc::CLOCK_REALTIME, time, real, |gp, until| {
                rwlock_for(gp, lock, &$attempt, until, real)
            })
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $clocked(
            lock: *mut pthread_rwlock_t, clock: clockid_t, time: *const timespec,
        ) -> c_int {
            static REAL: Real = Real::of(concat!(stringify!($clocked), "\0"));
            // SAFETY: forwarded.
            let real = || unsafe {
                real!(REAL as fn(*mut pthread_rwlock_t, clockid_t, *const timespec) -> c_int)(
                    lock, clock, time,
                )
            };
            timed(clock, time, real, |gp, until| rwlock_for(gp, lock, &$attempt, until, real))
        }
    )*};
}

rwlock! {
    pthread_rwlock_rdlock, pthread_rwlock_timedrdlock, pthread_rwlock_clockrdlock, TRYRDLOCK;
    pthread_rwlock_wrlock, pthread_rwlock_timedwrlock, pthread_rwlock_clockwrlock, TRYWRLOCK;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_rwlock_unlock");
    // SAFETY: forwarded.
    let result = unsafe { real!(REAL as fn(*mut pthread_rwlock_t) -> c_int)(lock) };
    // Readers may all go on.
    unlocked(lock as usize, usize::MAX);
    result
}

/// A barrier is a few of these in one, inside libc.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_wait(barrier: *mut libc::pthread_barrier_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_barrier_wait");
    // SAFETY: forwarded.
    let real = || unsafe { real!(REAL as fn(*mut libc::pthread_barrier_t) -> c_int)(barrier) };
    match caller() {
        None => real(),
        Some(gp) => announced(gp, real),
    }
}
