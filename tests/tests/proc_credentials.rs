//! `setuid` and its kin change the credentials of all threads, from a goroutine too.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::go;
use goroutines_tests::io::ms;
use goroutines_tests::proc::in_child;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long each number of processors is tried, in seconds.
const SECONDS: &str = "CREDENTIALS_SECONDS";

/// What the threads of this process have for user and group ids.
fn credentials() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // One that has ended meanwhile has none.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let ids = ["Uid:", "Gid:", "Groups:"];
        let lines = status.lines().filter(|line| ids.iter().any(|id| line.starts_with(id)));
        all.insert(lines.collect::<Vec<_>>().join(" "));
    }
    all
}

fn is_root() -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::getuid() == 0 }
}

/// Goroutines that compute, allocate, sleep and make threads, until told to stop.
fn load(stop: &Arc<AtomicBool>) -> Vec<goroutines::JoinHandle<()>> {
    let until = |work: fn()| {
        let stop = Arc::clone(stop);
        go(move || {
            while !stop.load(Ordering::Relaxed) {
                work();
            }
        })
    };
    let mut all = Vec::new();
    all.extend((0..4).map(|_| until(|| drop(std::hint::black_box(vec![1u8; 300])))));
    all.extend((0..200).map(|_| until(|| thread::sleep(ms(3)))));
    all.extend((0..2).map(|_| until(|| thread::spawn(|| ()).join().unwrap())));
    all
}

fn change_and_look(time: Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&stop);
    let begun = Instant::now();
    let mut calls = 0u32;
    while begun.elapsed() < time {
        // SAFETY: no memory is involved.
        let (id, own) = unsafe { (calls % 2 * 65534, libc::getuid()) };
        let wanted = if is_root() { id } else { own };
        // SAFETY: as above.
        let (user, group) =
            unsafe { (libc::setresuid(u32::MAX, wanted, u32::MAX), libc::setegid(libc::getgid())) };
        assert_eq!((user, group), (0, 0), "{}", std::io::Error::last_os_error());
        if calls.is_multiple_of(16) {
            let all = credentials();
            assert_eq!(all.len(), 1, "{all:?}");
            assert!(all.first().unwrap().contains(&wanted.to_string()), "{all:?}");
        }
        calls += 1;
    }
    assert!(calls > 10, "{calls} calls");
    stop.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn all_threads_have_the_same() {
    let seconds = std::env::var(SECONDS).map_or(1, |text| text.parse().unwrap());
    for procs in ["1", "2", "4"] {
        let ended = in_child("all_threads_have_the_same", &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| change_and_look(Duration::from_secs(seconds)));
        });
        ended.expect_status(0);
    }
}

/// Privileges are dropped for good, in main, as a server does it that has bound its port.
#[test]
fn privileges_are_dropped() {
    for procs in ["1", "2"] {
        let ended = in_child("privileges_are_dropped", &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| {
                let others: Vec<_> = (0..20).map(|_| go(|| thread::sleep(ms(100)))).collect();
                thread::sleep(ms(20));
                // SAFETY: no memory is involved.
                unsafe {
                    let id = if is_root() { 65534 } else { libc::getuid() };
                    assert!(!is_root() || libc::setgroups(0, std::ptr::null()) == 0);
                    let group = if is_root() { 65534 } else { libc::getgid() };
                    assert_eq!(libc::setgid(group), 0);
                    assert_eq!(libc::setuid(id), 0);
                    assert_eq!(libc::setuid(0) == 0, id == 0);
                }
                assert_eq!(credentials().len(), 1);
                others.into_iter().for_each(|one| one.join().unwrap());
            });
        });
        ended.expect_status(0);
    }
}

/// Several at once, some of them ordinary threads, beside goroutines that fork.
#[test]
fn several_at_once() {
    for procs in ["1", "2", "4"] {
        let ended = in_child("several_at_once", &[("GOMAXPROCS", procs)], || {
            let change = || {
                for _ in 0..200 {
                    // SAFETY: no memory is involved.
                    assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
                }
            };
            let fork = || {
                for _ in 0..20 {
                    // SAFETY: the child ends with `_exit`.
                    unsafe {
                        let pid = libc::fork();
                        if pid == 0 {
                            libc::_exit(libc::setgid(libc::getgid()));
                        }
                        let mut status = 1;
                        assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                        assert_eq!(status, 0);
                    }
                }
            };
            goroutines::run(|| {
                let threads: Vec<_> = (0..2).map(|_| thread::spawn(change)).collect();
                let goroutines = (0..4).map(|_| go(change)).chain((0..2).map(|_| go(fork)));
                let goroutines: Vec<_> = goroutines.collect();
                goroutines.into_iter().for_each(|one| one.join().unwrap());
                threads.into_iter().for_each(|one| one.join().unwrap());
            });
        });
        ended.expect_status(0);
    }
}
