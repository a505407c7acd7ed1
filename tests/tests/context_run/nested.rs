//! Runs within runs, who inherits what, and how it is all put back.

use crate::{SOON, VERY_LONG, cancelled, expect_finished};
use goroutines::chan::{RecvTimeoutError, bounded};
use goroutines::context::{self, Context, ContextError};
use goroutines::thread::sleep;
use goroutines::{go, runtime, thread};
use goroutines_tests::io::{PARKS, at_each, ms, tcp_pair};
use goroutines_tests::quiet_panics;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What tells contexts apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Name(&'static str);

fn name() -> &'static str {
    context::current().value::<Name>().map_or("background", |name| name.0)
}

/// A wait that lasts its time.
#[track_caller]
fn lasts() {
    let (start, time) = (Instant::now(), ms(5));
    sleep(time);
    assert!(start.elapsed() >= time, "it was ended");
    let (_send, receive) = bounded::<()>(0);
    assert_eq!(receive.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= 2 * time, "it was ended");
    if PARKS {
        let [mut one, _other] = tcp_pair();
        one.set_read_timeout(Some(time)).unwrap();
        let error = one.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        assert!(start.elapsed() >= 3 * time, "it was ended");
    }
}

/// A wait that is ended.
#[track_caller]
fn is_ended() {
    let start = Instant::now();
    sleep(VERY_LONG);
    let (_send, receive) = bounded::<()>(0);
    assert!(receive.recv().is_err());
    if PARKS {
        let [mut one, _other] = tcp_pair();
        one.read(&mut [0]).unwrap_err();
    }
    assert!(start.elapsed() < SOON, "it was not ended");
}

/// A stretch that is not to be cancelled: cancelled around it before, and while it waits.
#[test]
fn without_cancel() {
    at_each(|_| {
        cancelled().run(|| {
            is_ended();
            context::current().without_cancel().run(lasts);
            is_ended();
        });
        let (context, cancel) = Context::background().with_cancel();
        let waits = context.go(|| {
            context::current().without_cancel().run(|| {
                for _ in 0..5 {
                    lasts();
                }
            });
            is_ended();
        });
        sleep(ms(8));
        cancel.cancel();
        waits.join().unwrap();
    });
}

/// What ends the inner one does not end what the outer one waits for.
#[test]
fn the_inner_ones_cancel() {
    at_each(|_| {
        let (outer, _cancel) = Context::background().with_cancel();
        outer.run(|| {
            lasts();
            let (inner, cancel) = context::current().with_cancel();
            inner.run(|| {
                cancel.cancel();
                is_ended();
            });
            lasts();
            cancelled().run(is_ended);
            lasts();
            context::current().with_timeout(ms(5)).0.run(is_ended);
            lasts();
        });
        // Cancelled when it is over.
        let (inner, cancel) = outer.with_cancel();
        inner.run(lasts);
        cancel.cancel();
        lasts();
    });
}

/// The outer one is cancelled while an inner one that is not made from it counts; it is honoured afterwards.
#[test]
fn the_outer_ones_mark() {
    at_each(|_| {
        let (outer, cancel) = Context::background().with_cancel();
        let (other, _cancel) = Context::background().with_cancel();
        let (begins, begun) = bounded(0);
        let waits = outer.go(move || {
            other.run(|| {
                begins.send(()).unwrap();
                (0..5).for_each(|_| lasts());
            });
            is_ended();
            Context::background().run(lasts);
            is_ended();
        });
        begun.recv().unwrap();
        cancel.cancel();
        waits.join().unwrap();
    });
}

/// One made from the outer one is cancelled with it; both are afterwards.
#[test]
fn an_inner_one_made_from_the_outer_one() {
    at_each(|_| {
        let (outer, cancel) = Context::background().with_cancel();
        let waits = outer.go(|| {
            let (inner, _cancel) = context::current().with_timeout(VERY_LONG);
            inner.run(is_ended);
            assert_eq!(inner.err(), Some(ContextError::Canceled));
            is_ended();
        });
        sleep(ms(5));
        cancel.cancel();
        expect_finished(&waits, "both");
        waits.join().unwrap();
    });
}

/// The same one twice, one within the other; and many, many deep.
#[test]
fn again_and_again() {
    fn deep(n: usize, context: &Context, f: &dyn Fn()) {
        if n == 0 {
            return f();
        }
        context.run(|| deep(n - 1, context, f));
        f();
    }
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        deep(3, &context, &lasts);
        let calls = AtomicUsize::new(0);
        deep(100, &context, &|| {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                cancel.cancel();
            }
            if context::current().err().is_some() {
                is_ended();
            }
        });
        assert_eq!(calls.load(Ordering::Relaxed), 101);
        lasts();
    });
}

/// Many goroutines run in one context, and come and go; who is there when it is cancelled is ended.
#[test]
fn many_run_in_one() {
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let all = (0..500).map(|i| {
            let context = context.clone();
            go(move || {
                if i % 3 == 0 {
                    context.run(|| sleep(Duration::from_micros(i)));
                    return lasts();
                }
                context.run(is_ended);
            })
        });
        let all: Vec<_> = all.collect();
        sleep(ms(5));
        cancel.cancel();
        goroutines_tests::join_all(all);
    });
}

/// Unwinding out of it puts all back, and what is dropped on the way is still within.
#[test]
fn unwinding_restores() {
    struct InDrop(fn());
    impl Drop for InDrop {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    quiet_panics();
    at_each(|_| {
        let outer = Context::background().with_value(Name("outer"));
        let inner = cancelled().with_value(Name("inner"));
        outer.run(|| {
            let payload = catch_unwind(AssertUnwindSafe(|| {
                inner.run(|| {
                    let _drops = InDrop(|| {
                        assert_eq!(name(), "inner");
                        is_ended();
                    });
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        outer.run(|| {
                            let _drops = InDrop(lasts);
                            panic_any("expected");
                        });
                    }));
                    assert_eq!(name(), "inner");
                    is_ended();
                    panic_any("expected");
                });
            }));
            assert_eq!(payload.unwrap_err().downcast_ref::<&str>(), Some(&"expected"));
            assert_eq!(name(), "outer");
            lasts();
        });
        assert_eq!(name(), "background");
        // One that ends in the midst of it, by a panic or by `goexit`; its carrier has others later.
        for end in [(|| panic!("expected")) as fn(), || runtime::goexit()] {
            let inner = inner.clone();
            let ends = go(move || {
                inner.run(|| {
                    is_ended();
                    end();
                });
            });
            expect_finished(&ends, "one that unwinds");
            let _ = ends.join();
            go(lasts).join().unwrap();
        }
    });
}

/// Of those that have ended within a context nothing is left in it: it can be cancelled.
#[test]
fn cancelled_when_all_have_gone() {
    quiet_panics();
    at_each(|_| {
        for _ in 0..50 {
            let (context, cancel) = Context::background().with_cancel();
            let all: Vec<_> = (0..4)
                .map(|i| {
                    context.go(move || match i {
                        0 => panic!("expected"),
                        1 => runtime::goexit(),
                        _ => sleep(Duration::from_micros(10)),
                    })
                })
                .collect();
            for one in all {
                let _ = one.join();
            }
            cancel.cancel();
            lasts_shortly();
        }
    });
}

fn lasts_shortly() {
    let start = Instant::now();
    sleep(ms(1));
    assert!(start.elapsed() >= ms(1));
}

#[test]
fn the_current_one() {
    at_each(|_| {
        assert_eq!(name(), "background");
        assert!(context::current().deadline().is_none());
        let (context, _cancel) =
            Context::background().with_value(Name("outer")).with_timeout(VERY_LONG);
        let result = context.run(|| {
            assert_eq!(name(), "outer");
            assert_eq!(context::current().deadline(), context.deadline());
            context::current().with_value(Name("inner")).run(|| {
                assert_eq!(name(), "inner");
                assert_eq!(context::current().deadline(), context.deadline());
            });
            assert_eq!(name(), "outer");
            Context::background().run(|| assert_eq!(name(), "background"));
            7
        });
        assert_eq!(result, 7);
        assert_eq!(name(), "background");
    });
}

/// Who starts a goroutine may borrow from it what `run` gives; and what is borrowed goes on.
#[test]
fn run_borrows() {
    let mut all = Vec::new();
    Context::background().run(|| all.push(1));
    assert_eq!(all, [1]);
}

/// `Context::go` hands on, whatever else starts a goroutine or a thread does not.
#[test]
fn who_inherits() {
    at_each(|_| {
        let context = cancelled().with_value(Name("outer"));
        context.run(|| {
            assert_eq!(context::current().go(name).join().unwrap(), "outer");
            assert_eq!(go(name).join().unwrap(), "background");
            assert_eq!(thread::spawn(name).join().unwrap(), "background");
            assert_eq!(std::thread::spawn(name).join().unwrap(), "background");
            let scoped = thread::scope(|scope| scope.spawn(name).join().unwrap());
            assert_eq!(scoped, "background");
            go(lasts).join().unwrap();
            context::current().go(is_ended).join().unwrap();
            context::current().without_cancel().go(lasts).join().unwrap();
        });
        // From an ordinary thread, too.
        let thread = std::thread::spawn(move || {
            context
                .go(|| {
                    is_ended();
                    name()
                })
                .join()
                .unwrap()
        });
        assert_eq!(thread.join().unwrap(), "outer");
    });
}

/// A function of `after_func`, and one of `time::after_func`, are in no context.
#[test]
fn functions_are_in_no_context() {
    at_each(|_| {
        let (send, receive) = bounded(2);
        let context = cancelled().with_value(Name("outer"));
        context.run(|| {
            let other = send.clone();
            context.after_func(move || send.send(name()).unwrap());
            let called = move || other.send(name()).unwrap();
            goroutines::time::after_func(ms(1), called);
        });
        for _ in 0..2 {
            assert_eq!(receive.recv_timeout(SOON), Ok("background"));
        }
    });
}

/// What a value's destructor does when `run` drops the last of its context.
#[test]
fn a_value_asks_for_the_current_one_when_dropped() {
    struct Asks(Arc<Mutex<Vec<&'static str>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(name());
            Context::background().with_value(Name("its own")).run(lasts_shortly);
        }
    }
    at_each(|_| {
        let names = Arc::new(Mutex::new(Vec::new()));
        let context = Context::background().with_value(Asks(Arc::clone(&names)));
        Context::background().with_value(Name("outer")).run(|| {
            context.with_value(Name("inner")).run(|| drop(context));
            assert_eq!(name(), "outer");
        });
        assert_eq!(*names.lock().unwrap(), ["outer"]);
    });
}

/// A thread-local's destructor runs when the goroutine ends, in no context, whatever it ended in.
#[test]
fn a_thread_locals_destructor() {
    struct Waits(Arc<AtomicUsize>);
    impl Drop for Waits {
        fn drop(&mut self) {
            lasts_shortly();
            let (context, cancel) = Context::background().with_cancel();
            cancel.cancel();
            context.run(is_ended);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static WAITS: std::cell::RefCell<Option<Waits>> = const { std::cell::RefCell::new(None) };
    }
    at_each(|_| {
        let count = Arc::new(AtomicUsize::new(0));
        let other = Arc::clone(&count);
        let ends = cancelled().go(move || WAITS.set(Some(Waits(other))));
        expect_finished(&ends, "one with a destructor");
        ends.join().unwrap();
        let start = Instant::now();
        while count.load(Ordering::Relaxed) == 0 {
            assert!(start.elapsed() < SOON, "its destructor does not end");
            sleep(ms(1));
        }
    });
}

/// Who cancels its own context is ended next.
#[test]
fn by_oneself() {
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        context.run(|| {
            lasts();
            cancel.cancel();
            is_ended();
        });
        lasts();
    });
}
