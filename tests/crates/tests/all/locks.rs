//! `parking_lot`'s locks under contention, held across sleeps and yields.

use crate::harness::{each, nothing, on_procs};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const MANY: usize = 48;

/// Something that lets another goroutine run, at times by blocking.
fn linger(n: usize) {
    match n % 64 {
        0 => std::thread::sleep(Duration::from_micros(100)),
        n if n % 4 == 0 => goroutines::runtime::gosched(),
        _ => {}
    }
}

#[test]
fn parking_lot_mutex_excludes() {
    const ROUNDS: usize = 300;
    on_procs("parking_lot_mutex_excludes", nothing, |(), _| {
        let both = Mutex::new((0, 0));
        each(MANY, |i| {
            for n in 0..ROUNDS {
                let mut both = both.lock();
                let before = *both;
                assert_eq!(before.0, before.1, "between two");
                both.0 += 1;
                linger(i + n);
                assert_eq!(both.0, before.0 + 1, "somebody else was here");
                both.1 += 1;
            }
        });
        assert_eq!(*both.lock(), (MANY * ROUNDS, MANY * ROUNDS));
    });
}

#[test]
fn parking_lot_rwlock_shares_and_excludes() {
    const ROUNDS: usize = 100;
    on_procs("parking_lot_rwlock", nothing, |(), _| {
        let all = RwLock::new(vec![0; 16]);
        let most = std::sync::atomic::AtomicUsize::new(0);
        let readers = std::sync::atomic::AtomicUsize::new(0);
        each(MANY, |i| {
            use std::sync::atomic::Ordering::Relaxed;
            for n in 0..ROUNDS {
                if i % 4 == 0 {
                    let mut all = all.write();
                    assert_eq!(readers.load(Relaxed), 0, "readers beside a writer");
                    for (k, one) in all.iter_mut().enumerate() {
                        *one += 1;
                        linger(i + n + k + 1);
                    }
                } else {
                    let all = all.read();
                    most.fetch_max(readers.fetch_add(1, Relaxed) + 1, Relaxed);
                    let first = all[0];
                    linger(i + n);
                    assert!(all.iter().all(|&one| one == first), "half a write: {all:?}");
                    readers.fetch_sub(1, Relaxed);
                }
            }
        });
        assert_eq!(*all.read(), vec![MANY / 4 * ROUNDS; 16]);
        assert!(most.into_inner() > 1, "readers never shared");
    });
}

/// A queue of three places between producers and consumers that wait for each other.
#[test]
fn parking_lot_condvar_wakes_who_waits() {
    const EACH: usize = 100;
    const PLACES: usize = 3;
    on_procs("parking_lot_condvar", nothing, |(), _| {
        let queue = Mutex::new(VecDeque::new());
        let (not_full, not_empty) = (Condvar::new(), Condvar::new());
        let got = each(MANY, |i| {
            let mut got = Vec::new();
            for n in 0..EACH {
                let mut queue = queue.lock();
                if i % 2 == 0 {
                    not_full.wait_while(&mut queue, |queue| queue.len() == PLACES);
                    queue.push_back(i * EACH + n);
                    not_empty.notify_one();
                } else {
                    not_empty.wait_while(&mut queue, |queue| queue.is_empty());
                    got.extend(queue.pop_front());
                    not_full.notify_one();
                }
                assert!(queue.len() <= PLACES);
            }
            got
        });
        let mut got: Vec<_> = got.into_iter().flatten().collect();
        got.sort_unstable();
        let of = |i| i * EACH..(i + 1) * EACH;
        let expected: Vec<_> = (0..MANY).step_by(2).flat_map(of).collect();
        assert_eq!(got, expected);
    });
}

#[test]
fn parking_lot_waits_end_in_time() {
    const WAIT: Duration = Duration::from_millis(100);
    on_procs("parking_lot_waits_end_in_time", nothing, |(), _| {
        let mutex = Mutex::new(());
        let (never, held) = (Condvar::new(), Mutex::new(()));
        let _held = held.lock();
        each(MANY, |i| {
            let start = Instant::now();
            if i % 2 == 0 {
                assert!(never.wait_for(&mut mutex.lock(), WAIT).timed_out());
            } else {
                assert!(held.try_lock_for(WAIT).is_none());
            }
            let took = start.elapsed();
            assert!(took >= WAIT, "it took only {took:?}");
            assert!(took < WAIT * 20, "it took {took:?}");
        });
    });
}

#[cfg(feature = "intercept")]
#[test]
fn parking_lot_needs_few_threads() {
    use crate::harness::expect_few_threads;
    const WAITING: usize = 64;
    on_procs("parking_lot_needs_few_threads", nothing, |(), _| {
        let (go, changed) = (Mutex::new(false), Condvar::new());
        let wait = |_| changed.wait_while(&mut go.lock(), |go| !*go);
        expect_few_threads(WAITING, wait, || {
            *go.lock() = true;
            assert_eq!(changed.notify_all(), WAITING);
        });
        let shared = RwLock::new(());
        let writer = shared.write();
        let wait = |i| if i % 2 == 0 { drop(shared.read()) } else { drop(shared.write()) };
        expect_few_threads(WAITING, wait, || drop(writer));
    });
}
