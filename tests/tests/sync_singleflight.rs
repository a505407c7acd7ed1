//! `singleflight`: the tests of golang.org/x/sync's singleflight/singleflight_test.go (of February 2026; The Go
//! Authors, BSD-3-Clause), ported, among goroutines, among ordinary threads, and between them.
//!
//! Where Go's have `DoChan`, these have a goroutine that calls `work`.

use goroutines::sync::singleflight::Group;
use goroutines::{JoinHandle, go, runtime, thread};
use goroutines_tests::io::ms;
use goroutines_tests::proc::{in_child, wait_until};
use goroutines_tests::quiet_panics;
use goroutines_tests::sync::{
    MIXES, Random, Sleepers, crew, everywhere, on_one, wait_until_waiting,
};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// What those say who wait for a call.
const WAITS: &str = "sync.WaitGroup.Wait";
const LIMIT: Duration = Duration::from_secs(10);

/// The text of a panic of `f`.
fn panic_of<R>(f: impl FnOnce() -> R) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
}

/// A call of `work` in a goroutine.
fn start<V>(
    group: &Arc<Group<String, V>>,
    f: impl FnOnce() -> V + Send + 'static,
) -> JoinHandle<(V, bool)>
where
    V: Clone + Send + Sync + 'static,
{
    let group = Arc::clone(group);
    go(move || {
        let outcome = group.work("key", f);
        (outcome.value, outcome.shared)
    })
}

/// Go: `TestDo`.
#[test]
fn work() {
    everywhere(|| {
        let group = Group::<String, _>::new();
        let outcome = group.work("key", || "bar");
        assert_eq!((outcome.value, outcome.shared), ("bar", false));
    });
}

/// Go: `TestDoErr`.
#[test]
fn work_error() {
    everywhere(|| {
        let group = Group::<String, Result<String, &str>>::new();
        assert_eq!(group.work("key", || Err("some error")).value, Err("some error"));
        assert_eq!(group.work("key", || Ok("nothing is kept".into())).value.unwrap().len(), 15);
    });
}

/// Go: `TestDoDupSuppress`.
#[test]
fn duplicates_are_suppressed() {
    everywhere(|| {
        for mix in MIXES {
            let n = 10;
            let (group, calls) = (Group::<String, String>::new(), AtomicUsize::new(0));
            let (at_the_line, go_on) = (AtomicUsize::new(0), AtomicBool::new(false));
            let first = AtomicBool::new(false);
            let f = || {
                if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                    first.store(true, Ordering::Release);
                }
                while !go_on.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                thread::sleep(ms(10)); // let more of them come
                "bar".to_owned()
            };
            crew(n + 1, mix, |i| {
                if i < n {
                    at_the_line.fetch_add(1, Ordering::Release);
                    return assert_eq!(group.work("key", f).value, "bar");
                }
                // One is in `f` now, and all have at least come to the line before.
                let all =
                    || first.load(Ordering::Acquire) && at_the_line.load(Ordering::Acquire) == n;
                wait_until(LIMIT, "all are there", all);
                go_on.store(true, Ordering::Release);
            });
            let calls = calls.into_inner();
            assert!(calls > 0 && calls < n, "{calls} calls");
        }
    });
}

/// Go: `TestForget`. See https://github.com/golang/go/issues/31420.
#[test]
fn forget() {
    on_one(|| {
        let group = Arc::new(Group::<String, u32>::new());
        let (unblock_first, blocks_first) = mpsc::channel();
        let (started, first_started) = mpsc::channel();
        let first = start(&group, move || {
            started.send(()).unwrap();
            blocks_first.recv().unwrap();
            1
        });
        first_started.recv().unwrap();
        group.forget("key");

        let (unblock_second, blocks_second) = mpsc::channel();
        let (started, second_started) = mpsc::channel();
        let second = start(&group, move || {
            started.send(()).unwrap();
            blocks_second.recv().unwrap();
            2
        });
        second_started.recv().unwrap();
        unblock_first.send(()).unwrap();
        assert_eq!(first.join().unwrap(), (1, false));

        let third = start(&group, || 3);
        wait_until_waiting(1, WAITS);
        unblock_second.send(()).unwrap();
        assert_eq!(second.join().unwrap(), (2, true));
        assert_eq!(third.join().unwrap(), (2, true), "the second's");
        group.forget("key"); // nobody is there: nothing
        group.forget("another");
    });
}

/// Go: `TestDoChan`.
#[test]
fn in_a_goroutine() {
    on_one(|| {
        let group = Arc::new(Group::<String, &str>::new());
        assert_eq!(start(&group, || "bar").join().unwrap(), ("bar", false));
    });
}

/// Go: `ExampleGroup`.
#[test]
fn example() {
    on_one(|| {
        let group = Arc::new(Group::<String, &str>::new());
        let (unblock, blocks) = mpsc::channel();
        let first = start(&group, move || {
            blocks.recv().unwrap();
            "func 1"
        });
        wait_until_waiting_in(1, "futex");
        let second = start(&group, || "func 2");
        wait_until_waiting(1, WAITS);
        unblock.send(()).unwrap();
        assert_eq!(first.join().unwrap(), ("func 1", true));
        assert_eq!(second.join().unwrap(), ("func 1", true));
    });
}

/// In std's channel: without the calls that are taken over it is not seen there.
fn wait_until_waiting_in(n: usize, reason: &str) {
    if goroutines_tests::io::PARKS {
        wait_until_waiting(n, reason);
    } else {
        thread::sleep(ms(100));
    }
}

/// `n` call `work` at once, with an `f` that waits until the others wait for it.
fn all_at_once<V: Clone + Send + Sync>(
    group: &Group<String, V>,
    n: usize,
    mix: fn(usize) -> bool,
    calls: &AtomicUsize,
    f: impl Fn() -> V + Sync,
    each: impl Fn(&mut dyn FnMut() -> V) + Sync,
) {
    let came = AtomicUsize::new(0);
    let f = || {
        calls.fetch_add(1, Ordering::SeqCst);
        wait_until(LIMIT, "all came", || came.load(Ordering::Acquire) == n);
        thread::sleep(ms(20)); // now they wait
        f()
    };
    crew(n, mix, |_| {
        came.fetch_add(1, Ordering::Release);
        each(&mut || group.work("key", &f).value);
    });
}

/// Go: `TestPanicDo`. See https://github.com/golang/go/issues/41133.
#[test]
fn a_panic_reaches_all() {
    quiet_panics();
    everywhere(|| {
        for mix in MIXES {
            let (group, n) = (Group::<String, u32>::new(), 5);
            let (calls, panics) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let f = || panic!("expected by the test {}", 1);
            all_at_once(&group, n, mix, &calls, f, |work| {
                assert_eq!(panic_of(work).as_deref(), Some("expected by the test 1"));
                panics.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(panics.into_inner(), n);
            assert!(calls.into_inner() < n);
            assert_eq!(group.work("key", || 7).value, 7, "the group can be used");
        }
    });
}

/// Go: `TestPanicErrorUnwrap`. The payload is the panic's own for who makes the call, and of the same type for
/// the others, if it is a text.
#[test]
fn payloads() {
    #[derive(Debug, PartialEq)]
    struct Error(u32);
    quiet_panics();
    everywhere(|| {
        let group = Group::<String, u32>::new();
        let payload = catch_unwind(AssertUnwindSafe(|| {
            group.work("key", || resume_unwind(Box::new(Error(5))))
        }));
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&Error(5)));
        for text in [None, Some("expected by the test")] {
            let (own, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let f = || match text {
                Some(text) => panic_any(text),
                None => resume_unwind(Box::new(Error(6))),
            };
            all_at_once(
                &group,
                4,
                |i| i % 2 == 0,
                &AtomicUsize::new(0),
                f,
                |work| {
                    let payload = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
                    if payload.downcast_ref() == Some(&Error(6)) {
                        own.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    let found = *payload.downcast_ref::<&str>().unwrap();
                    assert!(found.contains(text.unwrap_or("a value that is no text")), "{found}");
                    others.fetch_add(1, Ordering::Relaxed);
                },
            );
            assert_eq!(own.load(Ordering::Relaxed) + others.load(Ordering::Relaxed), 4);
            assert_eq!(own.load(Ordering::Relaxed) > 0, text.is_none());
        }
    });
}

/// Go: `TestPanicDoChan` and `TestPanicDoSharedByDoChan`: with Go's rule for panics, the process ends, and nobody
/// gets a value.
#[test]
fn a_panic_ends_the_process_if_told() {
    let child = in_child("a_panic_ends_the_process_if_told", &[], || {
        runtime::Builder::new().panic(runtime::PanicPolicy::Crash).run(|| {
            let group = Arc::new(Group::<String, u32>::new());
            let (unblock, blocks) = mpsc::channel();
            let (blocked, is_blocked) = mpsc::channel();
            let first = start(&group, move || {
                blocked.send(()).unwrap();
                blocks.recv().unwrap();
                panic!("Panicking in work")
            });
            is_blocked.recv().unwrap();
            let second = start(&group, || panic!("unexpectedly called"));
            unblock.send(()).unwrap();
            let _ = second.join();
            let _ = first.join();
            println!("unexpectedly returned");
        });
    });
    child.expect_status(2);
    child.expect_stderr("panic: Panicking in work");
    assert!(!child.to_string().contains("unexpectedly"), "{child}");
}

/// Go: `TestGoexitDo`.
#[test]
fn goexit_reaches_all() {
    on_one(|| {
        let group = Arc::new(Group::<String, u32>::new());
        let calls = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..5)
            .map(|_| {
                let calls = Arc::clone(&calls);
                start(&group, move || {
                    calls.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(ms(20)); // let the others come
                    runtime::goexit()
                })
            })
            .collect();
        for handle in handles {
            let payload = handle.join().unwrap_err();
            assert!(payload.downcast_ref::<&str>().is_none(), "it is no panic");
            assert!(payload.downcast_ref::<String>().is_none(), "it is no panic");
        }
        assert!(calls.load(Ordering::Relaxed) < 5);
        assert_eq!(group.work("key", || 7).value, 7, "the group can be used");
    });
}

/// An ordinary thread can't end so.
#[test]
fn goexit_reaches_threads_as_a_panic() {
    on_one(|| {
        let group = Arc::new(Group::<String, u32>::new());
        let (started, is_started) = mpsc::channel();
        let (unblock, blocks) = mpsc::channel();
        let sleepers = Arc::new(Sleepers::default());
        let first = start(&group, move || {
            started.send(()).unwrap();
            blocks.recv().unwrap();
            runtime::goexit()
        });
        is_started.recv().unwrap();
        let waits = std::thread::spawn({
            let group = Arc::clone(&group);
            let sleepers = Arc::clone(&sleepers);
            move || {
                sleepers.add();
                panic_of(|| group.work("key", || 0).value)
            }
        });
        wait_until(LIMIT, "the thread waits", || sleepers.asleep() == 1);
        unblock.send(()).unwrap();
        assert!(first.join().is_err());
        let text = waits.join().unwrap();
        assert_eq!(text.as_deref(), Some("singleflight: the call ended by runtime::goexit"));
    });
}

/// The key, the function and the value may borrow; keys are made only where they are kept.
#[test]
fn borrows() {
    everywhere(|| {
        let (words, calls) = ([String::from("one"), String::from("two")], Mutex::new(Vec::new()));
        let group: Group<&str, &String> = Group::new();
        thread::scope(|s| {
            for (word, key) in words.iter().zip(["1", "2"]) {
                let (group, calls) = (&group, &calls);
                s.spawn(move || {
                    let f = || {
                        calls.lock().unwrap().push(word);
                        word
                    };
                    assert!(std::ptr::eq(group.work(&key, f).value, word));
                    assert!(std::ptr::eq(group.work(&key, f).value, word));
                });
            }
        });
        assert_eq!(calls.lock().unwrap().len(), 4);
        let by_number = Group::<u64, u64>::default();
        assert_eq!(by_number.work(&3, || by_number.work(&4, || 5).value + 1).value, 6);
        assert_eq!(format!("{by_number:?}"), "Group { in_flight: 0, .. }");
    });
}

/// A value is cloned for those who share it, and not for one who has it alone.
#[test]
fn clones() {
    struct Counted<'c>(&'c AtomicUsize);
    impl Clone for Counted<'_> {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::Relaxed);
            Self(self.0)
        }
    }
    on_one(|| {
        let (cloned, group) = (AtomicUsize::new(0), Group::<u8, Counted<'_>>::new());
        assert!(!group.work(&1, || Counted(&cloned)).shared);
        assert_eq!(cloned.load(Ordering::Relaxed), 0);
        let shared = thread::scope(|s| {
            let work = || {
                let f = || {
                    wait_until_waiting(3, WAITS);
                    Counted(&cloned)
                };
                group.work(&1, f).shared
            };
            let all = [(); 4].map(|()| s.spawn(work));
            all.map(|handle| handle.join().unwrap())
        });
        assert_eq!(shared, [true; 4]);
        // The last one may find that it has the value alone by then.
        let cloned = cloned.load(Ordering::Relaxed);
        assert!(cloned == 4 || cloned == 3, "{cloned} clones");
    });
}

/// Calls for some keys, some of which are forgotten: a value is that of its key's function, and of a call that
/// was not over for anybody when it was asked for; nothing is in flight at the end.
#[test]
fn stress() {
    const LOOPS: usize = 200;
    const CREW: usize = 8;
    everywhere(|| {
        for mix in MIXES {
            let group = Group::<usize, Arc<(usize, usize)>>::new();
            let (calls, time) = (AtomicUsize::new(0), AtomicUsize::new(0));
            // When each call was over first.
            let over: Vec<_> = (0..CREW * LOOPS).map(|_| AtomicUsize::new(usize::MAX)).collect();
            let shared = AtomicUsize::new(0);
            crew(CREW, mix, |i| {
                let mut random = Random::new(i);
                for _ in 0..LOOPS {
                    let key = random.below(3) as usize;
                    if random.below(20) == 0 {
                        group.forget(&key);
                    }
                    let asked = time.fetch_add(1, Ordering::SeqCst);
                    let outcome = group.work(&key, || {
                        thread::yield_now();
                        Arc::new((key, calls.fetch_add(1, Ordering::SeqCst)))
                    });
                    let now = time.fetch_add(1, Ordering::SeqCst);
                    let (of, number) = *outcome.value;
                    assert_eq!(of, key);
                    let over = over[number].fetch_min(now, Ordering::SeqCst);
                    assert!(over > asked, "call {number} was over before");
                    shared.fetch_add(usize::from(outcome.shared), Ordering::Relaxed);
                }
            });
            assert_eq!(format!("{group:?}"), "Group { in_flight: 0, .. }");
            println!("{} calls, {} shared", calls.into_inner(), shared.into_inner());
        }
    });
}
