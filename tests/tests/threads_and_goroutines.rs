//! Goroutines and ordinary threads that wake each other: std's locks, libc's, and async runtimes.
//!
//! Half of who takes part are threads, half goroutines; totals are exact, and nobody is forgotten.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{JoinHandle, block_on, go};
use goroutines_tests::io::{at_each, check, errno, ms, within};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, OnceLock, RwLock, mpsc};
use std::thread::{self, sleep};
use std::time::Duration;

const SOON: Duration = ms(30_000);

/// A goroutine, or a thread.
enum Either<T> {
    Goroutine(JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

/// Every other one is a thread.
fn start<T: Send + 'static>(i: usize, f: impl FnOnce() -> T + Send + 'static) -> Either<T> {
    if i.is_multiple_of(2) { Either::Goroutine(go(f)) } else { Either::Thread(thread::spawn(f)) }
}

fn join<T>(all: Vec<Either<T>>) -> Vec<T> {
    let one = |one| match one {
        Either::Goroutine(handle) => handle.join(),
        Either::Thread(handle) => handle.join(),
    };
    within(SOON, || all.into_iter().map(|either| one(either).unwrap()).collect())
}

#[test]
fn mutex() {
    at_each(|_| {
        let total = Arc::new(Mutex::new((0usize, false)));
        let all = (0..8).map(|i| {
            let total = Arc::clone(&total);
            start(i, move || {
                for turn in 0..1_000 {
                    let mut held = total.lock().unwrap();
                    assert!(!std::mem::replace(&mut held.1, true), "two at a time");
                    held.0 += 1;
                    if turn % 100 == i {
                        sleep(Duration::from_micros(100));
                    }
                    held.1 = false;
                }
            })
        });
        join(all.collect());
        assert_eq!(total.lock().unwrap().0, 8_000);
    });
}

/// Each waits for his turn; one at a time is told of his, or all are.
#[test]
fn condvar() {
    at_each(|_| {
        for all_are_told in [true, false] {
            let shared = Arc::new((Mutex::new(0usize), [const { Condvar::new() }; 6]));
            let all = (0..6).map(|i| {
                let shared = Arc::clone(&shared);
                start(i, move || {
                    for _ in 0..200 {
                        let condvar = &shared.1[if all_are_told { 0 } else { i }];
                        let held = shared.0.lock().unwrap();
                        let mut held = condvar.wait_while(held, |turn| *turn % 6 != i).unwrap();
                        *held += 1;
                        if all_are_told {
                            condvar.notify_all();
                        } else {
                            shared.1[(i + 1) % 6].notify_one();
                        }
                    }
                })
            });
            join(all.collect());
            assert_eq!(*shared.0.lock().unwrap(), 1_200);
        }
    });
}

/// As many are woken as were told one by one, of both kinds, in one queue.
#[test]
fn notify_one_wakes_one() {
    at_each(|_| {
        let shared = Arc::new((Mutex::new((0usize, 0usize)), Condvar::new()));
        let all: Vec<_> = (0..10)
            .map(|i| {
                let shared = Arc::clone(&shared);
                start(i, move || {
                    for _ in 0..50 {
                        let held = shared.0.lock().unwrap();
                        let mut held = shared.1.wait_while(held, |(ready, _)| *ready == 0).unwrap();
                        held.0 -= 1;
                        held.1 += 1;
                    }
                })
            })
            .collect();
        for turn in 0..500 {
            shared.0.lock().unwrap().0 += 1;
            shared.1.notify_one();
            if turn % 50 == 0 {
                sleep(ms(1));
            }
        }
        join(all);
        assert_eq!(*shared.0.lock().unwrap(), (0, 500));
    });
}

#[test]
fn rwlock() {
    at_each(|_| {
        let lock = Arc::new(RwLock::new([0usize; 2]));
        let all = (0..8).map(|i| {
            let lock = Arc::clone(&lock);
            start(i, move || {
                for turn in 0..300 {
                    if turn % 5 == i % 5 {
                        let mut held = lock.write().unwrap();
                        held[0] += 1;
                        thread::yield_now();
                        held[1] += 1;
                    } else {
                        let held = lock.read().unwrap();
                        assert_eq!(held[0], held[1]);
                        if turn % 50 == 0 {
                            sleep(Duration::from_micros(50));
                        }
                    }
                }
            })
        });
        join(all.collect());
        assert_eq!(*lock.read().unwrap(), [480; 2]);
    });
}

#[test]
fn once_and_barrier() {
    at_each(|_| {
        for _ in 0..20 {
            let shared = Arc::new((Once::new(), OnceLock::new(), Barrier::new(8)));
            let made = Arc::new(AtomicUsize::new(0));
            let all = (0..8).map(|i| {
                let (shared, made) = (Arc::clone(&shared), Arc::clone(&made));
                start(i, move || {
                    let mut leads = 0;
                    for _ in 0..10 {
                        leads += usize::from(shared.2.wait().is_leader());
                    }
                    shared.0.call_once(|| {
                        sleep(ms(1));
                        made.fetch_add(1, Ordering::Relaxed);
                    });
                    assert_eq!(made.load(Ordering::Relaxed), 1);
                    let number = *shared.1.get_or_init(|| {
                        sleep(ms(1));
                        i
                    });
                    (leads, number)
                })
            });
            let all = join(all.collect());
            assert_eq!(all.iter().map(|one| one.0).sum::<usize>(), 10);
            assert!(all.iter().all(|one| one.1 == all[0].1));
        }
    });
}

/// Many send, one receives, of either kind; without room, with some, with all there is.
#[test]
fn channels() {
    at_each(|_| {
        for receiver in [0, 1] {
            for room in [0, 1, 16, usize::MAX] {
                let (send, bounded) = mpsc::sync_channel::<usize>(room.min(100_000));
                let receives = start(receiver, move || bounded.iter().sum::<usize>());
                let senders = (0..6).map(|i| {
                    let send = send.clone();
                    start(i, move || (0..200).for_each(|n| send.send(n).unwrap()))
                });
                join(senders.collect());
                drop(send);
                assert_eq!(join(vec![receives]), [6 * 199 * 100]);
            }
        }
    });
}

/// Each parks until the one before has had his turn.
#[test]
fn park_and_unpark() {
    at_each(|_| {
        let turn = Arc::new(AtomicUsize::new(0));
        let (send, handles) = mpsc::channel();
        let (told, all): (Vec<_>, Vec<_>) = (0..4)
            .map(|i| {
                let (turn, send) = (Arc::clone(&turn), send.clone());
                let (tell, next) = mpsc::channel::<thread::Thread>();
                let either = start(i, move || {
                    send.send((i, thread::current())).unwrap();
                    let next = next.recv().unwrap();
                    for _ in 0..500 {
                        while turn.load(Ordering::Acquire) % 4 != i {
                            thread::park();
                        }
                        turn.fetch_add(1, Ordering::Release);
                        next.unpark();
                    }
                });
                (tell, either)
            })
            .unzip();
        for (i, handle) in handles.iter().take(4) {
            told[(i + 3) % 4].send(handle).unwrap();
        }
        join(all);
        assert_eq!(turn.load(Ordering::Relaxed), 2_000);
    });
}

/// One of C's objects, shared by all.
struct Shared<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: locks and semaphores are made to be shared.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: they are not moved while in use: always behind an Arc.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    fn new(init: impl FnOnce(*mut T) -> i32) -> Arc<Self> {
        let new = Arc::new(Self(UnsafeCell::new(MaybeUninit::zeroed())));
        assert_eq!(init(new.at()), 0);
        new
    }

    fn at(&self) -> *mut T {
        self.0.get().cast()
    }
}

fn c_mutex(kind: i32) -> Arc<Shared<libc::pthread_mutex_t>> {
    // SAFETY: attributes that are initialised before use; a mutex to initialise.
    Shared::new(|mutex| unsafe {
        let mut attr = std::mem::zeroed();
        libc::pthread_mutexattr_init(&raw mut attr);
        libc::pthread_mutexattr_settype(&raw mut attr, kind);
        libc::pthread_mutex_init(mutex, &raw const attr)
    })
}

/// Of each kind, with its kind's errors.
#[test]
fn mutexes_of_c() {
    at_each(|_| {
        for kind in [
            libc::PTHREAD_MUTEX_NORMAL,
            libc::PTHREAD_MUTEX_RECURSIVE,
            libc::PTHREAD_MUTEX_ERRORCHECK,
        ] {
            let mutex = c_mutex(kind);
            let total = Arc::new(AtomicUsize::new(0));
            let all = (0..6).map(|i| {
                let (mutex, total) = (Arc::clone(&mutex), Arc::clone(&total));
                start(i, move || {
                    for turn in 0..300 {
                        // SAFETY: an initialised mutex.
                        unsafe { assert_eq!(libc::pthread_mutex_lock(mutex.at()), 0) };
                        if kind == libc::PTHREAD_MUTEX_RECURSIVE {
                            // SAFETY: as above.
                            unsafe {
                                assert_eq!(libc::pthread_mutex_lock(mutex.at()), 0);
                                assert_eq!(libc::pthread_mutex_unlock(mutex.at()), 0);
                            }
                        } else if kind == libc::PTHREAD_MUTEX_ERRORCHECK {
                            // SAFETY: as above.
                            let again = unsafe { libc::pthread_mutex_lock(mutex.at()) };
                            assert_eq!(again, libc::EDEADLK);
                        }
                        // Load and store: one at a time.
                        total.store(total.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        if turn % 60 == i {
                            sleep(Duration::from_micros(80));
                        }
                        // SAFETY: as above; it is ours.
                        unsafe { assert_eq!(libc::pthread_mutex_unlock(mutex.at()), 0) };
                    }
                })
            });
            join(all.collect());
            assert_eq!(total.load(Ordering::Relaxed), 1_800);
        }
    });
}

/// In turns, by signals and by broadcasts.
#[test]
fn condition_variables_of_c() {
    at_each(|_| {
        let mutex = c_mutex(libc::PTHREAD_MUTEX_NORMAL);
        // SAFETY: one to initialise.
        let init = |cond| unsafe { libc::pthread_cond_init(cond, std::ptr::null()) };
        let conds: Arc<Vec<_>> =
            Arc::new((0..4).map(|_| Shared::<libc::pthread_cond_t>::new(init)).collect());
        for broadcast in [true, false] {
            let turn = Arc::new(AtomicUsize::new(0));
            let all = (0..4).map(|i| {
                let (mutex, conds, turn) =
                    (Arc::clone(&mutex), Arc::clone(&conds), Arc::clone(&turn));
                start(i, move || {
                    let cond = |i: usize| conds[if broadcast { 0 } else { i % 4 }].at();
                    for _ in 0..150 {
                        // SAFETY: initialised objects, the mutex locked where it must be.
                        unsafe {
                            libc::pthread_mutex_lock(mutex.at());
                            while turn.load(Ordering::Relaxed) % 4 != i {
                                assert_eq!(libc::pthread_cond_wait(cond(i), mutex.at()), 0);
                            }
                            turn.fetch_add(1, Ordering::Relaxed);
                            if broadcast {
                                libc::pthread_cond_broadcast(cond(0));
                            } else {
                                libc::pthread_cond_signal(cond(i + 1));
                            }
                            libc::pthread_mutex_unlock(mutex.at());
                        }
                    }
                })
            });
            join(all.collect());
            assert_eq!(turn.load(Ordering::Relaxed), 600);
        }
    });
}

/// One queue of both kinds, signalled once for each piece of work.
#[test]
fn a_signal_of_c_wakes_one() {
    at_each(|_| {
        let mutex = c_mutex(libc::PTHREAD_MUTEX_NORMAL);
        // SAFETY: one to initialise.
        let init = |cond| unsafe { libc::pthread_cond_init(cond, std::ptr::null()) };
        let cond = Shared::<libc::pthread_cond_t>::new(init);
        let ready = Arc::new(AtomicUsize::new(0));
        let all = (0..8).map(|i| {
            let (mutex, cond, ready) = (Arc::clone(&mutex), Arc::clone(&cond), Arc::clone(&ready));
            start(i, move || {
                for _ in 0..50 {
                    // SAFETY: initialised objects, the mutex locked.
                    unsafe {
                        libc::pthread_mutex_lock(mutex.at());
                        while ready.load(Ordering::Relaxed) == 0 {
                            libc::pthread_cond_wait(cond.at(), mutex.at());
                        }
                        ready.fetch_sub(1, Ordering::Relaxed);
                        libc::pthread_mutex_unlock(mutex.at());
                    }
                }
            })
        });
        let all: Vec<_> = all.collect();
        for turn in 0..400 {
            // SAFETY: as above.
            unsafe {
                libc::pthread_mutex_lock(mutex.at());
                ready.fetch_add(1, Ordering::Relaxed);
                libc::pthread_cond_signal(cond.at());
                libc::pthread_mutex_unlock(mutex.at());
            }
            if turn % 40 == 0 {
                sleep(ms(1));
            }
        }
        join(all);
        assert_eq!(ready.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn read_write_locks_of_c() {
    at_each(|_| {
        // SAFETY: one to initialise.
        let init = |lock| unsafe { libc::pthread_rwlock_init(lock, std::ptr::null()) };
        let lock = Shared::<libc::pthread_rwlock_t>::new(init);
        let numbers = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let all = (0..6).map(|i| {
            let (lock, numbers) = (Arc::clone(&lock), Arc::clone(&numbers));
            start(i, move || {
                for turn in 0..200 {
                    // SAFETY: an initialised lock, unlocked by who has locked it.
                    unsafe {
                        if turn % 4 == i % 4 {
                            assert_eq!(libc::pthread_rwlock_wrlock(lock.at()), 0);
                            for number in numbers.iter() {
                                number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                                thread::yield_now();
                            }
                        } else {
                            assert_eq!(libc::pthread_rwlock_rdlock(lock.at()), 0);
                            let [a, b] = numbers.each_ref().map(|n| n.load(Ordering::Relaxed));
                            assert_eq!(a, b);
                        }
                        assert_eq!(libc::pthread_rwlock_unlock(lock.at()), 0);
                    }
                }
            })
        });
        join(all.collect());
        assert_eq!(numbers.each_ref().map(|n| n.load(Ordering::Relaxed)), [300; 2]);
    });
}

fn timespec_in(time: Duration) -> libc::timespec {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + time;
    libc::timespec { tv_sec: now.as_secs().cast_signed(), tv_nsec: now.subsec_nanos().into() }
}

/// Posts by both for both; and times that are over.
#[test]
fn semaphores_of_c() {
    at_each(|_| {
        // SAFETY: one to initialise.
        let semaphore = Shared::<libc::sem_t>::new(|s| unsafe { libc::sem_init(s, 0, 0) });
        let until = timespec_in(ms(20));
        let start_time = std::time::SystemTime::now();
        // SAFETY: an initialised semaphore.
        let word = unsafe { libc::sem_timedwait(semaphore.at(), &raw const until) };
        assert_eq!(errno(&check(word)), libc::ETIMEDOUT);
        assert!(start_time.elapsed().unwrap() >= ms(19));
        let all = (0..12).map(|i| {
            let semaphore = Arc::clone(&semaphore);
            start(i / 2, move || {
                for turn in 0..300 {
                    // SAFETY: an initialised semaphore.
                    let word = unsafe {
                        if i % 2 == 0 {
                            libc::sem_post(semaphore.at())
                        } else if turn % 2 == 0 {
                            libc::sem_wait(semaphore.at())
                        } else {
                            let until = timespec_in(ms(60_000));
                            libc::sem_timedwait(semaphore.at(), &raw const until)
                        }
                    };
                    assert_eq!(errno(&check(word)), 0);
                }
            })
        });
        join(all.collect());
        let mut left = -1;
        // SAFETY: as above; a number to write.
        unsafe { libc::sem_getvalue(semaphore.at(), &raw mut left) };
        assert_eq!(left, 0);
    });
}

/// A condition variable's time is over, for those of both kinds that nobody signals.
#[test]
fn times_of_c_are_over() {
    at_each(|_| {
        let mutex = c_mutex(libc::PTHREAD_MUTEX_NORMAL);
        // SAFETY: one to initialise.
        let init = |cond| unsafe { libc::pthread_cond_init(cond, std::ptr::null()) };
        let cond = Shared::<libc::pthread_cond_t>::new(init);
        let all = (0..6).map(|i| {
            let (mutex, cond) = (Arc::clone(&mutex), Arc::clone(&cond));
            start(i, move || {
                let until = timespec_in(ms(10 + i as u64));
                // SAFETY: initialised objects; the mutex is locked, and unlocked by who has it.
                unsafe {
                    libc::pthread_mutex_lock(mutex.at());
                    let word =
                        libc::pthread_cond_timedwait(cond.at(), mutex.at(), &raw const until);
                    assert_eq!(libc::pthread_mutex_trylock(mutex.at()), libc::EBUSY, "it is ours");
                    libc::pthread_mutex_unlock(mutex.at());
                    word
                }
            })
        });
        assert_eq!(join(all.collect()), [libc::ETIMEDOUT; 6]);
    });
}

/// tokio's futures on goroutines: its timers, its sockets, its channels, woken by its thread.
#[test]
fn futures_of_tokio() {
    let (send, handle) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let driver = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        send.send(runtime.handle().clone()).unwrap();
        runtime.block_on(async { drop(stopped.await) });
    });
    let handle = handle.recv().unwrap();
    at_each(|_| {
        let all = (0..20).map(|i| {
            let handle = handle.clone();
            start(i, move || {
                let (answer, question) = tokio::sync::oneshot::channel();
                let task = handle.spawn(async move {
                    tokio::time::sleep(ms(1 + i as u64 % 5)).await;
                    answer.send(i).unwrap();
                    i * 2
                });
                let from_channel =
                    if i % 4 < 2 { block_on(question) } else { handle.block_on(question) };
                assert_eq!(from_channel.unwrap(), i);
                assert_eq!(block_on(task).unwrap(), i * 2);
                handle.block_on(async {
                    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let address = listener.local_addr().unwrap();
                    let client = tokio::net::TcpStream::connect(address).await.unwrap();
                    let (server, _) = listener.accept().await.unwrap();
                    client.try_write(b"hello").unwrap();
                    server.readable().await.unwrap();
                    tokio::time::timeout(ms(5), std::future::pending::<()>()).await.unwrap_err();
                });
            })
        });
        join(all.collect());
    });
    stop.send(()).unwrap();
    driver.join().unwrap();
}

/// A runtime of tokio's in a goroutine of its own: its thread is the goroutine.
#[test]
fn runtimes_of_tokio() {
    at_each(|_| {
        let all = (0..6).map(|i| {
            start(i, move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let (send, mut receive) = tokio::sync::mpsc::channel(4);
                    for n in 0..10u64 {
                        let send = send.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(ms(n % 3)).await;
                            send.send(n).await.unwrap();
                        });
                    }
                    drop(send);
                    let mut sum = 0;
                    while let Some(n) = receive.recv().await {
                        sum += n;
                    }
                    sum
                })
            })
        });
        assert_eq!(join(all.collect()), [45; 6]);
    });
}
