//! What contexts take of memory and stack, and when they give it back.

use crate::{QUIESCENT, VERY_LONG, expect_canceled, expect_open};
use goroutines::context::Context;
use goroutines::go;
use goroutines::thread::sleep;
use goroutines_tests::alloc::{ASKED, BYTES};
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::proc::{at_procs, in_child, wait_until};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often `f` asks the allocator, at the least of some tries: others may ask meanwhile.
fn allocations(f: impl Fn()) -> i64 {
    const RUNS: i64 = 100;
    f();
    let once = || {
        let before = ASKED.load(Ordering::Relaxed);
        (0..RUNS).for_each(|_| f());
        (ASKED.load(Ordering::Relaxed) - before) / RUNS
    };
    (0..5).map(|_| once()).min().unwrap()
}

/// Go: `TestAllocs`, with its limits.
#[test]
fn allocs() {
    struct Key;
    let background = Context::background();
    let rows: [(&str, i64, &(dyn Fn() + Sync)); 5] = [
        ("background()", 0, &|| drop(Context::background())),
        ("with_value(…)", 3, &|| {
            let context = background.with_value(Key);
            assert!(context.value::<Key>().is_some());
        }),
        ("with_timeout(1 ns)", 12, &|| {
            let (context, _cancel) = background.with_timeout(Duration::from_nanos(1));
            assert!(context.done().recv().is_err());
        }),
        ("with_cancel()", 5, &|| {
            let (context, cancel) = background.with_cancel();
            cancel.cancel();
            assert!(context.done().recv().is_err());
        }),
        ("with_timeout(5 ms)", 8, &|| {
            let (context, cancel) = background.with_timeout(ms(5));
            cancel.cancel();
            assert!(context.done().recv().is_err());
        }),
    ];
    at_procs(2, || {
        for (what, limit, f) in rows {
            let n = allocations(f);
            println!("{what}: {n} allocations");
            assert!(n <= limit, "{what}: {n} allocations, more than {limit}");
        }
    });
}

/// What ten thousand may leave: nodes are of some hundred bytes.
const LIMIT: i64 = 10_000 * 8;

/// What stays allocated of what `f` does ten thousand times.
fn left_by(f: impl Fn()) -> i64 {
    (0..100).for_each(|_| f());
    let before = BYTES.load(Ordering::Relaxed);
    (0..10_000).for_each(|_| f());
    BYTES.load(Ordering::Relaxed) - before
}

/// Go: `TestCancelRemoves`. A parent that lives long keeps nothing of its children that are gone: cancelled,
/// stopped, or (where Go has its collector) dropped.
#[test]
fn cancel_removes() {
    at_each(|_| {
        let (parent, _cancel) = Context::background().with_cancel();
        let kept = Mutex::new(None);
        let rows: [(&str, &dyn Fn()); 11] = [
            ("cancelled", &|| parent.with_cancel().1.cancel()),
            ("cancelled with a cause", &|| parent.with_cancel_cause().1.cancel("because")),
            ("cancelled before its deadline", &|| parent.with_timeout(VERY_LONG).1.cancel()),
            ("stopped", &|| assert!(parent.after_func(|| {}).stop())),
            ("dropped", &|| drop(parent.with_cancel())),
            ("dropped before its deadline", &|| drop(parent.with_timeout(VERY_LONG))),
            ("of which a grandchild was left", &|| {
                let grandchild = parent.with_cancel().0.with_value(1).with_cancel();
                expect_open(&grandchild.0);
            }),
            ("asked for their channels, and dropped", &|| {
                drop(parent.with_cancel().0.done().clone());
            }),
            ("dropped before their channels", &|| {
                // Until the next one is.
                *kept.lock().unwrap() = Some(parent.with_cancel().0.done().clone());
            }),
            ("of the background, dropped before their channels", &|| {
                *kept.lock().unwrap() = Some(Context::background().with_cancel().0.done().clone());
            }),
            ("of the background, dropped before its deadline", &|| {
                drop(Context::background().with_timeout(VERY_LONG));
            }),
        ];
        for (what, f) in rows {
            let left = left_by(f);
            assert!(left < LIMIT, "of 10000 children that were {what} {left} bytes are left");
        }
        expect_open(&parent);
    });
}

/// A channel whose context is gone is kept for its deadline, if somebody had it then; and no longer. (Timers are
/// kept, to be used again: there are none more the second time.)
#[test]
fn channels_are_kept_until_their_deadline() {
    at_each(|_| {
        let (parent, _cancel) = Context::background().with_cancel();
        let live = || BYTES.load(Ordering::Relaxed);
        let round = |n, time| {
            let mut last = None;
            for _ in 0..n {
                last = Some(parent.with_timeout(time).0.done().clone());
            }
            assert!(last.unwrap().recv_timeout(QUIESCENT).unwrap_err().is_disconnected());
        };
        // All of them at once.
        round(12_000, ms(1_500));
        sleep(ms(100));
        let before = live();
        round(10_000, ms(300));
        wait_until(QUIESCENT, "nothing more is left", || live() - before < LIMIT);
    });
}

/// A function is dropped when it was stopped, when it was called, and when nobody is left who could cancel
/// its context: it is kept "as long as the context can be cancelled".
#[test]
fn functions_are_dropped() {
    at_each(|_| {
        let owned = Arc::new(());
        let holds = || {
            let owned = Arc::clone(&owned);
            move || drop(owned)
        };
        let (parent, cancel) = Context::background().with_cancel();
        let stopped = parent.after_func(holds());
        assert!(stopped.stop());
        assert_eq!(Arc::strong_count(&owned), 1, "stopped");
        // Of one that is dropped, but could still be cancelled.
        let (child, _) = parent.with_cancel();
        let _kept = child.after_func(holds());
        drop(child);
        assert_eq!(Arc::strong_count(&owned), 2);
        cancel.cancel();
        wait_until(QUIESCENT, "it is called", || Arc::strong_count(&owned) == 1);
    });
}

#[test]
fn a_function_that_can_never_be_called_is_dropped() {
    at_each(|_| {
        let owned = Arc::new(());
        let (context, cancel) = Context::background().with_cancel();
        let holds = Arc::clone(&owned);
        context.after_func(move || drop(holds));
        drop((context, cancel));
        assert_eq!(Arc::strong_count(&owned), 1, "nobody can cancel it any more");
    });
}

/// A loop that makes one context of another makes a long chain. What is done all along it is no recursion that
/// a goroutine's stack could be too small for. (Go's stacks grow, and its collector does not recurse.)
#[track_caller]
fn expect_no_overflow(name: &str, body: impl FnOnce() + Send + 'static) {
    let child = in_child(&format!("memory::{name}"), &[], || {
        goroutines::run(|| go(body).join().unwrap());
        println!("all is well");
    });
    child.expect_clean();
    assert!(child.text().contains("all is well"), "{child}");
}

const LONG: u64 = 100_000;

#[test]
fn a_long_chain_of_values() {
    expect_no_overflow("a_long_chain_of_values", || {
        let mut context = Context::background();
        (0..LONG).for_each(|i| context = context.with_value(i));
        assert_eq!(context.value::<u64>(), Some(&(LONG - 1)));
        assert_eq!(context.value::<u32>(), None);
        drop(context);
    });
}

#[test]
fn a_long_chain_is_dropped() {
    expect_no_overflow("a_long_chain_is_dropped", || {
        let mut context = Context::background();
        (0..LONG).for_each(|_| context = context.with_cancel().0);
        expect_open(&context);
        drop(context);
    });
}

#[test]
fn a_long_chain_is_cancelled() {
    expect_no_overflow("a_long_chain_is_cancelled", || {
        let (mut context, cancel) = Context::background().with_cancel();
        // All of them are kept, and go last to first.
        let mut all = Vec::new();
        for _ in 0..LONG {
            let inner = context.with_cancel().0;
            all.push(std::mem::replace(&mut context, inner));
        }
        cancel.cancel();
        expect_canceled(&context);
        drop(context);
        all.into_iter().rev().for_each(drop);
    });
}
