//! Between goroutines, ordinary threads, futures, C's locks and signal handlers: each wakes the other, and no
//! wake-up is lost.

use goroutines::{WaitGroup, block_on, go};
use goroutines_tests::proc::at_procs;
use std::cell::UnsafeCell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::task::Poll;
use std::thread as os;
use std::time::Duration;

const PROCS: [usize; 3] = [1, 2, 4];

/// Runs `f` on `n` goroutines and `n` ordinary threads at once.
fn on_both(n: usize, f: impl Fn(usize) + Sync) {
    os::scope(|threads| {
        let workers: Vec<_> = (0..n)
            .map(|i| {
                threads.spawn({
                    let f = &f;
                    move || f(i)
                })
            })
            .collect();
        goroutines::thread::scope(|goroutines| {
            for i in n..2 * n {
                let f = &f;
                goroutines.spawn(move || f(i));
            }
        });
        workers.into_iter().for_each(|worker| worker.join().expect("it counts"));
    });
}

#[test]
fn stds_locks_between_goroutines_and_threads() {
    for procs in PROCS {
        at_procs(procs, || {
            let (mutex, rwlock) = (Mutex::new(0), RwLock::new(0));
            on_both(4, |i| {
                for n in 0..500 {
                    *mutex.lock().expect("a mutex") += 1;
                    if n % 4 == i % 4 {
                        *rwlock.write().expect("a lock") += 1;
                    } else {
                        let _ = *rwlock.read().expect("a lock");
                    }
                    if n % 50 == 0 {
                        os::yield_now();
                    }
                }
            });
            assert_eq!(*mutex.lock().expect("a mutex"), 4_000);
            assert_eq!(*rwlock.read().expect("a lock"), 1_000);
        });
    }
}

/// A turn passes round goroutines and threads, by one condition variable that all wait for.
#[test]
fn a_condition_between_goroutines_and_threads() {
    for procs in PROCS {
        at_procs(procs, || {
            let (turn, changed) = (Mutex::new(0), Condvar::new());
            on_both(3, |i| {
                for round in 0..60 {
                    let mut now = turn.lock().expect("a mutex");
                    while *now != round * 6 + i {
                        now = changed.wait(now).expect("a mutex");
                    }
                    *now += 1;
                    changed.notify_all();
                }
            });
            assert_eq!(*turn.lock().expect("a mutex"), 360);
        });
    }
}

#[test]
fn channels_parking_and_barriers_between_goroutines_and_threads() {
    for procs in PROCS {
        at_procs(procs, || {
            let (send, receive) = mpsc::sync_channel(1);
            let receive = Mutex::new(receive);
            let sum = AtomicUsize::new(0);
            let meet = Barrier::new(6);
            on_both(3, |i| {
                let send = send.clone();
                for n in 0..200 {
                    send.send(n).expect("somebody receives");
                    let got = receive.lock().expect("a mutex").recv().expect("somebody sends");
                    sum.fetch_add(got, Ordering::Relaxed);
                    if n % 40 == i {
                        os::park_timeout(Duration::from_micros(50));
                    }
                }
                meet.wait();
            });
            assert_eq!(sum.load(Ordering::Relaxed), 6 * (199 * 200 / 2));
        });
    }
}

/// C's mutex, condition variable and semaphore.
struct OfC {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    cond: UnsafeCell<libc::pthread_cond_t>,
    semaphore: UnsafeCell<libc::sem_t>,
    count: UnsafeCell<usize>,
}

// SAFETY: libc's objects are for several threads; the count is behind the mutex.
unsafe impl Sync for OfC {}

impl OfC {
    fn new() -> Box<Self> {
        let of_c = Box::new(Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            cond: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            // SAFETY: plain old data, initialised below.
            semaphore: UnsafeCell::new(unsafe { std::mem::zeroed() }),
            count: UnsafeCell::new(0),
        });
        // SAFETY: it stays where it is.
        unsafe { libc::sem_init(of_c.semaphore.get(), 0, 0) };
        of_c
    }

    fn locked<R>(&self, f: impl FnOnce(&mut usize) -> R) -> R {
        // SAFETY: locked and unlocked by the same flow.
        unsafe {
            assert_eq!(libc::pthread_mutex_lock(self.mutex.get()), 0);
            let result = f(&mut *self.count.get());
            assert_eq!(libc::pthread_mutex_unlock(self.mutex.get()), 0);
            result
        }
    }
}

#[test]
fn cs_locks_between_goroutines_and_threads() {
    for procs in PROCS {
        at_procs(procs, || {
            let of_c = OfC::new();
            let of_c: &OfC = &of_c;
            on_both(4, |i| {
                for n in 0..500 {
                    of_c.locked(|count| {
                        *count += 1;
                        if n % 100 == i {
                            os::yield_now();
                        }
                    });
                }
            });
            assert_eq!(of_c.locked(|count| *count), 4_000);
            on_both(3, |i| {
                for round in 0..60 {
                    // SAFETY: the mutex is held when the condition is waited for.
                    of_c.locked(|_| unsafe {
                        let count = of_c.count.get();
                        while count.read() != 4_000 + round * 6 + i {
                            libc::pthread_cond_wait(of_c.cond.get(), of_c.mutex.get());
                        }
                        *count += 1;
                        libc::pthread_cond_broadcast(of_c.cond.get());
                    });
                }
            });
            assert_eq!(of_c.locked(|count| *count), 4_360);
            on_both(3, |_| {
                for _ in 0..300 {
                    // SAFETY: a semaphore that was initialised.
                    unsafe {
                        libc::sem_post(of_c.semaphore.get());
                        assert_eq!(libc::sem_wait(of_c.semaphore.get()), 0);
                    }
                }
            });
        });
    }
}

/// A hundred goroutines in a mutex, and in a semaphore, of C's hold no threads.
#[test]
fn cs_locks_need_few_threads() {
    at_procs(2, || {
        let of_c = OfC::new();
        let of_c: &OfC = &of_c;
        goroutines::thread::scope(|goroutines| {
            of_c.locked(|_| {
                for _ in 0..100 {
                    goroutines.spawn(|| of_c.locked(|count| *count += 1));
                    goroutines.spawn(|| {
                        // SAFETY: a semaphore that was initialised.
                        assert_eq!(unsafe { libc::sem_wait(of_c.semaphore.get()) }, 0);
                    });
                }
                os::sleep(Duration::from_millis(50));
                let threads = std::fs::read_dir("/proc/self/task").expect("/proc").count();
                if cfg!(feature = "intercept") {
                    assert!(threads < 20, "{threads} threads");
                }
            });
            for _ in 0..100 {
                // SAFETY: as above.
                unsafe { libc::sem_post(of_c.semaphore.get()) };
            }
        });
        assert_eq!(of_c.locked(|count| *count), 100);
    });
}

#[test]
fn a_future_is_woken_by_a_thread_and_by_a_goroutine() {
    for procs in PROCS {
        at_procs(procs, || {
            let wg = WaitGroup::new();
            for i in 0..50 {
                wg.go(move || {
                    let mut polls = 0;
                    let woken = block_on(poll_fn(|context| {
                        polls += 1;
                        if polls == 3 {
                            return Poll::Ready(i);
                        }
                        let waker = context.waker().clone();
                        if (i + polls) % 2 == 0 {
                            os::spawn(move || waker.wake());
                        } else {
                            go(move || waker.wake_by_ref());
                        }
                        Poll::Pending
                    }));
                    assert_eq!(woken, i);
                });
            }
            wg.wait();
        });
    }
}

#[test]
fn tokios_block_on_parks_goroutines() {
    for procs in PROCS {
        at_procs(procs, || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("tokio");
            let handle = runtime.handle().clone();
            let wg = WaitGroup::new();
            for i in 0..40u64 {
                let handle = handle.clone();
                wg.go(move || {
                    let (send, receive) = tokio::sync::oneshot::channel();
                    handle.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(i % 7)).await;
                        send.send(i).expect("somebody receives");
                    });
                    let got = if i % 2 == 0 {
                        handle.block_on(receive).expect("somebody sends")
                    } else {
                        block_on(receive).expect("somebody sends")
                    };
                    assert_eq!(got, i);
                });
            }
            wg.wait();
            runtime.shutdown_background();
        });
    }
}

/// signal-hook's self-pipe, and a handler that posts a semaphore; nobody who sleeps, reads or locks meanwhile
/// sees an interruption.
#[test]
fn signals_reach_goroutines_and_interrupt_nobody() {
    static POSTS: AtomicUsize = AtomicUsize::new(0);
    static PIPE: AtomicI32 = AtomicI32::new(-1);
    extern "C" fn writes(_: libc::c_int) {
        POSTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: one byte to read.
        unsafe { libc::write(PIPE.load(Ordering::Relaxed), c"x".as_ptr().cast(), 1) };
    }
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    PIPE.store(writer.as_raw_fd(), Ordering::Relaxed);
    // SAFETY: a handler that only writes.
    unsafe { libc::signal(libc::SIGUSR2, writes as *const () as usize) };
    for procs in PROCS {
        at_procs(procs, || {
            let (mut left, right) = UnixStream::pair().expect("sockets");
            signal_hook::low_level::pipe::register(libc::SIGUSR1, right).expect("a handler");
            let hooked = go(move || {
                let mut seen = 0;
                while seen < 50 {
                    seen += left.read(&mut [0; 1]).expect("a signal");
                }
            });
            let done = Arc::new(AtomicUsize::new(0));
            let watch = Arc::clone(&done);
            let undisturbed = go(move || {
                let (mut a, mut b) = UnixStream::pair().expect("sockets");
                while watch.load(Ordering::Relaxed) == 0 {
                    a.write_all(b"ping").expect("it takes it");
                    let mut got = [0; 4];
                    assert_eq!(b.read(&mut got).expect("not interrupted"), 4);
                    os::sleep(Duration::from_micros(200));
                }
            });
            for _ in 0..50 {
                // SAFETY: a signal that is handled.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) };
                reader.read_exact(&mut [0; 1]).expect("the handler's byte");
                // SAFETY: as above.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                os::sleep(Duration::from_millis(1));
            }
            // Signals that come together count as one: there may be some to come.
            while !hooked.is_finished() {
                // SAFETY: as above.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                os::sleep(Duration::from_millis(1));
            }
            done.store(1, Ordering::Relaxed);
            hooked.join().expect("it read");
            undisturbed.join().expect("it was not interrupted");
        });
    }
    assert!(POSTS.load(Ordering::Relaxed) >= 150);
    drop(writer);
}
