//! jemalloc as the program's allocator. Goroutines are preempted in it, as it is not libc's code; its handlers of
//! `fork` take all of its locks.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{go, runtime};
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A body that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(100);

/// Runs `body` at `GOMAXPROCS` 1, 2 and 4, with short slices. One test at a time: the runtime is the process's.
fn at_each(body: impl Fn() + Sync) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Started by the first test.
    let _ = runtime::Builder::new().time_slice(Duration::from_micros(100)).start();
    for procs in [1, 2, 4] {
        let (_done, waits) = mpsc::channel::<()>();
        let watch = move || {
            if waits.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                // What is written must not need the allocator.
                let text = b"hangs\n";
                // SAFETY: bytes to read.
                unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
                std::process::abort();
            }
        };
        std::thread::spawn(watch);
        runtime::gomaxprocs(procs);
        goroutines::run(&body);
    }
}

/// Allocates and frees, small and large.
fn allocate(round: usize) {
    let mut all = Vec::new();
    for i in 0..20 {
        all.push(black_box(vec![i as u8; 1 << ((i + round) % 18)]));
    }
    drop(black_box(all));
}

/// Goroutines that allocate until the end of `body`.
fn beside_allocators(body: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let allocators: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            go(move || (0..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(allocate))
        })
        .collect();
    body();
    stop.store(true, Ordering::Relaxed);
    allocators.into_iter().for_each(|one| one.join().unwrap());
}

/// As `Command` does it that is to call something before `exec`.
#[test]
fn children_beside_allocators() {
    at_each(|| {
        beside_allocators(|| {
            let make = || {
                for _ in 0..10 {
                    let mut command = Command::new("true");
                    // SAFETY: nothing is done in the child.
                    unsafe { command.pre_exec(|| Ok(())) };
                    assert!(command.status().unwrap().success());
                }
            };
            let all: Vec<_> = (0..4).map(|_| go(make)).collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
    });
}

/// The child allocates, and makes threads that do.
#[test]
fn children_that_allocate() {
    at_each(|| {
        beside_allocators(|| {
            for _ in 0..10 {
                // SAFETY: the child ends with `_exit`.
                unsafe {
                    let pid = libc::fork();
                    if pid == 0 {
                        libc::alarm(20);
                        (0..10).for_each(allocate);
                        let others: Vec<_> =
                            (0..4).map(|i| std::thread::spawn(move || allocate(i))).collect();
                        let well = others.into_iter().all(|other| other.join().is_ok());
                        libc::_exit(i32::from(!well));
                    }
                    let mut status = -1;
                    assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                    assert_eq!(status, 0);
                }
            }
        });
    });
}

/// Many that are parked, each with memory of its own, beside some that allocate.
#[test]
fn many_are_parked() {
    const N: usize = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
    at_each(|| {
        beside_allocators(|| {
            let begun = Instant::now();
            let gate = Arc::new(goroutines::WaitGroup::new());
            gate.add(1);
            let all: Vec<_> = (0..N)
                .map(|i| {
                    let gate = Arc::clone(&gate);
                    go(move || {
                        let own = black_box(vec![i; 8]);
                        gate.wait();
                        own[3]
                    })
                })
                .collect();
            gate.done();
            let sum: usize = all.into_iter().map(|one| one.join().unwrap()).sum();
            assert_eq!(sum, N * (N - 1) / 2);
            println!("{N} in {:?}", begun.elapsed());
        });
    });
}
