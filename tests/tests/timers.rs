//! Sleeping, and waiting with a time-out, as std and libc do it.
//!
//! Cases that name one are after Go's tests time/{sleep,tick}_test.go and runtime/proc_test.go of Go 1.27
//! (The Go Authors, BSD-3-Clause). Where Go's test has a timer's channel, this has a goroutine that sleeps,
//! or a wait with a time-out.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::io::{PARKS, at_each, check, errno, ms};
use goroutines_tests::proc::{Hogs, Times, at_procs, best_times, cpu_time, in_child, os_threads};
use goroutines_tests::{join_all, raw};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{park_timeout, sleep};
use std::time::{Duration, Instant};

/// Longer than this after its time nobody may come, on a machine that has other things to do.
const LATE: Duration = ms(60);

fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// How late `f` comes back, which is to take `time`.
#[track_caller]
fn late(time: Duration, f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    let took = start.elapsed();
    assert!(took >= time, "early: {took:?} instead of {time:?}");
    took - time
}

/// Go: `TestSleep`, `TestAfterQueuing`. A thousand sleepers: none early, in order, and in time.
///
/// Order is a matter of time too: one that was woken first may be held up on its way to the list, by this
/// machine's other work as by a slice of ours, and come after others.
#[test]
fn a_thousand_sleepers_in_order() {
    for procs in [1, 2, 4] {
        let mut ahead = Times::default();
        let times = best_times(90, LATE, || {
            let (late, overtaken_by) = at_procs(procs, a_thousand_sleep);
            ahead = overtaken_by;
            late
        });
        println!("GOMAXPROCS={procs}, 1000 sleepers, late: {times}; out of order by: {ahead}");
        assert!(times.percentile(90) <= LATE, "{times}");
        if PARKS {
            // A thousand threads are not there before the first is due.
            assert!(ahead.percentile(90) <= LATE, "{ahead}");
        }
    }
}

/// How late each came, and by how much those before it in the list were to come after it.
fn a_thousand_sleep() -> (Times, Times) {
    let woken = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let sleepers = (0..1000u64).map(|i| {
        let woken = Arc::clone(&woken);
        go(move || {
            let until = ms(50) + us(i * 7_919 % 1_000 * 200);
            let left = until.saturating_sub(start.elapsed());
            let late = late(left, || sleep(left));
            woken.lock().unwrap().push(until);
            late
        })
    });
    let times = join_all(sleepers.collect::<Vec<_>>()).into_iter().collect();
    let woken = woken.lock().unwrap();
    let mut latest = Duration::ZERO;
    let ahead = woken.iter().map(|&until| {
        latest = latest.max(until);
        latest - until
    });
    (times, ahead.collect())
}

/// Each way to wait for a time: never early.
#[test]
fn never_early_in_any_way() {
    type Wait = (&'static str, fn(Duration));
    let waits: [Wait; 10] = [
        ("sleep", sleep),
        ("park_timeout", park_until),
        ("wait_timeout", wait_on_condvar),
        ("recv_timeout", |time| {
            let (_send, receive) = mpsc::channel::<()>();
            assert_eq!(receive.recv_timeout(time), Err(mpsc::RecvTimeoutError::Timeout));
        }),
        ("goroutines::thread::sleep", goroutines::thread::sleep),
        ("nanosleep", |time| nanosleep(time)),
        ("clock_nanosleep", |time| clock_nanosleep(libc::CLOCK_MONOTONIC, time)),
        ("clock_nanosleep of the day", |time| clock_nanosleep(libc::CLOCK_REALTIME, time)),
        ("poll", |time| {
            let ms = time.as_millis() as i32 + 1;
            // SAFETY: no descriptors.
            assert_eq!(unsafe { libc::poll(std::ptr::null_mut(), 0, ms) }, 0);
        }),
        ("select", select_nothing),
    ];
    at_each(|procs| {
        for (name, wait) in waits {
            for time in [us(1), us(70), us(1_300), us(21_000)] {
                let late = late(time, || wait(time));
                assert!(late < ms(2_000), "{name}({time:?}) was {late:?} late at {procs}");
            }
        }
    });
}

fn park_until(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        park_timeout(time.saturating_sub(start.elapsed()));
    }
}

fn wait_on_condvar(time: Duration) {
    let (lock, condvar) = (Mutex::new(()), Condvar::new());
    let held = lock.lock().unwrap();
    let result = condvar.wait_timeout_while(held, time, |()| true).unwrap();
    assert!(result.1.timed_out());
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

fn nanosleep(time: Duration) {
    let time = timespec(time);
    // SAFETY: a time to read.
    assert_eq!(unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) }, 0);
}

/// Until a time of the clock.
fn clock_nanosleep(clock: libc::clockid_t, time: Duration) {
    let mut now = timespec(Duration::ZERO);
    // SAFETY: a time to write, and one to read.
    unsafe {
        libc::clock_gettime(clock, &raw mut now);
        let now = Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32);
        let until = timespec(now + time);
        let word = libc::clock_nanosleep(
            clock,
            libc::TIMER_ABSTIME,
            &raw const until,
            std::ptr::null_mut(),
        );
        assert_eq!(word, 0);
    }
}

fn select_nothing(time: Duration) {
    let none = std::ptr::null_mut;
    let mut time = libc::timeval {
        tv_sec: time.as_secs().cast_signed(),
        tv_usec: time.subsec_micros().into(),
    };
    // SAFETY: no sets; a time to read and write.
    assert_eq!(unsafe { libc::select(0, none(), none(), none(), &raw mut time) }, 0);
    assert_eq!((time.tv_sec, time.tv_usec), (0, 0), "what is left of the time");
}

/// What is no time is refused at once, and what is past has come.
#[test]
fn times_that_are_none() {
    at_each(|_| {
        for bad in [(0, 1_000_000_000), (0, -1), (-1, 0)] {
            let time = libc::timespec { tv_sec: bad.0, tv_nsec: bad.1 };
            // SAFETY: a time to read.
            let word = unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
            assert_eq!(errno(&check(word)), libc::EINVAL, "nanosleep({bad:?})");
            let clock = libc::CLOCK_MONOTONIC;
            // SAFETY: a time to read.
            let word =
                unsafe { libc::clock_nanosleep(clock, 0, &raw const time, std::ptr::null_mut()) };
            assert_eq!(word, libc::EINVAL, "clock_nanosleep({bad:?})");
        }
        let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
        for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
            // SAFETY: a time to read.
            let word = unsafe {
                let at = libc::TIMER_ABSTIME;
                libc::clock_nanosleep(clock, at, &raw const past, std::ptr::null_mut())
            };
            assert_eq!(word, 0);
        }
        // SAFETY: no memory is involved.
        let word = unsafe { libc::clock_nanosleep(99, 0, &raw const past, std::ptr::null_mut()) };
        assert!(word == libc::EINVAL || word == libc::EOPNOTSUPP, "a clock 99: {word}");
    });
}

/// Go: `TestSleepZeroDeadlock`. The world is stopped meanwhile.
#[test]
fn sleeping_for_no_time() {
    at_each(|_| {
        let stops = go(|| (0..100).for_each(|_| drop(runtime::goroutines())));
        for _ in 0..2_000 {
            sleep(Duration::ZERO);
            sleep(Duration::from_nanos(1));
            park_timeout(Duration::ZERO);
            let (_send, receive) = mpsc::channel::<()>();
            assert!(receive.recv_timeout(Duration::ZERO).is_err());
        }
        stops.join().unwrap();
    });
}

/// Go: `TestOverflowSleep`. Times beyond all clocks: they don't wrap around into the past.
#[test]
fn for_ever_is_long() {
    let name = "for_ever_is_long";
    for procs in ["1", "4"] {
        let child = in_child(name, &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| {
                let ended = Arc::new(AtomicUsize::new(0));
                for time in [Duration::MAX, Duration::from_nanos(u64::MAX), ms(i64::MAX as u64)] {
                    let sleeps: [fn(Duration); 4] = [
                        sleep,
                        park_until_ever,
                        |time| {
                            let (_send, receive) = mpsc::channel::<()>();
                            assert!(receive.recv_timeout(time).is_err());
                        },
                        wait_on_condvar,
                    ];
                    for wait in sleeps {
                        let ended = Arc::clone(&ended);
                        go(move || {
                            wait(time);
                            ended.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                }
                sleep(ms(200));
                println!("ended: {}", ended.load(Ordering::Relaxed));
            });
        });
        child.expect_clean();
        assert!(child.text().contains("ended: 0\n"), "{child}");
    }
}

/// No token is left over for it.
fn park_until_ever(time: Duration) {
    park_timeout(time);
}

/// A wait that could last for ever is ended by what it waits for.
#[test]
fn for_ever_is_cut_short() {
    at_each(|_| {
        for time in [Duration::MAX, ms(3_600_000)] {
            let (send, receive) = mpsc::channel();
            let receiver = go(move || receive.recv_timeout(time));
            let (handle, parked) = mpsc::channel();
            let parker = go(move || {
                handle.send(std::thread::current()).unwrap();
                park_timeout(time);
            });
            let pair = Arc::new((Mutex::new(false), Condvar::new()));
            let told = Arc::clone(&pair);
            let waiter = go(move || {
                let held = told.0.lock().unwrap();
                told.1.wait_timeout_while(held, time, |done| !*done).unwrap().1.timed_out()
            });
            let thread = parked.recv().unwrap();
            sleep(ms(5));
            send.send(7).unwrap();
            thread.unpark();
            *pair.0.lock().unwrap() = true;
            pair.1.notify_one();
            assert_eq!(receiver.join().unwrap(), Ok(7));
            parker.join().unwrap();
            assert!(!waiter.join().unwrap());
        }
    });
}

/// Beside goroutines that burn CPU on every processor a sleeper is in time: within a slice and some.
#[test]
fn a_sleeper_beside_hogs() {
    for procs in [1, 2, 4] {
        let measure = || {
            at_procs(procs, || {
                let _hogs = Hogs::start(procs);
                (0..30).map(|_| late(ms(3), || sleep(ms(3)))).collect::<Times>()
            })
        };
        let times = best_times(90, ms(30), measure);
        println!("GOMAXPROCS={procs}, beside {procs} hogs, late: {times}");
        assert!(times.percentile(90) <= ms(30), "{times}");
    }
}

/// Two goroutines keep a channel busy until `stop`; each does `between` in each turn.
fn keep_busy(stop: &Arc<AtomicBool>, capacity: usize, between: fn()) -> WaitGroup {
    let (send, receive) = mpsc::sync_channel(capacity);
    let wg = WaitGroup::new();
    let stop = Arc::clone(stop);
    wg.go(move || {
        while !stop.load(Ordering::Relaxed) {
            between();
            send.send(()).unwrap();
        }
    });
    wg.go(move || {
        while receive.recv().is_ok() {
            between();
        }
    });
    wg
}

/// Go: `TestAfterFuncStarvation`, `TestTimerFairness`, `TestTimerFairness2`. Goroutines that are always
/// ready, or make a system call each turn, do not keep a sleeper from waking.
#[test]
fn those_always_ready_let_sleepers_wake() {
    fn system_call() {
        let _ = goroutines_tests::io::read(0, &mut []);
    }
    at_each(|procs| {
        for (capacity, between) in [(1, (|| {}) as fn()), (0, || {}), (1, system_call)] {
            for time in [us(1), ms(20)] {
                let stop = Arc::new(AtomicBool::new(false));
                let busy: Vec<_> =
                    (0..procs).map(|_| keep_busy(&stop, capacity, between)).collect();
                let told = Arc::clone(&stop);
                let sleeper = go(move || {
                    let late = late(time, || sleep(time));
                    told.store(true, Ordering::Relaxed);
                    late
                });
                let late = sleeper.join().unwrap();
                assert!(late < ms(1_000), "{late:?} late");
                busy.iter().for_each(WaitGroup::wait);
            }
        }
    });
}

/// Go: `TestTimerStopStress`. Waits that ended before their time do not end others later.
#[test]
fn a_time_out_that_was_not_needed_ends_nothing() {
    at_each(|_| {
        let all = (0..200).map(|i| {
            go(move || {
                let (send, receive) = mpsc::channel();
                let sender = go(move || {
                    sleep(us(i * 100));
                    send.send(i).unwrap();
                    send
                });
                assert_eq!(receive.recv_timeout(ms(10_000)), Ok(i));
                // The next wait has a number of its own; the old time is not its.
                let _send = sender.join().unwrap();
                late(ms(50), || assert!(receive.recv_timeout(ms(50)).is_err()));
            })
        });
        join_all(all.collect::<Vec<_>>());
    });
}

/// Messages that come about when the time is over: each is received, or still there.
#[test]
fn time_outs_race_with_messages() {
    at_each(|_| {
        let all = (0..16u64).map(|i| {
            go(move || {
                let (mut received, mut timed_out) = (0, 0);
                for round in 0..200u64 {
                    let time = us(20 + (i * 31 + round * 17) % 80);
                    let (send, receive) = mpsc::channel();
                    let sender = go(move || {
                        sleep(us(60));
                        let _ = send.send(round);
                    });
                    match receive.recv_timeout(time) {
                        Ok(message) => {
                            assert_eq!(message, round);
                            received += 1;
                        }
                        Err(mpsc::RecvTimeoutError::Timeout) => {
                            timed_out += 1;
                            assert_eq!(receive.recv(), Ok(round), "it is not lost");
                        }
                        Err(e) => panic!("{e}"),
                    }
                    sender.join().unwrap();
                }
                assert_eq!(received + timed_out, 200);
                received
            })
        });
        let received: u64 = join_all(all.collect::<Vec<_>>()).into_iter().sum();
        println!("{received} of 3200 came in time");
    });
}

/// The same with park and unpark: no token is lost, none is doubled.
#[test]
fn time_outs_race_with_unpark() {
    at_each(|_| {
        let (handle, parked) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&done);
        let parker = go(move || {
            handle.send(std::thread::current()).unwrap();
            for turn in 0..2_000usize {
                while told.load(Ordering::Acquire) <= turn {
                    park_timeout(us(30 + turn as u64 % 40));
                }
            }
            // No more of them.
            late(ms(5), || park_until(ms(5)));
        });
        let thread = parked.recv().unwrap();
        for turn in 0..2_000u64 {
            if turn % 3 == 0 {
                sleep(us(turn % 60));
            }
            done.fetch_add(1, Ordering::Release);
            thread.unpark();
        }
        parker.join().unwrap();
    });
}

/// Sleepers of processors that are taken away wake in time.
#[test]
fn processors_go_while_others_sleep() {
    for _ in 0..3 {
        at_procs(4, || {
            let all: Vec<_> = (0..200u64)
                .map(|i| go(move || late(ms(20 + i % 100), || sleep(ms(20 + i % 100)))))
                .collect();
            sleep(ms(5));
            for procs in [1, 3, 2, 4, 1] {
                runtime::gomaxprocs(procs);
                sleep(ms(3));
            }
            let late = join_all(all).into_iter().collect::<Times>();
            assert!(late.percentile(99) < ms(1_000), "{late}");
        });
    }
}

/// Ten thousand sleep at once, on few threads, and use no CPU meanwhile.
#[test]
fn ten_thousand_sleep() {
    if !PARKS {
        return; // a thread each
    }
    at_each(|_| {
        let before = os_threads();
        let all: Vec<_> = (0..10_000).map(|_| go(|| sleep(ms(400)))).collect();
        sleep(ms(200));
        let (threads, cpu) = (os_threads(), cpu_time());
        sleep(ms(100));
        let used = cpu_time() - cpu;
        join_all(all);
        assert!(threads < before + 12, "{threads} threads, {before} before");
        assert!(used < ms(60), "{used:?} of CPU time in 100 ms of sleep");
    });
}

/// Sleeps of many milliseconds wait up to one for company, and each wake-up is for all that are due.
#[test]
fn many_sleepers_share_wake_ups() {
    const SLEEPERS: u32 = 2_000;
    if !PARKS {
        return; // a thread each
    }
    at_procs(1, || {
        let times = best_times(90, ms(2), || {
            let before = switches();
            // One each 50 µs.
            let until = |i: u32| ms(20) + us(50) * i;
            let all = (0..SLEEPERS).map(|i| go(move || late(until(i), || sleep(until(i)))));
            let times = join_all(all.collect::<Vec<_>>()).into_iter().collect::<Times>();
            let slept = switches() - before;
            println!("{SLEEPERS} sleepers: the threads slept {slept} times; late: {times}");
            assert!(slept < SLEEPERS / 2, "the threads slept {slept} times");
            times
        });
        assert!(times.percentile(90) <= ms(2), "{times}");
    });
}

/// Who sleeps for a moment does not wait for those who sleep long.
#[test]
fn short_sleeps_wait_for_nobody() {
    let beside_long_ones = || {
        let long: Vec<_> = (0..600).map(|i| go(move || sleep(ms(30) + us(170) * i))).collect();
        sleep(ms(25));
        let times = (0..300).map(|_| late(us(200), || sleep(us(200)))).collect::<Times>();
        join_all(long);
        println!("short sleeps beside long ones, late: {times}");
        times.percentile(50)
    };
    at_procs(1, || {
        let best = (0..5).map(|_| beside_long_ones()).min().unwrap();
        assert!(best <= us(200), "late: {best:?} in the median");
    });
}

/// How often threads of this process have slept.
fn switches() -> u32 {
    // SAFETY: plain old data, which the call fills in.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut used);
        used
    };
    u32::try_from(used.ru_nvcsw).unwrap()
}

/// A thread blocked in a foreign call does not keep its processor's sleepers.
#[test]
fn a_blocked_processor_wakes_its_sleepers() {
    at_each(|procs| {
        let sleeper = go(|| late(ms(20), || sleep(ms(20))));
        runtime::gosched();
        let blocked: Vec<_> = (0..procs).map(|_| go(|| raw::sleep(ms(300)))).collect();
        let late = sleeper.join().unwrap();
        assert!(late < ms(250), "{late:?} late at {procs}");
        join_all(blocked);
    });
}
