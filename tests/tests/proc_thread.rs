//! `goroutines::thread` is `std::thread`: the tests of library/std/src/thread/tests.rs (the Rust project,
//! MIT or Apache-2.0), by their names, on goroutines. Not here: those about the OS's name of a thread,
//! and about niches in `ThreadId`.

use goroutines::thread::{self, Builder, Scope, ThreadId};
use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::proc::{alone, at_procs, burn_for};
use goroutines_tests::quiet_panics;
use std::any::Any;
use std::collections::HashSet;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Runs `body` in a goroutine on one processor and on four, and on an ordinary thread.
fn everywhere(body: impl Fn() + Sync) {
    for procs in [1, 4] {
        at_procs(procs, &body);
    }
    alone(2, body);
}

/// std: `test_unnamed_thread`.
#[test]
fn unnamed_thread() {
    everywhere(|| {
        thread::spawn(|| assert!(thread::current().name().is_none())).join().unwrap();
    });
}

/// std: `test_named_thread`.
#[test]
fn named_thread() {
    everywhere(|| {
        let named = Builder::new().name("ada lovelace".to_owned());
        let named = named.spawn(|| assert_eq!(thread::current().name(), Some("ada lovelace")));
        let named = named.unwrap();
        assert_eq!(named.thread().name(), Some("ada lovelace"));
        named.join().unwrap();
    });
}

/// std: `test_run_basic`. The channel is std's, which blocks the thread here.
#[test]
fn run_basic() {
    everywhere(|| {
        let (tx, rx) = channel();
        thread::spawn(move || tx.send(()).unwrap());
        rx.recv().unwrap();
    });
}

/// std: `test_is_finished`.
#[test]
fn is_finished() {
    everywhere(|| {
        let barrier = Arc::new(Barrier::new(2));
        let theirs = Arc::clone(&barrier);
        let t = thread::spawn(move || {
            theirs.wait();
            1234
        });
        assert!(!t.is_finished());
        barrier.wait();
        let start = Instant::now();
        while !t.is_finished() {
            assert!(start.elapsed() < ms(2000));
            thread::sleep(ms(15));
        }
        let join_time = Instant::now();
        assert_eq!(t.join().unwrap(), 1234);
        assert!(join_time.elapsed() < ms(2000));
    });
}

/// std: `test_join_panic`.
#[test]
fn join_panic() {
    quiet_panics();
    everywhere(|| assert!(thread::spawn(|| panic!("expected by the test")).join().is_err()));
}

/// std: `test_spawn_sched`.
#[test]
fn spawn_sched() {
    fn f(i: i32, tx: Sender<()>) {
        thread::spawn(move || {
            if i == 0 {
                tx.send(()).expect("the receiver lives");
            } else {
                f(i - 1, tx);
            }
        });
    }
    everywhere(|| {
        let (tx, rx) = channel();
        f(10, tx);
        rx.recv().unwrap();
    });
}

/// std: `test_avoid_copying_the_body_spawn`, `…_thread_spawn` and `…_join`.
#[test]
fn avoid_copying_the_body() {
    fn check(spawn: impl FnOnce(Box<dyn FnOnce() + Send>)) {
        let (tx, rx) = channel();
        let x = Box::new(1);
        let in_parent = (&raw const *x).addr();
        spawn(Box::new(move || tx.send((&raw const *x).addr()).expect("the receiver lives")));
        assert_eq!(rx.recv().expect("an address"), in_parent);
    }
    everywhere(|| {
        check(|f| drop(thread::spawn(f)));
        check(|f| {
            thread::spawn(move || {
                f();
            });
        });
        check(|f| thread::spawn(f).join().unwrap());
    });
}

/// std: `test_child_doesnt_ref_parent`, with more generations.
#[test]
fn child_doesnt_ref_parent() {
    fn child(left: u32, last: Arc<AtomicBool>, wg: WaitGroup) {
        if left == 0 {
            last.store(true, Ordering::Relaxed);
            return wg.done();
        }
        thread::spawn(move || child(left - 1, last, wg));
    }
    everywhere(|| {
        let (last, wg) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        wg.add(1);
        child(10_000, Arc::clone(&last), wg.clone());
        wg.wait();
        assert!(last.load(Ordering::Relaxed), "the last has not run");
    });
}

/// std: `test_try_panic_message_string_literal`, `test_try_panic_any_message_owned_str`, `…_any` and
/// `…_unit_struct`.
#[test]
fn panic_messages() {
    struct Juju;
    quiet_panics();
    everywhere(|| {
        let of = |f: fn()| thread::spawn(f).join().unwrap_err();
        let literal = of(|| panic!("expected: static string"));
        assert_eq!(*literal.downcast::<&'static str>().unwrap(), "expected: static string");
        let owned = of(|| panic_any("expected: owned string".to_owned()));
        assert_eq!(*owned.downcast::<String>().unwrap(), "expected: owned string");
        let any =
            of(|| std::panic::resume_unwind(Box::new(Box::new(413_u16) as Box<dyn Any + Send>)));
        let any = any.downcast::<Box<dyn Any + Send>>().unwrap();
        assert_eq!(*any.downcast::<u16>().unwrap(), 413);
        assert!(of(|| std::panic::resume_unwind(Box::new(Juju))).is::<Juju>());
    });
}

/// std: `test_park_unpark_before`.
#[test]
fn park_unpark_before() {
    everywhere(|| {
        for _ in 0..10 {
            thread::current().unpark();
            thread::park();
        }
    });
}

/// std: `test_park_unpark_called_other_thread`.
#[test]
fn park_unpark_called_other_thread() {
    everywhere(|| {
        for _ in 0..10 {
            let th = thread::current();
            thread::spawn(move || {
                thread::sleep(ms(5));
                th.unpark();
            });
            thread::park();
        }
    });
}

/// An ordinary thread wakes a goroutine, and a goroutine wakes an ordinary thread.
#[test]
fn park_unpark_between_threads_and_goroutines() {
    at_procs(2, || {
        for _ in 0..10 {
            let th = thread::current();
            let waker = std::thread::spawn(move || th.unpark());
            thread::park();
            runtime::blocking(|| waker.join().unwrap());
        }
    });
    alone(2, || {
        for _ in 0..10 {
            let th = thread::current();
            go(move || th.unpark());
            thread::park();
        }
    });
}

/// std: `test_park_timeout_unpark_before`.
#[test]
fn park_timeout_unpark_before() {
    everywhere(|| {
        for _ in 0..10 {
            thread::current().unpark();
            thread::park_timeout(ms(u64::from(u32::MAX)));
        }
    });
}

/// std: `test_park_timeout_unpark_not_called`. Restated: it is over in time.
#[test]
fn park_timeout_unpark_not_called() {
    everywhere(|| {
        let start = Instant::now();
        for _ in 0..10 {
            thread::park_timeout(ms(10));
        }
        assert!(start.elapsed() >= ms(95), "{:?}", start.elapsed());
        assert!(start.elapsed() < ms(2000), "{:?}", start.elapsed());
    });
}

/// std: `test_park_timeout_unpark_called_other_thread`.
#[test]
fn park_timeout_unpark_called_other_thread() {
    everywhere(|| {
        for _ in 0..10 {
            let th = thread::current();
            thread::spawn(move || {
                thread::sleep(ms(5));
                th.unpark();
            });
            thread::park_timeout(ms(u64::from(u32::MAX)));
        }
    });
}

/// Time-outs and wake-ups that meet: no token is lost, and none is there twice.
#[test]
fn park_timeout_races_with_unpark() {
    at_procs(2, || {
        for i in 0..300 {
            let (woken, th) = (Arc::new(AtomicBool::new(false)), thread::current());
            let set = Arc::clone(&woken);
            let waker = go(move || {
                burn_for(Duration::from_micros(i));
                set.store(true, Ordering::SeqCst);
                th.unpark();
            });
            thread::park_timeout(Duration::from_micros(100));
            while !woken.load(Ordering::SeqCst) {
                thread::park();
            }
            waker.join().unwrap();
            // At most one token is left of that.
            thread::park_timeout(Duration::ZERO);
            let start = Instant::now();
            if i % 30 == 0 {
                thread::park_timeout(ms(5));
                assert!(start.elapsed() >= ms(4), "a second token");
            }
        }
    });
}

/// std: `sleep_ms_smoke`. Restated: not too short.
#[test]
fn sleep_ms_smoke() {
    everywhere(|| {
        let start = Instant::now();
        thread::sleep(ms(2));
        assert!(start.elapsed() >= ms(2));
    });
}

/// std: `test_thread_id_equal` and `test_thread_id_not_equal`, with std's own ids too.
#[test]
fn thread_ids() {
    everywhere(|| {
        assert_eq!(thread::current().id(), thread::current().id());
        let ids = || (thread::current().id(), std::thread::current().id());
        let all: Vec<(ThreadId, std::thread::ThreadId)> =
            (0..50).map(|_| thread::spawn(ids).join().unwrap()).chain([ids()]).collect();
        assert_eq!(all.iter().map(|(ours, _)| *ours).collect::<HashSet<_>>().len(), 51);
        assert_eq!(all.iter().map(|(_, stds)| *stds).collect::<HashSet<_>>().len(), 51);
        let handle = thread::spawn(|| thread::current().id());
        let seen = handle.thread().id();
        assert_eq!(handle.join().unwrap(), seen);
    });
}

/// std: `test_scoped_threads_drop_result_before_join`.
#[test]
fn scoped_threads_drop_result_before_join() {
    struct X<'scope, 'env>(&'scope Scope<'scope, 'env>, &'env AtomicBool);
    impl Drop for X<'_, '_> {
        fn drop(&mut self) {
            thread::sleep(ms(20));
            let actually_finished = self.1;
            self.0.spawn(move || {
                thread::sleep(ms(20));
                actually_finished.store(true, Ordering::Relaxed);
            });
        }
    }
    everywhere(|| {
        let actually_finished = &AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(move || {
                thread::sleep(ms(20));
                X(s, actually_finished)
            });
        });
        assert!(actually_finished.load(Ordering::Relaxed));
    });
}

/// std: `test_scoped_threads_nll`, mostly a test that this compiles.
#[test]
fn scoped_threads_nll() {
    #[expect(clippy::match_single_binding, reason = "the closure borrows without reading")]
    fn foo(x: &u8) {
        thread::scope(|s| {
            s.spawn(|| match x {
                _ => (),
            });
        });
    }
    everywhere(|| foo(&42));
}

/// std: `scope_join_race`. Restated, as no race detector runs: what the scope's goroutines wrote is
/// there when it returns, and they are done with what they borrow.
#[test]
fn scope_join_race() {
    everywhere(|| {
        for _ in 0..100 {
            let (flag, mut counts) = (AtomicBool::new(false), [0_u32; 10]);
            thread::scope(|s| {
                for count in &mut counts {
                    s.spawn(|| *count += 1 + u32::from(flag.load(Ordering::Relaxed)));
                }
            });
            assert_eq!(counts, [1; 10]);
        }
    });
}

/// A goroutine of a scope that panics and is not joined makes the scope panic; one that is joined does
/// not. (std: doc of `scope`.)
#[test]
fn scope_panics() {
    quiet_panics();
    everywhere(|| {
        let caught = std::panic::catch_unwind(|| {
            thread::scope(|s| drop(s.spawn(|| panic!("expected by the test"))));
        });
        let text = caught.unwrap_err();
        assert!(text.is::<&str>());
        let joined = thread::scope(|s| s.spawn(|| panic!("expected by the test")).join().is_err());
        assert!(joined);
        // The scope's own panic comes out, after all have ended.
        let ended = AtomicBool::new(false);
        let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            thread::scope(|s| {
                s.spawn(|| {
                    thread::sleep(ms(10));
                    ended.store(true, Ordering::SeqCst);
                });
                panic!("expected by the test: the scope");
            })
        }));
        let own = own.map(|(): ()| ()).unwrap_err();
        assert_eq!(*own.downcast::<&str>().unwrap(), "expected by the test: the scope");
        assert!(ended.load(Ordering::SeqCst));
    });
}

/// std: `test_minimal_thread_stack`: a tiny stack is rounded up; a huge one is an error.
#[test]
fn stack_sizes() {
    everywhere(|| {
        let count = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&count);
        let tiny = Builder::new().stack_size(1);
        let tiny = tiny.spawn(move || theirs.fetch_add(1, Ordering::Relaxed)).unwrap();
        assert_eq!(tiny.join().unwrap(), 0);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let huge = Builder::new().stack_size(1 << 40).spawn(|| ());
        assert_eq!(huge.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    });
}

/// A result that nobody takes is dropped, once; one that is taken, by who took it.
#[test]
fn results_are_dropped_once() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    everywhere(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        for i in 0..200 {
            let counts = Counts(Arc::clone(&drops));
            let handle = go(move || counts);
            match i % 3 {
                0 => drop(handle),
                1 => drop(handle.join()),
                _ => {
                    thread::yield_now();
                    drop(handle);
                }
            }
        }
        let start = Instant::now();
        while drops.load(Ordering::SeqCst) < 200 {
            assert!(start.elapsed() < ms(5000), "{} drops", drops.load(Ordering::SeqCst));
            thread::yield_now();
        }
        assert_eq!(drops.load(Ordering::SeqCst), 200);
    });
}
