//! The cases on OS threads, which know nothing of PROCS: they run on all CPUs.

#[path = "../../../src/measure.rs"]
mod measure;

use measure::{MANY, PARKED, YIELDERS, hold, ns_each, ns_once, parked};
use std::sync::{Arc, Barrier};
use std::thread;

/// A thread costs a hundred times what the others' tasks do: so many times fewer.
const FEWER: u64 = 50;

fn main() {
    let (case, _procs) = measure::arguments();
    match case.as_str() {
        "spawn_join" => ns_each(spawn_join),
        "spawn_many" => ns_once(MANY / FEWER, spawn_many),
        // Two threads on two CPUs have nobody to yield to.
        "yield_many" => ns_each(yielding),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED / FEWER, park_all),
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
        std::hint::black_box(&held);
    }
}
