//! The cases on OS threads, which know nothing of PROCS: they run on all CPUs.

mod chan;
#[path = "../../../../src/load.rs"]
mod load;
#[path = "../../../../src/measure.rs"]
mod measure;
mod programs;

use crossbeam_channel::after;
use load::{FIB, LEAVES, fib_spawns, ms_to_null};
use measure::{
    CAPACITY, LATER, MANY, PARKED, YIELDERS, hold, ms_once, ns_each, ns_of, ns_once, parked,
};
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;

/// A thread costs a hundred times what the others' tasks do: so many times fewer.
const FEWER: u64 = 50;

/// Trees of threads, which are there all at once: 1,000 leaves, and 1,596 threads for the 16th number.
const FEWER_LEAVES: u64 = LEAVES / 1_000;
const LESSER_FIB: u64 = FIB - 14;

fn main() {
    let (case, procs) = measure::arguments();
    match case.as_str() {
        "spawn_join" => ns_each(spawn_join),
        "spawn_many" => ns_once(MANY / FEWER, spawn_many),
        // Two threads on two CPUs have nobody to yield to.
        "yield_many" => ns_each(yielding),
        "chan_rendezvous" => ns_each(chan::rendezvous),
        "chan_one_one" => ns_each(chan::buffered),
        "chan_four_four" => ns_each(chan::four_to_four),
        "chan_unbounded" => ns_each(chan::endless),
        "select_rendezvous" => ns_each(|n| chan::selecting(0, n)),
        "select_buffered" => ns_each(|n| chan::selecting(CAPACITY, n)),
        "timer_new" => ns_each(|n| on_all(procs, n, || drop(black_box(after(LATER))))),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED / FEWER, park_all),
        "skynet" => ns_of(FEWER_LEAVES, || programs::skynet(FEWER_LEAVES)),
        "mutex_eight" => ns_each(programs::mutex),
        "fib" => ns_of(fib_spawns(LESSER_FIB), || programs::fib(LESSER_FIB)),
        "sha1" => ms_to_null(programs::sha1),
        "sha1_many" => ms_to_null(programs::sha1_many),
        "blocking" => ms_once(programs::blocked),
        _ => println!("none"),
    }
    std::process::exit(0);
}

fn spawn_join(n: u64) {
    for _ in 0..n {
        thread::spawn(|| {}).join().expect("an empty thread does not panic");
    }
}

fn spawn_many() {
    thread::scope(|s| {
        for _ in 0..MANY / FEWER {
            s.spawn(|| {});
        }
    });
}

fn yielding(n: u64) {
    thread::scope(|s| {
        for _ in 0..YIELDERS {
            s.spawn(move || {
                for _ in 0..n / YIELDERS {
                    thread::yield_now();
                }
            });
        }
    });
}

/// All wait at the gate, which never opens, until the process ends.
/// Shares `n` calls among `threads`.
fn on_all(threads: usize, n: u64, f: impl Fn() + Copy + Send) {
    thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(move || (0..n / threads as u64).for_each(|_| f()));
        }
    });
}

fn park_all() {
    let threads = (PARKED / FEWER) as usize;
    let started = Arc::new(Barrier::new(threads + 1));
    for _ in 0..threads {
        let started = Arc::clone(&started);
        thread::spawn(move || wait_at(&started));
    }
    started.wait();
}

#[inline(never)]
fn wait_at(started: &Barrier) {
    let held = hold();
    started.wait();
    loop {
        thread::park();
        black_box(&held);
    }
}
