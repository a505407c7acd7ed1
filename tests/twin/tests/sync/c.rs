//! C's locks for the rows: never freed, so that a party that is left behind finds them.

use goroutines_twin_tests::say::Ret;
use goroutines_twin_tests::{code, ret};
use libc::{c_int, clockid_t, timespec};
use std::mem::zeroed;

unsafe extern "C" {
    pub(crate) fn pthread_mutex_clocklock(
        m: *mut libc::pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_mutex_setprioceiling(
        m: *mut libc::pthread_mutex_t,
        ceiling: c_int,
        old: *mut c_int,
    ) -> c_int;
    pub(crate) fn pthread_cond_clockwait(
        c: *mut libc::pthread_cond_t,
        m: *mut libc::pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_rwlock_timedrdlock(
        l: *mut libc::pthread_rwlock_t,
        time: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_rwlock_timedwrlock(
        l: *mut libc::pthread_rwlock_t,
        time: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_rwlock_clockrdlock(
        l: *mut libc::pthread_rwlock_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_rwlock_clockwrlock(
        l: *mut libc::pthread_rwlock_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    pub(crate) fn pthread_rwlockattr_setkind_np(
        a: *mut libc::pthread_rwlockattr_t,
        kind: c_int,
    ) -> c_int;
    pub(crate) fn sem_clockwait(
        s: *mut libc::sem_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
}

/// The time on a clock in this many milliseconds.
pub(crate) fn after(clock: clockid_t, ms: i64) -> timespec {
    let mut now = unsafe { zeroed::<timespec>() };
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let ns = now.tv_nsec + ms % 1000 * 1_000_000;
    timespec { tv_sec: now.tv_sec + ms / 1000 + ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
}

/// The time of day in this many milliseconds.
pub(crate) fn in_ms(ms: i64) -> timespec {
    after(libc::CLOCK_REALTIME, ms)
}

/// Times that are past, or none.
pub(crate) const ODD_TIMES: &[(&str, timespec)] = &[
    ("the epoch", timespec { tv_sec: 0, tv_nsec: 0 }),
    ("before the epoch", timespec { tv_sec: -1, tv_nsec: 0 }),
    ("long before", timespec { tv_sec: i64::MIN, tv_nsec: 999_999_999 }),
    ("-1 ns", timespec { tv_sec: 5_000_000_000, tv_nsec: -1 }),
    ("10^9 ns", timespec { tv_sec: 5_000_000_000, tv_nsec: 1_000_000_000 }),
    ("past, and 10^9 ns", timespec { tv_sec: 0, tv_nsec: 1_000_000_000 }),
    ("before, and 10^9 ns", timespec { tv_sec: -1, tv_nsec: 1_000_000_000 }),
];

/// Clocks that libc's locks refuse, and clocks that don't exist.
pub(crate) const ODD_CLOCKS: &[(&str, clockid_t)] = &[
    ("BOOTTIME", libc::CLOCK_BOOTTIME),
    ("TAI", libc::CLOCK_TAI),
    ("MONOTONIC_RAW", libc::CLOCK_MONOTONIC_RAW),
    ("REALTIME_COARSE", libc::CLOCK_REALTIME_COARSE),
    ("MONOTONIC_COARSE", libc::CLOCK_MONOTONIC_COARSE),
    ("PROCESS_CPUTIME", libc::CLOCK_PROCESS_CPUTIME_ID),
    ("THREAD_CPUTIME", libc::CLOCK_THREAD_CPUTIME_ID),
    ("REALTIME_ALARM", libc::CLOCK_REALTIME_ALARM),
    ("77", 77),
    ("-1", -1),
];

/// A mutex.
#[derive(Clone, Copy)]
pub(crate) struct Mutex(pub(crate) *mut libc::pthread_mutex_t);

unsafe impl Send for Mutex {}
unsafe impl Sync for Mutex {}

/// What kind of mutex.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    pub(crate) ty: c_int,
    pub(crate) protocol: c_int,
    pub(crate) robust: bool,
    pub(crate) shared: bool,
}

impl Kind {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for ty in 0..4 {
            for protocol in [libc::PTHREAD_PRIO_NONE, libc::PTHREAD_PRIO_INHERIT] {
                for robust in [false, true] {
                    for shared in [false, true] {
                        all.push(Self { ty, protocol, robust, shared });
                    }
                }
            }
        }
        all
    }

    /// Its name, as a row's.
    pub(crate) fn name(self) -> String {
        let ty = ["normal", "recursive", "errorcheck", "adaptive"][self.ty as usize];
        let protocol = ["", "_inherit", "_protect"][self.protocol as usize];
        let robust = if self.robust { "_robust" } else { "" };
        let shared = if self.shared { "_shared" } else { "" };
        format!("{ty}{protocol}{robust}{shared}")
    }

    /// Whether it may be locked only once, and the calls don't check that.
    pub(crate) fn is_simple(self) -> bool {
        matches!(self.ty, 0 | 3)
    }

    /// Whether unlocking it is an error that is told, for a flow that has not locked it.
    pub(crate) fn tells_owner(self) -> bool {
        !self.is_simple() || self.robust || self.protocol == libc::PTHREAD_PRIO_INHERIT
    }

    /// Makes one; the error if there is none of the kind.
    pub(crate) fn make(self) -> Result<Mutex, String> {
        let m = Mutex(shared_memory());
        unsafe {
            let mut a = zeroed();
            libc::pthread_mutexattr_init(&raw mut a);
            libc::pthread_mutexattr_settype(&raw mut a, self.ty);
            libc::pthread_mutexattr_setprotocol(&raw mut a, self.protocol);
            if self.robust {
                libc::pthread_mutexattr_setrobust(&raw mut a, libc::PTHREAD_MUTEX_ROBUST);
            }
            if self.shared {
                libc::pthread_mutexattr_setpshared(&raw mut a, libc::PTHREAD_PROCESS_SHARED);
            }
            match libc::pthread_mutex_init(m.0, &raw const a) {
                0 => Ok(m),
                error => Err(code(error)),
            }
        }
    }
}

/// Zeroed memory for a `T`, which children share.
pub(crate) fn shared_memory<T>() -> *mut T {
    let (rw, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<T>(), rw, shared, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    at.cast()
}

impl Mutex {
    pub(crate) fn lock(self) -> String {
        code(unsafe { libc::pthread_mutex_lock(self.0) })
    }
    pub(crate) fn try_lock(self) -> String {
        code(unsafe { libc::pthread_mutex_trylock(self.0) })
    }
    pub(crate) fn unlock(self) -> String {
        code(unsafe { libc::pthread_mutex_unlock(self.0) })
    }
    pub(crate) fn timed(self, time: timespec) -> String {
        code(unsafe { libc::pthread_mutex_timedlock(self.0, &raw const time) })
    }
    pub(crate) fn clock(self, clock: clockid_t, time: timespec) -> String {
        code(unsafe { pthread_mutex_clocklock(self.0, clock, &raw const time) })
    }
    pub(crate) fn consistent(self) -> String {
        code(unsafe { libc::pthread_mutex_consistent(self.0) })
    }
    pub(crate) fn destroy(self) -> String {
        code(unsafe { libc::pthread_mutex_destroy(self.0) })
    }
}

/// A condition variable.
#[derive(Clone, Copy)]
pub(crate) struct Cond(pub(crate) *mut libc::pthread_cond_t);

unsafe impl Send for Cond {}
unsafe impl Sync for Cond {}

impl Cond {
    pub(crate) fn new(clock: clockid_t, shared: bool) -> Self {
        let c = Self(shared_memory());
        unsafe {
            let mut a = zeroed();
            libc::pthread_condattr_init(&raw mut a);
            libc::pthread_condattr_setclock(&raw mut a, clock);
            if shared {
                libc::pthread_condattr_setpshared(&raw mut a, libc::PTHREAD_PROCESS_SHARED);
            }
            assert_eq!(libc::pthread_cond_init(c.0, &raw const a), 0);
        }
        c
    }
    pub(crate) fn plain() -> Self {
        Self::new(libc::CLOCK_REALTIME, false)
    }
    pub(crate) fn wait(self, m: Mutex) -> String {
        code(unsafe { libc::pthread_cond_wait(self.0, m.0) })
    }
    pub(crate) fn timed(self, m: Mutex, time: timespec) -> String {
        code(unsafe { libc::pthread_cond_timedwait(self.0, m.0, &raw const time) })
    }
    pub(crate) fn clock(self, m: Mutex, clock: clockid_t, time: timespec) -> String {
        code(unsafe { pthread_cond_clockwait(self.0, m.0, clock, &raw const time) })
    }
    pub(crate) fn signal(self) -> String {
        code(unsafe { libc::pthread_cond_signal(self.0) })
    }
    pub(crate) fn broadcast(self) -> String {
        code(unsafe { libc::pthread_cond_broadcast(self.0) })
    }
    pub(crate) fn destroy(self) -> String {
        code(unsafe { libc::pthread_cond_destroy(self.0) })
    }
}

/// A read-write lock.
#[derive(Clone, Copy)]
pub(crate) struct RwLock(pub(crate) *mut libc::pthread_rwlock_t);

unsafe impl Send for RwLock {}
unsafe impl Sync for RwLock {}

impl RwLock {
    /// One of a kind: 0 and 1 prefer readers, 2 prefers writers.
    pub(crate) fn new(kind: c_int, shared: bool) -> Self {
        let l = Self(shared_memory());
        unsafe {
            let mut a = zeroed();
            libc::pthread_rwlockattr_init(&raw mut a);
            pthread_rwlockattr_setkind_np(&raw mut a, kind);
            if shared {
                libc::pthread_rwlockattr_setpshared(&raw mut a, libc::PTHREAD_PROCESS_SHARED);
            }
            assert_eq!(libc::pthread_rwlock_init(l.0, &raw const a), 0);
        }
        l
    }
    pub(crate) fn read(self) -> String {
        code(unsafe { libc::pthread_rwlock_rdlock(self.0) })
    }
    pub(crate) fn write(self) -> String {
        code(unsafe { libc::pthread_rwlock_wrlock(self.0) })
    }
    pub(crate) fn try_read(self) -> String {
        code(unsafe { libc::pthread_rwlock_tryrdlock(self.0) })
    }
    pub(crate) fn try_write(self) -> String {
        code(unsafe { libc::pthread_rwlock_trywrlock(self.0) })
    }
    pub(crate) fn unlock(self) -> String {
        code(unsafe { libc::pthread_rwlock_unlock(self.0) })
    }
    pub(crate) fn destroy(self) -> String {
        code(unsafe { libc::pthread_rwlock_destroy(self.0) })
    }
    /// The timed calls: for reading, for writing.
    pub(crate) fn timed(self, time: timespec) -> [String; 2] {
        [self.timed_read(time), self.timed_write(time)]
    }
    pub(crate) fn timed_read(self, time: timespec) -> String {
        code(unsafe { pthread_rwlock_timedrdlock(self.0, &raw const time) })
    }
    pub(crate) fn timed_write(self, time: timespec) -> String {
        code(unsafe { pthread_rwlock_timedwrlock(self.0, &raw const time) })
    }
    pub(crate) fn clock_read(self, clock: clockid_t, time: timespec) -> String {
        code(unsafe { pthread_rwlock_clockrdlock(self.0, clock, &raw const time) })
    }
    pub(crate) fn clock_write(self, clock: clockid_t, time: timespec) -> String {
        code(unsafe { pthread_rwlock_clockwrlock(self.0, clock, &raw const time) })
    }
}

/// A semaphore.
#[derive(Clone, Copy)]
pub(crate) struct Sem(pub(crate) *mut libc::sem_t);

unsafe impl Send for Sem {}
unsafe impl Sync for Sem {}

impl Sem {
    pub(crate) fn new(shared: bool, value: u32) -> Self {
        let s = Self(shared_memory());
        assert_eq!(unsafe { libc::sem_init(s.0, i32::from(shared), value) }, 0);
        s
    }
    pub(crate) fn wait(self) -> Ret {
        ret(unsafe { libc::sem_wait(self.0) })
    }
    pub(crate) fn try_wait(self) -> Ret {
        ret(unsafe { libc::sem_trywait(self.0) })
    }
    pub(crate) fn timed(self, time: timespec) -> Ret {
        ret(unsafe { libc::sem_timedwait(self.0, &raw const time) })
    }
    pub(crate) fn clock(self, clock: clockid_t, time: timespec) -> Ret {
        ret(unsafe { sem_clockwait(self.0, clock, &raw const time) })
    }
    pub(crate) fn post(self) -> Ret {
        ret(unsafe { libc::sem_post(self.0) })
    }
    pub(crate) fn value(self) -> i32 {
        let mut value = -1;
        unsafe { libc::sem_getvalue(self.0, &raw mut value) };
        value
    }
    pub(crate) fn destroy(self) -> Ret {
        ret(unsafe { libc::sem_destroy(self.0) })
    }
}
