//! Goroutines locked to their thread: Go's tests of runtime/proc_test.go and
//! runtime/testdata/testprog/lockosthread{,_linux}.go of Go 1.27 (The Go Authors, BSD-3-Clause), ported.
//! Not here: `LockOSThreadMain`, as the main thread runs no goroutines.

use goroutines::runtime::{self, gosched, lock_os_thread};
use goroutines::thread::{self, JoinHandle};
use goroutines::{WaitGroup, go};
use goroutines_tests::os_thread;
use goroutines_tests::proc::{Hogs, at_procs, burn_for, in_child};
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Go: `TestYieldLocked`: a locked goroutine yields and sleeps, and ends locked. Also: it stays on its
/// thread.
#[test]
fn yield_locked() {
    for procs in [1, 2] {
        at_procs(procs, || {
            let _hogs = Hogs::start(procs); // so that any thread may come by
            go(|| {
                let _for_ever = ManuallyDrop::new(lock_os_thread());
                let home = os_thread();
                for _ in 0..10 {
                    gosched();
                    assert_eq!(os_thread(), home);
                    thread::sleep(Duration::from_millis(1));
                    assert_eq!(os_thread(), home);
                }
            })
            .join()
            .unwrap();
        });
    }
}

/// Go: `TestBlockLocked`: a locked goroutine blocks. Also: it stays on its thread, where nobody else
/// runs.
#[test]
fn block_locked() {
    const ROUNDS: usize = 100;
    for procs in [1, 2] {
        at_procs(procs, || {
            let pairs: Arc<Vec<_>> =
                Arc::new((0..ROUNDS).map(|_| (WaitGroup::new(), WaitGroup::new())).collect());
            for (given, taken) in pairs.iter() {
                given.add(1);
                taken.add(1);
            }
            let theirs = Arc::clone(&pairs);
            let locked = go(move || {
                let lock = lock_os_thread();
                let home = os_thread();
                for (given, taken) in theirs.iter() {
                    given.done();
                    taken.wait();
                    assert_eq!(os_thread(), home, "it left its thread");
                }
                drop(lock);
                home
            });
            let mut seen = Vec::new();
            for (given, taken) in pairs.iter() {
                given.wait();
                seen.push(os_thread());
                taken.done();
            }
            let home = locked.join().unwrap();
            assert!(!seen.contains(&home), "another goroutine ran on the locked thread");
        });
    }
}

fn is_locked() -> bool {
    let me = runtime::goroutine_id().expect("a goroutine");
    let all = runtime::goroutines();
    let own = all.iter().find(|g| g.id == me).expect("the caller is in the account");
    own.locked_to_thread
}

/// Go: `TestLockOSThreadNesting`: locks are counted. Restated: by what the account says.
#[test]
fn lock_os_thread_nesting() {
    at_procs(2, || {
        go(|| {
            assert!(!is_locked());
            let outer = lock_os_thread();
            let inner = lock_os_thread();
            assert!(is_locked());
            drop(outer);
            assert!(is_locked(), "one lock is left");
            drop(inner);
            assert!(!is_locked());
        })
        .join()
        .unwrap();
    });
}

/// A goroutine started by a locked one is not locked.
#[test]
fn lock_is_not_inherited() {
    at_procs(2, || {
        go(|| {
            let _lock = lock_os_thread();
            let home = os_thread();
            let (locked, on) = go(|| (is_locked(), os_thread())).join().unwrap();
            assert!(!locked);
            assert_ne!(on, home);
        })
        .join()
        .unwrap();
    });
}

/// A goroutine that does `f` locked to its thread, and ends so; gives the thread's number.
fn ends_locked(f: impl FnOnce() + Send + 'static) -> JoinHandle<i64> {
    go(move || {
        let _for_ever = ManuallyDrop::new(lock_os_thread());
        f();
        os_thread()
    })
}

/// Go: `TestLockOSThreadExit` (`LockOSThreadAlt`): the thread of a goroutine that ends locked ends, and
/// nobody runs on it any more.
#[test]
fn lock_os_thread_exit() {
    for procs in [1, 2] {
        at_procs(procs, || {
            let thread = ends_locked(|| ()).join().unwrap();
            let path = format!("/proc/self/task/{thread}");
            let gone = (0..100).any(|_| {
                thread::sleep(Duration::from_millis(1));
                assert_ne!(os_thread(), thread, "the locked thread is used again");
                !Path::new(&path).exists()
            });
            assert!(gone, "thread {thread} is still there");
        });
    }
}

fn directory() -> String {
    let mut buf = [0_u8; 4096];
    // SAFETY: the buffer is writable, of that size.
    let n = unsafe { libc::syscall(libc::SYS_getcwd, buf.as_mut_ptr(), buf.len()) };
    assert!(n > 0, "getcwd");
    CStr::from_bytes_until_nul(&buf).expect("a path").to_string_lossy().into_owned()
}

/// Go: `TestLockOSThreadAvoidsStatePropagation`: what a locked goroutine does to its thread is seen on no
/// other, also on none made later.
#[test]
fn lock_os_thread_avoids_state_propagation() {
    let name = "lock_os_thread_avoids_state_propagation";
    let child = in_child(name, &[("GOMAXPROCS", "1")], || {
        std::env::set_current_dir("/").expect("chdir");
        goroutines::run(|| {
            let _lock = lock_os_thread();
            ends_locked(|| {
                // SAFETY: concerns this thread only; a NUL-terminated path.
                unsafe {
                    assert_eq!(libc::unshare(libc::CLONE_FS), 0, "unshare");
                    assert_eq!(libc::chdir(c"/tmp".as_ptr()), 0, "chdir");
                }
                assert_eq!(directory(), "/tmp");
                // A thread for the main goroutine is made while this one is busy.
                burn_for(Duration::from_millis(5));
            })
            .join()
            .expect("the tainted one");
            let others: Vec<_> = (0..8)
                .map(|_| {
                    go(|| {
                        let _lock = lock_os_thread();
                        thread::sleep(Duration::from_millis(5));
                        directory()
                    })
                })
                .collect();
            for other in others {
                assert_eq!(other.join().expect("its directory"), "/");
            }
            println!("OK");
        });
    });
    child.expect_status(0);
    assert!(child.text().ends_with("OK\n"), "{child}");
}

/// The median of how late a sleep of a millisecond ends that comes after so much work that the monitor has just come to
/// rest, for 10 ms.
fn lateness() -> Duration {
    let nap = Duration::from_millis(1);
    let mut all: Vec<_> = (0..41)
        .map(|_| {
            burn_for(Duration::from_millis(12));
            let start = Instant::now();
            thread::sleep(nap);
            start.elapsed().saturating_sub(nap)
        })
        .collect();
    all.sort();
    all[all.len() / 2]
}

/// A locked goroutine that sleeps leaves its timer on a processor which it gives up: somebody looks at it, beside a
/// goroutine that computes, too.
#[test]
fn a_locked_goroutine_wakes_in_time() {
    // One computes, others are idle.
    at_procs(4, || {
        let hog = Hogs::start(1);
        let free = go(lateness).join().unwrap();
        let locked = go(|| {
            let _locked = lock_os_thread();
            lateness()
        });
        let locked = locked.join().unwrap();
        drop(hog);
        println!("{locked:?} late, {free:?} without a lock");
        assert!(locked < free + Duration::from_millis(3), "{locked:?} late, {free:?} else");
    });
}

/// Go: `TestLockOSThreadTemplateThreadRace`: two goroutines lock their threads while the world is being
/// stopped all the time.
#[test]
fn lock_os_thread_template_thread_race() {
    at_procs(4, || {
        let (stop, stopper) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        let told = Arc::clone(&stop);
        stopper.go(move || {
            while !told.load(Ordering::Relaxed) {
                assert!(!runtime::goroutines().is_empty());
            }
        });
        for _ in 0..100 {
            let start = Instant::now() + Duration::from_millis(2);
            let wg = WaitGroup::new();
            for _ in 0..2 {
                wg.go(move || {
                    while Instant::now() < start {
                        std::hint::spin_loop();
                    }
                    go(|| ());
                    let _for_ever = ManuallyDrop::new(lock_os_thread());
                    gosched();
                });
            }
            wg.wait();
        }
        stop.store(true, Ordering::Relaxed);
        stopper.wait();
    });
}

/// Go: `TestLockOSThreadVgetrandom`: threads that end, each after asking for randomness; here, after
/// using their `thread_local!`s and the allocator too.
#[test]
fn lock_os_thread_vgetrandom() {
    const AT_ONCE: usize = 50;
    at_procs(2, || {
        let sum = Arc::new(AtomicU32::new(0));
        for _ in 0..10 {
            let all: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    let sum = Arc::clone(&sum);
                    ends_locked(move || {
                        let mut bytes = vec![0_u8; 16];
                        // SAFETY: the buffer is writable, of that size.
                        let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 16, 0) };
                        assert_eq!(n, 16);
                        burn_for(Duration::from_micros(100));
                        sum.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            for one in all {
                one.join().unwrap();
            }
        }
        assert_eq!(sum.load(Ordering::Relaxed), 500);
    });
}
