//! `WaitGroup`: Go's tests of sync/waitgroup_test.go (1.27; The Go Authors, BSD-3-Clause), ported, among
//! goroutines, among ordinary threads, and between them. Where Go's have a channel, these count.

use goroutines::{WaitGroup, go, runtime, thread};
use goroutines_tests::proc::{Hogs, at_procs, flagged, in_child, wait_until};
use goroutines_tests::quiet_panics;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const N: usize = 16;

/// Starts `f` as a goroutine or as a thread.
fn start(as_goroutine: bool, f: impl FnOnce() + Send + 'static) {
    if as_goroutine {
        go(f);
    } else {
        std::thread::spawn(f);
    }
}

/// Go: `testWaitGroup`; the `i`-th of those who take part is a goroutine if `is_goroutine(i)`.
fn round(first: &WaitGroup, second: &WaitGroup, is_goroutine: impl Fn(usize) -> bool) {
    first.add(N as i32);
    second.add(N as i32);
    let exited = Arc::new(AtomicUsize::new(0));
    for i in 0..N {
        let (first, second, exited) = (first.clone(), second.clone(), Arc::clone(&exited));
        start(is_goroutine(i), move || {
            first.done();
            second.wait();
            exited.fetch_add(1, Ordering::SeqCst);
        });
    }
    first.wait();
    for _ in 0..N {
        assert_eq!(exited.load(Ordering::SeqCst), 0, "released too soon");
        second.done();
    }
    let limit = Duration::from_secs(10);
    wait_until(limit, "all are released", || exited.load(Ordering::SeqCst) == N);
}

/// Go: `TestWaitGroup`, among goroutines.
#[test]
fn wait_group() {
    for procs in [1, 2, 4] {
        at_procs(procs, || {
            let (first, second) = (WaitGroup::new(), WaitGroup::new());
            (0..8).for_each(|_| round(&first, &second, |_| true));
        });
    }
}

/// The same among ordinary threads, and with both kinds.
#[test]
fn wait_group_with_threads() {
    at_procs(2, || {
        let (first, second) = (WaitGroup::new(), WaitGroup::new());
        (0..8).for_each(|_| round(&first, &second, |_| false));
        (0..8).for_each(|_| round(&first, &second, |i| i % 2 == 0));
    });
    let (first, second) = (WaitGroup::new(), WaitGroup::new());
    (0..8).for_each(|_| round(&first, &second, |i| i % 2 == 0)); // this thread waits
}

/// Go: `TestWaitGroupMisuse`. Also: the counter stays as it was, and the group can be used.
#[test]
fn wait_group_misuse() {
    at_procs(1, || {
        let wg = WaitGroup::new();
        wg.add(1);
        wg.done();
        for misuse in [-1, -5] {
            let panic = catch_unwind(AssertUnwindSafe(|| wg.add(misuse))).unwrap_err();
            let text = panic.downcast_ref::<&str>().unwrap();
            assert_eq!(*text, "sync: negative WaitGroup counter");
        }
        wg.wait();
        wg.add(1);
        let ended = flagged({
            let wg = wg.clone();
            move || wg.wait()
        });
        runtime::gosched();
        assert!(!ended.load(Ordering::Acquire));
        wg.done();
        wait_until(Duration::from_secs(5), "it is released", || ended.load(Ordering::Acquire));
    });
}

/// Go: `TestWaitGroupRace`: no spurious wake-up.
#[test]
fn wait_group_race() {
    for procs in [1, 4] {
        at_procs(procs, || {
            for _ in 0..1000 {
                let (wg, n) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
                for _ in 0..2 {
                    wg.add(1);
                    let (wg, n) = (wg.clone(), Arc::clone(&n));
                    go(move || {
                        n.fetch_add(1, Ordering::Relaxed);
                        wg.done();
                    });
                }
                wg.wait();
                assert_eq!(n.load(Ordering::Relaxed), 2, "spurious wake-up");
            }
        });
    }
}

/// Go: `TestWaitGroupGo`. What happened in the goroutine is seen after `wait`.
#[test]
fn wait_group_go() {
    at_procs(2, || {
        for _ in 0..1000 {
            let (wg, n) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
            let theirs = Arc::clone(&n);
            wg.go(move || theirs.store(1, Ordering::Relaxed));
            wg.wait();
            assert_eq!(n.load(Ordering::Relaxed), 1);
        }
    });
}

/// A goroutine of a group that panics, or ends by `goexit`, is counted out.
#[test]
fn wait_group_go_with_other_ends() {
    quiet_panics();
    at_procs(2, || {
        let wg = WaitGroup::new();
        wg.go(|| panic!("expected by the test"));
        wg.go(|| runtime::goexit());
        wg.wait();
    });
}

/// Go: `TestIssue76126`: with Go's rule for panics, the process ends and `wait` does not return.
#[test]
fn a_panic_ends_the_process_if_told() {
    let child = in_child("a_panic_ends_the_process_if_told", &[], || {
        runtime::Builder::new().panic(runtime::PanicPolicy::Crash).run(|| {
            let wg = WaitGroup::new();
            wg.go(|| panic!("test"));
            wg.wait();
            println!("wait returned");
        });
    });
    child.expect_status(2);
    child.expect_stderr("panic: test");
    assert!(!child.text().contains("wait returned"), "{child}");
}

/// Many wait for one, and one for many, while the counter goes up and down.
#[test]
fn many_waiters() {
    at_procs(4, || {
        for _ in 0..50 {
            let (gate, all) = (WaitGroup::new(), WaitGroup::new());
            let passed = Arc::new(AtomicUsize::new(0));
            gate.add(1);
            for i in 0..100 {
                let (gate, passed) = (gate.clone(), Arc::clone(&passed));
                all.go(move || {
                    if i % 10 == 0 {
                        gate.add(1);
                        gate.done();
                    }
                    gate.wait();
                    passed.fetch_add(1, Ordering::SeqCst);
                });
            }
            runtime::gosched();
            assert_eq!(passed.load(Ordering::SeqCst), 0, "released too soon");
            gate.done();
            all.wait();
            assert_eq!(passed.load(Ordering::SeqCst), 100);
        }
    });
}

/// `wait` returns at once where the counter is zero: it does not give the processor away.
#[test]
fn wait_on_zero_returns_at_once() {
    at_procs(1, || {
        let _hogs = Hogs::start(1);
        let wg = WaitGroup::new();
        let start = Instant::now();
        for _ in 0..20 {
            wg.wait();
        }
        let took = start.elapsed();
        // A slice may end meanwhile, once or twice; not twenty times.
        assert!(took < Duration::from_millis(100), "20 waits for nothing took {took:?}");
    });
}

/// The same for a scope in which nothing is left to wait for, and for a goroutine that has ended.
#[test]
fn waiting_for_what_has_ended_returns_at_once() {
    at_procs(1, || {
        let _hogs = Hogs::start(1);
        let ended: Vec<_> = (0..20).map(|_| go(|| ())).collect();
        wait_until(Duration::from_secs(5), "all ended", || ended.iter().all(|h| h.is_finished()));
        let start = Instant::now();
        ended.into_iter().for_each(|handle| handle.join().unwrap());
        let joins = start.elapsed();
        let start = Instant::now();
        for _ in 0..20 {
            thread::scope(|_| ());
        }
        let scopes = start.elapsed();
        println!("20 joins of ended goroutines: {joins:?}; 20 empty scopes: {scopes:?}");
        assert!(joins < Duration::from_millis(100), "20 joins took {joins:?}");
        assert!(scopes < Duration::from_millis(100), "20 empty scopes took {scopes:?}");
    });
}

/// And for stopping the world where nobody else wants to.
#[test]
fn stopping_the_world_does_not_wait_for_a_slice() {
    at_procs(1, || {
        let _hogs = Hogs::start(1);
        let start = Instant::now();
        for _ in 0..20 {
            assert!(runtime::goroutines().len() >= 2);
        }
        let took = start.elapsed();
        println!("20 stops of the world beside a hog, GOMAXPROCS=1: {took:?}");
        assert!(took < Duration::from_millis(100), "20 stops of the world took {took:?}");
    });
}
