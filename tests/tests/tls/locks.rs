//! std's locks, and libc's, held across yields.

use goroutines::go;
use goroutines::thread::yield_now;
use goroutines_tests::{join_all, on_procs, run_to_end, work};
use std::cell::UnsafeCell;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock, mpsc};

/// At `GOMAXPROCS=1` too: those who wait block their threads, unannounced, and the processor must be
/// taken from each.
#[test]
fn a_mutex_held_across_a_yield_and_wanted_by_ten() {
    on_procs("a_mutex_held_across_a_yield_and_wanted_by_ten", |_| {
        let lock = Arc::new(Mutex::new(0u32));
        let begun = Arc::new(AtomicU32::new(0));
        let mut held = lock.lock().unwrap();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let (lock, begun) = (Arc::clone(&lock), Arc::clone(&begun));
                go(move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    let mut count = lock.lock().unwrap();
                    let before = *count;
                    yield_now();
                    work(1);
                    *count = before + 1;
                })
            })
            .collect();
        while begun.load(Ordering::Relaxed) < 10 {
            yield_now();
        }
        assert_eq!(*held, 0, "somebody had the lock beside us");
        *held = 100;
        drop(held);
        join_all(waiters);
        assert_eq!(*lock.lock().unwrap(), 110);
    });
}

#[test]
fn readers_writers_and_a_condition() {
    on_procs("readers_writers_and_a_condition", |_| {
        let shared = Arc::new((RwLock::new((0u64, 0u64)), Mutex::new(0u32), Condvar::new()));
        let writers = (0..4).map(|_| {
            let shared = Arc::clone(&shared);
            go(move || {
                for _ in 0..10 {
                    let mut pair = shared.0.write().unwrap();
                    pair.0 += 1;
                    yield_now();
                    pair.1 += 1;
                    drop(pair);
                }
                *shared.1.lock().unwrap() += 1;
                shared.2.notify_all();
            })
        });
        let writers: Vec<_> = writers.collect();
        let readers = (0..4).map(|_| {
            let shared = Arc::clone(&shared);
            go(move || {
                for _ in 0..10 {
                    let pair = shared.0.read().unwrap();
                    yield_now();
                    assert_eq!(pair.0, pair.1, "a reader beside a writer");
                }
            })
        });
        join_all(readers.collect::<Vec<_>>());
        let ended = shared.1.lock().unwrap();
        let ended = shared.2.wait_while(ended, |n| *n < 4).unwrap();
        assert_eq!(*ended, 4);
        drop(ended);
        join_all(writers);
        assert_eq!(*shared.0.read().unwrap(), (40, 40));
    });
}

#[test]
fn a_rendezvous_over_std_channels() {
    on_procs("a_rendezvous_over_std_channels", |_| {
        let (send_there, there) = mpsc::sync_channel(0);
        let (send_back, back) = mpsc::sync_channel(0);
        let echo = go(move || {
            for n in there {
                send_back.send(n + 1).unwrap();
            }
        });
        for n in 0..30 {
            send_there.send(n).unwrap();
            assert_eq!(back.recv().unwrap(), n + 1);
        }
        drop(send_there);
        echo.join().unwrap();
    });
}

/// A recursive lock of glibc knows its owner by thread id: were it the OS thread's, another goroutine
/// there would be let in.
#[test]
fn a_recursive_lock_lets_only_its_goroutine_in() {
    struct Recursive(UnsafeCell<libc::pthread_mutex_t>);
    // SAFETY: a mutex is made to be used from many threads.
    unsafe impl Sync for Recursive {}
    // SAFETY: as above; it is not moved while in use.
    unsafe impl Send for Recursive {}
    fn make() -> Arc<Recursive> {
        let mut attr = MaybeUninit::uninit();
        let mutex = Arc::new(Recursive(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        // SAFETY: the attribute is initialised first; nobody else has the mutex yet.
        unsafe {
            libc::pthread_mutexattr_init(attr.as_mut_ptr());
            libc::pthread_mutexattr_settype(attr.as_mut_ptr(), libc::PTHREAD_MUTEX_RECURSIVE);
            libc::pthread_mutex_init(mutex.0.get(), attr.as_ptr());
        }
        mutex
    }
    on_procs("a_recursive_lock_lets_only_its_goroutine_in", |_| {
        let mutex = make();
        // SAFETY: an initialised mutex, shared by the Arc.
        let lock = |m: &Recursive| unsafe { libc::pthread_mutex_lock(m.0.get()) };
        // SAFETY: as above.
        let try_lock = |m: &Recursive| unsafe { libc::pthread_mutex_trylock(m.0.get()) };
        // SAFETY: as above.
        let unlock = |m: &Recursive| unsafe { libc::pthread_mutex_unlock(m.0.get()) };
        for _ in 0..10 {
            assert_eq!(lock(&mutex), 0);
            yield_now();
            assert_eq!(lock(&mutex), 0, "recursively, maybe on another OS thread");
            let others = (0..4).map(|_| {
                let mutex = Arc::clone(&mutex);
                go(move || try_lock(&mutex))
            });
            assert_eq!(join_all(others.collect::<Vec<_>>()), [libc::EBUSY; 4]);
            assert_eq!(unlock(&mutex), 0);
            yield_now();
            assert_eq!(unlock(&mutex), 0);
            let other = Arc::clone(&mutex);
            let free = go(move || (try_lock(&other), unlock(&other)));
            assert_eq!(free.join().unwrap(), (0, 0));
        }
    });
}

/// std's stdout has a re-entrant lock, whose owner is a thread.
#[test]
fn lines_printed_under_a_lock_held_across_yields_stay_whole() {
    for procs in ["1", "4"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
        let ended = run_to_end(command.arg("stdout_lock").env("GOMAXPROCS", procs));
        ended.expect_clean();
        let text = ended.text();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines {
            let mut words = line.split(' ');
            let first = words.next().unwrap();
            assert!(words.clone().count() == 4 && words.all(|word| word == first), "{line:?}");
        }
        assert_eq!(lines.len(), 8 * 20);
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), 8);
    }
}
