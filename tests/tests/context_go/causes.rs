//! Why a context was cancelled.

use crate::{SHORT, VERY_LONG, canceled, cause, expect_cause, wait_for};
use goroutines::context::{CancelCause, Cause, Context, ContextError};
use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::io::at_each;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PARENT: &str = "parentCause";
const CHILD: &str = "childCause";
const TOO_SLOW: &str = "tooSlow";
const EARLY: &str = "finishedEarly";
const CANCELED: Ends = (Some(ContextError::Canceled), Some("context canceled"));

/// An error and a cause.
type Ends = (Option<ContextError>, Option<&'static str>);
/// A row of the table: its name, how the context is made, and how it has ended.
type CauseRow = (&'static str, fn() -> Context, Ends);

const CAUSES: [CauseRow; 10] = [
    ("background", Context::background, (None, None)),
    ("with_cancel", || canceled(Context::background().with_cancel()), CANCELED),
    (
        "with_cause",
        || {
            let (context, cancel) = Context::background().with_cancel_cause();
            cancel.cancel(cause(PARENT));
            context
        },
        (Some(ContextError::Canceled), Some(PARENT)),
    ),
    (
        "with_cause, as cancelled", // Go: nil
        || {
            let (context, cancel) = Context::background().with_cancel_cause();
            cancel.cancel(ContextError::Canceled);
            context
        },
        CANCELED,
    ),
    (
        "parent's cause before the child's",
        || in_order(true, |parent| parent.cancel(cause(PARENT))),
        (Some(ContextError::Canceled), Some(PARENT)),
    ),
    (
        "parent's cause after the child's",
        || in_order(false, |parent| parent.cancel(cause(PARENT))),
        (Some(ContextError::Canceled), Some(CHILD)),
    ),
    (
        "parent's cause before none",
        || {
            let (outer, cancel) = Context::background().with_cancel_cause();
            let (context, cancel_child) = outer.with_cancel();
            cancel.cancel(cause(PARENT));
            cancel_child.cancel();
            context
        },
        (Some(ContextError::Canceled), Some(PARENT)),
    ),
    (
        "parent's cause after none",
        || {
            let (outer, cancel) = Context::background().with_cancel_cause();
            let (context, cancel_child) = outer.with_cancel();
            cancel_child.cancel();
            cancel.cancel(cause(PARENT));
            context
        },
        CANCELED,
    ),
    (
        "child's cause after none",
        || {
            let (outer, cancel) = Context::background().with_cancel();
            let (context, cancel_child) = outer.with_cancel_cause();
            cancel.cancel();
            cancel_child.cancel(cause(CHILD));
            context
        },
        CANCELED,
    ),
    (
        "child's cause before none",
        || {
            let (outer, cancel) = Context::background().with_cancel();
            let (context, cancel_child) = outer.with_cancel_cause();
            cancel_child.cancel(cause(CHILD));
            cancel.cancel();
            context
        },
        (Some(ContextError::Canceled), Some(CHILD)),
    ),
];

/// A child with a cause, cancelled before or after its parent.
fn in_order(parent_first: bool, end: fn(&CancelCause)) -> Context {
    let (outer, parent) = Context::background().with_cancel_cause();
    let (context, child) = outer.with_cancel_cause();
    if parent_first {
        end(&parent);
    }
    child.cancel(cause(CHILD));
    end(&parent);
    context
}

const TIMED_OUT: Ends = (Some(ContextError::DeadlineExceeded), Some("context deadline exceeded"));
const WAS_TOO_SLOW: Ends = (Some(ContextError::DeadlineExceeded), Some(TOO_SLOW));

const TIMED_CAUSES: [CauseRow; 10] = [
    ("with_timeout", || canceled(Context::background().with_timeout(Duration::ZERO)), TIMED_OUT),
    (
        "with_timeout, cancelled",
        || canceled(Context::background().with_timeout(VERY_LONG)),
        CANCELED,
    ),
    (
        "with_timeout_cause",
        || {
            let background = Context::background();
            canceled(background.with_timeout_cause(Duration::ZERO, cause(TOO_SLOW)))
        },
        WAS_TOO_SLOW,
    ),
    (
        "with_deadline_cause",
        || {
            let background = Context::background();
            canceled(background.with_deadline_cause(Instant::now(), cause(TOO_SLOW)))
        },
        WAS_TOO_SLOW,
    ),
    (
        "with_timeout_cause, later",
        || {
            let background = Context::background();
            let (context, _cancel) = background.with_timeout_cause(SHORT, cause(TOO_SLOW));
            wait_for(&context);
            context
        },
        WAS_TOO_SLOW,
    ),
    (
        "with_timeout_cause, cancelled",
        || canceled(Context::background().with_timeout_cause(VERY_LONG, cause(TOO_SLOW))),
        CANCELED,
    ),
    (
        "with_timeout_cause, whose parent is cancelled later",
        || stacked(Duration::ZERO),
        WAS_TOO_SLOW,
    ),
    (
        "with_timeout_cause, whose parent is cancelled",
        || stacked(VERY_LONG),
        (Some(ContextError::Canceled), Some(EARLY)),
    ),
    (
        "with_timeout_cause, whose parent's deadline is sooner",
        || {
            let (outer, _cancel) = Context::background().with_timeout(SHORT);
            let (context, _cancel) = outer.with_timeout_cause(VERY_LONG, cause(TOO_SLOW));
            wait_for(&context);
            context
        },
        TIMED_OUT,
    ),
    (
        "with_timeout_cause, whose child's deadline is later",
        || {
            let background = Context::background();
            let (outer, _cancel) = background.with_timeout_cause(SHORT, cause(TOO_SLOW));
            let (context, _cancel) = outer.with_timeout_cause(VERY_LONG, cause(EARLY));
            wait_for(&context);
            context
        },
        WAS_TOO_SLOW,
    ),
];

fn stacked(timeout: Duration) -> Context {
    let (outer, cancel) = Context::background().with_cancel_cause();
    let (context, _cancel) = outer.with_timeout_cause(timeout, cause(TOO_SLOW));
    cancel.cancel(cause(EARLY));
    context
}

const WITHOUT_CANCEL: [CauseRow; 3] = [
    ("without_cancel", || Context::background().without_cancel(), (None, None)),
    (
        "without_cancel, cancelled",
        || {
            let (outer, cancel) = Context::background().with_cancel_cause();
            let context = outer.without_cancel();
            cancel.cancel(cause(EARLY));
            context
        },
        (None, None),
    ),
    (
        "without_cancel, timed out",
        || {
            let background = Context::background();
            let (outer, cancel) = background.with_timeout_cause(Duration::ZERO, cause(TOO_SLOW));
            let context = outer.without_cancel();
            cancel.cancel();
            context
        },
        (None, None),
    ),
];

/// Go: `TestCause`, its table.
#[test]
fn causes() {
    at_each(|_| {
        for (name, make, (error, cause)) in
            CAUSES.iter().chain(&TIMED_CAUSES).chain(&WITHOUT_CANCEL)
        {
            let context = make();
            assert_eq!(context.err(), *error, "error of {name}");
            let found = context.cause().map(|cause| cause.to_string());
            assert_eq!(found.as_deref(), *cause, "cause of {name}");
        }
    });
}

/// A cause is the very error that was given.
#[test]
fn a_cause_is_what_was_given() {
    let (context, cancel) = Context::background().with_cancel_cause();
    let (child, _cancel) = context.with_timeout(VERY_LONG);
    cancel.cancel(io::Error::from(io::ErrorKind::StorageFull));
    let [outer, inner]: [Cause; 2] = [&context, &child].map(|c| c.cause().unwrap());
    let kind = |cause: &Cause| cause.downcast_ref::<io::Error>().unwrap().kind();
    assert_eq!(kind(&outer), io::ErrorKind::StorageFull);
    assert!(std::ptr::addr_eq(Arc::as_ptr(&outer), Arc::as_ptr(&inner)));
    let (context, cancel) = Context::background().with_cancel();
    cancel.cancel();
    let cause = context.cause().unwrap();
    assert_eq!(cause.downcast_ref::<ContextError>(), Some(&ContextError::Canceled));
}

#[test]
fn cause_race() {
    at_each(|_| {
        for _ in 0..200 {
            let (context, cancel) = Context::background().with_cancel_cause();
            go(move || cancel.cancel(cause("cause_race")));
            // Asks for the cause, rather than waiting for `done`.
            loop {
                if let Some(cause) = context.cause() {
                    assert_eq!(cause.to_string(), "cause_race");
                    break;
                }
                runtime::gosched();
            }
        }
    });
}

/// Of several that cancel with a cause, at once and in a tree, one is first: all see its cause.
#[test]
fn causes_race() {
    at_each(|_| {
        for _ in 0..100 {
            let (context, cancel) = Context::background().with_cancel_cause();
            let children: Vec<_> = (0..8).map(|_| context.with_cancel().0).collect();
            let wg = WaitGroup::new();
            for i in 0..4 {
                let cancel = cancel.clone();
                wg.go(move || cancel.cancel(format!("cause {i}")));
            }
            wg.wait();
            let first = context.cause().unwrap().to_string();
            assert!(first.starts_with("cause "), "{first}");
            children.iter().for_each(|child| {
                wait_for(child);
                expect_cause(child, &first);
            });
        }
    });
}
