//! Panics: std counts them per thread.

use goroutines::go;
use goroutines::thread::{self, yield_now};
use goroutines_tests::{join_all, on_procs, quiet_panics, work};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[test]
fn panics_are_caught_where_they_are_thrown() {
    quiet_panics();
    on_procs("panics_are_caught_where_they_are_thrown", |_| {
        join_all((0..32).map(|id| {
            go(move || {
                for round in 0..20 {
                    assert!(!std::thread::panicking());
                    let thrown = catch_unwind(|| {
                        work(id);
                        yield_now();
                        panic!("expected {id} {round}");
                    });
                    let text = thrown.unwrap_err();
                    let text = text.downcast_ref::<String>().unwrap();
                    assert_eq!(*text, format!("expected {id} {round}"));
                    yield_now();
                }
            })
        }));
    });
}

#[test]
fn a_panic_comes_out_of_join_and_the_others_go_on() {
    quiet_panics();
    on_procs("a_panic_comes_out_of_join_and_the_others_go_on", |_| {
        let handles: Vec<_> = (0..60)
            .map(|id| {
                go(move || {
                    work(id);
                    match id % 3 {
                        0 => panic!("expected"),
                        1 => resume_unwind(Box::new(id)),
                        _ => id,
                    }
                })
            })
            .collect();
        for (id, handle) in (0..).zip(handles) {
            let result = handle.join();
            match id % 3 {
                0 => assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "expected"),
                1 => assert_eq!(*result.unwrap_err().downcast::<u64>().unwrap(), id),
                _ => assert_eq!(result.unwrap(), id),
            }
        }
    });
}

/// Blocks while unwinding: yields, then parks until told to go on.
struct BlocksInDrop {
    unwinding: Arc<AtomicU32>,
}

impl Drop for BlocksInDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking());
        for _ in 0..5 {
            yield_now();
            assert!(std::thread::panicking(), "lost in a yield");
        }
        self.unwinding.fetch_add(1, Ordering::Relaxed);
        thread::park();
        assert!(std::thread::panicking(), "lost in a park");
    }
}

/// With panic counts of the OS thread, the others would seem to panic, and their own panics would be
/// panics while panicking, which abort.
#[test]
fn who_blocks_while_unwinding_is_alone_in_that() {
    quiet_panics();
    on_procs("who_blocks_while_unwinding_is_alone_in_that", |_| {
        let unwinding = Arc::new(AtomicU32::new(0));
        let unwind: Vec<_> = (0..8)
            .map(|_| {
                let unwinding = Arc::clone(&unwinding);
                go(move || {
                    let _blocks = BlocksInDrop { unwinding };
                    panic!("expected");
                })
            })
            .collect();
        while unwinding.load(Ordering::Relaxed) < 8 {
            yield_now();
            assert!(!std::thread::panicking(), "main does not panic");
        }
        // All eight are in the midst of unwinding now.
        join_all((0..8).map(|id| {
            go(move || {
                for _ in 0..20 {
                    assert!(!std::thread::panicking(), "this one does not panic");
                    work(id);
                    let lock = std::sync::Mutex::new(());
                    drop(lock.lock().unwrap());
                    assert!(!lock.is_poisoned(), "std asks panicking() for that");
                    assert!(catch_unwind(|| panic!("expected")).is_err());
                    yield_now();
                }
            })
        }));
        for handle in unwind {
            handle.thread().unpark();
            assert_eq!(*handle.join().unwrap_err().downcast::<&str>().unwrap(), "expected");
        }
    });
}

#[test]
fn a_panic_in_a_destructor_that_is_caught_there_does_not_abort() {
    struct Catches(Arc<AtomicBool>);
    impl Drop for Catches {
        fn drop(&mut self) {
            yield_now();
            let inner = catch_unwind(|| {
                yield_now();
                panic!("expected, inside");
            });
            yield_now();
            self.0.store(inner.is_err(), Ordering::Relaxed);
        }
    }
    quiet_panics();
    on_procs("a_panic_in_a_destructor_that_is_caught_there_does_not_abort", |_| {
        join_all((0..16).map(|_| {
            go(|| {
                let caught = Arc::new(AtomicBool::new(false));
                let guard = Catches(Arc::clone(&caught));
                let outer = catch_unwind(AssertUnwindSafe(move || {
                    let _guard = guard;
                    panic!("expected, outside");
                }));
                assert_eq!(*outer.unwrap_err().downcast::<&str>().unwrap(), "expected, outside");
                assert!(caught.load(Ordering::Relaxed));
            })
        }));
    });
}
