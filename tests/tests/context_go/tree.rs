//! Who is cancelled with whom.

use crate::{
    QUIESCENT, VERY_LONG, cause, expect_canceled, expect_cause, expect_open, expect_received,
    is_closed, wait_for,
};
use goroutines::chan::bounded;
use goroutines::context::{Cancel, Context, ContextError};
use goroutines::thread::sleep;
use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

#[test]
fn background() {
    at_each(|_| {
        for context in [Context::background(), Context::default()] {
            expect_open(&context);
            assert_eq!(context.deadline(), None);
        }
    });
}

#[test]
fn with_cancel() {
    at_each(|_| {
        let (c1, cancel) = Context::background().with_cancel();
        let other = c1.clone();
        let (c2, _c2) = other.with_cancel();
        let all = [c1, other, c2];
        all.iter().for_each(expect_open);
        // Propagates synchronously.
        cancel.cancel();
        all.iter().for_each(expect_canceled);
    });
}

#[test]
fn parent_finishes_child() {
    at_each(|_| {
        let (parent, cancel) = Context::background().with_cancel();
        let (cancel_child, _stop) = parent.with_cancel();
        let value_child = parent.with_value("value");
        let (timer_child, _stop) = value_child.with_timeout(VERY_LONG);
        let (called, after) = bounded(1);
        let after_child = parent.after_func(move || called.send(()).unwrap());
        for context in [&parent, &cancel_child, &value_child, &timer_child] {
            expect_open(context);
        }
        assert!(after.is_empty());
        cancel.cancel();
        for context in [&parent, &cancel_child, &value_child, &timer_child] {
            expect_canceled(context);
        }
        expect_received(&after);
        assert!(!after_child.stop());
        // Made of a cancelled parent.
        expect_canceled(&parent.with_value("value"));
        expect_canceled(&parent.with_cancel().0);
        expect_canceled(&parent.with_timeout(VERY_LONG).0);
    });
}

#[test]
fn child_finishes_first() {
    at_each(|_| {
        let (cancelable, _stop) = Context::background().with_cancel();
        for parent in [Context::background(), cancelable] {
            let (child, cancel) = parent.with_cancel();
            expect_open(&parent);
            expect_open(&child);
            cancel.cancel();
            expect_canceled(&child);
            expect_open(&parent);
        }
    });
}

/// Contexts with what cancels them: a tree of them, each with up to four children; and each one's parent.
fn tree(root: &Context) -> (Vec<Context>, Vec<Cancel>, Vec<usize>) {
    let (mut contexts, mut cancels, mut parents) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |from: &Context, parent: usize| {
        let (context, cancel) = from.with_cancel();
        contexts.push(context.clone());
        cancels.push(cancel);
        parents.push(parent);
        (contexts.len() - 1, context)
    };
    let mut queue = VecDeque::from([add(root, 0)]);
    while let Some((i, parent)) = queue.pop_front() {
        let children: [_; 4] = std::array::from_fn(|_| add(&parent, i));
        if children[3].0 >= 100 {
            break;
        }
        queue.extend(children);
    }
    (contexts, cancels, parents)
}

/// All of a tree are cancelled at once, in random order.
#[test]
fn simultaneous_cancels() {
    at_each(|_| {
        for seed in 0..10 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (contexts, mut cancels, _) = tree(&Context::background());
            cancels.shuffle(&mut rng);
            let wg = WaitGroup::new();
            for cancel in cancels {
                wg.go(move || cancel.cancel());
            }
            let mut order: Vec<_> = (0..contexts.len()).collect();
            order.shuffle(&mut rng);
            order.into_iter().for_each(|i| wait_for(&contexts[i]));
            wg.wait();
            contexts.iter().for_each(expect_canceled);
        }
    });
}

/// When `cancel` returns, all below are done, also where another was faster and has not come to its end. (In
/// Go the second waits for the lock that the first holds.)
#[test]
fn who_cancels_second_finds_all_done() {
    at_each(|_| {
        for _ in 0..100 {
            let (contexts, cancels, _) = tree(&Context::background());
            let contexts = Arc::new(contexts);
            let all = (0..4).map(|_| {
                let (root, contexts) = (cancels[0].clone(), Arc::clone(&contexts));
                go(move || {
                    root.cancel();
                    contexts.iter().filter(|context| context.err().is_none()).count()
                })
            });
            let open = join_all(all.collect::<Vec<_>>());
            assert_eq!(open, [0; 4], "contexts that were not done when `cancel` had returned");
        }
    });
}

#[test]
fn interlocked_cancels() {
    at_each(|_| {
        for _ in 0..100 {
            let (parent, cancel_parent) = Context::background().with_cancel();
            let (child, cancel_child) = parent.with_cancel();
            let waits = parent.clone();
            go(move || {
                let _ = waits.done().recv();
                cancel_child.cancel();
            });
            cancel_parent.cancel();
            wait_for(&child);
        }
    });
}

#[test]
fn with_cancel_canceled_parent() {
    at_each(|_| {
        let (parent, cancel) = Context::background().with_cancel_cause();
        cancel.cancel(cause("because"));
        let (child, _cancel) = parent.with_cancel();
        expect_canceled(&child);
        expect_cause(&child, "because");
    });
}

/// The parent is cancelled while the child is made.
#[test]
fn with_cancel_simultaneously_canceled_parent() {
    at_each(|_| {
        for _ in 0..500 {
            let (parent, cancel) = Context::background().with_cancel_cause();
            go(move || cancel.cancel(cause("because")));
            let (child, _cancel) = parent.with_cancel();
            wait_for(&child);
            assert_eq!(child.err(), Some(ContextError::Canceled));
            expect_cause(&child, "because");
        }
    });
}

#[test]
fn without_cancel() {
    at_each(|_| {
        let (outer, cancel) = Context::background().with_timeout(VERY_LONG);
        let context = outer.with_value("value").without_cancel();
        assert_eq!(context.deadline(), None);
        expect_open(&context);
        cancel.cancel();
        expect_open(&context);
        assert_eq!(context.value::<&str>(), Some(&"value"));
        // What is made of it can be cancelled again.
        let (inner, cancel) = context.with_cancel();
        expect_open(&inner);
        cancel.cancel();
        expect_canceled(&inner);
    });
}

/// Go: `TestContextErrDoneRace` (issue 75533): who sees an error finds the channel closed.
#[test]
fn err_then_done() {
    at_each(|_| {
        for round in 0..30 {
            let (context, cancel) = Context::background().with_cancel();
            // The more is to be ended, the longer it takes to cancel.
            let sleepers = (0..round * 10).map(|_| context.go(|| sleep(VERY_LONG)));
            let sleepers: Vec<_> = sleepers.collect();
            runtime::gosched();
            let done = context.done();
            go(move || cancel.cancel());
            while context.err().is_none() {
                runtime::gosched();
            }
            assert!(is_closed(done), "there is an error, but the channel is not closed");
            join_all(sleepers);
        }
    });
}

/// A channel that says when a context is done says nothing when the context was merely dropped: it is not
/// done, and may yet be. (In Go the channel is that of a context which is kept by its parent, or its timer.)
#[test]
fn a_clone_of_done_outlives_its_context() {
    at_each(|_| {
        let (parent, cancel) = Context::background().with_cancel();
        let done = parent.with_cancel().0.done().clone();
        let timed = parent.with_timeout(VERY_LONG).0.done().clone();
        for done in [&done, &timed] {
            assert!(!is_closed(done), "a context that was dropped is not done");
        }
        cancel.cancel();
        for done in [&done, &timed] {
            assert!(done.recv_timeout(QUIESCENT).is_err());
            assert!(is_closed(done), "its parent was cancelled");
        }
    });
}

/// The same of its deadline.
#[test]
fn a_clone_of_done_is_closed_at_the_deadline() {
    at_each(|_| {
        let start = Instant::now();
        let done = Context::background().with_timeout(ms(20)).0.done().clone();
        assert!(done.recv().is_err());
        assert!(start.elapsed() >= ms(20), "early: {:?}", start.elapsed());
    });
}

/// Of a whole branch that was dropped the channels are left: they are closed with what is above, or at their
/// deadline, whichever comes first.
#[test]
fn channels_of_a_branch_that_is_gone() {
    at_each(|_| {
        for by_deadline in [false, true] {
            let (root, cancel) = Context::background().with_cancel();
            let mut done = Vec::new();
            let start = Instant::now();
            {
                let time = if by_deadline { ms(200) } else { VERY_LONG };
                let (branch, _cancel) = root.with_timeout(time);
                for _ in 0..3 {
                    let twig = branch.with_value(1).with_cancel().0;
                    done.push(twig.done().clone());
                    done.push(twig.with_timeout(VERY_LONG).0.done().clone());
                }
                done.push(branch.done().clone());
            }
            assert!(!done.iter().any(is_closed), "what was dropped is not done");
            if !by_deadline {
                cancel.cancel();
                assert!(done.iter().all(is_closed), "they are closed with the root");
            }
            for done in &done {
                assert!(done.recv_timeout(QUIESCENT).unwrap_err().is_disconnected());
            }
            assert!(!by_deadline || start.elapsed() >= ms(200), "early");
            assert_eq!(root.err().is_none(), by_deadline);
        }
    });
}

/// Who cancels races with who drops, and who takes the channel.
#[test]
fn dropped_while_it_is_cancelled() {
    at_each(|_| {
        for round in 0..300 {
            let (root, cancel) = Context::background().with_cancel();
            let (branch, _cancel) = root.with_cancel();
            let leaf = branch.with_timeout(VERY_LONG).0;
            let done = leaf.done().clone();
            let function = leaf.after_func(|| {});
            let drops = go(move || drop((branch, leaf)));
            let cancels = go(move || cancel.cancel());
            if round % 2 == 0 {
                runtime::gosched();
            }
            assert!(done.recv_timeout(QUIESCENT).unwrap_err().is_disconnected());
            cancels.join().unwrap();
            drops.join().unwrap();
            assert!(!function.stop(), "it was called");
        }
    });
}

#[test]
fn check() {
    let (context, cancel) = Context::background().with_cancel();
    assert_eq!(context.check(), Ok(()));
    cancel.cancel();
    assert_eq!(context.check(), Err(ContextError::Canceled));
    assert_eq!(Context::background().check(), Ok(()));
}

/// A guard cancels when dropped, also by a panic; what cancels does not.
#[test]
fn drop_guard() {
    goroutines_tests::quiet_panics();
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        drop(cancel.clone());
        drop(cancel.clone());
        expect_open(&context);
        let guarded = go(move || {
            let _cancel = cancel.drop_guard();
            panic!("expected");
        });
        assert!(guarded.join().is_err());
        expect_canceled(&context);
    });
}
