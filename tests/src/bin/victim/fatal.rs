//! Panics, overflows, limits, misuse, and main's end.

use goroutines::runtime::{Builder, PanicPolicy, blocking};
use goroutines::{WaitGroup, go, run, runtime, thread};
use goroutines_tests::raw;
use std::io::Read;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) fn panic_stays() {
    run(|| {
        let payload = go(|| panic!("this one only")).join().unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "this one only");
        assert_eq!(go(|| 5).join().unwrap(), 5);
        // Nobody joins this one; main goes on all the same.
        let wg = WaitGroup::new();
        wg.go(|| panic!("nobody joins this"));
        wg.wait();
        println!("main goes on");
    });
}

fn crashing() -> Builder {
    Builder::new().panic(PanicPolicy::Crash)
}

pub(crate) fn panic_crashes() {
    crashing().run(|| {
        print!("flushed");
        let _ = go(|| panic!("takes the process with it")).join();
        println!("not reached");
    });
}

pub(crate) fn panic_crashes_text() {
    crashing().run(|| {
        let _ = go(|| panic!("number {}", std::hint::black_box(7))).join();
        println!("not reached");
    });
}

pub(crate) fn panic_crashes_in_main() {
    crashing().run(|| panic!("in main"));
}

pub(crate) fn panic_in_main() {
    run(|| panic!("in main"));
}

pub(crate) fn caught_panic_does_not_crash() {
    crashing().run(|| {
        go(|| assert!(std::panic::catch_unwind(|| panic!("caught")).is_err())).join().unwrap();
        // Nor does the end by goexit.
        assert!(go(|| runtime::goexit()).join().is_err());
    });
}

/// Uses up the stack.
#[inline(never)]
#[expect(unconditional_recursion, reason = "that is its purpose")]
fn recurses(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 32]);
    recurses(depth + 1) + frame[7]
}

pub(crate) fn overflow() {
    run(|| go(|| recurses(0)).join().unwrap());
}

pub(crate) fn overflow_small() {
    run(|| {
        let small = thread::Builder::new().name("small".into()).stack_size(64 << 10);
        small.spawn(|| recurses(0)).unwrap().join().unwrap()
    });
}

pub(crate) fn overflow_default_size() {
    Builder::new().stack_size(2 << 20).run(|| go(|| recurses(0)).join().unwrap());
}

pub(crate) fn overflow_main() {
    run(|| recurses(0));
}

pub(crate) fn overflow_main_size() {
    Builder::new().main_stack_size(128 << 10).run(|| recurses(0));
}

/// An ordinary thread's overflow is std's to report.
pub(crate) fn overflow_thread() {
    run(|| {
        let deep = std::thread::Builder::new().name("deep".into());
        deep.spawn(|| recurses(0)).unwrap().join().unwrap()
    });
}

pub(crate) fn bad_access() {
    run(|| {
        // SAFETY: none: the fault is what is wanted.
        go(|| unsafe { std::hint::black_box(16 as *const u8).read_volatile() }).join().unwrap()
    });
}

/// Go: `ThreadExhaustion` (runtime/crash_test.go, BSD-3-Clause).
pub(crate) fn thread_limit() {
    Builder::new().max_threads(20).run(|| {
        let wg = WaitGroup::new();
        for _ in 0..40 {
            wg.go(|| blocking(|| raw::sleep(Duration::from_secs(20))));
        }
        wg.wait();
    });
}

/// The system makes one thread, which is the monitor's. (The limit does not hold for root.)
pub(crate) fn no_threads() {
    const NOBODY_ELSE: u32 = 61_234;
    // SAFETY: no memory is involved but the limit; there is one thread.
    unsafe {
        let two = libc::rlimit { rlim_cur: 2, rlim_max: 2 };
        libc::setrlimit(libc::RLIMIT_NPROC, &raw const two);
        if libc::setuid(NOBODY_ELSE) != 0 {
            println!("not root");
            return;
        }
    }
    run(|| println!("a thread was made"));
}

pub(crate) fn no_addresses() {
    let limit = libc::rlimit { rlim_cur: 50_000_000, rlim_max: 50_000_000 };
    // SAFETY: a limit to read.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    run(|| println!("there was room"));
}

pub(crate) fn negative_counter() {
    run(|| {
        let wg = WaitGroup::new();
        wg.add(1);
        wg.done();
        let too_many = wg.clone();
        let payload = go(move || too_many.done()).join().unwrap_err();
        println!("{}", payload.downcast::<&str>().unwrap());
        let add = std::panic::AssertUnwindSafe(|| wg.add(-3));
        let payload = std::panic::catch_unwind(add).unwrap_err();
        println!("{}", payload.downcast::<&str>().unwrap());
        // It is as it was.
        wg.wait();
        wg.go(|| println!("still usable"));
        wg.wait();
    });
}

pub(crate) fn pthread_exit() {
    run(|| {
        // SAFETY: misuse, which must be reported.
        go(|| unsafe { libc::pthread_exit(std::ptr::null_mut()) }).join().unwrap();
    });
}

pub(crate) fn exit_in_goroutine() {
    run(|| {
        go(|| {
            print!("flushed");
            std::process::exit(7);
        });
        thread::park();
    });
}

pub(crate) fn killed() {
    run(|| {
        // SAFETY: no memory is involved.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
        thread::park();
    });
}

/// One goroutine in each state that main's end has to ignore.
fn others() {
    let begun = Arc::new(AtomicU32::new(0));
    let lock = Arc::new(Mutex::new(()));
    let (reader, writer) = std::io::pipe().unwrap();
    let start = |f: Box<dyn FnOnce() + Send>| {
        let begun = Arc::clone(&begun);
        go(move || {
            begun.fetch_add(1, Ordering::Relaxed);
            f();
        });
    };
    let held = Arc::clone(&lock);
    start(Box::new(move || {
        let _held = held.lock();
        thread::park();
    }));
    start(Box::new(move || drop(lock.lock())));
    start(Box::new(|| {
        loop {
            std::hint::spin_loop();
        }
    }));
    start(Box::new(|| std::thread::sleep(Duration::from_secs(30))));
    start(Box::new(|| blocking(|| std::thread::sleep(Duration::from_secs(30)))));
    start(Box::new(move || {
        let mut reader = reader;
        let _ = reader.read(&mut [0]);
    }));
    start(Box::new(|| {
        let _locked = runtime::lock_os_thread();
        thread::park();
    }));
    while begun.load(Ordering::Relaxed) < 7 {
        runtime::gosched();
    }
    let _stays_open = writer.into_raw_fd();
    print!("flushed");
}

/// The last of the program, in a frame of its own.
#[goroutines::main]
pub(crate) fn main_returns() {
    others();
}

pub(crate) fn main_returns_from_run() {
    run(others);
}
