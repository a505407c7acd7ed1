//! `thread_local!` and crates that live on it.

use goroutines::thread::{self, yield_now};
use goroutines::{JoinHandle, go};
use goroutines_tests::{join_all, on_procs, os_thread, raw, work};
use rand::RngExt;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    static ZERO: Cell<u64> = const { Cell::new(0) };
    static SEVEN: Cell<u64> = const { Cell::new(7) };
    static COMPUTED: Cell<u64> = Cell::new("42".parse().unwrap_or(0));
    static BIG: RefCell<[u8; 20_000]> = const { RefCell::new([0; 20_000]) };
    static LIST: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static TRACKED: Tracked = const { Tracked(RefCell::new(None)) };
}

/// Counts its destruction where it was told to, after having let others run.
struct Tracked(RefCell<Option<Arc<AtomicU32>>>);

impl Drop for Tracked {
    fn drop(&mut self) {
        for _ in 0..3 {
            yield_now();
        }
        if let Some(dropped) = self.0.take() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn values_are_the_goroutines() {
    on_procs("values_are_the_goroutines", |_| {
        let body = |id: u64| {
            move || {
                ZERO.set(id);
                for step in 0..60 {
                    assert_eq!(ZERO.get(), id + step);
                    ZERO.set(id + step + 1);
                    LIST.with_borrow_mut(|list| list.push(id * 1000 + step));
                    work(id);
                    yield_now();
                }
                let list = LIST.take();
                assert!(list.iter().copied().eq((0..60).map(|step| id * 1000 + step)), "{list:?}");
            }
        };
        join_all((1..=32).map(|id| go(body(id * 1000))));
    });
}

/// Has as many goroutines compute as there are processors, while the caller's OS thread is blocked: so its
/// processor goes to another thread. They end a little after the caller has asked for one again.
fn lose_the_processor(procs: usize) {
    let begun = Arc::new(AtomicU32::new(0));
    let ending = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..procs)
        .map(|_| {
            let (begun, ending) = (begun.clone(), ending.clone());
            go(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                while !ending.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                let end = Instant::now();
                while end.elapsed() < Duration::from_millis(2) {}
            })
        })
        .collect();
    while begun.load(Ordering::Relaxed) < procs as u32 {
        raw::sleep(Duration::from_millis(1));
    }
    ending.store(true, Ordering::Relaxed);
    yield_now();
    join_all(others);
}

/// A goroutine blocks its OS thread until its processor is another thread's, and goes on there.
#[test]
fn values_follow_the_goroutine_to_another_os_thread() {
    on_procs("values_follow_the_goroutine_to_another_os_thread", |procs| {
        for round in 1..=10 {
            let wanders = go(move || {
                ZERO.set(round);
                LIST.with_borrow_mut(|list| list.push(round));
                let at = ZERO.with(|zero| std::ptr::from_ref(zero) as usize);
                let from = os_thread();
                let mut tries = 0;
                while os_thread() == from {
                    tries += 1;
                    assert!(tries < 1000, "it does not leave its OS thread");
                    lose_the_processor(procs);
                }
                assert_eq!(ZERO.get(), round);
                assert_eq!(LIST.take(), [round]);
                let now_at = ZERO.with(|zero| std::ptr::from_ref(zero) as usize);
                assert_eq!(at, now_at, "addresses that the compiler has kept");
            });
            wanders.join().unwrap();
        }
    });
}

#[test]
fn values_begin_anew_on_a_used_carrier() {
    /// Dirties all thread-locals, and tells where its stack is.
    fn use_all() -> usize {
        assert_eq!(ZERO.replace(1), 0);
        assert_eq!(SEVEN.replace(8), 7);
        assert_eq!(COMPUTED.replace(43), 42);
        BIG.with_borrow_mut(|big| {
            assert!(big.iter().all(|byte| *byte == 0), "the big one");
            big.fill(0xaa);
        });
        LIST.with_borrow_mut(|list| {
            assert!(list.is_empty(), "{list:?}");
            list.extend(0..100);
        });
        assert!(TRACKED.with(|tracked| tracked.0.borrow().is_none()), "the one with a Drop");
        yield_now();
        assert_eq!(ZERO.get() + SEVEN.get() + COMPUTED.get(), 52);
        let local = 0u8;
        std::hint::black_box(&raw const local) as usize
    }
    on_procs("values_begin_anew_on_a_used_carrier", |_| {
        let mut stacks: Vec<usize> = (0..100).map(|_| go(use_all).join().unwrap()).collect();
        for _ in 0..8 {
            stacks.extend(join_all((0..50).map(|_| go(use_all))));
        }
        let distinct = stacks.iter().collect::<HashSet<_>>().len();
        assert!(distinct < stacks.len() / 2, "carriers are not reused: {distinct} stacks");
    });
}

#[test]
fn destructors_run_once_and_before_join_returns() {
    on_procs("destructors_run_once_and_before_join_returns", |_| {
        let start = |_| {
            let dropped = Arc::new(AtomicU32::new(0));
            let inner = Arc::clone(&dropped);
            let handle = go(move || {
                TRACKED.with(|tracked| *tracked.0.borrow_mut() = Some(Arc::clone(&inner)));
                work(1);
                yield_now();
                assert_eq!(inner.load(Ordering::Relaxed), 0, "destroyed while in use");
            });
            (handle, dropped)
        };
        let started: Vec<(JoinHandle<()>, _)> = (0..200).map(start).collect();
        let mut all = Vec::new();
        for (handle, dropped) in started {
            handle.join().unwrap();
            assert_eq!(dropped.load(Ordering::Relaxed), 1, "destroyed before join returned");
            all.push(dropped);
        }
        // Those carriers are used again: nothing of the old values may be left on them.
        join_all((0..200).map(|_| go(|| work(2))));
        assert!(all.iter().all(|n| n.load(Ordering::Relaxed) == 1), "destroyed twice");
        assert!(all.iter().all(|n| Arc::strong_count(n) == 1), "leaked");
    });
}

/// A destructor that uses a thread-local which has none yet, which does so too. After std's
/// `dtors_in_dtors_in_dtors` (library/std/tests/thread_local/tests.rs; MIT or Apache-2.0).
#[test]
fn destructors_in_destructors() {
    thread_local! {
        static FIRST: First = const { First(Cell::new(None)) };
        static SECOND: Second = const { Second(Cell::new(None)) };
    }
    struct First(Cell<Option<Arc<AtomicU32>>>);
    struct Second(Cell<Option<Arc<AtomicU32>>>);
    impl Drop for First {
        fn drop(&mut self) {
            let ended = self.0.take();
            yield_now();
            // FIRST can't be had any more; SECOND is made here, while destructors run.
            assert!(FIRST.try_with(|_| ()).is_err(), "a destroyed value was given out");
            let _ = SECOND.try_with(|second| second.0.set(ended));
        }
    }
    impl Drop for Second {
        fn drop(&mut self) {
            yield_now();
            if let Some(ended) = self.0.take() {
                ended.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    on_procs("destructors_in_destructors", |_| {
        let ended = Arc::new(AtomicU32::new(0));
        let handles = (0..50).map(|_| {
            let ended = Arc::clone(&ended);
            go(move || FIRST.with(|first| first.0.set(Some(ended))))
        });
        join_all(handles.collect::<Vec<_>>());
        assert_eq!(ended.load(Ordering::Relaxed), 50);
    });
}

#[test]
fn a_borrow_may_be_held_across_a_yield() {
    on_procs("a_borrow_may_be_held_across_a_yield", |_| {
        join_all((0..32).map(|id| {
            go(move || {
                for round in 0..20 {
                    LIST.with_borrow_mut(|list| {
                        list.push(id);
                        work(id);
                        yield_now();
                        list.push(round);
                        yield_now();
                    });
                    // Shared borrows, while others on this processor borrow theirs mutably.
                    LIST.with_borrow(|list| {
                        yield_now();
                        assert_eq!(list[list.len() - 2..], [id, round]);
                    });
                }
            })
        }));
    });
}

/// `ThreadRng` is an `Rc` of the thread's generator: used from two threads it is a data race.
#[test]
fn a_random_generator_may_be_kept_across_yields() {
    on_procs("a_random_generator_may_be_kept_across_yields", |_| {
        let numbers = join_all((0..32).map(|_| {
            go(|| {
                let mut kept = rand::rng();
                let mut numbers = Vec::new();
                for _ in 0..40 {
                    numbers.push(kept.random::<u64>());
                    yield_now();
                    let mut another = rand::rng();
                    numbers.push(another.random());
                    numbers.extend((0..50).map(|_| kept.random::<u64>()));
                }
                numbers
            })
        }));
        let all: Vec<u64> = numbers.into_iter().flatten().collect();
        let distinct: HashSet<u64> = all.iter().copied().collect();
        // Two of these equal: one chance in 10^9 if the generators are independent.
        assert_eq!(distinct.len(), all.len(), "goroutines share a generator, or its state");
    });
}

scoped_tls::scoped_thread_local!(static SETTING: String);

/// Set, block, restore: two goroutines interleaved so that the first to set is the first to restore.
/// With thread-locals of the OS thread, each would restore the other's.
#[test]
fn a_setting_is_restored_in_the_goroutine_that_set_it() {
    /// Takes turns with the other on `turn`.
    fn body(name: usize, turn: &AtomicU32) {
        let pass = || {
            turn.store(1 - name as u32, Ordering::Release);
            while turn.load(Ordering::Acquire) != name as u32 {
                yield_now();
            }
        };
        for round in 0..20 {
            assert!(!SETTING.is_set(), "{name} sees another's setting");
            let outer = format!("{name} {round}");
            SETTING.set(&outer, || {
                pass();
                assert_eq!(SETTING.with(String::clone), outer);
                let inner = format!("{outer} inner");
                SETTING.set(&inner, || {
                    pass();
                    assert_eq!(SETTING.with(String::clone), inner);
                });
                pass();
                assert_eq!(SETTING.with(String::clone), outer);
            });
            pass();
        }
        turn.store(1 - name as u32, Ordering::Release);
    }
    on_procs("a_setting_is_restored_in_the_goroutine_that_set_it", |_| {
        let turn = AtomicU32::new(0);
        thread::scope(|s| {
            s.spawn(|| body(0, &turn));
            s.spawn(|| body(1, &turn));
        });
    });
}
