//! `Pool`: the tests of Go's sync/pool_test.go (The Go Authors, BSD-3-Clause), ported, with rounds in
//! place of collections; and that a value is in one place, whoever uses the pool and wherever they run.
//!
//! Not here: Go's tests of the queue that its pool is made of.

use goroutines::sync::{Pool, Pooled};
use goroutines::{go, runtime, thread};
use goroutines_tests::io::ms;
use goroutines_tests::proc::Hogs;
use goroutines_tests::sync::{MIXES, Random, at_each, crew, everywhere, on_one};
use goroutines_tests::{quiet_panics, work};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A value that counts those that are alive, and knows when two have it.
struct Counted<'c> {
    alive: &'c AtomicUsize,
    used: AtomicBool,
}

impl<'c> Counted<'c> {
    fn new(alive: &'c AtomicUsize) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { alive, used: AtomicBool::new(false) }
    }

    fn use_it(&self, meanwhile: impl FnOnce()) {
        assert!(!self.used.swap(true, Ordering::Relaxed), "two have the same value");
        meanwhile();
        self.used.store(false, Ordering::Relaxed);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        assert!(!*self.used.get_mut(), "dropped while it is used");
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Go: `TestPool`. On one processor: a goroutine does not move.
#[test]
fn pool() {
    on_one(|| {
        let pool = Pool::new(|| "new");
        assert_eq!(*pool.get(), "new");
        pool.clear();
        pool.put("a");
        pool.put("b");
        let (first, second, third) = (pool.get(), pool.get(), pool.get());
        assert_eq!((*first, *second, *third), ("a", "b", "new"));
        drop((first, second, third));
        pool.clear();
        assert_eq!(*pool.get(), "new");
    });
}

/// Go: `TestPoolNew`.
#[test]
fn new_ones() {
    everywhere(|| {
        let made = AtomicUsize::new(0);
        let pool = Pool::new(|| made.fetch_add(1, Ordering::Relaxed) + 1);
        let (one, two) = (pool.get(), pool.get());
        assert_eq!((*one, *two), (1, 2));
        pool.put(42);
        let last = pool.get();
        assert_eq!((*last, *pool.get()), (42, 3));
        assert_eq!(made.load(Ordering::Relaxed), 3);
    });
}

/// Go: `TestPoolGC`: the pool keeps nothing of what was taken out.
#[test]
fn what_is_taken_out_is_the_takers() {
    everywhere(|| {
        let alive = AtomicUsize::new(0);
        let pool = Pool::new(|| Counted::new(&alive));
        for _ in 0..3 {
            (0..100).for_each(|_| pool.put(Counted::new(&alive)));
            assert_eq!(alive.load(Ordering::SeqCst), 100);
            (0..100).for_each(|_| drop(Pooled::into_inner(pool.get())));
            assert_eq!(alive.load(Ordering::SeqCst), 0);
        }
    });
}

/// Go: `TestPoolRelease`: what nobody uses goes, and not before a period is over.
#[test]
fn unused_values_are_dropped() {
    const PERIOD: Duration = ms(200);
    everywhere(|| {
        let alive = AtomicUsize::new(0);
        let pool = Pool::with_period(|| Counted::new(&alive), PERIOD);
        let start = std::time::Instant::now();
        let hundred: Vec<_> = (0..100).map(|_| pool.get()).collect();
        drop(hundred);
        // One is used at a time; each processor may have one of its own for that.
        while alive.load(Ordering::SeqCst) > 5 {
            assert!(start.elapsed() < Duration::from_secs(20), "they stay");
            drop(pool.get());
            thread::sleep(ms(2));
        }
        let took = start.elapsed();
        assert!(took >= PERIOD, "dropped after {took:?}");
        let left = alive.load(Ordering::SeqCst);
        assert!(left > 0, "those that are used are dropped");
        // A pool that nobody uses keeps what it has, until it is dropped.
        thread::sleep(3 * PERIOD);
        assert_eq!(alive.load(Ordering::SeqCst), left);
        drop(pool);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Who only puts in makes rounds too.
#[test]
fn unused_values_are_dropped_by_put() {
    on_one(|| {
        let alive = AtomicUsize::new(0);
        let pool = Pool::with_period(|| Counted::new(&alive), ms(20));
        for _ in 0..20 {
            (0..10).for_each(|_| pool.put(Counted::new(&alive)));
            thread::sleep(ms(10));
        }
        let alive = alive.load(Ordering::SeqCst);
        assert!(alive <= 100, "{alive} of 200 are there");
    });
}

/// Go: `TestPoolStress`.
#[test]
fn stress_puts() {
    everywhere(|| {
        let pool = Pool::new(|| 0);
        crew(
            10,
            |i| i % 3 != 0,
            |_| {
                for _ in 0..3000 {
                    pool.put(0);
                    assert_eq!(Pooled::into_inner(pool.get()), 0);
                }
            },
        );
    });
}

/// Values are held across preemption and moves between processors, given back by others, kept, and aged all
/// the while: none has two users, and each is dropped once.
#[test]
fn stress() {
    at_each(|_| {
        for mix in MIXES {
            for period in [Duration::ZERO, ms(1), ms(1000)] {
                let (alive, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let make = || {
                    made.fetch_add(1, Ordering::Relaxed);
                    Counted::new(&alive)
                };
                let pool = Pool::with_period(make, period);
                let left = Mutex::new(Vec::new());
                crew(8, mix, |i| {
                    let mut random = Random::new(i);
                    for _ in 0..100 {
                        let several: Vec<_> = (0..random.below(4)).map(|_| pool.get()).collect();
                        for one in &several {
                            one.use_it(|| match random.below(4) {
                                0 => runtime::gosched(),
                                1 => thread::sleep(Duration::from_micros(random.below(100))),
                                2 => work(random.below(1000)),
                                _ => {}
                            });
                        }
                        for one in several {
                            match random.below(16) {
                                0 => drop(Pooled::into_inner(one)),
                                1 => left.lock().unwrap().push(one),
                                2 => drop(left.lock().unwrap().pop()),
                                3 => pool.put(Pooled::into_inner(one)),
                                _ => drop(one),
                            }
                        }
                        if random.below(50) == 0 {
                            pool.clear();
                        }
                    }
                });
                drop(left);
                drop(pool);
                assert_eq!(alive.load(Ordering::SeqCst), 0, "lost, or dropped twice");
                println!("period {period:?}: {} made", made.into_inner());
            }
        }
    });
}

/// A value is used again, wherever its user has moved; also where the processor that has it is no more.
#[test]
fn values_are_found_everywhere() {
    at_each(|procs| {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let pool = Arc::new(Pool::new(move || count.fetch_add(1, Ordering::Relaxed)));
        {
            let _hogs = Hogs::start(procs);
            for _ in 0..50 {
                let pool = Arc::clone(&pool);
                go(move || drop(pool.get())).join().unwrap();
                runtime::gosched();
            }
        }
        assert_eq!(made.load(Ordering::Relaxed), 1, "one at a time needs one");
        let theirs = Arc::clone(&pool);
        std::thread::spawn(move || drop(theirs.get())).join().unwrap();
        runtime::gomaxprocs(1);
        let eight: Vec<_> = (0..8).map(|_| pool.get()).collect();
        assert_eq!(made.load(Ordering::Relaxed), 8);
        runtime::gomaxprocs(4);
        for one in eight {
            // Given back here and there.
            match *one % 3 {
                0 => std::thread::scope(|s| drop(s.spawn(move || drop(one)))),
                1 => thread::scope(|s| drop(s.spawn(move || drop(one)))),
                _ => drop(one),
            }
            runtime::gosched();
        }
        runtime::gomaxprocs(1);
        let again: Vec<_> = (0..8).map(|_| pool.get()).collect();
        assert_eq!(made.load(Ordering::Relaxed), 8, "lost");
        drop(again);
        runtime::gomaxprocs(procs);
    });
}

/// Making and dropping values may use the pool, and panic; a guard that a panic unwinds gives its value back.
#[test]
fn makes_and_drops_are_the_users() {
    struct Last<'p>(&'p Pool<u32>);
    impl Drop for Last<'_> {
        fn drop(&mut self) {
            *self.0.get() += 1;
            runtime::gosched();
        }
    }
    quiet_panics();
    everywhere(|| {
        let numbers = Pool::<u32>::default();
        let fails = AtomicBool::new(true);
        let make = || {
            assert!(!fails.load(Ordering::Relaxed), "expected by the test");
            *numbers.get() += 10;
            Last(&numbers)
        };
        let pool = Pool::with_period(make, Duration::ZERO);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(pool.get()))).is_err());
        fails.store(false, Ordering::Relaxed);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _one = pool.get();
            panic!("expected by the test");
        }));
        assert!(panic.is_err());
        assert_eq!(*numbers.get(), 10);
        fails.store(true, Ordering::Relaxed);
        drop(pool.get()); // the same
        pool.clear();
        assert_eq!(*numbers.get(), 11);
        pool.put(Last(&numbers));
        drop(pool);
        assert_eq!(*numbers.get(), 12);
    });
}

/// The drop of a value may use the pool that drops it.
#[test]
fn a_drop_uses_the_pool() {
    struct Own(u32);
    static POOL: Pool<Own> = Pool::with_period(|| Own(0), Duration::ZERO);
    impl Drop for Own {
        fn drop(&mut self) {
            if self.0 > 0 {
                runtime::gosched();
                POOL.put(Own(self.0 - 1));
                drop(POOL.get());
            }
        }
    }
    everywhere(|| {
        (0..5).for_each(|n| POOL.put(Own(n)));
        (0..10).for_each(|_| drop(POOL.get()));
        POOL.clear();
    });
}

/// What is sent needs not be shared; and a pool of the program's lifetime.
#[test]
fn not_sync() {
    static POOL: Pool<Cell<Vec<u8>>> = Pool::new(|| Cell::new(Vec::with_capacity(10)));
    everywhere(|| {
        let one = POOL.get();
        go(move || {
            one.set(b"hello".to_vec());
            assert_eq!(one.take(), b"hello");
        })
        .join()
        .unwrap();
        assert!(POOL.get().take().is_empty());
    });
}
