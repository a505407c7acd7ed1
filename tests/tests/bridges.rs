//! Goroutines that wait for C's locks, futures and signal handlers. (Those that wake and are woken by ordinary
//! threads: `threads_and_goroutines.rs`.)

use goroutines::{WaitGroup, block_on, go};
use goroutines_tests::proc::at_procs;
use std::cell::UnsafeCell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread as os;
use std::time::Duration;

const PROCS: [usize; 3] = [1, 2, 4];

/// C's mutex and semaphore.
struct OfC {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    semaphore: UnsafeCell<libc::sem_t>,
    count: UnsafeCell<usize>,
}

// SAFETY: libc's objects are for several threads; the count is behind the mutex.
unsafe impl Sync for OfC {}

impl OfC {
    fn new() -> Box<Self> {
        let of_c = Box::new(Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
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
