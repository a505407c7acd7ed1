//! Computing on another stack than the goroutine's own: coroutines, and stacks that grow. Slices end there, too.

use crate::harness::{nothing, on_procs};
use corosensei::Coroutine;
use goroutines::go;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Computes until `stop`, for ten seconds at most; in its own text, not libc's.
fn burn(stop: &AtomicBool, count: &AtomicU64) {
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(10) {
        for _ in 0..1000 {
            std::hint::spin_loop();
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn in_coroutine(stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |_, ()| burn(&stop, &count));
    coroutine.resume(());
}

fn on_grown_stack(stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    stacker::grow(1 << 20, || burn(&stop, &count));
}

/// More of them than processors: each gets on, and a goroutine that sleeps is not late by what they
/// take.
fn share(body: fn(Arc<AtomicBool>, Arc<AtomicU64>)) {
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<_> = (0..5).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let all: Vec<_> = counts
        .iter()
        .map(|count| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(count));
            go(move || body(stop, count))
        })
        .collect();
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    let slept = start.elapsed();
    std::thread::sleep(Duration::from_millis(500));
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    let counted: Vec<_> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    stop.store(true, Ordering::Relaxed);
    all.into_iter().for_each(|one| one.join().unwrap());
    assert!(slept < Duration::from_secs(2), "20 ms took {slept:?}");
    assert!(counted.iter().all(|count| *count > 0), "not all got on: {counted:?}");
    // Preempted, they need no thread each.
    assert!(threads < 40, "{threads} threads");
}

#[test]
fn coroutines_that_compute_share_processors() {
    on_procs("coroutines_that_compute", nothing, |(), _| share(in_coroutine));
}

#[test]
fn grown_stacks_that_compute_share_processors() {
    on_procs("grown_stacks_that_compute", nothing, |(), _| share(on_grown_stack));
}
