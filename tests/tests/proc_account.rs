//! The account of goroutines, `wait_all`, and `goexit`.

use goroutines::runtime::{self, GoroutineInfo, GoroutineState, goroutines, wait_all};
use goroutines::{WaitGroup, go, thread};
use goroutines_tests::proc::{Hogs, alone, at_procs, wait_until};
use goroutines_tests::raw;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A coarse clock's grain.
const GRAIN: Duration = Duration::from_millis(10);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The account of goroutine `id`.
#[track_caller]
fn account_of(id: u64) -> GoroutineInfo {
    let all = goroutines();
    all.iter().find(|g| g.id == id).unwrap_or_else(|| panic!("no {id} in {all:?}")).clone()
}

/// The account once its state is `state`.
#[track_caller]
fn account_in(id: u64, state: GoroutineState) -> GoroutineInfo {
    wait_until(Duration::from_secs(5), &format!("{id} is {state:?}"), || {
        account_of(id).state == state
    });
    account_of(id)
}

/// What a goroutine waits for is told in a dump's words.
#[test]
fn reasons_of_waiting() {
    at_procs(2, || {
        let gate = WaitGroup::new();
        gate.add(1);
        let (one, other) = (gate.clone(), gate.clone());
        let in_group = go(move || one.wait());
        let (id, parked) = (in_group.id(), go(thread::park));
        let joining = go(move || in_group.join().is_ok());
        let in_scope = go(move || thread::scope(|s| drop(s.spawn(|| other.wait()))));
        for (id, reason) in [
            (id, "sync.WaitGroup.Wait"),
            (parked.id(), "thread::park"),
            (joining.id(), "join"),
            (in_scope.id(), "thread::scope"),
        ] {
            let info = account_in(id, GoroutineState::Waiting);
            assert_eq!(info.wait_reason, Some(reason), "{info}");
            assert!(info.waiting.is_some());
            assert!(info.to_string().starts_with(&format!("goroutine {id} [{reason}]")), "{info}");
        }
        gate.done();
        parked.thread().unpark();
        parked.join().unwrap();
        assert!(joining.join().unwrap());
        in_scope.join().unwrap();
    });
}

/// Running, in a blocking call, blocked without a word, and runnable.
#[test]
fn states() {
    at_procs(2, || {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let running = go(move || goroutines_tests::proc::burn_until(&told));
        let blocking = go(|| runtime::blocking(|| raw::sleep(ms(300))));
        let foreign = go(|| raw::sleep(ms(300)));
        // Stopping the world preempts who runs: then it is runnable.
        let info = account_of(running.id());
        assert!(
            [GoroutineState::Running, GoroutineState::Runnable].contains(&info.state),
            "{info}"
        );
        for (id, state) in [
            (blocking.id(), GoroutineState::Syscall),
            (foreign.id(), GoroutineState::Running),
            (runtime::goroutine_id().unwrap(), GoroutineState::Running),
        ] {
            let info = account_in(id, state);
            assert_eq!((info.wait_reason, info.waiting), (None, None), "{info}");
        }
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap();
        blocking.join().unwrap();
        foreign.join().unwrap();
    });
    at_procs(1, || {
        let runnable = go(|| ());
        let info = account_of(runnable.id());
        assert_eq!(info.state, GoroutineState::Runnable, "{info}");
        assert!(info.to_string().contains("[runnable]"), "{info}");
        runnable.join().unwrap();
    });
}

/// Number, name, age, creator and place.
#[test]
fn identity() {
    at_procs(2, || {
        let me = runtime::goroutine_id().unwrap();
        let line = line!() + 2;
        let named = thread::Builder::new().name("a name".into());
        let named = named.spawn(thread::park).unwrap();
        let nameless = go(thread::park);
        thread::sleep(ms(50));
        let info = account_in(named.id(), GoroutineState::Waiting);
        assert_eq!(info.name(), Some("a name"));
        assert_eq!(info.creator, Some(me));
        assert_eq!(info.created_at.line(), line);
        assert!(info.created_at.file().ends_with("proc_account.rs"), "{info}");
        assert!(info.age + GRAIN >= ms(50) && info.age < ms(5000), "{:?}", info.age);
        let waited = info.waiting.unwrap();
        assert!(waited + GRAIN >= ms(50) && waited <= info.age + GRAIN, "{waited:?}");
        assert!(!info.locked_to_thread);
        let text = info.to_string();
        assert!(
            text.contains("\"a name\"") && text.ends_with(&format!("goroutine {me}")),
            "{text}"
        );
        assert_eq!(account_of(nameless.id()).name(), None);
        let all = goroutines();
        assert!(all.is_sorted_by(|a, b| a.id < b.id), "by number: {all:?}");
        for handle in [named, nameless] {
            handle.thread().unpark();
            handle.join().unwrap();
        }
        assert_eq!(account_of(me).name(), Some("main"));
    });
    alone(2, || {
        let orphan = go(thread::park);
        let info = account_in(orphan.id(), GoroutineState::Waiting);
        assert_eq!(info.creator, None, "an ordinary thread started it");
        orphan.thread().unpark();
        orphan.join().unwrap();
    });
}

/// Many goroutines, in all states, while the account is taken again and again.
#[test]
fn many_in_the_account() {
    at_procs(4, || {
        let (gate, all) = (WaitGroup::new(), WaitGroup::new());
        gate.add(1);
        for i in 0..2000 {
            let gate = gate.clone();
            all.go(move || {
                if i % 100 == 0 {
                    thread::sleep(ms(20));
                }
                gate.wait();
            });
        }
        let hogs = Hogs::start(3);
        for _ in 0..20 {
            let found = goroutines().len();
            assert_eq!(found, 2000 + 3 + 1);
        }
        gate.done();
        all.wait();
        drop(hogs);
    });
}

/// `wait_all` returns when all others have ended.
#[test]
fn wait_all_succeeds() {
    at_procs(2, || {
        let ended = Arc::new(AtomicUsize::new(0));
        for i in 0..50 {
            let ended = Arc::clone(&ended);
            go(move || {
                thread::sleep(ms(i));
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        wait_all(Duration::from_secs(10)).unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), 50);
        assert_eq!(runtime::num_goroutine(), 1);
        assert_eq!(goroutines().len(), 1);
        wait_all(Duration::ZERO).unwrap();
    });
    // From an ordinary thread.
    alone(2, || {
        drop(go(|| thread::sleep(ms(20))));
        wait_all(Duration::from_secs(10)).unwrap();
        assert_eq!(runtime::num_goroutine(), 0);
    });
}

/// `wait_all` gives up when the time is over, and names those that have not ended.
#[test]
fn wait_all_gives_up() {
    at_procs(1, || {
        wait_all(Duration::from_secs(10)).unwrap(); // those of the tests before
        let parked = thread::Builder::new().name("stubborn".into()).spawn(thread::park).unwrap();
        drop(go(|| ()));
        let start = Instant::now();
        let unfinished = wait_all(ms(100)).unwrap_err();
        let took = start.elapsed();
        assert!(took >= ms(100) && took < ms(1000), "{took:?}");
        let ids: Vec<_> = unfinished.goroutines.iter().map(|g| g.id).collect();
        assert_eq!(ids, [parked.id()]);
        let text = unfinished.to_string();
        assert!(text.starts_with("1 goroutines did not end in time:\n"), "{text}");
        assert!(text.contains("\"stubborn\" [thread::park] created at"), "{text}");
        parked.thread().unpark();
        parked.join().unwrap();
        wait_all(Duration::from_secs(10)).unwrap();
    });
}

/// Adds to a sum when dropped.
struct Adds(Arc<AtomicUsize>, usize);

impl Drop for Adds {
    fn drop(&mut self) {
        self.0.fetch_add(self.1, Ordering::SeqCst);
    }
}

/// Ends the goroutine in the midst of a function, in a way the compiler does not see.
fn goes_no_further(sum: &AtomicUsize, _inner: Adds) {
    runtime::gosched();
    if sum.load(Ordering::SeqCst) == 0 {
        runtime::goexit();
    }
}

/// `goexit` runs destructors, of locals and of `thread_local!`s, and goes no further; `join` returns, the
/// destructors done; nothing is reported.
#[test]
fn goexit_runs_destructors() {
    thread_local!(static LOCAL: RefCell<Option<Adds>> = const { RefCell::new(None) });
    for procs in [1, 2] {
        at_procs(procs, || {
            for _ in 0..100 {
                let sum = Arc::new(AtomicUsize::new(0));
                let theirs = Arc::clone(&sum);
                let handle = go(move || {
                    let adds = |n| Adds(Arc::clone(&theirs), n);
                    LOCAL.set(Some(adds(1)));
                    let _outer = adds(10);
                    let inner = adds(100);
                    goes_no_further(&theirs, inner);
                    unreachable!("goexit returned");
                });
                assert!(handle.join().is_err());
                assert_eq!(sum.load(Ordering::SeqCst), 111);
            }
        });
    }
}

/// A scope does not take `goexit` for a panic.
#[test]
fn goexit_in_a_scope_is_no_panic() {
    at_procs(2, || {
        let result = thread::scope(|s| {
            s.spawn(|| runtime::goexit());
            5
        });
        assert_eq!(result, 5);
    });
}

/// On an ordinary thread `goexit` panics.
#[test]
fn goexit_on_a_thread_panics() {
    let result = std::thread::spawn(|| {
        std::panic::set_hook(Box::new(|_| ()));
        let result = std::panic::catch_unwind(|| runtime::goexit());
        let _ = std::panic::take_hook();
        result.is_err()
    });
    assert!(result.join().unwrap());
}

/// Go: `runtime.Stack`, which begins with the caller.
#[test]
fn the_callers_stack_is_the_first() {
    #[inline(never)]
    fn calls() -> String {
        std::hint::black_box(runtime::stacks())
    }
    fn parks() {
        thread::park();
    }
    alone(2, || {
        let other = go(parks);
        let text = loop {
            let text = go(calls).join().unwrap();
            if text.contains("[thread::park]") {
                break text;
            }
            thread::yield_now();
        };
        let first = text.trim_start().split("\n\n").next().unwrap();
        assert!(first.contains(" [running]:\n"), "{text}");
        assert!(first.contains("the_callers_stack_is_the_first::calls()\n"), "{text}");
        assert!(first.contains("proc_account.rs:"), "{text}");
        assert!(!text.contains("stack unavailable"), "{text}");
        other.thread().unpark();
        other.join().unwrap();
    });
}
