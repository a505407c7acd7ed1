//! Functions that are called when a context is done.

use crate::{QUIESCENT, SHORT, canceled, expect_received};
use goroutines::chan::bounded;
use goroutines::context::Context;
use goroutines::thread::sleep;
use goroutines::{go, runtime};
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::proc::wait_until;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn after_func_called_after_cancel() {
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let (send, called) = bounded(1);
        let after = context.after_func(move || send.send(()).unwrap());
        assert!(called.recv_timeout(SHORT).is_err(), "called before the context is done");
        cancel.cancel();
        expect_received(&called);
        assert!(!after.stop());
        assert!(called.recv_timeout(SHORT).is_err(), "called once");
    });
}

#[test]
fn after_func_called_after_timeout() {
    at_each(|_| {
        let (context, cancel) = Context::background().with_timeout(SHORT);
        let _cancel = cancel.drop_guard();
        let (send, called) = bounded(1);
        context.after_func(move || send.send(()).unwrap());
        expect_received(&called);
    });
}

#[test]
fn after_func_called_immediately() {
    at_each(|_| {
        let context = canceled(Context::background().with_cancel());
        let (send, called) = bounded(1);
        let after = context.after_func(move || send.send(()).unwrap());
        expect_received(&called);
        assert!(!after.stop());
    });
}

#[test]
fn after_func_not_called_after_stop() {
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let called = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&called);
        let after = context.after_func(move || set.store(true, Ordering::Relaxed));
        assert!(after.stop());
        cancel.cancel();
        sleep(ms(5));
        assert!(!called.load(Ordering::Relaxed));
        assert!(!after.stop(), "the second time");
    });
}

/// Of a context that is never done a function is never called. It can be stopped, once, as in Go.
#[test]
fn after_func_of_the_background() {
    let after = Context::background().after_func(|| unreachable!());
    assert!(after.stop(), "neither called nor stopped before");
    assert!(!after.stop());
}

/// Cancelling does not wait for the functions.
#[test]
fn after_func_called_asynchronously() {
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let (send, called) = bounded(0);
        // Blocks until it is received.
        let after = context.after_func(move || send.send(()).unwrap());
        cancel.cancel();
        expect_received(&called);
        assert!(!after.stop());
    });
}

/// Each of many functions is called or was stopped, whatever the race.
#[test]
fn after_funcs_race_with_stop() {
    at_each(|_| {
        for round in 0..50 {
            let (context, cancel) = Context::background().with_cancel();
            let called = Arc::new(AtomicUsize::new(0));
            let all: Vec<_> = (0..20)
                .map(|_| {
                    let called = Arc::clone(&called);
                    context.after_func(move || {
                        called.fetch_add(1, Ordering::SeqCst);
                    })
                })
                .collect();
            let cancels = go(move || cancel.cancel());
            if round % 2 == 0 {
                runtime::gosched();
            }
            let stopped = all.iter().filter(|after| after.stop()).count();
            cancels.join().unwrap();
            let both = || stopped + called.load(Ordering::SeqCst);
            wait_until(QUIESCENT, "all were called or stopped", || both() == 20);
            runtime::gosched();
            assert_eq!(both(), 20, "one was both");
        }
    });
}
