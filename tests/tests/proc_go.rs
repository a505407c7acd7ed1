//! Go's scheduler tests: runtime/proc_test.go and runtime/testdata/testprog/{preempt,stw_mexit,misc}.go
//! of Go 1.27 (The Go Authors, BSD-3-Clause), ported. Where Go's test has a channel, this has a
//! `WaitGroup` or park and unpark; where it runs the garbage collector, this stops the world by asking
//! for the account of all goroutines. `proc_locked.rs` has those about locked threads.
//!
//! Not here: `TestSchedLocalQueue`, `…Steal` and `…Empty` look inside the run queue (see the models).

use goroutines::thread;
use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::os_thread;
use goroutines_tests::proc::{Hogs, Pair, at_procs, burn_for, burn_until, in_child, wait_until};
use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PARALLEL: u32 = 4;
const TRIES: usize = 10;

/// Goroutines that take turns by spinning.
#[derive(Default)]
struct Turns {
    x: AtomicU32,
    /// The thread each was on when it last looked.
    on: [AtomicI64; PARALLEL as usize],
    /// Turns at which all were on different threads.
    apart: AtomicU32,
}

impl Turns {
    fn take(&self, p: u32) {
        let here = || self.on[p as usize].store(os_thread(), Ordering::Relaxed);
        for i in 0..3 {
            let expected = PARALLEL * i + p;
            here();
            while self.x.load(Ordering::Acquire) != expected {
                here();
            }
            if self.all_apart() {
                self.apart.fetch_add(1, Ordering::Relaxed);
            }
            self.x.store(expected + 1, Ordering::Release);
        }
    }

    fn all_apart(&self) -> bool {
        let mut on: Vec<i64> = self.on.iter().map(|on| on.load(Ordering::Relaxed)).collect();
        on.sort_unstable();
        on.dedup();
        on.len() == PARALLEL as usize && on[0] != 0
    }

    #[track_caller]
    fn expect_apart(&self) {
        let turns = PARALLEL * 3;
        let apart = self.apart.load(Ordering::Relaxed);
        assert!(apart > 0, "at none of {turns} turns the goroutines were on {PARALLEL} threads");
    }
}

/// Go: `TestGoroutineParallelism`: as many goroutines as there are processors run at the same time.
/// Restated: taking turns would go on under preemption too, so they must be on different threads.
#[test]
fn goroutine_parallelism() {
    at_procs(PARALLEL as usize, || {
        for _ in 0..TRIES {
            let (turns, done) = (Arc::new(Turns::default()), WaitGroup::new());
            for p in 0..PARALLEL {
                let turns = Arc::clone(&turns);
                done.go(move || turns.take(p));
            }
            done.wait();
            turns.expect_apart();
        }
    });
}

/// A closure and a result of `N` words.
fn spawned_on_all<const N: usize>(procs: u64) {
    let started: Vec<_> = (0..8 * procs)
        .map(|i| {
            go(move || {
                let words = [i; N];
                // Made on one processor, and over on another.
                let inner = go(move || words.map(|word| word + 1));
                runtime::gosched();
                inner.join().expect("it adds")
            })
        })
        .collect();
    for (i, one) in (0..8 * procs).zip(started) {
        assert_eq!(one.join().expect("it joins"), [i + 1; N], "{N} words");
    }
}

/// Alignment that no cache of tasks has.
#[repr(align(128))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Wide([u64; 4]);

/// Closures and results of all sizes and alignments come through, made by one processor and freed by others.
#[test]
fn closures_of_all_sizes() {
    for procs in [1, 2, 4] {
        at_procs(procs, || {
            let procs = procs as u64;
            for _ in 0..60 {
                spawned_on_all::<0>(procs);
                spawned_on_all::<1>(procs);
                spawned_on_all::<5>(procs);
                spawned_on_all::<12>(procs);
                spawned_on_all::<23>(procs);
                spawned_on_all::<24>(procs);
                spawned_on_all::<25>(procs);
                spawned_on_all::<40>(procs);
                spawned_on_all::<200>(procs);
            }
            let wide = Wide([1, 2, 3, 4]);
            let many: Vec<_> = (0..200).map(|_| go(move || black_box(wide))).collect();
            for one in many {
                let got = one.join().unwrap();
                assert_eq!((got, &raw const got as usize % 128), (wide, 0));
            }
        });
    }
}

/// Goroutines are started that all have to run before one ends: afterwards threads are about to park.
fn load() {
    let (x, done) = (Arc::new(AtomicU32::new(0)), WaitGroup::new());
    done.add(1);
    for _ in 0..PARALLEL {
        let (x, done) = (Arc::clone(&x), done.clone());
        go(move || {
            if x.fetch_add(1, Ordering::SeqCst) + 1 == PARALLEL {
                done.done();
                return;
            }
            while x.load(Ordering::SeqCst) != PARALLEL {
                std::hint::spin_loop();
            }
        });
    }
    done.wait();
}

/// Go: `TestGoroutineParallelism2`: all runnable goroutines are scheduled at the same time, when they
/// are started by others, with threads about to park, and with a socket open.
#[test]
fn goroutine_parallelism_2() {
    for (with_load, with_socket) in [(true, false), (false, true), (true, true)] {
        at_procs(PARALLEL as usize, || {
            let mut sockets = Vec::new();
            for _ in 0..TRIES {
                if with_load {
                    load();
                }
                if with_socket {
                    sockets.push(TcpListener::bind("127.0.0.1:0").unwrap());
                }
                let (turns, done) = (Arc::new(Turns::default()), WaitGroup::new());
                done.add(PARALLEL as i32);
                for p in 0..PARALLEL / 2 {
                    let (turns, done) = (Arc::clone(&turns), done.clone());
                    go(move || {
                        for p2 in 0..2 {
                            let (turns, done) = (Arc::clone(&turns), done.clone());
                            go(move || {
                                turns.take(p * 2 + p2);
                                done.done();
                            });
                        }
                    });
                }
                done.wait();
                turns.expect_apart();
            }
        });
    }
}

/// Go: `TestStopTheWorldDeadlock`: two goroutines that stop the world, beside one that starts the next
/// and ends. Restated: the account for the collector; 3 and 4 processors, since no change stops nothing.
#[test]
fn stop_the_world_deadlock() {
    fn perpetuum_mobile(stop: Arc<AtomicBool>, ended: WaitGroup) {
        if stop.load(Ordering::Relaxed) {
            return ended.done();
        }
        go(move || perpetuum_mobile(stop, ended));
    }
    at_procs(3, || {
        let (stop, mobile, done) =
            (Arc::new(AtomicBool::new(false)), WaitGroup::new(), WaitGroup::new());
        done.go(|| (0..1000).for_each(|_| assert!(!runtime::goroutines().is_empty())));
        done.go(|| {
            for i in 0..1000 {
                runtime::gomaxprocs(3 + i % 2);
            }
        });
        mobile.add(1);
        let (stop_it, ended) = (Arc::clone(&stop), mobile.clone());
        go(move || perpetuum_mobile(stop_it, ended));
        done.wait();
        stop.store(true, Ordering::Relaxed);
        mobile.wait();
    });
}

/// Go: `TestPreemption`: two goroutines that wait for each other by looping. Restated on one processor,
/// where each turn needs a preemption, and with a limit.
#[test]
fn preemption() {
    const ROUNDS: u32 = 5;
    at_procs(1, || {
        let (x, done) = (Arc::new(AtomicU32::new(0)), WaitGroup::new());
        let start = Instant::now();
        for g in 0..2 {
            let x = Arc::clone(&x);
            done.go(move || {
                for _ in 0..ROUNDS {
                    while x.load(Ordering::Relaxed) != g {
                        sum_of_nothing();
                    }
                    x.store(1 - g, Ordering::Relaxed);
                }
            });
        }
        done.wait();
        let took = start.elapsed();
        println!("preemption: {} turns in {took:?}", 2 * ROUNDS);
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

#[inline(never)]
fn sum_of_nothing() -> i32 {
    black_box([0; 128]).iter().sum()
}

/// Go: `TestPreemptionGC`: stopping the world preempts goroutines that loop.
#[test]
fn preemption_stops_the_world() {
    at_procs(6, || {
        let hogs = Hogs::start(5);
        let start = Instant::now();
        for _ in 0..10 {
            runtime::gosched();
            assert_eq!(runtime::goroutines().len(), 6);
        }
        println!("preemption_stops_the_world: ten times in {:?}", start.elapsed());
        drop(hogs);
    });
}

/// Go: `TestPreemptionAfterSyscall`: a goroutine that makes short blocking calls is preempted.
#[test]
fn preemption_after_syscall() {
    const GOROUTINES: i32 = 8;
    for call in [10, 100, 1000].map(Duration::from_micros) {
        at_procs(2, || {
            for _ in 0..10 {
                let (started, ended) = (WaitGroup::new(), WaitGroup::new());
                started.add(GOROUTINES);
                let stop = Arc::new(AtomicBool::new(false));
                let start = Instant::now();
                for _ in 0..GOROUTINES {
                    let (stop, started) = (Arc::clone(&stop), started.clone());
                    ended.go(move || {
                        started.done();
                        while !stop.load(Ordering::Relaxed) {
                            runtime::blocking(|| burn_for(call));
                        }
                    });
                }
                started.wait();
                stop.store(true, Ordering::Relaxed);
                ended.wait();
                let took = start.elapsed();
                assert!(took < Duration::from_secs(5), "calls of {call:?}: {took:?}");
            }
        });
    }
}

#[inline(never)]
fn dummy() {}

/// Go: `TestAsyncPreempt`: a loop that never calls anything is preempted, and the world stops.
#[test]
fn async_preempt() {
    let child = in_child("async_preempt", &[("GOMAXPROCS", "1")], || {
        goroutines::run(|| {
            static READY: AtomicU32 = AtomicU32::new(0);
            static READY_2: AtomicU32 = AtomicU32::new(0);
            go(|| {
                loop {
                    READY.store(1, Ordering::Relaxed);
                    dummy();
                    dummy();
                }
            });
            go(|| {
                READY_2.fetch_add(1, Ordering::Relaxed);
                let mut out = 0_i64;
                for i in 0..1_i64 << 62 {
                    out = black_box(out).wrapping_add(i.wrapping_mul(i) * 12345 % 7);
                }
            });
            go(|| {
                READY_2.fetch_add(1, Ordering::Relaxed);
                #[expect(clippy::empty_loop, reason = "it is the point")]
                loop {}
            });
            wait_until(Duration::from_secs(10), "all three ran", || {
                READY.load(Ordering::Relaxed) == 1 && READY_2.load(Ordering::Relaxed) == 2
            });
            assert_eq!(runtime::goroutines().len(), 4);
            println!("OK");
        });
    });
    child.expect_status(0);
    assert!(child.text().ends_with("OK\n"), "{child}");
}

/// Go: `TestPingPongHog`: two goroutines that wake each other share one time slice, so a pair with short
/// turns gets as much of one processor as a pair with long ones.
#[test]
fn ping_pong_hog() {
    const FACTOR: u64 = 20;
    let long = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    at_procs(1, || {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
        let hogs = Pair::start(long, &stop, &ended);
        let light = Pair::start(1000, &stop, &ended);
        thread::sleep(Duration::from_millis(100));
        let (hog, light) = (hogs.count(), light.count());
        stop.store(true, Ordering::Relaxed);
        ended.wait();
        println!("ping_pong_hog: {hog} / {light} = {:.2}", hog as f64 / light as f64);
        assert!(hog / FACTOR <= light && light / FACTOR <= hog, "{hog} against {light}");
    });
}

/// Go: `TestTimerFairness` and `TestTimerFairness2`: goroutines that keep waking each other do not starve
/// one that sleeps, nor do many that sleep starve them. Restated: without timers, with limits.
#[test]
fn timer_fairness() {
    for procs in [1, 2] {
        at_procs(procs, || {
            let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
            let pair = Pair::start(1, &stop, &ended);
            for _ in 0..10 {
                let start = Instant::now();
                thread::sleep(Duration::from_millis(20));
                let took = start.elapsed();
                assert!(took < Duration::from_millis(200), "a sleeper is starved: {took:?}");
            }
            let alone = pair.count();
            for _ in 0..50 {
                let stop = Arc::clone(&stop);
                ended.go(move || {
                    while !stop.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            thread::sleep(Duration::from_millis(200));
            let beside = pair.count() - alone;
            stop.store(true, Ordering::Relaxed);
            ended.wait();
            println!("timer_fairness, {procs}: {alone} turns alone, {beside} beside 50 sleepers");
            assert!(alone > 1000, "starved: {alone} turns in 200 ms");
            assert!(beside > alone / 50, "starved by sleepers: {beside} turns, {alone} without");
        });
    }
}

/// Go: `TestNumGoroutine`: there is one at first, and the number is that of the account.
#[test]
fn num_goroutine() {
    let child = in_child("num_goroutine", &[], || {
        goroutines::run(|| println!("there are {}.", runtime::num_goroutine()));
    });
    child.expect_status(0);
    assert!(child.text().ends_with("there are 1.\n"), "{child}");
    at_procs(2, || {
        let (parked, gate) = (WaitGroup::new(), WaitGroup::new());
        gate.add(1);
        for _ in 0..100 {
            let gate = gate.clone();
            parked.go(move || gate.wait());
        }
        // A goroutine that is just ending may be in one and not in the other.
        let agree = (0..10).any(|_| {
            runtime::gosched();
            let (number, account) = (runtime::num_goroutine(), runtime::goroutines().len());
            number == account && number > 100
        });
        let last = (runtime::num_goroutine(), runtime::goroutines().len());
        gate.done();
        parked.wait();
        assert!(agree, "never the same: number and account {last:?}");
    });
}

/// Go: `TestBigGOMAXPROCS`: a thousand processors are no problem. Restated: goroutines run on them.
#[test]
fn big_gomaxprocs() {
    let child = in_child("big_gomaxprocs", &[("GOMAXPROCS", "1024")], || {
        goroutines::run(|| {
            assert_eq!(runtime::gomaxprocs(0), 1024);
            let (wg, count) = (WaitGroup::new(), Arc::new(AtomicU32::new(0)));
            for _ in 0..10_000 {
                let count = Arc::clone(&count);
                wg.go(move || {
                    runtime::gosched();
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            wg.wait();
            assert_eq!(count.load(Ordering::Relaxed), 10_000);
            runtime::gomaxprocs(5000);
            assert_eq!(runtime::gomaxprocs(1), 1024, "the most there are");
            println!("OK");
        });
    });
    child.expect_status(0);
    assert!(child.text().ends_with("OK\n"), "{child}");
}

/// Go: `TestMexitSTW`: threads that end with their locked goroutines while the world is stopped.
/// Restated: the account for `ReadMemStats`.
#[test]
fn mexit_stw() {
    at_procs(4, || {
        let hogs = Hogs::start(2);
        let ended = WaitGroup::new();
        for _ in 0..100 {
            ended.go(|| {
                let _for_ever = ManuallyDrop::new(runtime::lock_os_thread());
            });
            assert!(runtime::goroutines().len() >= 3);
        }
        ended.wait();
        drop(hogs);
    });
}

/// Fills a frame of 8 KiB at each of `depth` levels, burns CPU at the deepest, and checks the frames.
#[inline(never)]
fn deep(depth: u32, stop: &AtomicBool) -> bool {
    let mut frame = [0_u8; 8192];
    for (i, byte) in frame.iter_mut().enumerate() {
        *byte = (i as u32).wrapping_mul(depth) as u8;
    }
    black_box(&mut frame);
    let intact = if depth == 0 {
        burn_until(stop);
        true
    } else {
        deep(depth - 1, stop)
    };
    let same = |(i, byte): (usize, &u8)| *byte == (i as u32).wrapping_mul(depth) as u8;
    black_box(&frame).iter().enumerate().all(same) && intact
}

/// Go: `TestPreemptSplitBig`: a goroutine with big frames is preempted too. Restated: 4 MiB deep, on one
/// processor, with stops of the world, and its frames are whole afterwards.
#[test]
fn preempt_big_frames() {
    at_procs(1, || {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let big = thread::Builder::new().stack_size(8 << 20);
        let big = big.spawn(move || deep(512, &seen)).unwrap();
        for _ in 0..20 {
            let start = Instant::now();
            runtime::gosched();
            let took = start.elapsed();
            assert!(took < Duration::from_millis(500), "not preempted for {took:?}");
            assert_eq!(runtime::goroutines().len(), 2);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(big.join().unwrap(), "a frame was changed");
    });
}

/// Go: `TestYieldProgress`: a goroutine that yields all the time does not keep others from running, and
/// goes on itself.
#[test]
fn yield_progress() {
    for procs in [1, 2] {
        let yields = at_procs(procs, || yield_until_told(false));
        println!("yield_progress, {procs}: {yields} yields in 10 ms");
    }
}

/// Go: `TestYieldLockedProgress`: the same with a goroutine that is locked to its thread.
#[test]
fn yield_locked_progress() {
    for procs in [1, 2] {
        let yields = at_procs(procs, || yield_until_told(true));
        println!("yield_locked_progress, {procs}: {yields} yields in 10 ms");
    }
}

fn yield_until_told(locked: bool) -> u64 {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let yielder = go(move || {
        let _lock = locked.then(runtime::lock_os_thread);
        let mut yields = 0;
        while !told.load(Ordering::Relaxed) {
            runtime::gosched();
            yields += 1;
        }
        yields
    });
    let start = Instant::now();
    thread::sleep(Duration::from_millis(10));
    stop.store(true, Ordering::Relaxed);
    let yields = yielder.join().expect("the yielder's count");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(yields > 10, "it yielded {yields} times");
    yields
}
