//! What goroutines cost: resident bytes a parked one, and what is left after ten times as many.

use goroutines::{WaitGroup, go, runtime, thread};
use std::hint::black_box;
use std::time::{Duration, Instant};

const HELP: &str = "memory: what goroutines cost
usage: memory [--count N]
  --count N   how many are alive at once (default 100000); then ten times as many begin and end
GOMAXPROCS says how many processors.";

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// One call deep, holding one allocation.
#[inline(never)]
fn wait_at(started: &WaitGroup, gate: &WaitGroup) {
    let held = Box::new([1u8; 64]);
    started.done();
    gate.wait();
    drop(black_box(held));
}

fn parked(n: usize) {
    let before = resident_bytes();
    let (started, gate, ended) = (WaitGroup::new(), WaitGroup::new(), WaitGroup::new());
    gate.add(1);
    started.add(n as i32);
    ended.add(n as i32);
    let start = Instant::now();
    for _ in 0..n {
        let (started, gate, ended) = (started.clone(), gate.clone(), ended.clone());
        drop(go(move || {
            wait_at(&started, &gate);
            ended.done();
        }));
    }
    started.wait();
    println!(
        "{n} parked: {} bytes each, {} ns each to make and park, {} goroutines",
        (resident_bytes() - before) / n,
        start.elapsed().as_nanos() / n as u128,
        runtime::num_goroutine()
    );
    let start = Instant::now();
    gate.done();
    ended.wait();
    println!("{n} woken and ended: {} ns each", start.elapsed().as_nanos() / n as u128);
}

fn spawned(n: usize) {
    let (start, before) = (Instant::now(), resident_bytes());
    for _ in 0..10 {
        let wg = WaitGroup::new();
        for _ in 0..n {
            wg.go(|| {});
        }
        wg.wait();
    }
    println!(
        "{} begun and ended: {} ns each; resident {} MiB before, {} MiB after",
        10 * n,
        start.elapsed().as_nanos() / (10 * n) as u128,
        before >> 20,
        resident_bytes() >> 20
    );
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(100_000),
        ["--count", n] => n.parse().ok(),
        _ => None,
    };
    let Some(count) = count else {
        println!("{HELP}");
        return;
    };
    goroutines::run(move || {
        parked(count);
        spawned(count);
        thread::sleep(Duration::from_secs(3));
        println!("resident {} MiB three seconds later", resident_bytes() >> 20);
    });
}
