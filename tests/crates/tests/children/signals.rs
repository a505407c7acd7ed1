//! `signal-hook`, `ctrlc` and `pprof`: signals that wake, that end a program, and that count where time goes.

use crate::{at_each, beside_others};
use goroutines::{chan, go};
use signal_hook::consts::{SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

fn send(signal: i32) {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

fn wait_until(mut is_so: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A goroutine that waits for signals, as daemons do; each that is sent is told of.
#[test]
fn signal_hooks_iterator() {
    const EACH: usize = 300;
    at_each(|procs| {
        beside_others(|| {
            let mut signals = Signals::new([SIGUSR1, SIGTERM]).unwrap();
            let handle = signals.handle();
            let seen: Arc<[AtomicUsize; 2]> = Arc::default();
            let counts = Arc::clone(&seen);
            let reader = go(move || {
                for signal in signals.forever() {
                    counts[usize::from(signal == SIGTERM)].fetch_add(1, Ordering::SeqCst);
                }
            });
            let start = Instant::now();
            for count in 1..=EACH {
                // One after the other: of those that are pending the kernel keeps one.
                send(SIGUSR1);
                wait_until(|| seen[0].load(Ordering::SeqCst) >= count, "a SIGUSR1");
                send(SIGTERM);
                wait_until(|| seen[1].load(Ordering::SeqCst) >= count, "a SIGTERM");
            }
            println!("{} signals at {procs}: {:?}", 2 * EACH, start.elapsed());
            handle.close();
            reader.join().unwrap();
            assert_eq!([&seen[0], &seen[1]].map(|n| n.load(Ordering::SeqCst)), [EACH; 2]);
        });
    });
}

/// A flag that a goroutine which computes looks at.
#[test]
fn signal_hooks_flag() {
    at_each(|_| {
        let flag = Arc::new(AtomicBool::new(false));
        let id = signal_hook::flag::register(SIGUSR2, Arc::clone(&flag)).unwrap();
        let looks = Arc::clone(&flag);
        let computes = go(move || {
            while !looks.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        send(SIGUSR2);
        computes.join().unwrap();
        assert!(signal_hook::low_level::unregister(id));
    });
}

/// Ctrl-C ends what a goroutine waits for. (`ctrlc` has a thread of its own, which waits for a semaphore.)
#[test]
fn ctrl_c() {
    static TOLD: OnceLock<(chan::Sender<()>, chan::Receiver<()>)> = OnceLock::new();
    let (sender, receiver) = TOLD.get_or_init(|| chan::bounded(16));
    ctrlc::set_handler(|| sender.send(()).unwrap()).unwrap();
    at_each(|_| {
        for _ in 0..20 {
            send(libc::SIGINT);
            let told = receiver.recv_timeout(Duration::from_secs(20));
            assert_eq!(told, Ok(()), "Ctrl-C was not told");
        }
    });
}

#[inline(never)]
fn planted_hot_spot(rounds: u64) -> u64 {
    (0..rounds).fold(1, |x: u64, n| black_box(x.wrapping_mul(31).wrapping_add(n)))
}

#[inline(never)]
fn planted_lukewarm_spot(rounds: u64) -> u64 {
    (0..rounds).fold(1, |x: u64, n| black_box(x.wrapping_mul(31).wrapping_add(n)))
}

/// A profiler sees what runs, with its share, on all goroutines; not what is parked. (Where nothing is taken over, the
/// parked ones are so many threads, whose start is most of what there is to see.)
#[cfg(feature = "intercept")]
#[test]
fn a_profiler_finds_it() {
    at_each(|procs| {
        let stop = Arc::new(AtomicBool::new(false));
        let parked: Vec<_> = (0..2_000)
            .map(|_| {
                let stop = Arc::clone(&stop);
                go(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(500));
                    }
                })
            })
            .collect();
        let profiler = pprof::ProfilerGuardBuilder::default().frequency(500).build().unwrap();
        let until = Instant::now() + Duration::from_secs(1);
        let computing: Vec<_> = (0..4)
            .map(|_| {
                go(move || {
                    while Instant::now() < until {
                        black_box(planted_hot_spot(30_000));
                        black_box(planted_lukewarm_spot(10_000));
                    }
                })
            })
            .collect();
        computing.into_iter().for_each(|one| one.join().unwrap());
        let report = profiler.report().build().unwrap();
        drop(profiler);
        stop.store(true, Ordering::Relaxed);
        parked.into_iter().for_each(|one| one.join().unwrap());
        let [mut hot, mut lukewarm, mut all] = [0isize; 3];
        for (frames, count) in &report.data {
            let has = |name: &str| {
                frames.frames.iter().flatten().any(|symbol| symbol.name().contains(name))
            };
            all += count;
            hot += if has("planted_hot_spot") { *count } else { 0 };
            lukewarm += if has("planted_lukewarm_spot") { *count } else { 0 };
        }
        println!("at {procs}: {all} samples, {hot} hot, {lukewarm} lukewarm");
        assert!(all > 80, "{all} samples only");
        let share = hot as f64 / (hot + lukewarm) as f64;
        assert!((0.62..0.88).contains(&share), "the hot spot has {share} of the time, not 0.75");
        assert!((hot + lukewarm) * 10 > all * 8, "most of the time is elsewhere");
    });
}
