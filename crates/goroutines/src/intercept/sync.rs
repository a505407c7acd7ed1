//! Locks of C: `pthread_mutex_*`, `pthread_rwlock_*`, `pthread_cond_*`, `sem_*`.
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
//! Objects shared between processes, robust ones, those with priority protocols, and error-checking ones are
//! left to libc, announced. How libc tells them from others is found out by making some ([`Flag`]).
//!
//! `sem_post` may be called in a signal handler, where no lock may be taken: then it leaves word, and the
//! monitor looks (`posted_in_handler`).

use super::futex::{Woken, wait_at, wake_at, wake_everybody};
use super::real::{Real, caller, real, set_errno};
use super::{signal, time};
use crate::base::sys;
use crate::g::G;
use crate::g::reason::WaitReason;
use crate::sched::SCHED;
use crate::sched::syscall::announced;
use crate::timer::alarm::NEVER;
use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, sem_t, timespec};
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, compiler_fence};

const ALL: u32 = u32::MAX;

/// Goroutines that wait for anything of C's, or are about to.
static WAITING: AtomicU32 = AtomicU32::new(0);

/// Whether goroutines may wait. After an unlock, which on x86 is a locked instruction and so the barrier of
/// PT1; elsewhere it would have to be made.
#[inline]
fn anybody_waits() -> bool {
    const { assert!(cfg!(target_arch = "x86_64"), "PT1 needs a fence here") };
    compiler_fence(Ordering::SeqCst);
    WAITING.load(Ordering::Relaxed) != 0
}

/// Whether a handler that the user has installed may post what a goroutine waits for.
pub(crate) fn handler_may_post() -> bool {
    WAITING.load(Ordering::SeqCst) > 0 && signal::is_any_installed()
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
fn wait_for(
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

/// A bit that libc sets in objects of one kind.
#[derive(Debug, Clone, Copy)]
struct Flag {
    at: usize,
    mask: u8,
}

impl Flag {
    /// The bits in which two objects of `bytes` differ.
    unsafe fn between(plain: *const u8, marked: *const u8, bytes: usize) -> Option<Self> {
        (0..bytes).find_map(|at| {
            // SAFETY: both are initialised objects of that size.
            let mask = unsafe { plain.add(at).read() ^ marked.add(at).read() };
            (mask != 0).then_some(Self { at, mask })
        })
    }

    /// Whether the object at `address` differs from a plain one in them.
    unsafe fn is_set(flag: Option<Self>, address: usize, plain: u8) -> bool {
        // SAFETY: the user's object.
        flag.is_some_and(|f| unsafe { *((address + f.at) as *const u8) } & f.mask != plain & f.mask)
    }
}

/// What is known of libc's objects.
struct Known {
    cond_shared: Option<Flag>,
    cond_monotonic: Option<Flag>,
    rwlock_shared: Option<Flag>,
    sem_shared: Option<(Flag, u8)>,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(find_known)
}

fn find_known() -> Known {
    const SHARED: c_int = libc::PTHREAD_PROCESS_SHARED;
    /// An object made by `make`, over zeroes.
    fn made<T>(make: impl FnOnce(*mut T)) -> MaybeUninit<T> {
        let mut object = MaybeUninit::<T>::zeroed();
        make(object.as_mut_ptr());
        object
    }
    let cond = |shared: bool, clock: clockid_t| {
        made::<pthread_cond_t>(|object| {
            // SAFETY: attributes initialised before use, an object to initialise.
            unsafe {
                let mut attr = std::mem::zeroed();
                libc::pthread_condattr_init(&raw mut attr);
                if shared {
                    libc::pthread_condattr_setpshared(&raw mut attr, SHARED);
                }
                libc::pthread_condattr_setclock(&raw mut attr, clock);
                libc::pthread_cond_init(object, &raw const attr);
            }
        })
    };
    let rwlock = |shared: bool| {
        made::<pthread_rwlock_t>(|object| {
            // SAFETY: as above.
            unsafe {
                let mut attr = std::mem::zeroed();
                libc::pthread_rwlockattr_init(&raw mut attr);
                if shared {
                    libc::pthread_rwlockattr_setpshared(&raw mut attr, SHARED);
                }
                libc::pthread_rwlock_init(object, &raw const attr);
            }
        })
    };
    let sem = |shared: c_int| {
        made::<sem_t>(|object| {
            // SAFETY: an object to initialise.
            unsafe { libc::sem_init(object, shared, 0) };
        })
    };
    fn differ<T>(plain: &MaybeUninit<T>, marked: &MaybeUninit<T>) -> Option<Flag> {
        // SAFETY: both made over zeroes.
        unsafe { Flag::between(plain.as_ptr().cast(), marked.as_ptr().cast(), size_of::<T>()) }
    }
    let plain = cond(false, libc::CLOCK_REALTIME);
    let sem_plain = sem(0);
    Known {
        cond_shared: differ(&plain, &cond(true, libc::CLOCK_REALTIME)),
        cond_monotonic: differ(&plain, &cond(false, libc::CLOCK_MONOTONIC)),
        rwlock_shared: differ(&rwlock(false), &rwlock(true)),
        // SAFETY: within the object.
        sem_shared: differ(&sem_plain, &sem(1))
            .map(|flag| (flag, unsafe { sem_plain.as_ptr().cast::<u8>().add(flag.at).read() })),
    }
}

static TRYLOCK: Real = Real::new(c"pthread_mutex_trylock");
static LOCK: Real = Real::new(c"pthread_mutex_lock");
static UNLOCK: Real = Real::new(c"pthread_mutex_unlock");

fn try_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the user's mutex.
    unsafe { real!(TRYLOCK as fn(*mut pthread_mutex_t) -> c_int)(mutex) }
}

/// Normal, recursive or adaptive, of this process, and nothing else.
fn is_plain_mutex(mutex: *mut pthread_mutex_t) -> bool {
    /// Where its kind stands is a part of libc's interface: static initialisers fill it in.
    const KIND_AT: usize = 16;
    // SAFETY: the user's mutex.
    let kind = unsafe { mutex.cast::<u8>().add(KIND_AT).cast::<c_int>().read_volatile() };
    // Bit 8 says that lock elision was decided on.
    matches!(kind & !0x100, libc::PTHREAD_MUTEX_NORMAL | libc::PTHREAD_MUTEX_RECURSIVE | 3)
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

/// A timed call: `f` with the deadline, in a goroutine; `real` elsewhere, and to say what is wrong.
fn timed(
    clock: clockid_t,
    time: *const timespec,
    real: impl Fn() -> c_int,
    f: impl FnOnce(&'static G, u64) -> c_int,
) -> c_int {
    match caller() {
        None => real(),
        Some(gp) if time.is_null() => announced(gp, real),
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
    static REAL: Real = Real::new(c"pthread_mutex_timedlock");
    // SAFETY: forwarded.
    let real = || unsafe {
        real!(REAL as fn(*mut pthread_mutex_t, *const timespec) -> c_int)(mutex, time)
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
    let wanted = caller().filter(|_| !time.is_null());
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

/// A `sem_post` in a signal handler: whose goroutines are to be woken is for the monitor to find out.
static POSTED: AtomicBool = AtomicBool::new(false);
/// One has found no place among [`POSTED_AT`].
static POSTED_MORE: AtomicBool = AtomicBool::new(false);
/// The last semaphores posted so; 0: none.
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
fn leave_word(semaphore: usize) {
    let mut noted = false;
    for at in &POSTED_AT {
        let seen = at.load(Ordering::Relaxed);
        let ours = seen == semaphore
            || (seen == 0
                && at.compare_exchange(0, semaphore, Ordering::AcqRel, Ordering::Relaxed).is_ok());
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
            _ => super::real::errno(),
        }
    };
    let before = super::real::errno();
    let result = match attempt() {
        libc::EAGAIN => {
            // SAFETY: the user's semaphore.
            let shared = known().sem_shared.is_some_and(|(flag, plain)| unsafe {
                Flag::is_set(Some(flag), semaphore as usize, plain)
            });
            if shared {
                return announced(gp, in_libc);
            }
            wait_for(gp, semaphore as usize, until, libc::EAGAIN, attempt, || false)
        }
        other => Some(other),
    };
    match result {
        None => announced(gp, in_libc),
        Some(0) => {
            set_errno(before);
            0
        }
        Some(error) => {
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
        if signal::in_handler() {
            leave_word(semaphore as usize);
        } else {
            wake_at(semaphore as usize, 1, ALL);
        }
    }
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
