//! The runtime's helper threads depend on nothing of the program's: they run none of its handlers, and are never in its
//! allocator, whose lock a goroutine may hold that they are to see to.

use goroutines::{WaitGroup, go, runtime, thread};
use goroutines_tests::alloc;
use goroutines_tests::io::ms;
use goroutines_tests::proc::{Hogs, in_child};
use goroutines_tests::raw;
use std::hint::black_box;
use std::io::{Read, pipe};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What the handler writes to, how often it has run, and how often it could not write.
static PIPE: AtomicI32 = AtomicI32::new(-1);
static RUNS: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicUsize = AtomicUsize::new(0);
/// How often it has run on a helper.
static ON_HELPER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn tells(_: libc::c_int) {
    RUNS.fetch_add(1, Ordering::Relaxed);
    if goroutines::__may_not_allocate() {
        ON_HELPER.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: a byte to read.
    if unsafe { libc::write(PIPE.load(Ordering::Relaxed), c"x".as_ptr().cast(), 1) } != 1 {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Blocks its thread until something can be read, and does not announce that.
fn blocks_in(fd: i32) {
    let mut byte = 0u8;
    let args = [fd as usize, &raw mut byte as usize, 1, 0, 0, 0];
    // SAFETY: a byte to write.
    unsafe { raw::call(libc::SYS_read, args) };
}

/// Sends `count` signals in bursts, none of which the kernel merges with another.
fn signals(count: usize) {
    let numbers = libc::SIGRTMIN() + 1..libc::SIGRTMIN() + 7;
    for (sent, number) in (0..count).zip(numbers.cycle()) {
        // SAFETY: no memory is involved.
        while unsafe { libc::kill(libc::getpid(), number) } != 0 {
            sleep(ms(1)); // too many are queued
        }
        if sent % 500 == 499 {
            let start = Instant::now();
            while RUNS.load(Ordering::Relaxed) <= sent && start.elapsed() < ms(10_000) {
                sleep(Duration::from_micros(100));
            }
        }
    }
}

/// A hundred thousand signals whose handler writes to a pipe, beside goroutines that block and that compute: all are
/// told, and none on a thread of the runtime's own.
#[test]
fn signals_of_a_self_pipe() {
    const COUNT: usize = 100_000;
    for procs in ["1", "2", "4"] {
        let child = in_child("signals_of_a_self_pipe", &[("GOMAXPROCS", procs)], || {
            for number in libc::SIGRTMIN() + 1..libc::SIGRTMIN() + 7 {
                // SAFETY: a handler of the right type.
                unsafe { libc::signal(number, tells as *const () as usize) };
            }
            goroutines::run(|| {
                let (mut told, tell) = pipe().unwrap();
                PIPE.store(tell.into_raw_fd(), Ordering::Relaxed);
                let reader = go(move || {
                    let (mut seen, mut bytes) = (0, [0; 4096]);
                    while seen < COUNT {
                        seen += told.read(&mut bytes).unwrap();
                    }
                });
                let (never, _open) = pipe().unwrap();
                let fd = never.as_raw_fd();
                (0..3).for_each(|_| drop(go(move || blocks_in(fd))));
                let _hogs = Hogs::start(2);
                sleep(ms(100)); // the onlooker is there by now
                let from = std::thread::spawn(|| signals(COUNT));
                go(|| from.join().unwrap()).join().unwrap();
                println!("sent, and {} runs", RUNS.load(Ordering::Relaxed));
                assert_eq!(LOST.load(Ordering::Relaxed), 0, "a handler could not write");
                assert_eq!(ON_HELPER.load(Ordering::Relaxed), 0, "a handler ran on a helper");
                reader.join().unwrap();
                assert_eq!(RUNS.load(Ordering::Relaxed), COUNT);
                println!("all told");
                std::process::exit(0);
            });
        });
        child.expect_clean();
        assert!(child.text().contains("all told"), "{child}");
    }
}

/// The program's allocator has a spin lock, and goroutines that allocate are descheduled with it. A helper that waited for
/// it would wait for them, and they for the helper.
#[test]
fn an_allocator_with_a_spin_lock() {
    for procs in ["1", "2", "4"] {
        let child = in_child("an_allocator_with_a_spin_lock", &[("GOMAXPROCS", procs)], || {
            // (Who spins does so for a slice.)
            runtime::Builder::new().time_slice(ms(1)).run(|| {
                static TURNS: AtomicU32 = AtomicU32::new(0);
                // Their stacks are what the scavenger is for.
                let many: Vec<_> = (0..300).map(|_| go(|| sleep(ms(50)))).collect();
                many.into_iter().for_each(|one| one.join().unwrap());
                alloc::spin_lock(100);
                for i in 0..4 {
                    drop(go(move || {
                        for n in 0u64.. {
                            drop(black_box(Vec::<u8>::with_capacity(10 + i)));
                            TURNS.fetch_add(1, Ordering::Relaxed);
                            if n % 1000 == 0 {
                                sleep(Duration::from_micros(50));
                            }
                        }
                    }));
                }
                let start = Instant::now();
                while start.elapsed() < ms(2_500) {
                    let all: Vec<_> =
                        (0..10).map(|_| go(|| (vec![1u8; 1000].len(), sleep(ms(1))).0)).collect();
                    all.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), 1000));
                }
                println!("{} turns", TURNS.load(Ordering::Relaxed));
                alloc::spin_lock(0);
                std::process::exit(0);
            });
        });
        child.expect_status(0);
        assert!(child.text().contains(" turns"), "{child}");
    }
}

/// `pthread_create` of the runtime's and the like, while goroutines block in ways that are not announced: what the
/// allocator of these tests looks for in all of them, in the thick of it.
#[test]
fn threads_are_made_without_the_program() {
    let child = in_child("threads_are_made_without_the_program", &[], || {
        goroutines::run(|| {
            let wg = WaitGroup::new();
            for _ in 0..50 {
                wg.go(|| raw::sleep(ms(30)));
                wg.go(|| runtime::blocking(|| raw::sleep(ms(30))));
            }
            wg.wait();
            println!("all ended");
        });
    });
    child.expect_clean();
    assert!(child.text().contains("all ended"), "{child}");
}

/// What the monitor has used: nanoseconds of CPU time, and how often it has gone to sleep.
fn monitor() -> (u64, u64) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").expect("a directory");
    let own = tasks
        .filter_map(|task| Some(task.ok()?.path().to_str()?.to_owned()))
        .find(|task| read(&format!("{task}/comm")).trim() == "sysmon")
        .expect("a monitor");
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).expect("a number");
    let used = read(&format!("{own}/schedstat"));
    let status = read(&format!("{own}/status"));
    let slept = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    (number(used.split(' ').next()), number(slept.map(str::trim)))
}

/// What a look of the monitor's costs, in nanoseconds, for a second and some.
fn look() -> u64 {
    let (used, slept) = monitor();
    sleep(ms(1_500));
    let (used_then, slept_then) = monitor();
    (used_then - used) / (slept_then - slept).max(1)
}

/// Where many goroutines block in ways that are not announced, a look of the monitor's costs what it costs where a few
/// do. One of them that computes when it comes back is stopped all the same.
#[test]
fn many_that_block() {
    const FEW: usize = 50;
    const MANY: usize = 1_500;
    let child = in_child("many_that_block", &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            let (reads, writes) = pipe().unwrap_or_else(|e| panic!("{e}"));
            let (fd, _writes) = (reads.into_raw_fd(), writes.into_raw_fd());
            static BLOCKED: AtomicUsize = AtomicUsize::new(0);
            let block = |count: usize| {
                for _ in 0..count {
                    drop(go(move || {
                        BLOCKED.fetch_add(1, Ordering::Relaxed);
                        blocks_in(fd);
                    }));
                }
                let start = Instant::now();
                while BLOCKED.load(Ordering::Relaxed) < count && start.elapsed() < ms(30_000) {
                    sleep(ms(20));
                }
            };
            block(FEW);
            let hogs = Hogs::start(4);
            let few = look();
            drop(hogs);
            block(MANY);
            let hogs = Hogs::start(4);
            let many = look();
            drop(hogs);
            println!("a look: {few} ns with {FEW}, {many} ns with {}", FEW + MANY);
            assert!(many < 4 * few + 40_000, "{few} ns, {many} ns");
            std::process::exit(0);
        });
    });
    child.expect_status(0);
    println!("{}", child.text());
}

/// A goroutine with a name has the id that its handle has, from its first instruction on.
#[test]
fn a_named_goroutine_knows_its_id() {
    let child = in_child("a_named_goroutine_knows_its_id", &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            for _ in 0..30_000 {
                let named = thread::Builder::new().name("x".into());
                let handle = named.spawn(|| thread::current().id()).unwrap();
                let outside = handle.thread().id();
                assert_eq!(handle.join().unwrap(), outside);
            }
        });
    });
    child.expect_clean();
}
