//! `pprof`: signals that count where time goes.

use crate::at_each;
use goroutines::go;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
