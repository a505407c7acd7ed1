//! jemalloc as the program's allocator. Goroutines are preempted in it, as it is not libc's code; its handlers of
//! `fork` take all of its locks. `SOAK_SECONDS`, `PARKED` and `PROCS` make a long run of the last test
//! (`cargo xtask soak`).

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{go, runtime};
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A body that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(100);

/// What the environment says, or `usual`.
fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |value| value.parse().unwrap())
}

/// How long the last test goes on at each `GOMAXPROCS`, after its first children.
fn soak() -> Duration {
    Duration::from_secs(setting("SOAK_SECONDS", 0) as u64)
}

/// Runs `body` at `GOMAXPROCS` 1, 2 and 4, or as `PROCS` says, with short slices. One test at a time: the runtime is
/// the process's.
fn at_each(body: impl Fn() + Sync) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Started by the first test.
    let _ = runtime::Builder::new().time_slice(Duration::from_micros(100)).start();
    let procs = std::env::var("PROCS").unwrap_or_else(|_| "1,2,4".into());
    for procs in procs.split(',').map(|procs| procs.parse().unwrap()) {
        let (_done, waits) = mpsc::channel::<()>();
        let watch = move || {
            if waits.recv_timeout(LIMIT + soak()) == Err(mpsc::RecvTimeoutError::Timeout) {
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
            let make = || (0..10).for_each(|_| child_that_runs_true());
            let all: Vec<_> = (0..4).map(|_| go(make)).collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
    });
}

fn child_that_runs_true() {
    let mut command = Command::new("true");
    // SAFETY: nothing is done in the child.
    unsafe { command.pre_exec(|| Ok(())) };
    assert!(command.status().unwrap().success());
}

/// The child allocates, and makes threads that do.
#[test]
fn children_that_allocate() {
    at_each(|| {
        beside_allocators(|| {
            (0..10).for_each(|_| child_that_allocates());
        });
    });
}

fn child_that_allocates() {
    // SAFETY: the child ends with `_exit`.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::alarm(60);
            (0..10).for_each(allocate);
            let others: Vec<_> = (0..4).map(|i| std::thread::spawn(move || allocate(i))).collect();
            let well = others.into_iter().all(|other| other.join().is_ok());
            libc::_exit(i32::from(!well));
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
        assert_eq!(status, 0);
    }
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

/// All of it at once: children are made beside many that are parked and some that allocate.
#[test]
fn children_beside_many_that_are_parked() {
    let n = setting("PARKED", if cfg!(debug_assertions) { 500 } else { 5_000 });
    at_each(|| {
        let gate = Arc::new(goroutines::WaitGroup::new());
        gate.add(1);
        let park = |i: usize| {
            let gate = Arc::clone(&gate);
            go(move || {
                let own = black_box(vec![i; 8]);
                gate.wait();
                own[3]
            })
        };
        let parked: Vec<_> = (0..n).map(park).collect();
        let children = Arc::new(AtomicUsize::new(0));
        let begun = Instant::now();
        beside_allocators(|| {
            let make = || {
                let children = Arc::clone(&children);
                move || loop {
                    child_that_allocates();
                    child_that_runs_true();
                    let made = children.fetch_add(2, Ordering::Relaxed) + 2;
                    if made % 1_000 < 2 {
                        println!("{made} children after {:?}", begun.elapsed());
                    }
                    if begun.elapsed() >= soak() {
                        break;
                    }
                }
            };
            let makers: Vec<_> = (0..4).map(|_| go(make())).collect();
            makers.into_iter().for_each(|one| one.join().unwrap());
        });
        gate.done();
        let sum: usize = parked.into_iter().map(|one| one.join().unwrap()).sum();
        assert_eq!(sum, n * (n - 1) / 2);
        println!("{n} parked, {children:?} children in {:?}", begun.elapsed());
    });
}
