//! A program whose goroutines are asleep, beside threads that are or are not, as its argument says.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::chan::{Sender, bounded};
use goroutines::sync::WaitGroup;
use goroutines::{go, run};
use std::io::{Read, pipe};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread::{JoinHandle, park, sleep, spawn};
use std::time::{Duration, Instant};

/// Longer than it takes the detector to look again.
const LONG: Duration = Duration::from_millis(1200);

fn waits_for_nothing() {
    let (_send, receive) = bounded::<()>(0);
    let _ = receive.recv();
}

fn burn(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Threads that wait for ever, as std's users write it.
fn sleepers(how: &str) -> Option<Vec<JoinHandle<()>>> {
    let held: &'static Mutex<()> = Box::leak(Box::default());
    let lock: &'static RwLock<()> = Box::leak(Box::default());
    Some(match how {
        "nobody" => Vec::new(),
        "park" => vec![spawn(park)],
        "many" => (0..300).map(|_| spawn(park)).collect(),
        "mutex" => {
            Box::leak(Box::new(held.lock().unwrap()));
            vec![spawn(|| drop(held.lock().unwrap()))]
        }
        "rwlock" => {
            Box::leak(Box::new(lock.write().unwrap()));
            vec![spawn(|| drop(lock.read().unwrap())), spawn(|| drop(lock.write().unwrap()))]
        }
        "condvar" => {
            vec![spawn(|| drop(Condvar::new().wait(held.lock().unwrap()).unwrap()))]
        }
        "barrier" => vec![spawn(|| {
            Barrier::new(2).wait();
        })],
        "messages" => vec![spawn(|| {
            let (_send, receive) = mpsc::channel::<()>();
            let _ = receive.recv();
        })],
        "join" => vec![spawn(|| spawn(park).join().unwrap())],
        "scope" => vec![spawn(|| {
            std::thread::scope(|s| {
                s.spawn(park);
            });
        })],
        "semaphore" => vec![spawn(|| {
            let semaphore: *mut libc::sem_t = Box::leak(Box::new([0u64; 4])).as_mut_ptr().cast();
            // SAFETY: as sem_init(3) and sem_wait(3) have it.
            unsafe {
                libc::sem_init(semaphore, 0, 0);
                libc::sem_wait(semaphore);
            }
        })],
        "libc" => vec![spawn(|| {
            let mutex = Box::leak(Box::new(libc::PTHREAD_MUTEX_INITIALIZER));
            let cond = Box::leak(Box::new(libc::PTHREAD_COND_INITIALIZER));
            // SAFETY: both are initialised, and stay where they are.
            unsafe {
                libc::pthread_mutex_lock(mutex);
                libc::pthread_cond_wait(cond, mutex);
            }
        })],
        "channel" => vec![spawn(waits_for_nothing)],
        "group" => vec![spawn(|| {
            let group = WaitGroup::new();
            group.add(1);
            group.wait();
        })],
        "handle" => vec![spawn(|| go(waits_for_nothing).join().unwrap())],
        _ => return None,
    })
}

/// A futex in memory that is shared with a child, which wakes the thread that waits there.
fn woken_by_a_child() {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping; the child only sleeps, writes to it, and ends.
    unsafe {
        let at = libc::mmap(null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        let word = &*at.cast::<AtomicU32>();
        if libc::fork() == 0 {
            let time = libc::timespec { tv_sec: 1, tv_nsec: 200_000_000 };
            libc::syscall(libc::SYS_nanosleep, &raw const time, null::<libc::timespec>());
            word.store(1, Ordering::SeqCst);
            libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, 1);
            libc::_exit(0);
        }
        while word.load(Ordering::SeqCst) == 0 {
            let forever = null::<libc::timespec>();
            libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, 0, forever);
        }
    }
}

/// How long [`take_turns`] and what starts threads go on: `SOAK_SECONDS`, else [`LONG`].
fn soak() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    seconds.map_or(LONG, Duration::from_secs)
}

/// Threads that take turns: all but one of them sleep at each moment, until that one wakes the next.
fn take_turns(players: u32) {
    let turn = Arc::new((Mutex::new(0), Vec::from_iter((0..players).map(|_| Condvar::new()))));
    let start = Instant::now();
    let player = |own: u32| {
        let turn = Arc::clone(&turn);
        spawn(move || {
            loop {
                let mut now = turn.0.lock().unwrap();
                while *now % players != own {
                    now = turn.1[own as usize].wait(now).unwrap();
                }
                *now += 1;
                turn.1[(*now % players) as usize].notify_one();
                if start.elapsed() >= soak() {
                    break;
                }
            }
        })
    };
    for player in Vec::from_iter((0..players).map(player)) {
        player.join().unwrap();
    }
}

/// Threads of which one wakes the main goroutine in the end.
fn wakers(how: &str, done: Sender<()>) -> JoinHandle<()> {
    let how = how.to_owned();
    spawn(move || {
        let condition = (Mutex::new(false), Condvar::new());
        match &*how {
            "sleeps" => sleep(LONG),
            "computes" => burn(LONG),
            "reads" => {
                let (mut from, to) = pipe().unwrap();
                spawn(move || {
                    sleep(LONG);
                    drop(to);
                });
                from.read_to_end(&mut Vec::new()).unwrap();
            }
            "reads of a child" => {
                let child = std::process::Command::new("sleep").arg("1.2").output();
                assert!(child.unwrap().status.success());
            }
            "polls" => {
                let (from, _to) = pipe().unwrap();
                let mut one =
                    libc::pollfd { fd: from.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one entry.
                unsafe { libc::poll(&raw mut one, 1, 1200) };
            }
            "waits for a time" => {
                let guard = condition.0.lock().unwrap();
                drop(condition.1.wait_timeout(guard, LONG).unwrap());
            }
            "parks for a time" => std::thread::park_timeout(LONG),
            "is woken by one that sleeps" => {
                let parked = std::thread::current();
                let waker = spawn(move || {
                    sleep(LONG);
                    parked.unpark();
                });
                park();
                waker.join().unwrap();
            }
            "joins one that sleeps" => spawn(|| sleep(LONG)).join().unwrap(),
            "starts others" => {
                let start = Instant::now();
                while start.elapsed() < soak() {
                    spawn(|| ()).join().unwrap();
                }
            }
            "is woken by a child" => woken_by_a_child(),
            "takes turns" => take_turns(2),
            "takes turns with nine" => take_turns(10),
            "takes a signal" => {
                // SAFETY: a set of one signal, which all threads block, and wait for.
                unsafe {
                    let mut set: libc::sigset_t = std::mem::zeroed();
                    libc::sigaddset(&raw mut set, libc::SIGUSR1);
                    let mut signal = 0;
                    libc::sigwait(&raw const set, &raw mut signal);
                }
            }
            _ => panic!("{how}: no such case"),
        }
        done.send(()).unwrap();
    })
}

fn main() {
    let how = std::env::args().nth(1).unwrap_or_default();
    // SAFETY: a set of one signal; from here on all threads block it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut());
    }
    match &*how {
        // No `run`: main is a thread as others are.
        "plain" => return go(waits_for_nothing).join().unwrap(),
        "main parks" => {
            let _waits = go(waits_for_nothing);
            park();
        }
        _ => {}
    }
    if let Some(_threads) = sleepers(&how) {
        return run(waits_for_nothing);
    }
    let (done, ended) = bounded(0);
    let _idle = spawn(park);
    let waker = wakers(&how, done);
    run(move || {
        println!("ready");
        ended.recv().unwrap();
    });
    waker.join().unwrap();
    println!("woken");
}
