//! C's read-write locks. (`sync.rs` says how a goroutine waits for one.)
//!
//! **Locks that prefer writers.** A lock of the kind `PREFER_WRITER_NONRECURSIVE` lets no reader in
//! while a writer waits. libc must know of that writer: so goroutines that want to write wait in
//! libc, announced. Readers wait in the table; libc's trial tells them that a writer waits. A
//! writer that gives up wakes them.
//!
//! **Locks that know their owner.** A lock that is shared between processes notes the id of the
//! thread that has it for writing, to tell when that thread locks it again, and which of its two
//! unlocks is meant. Calls on such locks are made as the OS thread (`bound.rs`). A trial does not
//! say `EDEADLK`; locking by a time long past does.

use super::bound;
use super::known::{Flag, known};
use super::real::{Real, function, real};
use super::sync::{is_supported, unlocked, wait_for};
use super::time;
use crate::g::{G, current};
use crate::sched::syscall::announced;
use crate::timer::alarm::NEVER;
use libc::{c_int, clockid_t, pthread_rwlock_t, timespec};
use std::sync::atomic::{AtomicI32, Ordering};

/// What a goroutine wants of a lock.
#[derive(Clone, Copy)]
struct Want {
    attempt: &'static Real,
    timed: &'static Real,
    writes: bool,
}

static READ: Want = Want { attempt: &TRYRDLOCK, timed: &TIMEDRDLOCK, writes: false };
static WRITE: Want = Want { attempt: &TRYWRLOCK, timed: &TIMEDWRLOCK, writes: true };

static TRYRDLOCK: Real = Real::new(c"pthread_rwlock_tryrdlock");
static TRYWRLOCK: Real = Real::new(c"pthread_rwlock_trywrlock");
static TIMEDRDLOCK: Real = Real::new(c"pthread_rwlock_timedrdlock");
static TIMEDWRLOCK: Real = Real::new(c"pthread_rwlock_timedwrlock");

impl Want {
    fn attempt(self, lock: *mut pthread_rwlock_t) -> c_int {
        let attempt = self.attempt;
        // SAFETY: the user's lock.
        unsafe { real!(attempt as fn(*mut pthread_rwlock_t) -> c_int)(lock) }
    }

    /// Locks by a time long past.
    fn by_now(self, lock: *mut pthread_rwlock_t) -> c_int {
        static LONG_AGO: timespec = timespec { tv_sec: -1, tv_nsec: 0 };
        let timed = self.timed;
        let real = real!(timed as fn(*mut pthread_rwlock_t, *const timespec) -> c_int);
        // SAFETY: the user's lock; a time to read.
        unsafe { real(lock, &raw const LONG_AGO) }
    }
}

fn is_shared(lock: *mut pthread_rwlock_t) -> bool {
    // SAFETY: the user's lock; a plain one has zeroes there.
    unsafe { Flag::is_set(known().rwlock_shared, lock as usize, 0) }
}

fn prefers_writers(lock: *mut pthread_rwlock_t) -> bool {
    // SAFETY: as above.
    unsafe { Flag::is_set(known().rwlock_prefers_writers, lock as usize, 0) }
}

/// Whether a shared lock is locked for writing by the thread that the goroutine is on.
fn is_written(gp: &'static G, lock: *mut pthread_rwlock_t) -> bool {
    known().rwlock_writer_at.is_some_and(|at| {
        // SAFETY: a word of the user's lock.
        let writer = unsafe { &*((lock as usize + at) as *const AtomicI32) };
        gp.holds.get() > 0
            && writer.load(Ordering::Relaxed) as u32 == gp.m().tid.load(Ordering::Relaxed)
    })
}

/// Locks a shared lock as a goroutine.
fn lock_shared(gp: &'static G, want: Want, real: impl FnOnce() -> c_int) -> c_int {
    if want.writes { bound::lock(gp, 0, real) } else { bound::other(gp, 0, real) }
}

/// Makes libc's call, and lets readers look again that have waited for a writer which has given up.
fn in_libc(want: Want, lock: *mut pthread_rwlock_t, real: impl FnOnce() -> c_int) -> c_int {
    let result = real();
    if want.writes && result != 0 {
        unlocked(lock as usize, usize::MAX);
    }
    result
}

/// A read or write lock of a goroutine that may be parked.
fn lock_for(
    gp: &'static G,
    lock: *mut pthread_rwlock_t,
    want: Want,
    until: u64,
    real: impl Fn() -> c_int,
) -> c_int {
    match want.attempt(lock) {
        libc::EBUSY => {}
        other => return other,
    }
    if want.writes && prefers_writers(lock) {
        return in_libc(want, lock, || announced(gp, real));
    }
    match want.by_now(lock) {
        libc::ETIMEDOUT => {}
        other => return other,
    }
    wait_for(gp, lock as usize, until, libc::EBUSY, || want.attempt(lock), || false)
        .unwrap_or_else(|| announced(gp, real))
}

/// Locks, for a goroutine or a thread. `real` is libc's call; without a time the wait has no end.
fn lock(
    lock: *mut pthread_rwlock_t,
    want: Want,
    time: Option<(clockid_t, *const timespec)>,
    real: impl Fn() -> c_int,
) -> c_int {
    let Some(gp) = current::g() else { return in_libc(want, lock, real) };
    if is_shared(lock) {
        return lock_shared(gp, want, real);
    }
    if gp.nopreempt.load(Ordering::Relaxed) != 0 {
        return in_libc(want, lock, real);
    }
    let until = match time {
        None => Some(NEVER),
        Some((clock, time)) if !time.is_null() && is_supported(clock) => {
            time::deadline(clock, time).ok()
        }
        Some(_) => None,
    };
    match until {
        Some(until) => lock_for(gp, lock, want, until, real),
        // A time that libc refuses, or that is long past.
        None => in_libc(want, lock, || announced(gp, real)),
    }
}

macro_rules! rwlock {
    ($($name:ident, $timed:ident, $clocked:ident, $want:ident;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(this: *mut pthread_rwlock_t) -> c_int {
            static REAL: Real = Real::of(concat!(stringify!($name), "\0"));
            // SAFETY: forwarded.
            let real = || unsafe { real!(REAL as fn(*mut pthread_rwlock_t) -> c_int)(this) };
            lock(this, $want, None, real)
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $timed(this: *mut pthread_rwlock_t, time: *const timespec) -> c_int {
            type Lock = unsafe extern "C" fn(*mut pthread_rwlock_t, *const timespec) -> c_int;
            // SAFETY: forwarded.
            let real = || unsafe { function::<Lock>($want.timed)(this, time) };
            lock(this, $want, Some((libc::CLOCK_REALTIME, time)), real)
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $clocked(
            this: *mut pthread_rwlock_t, clock: clockid_t, time: *const timespec,
        ) -> c_int {
            static REAL: Real = Real::of(concat!(stringify!($clocked), "\0"));
            type Lock =
                unsafe extern "C" fn(*mut pthread_rwlock_t, clockid_t, *const timespec) -> c_int;
            // SAFETY: forwarded.
            let real = || unsafe { function::<Lock>(&REAL)(this, clock, time) };
            lock(this, $want, Some((clock, time)), real)
        }
    )*};
}

rwlock! {
    pthread_rwlock_rdlock, pthread_rwlock_timedrdlock, pthread_rwlock_clockrdlock, READ;
    pthread_rwlock_wrlock, pthread_rwlock_timedwrlock, pthread_rwlock_clockwrlock, WRITE;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_trywrlock(lock: *mut pthread_rwlock_t) -> c_int {
    match current::g() {
        Some(gp) if is_shared(lock) => bound::try_lock(gp, 0, || WRITE.attempt(lock)),
        _ => WRITE.attempt(lock),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_rwlock_unlock");
    // SAFETY: forwarded.
    let real = || unsafe { real!(REAL as fn(*mut pthread_rwlock_t) -> c_int)(lock) };
    if let Some(gp) = current::g()
        && is_shared(lock)
    {
        return if is_written(gp, lock) {
            bound::unlock(gp, 0, real)
        } else {
            bound::other(gp, 0, real)
        };
    }
    let result = real();
    // Readers may all go on.
    unlocked(lock as usize, usize::MAX);
    result
}
