//! `Context::run`: what blocks ends early when the context is cancelled, and what does not.
//!
//! The rows are those of the table in the documentation of `goroutines::context`, and the lines below it. Each
//! way to block is cancelled before it begins and while it lasts, by another goroutine, by an ordinary
//! thread, by the parent, and by a deadline, at `GOMAXPROCS` 1, 2 and 4.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

mod at_once;
mod channels;
mod descriptors;
mod nested;
mod not_ended;
mod others;

use goroutines::chan::{RecvTimeoutError, bounded};
use goroutines::context::{Cancel, Context};
use goroutines::thread::{JoinHandle, sleep};
use goroutines::{context, go};
use goroutines_tests::io::{PARKS, at_each, ms};
use goroutines_tests::join_all;
use std::fmt::Debug;
use std::io;
use std::time::{Duration, Instant};

/// What is ended comes back by then, on a busy machine too.
const SOON: Duration = ms(20_000);
/// Nobody waits so long.
const VERY_LONG: Duration = Duration::from_secs(3_600);

/// How a call came back that was ended.
#[derive(Debug)]
enum End {
    /// A call of the system: with an error.
    Failed(io::Error),
    /// A channel's operation: as if it were disconnected.
    Closed,
    /// A sleep: before its time.
    Early,
}

/// Blocks for ever, or until it is ended. What it needs is its own, and is dropped outside the context.
type Wait = Box<dyn FnMut() -> End + Send>;

/// A way to block: its name, and what makes a wait of it.
type Row = (&'static str, fn() -> Wait);

/// How a system call ended.
#[track_caller]
fn failed<T: Debug>(result: io::Result<T>) -> End {
    match result {
        Err(error) => End::Failed(error),
        Ok(value) => panic!("it came back with {value:?}"),
    }
}

/// How a channel's operation ended.
#[track_caller]
fn closed<T: Debug, E: Debug>(result: Result<T, E>) -> End {
    match result {
        Err(_) => End::Closed,
        Ok(value) => panic!("it came back with {value:?}"),
    }
}

/// Who ends the context, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    CancelledBefore,
    Cancelled,
    CancelledByThread,
    ParentCancelled,
    TimedOutBefore,
    TimedOut,
}

const MODES: [Mode; 6] = [
    Mode::CancelledBefore,
    Mode::Cancelled,
    Mode::CancelledByThread,
    Mode::ParentCancelled,
    Mode::TimedOutBefore,
    Mode::TimedOut,
];

/// Waits are under way by then; if they are not, what follows is all the same.
const BEGUN: Duration = ms(15);

impl Mode {
    fn is_before(self) -> bool {
        matches!(self, Self::CancelledBefore | Self::TimedOutBefore)
    }

    fn context(self) -> (Context, Cancel) {
        let background = Context::background();
        match self {
            Self::CancelledBefore => {
                let (context, cancel) = background.with_cancel();
                cancel.cancel();
                (context, cancel)
            }
            Self::Cancelled | Self::CancelledByThread => background.with_cancel(),
            Self::ParentCancelled => {
                let (parent, cancel) = background.with_cancel();
                (parent.with_timeout(VERY_LONG).0.with_value(1).with_cancel().0, cancel)
            }
            Self::TimedOutBefore => background.with_timeout(Duration::ZERO),
            Self::TimedOut => background.with_timeout(2 * BEGUN),
        }
    }

    /// What a call of the system's fails with.
    fn errno(self) -> i32 {
        match self {
            Self::TimedOut | Self::TimedOutBefore => libc::ETIMEDOUT,
            _ => libc::ECANCELED,
        }
    }
}

/// Each of `rows` is ended in each way, all of them at once.
fn check(rows: &[Row]) {
    at_each(|procs| {
        for mode in MODES {
            check_mode(rows, mode, procs);
        }
    });
}

fn check_mode(rows: &[Row], mode: Mode, procs: usize) {
    let at = |name: &str| format!("{name}, {mode:?}, at {procs}");
    let started = rows.iter().map(|(name, make)| {
        let (mut wait, start) = (make(), Instant::now());
        let (context, cancel) = mode.context();
        let waiter = go(move || {
            let end = context.run(&mut wait);
            // It may last no longer than the context: for a deadline that is its time.
            let took = start.elapsed();
            assert!(context.err().is_some(), "it came back by itself");
            nothing_is_left();
            (end, took, wait)
        });
        (*name, waiter, cancel)
    });
    let started: Vec<_> = started.collect();
    if !mode.is_before() {
        sleep(BEGUN);
    }
    let mut waiters = Vec::new();
    for (name, waiter, cancel) in started {
        match mode {
            Mode::Cancelled | Mode::ParentCancelled => {
                assert!(!waiter.is_finished(), "it does not block: {}", at(name));
                cancel.cancel();
            }
            Mode::CancelledByThread => {
                std::thread::spawn(move || cancel.cancel()).join().unwrap();
            }
            _ => {}
        }
        waiters.push((name, waiter));
    }
    for (name, waiter) in waiters {
        expect_end(waiter, mode, &at(name));
    }
}

#[track_caller]
fn expect_end(waiter: JoinHandle<(End, Duration, Wait)>, mode: Mode, at: &str) {
    expect_finished(&waiter, at);
    let Ok((end, took, wait)) = waiter.join() else { panic!("{at}") };
    drop(wait);
    if let End::Failed(error) = &end {
        assert_eq!(error.raw_os_error(), Some(mode.errno()), "{at}: {error:?}");
        let is_timeout = error.kind() == io::ErrorKind::TimedOut;
        assert_eq!(is_timeout, mode.errno() == libc::ETIMEDOUT, "{at}: {error:?}");
    }
    let least = match mode {
        Mode::Cancelled | Mode::CancelledByThread | Mode::ParentCancelled => BEGUN,
        Mode::TimedOut => 2 * BEGUN,
        Mode::CancelledBefore | Mode::TimedOutBefore => Duration::ZERO,
    };
    assert!(took >= least, "{at}: early, after {took:?}");
}

#[track_caller]
fn expect_finished<T>(handle: &JoinHandle<T>, what: &str) {
    let start = Instant::now();
    while !handle.is_finished() {
        assert!(start.elapsed() < SOON, "not ended: {what}");
        sleep(ms(1));
    }
}

/// After a `run` all is as before it: the next waits last as long as they are to.
#[track_caller]
fn nothing_is_left() {
    assert!(context::current().err().is_none());
    let (start, time) = (Instant::now(), ms(2));
    sleep(time);
    assert!(start.elapsed() >= time, "a sleep after it was ended");
    let (_send, receive) = bounded::<()>(0);
    let start = Instant::now();
    assert_eq!(receive.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= time, "a receipt after it was ended");
    if PARKS {
        let start = Instant::now();
        std::thread::sleep(time);
        assert!(start.elapsed() >= time, "a sleep of std's after it was ended");
    }
}

/// A context that was cancelled.
fn cancelled() -> Context {
    let (context, cancel) = Context::background().with_cancel();
    cancel.cancel();
    context
}

/// Calls each of `bodies` in a goroutine; all of them at once.
fn all_at_once<const N: usize>(bodies: [(&str, fn()); N]) {
    let all = bodies.map(|(name, body)| (name, go(body)));
    for (name, one) in all {
        expect_finished(&one, name);
        assert!(one.join().is_ok(), "{name}");
    }
    join_all::<()>([]);
}
