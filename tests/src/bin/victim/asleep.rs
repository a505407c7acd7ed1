//! All goroutines asleep.

use goroutines::sync::{Semaphore, singleflight::Group};
use goroutines::{WaitGroup, go, run, runtime, thread};
use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

#[inline(never)]
fn waits_for_a_group(wg: &WaitGroup) {
    wg.wait();
    std::hint::black_box(());
}

#[inline(never)]
fn parks_for_ever() {
    loop {
        thread::park();
    }
}

/// A group with one too many.
fn never() -> WaitGroup {
    let wg = WaitGroup::new();
    wg.add(1);
    wg
}

pub(crate) fn wait_group() {
    run(|| waits_for_a_group(&never()));
}

pub(crate) fn many_wait() {
    run(|| {
        for _ in 0..3 {
            go(|| waits_for_a_group(&never()));
        }
        let named = thread::Builder::new().name("parker".into());
        drop(named.spawn(parks_for_ever).unwrap());
        waits_for_a_group(&never());
    });
}

#[inline(never)]
fn joins_another(receive: &mpsc::Receiver<goroutines::JoinHandle<()>>) {
    receive.recv().unwrap().join().unwrap();
}

/// Goroutines 2 and 3 join each other; main waits for neither.
pub(crate) fn join_cycle() {
    run(|| {
        let (send_to_2, receive_in_2) = mpsc::channel();
        let (send_to_3, receive_in_3) = mpsc::channel();
        send_to_3.send(go(move || joins_another(&receive_in_2))).unwrap();
        send_to_2.send(go(move || joins_another(&receive_in_3))).unwrap();
        parks_for_ever();
    });
}

#[inline(never)]
fn waits_for_permits(n: u64) {
    Semaphore::new(n - 1).acquire(n).forget();
}

/// One has given up by then.
pub(crate) fn semaphore() {
    run(|| {
        assert!(Semaphore::new(1).acquire_timeout(2, Duration::from_millis(20)).is_none());
        go(|| waits_for_permits(4));
        waits_for_permits(1);
    });
}

#[inline(never)]
fn wants_its_own_key(group: &Group<u32, u32>) -> u32 {
    group.work(&1, || group.work(&1, || 2).value).value
}

pub(crate) fn singleflight() {
    run(|| println!("{}", wants_its_own_key(&Group::new())));
}

pub(crate) fn park() {
    run(parks_for_ever);
}

#[inline(never)]
fn waits_in_a_scope() {
    thread::scope(|s| {
        s.spawn(parks_for_ever);
    });
    std::hint::black_box(());
}

pub(crate) fn scope() {
    run(waits_in_a_scope);
}

/// Go: `SimpleDeadlock` (runtime/testdata/testprog/deadlock.go, BSD-3-Clause).
pub(crate) fn block_forever() {
    run(|| runtime::block_forever());
}

/// Go: `LockedDeadlock`.
pub(crate) fn locked_main() {
    run(|| {
        let _locked = runtime::lock_os_thread();
        waits_for_a_group(&never());
    });
}

/// Go: `LockedDeadlock2`.
pub(crate) fn locked_goroutine() {
    run(|| {
        go(|| {
            let _locked = runtime::lock_os_thread();
            parks_for_ever();
        });
        thread::sleep(Duration::from_millis(1));
        waits_for_a_group(&never());
    });
}

pub(crate) fn goexit_alone() {
    run(|| runtime::goexit());
}

/// Go: `GoexitDeadlock`.
pub(crate) fn goexit_others_end() {
    run(|| {
        for _ in 0..2 {
            go(|| {
                (0..10).for_each(|i| {
                    std::hint::black_box(i);
                });
            });
        }
        runtime::goexit();
    });
}

/// Go: `GoexitExit`, without its finalizer.
pub(crate) fn goexit_others_sleep() {
    run(|| {
        go(|| {
            thread::sleep(Duration::from_millis(100));
            println!("slept");
        });
        runtime::goexit();
    });
}

pub(crate) fn goexit_others_wait() {
    run(|| {
        go(parks_for_ever);
        runtime::goexit();
    });
}

/// Go: `RecoverBeforePanicAfterGoexit`, as far as Rust has that.
pub(crate) fn goexit_after_a_caught_panic() {
    run(|| {
        assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
        runtime::goexit();
    });
}

pub(crate) fn after_blocking() {
    run(|| {
        let wg = never();
        go(|| runtime::blocking(|| std::thread::sleep(Duration::from_millis(300))));
        waits_for_a_group(&wg);
    });
}

pub(crate) fn after_an_unannounced_sleep() {
    run(|| {
        let wg = never();
        go(|| goroutines_tests::raw::sleep(std::time::Duration::from_millis(300)));
        waits_for_a_group(&wg);
    });
}

/// A thread that could have ended the wait, and does not.
pub(crate) fn after_a_thread_ended() {
    run(|| {
        std::thread::spawn(|| std::thread::sleep(Duration::from_millis(300)));
        waits_for_a_group(&never());
    });
}

extern "C" fn parks_in_a_handler(_: libc::c_int) {
    // As long as there is a handler, a goroutine may be woken by it. SAFETY: no memory is involved.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_DFL) };
    parks_for_ever();
}

#[inline(never)]
fn is_interrupted() {
    // SAFETY: a handler of the right type; it is called here and now, in no library's midst.
    unsafe {
        libc::signal(libc::SIGUSR1, parks_in_a_handler as *const () as libc::sighandler_t);
        libc::raise(libc::SIGUSR1);
    }
    std::hint::black_box(());
}

/// The dump has to cross a signal frame.
pub(crate) fn in_a_signal_handler() {
    run(|| go(is_interrupted).join().unwrap());
}

pub(crate) fn stdout_is_flushed() {
    run(|| {
        print!("no newline after this");
        waits_for_a_group(&never());
    });
}

/// Standard output can't be flushed then, and that must not hang.
pub(crate) fn output_lock_is_held() {
    run(|| {
        let mut out = std::io::stdout().lock();
        write!(out, "half a line").unwrap();
        waits_for_a_group(&never());
    });
}

pub(crate) fn allocator_lock_is_held() {
    run(|| {
        let never = never();
        goroutines_tests::alloc::seize();
        waits_for_a_group(&never);
    });
}
