//! `rayon` called by many goroutines at once: they wait for its pool of OS threads.

use crate::harness::{bytes, each, nothing, on_procs};
use rayon::prelude::*;
use std::sync::mpsc;

const CALLERS: usize = 24;

#[test]
fn rayon_sums_and_sorts_for_many_goroutines() {
    on_procs("rayon_sums_and_sorts", nothing, |(), _| {
        each(CALLERS, |i| {
            for n in 0..10 {
                let top = (1_000 * i + 100 * n) as u64;
                let sum: u64 = (0..=top).into_par_iter().map(|x| x * 2).sum();
                assert_eq!(sum, top * (top + 1), "twice the sum to {top}");
            }
            let mut sorted = bytes(i as u64, 20_000);
            let mut expected = sorted.clone();
            expected.sort_unstable();
            sorted.par_sort_unstable();
            assert!(sorted == expected, "sorted bytes of caller {i}");
        });
    });
}

/// Jobs borrow from a goroutine's stack, split it up, and see the caller's data only.
#[test]
fn rayon_scopes_borrow_from_goroutines() {
    on_procs("rayon_scopes_borrow", nothing, |(), _| {
        each(CALLERS, |i| {
            for _ in 0..10 {
                let mut parts = [0_usize; 16];
                rayon::scope(|scope| {
                    for (k, part) in parts.iter_mut().enumerate() {
                        scope.spawn(move |_| *part = i * 100 + k);
                    }
                });
                assert!(parts.iter().enumerate().all(|(k, &part)| part == i * 100 + k));
                let (left, right) = rayon::join(|| fibonacci(15), || fibonacci(14));
                assert_eq!((left, right), (610, 377));
            }
        });
    });
}

fn fibonacci(n: u32) -> u32 {
    if n < 2 {
        return n;
    }
    let (a, b) = rayon::join(|| fibonacci(n - 1), || fibonacci(n - 2));
    a + b
}

/// A job's panic comes out where it was waited for, and nowhere else.
#[test]
fn rayon_panics_come_out_in_the_goroutine_that_waits() {
    on_procs("rayon_panics", nothing, |(), _| {
        each(CALLERS, |i| {
            let job = || {
                let numbers = (0..1_000).into_par_iter();
                // Not `panic`, which the hook would report.
                numbers.for_each(|n| {
                    if n == 500 {
                        std::panic::resume_unwind(Box::new(i))
                    }
                });
            };
            let payload = std::panic::catch_unwind(job).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&i));
        });
    });
}

/// The other way round: jobs of the pool wait for goroutines, and answer them.
#[test]
fn rayon_jobs_and_goroutines_wait_for_each_other() {
    on_procs("rayon_jobs_and_goroutines", nothing, |(), _| {
        each(CALLERS, |i| {
            for n in 0..10 {
                let (ask, asked) = mpsc::channel::<usize>();
                let (answer, answered) = mpsc::channel();
                rayon::spawn(move || answer.send(asked.recv().unwrap() + 1).unwrap());
                if n % 2 == 0 {
                    goroutines::runtime::gosched();
                }
                ask.send(100 * i + n).unwrap();
                assert_eq!(answered.recv(), Ok(100 * i + n + 1));
            }
        });
    });
}

/// A pool of two threads is busy; 64 goroutines wait for it.
#[cfg(feature = "intercept")]
#[test]
fn waiting_for_rayon_needs_few_threads() {
    use std::sync::{Condvar, Mutex};
    const WAITING: usize = 64;
    on_procs("waiting_for_rayon_needs_few_threads", nothing, |(), _| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (open, opened) = (Mutex::new(false), Condvar::new());
        let wait = |i: usize| {
            let got = pool.install(|| {
                drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
                i + 1
            });
            assert_eq!(got, i + 1);
        };
        crate::harness::expect_few_threads(WAITING, wait, || {
            *open.lock().unwrap() = true;
            opened.notify_all();
        });
    });
}
