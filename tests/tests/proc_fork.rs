//! Children that a goroutine forks: each is a sound process of one thread, whichever call made it, and
//! the handlers of `pthread_atfork` are called as on a thread.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::go;
use goroutines_tests::io::ms;
use goroutines_tests::proc::in_child;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

unsafe extern "C" {
    fn _Fork() -> libc::pid_t;
    fn daemon(stay: libc::c_int, open: libc::c_int) -> libc::c_int;
    fn vfork() -> libc::pid_t;
}

type ForkCall = unsafe extern "C" fn() -> libc::pid_t;

/// A child's exit status, or 100 and the signal that ended it.
fn status_of(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: a word to write.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    match libc::WIFSIGNALED(status) {
        true => 100 + libc::WTERMSIG(status),
        false => libc::WEXITSTATUS(status),
    }
}

/// How the child ends that `call` makes and that does `f`.
fn child_by(call: ForkCall, f: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child ends with `_exit`.
    unsafe {
        let pid = call();
        if pid == 0 {
            libc::alarm(20);
            libc::_exit(f());
        }
        assert!(pid > 0, "{}", std::io::Error::last_os_error());
        status_of(pid)
    }
}

fn child(f: impl FnOnce() -> i32) -> i32 {
    child_by(libc::fork, f)
}

/// Makes more stacks at once than libc keeps free (40 MB), four times over.
fn threads() -> i32 {
    for _ in 0..4 {
        let barrier = Barrier::new(12);
        thread::scope(|s| {
            for _ in 0..12 {
                let wait = || _ = barrier.wait();
                thread::Builder::new().stack_size(8 << 20).spawn_scoped(s, wait).unwrap();
            }
        });
    }
    let begun = Instant::now();
    while begun.elapsed() < ms(10) {}
    0
}

/// Goroutines that compute until the end of `body`.
fn beside_hogs(body: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            go(move || while !stop.load(Ordering::Relaxed) {})
        })
        .collect();
    body();
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
}

#[test]
fn threads_in_a_child() {
    in_own_process("threads_in_a_child", || assert!((0..10).all(|_| child(threads) == 0)));
}

#[test]
fn threads_in_a_childs_child() {
    in_own_process("threads_in_a_childs_child", || {
        assert_eq!(child(|| child(|| child(threads))), 0)
    });
}

/// The thread that forks the grandchild is libc's own: the goroutine's block is none of its free stacks.
#[test]
fn a_thread_of_the_child_forks() {
    in_own_process("a_thread_of_the_child_forks", || {
        assert_eq!(child(|| thread::spawn(|| child(threads)).join().unwrap()), 0)
    });
}

/// Whether `pthread_getattr_np` tells the stack that the caller is on.
fn knows_its_stack() -> bool {
    let local = 0u8;
    // SAFETY: an attribute that the call fills in; two words to write.
    unsafe {
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), &raw mut attr), 0);
        let (mut start, mut bytes) = (std::ptr::null_mut(), 0);
        libc::pthread_attr_getstack(&raw const attr, &raw mut start, &raw mut bytes);
        libc::pthread_attr_destroy(&raw mut attr);
        (start as usize..start as usize + bytes).contains(&(&raw const local as usize))
    }
}

#[test]
#[cfg(feature = "intercept")]
fn a_child_knows_its_stack() {
    in_own_process("a_child_knows_its_stack", || {
        assert_eq!(child(|| i32::from(!knows_its_stack())), 0)
    });
}

/// The child's first thread ends, its others go on.
#[test]
#[cfg(feature = "intercept")]
fn threads_outlive_the_first() {
    in_own_process("threads_outlive_the_first", || {
        let status = child(|| {
            thread::spawn(|| {
                thread::sleep(ms(20));
                // SAFETY: ends the process.
                unsafe { libc::_exit(7) }
            });
            // SAFETY: nothing on this stack is used by others.
            unsafe { libc::pthread_exit(std::ptr::null_mut()) }
        });
        assert_eq!(status, 7);
    });
}

/// What a stack overflow says does not depend on the process that it happens in.
#[test]
fn a_child_overflows_its_stack() {
    #[expect(unconditional_recursion, reason = "that is what overflows")]
    fn deep(n: u64) -> u64 {
        let here = std::hint::black_box([n; 32]);
        deep(n + 1) + here[7]
    }
    let ended = in_child("a_child_overflows_its_stack", &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            let status = child(|| deep(0) as i32);
            assert_eq!(status, 100 + libc::SIGABRT);
        });
    });
    ended.expect_status(0);
    ended.expect_stderr("stack overflow");
}

/// How children end that sleep, beside goroutines that want to run: the child runs none of those.
fn children_beside_hogs(call: ForkCall) {
    let parent = std::process::id();
    beside_hogs(|| {
        for _ in 0..20 {
            let status = child_by(call, || {
                thread::sleep(ms(3));
                i32::from(std::process::id() == parent)
            });
            assert_eq!(status, 0);
        }
    });
}

fn in_own_process(name: &str, body: impl Fn() + Sync) {
    for procs in ["1", "2", "4"] {
        in_child(name, &[("GOMAXPROCS", procs)], || goroutines::run(&body)).expect_status(0);
    }
}

#[test]
#[cfg(feature = "intercept")]
fn children_of_vfork() {
    in_own_process("children_of_vfork", || children_beside_hogs(vfork));
}

#[test]
#[cfg(feature = "intercept")]
fn children_of_the_bare_fork() {
    in_own_process("children_of_the_bare_fork", || children_beside_hogs(_Fork));
}

unsafe extern "C" fn raw_fork() -> libc::pid_t {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_fork) as libc::pid_t }
}

/// As container run-times do it: a clone that is no thread.
unsafe extern "C" fn raw_clone() -> libc::pid_t {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t }
}

#[test]
fn children_of_a_raw_fork() {
    in_own_process("children_of_a_raw_fork", || children_beside_hogs(raw_fork));
}

#[test]
fn children_of_a_raw_clone() {
    in_own_process("children_of_a_raw_clone", || children_beside_hogs(raw_clone));
}

/// A child of `vfork` closes descriptors that the parent's goroutines wait for.
#[test]
#[cfg(feature = "intercept")]
fn a_child_of_vfork_closes() {
    in_own_process("a_child_of_vfork_closes", || {
        let (mut from, mut to) = std::io::pipe().unwrap();
        let reads = go(move || from.read(&mut [0; 8]));
        thread::sleep(ms(20));
        for _ in 0..10 {
            let status = child_by(vfork, || {
                // SAFETY: a child may close what it has.
                (3..64).for_each(|fd| unsafe { _ = libc::close(fd) });
                0
            });
            assert_eq!(status, 0);
        }
        to.write_all(b"abc").unwrap();
        assert_eq!(reads.join().unwrap().unwrap(), 3);
    });
}

/// `daemon` forks inside libc.
#[test]
fn a_daemon() {
    in_own_process("a_daemon", || {
        let (mut from, mut to) = std::io::pipe().unwrap();
        let starts = child(|| {
            // SAFETY: the process goes on as the daemon.
            assert_eq!(unsafe { daemon(1, 1) }, 0);
            let well = threads() == 0;
            _ = to.write_all(&[u8::from(well)]);
            0
        });
        assert_eq!(starts, 0);
        drop(to);
        let mut said = Vec::new();
        from.read_to_end(&mut said).unwrap();
        assert_eq!(said, [1]);
    });
}

/// A child that is to die with its parent, which to the kernel is the thread that forked.
#[test]
fn a_parents_thread_does_not_end() {
    let ended = in_child("a_parents_thread_does_not_end", &[("GOMAXPROCS", "4")], || {
        goroutines::runtime::Builder::new().thread_keep_alive(ms(50)).start().unwrap();
        goroutines::run(|| {
            let spawn = || {
                // Each on a thread of its own.
                goroutines::runtime::blocking(|| {
                    let time = libc::timespec { tv_sec: 0, tv_nsec: 80_000_000 };
                    // SAFETY: a time to read.
                    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, 0) };
                });
                let mut command = Command::new("sleep");
                // SAFETY: a system call, which a child may make.
                unsafe {
                    command.arg("60").pre_exec(|| {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        Ok(())
                    });
                }
                command.spawn().unwrap()
            };
            let all: Vec<_> = (0..4).map(|_| go(spawn)).collect();
            let mut all: Vec<_> = all.into_iter().map(|child| child.join().unwrap()).collect();
            thread::sleep(ms(1_000));
            let alive: Vec<_> = all.iter_mut().map(|c| c.try_wait().unwrap().is_none()).collect();
            all.iter_mut().for_each(|child| child.kill().unwrap());
            assert_eq!(alive, [true; 4]);
        });
    });
    ended.expect_status(0);
}

/// A lock of a library that sees to it that no child finds the lock held, as an allocator does.
static mut LIBRARY: libc::pthread_mutex_t = libc::PTHREAD_MUTEX_INITIALIZER;

extern "C" fn lock() {
    // SAFETY: a mutex.
    assert_eq!(unsafe { libc::pthread_mutex_lock(&raw mut LIBRARY) }, 0);
}

extern "C" fn unlock() {
    // SAFETY: a mutex that the caller holds.
    assert_eq!(unsafe { libc::pthread_mutex_unlock(&raw mut LIBRARY) }, 0);
}

fn procs() -> usize {
    std::env::var("GOMAXPROCS").unwrap().parse().unwrap()
}

/// As many goroutines fork as there are processors, while another holds a lock that a handler wants.
#[test]
fn a_handler_wants_a_lock_that_a_goroutine_holds() {
    const NAME: &str = "a_handler_wants_a_lock_that_a_goroutine_holds";
    for count in ["1", "2", "4"] {
        let ended = in_child(NAME, &[("GOMAXPROCS", count)], || {
            // SAFETY: handlers that may be called at each fork. As a library does when it is loaded.
            unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) };
            goroutines::run(|| {
                for _ in 0..10 {
                    let holds = go(|| {
                        lock();
                        thread::sleep(ms(10));
                        unlock();
                    });
                    thread::sleep(ms(3));
                    let fork = || {
                        let use_it = || {
                            lock();
                            unlock();
                            0
                        };
                        assert_eq!(child(use_it), 0);
                    };
                    let forks: Vec<_> = (0..procs()).map(|_| go(fork)).collect();
                    forks.into_iter().for_each(|fork| fork.join().unwrap());
                    holds.join().unwrap();
                }
            });
        });
        ended.expect_status(0);
    }
}
