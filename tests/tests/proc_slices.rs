//! Time slices: who computes is stopped after 10 ms when others wait, and who sleeps comes back in time.
//! On a machine with other work the figures are worse: `flock /tmp/w/build.lock cargo test …`.

use goroutines::thread;
use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::os_thread;
use goroutines_tests::proc::{Hogs, Times, alone, at_procs, best_times, burn_for};
use goroutines_tests::raw;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A slice of 10 ms, and 2 ms for noticing.
// On a machine that runs CI beside others, half of them may be the other's.
const SLICE_LIMIT: Duration =
    Duration::from_millis(if option_env!("CI").is_some() { 24 } else { 12 });

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How late each of `n` sleeps of 1 ms comes back.
fn lateness(n: usize) -> Times {
    (0..n)
        .map(|_| {
            let start = Instant::now();
            thread::sleep(ms(1));
            start.elapsed().saturating_sub(ms(1))
        })
        .collect()
}

/// A goroutine that sleeps a millisecond at a time, beside a goroutine on every processor that computes,
/// is at most a slice late.
#[test]
fn a_sleeper_beside_hogs_is_in_time() {
    for procs in [1, 2] {
        let late = best_times(99, SLICE_LIMIT, || {
            at_procs(procs, || {
                let _hogs = Hogs::start(procs);
                lateness(250)
            })
        });
        println!("a sleeper beside {procs} hogs, GOMAXPROCS={procs}, late by: {late}");
        assert!(late.percentile(99) <= SLICE_LIMIT, "GOMAXPROCS={procs}: {late}");
    }
}

/// The same beside two hogs a processor: two slices, and a third where a 61st look at the global queue
/// comes in between.
#[test]
fn a_sleeper_beside_two_hogs_a_processor_is_in_time() {
    let late = best_times(95, 2 * SLICE_LIMIT, || {
        at_procs(1, || {
            let _hogs = Hogs::start(2);
            lateness(200)
        })
    });
    println!("a sleeper beside 2 hogs, GOMAXPROCS=1, late by: {late}");
    assert!(late.percentile(95) <= 2 * SLICE_LIMIT, "{late}");
}

/// With a processor idle, a sleeper does not wait for the end of anybody's slice.
#[test]
fn a_sleeper_with_an_idle_processor_is_in_time() {
    let late = best_times(90, ms(4), || {
        at_procs(2, || {
            let _hogs = Hogs::start(1);
            lateness(250)
        })
    });
    println!("a sleeper beside 1 hog, GOMAXPROCS=2, late by: {late}");
    assert!(late.percentile(90) <= ms(4), "{late}");
}

/// Goroutines that compute on one processor, and see each other come and go.
struct Watched {
    who: AtomicU32,
    since_ns: AtomicU64,
    start: Instant,
    enough: usize,
}

impl Watched {
    /// Computes as number `me` until `enough` slices were seen to end; gives those it saw.
    fn compute(&self, me: u32, now_ns: impl Fn() -> u64) -> Vec<Duration> {
        let mut slices = Vec::with_capacity(self.enough);
        while slices.len() < self.enough {
            black_box(now_ns());
            if self.who.load(Ordering::Relaxed) != me {
                let now = now_ns(); // now, not before: we may just have been stopped there
                let since = self.since_ns.swap(now, Ordering::Relaxed);
                self.who.store(me, Ordering::Relaxed);
                slices.push(Duration::from_nanos(now.saturating_sub(since)));
            }
        }
        slices
    }

    /// Two of them on one processor.
    fn two(clock: fn(Instant) -> u64) -> Times {
        let start = Instant::now();
        clock(start); // it may have to be set
        at_procs(1, || {
            let watched = Arc::new(Self {
                who: AtomicU32::new(0),
                since_ns: AtomicU64::new(clock(start)),
                start,
                enough: 110,
            });
            let hogs = [0, 1].map(|me| {
                let watched = Arc::clone(&watched);
                go(move || watched.compute(me, || clock(watched.start)))
            });
            hogs.into_iter().flat_map(|hog| hog.join().expect("its slices")).collect()
        })
    }
}

/// Nanoseconds of the processor's own clock: no call.
fn cycles_ns(_: Instant) -> u64 {
    static PER_US: OnceLock<u64> = OnceLock::new();
    // SAFETY: every x86-64 has it.
    let cycles = || unsafe { core::arch::x86_64::_rdtsc() };
    let per_us = PER_US.get_or_init(|| {
        let (start, from) = (Instant::now(), cycles());
        burn_for(ms(20));
        (cycles() - from) / start.elapsed().as_micros() as u64
    });
    (u128::from(cycles()) * 1000 / u128::from(*per_us)) as u64
}

/// Nanoseconds by libc's clock, in the kernel's vDSO.
fn clock_ns(start: Instant) -> u64 {
    start.elapsed().as_nanos() as u64
}

/// Two goroutines that compute on one processor have slices of 10 ms: without a call, and calling libc
/// all the time, where nobody is preempted.
#[test]
fn two_hogs_share_a_processor() {
    for (name, clock) in [("computing", cycles_ns as fn(_) -> _), ("reading the clock", clock_ns)] {
        let slices = best_times(99, SLICE_LIMIT, || Watched::two(clock));
        println!("slices of two hogs, {name}, GOMAXPROCS=1: {slices}");
        assert!(slices.count() >= 200);
        assert!(slices.percentile(99) <= SLICE_LIMIT, "{name}: {slices}");
        assert!(slices.percentile(10) >= ms(8), "shorter than a slice, {name}: {slices}");
    }
}

/// How long it takes until a goroutine runs, where its starter does not enter the runtime before.
fn start_beside_a_hog() -> Duration {
    let began = Arc::new(AtomicU64::new(0));
    let (start, theirs) = (Instant::now(), Arc::clone(&began));
    go(move || theirs.store(start.elapsed().as_nanos() as u64, Ordering::Release));
    while began.load(Ordering::Acquire) == 0 {
        std::hint::spin_loop();
    }
    Duration::from_nanos(began.load(Ordering::Relaxed))
}

/// With processors idle, what a computing goroutine starts, or wakes, runs at once on another: it does
/// not wait for the slice's end.
#[test]
fn idle_processors_take_what_a_hog_starts() {
    for procs in [2, 4] {
        let starts = best_times(99, SLICE_LIMIT, || {
            at_procs(procs, || (0..200).map(|_| start_beside_a_hog()).collect())
        });
        println!("a goroutine started by a hog, GOMAXPROCS={procs}, begins after: {starts}");
        assert!(starts.percentile(50) <= ms(1), "{starts}");
        assert!(starts.percentile(99) <= SLICE_LIMIT, "{starts}");
    }
}

/// Two hogs with processors idle: neither is ever stopped for the other, so each stays on its thread.
#[test]
fn two_hogs_with_idle_processors_run_at_once() {
    at_procs(4, || {
        let stop = Arc::new(AtomicBool::new(false));
        let hogs = [0, 1].map(|_| {
            let stop = Arc::clone(&stop);
            go(move || {
                let home = os_thread();
                let mut moves = 0;
                while !stop.load(Ordering::Relaxed) {
                    burn_for(ms(1));
                    moves += u32::from(os_thread() != home);
                }
                (home, moves)
            })
        });
        runtime::blocking(|| raw::sleep(ms(500)));
        stop.store(true, Ordering::Relaxed);
        let [one, other] = hogs.map(|hog| hog.join().expect("where it ran"));
        assert_ne!(one.0, other.0, "both on one thread");
        assert_eq!((one.1, other.1), (0, 0), "they moved");
    });
}

/// While a goroutine sleeps beside one that computes, its processor is not left idle.
#[test]
fn a_sleeper_does_not_keep_its_processor() {
    fn count_for(time: Duration, sleeper: bool) -> u64 {
        at_procs(1, || {
            let stop = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&stop);
            let hog = go(move || {
                let mut count = 0_u64;
                while !seen.load(Ordering::Relaxed) {
                    count = black_box(count + 1);
                }
                count
            });
            let start = Instant::now();
            while sleeper && start.elapsed() < time {
                thread::sleep(ms(10));
            }
            thread::sleep(time.saturating_sub(start.elapsed()));
            stop.store(true, Ordering::Relaxed);
            hog.join().expect("its count")
        })
    }
    let share = (0..3)
        .map(|_| count_for(ms(500), true) as f64 / count_for(ms(500), false) as f64)
        .fold(0.0, f64::max);
    println!("a hog beside a sleeper, GOMAXPROCS=1, has {share:.2} of the processor");
    assert!(share > 0.8, "{share}");
}

/// More hogs than processors: all get about the same.
#[test]
fn hogs_share_fairly() {
    for (procs, hogs) in [(1, 5), (2, 5), (4, 8)] {
        let counts: Vec<u64> = at_procs(procs, || {
            let stop = Arc::new(AtomicBool::new(false));
            let all: Vec<_> = (0..hogs)
                .map(|_| {
                    let stop = Arc::clone(&stop);
                    go(move || {
                        let mut count = 0_u64;
                        while !stop.load(Ordering::Relaxed) {
                            count = black_box(count + 1);
                        }
                        count
                    })
                })
                .collect();
            thread::sleep(ms(1000));
            stop.store(true, Ordering::Relaxed);
            all.into_iter().map(|hog| hog.join().unwrap()).collect()
        });
        let (least, sum) = (counts.iter().min().unwrap(), counts.iter().sum::<u64>());
        let share = *least as f64 * counts.len() as f64 / sum as f64;
        println!("{hogs} hogs, GOMAXPROCS={procs}: the least has {share:.2} of its share");
        assert!(share > 0.4, "{counts:?}");
    }
}

/// A goroutine that is always inside libc, where nobody is preempted, loses its processor all the same.
#[test]
fn a_hog_inside_libc_does_not_starve_others() {
    fn fill(stop: &AtomicBool) {
        let mut room = vec![0_u8; 8 << 20];
        while !stop.load(Ordering::Relaxed) {
            // SAFETY: within the vector.
            unsafe { libc::memset(room.as_mut_ptr().cast(), 1, room.len()) };
            black_box(&mut room);
        }
    }
    for hogs in [1, 3] {
        let limit = SLICE_LIMIT * (hogs + 2);
        let late = best_times(99, limit, || {
            at_procs(1, || {
                let (stop, ended) = (Arc::new(AtomicBool::new(false)), WaitGroup::new());
                for _ in 0..hogs {
                    let stop = Arc::clone(&stop);
                    ended.go(move || fill(&stop));
                }
                runtime::gosched();
                let late = lateness(100);
                stop.store(true, Ordering::Relaxed);
                ended.wait();
                late
            })
        });
        println!("a sleeper beside {hogs} hogs inside libc, GOMAXPROCS=1, late by: {late}");
        assert!(late.percentile(99) <= limit, "{late}");
    }
}

/// A goroutine alone on its processor is not stopped: there is nobody else.
#[test]
fn a_hog_alone_is_not_stopped() {
    let pauses = best_times(100, ms(5), || {
        at_procs(1, || {
            let mut longest = Duration::ZERO;
            let (start, mut last) = (Instant::now(), Instant::now());
            while start.elapsed() < ms(300) {
                let now = Instant::now();
                longest = longest.max(now - last);
                last = now;
            }
            [longest].into_iter().collect()
        })
    });
    println!("a hog alone, its longest pause in 300 ms: {pauses}");
    assert!(pauses.percentile(100) <= ms(5), "{pauses}");
}

fn start_by_a_thread() -> Duration {
    let start = Instant::now();
    let began = go(move || start.elapsed()).join().expect("when it began");
    std::thread::sleep(ms(1));
    began
}

/// An ordinary thread's wake-up of a goroutine is not late either, on busy processors.
#[test]
fn a_goroutine_woken_by_a_thread_beside_hogs_is_in_time() {
    for procs in [1, 2] {
        let late = best_times(99, SLICE_LIMIT, || {
            alone(procs, || {
                let _hogs = Hogs::start(procs);
                (0..200).map(|_| start_by_a_thread()).collect()
            })
        });
        println!("a thread's `go` beside {procs} hogs, GOMAXPROCS={procs}, begins after: {late}");
        assert!(late.percentile(99) <= SLICE_LIMIT, "GOMAXPROCS={procs}: {late}");
    }
}

/// Goroutines that yield now and then among hogs get their share of turns.
#[test]
fn a_yielder_beside_a_hog_gets_a_turn_a_slice() {
    at_procs(1, || {
        let _hogs = Hogs::start(1);
        let turns = best_times(99, SLICE_LIMIT, || {
            let yields = (0..100).map(|_| {
                let start = Instant::now();
                runtime::gosched();
                let took = start.elapsed();
                burn_for(Duration::from_micros(100));
                took
            });
            yields.collect()
        });
        println!("a yield beside a hog, GOMAXPROCS=1, takes: {turns}");
        assert!(turns.percentile(99) <= SLICE_LIMIT, "{turns}");
    });
}

/// How long answers take that goroutines give over `n` connections, each asked again and again by one thread, beside
/// `hogs`. In half a second.
fn answers_beside_hogs(hogs: usize, n: usize) -> Times {
    let _hogs = Hogs::start(hogs);
    let (clients, echos): (Vec<_>, Vec<_>) = (0..n)
        .map(|_| {
            let [client, server] = goroutines_tests::io::tcp_pair();
            let echo = go(move || {
                let mut byte = [0];
                while (&server).read(&mut byte).is_ok_and(|n| n == 1) {
                    (&server).write_all(&byte).expect("it is read");
                }
            });
            (client, echo)
        })
        .unzip();
    let asks = std::thread::spawn(move || ask_all(&clients, ms(500)));
    for echo in echos {
        echo.join().expect("it ends with its client");
    }
    asks.join().expect("it has measured").into_iter().collect()
}

/// Asks each again as soon as it has answered, for a time. How long the answers took; also those that did not come.
fn ask_all(clients: &[std::net::TcpStream], time: Duration) -> Vec<Duration> {
    let (begin, mut took) = (Instant::now(), Vec::new());
    let mut list: Vec<_> = clients
        .iter()
        .map(|client| libc::pollfd { fd: client.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let ask = |mut client: &std::net::TcpStream| {
        client.write_all(&[1]).expect("it is read");
        Instant::now()
    };
    let mut asked: Vec<_> = clients.iter().map(ask).collect();
    while begin.elapsed() < time {
        goroutines_tests::io::poll(&mut list, 100).expect("they are open");
        for ((one, mut client), asked) in list.iter().zip(clients).zip(&mut asked) {
            if one.revents != 0 {
                client.read_exact(&mut [0]).expect("an answer");
                took.push(asked.elapsed());
                *asked = ask(client);
            }
        }
    }
    took.extend(asked.iter().map(Instant::elapsed));
    took
}

/// Whose wait has ended goes before all who have used up a slice.
#[test]
fn whoever_was_waited_for_goes_first() {
    for procs in [1, 2] {
        let limit = ms(2) * if option_env!("CI").is_some() { 2 } else { 1 };
        let late = best_times(50, limit, || at_procs(procs, || answers_beside_hogs(8, 1)));
        println!("an answer beside 8 hogs, GOMAXPROCS={procs}, takes: {late}");
        assert!(late.percentile(50) <= limit, "GOMAXPROCS={procs}: {late}");
    }
}

/// But not before those whose wait has ended earlier, however many they are: all get their turns.
#[test]
fn many_who_were_waited_for_take_turns() {
    let limit = ms(50);
    let late = best_times(100, limit, || at_procs(1, || answers_beside_hogs(1, 100)));
    println!("100 answers beside a hog, GOMAXPROCS=1, take: {late}");
    assert!(late.percentile(100) <= limit, "{late}");
}

/// Nor do they keep those who compute from it, where they compute much themselves.
#[test]
fn whoever_goes_first_leaves_others_their_time() {
    at_procs(1, || {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let ended = WaitGroup::new();
        for i in 0..60 {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            ended.go(move || {
                while !stop.load(Ordering::Relaxed) {
                    if i < 20 {
                        burn_for(Duration::from_micros(100));
                        done.fetch_add(1, Ordering::Relaxed);
                    } else {
                        thread::sleep(Duration::from_micros(100));
                        burn_for(Duration::from_micros(700));
                    }
                }
            });
        }
        thread::sleep(ms(2_000));
        stop.store(true, Ordering::Relaxed);
        ended.wait();
        let had = done.load(Ordering::Relaxed) / 10;
        println!("of 2 s, 20 who compute beside 40 who sleep and compute: {had} ms");
        assert!(had >= 400, "{had} ms");
    });
}
