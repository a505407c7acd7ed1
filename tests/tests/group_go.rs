//! Groups: the tests and examples of golang.org/x/sync/errgroup, errgroup{,_example_md5all}_test.go (at
//! ec11c4a, 2026; The Go Authors, BSD-3-Clause), ported, each at several numbers of processors; and what is
//! ours: panics come out of `wait`, the cause is the error's text, limits can be taken away.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::chan::{Receiver, bounded, unbounded};
use goroutines::context::{self, Context, ContextError};
use goroutines::group::ErrGroup;
use goroutines::thread::sleep;
use goroutines::{go, runtime, select};
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::proc::wait_until;
use goroutines_tests::quiet_panics;
use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Outcome = Result<(), &'static str>;

const ERROR1: Outcome = Err("errgroup_test: 1");
const ERROR2: Outcome = Err("errgroup_test: 2");
const DOOM: Outcome = Err("group_test: doomed");
const SOON: Duration = ms(20_000);

/// Go: `TestZeroGroup`. Where Go's group keeps the first error for ever, ours gives it out once: a group that
/// was waited for is as new.
#[test]
fn zero_group() {
    at_each(|_| {
        let rows: [&[Outcome]; 5] =
            [&[], &[Ok(())], &[ERROR1], &[ERROR1, Ok(())], &[ERROR1, Ok(()), ERROR2]];
        for outcomes in rows {
            let group = ErrGroup::new();
            assert_eq!(group.wait(), Ok(()), "nobody runs");
            for &outcome in outcomes {
                group.go(move || outcome);
                assert_eq!(group.wait(), outcome, "in {outcomes:?}");
            }
            assert_eq!(group.wait(), Ok(()));
        }
    });
}

/// The first error counts, whoever is started or waits first.
#[test]
fn the_first_error_counts() {
    at_each(|_| {
        let group = ErrGroup::default();
        let (send, receive) = bounded::<()>(0);
        for (i, outcome) in [Ok(()), ERROR2, ERROR1].into_iter().enumerate() {
            let receive = receive.clone();
            group.go(move || {
                if i == 1 {
                    let _ = receive.recv();
                }
                outcome
            });
        }
        let ends = group.clone();
        // The second fails when the third has.
        wait_until(SOON, "the others have ended", || runtime::num_goroutine() <= 2);
        drop(send);
        assert_eq!(ends.wait(), ERROR1);
        assert_eq!(group.wait(), Ok(()), "it was given out");
    });
}

const ROWS: [(&[Outcome], Outcome); 4] =
    [(&[], Ok(())), (&[Ok(())], Ok(())), (&[DOOM], DOOM), (&[DOOM, Ok(())], DOOM)];

/// Go: `TestWithContext`.
#[test]
fn with_context() {
    at_each(|_| {
        for (outcomes, expected) in ROWS {
            let (group, context) = ErrGroup::with_context(&Context::background());
            assert_eq!(context.err(), None);
            outcomes.iter().for_each(|&outcome| group.go(move || outcome));
            assert_eq!(group.wait(), expected, "of {outcomes:?}");
            let is_done = select! {
                recv(context.done()) -> _ => true,
                default => false,
            };
            assert!(is_done, "after {outcomes:?}");
            assert_eq!(context.err(), Some(ContextError::Canceled));
        }
    });
}

/// Go: `TestCancelCause`.
#[test]
fn cancel_cause() {
    at_each(|_| {
        for (outcomes, expected) in ROWS {
            let (group, context) = ErrGroup::with_context(&Context::background());
            for &outcome in outcomes {
                assert!(group.try_go(move || outcome), "without a limit");
            }
            assert_eq!(group.wait(), expected, "of {outcomes:?}");
            let cause = context.cause().unwrap().to_string();
            assert_eq!(cause, expected.err().unwrap_or("context canceled"));
        }
    });
}

/// The group's context is made from its parent: that ends it, and it does not end that.
#[test]
fn a_context_has_a_parent() {
    at_each(|_| {
        let (parent, cancel) = Context::background().with_value(7).with_cancel_cause();
        let (group, context) = ErrGroup::<String>::with_context(&parent);
        assert_eq!(context.value::<i32>(), Some(&7));
        let waits = context.clone();
        group.go(move || {
            waits.done().recv().unwrap_err();
            Err(waits.cause().unwrap().to_string())
        });
        cancel.cancel("no more");
        assert_eq!(group.wait(), Err("no more".to_owned()));
        let (parent, _cancel) = Context::background().with_cancel();
        let (group, context) = ErrGroup::with_context(&parent);
        group.go(|| DOOM);
        assert_eq!(group.wait(), DOOM);
        assert!(context.err().is_some());
        assert_eq!(parent.err(), None);
    });
}

/// Receives `n` times.
fn receive(from: &Receiver<()>, n: usize) {
    let from = from.clone();
    go(move || (0..n).for_each(|_| from.recv().unwrap()));
}

/// Go: `TestTryGo`.
#[test]
fn try_go() {
    at_each(|_| {
        const N: usize = 42;
        let group = ErrGroup::<()>::new();
        group.set_limit(Some(N));
        let (send, received) = bounded(0);
        let try_go = || {
            let send = send.clone();
            group.try_go(move || {
                send.send(()).unwrap();
                Ok(())
            })
        };
        for i in 0..N {
            assert!(try_go(), "failed at the {i}-th call");
        }
        assert!(!try_go(), "one more than the limit");
        receive(&received, N);
        group.wait().unwrap();
        assert!(try_go(), "after all have ended");
        receive(&received, 1);
        group.wait().unwrap();
        group.set_limit(Some(1));
        assert!(try_go());
        assert!(!try_go());
        receive(&received, 1);
        group.wait().unwrap();
        // None at all.
        group.set_limit(Some(0));
        for _ in 0..1 << 10 {
            assert!(!try_go());
        }
        group.wait().unwrap();
        // Any number again.
        group.set_limit(None);
        for _ in 0..1 << 10 {
            assert!(try_go());
        }
        receive(&received, 1 << 10);
        group.wait().unwrap();
    });
}

/// Go: `TestGoLimit`.
#[test]
fn go_limit() {
    at_each(|procs| {
        const LIMIT: i32 = 10;
        let group = ErrGroup::new();
        group.set_limit(Some(LIMIT as usize));
        let active = Arc::new(AtomicI32::new(0));
        let most = Arc::new(AtomicI32::new(0));
        for _ in 0..=1 << 10 {
            let (active, most) = (Arc::clone(&active), Arc::clone(&most));
            group.go(move || {
                let n = active.fetch_add(1, Ordering::SeqCst) + 1;
                if n > LIMIT {
                    return Err(format!("saw {n} active goroutines; want ≤ {LIMIT}"));
                }
                most.fetch_max(n, Ordering::SeqCst);
                // Others are let run, and count.
                sleep(Duration::from_micros(1));
                active.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            });
        }
        group.wait().unwrap();
        println!("GOMAXPROCS={procs}: up to {} at once", most.load(Ordering::SeqCst));
    });
}

/// As many as the limit allows run at once, and who waits for room is let in when one ends, however it
/// ends.
#[test]
fn the_limit_is_used() {
    quiet_panics();
    at_each(|_| {
        let group = ErrGroup::<()>::new();
        group.set_limit(Some(3));
        let (send, received) = bounded(0);
        for i in 0..3 {
            let received: Receiver<()> = received.clone();
            group.go(move || {
                // All three have to be there.
                let _ = received.recv();
                match i {
                    0 => Ok(()),
                    1 => panic!("expected"),
                    _ => runtime::goexit(),
                }
            });
        }
        (0..3).for_each(|_| send.send(()).unwrap());
        let (ended, all) = bounded(3);
        for _ in 0..3 {
            let ended = ended.clone();
            group.go(move || {
                ended.send(()).unwrap();
                Ok(())
            });
        }
        (0..3).for_each(|_| all.recv_timeout(SOON).unwrap());
        let payload = catch_unwind(AssertUnwindSafe(|| group.wait())).unwrap_err();
        assert_eq!(text(&*payload), "expected");
    });
}

/// Also where the caller's own context was cancelled: those that are started know nothing of it, and run.
#[test]
fn the_limit_holds_in_a_cancelled_context() {
    at_each(|_| {
        const LIMIT: usize = 3;
        let (context, cancel) = Context::background().with_cancel();
        cancel.cancel();
        let group = ErrGroup::new();
        group.set_limit(Some(LIMIT));
        let active = Arc::new(AtomicUsize::new(0));
        context.run(|| {
            for _ in 0..50 {
                let active = Arc::clone(&active);
                group.go(move || {
                    let n = active.fetch_add(1, Ordering::SeqCst) + 1;
                    sleep(ms(2));
                    active.fetch_sub(1, Ordering::SeqCst);
                    if n > LIMIT { Err(format!("{n} at once")) } else { Ok(()) }
                });
            }
        });
        assert_eq!(group.wait(), Ok(()));
    });
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().unwrap_or("(no text)")
}

/// Go panics so, too: the limit can't be changed while some run.
#[test]
fn the_limit_is_changed_while_some_run() {
    quiet_panics();
    at_each(|_| {
        let group = ErrGroup::<()>::new();
        group.set_limit(Some(2));
        let (send, received) = bounded::<()>(0);
        group.go(move || {
            let _ = received.recv();
            Ok(())
        });
        let changed = catch_unwind(AssertUnwindSafe(|| group.set_limit(Some(3))));
        let payload = changed.unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert_eq!(text, "errgroup: modify limit while 1 goroutines in the group are still active");
        drop(send);
        group.wait().unwrap();
        group.set_limit(Some(3));
    });
}

/// A panic ends the context, and comes out of `wait` with its payload, once; the group can be used again.
#[test]
fn panics_propagate() {
    quiet_panics();
    at_each(|_| {
        let (group, context) = ErrGroup::with_context(&Context::background());
        group.go(|| panic!("expected"));
        context.done().recv().unwrap_err();
        assert!(context.cause().unwrap().to_string().contains("panicked"));
        // What fails afterwards is late.
        group.go(|| DOOM);
        let payload = catch_unwind(AssertUnwindSafe(|| group.wait())).unwrap_err();
        assert_eq!(text(&*payload), "expected");
        assert_eq!(group.wait(), Ok(()));
        group.go(|| DOOM);
        assert_eq!(group.wait(), DOOM);
    });
}

/// What panics after another has failed is dropped, as a second error is.
#[test]
fn an_error_before_a_panic() {
    quiet_panics();
    at_each(|_| {
        let (group, context) = ErrGroup::with_context(&Context::background());
        group.go(|| DOOM);
        let waits = context.clone();
        group.go(move || {
            waits.done().recv().unwrap_err();
            panic!("expected");
        });
        assert_eq!(group.wait(), DOOM);
        assert_eq!(context.cause().unwrap().to_string(), "group_test: doomed");
    });
}

/// Who ends by `goexit` has neither failed nor panicked.
#[test]
fn goexit_is_no_panic() {
    at_each(|_| {
        let (group, context) = ErrGroup::<String>::with_context(&Context::background());
        group.go(|| runtime::goexit());
        wait_until(SOON, "it ends", || runtime::num_goroutine() <= 1);
        assert_eq!(context.err(), None);
        group.wait().unwrap();
    });
}

/// Each outcome is dropped once, also those that came too late.
#[test]
fn errors_are_dropped_once() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    at_each(|_| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let group = ErrGroup::new();
        for _ in 0..100 {
            let error = Counted(Arc::clone(&dropped));
            group.go(move || Err(error));
        }
        let first = group.wait().unwrap_err();
        wait_until(SOON, "all others are dropped", || dropped.load(Ordering::Relaxed) == 99);
        drop(first);
        assert_eq!(dropped.load(Ordering::Relaxed), 100);
    });
}

/// Several wait: one of them is given the error. Goroutines of the group start others of it.
#[test]
fn started_from_within_and_waited_for_by_several() {
    fn tree(group: &ErrGroup<&'static str>, depth: u32, count: &Arc<AtomicUsize>) -> Outcome {
        count.fetch_add(1, Ordering::Relaxed);
        if depth == 0 {
            return DOOM;
        }
        for _ in 0..3 {
            let (own, count) = (group.clone(), Arc::clone(count));
            group.go(move || tree(&own, depth - 1, &count));
        }
        Ok(())
    }
    at_each(|_| {
        let (group, count) = (ErrGroup::new(), Arc::new(AtomicUsize::new(0)));
        tree(&group, 5, &count).unwrap();
        let all = (0..4).map(|_| {
            let group = group.clone();
            go(move || group.wait())
        });
        let all = goroutines_tests::join_all(all.collect::<Vec<_>>());
        assert_eq!(count.load(Ordering::Relaxed), (3usize.pow(6) - 1) / 2);
        assert_eq!(all.iter().filter(|outcome| **outcome == DOOM).count(), 1, "{all:?}");
    });
}

/// The goroutines of a group with a context run in it: what they wait for ends when one fails, but for what
/// they take out. Those of a group without one are in none.
#[test]
fn they_run_in_its_context() {
    struct Name;
    const VERY_LONG: Duration = Duration::from_secs(3_600);
    fn is_within() -> bool {
        context::current().value::<Name>().is_some()
    }
    at_each(|_| {
        let (found, all) = unbounded();
        let parent = Context::background().with_value(Name);
        let (group, context) = ErrGroup::<ContextError>::with_context(&parent);
        for i in 0..4 {
            let found = found.clone();
            group.go(move || {
                found.send((i, is_within())).unwrap();
                let start = Instant::now();
                if i % 2 == 0 {
                    sleep(VERY_LONG);
                } else {
                    let (_send, receive) = bounded::<()>(0);
                    let ended = receive.recv_timeout(VERY_LONG).unwrap_err();
                    assert!(ended.is_disconnected());
                }
                let start_of_rest = Instant::now();
                context::current().without_cancel().run(|| sleep(ms(5)));
                let took = start_of_rest.elapsed() >= ms(5) && start.elapsed() < SOON;
                found.send((i, took)).unwrap();
                context::current().check()
            });
        }
        (0..4).for_each(|_| assert!(all.recv_timeout(SOON).unwrap().1, "not in the context"));
        assert!(group.try_go(|| Err(ContextError::DeadlineExceeded)));
        assert_eq!(group.wait(), Err(ContextError::DeadlineExceeded));
        assert_eq!(context.err(), Some(ContextError::Canceled));
        let rest: Vec<_> = all.try_iter().collect();
        assert_eq!(rest.len(), 4, "`wait` has not waited for all: {rest:?}");
        assert!(rest.iter().all(|(_, took)| *took), "{rest:?}");
        // Whatever context it is started and waited for in.
        let group = ErrGroup::<()>::new();
        let other = found.clone();
        parent.run(|| group.go(move || other.send((9, is_within())).map_err(drop)));
        group.wait().unwrap();
        assert_eq!(all.recv(), Ok((9, false)));
    });
}

/// The group's context is the innermost one: the caller's own does not end what is started there.
#[test]
fn the_callers_context_does_not_end_them() {
    at_each(|_| {
        let (callers, cancel) = Context::background().with_cancel();
        let (group, _context) = ErrGroup::<&str>::with_context(&Context::background());
        callers.run(|| {
            group.go(|| {
                let start = Instant::now();
                sleep(ms(10));
                if start.elapsed() < ms(10) { Err("it was ended") } else { Ok(()) }
            });
            cancel.cancel();
            // Not ended either: it waits for the goroutine.
            assert_eq!(group.wait(), Ok(()));
        });
    });
}

/// Go: `ExampleGroup_parallel`.
#[test]
fn example_parallel() {
    fn google(context: &Context, query: &str) -> Result<Vec<String>, String> {
        let (group, context) = ErrGroup::<String>::with_context(context);
        let results = Arc::new(Mutex::new(vec![String::new(); 3]));
        for (i, kind) in ["web", "image", "video"].into_iter().enumerate() {
            let (results, context) = (Arc::clone(&results), context.clone());
            let query = query.to_owned();
            group.go(move || {
                context.err().map_or(Ok(()), |error| Err(error.to_string()))?;
                results.lock().unwrap()[i] = format!("{kind} result for {query:?}");
                Ok(())
            });
        }
        group.wait()?;
        Ok(Arc::into_inner(results).unwrap().into_inner().unwrap())
    }
    at_each(|_| {
        let found = google(&Context::background(), "golang").unwrap();
        let expected =
            ["web", "image", "video"].map(|kind| format!("{kind} result for \"golang\""));
        assert_eq!(found, expected);
    });
}

fn walk(root: &Path, found: &mut impl FnMut(PathBuf) -> Result<(), String>) -> Result<(), String> {
    for entry in fs::read_dir(root).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found(path)?;
        }
    }
    Ok(())
}

fn digest(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// Go: `ExampleGroup_pipeline` (with a hash of std's for MD5): one walks, some read and digest, the caller
/// collects. `fails` says of which files reading fails.
fn digest_all(root: PathBuf, fails: fn(&Path) -> bool) -> Result<BTreeMap<PathBuf, u64>, String> {
    let (group, context) = ErrGroup::<String>::with_context(&Context::background());
    let (paths, all_paths) = bounded(0);
    let walks = context.clone();
    group.go(move || {
        walk(&root, &mut |path| {
            select! {
                send(paths, path) -> sent => sent.map_err(|e| e.to_string()),
                recv(walks.done()) -> _ => Err("canceled".to_owned()),
            }
        })
    });
    let (results, all_results) = bounded(0);
    for _ in 0..20 {
        let (paths, results, context) = (all_paths.clone(), results.clone(), context.clone());
        group.go(move || {
            for path in paths {
                if fails(&path) {
                    return Err(format!("can't read {}", path.display()));
                }
                let data = fs::read(&path).map_err(|e| e.to_string())?;
                select! {
                    send(results, (path, digest(&data))) -> sent => sent.map_err(|e| e.to_string())?,
                    recv(context.done()) -> _ => return Err("canceled".to_owned()),
                }
            }
            Ok(())
        });
    }
    drop((results, all_paths));
    let all = all_results.iter().collect();
    group.wait()?;
    Ok(all)
}

#[test]
fn example_pipeline() {
    at_each(|_| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
        let all = digest_all(root.clone(), |_| false).unwrap();
        let mut expected = BTreeMap::new();
        walk(&root, &mut |path| {
            let hash = digest(&fs::read(&path).unwrap());
            expected.insert(path, hash);
            Ok(())
        })
        .unwrap();
        assert_eq!(all, expected);
        // With one that fails all end, and it is that error which comes out.
        let error = digest_all(root, |path| path.ends_with("io.rs")).unwrap_err();
        assert!(error.starts_with("can't read ") && error.ends_with("io.rs"), "{error}");
        wait_until(SOON, "all have ended", || runtime::num_goroutine() <= 1);
    });
}
