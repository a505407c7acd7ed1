//! `Semaphore`: the tests of golang.org/x/sync's semaphore/semaphore_test.go (of February 2026; The Go Authors,
//! BSD-3-Clause), ported, among goroutines, among ordinary threads, and between them; and that permits are
//! neither lost nor doubled where time-outs and releases meet.
//!
//! Go's tests of contexts are ported to time-outs, and that of a release of more than is held to what `release`
//! does here. `TestWeightedDoesntBlockIfTooBig` can't be: see [`too_many_permits`].

use goroutines::sync::{OwnedPermit, Permit, Semaphore};
use goroutines::{go, runtime, thread};
use goroutines_tests::io::ms;
use goroutines_tests::proc::{Hogs, flagged, wait_until};
use goroutines_tests::quiet_panics;
use goroutines_tests::sync::{
    MIXES, Random, Sleepers, at_each, crew, everywhere, on_one, wait_until_waiting, waiting,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WAITS: &str = "semacquire";
const LIMIT: Duration = Duration::from_secs(10);

fn can_take(semaphore: &Semaphore, n: u64) -> bool {
    semaphore.try_acquire(n).map(Permit::forget).is_some()
}

fn can_take_soon(semaphore: &Semaphore, n: u64) -> bool {
    semaphore.acquire_timeout(n, ms(10)).map(Permit::forget).is_some()
}

/// Go: `HammerWeighted`.
fn hammer(semaphore: &Semaphore, n: u64, loops: usize) {
    let mut random = Random::new(n as usize);
    for _ in 0..loops {
        semaphore.acquire(n).forget();
        thread::sleep(Duration::from_micros(random.below(1000)));
        semaphore.release(n);
    }
}

/// Go: `TestWeighted`, of 8 permits, with fewer loops.
#[test]
fn weighted() {
    everywhere(|| {
        for mix in MIXES {
            let semaphore = Semaphore::new(8);
            crew(8, mix, |i| hammer(&semaphore, i as u64, 60));
            assert_eq!(semaphore.available(), 8);
        }
    });
}

/// In place of Go's `TestWeightedPanic`: what was never taken can be released, up to the largest number.
#[test]
fn release_adds() {
    let semaphore = Semaphore::new(1);
    semaphore.release(1);
    semaphore.release(0);
    assert_eq!(semaphore.available(), 2);
    semaphore.release(u64::MAX - 2);
    let panic = catch_unwind(|| semaphore.release(1)).unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "sync: too many Semaphore permits");
    assert_eq!(semaphore.available(), u64::MAX);
    let permit = semaphore.acquire(5);
    semaphore.release(5);
    drop(permit); // can't help it
    assert_eq!(semaphore.available(), u64::MAX);
}

/// Go: `TestWeightedTryAcquire`.
#[test]
fn try_acquire() {
    everywhere(|| {
        let semaphore = Semaphore::new(2);
        semaphore.acquire(1).forget();
        let mut tries = vec![can_take(&semaphore, 1), can_take(&semaphore, 1)];
        semaphore.release(2);
        tries.push(can_take(&semaphore, 1));
        semaphore.acquire(1).forget();
        tries.push(can_take(&semaphore, 1));
        assert_eq!(tries, [true, false, true, false]);
    });
}

/// Go: `TestWeightedAcquire`.
#[test]
fn acquire_timeout() {
    everywhere(|| {
        let semaphore = Semaphore::new(2);
        semaphore.acquire(1).forget();
        let mut tries = vec![can_take_soon(&semaphore, 1), can_take_soon(&semaphore, 1)];
        semaphore.release(2);
        tries.push(can_take_soon(&semaphore, 1));
        semaphore.acquire(1).forget();
        tries.push(can_take_soon(&semaphore, 1));
        assert_eq!(tries, [true, false, true, false]);
    });
}

/// Where Go's has `TestWeightedDoesntBlockIfTooBig`: a request for more than there are waits until there are,
/// and those behind it do.
#[test]
fn too_many_permits() {
    on_one(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let big = flagged({
            let semaphore = Arc::clone(&semaphore);
            move || drop(semaphore.acquire(3))
        });
        wait_until_waiting(1, WAITS);
        assert!(semaphore.try_acquire(1).is_none(), "it went ahead");
        assert!(semaphore.acquire_timeout(1, ms(2)).is_none(), "it went ahead");
        assert_eq!(semaphore.available(), 2);
        assert!(!big.load(Ordering::Acquire));
        semaphore.release(1);
        wait_until(LIMIT, "it has them", || big.load(Ordering::Acquire));
        assert_eq!(semaphore.available(), 3);
    });
}

/// Go: `TestLargeAcquireDoesntStarve`.
#[test]
fn large_acquire_does_not_starve() {
    everywhere(|| {
        for mix in MIXES {
            let n = 4;
            let semaphore = Semaphore::new(n);
            let (held, running) = (AtomicU64::new(0), AtomicBool::new(true));
            crew(n as usize + 1, mix, |i| {
                if i as u64 == n {
                    while held.load(Ordering::Acquire) < n {
                        thread::yield_now();
                    }
                    let all = semaphore.acquire(n);
                    running.store(false, Ordering::Release);
                    return drop(all);
                }
                semaphore.acquire(1).forget();
                held.fetch_add(1, Ordering::Release);
                while running.load(Ordering::Acquire) {
                    thread::sleep(ms(1));
                    semaphore.release(1);
                    semaphore.acquire(1).forget();
                }
                semaphore.release(1);
            });
            assert_eq!(semaphore.available(), n);
        }
    });
}

/// Go: `TestAllocCancelDoesntStarve`: a big one in front gives up, and those behind it get what is there.
#[test]
fn giving_up_lets_those_behind_in() {
    everywhere(|| {
        for mix in MIXES {
            let semaphore = Semaphore::new(10);
            let _one = semaphore.acquire(1);
            let (gave_up, passed) = (AtomicBool::new(false), AtomicUsize::new(0));
            crew(4, mix, |i| {
                if i == 0 {
                    assert!(semaphore.acquire_timeout(10, ms(20)).is_none());
                    return gave_up.store(true, Ordering::Release);
                }
                // Until the big one waits, if it still does by then.
                while semaphore.try_acquire(1).is_some() && !gave_up.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                drop(semaphore.acquire(i as u64));
                passed.fetch_add(1, Ordering::Relaxed);
            });
            assert!(gave_up.load(Ordering::Acquire));
            assert_eq!(passed.load(Ordering::Relaxed), 3);
            assert_eq!(semaphore.available(), 9);
        }
    });
}

/// Go: `TestWeightedAcquireCanceled`: who gave up before the permits came has none, and they are all there.
#[test]
fn permits_come_after_the_time_is_over() {
    everywhere(|| {
        for mix in MIXES {
            let semaphore = Semaphore::new(2);
            semaphore.acquire(1).forget();
            let over = AtomicBool::new(false);
            crew(2, mix, |i| {
                if i == 0 {
                    assert!(semaphore.acquire_timeout(2, ms(3)).is_none());
                    over.store(true, Ordering::Release);
                } else {
                    while !over.load(Ordering::Acquire) {
                        thread::yield_now();
                    }
                    semaphore.release(1);
                }
            });
            assert!(can_take(&semaphore, 2));
        }
    });
}

/// A time-out does not come early, and not much too late; what can be had at once is.
#[test]
fn times() {
    everywhere(|| {
        let semaphore = Semaphore::new(1);
        assert!(semaphore.acquire_timeout(1, Duration::ZERO).is_some());
        assert!(semaphore.acquire_timeout(1, Duration::MAX).is_some());
        for (permits, timeout) in
            [(1, Duration::ZERO), (0, Duration::ZERO), (2, ms(5)), (9, ms(30))]
        {
            let _all = semaphore.acquire(1);
            let start = Instant::now();
            let got = semaphore.acquire_timeout(permits, timeout);
            let took = start.elapsed();
            assert_eq!(got.is_some(), permits == 0);
            assert!(took >= timeout, "{took:?} of {timeout:?}");
            assert!(took < timeout + ms(5000), "{took:?} of {timeout:?}");
        }
        assert_eq!(semaphore.available(), 1);
    });
}

/// First come, first served, whatever each wants; and those for none wait for their turn.
#[test]
fn first_come_first_served() {
    on_one(|| {
        let (semaphore, order) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let wanted = [3, 1, 0, 7, 2, 0, 1];
        for (i, n) in wanted.into_iter().enumerate() {
            let (semaphore, order) = (Arc::clone(&semaphore), Arc::clone(&order));
            go(move || {
                semaphore.acquire(n).forget();
                order.lock().unwrap().push(i);
            });
            wait_until_waiting(i + 1, WAITS);
        }
        assert!(semaphore.try_acquire(0).is_none(), "others wait");
        for (released, served) in [(2, 0), (1, 1), (7, 3), (1, 4), (2, 6), (1, 7)] {
            semaphore.release(released);
            wait_until_waiting(wanted.len() - served, WAITS);
            wait_until(LIMIT, "they are served", || order.lock().unwrap().len() == served);
            // Those who were served together may be preempted before they say so.
            let mut order = order.lock().unwrap().clone();
            order.sort_unstable();
            assert!(order.into_iter().eq(0..served), "not those in front");
        }
        assert_eq!(semaphore.available(), 0);
        assert!(semaphore.try_acquire(0).is_some());
    });
}

/// The same among threads, and between threads and goroutines.
#[test]
fn first_come_first_served_among_all() {
    for mix in MIXES {
        on_one(|| {
            let (semaphore, order) = (Semaphore::new(0), Mutex::new(Vec::new()));
            let (turn, sleepers) = (AtomicUsize::new(0), Sleepers::default());
            crew(7, mix, |i| {
                if i < 6 {
                    while turn.load(Ordering::Acquire) != i {
                        thread::sleep(ms(1));
                    }
                    sleepers.add();
                    semaphore.acquire(1).forget();
                    return order.lock().unwrap().push(i);
                }
                for n in 0..6 {
                    turn.store(n, Ordering::Release);
                    let they_wait = || waiting(WAITS) + sleepers.asleep() == n + 1;
                    wait_until(LIMIT, "it waits", they_wait);
                }
                for served in 1..=6 {
                    semaphore.release(1);
                    wait_until(LIMIT, "one is served", || order.lock().unwrap().len() == served);
                }
            });
            assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
        });
    }
}

/// Who releases hands over: nobody takes the permits before the one who waits, however late that runs.
#[test]
fn hand_over() {
    everywhere(|| {
        let _hogs = Hogs::start(2);
        for _ in 0..20 {
            let (semaphore, has_it) =
                (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
            let waiter = go({
                let (semaphore, has_it) = (Arc::clone(&semaphore), Arc::clone(&has_it));
                move || {
                    semaphore.acquire(1).forget();
                    has_it.store(true, Ordering::Release);
                }
            });
            wait_until_waiting(1, WAITS);
            semaphore.release(1);
            assert!(semaphore.try_acquire(1).is_none(), "overtaken");
            assert_eq!(semaphore.available(), 0);
            assert!(semaphore.acquire_timeout(1, Duration::from_micros(50)).is_none(), "overtaken");
            waiter.join().unwrap();
            assert!(has_it.load(Ordering::Acquire));
        }
    });
}

/// Permits are given back by whoever drops them, and not if they are forgotten.
#[test]
fn guards() {
    quiet_panics();
    everywhere(|| {
        let semaphore = Arc::new(Semaphore::new(5));
        let permit = semaphore.acquire(2);
        assert_eq!((permit.count(), semaphore.available()), (2, 3));
        drop(permit);
        semaphore.acquire(1).forget();
        assert_eq!(semaphore.available(), 4);
        let owned = semaphore.acquire_owned(3);
        assert_eq!((owned.count(), semaphore.available()), (3, 1));
        assert!(semaphore.try_acquire_owned(2).is_none());
        assert!(semaphore.acquire_timeout_owned(2, ms(1)).is_none());
        // Given back by another, of the other kind, after the semaphore's own handle is gone.
        let other = Arc::clone(&semaphore);
        let given_back = std::thread::spawn(move || drop(owned));
        given_back.join().unwrap();
        assert_eq!(other.available(), 4);
        let owned = other.try_acquire_owned(4).unwrap();
        let waits = go(move || other.acquire_timeout_owned(2, LIMIT).map(OwnedPermit::forget));
        go(move || drop(owned)).join().unwrap();
        assert!(waits.join().unwrap().is_some());
        assert_eq!(semaphore.available(), 2);
        // And where a panic unwinds.
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _both = semaphore.acquire(2);
            panic!("expected by the test");
        }));
        assert!(panic.is_err());
        assert_eq!(semaphore.available(), 2);
        assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 2 }");
    });
}

/// Counting events, from many to one.
#[test]
fn counts_events() {
    everywhere(|| {
        for mix in MIXES {
            let (events, seen) = (Semaphore::new(0), AtomicUsize::new(0));
            crew(9, mix, |i| {
                if i == 8 {
                    for n in [100, 300, 399, 1] {
                        events.acquire(n).forget();
                        seen.fetch_add(n as usize, Ordering::Relaxed);
                    }
                } else {
                    (0..100).for_each(|_| events.release(1));
                }
            });
            assert_eq!((events.available(), seen.into_inner()), (0, 800));
        }
    });
}

/// What is written under all permits, without any other order, is seen by who has one.
#[test]
fn orders_memory() {
    struct Cell(std::cell::UnsafeCell<u64>);
    // SAFETY: guarded by the semaphore, which is what is tested.
    unsafe impl Sync for Cell {}
    everywhere(|| {
        for mix in MIXES {
            let (semaphore, cell) = (Semaphore::new(3), Cell(std::cell::UnsafeCell::new(0)));
            let cell = &cell;
            crew(6, mix, |_| {
                for i in 0..300 {
                    if i % 3 == 0 {
                        let _all = semaphore.acquire(3);
                        // SAFETY: nobody else has one.
                        unsafe { *cell.0.get() += 1 };
                    } else {
                        let _one = semaphore.acquire(1);
                        // SAFETY: nobody else has all.
                        assert!(unsafe { *cell.0.get() } <= 600);
                    }
                }
            });
            // SAFETY: all are done.
            assert_eq!(unsafe { *cell.0.get() }, 600);
        }
    });
}

/// Time-outs race releases: permits are neither lost nor doubled, nobody sleeps on beside what he wants.
fn time_outs_and_releases(n: usize, mix: fn(usize) -> bool, total: u64, loops: usize) {
    let (semaphore, used) = (Semaphore::new(total), AtomicU64::new(0));
    let (got, gave_up) = (AtomicUsize::new(0), AtomicUsize::new(0));
    crew(n, mix, |i| {
        let mut random = Random::new(i + loops);
        for _ in 0..loops {
            let wanted = random.below(total + 1);
            let timeout = Duration::from_micros(random.below(150));
            let permit = match random.below(8) {
                0 => semaphore.try_acquire(wanted),
                1 | 2 => Some(semaphore.acquire(wanted)),
                _ => semaphore.acquire_timeout(wanted, timeout),
            };
            let Some(permit) = permit else {
                gave_up.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            got.fetch_add(1, Ordering::Relaxed);
            let sum = used.fetch_add(wanted, Ordering::SeqCst) + wanted;
            assert!(sum <= total, "{sum} of {total} are used");
            match random.below(4) {
                0 => thread::sleep(Duration::from_micros(random.below(100))),
                1 => thread::yield_now(),
                _ => {}
            }
            used.fetch_sub(wanted, Ordering::SeqCst);
            if random.below(2) == 0 {
                permit.forget();
                semaphore.release(wanted);
            }
        }
    });
    assert_eq!(semaphore.available(), total, "permits were lost or doubled");
    assert!(semaphore.try_acquire(total).is_some(), "somebody is in the queue");
    let (got, gave_up) = (got.into_inner(), gave_up.into_inner());
    assert_eq!(got + gave_up, n * loops);
    println!("{n} at {total}: {got} got theirs, {gave_up} gave up");
}

#[test]
fn stress() {
    at_each(|_| {
        for mix in MIXES {
            time_outs_and_releases(8, mix, 1, 300);
            time_outs_and_releases(8, mix, 5, 300);
        }
        time_outs_and_releases(100, |i| i % 10 != 0, 7, 30);
    });
}

/// The same, with one who releases just when the time of the only waiter is over.
#[test]
fn at_the_same_moment() {
    at_each(|_| {
        for mix in [|_| true, |_| false, |i| i == 0, |i| i == 1] as [fn(usize) -> bool; 4] {
            let (semaphore, round) = (Semaphore::new(0), AtomicUsize::new(0));
            let got = AtomicUsize::new(0);
            crew(2, mix, |i| {
                let mut random = Random::new(i);
                for n in 1..=200 {
                    if i == 0 {
                        round.store(n, Ordering::Release);
                        if semaphore.acquire_timeout(1, Duration::from_micros(60)).is_some() {
                            got.fetch_add(1, Ordering::Relaxed);
                        } else {
                            // It was released, or will be; to nobody else.
                            semaphore.acquire(1).forget();
                            semaphore.release(1);
                        }
                        semaphore.acquire(1).forget();
                    } else {
                        while round.load(Ordering::Acquire) != n {
                            thread::yield_now();
                        }
                        let (start, after) = (Instant::now(), random.below(120));
                        while start.elapsed() < Duration::from_micros(after) {
                            std::hint::spin_loop();
                        }
                        semaphore.release(1);
                    }
                }
            });
            assert_eq!(semaphore.available(), 0);
            println!("{} of 200 came in time", got.into_inner());
        }
    });
}

/// Many goroutines beside one permit: each gets it, in turn.
#[test]
fn many() {
    at_each(|_| {
        let (semaphore, count) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..2000)
            .map(|_| {
                let (semaphore, count) = (Arc::clone(&semaphore), Arc::clone(&count));
                go(move || {
                    let _permit = semaphore.acquire(1);
                    let n = count.load(Ordering::Relaxed);
                    runtime::gosched();
                    count.store(n + 1, Ordering::Relaxed);
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(count.load(Ordering::Relaxed), 2000);
        assert_eq!(semaphore.available(), 1);
    });
}
