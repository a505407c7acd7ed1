//! Goroutines that block their thread, announced and not; a changing number of processors; the threads
//! behind them.

use goroutines::{WaitGroup, go, runtime, thread};
use goroutines_tests::proc::{
    Hogs, Pair, Times, at_procs, best_times, cpu_time, in_child, os_threads,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MANY: usize = 64;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Blocks its thread in a foreign call.
fn foreign_sleep(time: Duration) {
    goroutines_tests::raw::sleep(time);
}

/// How long `n` goroutines take that each do `f` once.
fn all_take(n: usize, f: fn()) -> Duration {
    let (start, wg) = (Instant::now(), WaitGroup::new());
    for _ in 0..n {
        wg.go(f);
    }
    wg.wait();
    start.elapsed()
}

/// Where all processors are idle now and then, the monitor dozes: an announced call with others behind it wakes it.
#[test]
fn a_call_beside_sleepers_leaves_its_processor() {
    at_procs(1, || {
        let (stop, sleepers) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        for _ in 0..40 {
            let stop = Arc::clone(&stop);
            sleepers.go(move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(ms(1));
                }
            });
        }
        let behind_a_call = || {
            thread::sleep(ms(4));
            let start = Instant::now();
            let behind = go(move || start.elapsed());
            runtime::blocking(|| foreign_sleep(ms(12)));
            behind.join().expect("it looks at the clock")
        };
        let medians = (0..5).map(|_| {
            let times: Times = (0..30).map(|_| behind_a_call()).collect();
            println!("behind an announced call, beside sleepers: {times}");
            times.percentile(50)
        });
        let best = medians.min().expect("there are five");
        stop.store(true, Ordering::Relaxed);
        sleepers.wait();
        assert!(best <= Duration::from_micros(600), "{best:?} in the median");
    });
}

/// 64 goroutines that announce a blocking call of 100 ms do it at the same time.
#[test]
fn announced_blocking_is_parallel() {
    let took = best_times(100, ms(200), || {
        let took = at_procs(2, || all_take(MANY, || runtime::blocking(|| foreign_sleep(ms(100)))));
        [took].into_iter().collect()
    });
    println!("64 announced sleeps of 100 ms, GOMAXPROCS=2: {took}");
    assert!(took.percentile(100) < ms(200), "{took}");
}

/// 64 goroutines that block for 100 ms and say nothing: a processor is stuck 10 ms at most with each.
#[test]
fn unannounced_blocking_is_bounded() {
    let limit = ms(100) + ms(12) * MANY as u32 / 2 + ms(100);
    let took = best_times(100, limit, || {
        let took = at_procs(2, || all_take(MANY, || foreign_sleep(ms(100))));
        [took].into_iter().collect()
    });
    println!("64 unannounced sleeps of 100 ms, GOMAXPROCS=2: {took}");
    assert!(took.percentile(100) < limit, "{took}");
}

/// The same on one processor, where others wait for it.
#[test]
fn unannounced_blocking_on_one_processor_lets_others_run() {
    let late: Times = best_times(99, ms(12), || {
        at_procs(1, || {
            let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
            let told = Arc::clone(&stop);
            ended.go(move || {
                while !told.load(Ordering::Relaxed) {
                    foreign_sleep(ms(50));
                }
            });
            let yields = (0..300).map(|_| {
                let start = Instant::now();
                runtime::gosched();
                let took = start.elapsed();
                goroutines_tests::proc::burn_for(ms(1));
                took
            });
            let late = yields.collect();
            stop.store(true, Ordering::Relaxed);
            ended.wait();
            late
        })
    });
    println!("a yield beside an unannounced sleeper, GOMAXPROCS=1, takes: {late}");
    assert!(late.percentile(99) <= ms(12), "{late}");
}

/// Whether a thread is blocked can only be read in a file. It takes no number that the program would be given:
/// that of what was just closed is the next one.
#[test]
fn looking_at_threads_takes_no_descriptor() {
    fn duplicate() -> i32 {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::dup(2) };
        assert_eq!(goroutines_tests::io::close(fd).expect("it is open"), 0);
        fd
    }
    for procs in [1, 2] {
        at_procs(procs, || {
            let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
            for _ in 0..4 {
                let stop = Arc::clone(&stop);
                ended.go(move || {
                    while !stop.load(Ordering::Relaxed) {
                        foreign_sleep(Duration::from_micros(700));
                        runtime::gosched();
                    }
                });
            }
            // On a thread of its own, which goes on while the processors are held.
            let looks = std::thread::spawn(|| {
                let (start, first) = (Instant::now(), duplicate());
                let others = std::iter::repeat_with(duplicate);
                (first, others.take_while(|_| start.elapsed() < ms(700)).find(|fd| *fd != first))
            });
            while !looks.is_finished() {
                thread::sleep(ms(20)); // who waits in `join` has a descriptor for it
            }
            let (first, other) = looks.join().expect("it has a descriptor");
            stop.store(true, Ordering::Relaxed);
            ended.wait();
            assert_eq!(other, None, "the number after {first}");
        });
    }
}

/// What a blocking call returns, and a panic in one.
#[test]
fn blocking_passes_results_and_panics() {
    at_procs(1, || {
        assert_eq!(runtime::blocking(|| runtime::blocking(|| 7)), 7);
        let panicked = std::panic::catch_unwind(|| {
            runtime::blocking(|| std::panic::resume_unwind(Box::new(8)));
        });
        assert_eq!(*panicked.unwrap_err().downcast::<i32>().unwrap(), 8);
        // The region has ended: the goroutine is preempted again.
        let hogs = Hogs::start(1);
        runtime::gosched();
        drop(hogs);
        // All of the runtime may be used inside.
        let inside = runtime::blocking(|| {
            let wg = WaitGroup::new();
            wg.go(|| thread::sleep(ms(1)));
            wg.wait();
            go(|| 9).join().unwrap()
        });
        assert_eq!(inside, 9);
    });
}

/// The number of processors changes between 1 and 8 a thousand times, beside goroutines that compute,
/// wake each other, yield, sleep, block and start others; nobody is lost.
#[test]
fn gomaxprocs_changes_under_load() {
    fn chain(stop: Arc<AtomicBool>, made: Arc<AtomicU64>, ended: WaitGroup) {
        if stop.load(Ordering::Relaxed) {
            return ended.done();
        }
        made.fetch_add(1, Ordering::Relaxed);
        go(move || chain(stop, made, ended));
    }
    at_procs(1, || {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        let turns: [Arc<AtomicU64>; 4] = Default::default();
        let repeat = |what: fn(), turns: &Arc<AtomicU64>| {
            let (stop, turns) = (Arc::clone(&stop), Arc::clone(turns));
            ended.go(move || {
                while !stop.load(Ordering::Relaxed) {
                    what();
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            });
        };
        let pairs = [Pair::start(10, &stop, &ended), Pair::start(1000, &stop, &ended)];
        for _ in 0..2 {
            repeat(runtime::gosched, &turns[0]);
            repeat(|| thread::sleep(Duration::from_micros(100)), &turns[1]);
            repeat(|| foreign_sleep(Duration::from_micros(300)), &turns[2]);
            ended.add(1);
            let (stop, made, ended) = (Arc::clone(&stop), Arc::clone(&turns[3]), ended.clone());
            go(move || chain(stop, made, ended));
        }
        let hogs = Hogs::start(2);
        let start = Instant::now();
        for i in 0..1000 {
            if i % 50 == 0 {
                runtime::gosched(); // or nobody else would have a turn
            }
            assert_eq!(runtime::gomaxprocs(8), 1);
            assert_eq!(runtime::gomaxprocs(0), 8);
            assert_eq!(runtime::gomaxprocs(1), 8);
        }
        let took = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        drop(hogs);
        ended.wait();
        let turns = turns.map(|turns| turns.load(Ordering::Relaxed));
        let pairs = pairs.map(|pair| pair.count());
        println!("2,000 changes of GOMAXPROCS in {took:?}; turns {turns:?}, pairs {pairs:?}");
        assert!(turns.iter().all(|turns| *turns > 0) && pairs.iter().all(|count| *count > 0));
    });
}

/// A hundred blocking calls after each other use a thread again and again.
#[test]
fn threads_are_reused() {
    let child = in_child("threads_are_reused", &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            for _ in 0..100 {
                go(|| thread::sleep(ms(1))).join().expect("it slept");
            }
            println!("threads: {}.", os_threads());
        });
    });
    child.expect_status(0);
    let threads = number_after(&child.text(), "threads: ");
    println!("after 100 blocking calls in sequence there are {threads} threads");
    assert!(threads <= 10, "{child}");
}

/// The number that follows `label` in `text`.
fn number_after(text: &str, label: &str) -> u64 {
    let at = text.find(label).expect("the label") + label.len();
    text[at..].split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("it")
}

/// Threads that have nothing to do end after `thread_keep_alive`; then work makes new ones.
#[test]
fn idle_threads_end() {
    let child = in_child("idle_threads_end", &[], || {
        let builder = runtime::Builder::new().gomaxprocs(2).thread_keep_alive(ms(100));
        builder.run(|| {
            let many = || {
                let wg = WaitGroup::new();
                for _ in 0..20 {
                    // All block at the same time, each on a thread.
                    wg.go(|| runtime::blocking(|| foreign_sleep(ms(100))));
                }
                wg.wait();
                os_threads()
            };
            let first = many();
            thread::sleep(ms(600));
            let idle = os_threads();
            let again = many();
            println!("first {first}, idle {idle}, again {again}.");
        });
    });
    child.expect_status(0);
    let text = child.text();
    let [first, idle, again] = ["first ", "idle ", "again "].map(|at| number_after(&text, at));
    println!("threads with 20 blocked: {first}; idle: {idle}; blocked again: {again}");
    assert!(first >= 20 && again >= 20, "{child}");
    assert!(idle <= 8, "{child}");
}

/// A process whose goroutines all wait uses no CPU.
#[test]
fn an_idle_process_uses_no_cpu() {
    let child = in_child("an_idle_process_uses_no_cpu", &[], || {
        goroutines::run(|| {
            let (gate, wg) = (WaitGroup::new(), WaitGroup::new());
            gate.add(1);
            for _ in 0..100 {
                let gate = gate.clone();
                wg.go(move || gate.wait());
            }
            for _ in 0..10 {
                wg.go(|| thread::sleep(ms(3000)));
            }
            thread::sleep(ms(500)); // they park, and the monitor comes to rest
            let before = cpu_time();
            thread::sleep(ms(2000));
            println!("used {} us.", (cpu_time() - before).as_micros());
            gate.done();
            wg.wait();
        });
    });
    child.expect_status(0);
    let used = Duration::from_micros(number_after(&child.text(), "used "));
    println!("CPU time in 2 s with 100 parked goroutines and 11 sleepers: {used:?}");
    assert!(used < ms(10), "{child}");
}

/// The first `go` of a process, on an ordinary thread, starts the runtime.
#[test]
fn go_from_a_thread_starts_the_runtime() {
    let child = in_child("go_from_a_thread_starts_the_runtime", &[("GOMAXPROCS", "3")], || {
        let before = os_threads();
        let answer = go(|| (runtime::gomaxprocs(0), runtime::goroutine_id().is_some()));
        assert_eq!(answer.join().expect("its answer"), (3, true));
        assert!(os_threads() > before);
        assert_eq!(runtime::goroutine_id(), None, "this thread is none");
        let again = runtime::Builder::new().start().expect_err("it runs");
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        println!("OK");
    });
    child.expect_status(0);
    assert!(child.text().ends_with("OK\n"), "{child}");
}
