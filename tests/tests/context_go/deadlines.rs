//! Deadlines and time-outs, and what the errors say.

use crate::{SHORT, VERY_LONG, expect_canceled, expect_open, wait_for};
use goroutines::context::{Context, ContextError};
use goroutines::go;
use goroutines::thread::sleep;
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::join_all;
use goroutines_tests::proc::at_procs;
use std::io;
use std::time::{Duration, Instant};

/// Go: `testDeadline`.
#[track_caller]
fn expect_deadline(context: &Context) {
    wait_for(context);
    assert_eq!(context.err(), Some(ContextError::DeadlineExceeded));
    assert!(context.deadline().is_some_and(|at| at <= Instant::now()), "early");
}

#[test]
fn deadline() {
    at_each(|_| {
        let soon = || Context::background().with_deadline(Instant::now() + SHORT);
        expect_deadline(&soon().0);
        let (outer, _cancel) = soon();
        let deadline = outer.deadline();
        let (inner, _cancel) = outer.with_deadline(Instant::now() + VERY_LONG);
        assert_eq!(inner.deadline(), deadline);
        expect_deadline(&inner);
        let past = Instant::now().checked_sub(SHORT).unwrap();
        for at in [past, Instant::now()] {
            let (context, _cancel) = Context::background().with_deadline(at);
            assert_eq!(context.err(), Some(ContextError::DeadlineExceeded), "at once");
            expect_deadline(&context);
        }
    });
}

#[test]
fn timeout() {
    at_each(|_| {
        let soon = || Context::background().with_timeout(SHORT);
        expect_deadline(&soon().0);
        let (outer, _cancel) = soon();
        expect_deadline(&outer.with_timeout(VERY_LONG).0);
        let (context, _cancel) = Context::background().with_timeout(Duration::ZERO);
        assert_eq!(context.err(), Some(ContextError::DeadlineExceeded), "at once");
        // Beyond all clocks: not in the past.
        let (context, _cancel) = Context::background().with_timeout(Duration::MAX);
        sleep(SHORT);
        expect_open(&context);
    });
}

/// From an ordinary thread, too: there it needs a goroutine to set it.
#[test]
fn timeout_on_a_thread() {
    for procs in [1, 2, 4] {
        at_procs(procs, || {
            let thread = std::thread::spawn(|| {
                let start = Instant::now();
                let (context, _cancel) = Context::background().with_timeout(ms(20));
                assert!(context.done().recv().is_err());
                assert!(start.elapsed() >= ms(20), "early");
                expect_deadline(&context);
            });
            thread.join().unwrap();
        });
    }
}

/// Never early, and in time; many at once.
#[test]
fn a_thousand_deadlines() {
    at_each(|_| {
        let all = (0..1_000u64).map(|i| {
            go(move || {
                let start = Instant::now();
                let time = ms(20 + i * 7_919 % 100);
                let (context, _cancel) = Context::background().with_timeout(time);
                assert!(context.done().recv().is_err());
                let took = start.elapsed();
                assert!(took >= time, "early: {took:?} instead of {time:?}");
                assert!(took < time + ms(5_000), "late: {took:?} instead of {time:?}");
                assert_eq!(context.err(), Some(ContextError::DeadlineExceeded));
            })
        });
        join_all(all.collect::<Vec<_>>());
    });
}

#[test]
fn canceled_timeout() {
    at_each(|_| {
        let (outer, _cancel) = Context::background().with_timeout(VERY_LONG);
        let (context, cancel) = outer.with_timeout(VERY_LONG);
        cancel.cancel();
        expect_canceled(&context);
        expect_open(&outer);
    });
}

/// A deadline that was not needed ends nothing.
#[test]
fn canceled_before_its_deadline() {
    at_each(|_| {
        let all = (0..200).map(|_| {
            let (context, cancel) = Context::background().with_timeout(SHORT);
            cancel.cancel();
            let error = context.err();
            (context, error)
        });
        let all: Vec<_> = all.collect();
        sleep(ms(10));
        for (context, error) in all {
            assert_eq!(context.err(), error, "it changed its mind");
        }
    });
}

#[test]
fn deadline_exceeded_is_about_time() {
    assert!(ContextError::DeadlineExceeded.is_timeout());
    assert!(!ContextError::Canceled.is_timeout());
    // Go: TestDeadlineExceededIsNetError.
    let error = io::Error::from(ContextError::DeadlineExceeded);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let error = io::Error::from(ContextError::Canceled);
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
    assert_ne!(error.kind(), io::ErrorKind::Interrupted, "it would be tried again");
    let texts = [ContextError::Canceled, ContextError::DeadlineExceeded].map(|e| e.to_string());
    assert_eq!(texts, ["context canceled", "context deadline exceeded"]);
}
