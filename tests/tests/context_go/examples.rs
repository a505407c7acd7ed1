//! Go's examples.

use crate::{SHORT, expect_cause, wait_for};
use goroutines::chan::{self, Receiver, bounded};
use goroutines::context::{Context, ContextError};
use goroutines::{WaitGroup, go, select};
use goroutines_tests::io::at_each;
use goroutines_tests::join_all;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// Go: `ExampleWithCancel`.
#[test]
fn example_with_cancel() {
    fn generate(context: &Context, ended: &WaitGroup) -> Receiver<u32> {
        let (send, numbers) = bounded(0);
        let context = context.clone();
        ended.go(move || {
            let mut n = 1;
            loop {
                select! {
                    recv(context.done()) -> _ => return,
                    send(send, n) -> _ => n += 1,
                }
            }
        });
        numbers
    }
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let ended = WaitGroup::new();
        let numbers = generate(&context, &ended);
        let first: Vec<_> = numbers.iter().take(5).collect();
        assert_eq!(first, [1, 2, 3, 4, 5]);
        cancel.cancel();
        ended.wait();
    });
}

/// Go: `ExampleWithDeadline`, `ExampleWithTimeout`.
#[test]
fn example_with_deadline() {
    at_each(|_| {
        let background = Context::background();
        for (context, cancel) in
            [background.with_deadline(Instant::now() + SHORT), background.with_timeout(SHORT)]
        {
            let _cancel = cancel.drop_guard();
            let never = chan::never::<()>();
            let text = select! {
                recv(never) -> _ => "ready".to_owned(),
                recv(context.done()) -> _ => context.err().unwrap().to_string(),
            };
            assert_eq!(text, "context deadline exceeded");
        }
    });
}

/// Go: `ExampleAfterFunc_cond`. Waits on a condition variable until `condition` holds or the context is done.
fn wait_on_cond(
    context: &Context,
    cond: &Arc<(Mutex<()>, Condvar)>,
    condition: impl Fn() -> bool,
) -> Result<(), ContextError> {
    let wakes = Arc::clone(cond);
    let after = context.after_func(move || {
        // With the lock: not between the look at the condition and the wait.
        let _held = wakes.0.lock().unwrap();
        wakes.1.notify_all();
    });
    let mut held = cond.0.lock().unwrap();
    let mut result = Ok(());
    while result.is_ok() && !condition() {
        held = cond.1.wait(held).unwrap();
        if let Some(error) = context.err() {
            result = Err(error);
        }
    }
    after.stop();
    result
}

#[test]
fn example_after_func_cond() {
    at_each(|_| {
        let cond = Arc::new((Mutex::new(()), Condvar::new()));
        let all = (0..4).map(|_| {
            let cond = Arc::clone(&cond);
            go(move || {
                let (context, cancel) = Context::background().with_timeout(SHORT);
                let _cancel = cancel.drop_guard();
                wait_on_cond(&context, &cond, || false)
            })
        });
        let all = join_all(all.collect::<Vec<_>>());
        assert_eq!(all, [Err(ContextError::DeadlineExceeded); 4]);
    });
}

/// Go: `ExampleAfterFunc_merge`.
#[test]
fn example_after_func_merge() {
    at_each(|_| {
        let (context1, cancel1) = Context::background().with_cancel_cause();
        let (context2, cancel2) = Context::background().with_cancel_cause();
        let (merged, cancel) = context1.with_cancel_cause();
        let other = context2.clone();
        let ends = cancel.clone();
        let after = context2.after_func(move || {
            if let Some(cause) = other.cause() {
                ends.cancel(cause.to_string());
            }
        });
        cancel2.cancel("context2 canceled");
        wait_for(&merged);
        expect_cause(&merged, "context2 canceled");
        assert!(!after.stop());
        cancel.cancel(ContextError::Canceled);
        cancel1.cancel("context1 canceled");
        expect_cause(&merged, "context2 canceled");
    });
}
