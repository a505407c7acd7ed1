//! In which order goroutines run. Restated from what Go's scheduler does (runtime/proc.go, 1.27:
//! `runqput`, `goschedImpl`).

use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::proc::{Hogs, Pair, Times, at_procs, flagged, wait_until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What happened, in order. Uncontended: it is used on one processor.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<usize>>>);

impl Log {
    fn add(&self, what: usize) {
        // A short wait: who holds it is runnable at the least.
        while self.0.try_lock().map(|mut log| log.push(what)).is_err() {
            runtime::gosched();
        }
    }

    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().expect("the log"))
    }
}

/// How often each of some orders was seen, the most frequent first.
fn counted(mut orders: Vec<Vec<usize>>) -> Vec<(usize, Vec<usize>)> {
    orders.sort();
    let mut counts: Vec<_> =
        orders.chunk_by(|a, b| a == b).map(|same| (same.len(), same[0].clone())).collect();
    counts.sort_by(|a, b| b.cmp(a));
    counts
}

/// Checks that at least `percent` of the orders are the expected one: a time slice may end in between,
/// and every 61st slice looks at the global queue first.
#[track_caller]
fn expect_order(orders: Vec<Vec<usize>>, expected: &[usize], percent: usize) {
    let all = orders.len();
    let counts = counted(orders);
    let hits = counts.iter().find(|(_, order)| order == expected).map_or(0, |(n, _)| *n);
    println!("{hits} of {all} in the order {expected:?}");
    assert!(hits * 100 >= all * percent, "{hits} of {all}; seen: {counts:?}");
}

/// Six `go` on one processor start in the order 5 0 1 2 3 4: the last is next, the others in order.
#[test]
fn the_last_go_is_next() {
    at_procs(1, || {
        let orders = (0..100)
            .map(|_| {
                let (log, wg) = (Log::default(), WaitGroup::new());
                for i in 0..6 {
                    let log = log.clone();
                    wg.go(move || log.add(i));
                }
                wg.wait();
                log.take()
            })
            .collect();
        expect_order(orders, &[5, 0, 1, 2, 3, 4], 95);
    });
}

/// A goroutine that yields goes behind all others, those that yielded before it included.
#[test]
fn gosched_goes_to_the_global_tail() {
    const MAIN: usize = 9;
    at_procs(1, || {
        let orders = (0..100)
            .map(|_| {
                let (log, wg) = (Log::default(), WaitGroup::new());
                for i in 0..3 {
                    let log = log.clone();
                    wg.go(move || {
                        log.add(i);
                        runtime::gosched();
                        log.add(10 + i);
                    });
                }
                runtime::gosched();
                log.add(MAIN);
                wg.wait();
                log.take()
            })
            .collect();
        expect_order(orders, &[2, 0, 1, MAIN, 12, 10, 11], 75);
    });
}

/// A goroutine that is readied runs before those that were runnable already.
#[test]
fn a_readied_goroutine_is_next() {
    at_procs(1, || {
        let orders = (0..100)
            .map(|_| {
                let (log, wg, gate) = (Log::default(), WaitGroup::new(), WaitGroup::new());
                gate.add(1);
                let (theirs, closed) = (log.clone(), gate.clone());
                wg.go(move || {
                    closed.wait();
                    theirs.add(7);
                });
                runtime::gosched(); // it waits
                for i in 0..3 {
                    let log = log.clone();
                    wg.go(move || log.add(i));
                }
                gate.done();
                wg.wait();
                log.take()
            })
            .collect();
        expect_order(orders, &[7, 0, 1, 2], 90);
    });
}

/// Those who wait in a `WaitGroup` are readied in the order they came: the last is next, then the
/// others in order.
#[test]
fn waiters_are_released_in_order() {
    at_procs(1, || {
        let orders = (0..100)
            .map(|_| {
                let (log, wg, gate) = (Log::default(), WaitGroup::new(), WaitGroup::new());
                gate.add(1);
                for i in 0..4 {
                    let (log, gate) = (log.clone(), gate.clone());
                    wg.go(move || {
                        gate.wait();
                        log.add(i);
                    });
                }
                // They wait, in the order 3 0 1 2; the first may return too soon, see `expect_order`.
                (0..3).for_each(|_| runtime::gosched());
                gate.done();
                wg.wait();
                log.take()
            })
            .collect();
        expect_order(orders, &[2, 3, 0, 1], 90);
    });
}

/// A pair that keeps waking each other shares a time slice, so it can't keep another from running.
#[test]
fn a_pair_does_not_starve_the_queue() {
    at_procs(1, || {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        let pair = Pair::start(1, &stop, &ended);
        for _ in 0..20 {
            let ran = flagged(|| ());
            wait_until(Duration::from_secs(1), "another runs", || ran.load(Ordering::Acquire));
        }
        stop.store(true, Ordering::Relaxed);
        ended.wait();
        println!("a_pair_does_not_starve_the_queue: {} turns", pair.count());
        assert!(pair.count() > 100);
    });
}

/// Goroutines each of which starts the next and ends, until `stop` is set, or four seconds have passed.
fn start_chain(stop: &Arc<AtomicBool>, ended: &WaitGroup) {
    fn next(end: Instant, stop: Arc<AtomicBool>, ended: WaitGroup) {
        if stop.load(Ordering::Relaxed) || Instant::now() > end {
            return ended.done();
        }
        go(move || next(end, stop, ended));
    }
    ended.add(1);
    let (end, stop, ended) =
        (Instant::now() + Duration::from_secs(4), Arc::clone(stop), ended.clone());
    go(move || next(end, stop, ended));
}

/// Who yielded runs although the local queue never becomes empty: every 61st slice is for those. (Where
/// chains fill the queue, Go 1.27.3 starves who yields: more than a minute for ten yields.)
#[test]
fn the_global_queue_is_not_starved() {
    at_procs(1, || {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        (0..8).for_each(|_| start_chain(&stop, &ended));
        let start = Instant::now();
        for _ in 0..3 {
            runtime::gosched();
        }
        let took = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        ended.wait();
        println!("3 yields beside 8 chains: {took:?}");
        let limit = 3 * 61 * Duration::from_millis(12);
        assert!(took < limit + Duration::from_secs(1), "starved: {took:?}");
    });
}

/// A chain of goroutines shares one time slice, so it does not keep the local queue from running; also
/// where no ended goroutine's stack is at hand, and each gets that of the one before. (Stacks are made
/// some at a time: one of these numbers leaves none.)
#[test]
fn a_chain_does_not_starve_the_queue() {
    at_procs(1, || {
        let (gate, all) = (WaitGroup::new(), WaitGroup::new());
        gate.add(1);
        let mut waits = Vec::new();
        while waits.len() < 140 && waits.last().is_none_or(|last| *last < Duration::from_secs(1)) {
            let gate = gate.clone();
            all.go(move || gate.wait());
            (0..3).for_each(|_| runtime::gosched()); // it waits, and keeps its stack
            waits.push(wait_behind_a_chain());
        }
        let waits: Times = waits.into_iter().collect();
        gate.done();
        all.wait();
        println!("behind a chain: {waits}");
        assert!(waits.percentile(100) < Duration::from_secs(1), "starved: {waits}");
    });
}

/// How long a goroutine in the local queue waits for its turn behind a chain.
fn wait_behind_a_chain() -> Duration {
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
    let start = Instant::now();
    let waits = go(move || start.elapsed());
    start_chain(&stop, &ended); // it is next now, and the other behind it
    let waited = waits.join().expect("how long it waited");
    stop.store(true, Ordering::Relaxed);
    ended.wait();
    waited
}

/// What an ordinary thread starts runs although every processor is busy with goroutines that never enter
/// the runtime.
#[test]
fn an_ordinary_threads_go_gets_a_turn() {
    for procs in [1, 2] {
        at_procs(procs, || {
            let _hogs = Hogs::start(procs);
            let starts = runtime::blocking(|| {
                let thread = std::thread::spawn(|| {
                    (0..20).map(|i| go(move || i).join().expect("it ran")).sum::<u32>()
                });
                thread.join().expect("the thread")
            });
            assert_eq!(starts, 190);
        });
    }
}
