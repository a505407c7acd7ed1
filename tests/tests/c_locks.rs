//! C's locks of all kinds: goroutines that wait for them hold no thread, and are told what threads are told.

use goroutines::go;
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::proc::{os_threads, wait_until};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A mutex and a condition variable of C's.
struct Lock {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    cond: UnsafeCell<libc::pthread_cond_t>,
}

// SAFETY: C's locks are made to be used from many threads.
unsafe impl Sync for Lock {}
// SAFETY: as above; it is not moved while in use.
unsafe impl Send for Lock {}

impl Lock {
    /// A mutex of the type `kind`.
    fn of_type(kind: libc::c_int) -> Arc<Self> {
        let lock = Arc::new(Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            cond: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
        });
        let mut attr = MaybeUninit::uninit();
        // SAFETY: the attribute is initialised first; no other thread has the mutex yet.
        unsafe {
            libc::pthread_mutexattr_init(attr.as_mut_ptr());
            libc::pthread_mutexattr_settype(attr.as_mut_ptr(), kind);
            assert_eq!(libc::pthread_mutex_init(lock.mutex.get(), attr.as_ptr()), 0);
        }
        lock
    }

    fn lock(&self) -> i32 {
        // SAFETY: an initialised mutex.
        unsafe { libc::pthread_mutex_lock(self.mutex.get()) }
    }

    fn unlock(&self) -> i32 {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.mutex.get()) }
    }

    fn wait(&self) -> i32 {
        // SAFETY: as above; a condition variable.
        unsafe { libc::pthread_cond_wait(self.cond.get(), self.mutex.get()) }
    }

    fn broadcast(&self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_cond_broadcast(self.cond.get()) }, 0);
    }
}

const KINDS: [libc::c_int; 4] = [
    libc::PTHREAD_MUTEX_NORMAL,
    libc::PTHREAD_MUTEX_RECURSIVE,
    libc::PTHREAD_MUTEX_ERRORCHECK,
    3, // PTHREAD_MUTEX_ADAPTIVE_NP
];

/// A type that is set by an attribute is noted in the mutex, also where it is the default one: jemalloc and
/// OpenSSL make theirs so. Each that waited held a thread.
#[test]
fn thousands_that_wait_for_a_mutex_of_a_set_type_hold_no_threads() {
    const N: u32 = 10_000;
    if !goroutines_tests::io::PARKS {
        return;
    }
    at_each(|procs| {
        for kind in KINDS {
            let lock = Lock::of_type(kind);
            let before = os_threads();
            let (begun, had) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            assert_eq!(lock.lock(), 0);
            let all: Vec<_> = (0..N)
                .map(|_| {
                    let (lock, begun, had) = (lock.clone(), begun.clone(), had.clone());
                    go(move || {
                        begun.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(lock.lock(), 0);
                        had.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(lock.wait(), 0);
                        assert_eq!(lock.unlock(), 0);
                    })
                })
                .collect();
            wait_until(ms(20_000), "all want the lock", || begun.load(Ordering::Relaxed) == N);
            std::thread::sleep(ms(20));
            let threads = os_threads();
            assert!(threads < before + procs + 30, "kind {kind}: {threads} threads for a mutex");
            assert_eq!(lock.unlock(), 0);
            wait_until(ms(20_000), "all wait", || had.load(Ordering::Relaxed) == N);
            let threads = os_threads();
            assert!(
                threads < before + procs + 30,
                "kind {kind}: {threads} threads for a condition"
            );
            assert_eq!(lock.lock(), 0);
            lock.broadcast();
            assert_eq!(lock.unlock(), 0);
            goroutines_tests::join_all(all);
        }
    });
}

/// An error-checking mutex knows its owner, also where the owner asks in vain first.
#[test]
fn an_error_checking_mutex_knows_its_owner() {
    at_each(|_| {
        let lock = Lock::of_type(libc::PTHREAD_MUTEX_ERRORCHECK);
        assert_eq!(lock.unlock(), libc::EPERM);
        assert_eq!(lock.lock(), 0);
        assert_eq!(lock.lock(), libc::EDEADLK);
        let other = lock.clone();
        let of_another = go(move || (other.unlock(), other.lock(), other.unlock()));
        std::thread::sleep(ms(10));
        assert_eq!(lock.unlock(), 0);
        assert_eq!(of_another.join().unwrap(), (libc::EPERM, 0, 0));
    });
}

impl Lock {
    /// A mutex that lends its owner the priority of those that wait.
    fn inheriting() -> Arc<Self> {
        let lock = Lock::of_type(libc::PTHREAD_MUTEX_NORMAL);
        let mut attr = MaybeUninit::uninit();
        // SAFETY: the attribute is initialised first; no other thread has the mutex yet.
        unsafe {
            libc::pthread_mutexattr_init(attr.as_mut_ptr());
            libc::pthread_mutexattr_setprotocol(attr.as_mut_ptr(), libc::PTHREAD_PRIO_INHERIT);
            assert_eq!(libc::pthread_mutex_init(lock.mutex.get(), attr.as_ptr()), 0);
        }
        lock
    }
}

/// A hundred fight for a lock that is bound to threads: each that waits holds a thread, and nothing else comes of
/// that. Who sleeps, or works, goes on meanwhile.
#[test]
fn a_hundred_fight_for_an_inheriting_lock() {
    const N: usize = 100;
    const TURNS: usize = 30;
    fn turns(lock: &Lock) {
        for _ in 0..TURNS {
            assert_eq!(lock.lock(), 0);
            assert_eq!(lock.unlock(), 0);
            std::thread::sleep(Duration::from_micros(11));
        }
    }
    let lock = Lock::inheriting();
    let begun = Instant::now();
    let all: Vec<_> = (0..N)
        .map(|_| {
            let lock = lock.clone();
            std::thread::spawn(move || turns(&lock))
        })
        .collect();
    all.into_iter().for_each(|one| one.join().unwrap());
    let threads = begun.elapsed();
    at_each(|procs| {
        let lock = Lock::inheriting();
        let begun = Instant::now();
        // Held at first, so that all come to wait.
        assert_eq!(lock.lock(), 0);
        let all: Vec<_> = (0..N)
            .map(|_| {
                let lock = lock.clone();
                go(move || turns(&lock))
            })
            .collect();
        let other = go(|| {
            for _ in 0..20 {
                std::thread::sleep(ms(1));
            }
        });
        other.join().unwrap();
        assert_eq!(lock.unlock(), 0);
        goroutines_tests::join_all(all);
        let goroutines = begun.elapsed();
        println!("GOMAXPROCS={procs}: threads {threads:?}, goroutines {goroutines:?}");
        assert!(goroutines < 20 * threads + ms(5_000), "{goroutines:?}, threads {threads:?}");
    });
}

/// What those cost that wait in the kernel is given back: the goroutines run on other threads again.
#[test]
fn goroutines_that_have_let_go_of_inheriting_locks_are_locked_to_no_thread() {
    at_each(|procs| {
        let lock = Lock::inheriting();
        let before = os_threads();
        let had = Arc::new(AtomicU32::new(0));
        let all: Vec<_> = (1..=100)
            .map(|n| {
                let (lock, had_it) = (lock.clone(), had.clone());
                let one = go(move || {
                    assert_eq!(lock.lock(), 0);
                    assert_eq!(lock.unlock(), 0);
                    had_it.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(ms(500));
                });
                // One after the other: those that wait for such a lock do hold threads.
                wait_until(ms(20_000), "it has had it", || had.load(Ordering::Relaxed) == n);
                one
            })
            .collect();
        let threads = os_threads();
        assert!(threads < before + procs + 30, "{before} threads, then {threads}");
        goroutines_tests::join_all(all);
    });
}

/// C11's names, and what is done once: libc's own calls behind them are not seen, so the names are taken over.
#[test]
fn hundreds_that_wait_by_c11s_names_hold_no_threads() {
    const N: u32 = 300;
    unsafe extern "C" {
        fn mtx_lock(mutex: *mut libc::pthread_mutex_t) -> libc::c_int;
        fn mtx_unlock(mutex: *mut libc::pthread_mutex_t) -> libc::c_int;
        fn cnd_wait(c: *mut libc::pthread_cond_t, m: *mut libc::pthread_mutex_t) -> libc::c_int;
        fn cnd_broadcast(c: *mut libc::pthread_cond_t) -> libc::c_int;
        fn thrd_sleep(time: *const libc::timespec, rest: *mut libc::timespec) -> libc::c_int;
        fn pthread_once(control: *mut libc::c_int, f: extern "C" fn()) -> libc::c_int;
    }
    static ONCE: [std::sync::atomic::AtomicI32; 8] =
        [const { std::sync::atomic::AtomicI32::new(libc::PTHREAD_ONCE_INIT) }; 8];
    extern "C" fn slow() {
        std::thread::sleep(ms(200));
    }
    if !goroutines_tests::io::PARKS {
        return;
    }
    at_each(|procs| {
        let lock = Lock::of_type(libc::PTHREAD_MUTEX_NORMAL);
        let before = os_threads();
        let few = |what: &str| {
            std::thread::sleep(ms(100));
            let threads = os_threads();
            assert!(threads < before + procs + 30, "{what}: {threads} threads");
        };
        let all = |body: fn(&Lock, usize)| -> Vec<_> {
            let lock = &lock;
            (0..N).map(|_| lock.clone()).map(|lock| go(move || body(&lock, procs))).collect()
        };
        // SAFETY: initialised locks; times; controls.
        unsafe {
            let sleepers = all(|_, _| {
                let time = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
                assert_eq!(thrd_sleep(&raw const time, std::ptr::null_mut()), 0);
            });
            few("thrd_sleep");
            goroutines_tests::join_all(sleepers);
            let first = all(|_, procs| assert_eq!(pthread_once(ONCE[procs].as_ptr(), slow), 0));
            few("pthread_once");
            goroutines_tests::join_all(first);
            static READY: AtomicU32 = AtomicU32::new(0);
            READY.store(0, Ordering::Relaxed);
            assert_eq!(mtx_lock(lock.mutex.get()), 0);
            let waiters = all(|lock, _| {
                assert_eq!(mtx_lock(lock.mutex.get()), 0);
                READY.fetch_add(1, Ordering::Relaxed);
                assert_eq!(cnd_wait(lock.cond.get(), lock.mutex.get()), 0);
                assert_eq!(mtx_unlock(lock.mutex.get()), 0);
            });
            few("mtx_lock");
            assert_eq!(mtx_unlock(lock.mutex.get()), 0);
            wait_until(ms(20_000), "all wait", || READY.load(Ordering::Relaxed) == N);
            few("cnd_wait");
            assert_eq!(mtx_lock(lock.mutex.get()), 0);
            assert_eq!(cnd_broadcast(lock.cond.get()), 0);
            assert_eq!(mtx_unlock(lock.mutex.get()), 0);
            goroutines_tests::join_all(waiters);
        }
    });
}

/// A barrier for many: those that have arrived hold no threads, and all leave when the last one comes, which is a
/// goroutine or a thread.
#[test]
fn thousands_at_a_barrier_hold_no_threads() {
    const N: u32 = 5_000;
    if !goroutines_tests::io::PARKS {
        return;
    }
    struct Barrier(UnsafeCell<libc::pthread_barrier_t>);
    // SAFETY: C's barriers are made to be used from many threads.
    unsafe impl Sync for Barrier {}
    // SAFETY: as above; it is not moved while in use.
    unsafe impl Send for Barrier {}
    impl Barrier {
        fn wait(&self) -> u32 {
            // SAFETY: an initialised barrier.
            let told = unsafe { libc::pthread_barrier_wait(self.0.get()) };
            u32::from(told == libc::PTHREAD_BARRIER_SERIAL_THREAD)
        }
    }
    at_each(|procs| {
        // SAFETY: plain memory, which is initialised next.
        let barrier = Arc::new(Barrier(UnsafeCell::new(unsafe { std::mem::zeroed() })));
        // SAFETY: no other thread has it yet.
        let made = unsafe { libc::pthread_barrier_init(barrier.0.get(), std::ptr::null(), N + 1) };
        assert_eq!(made, 0);
        for last_is_a_thread in [false, true] {
            let before = os_threads();
            let (begun, serial) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let all: Vec<_> = (0..N)
                .map(|_| {
                    let (barrier, begun, serial) = (barrier.clone(), begun.clone(), serial.clone());
                    go(move || {
                        begun.fetch_add(1, Ordering::Relaxed);
                        serial.fetch_add(barrier.wait(), Ordering::Relaxed);
                    })
                })
                .collect();
            wait_until(ms(20_000), "all have come", || begun.load(Ordering::Relaxed) == N);
            std::thread::sleep(ms(20));
            let threads = os_threads();
            assert!(threads < before + procs + 30, "{threads} threads for a barrier");
            let last = barrier.clone();
            let told = if last_is_a_thread {
                std::thread::spawn(move || last.wait()).join().expect("its end")
            } else {
                last.wait()
            };
            goroutines_tests::join_all(all);
            assert_eq!(told + serial.load(Ordering::Relaxed), 1, "one is told that it is the last");
        }
    });
}
