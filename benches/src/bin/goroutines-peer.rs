//! The cases on goroutines.

#[path = "../measure.rs"]
mod measure;

use goroutines::runtime::{Builder, gosched};
use goroutines::{WaitGroup, go};
use measure::{MANY, PARKED, YIELDERS, hold, ns_each, ns_once, parked};

fn main() {
    let (case, procs) = measure::arguments();
    Builder::new().gomaxprocs(procs).run(|| match case.as_str() {
        "spawn_join" => ns_each(spawn_join),
        "spawn_many" => ns_once(MANY, spawn_many),
        "yield_two" => ns_each(|n| yielding(2, n)),
        "yield_many" => ns_each(|n| yielding(YIELDERS, n)),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED, park_all),
        _ => println!("none"),
    });
}

fn spawn_join(n: u64) {
    for _ in 0..n {
        go(|| {}).join().expect("an empty goroutine does not panic");
    }
}

fn spawn_many() {
    let wg = WaitGroup::new();
    for _ in 0..MANY {
        wg.go(|| {});
    }
    wg.wait();
}

fn yielding(tasks: u64, n: u64) {
    let wg = WaitGroup::new();
    for _ in 0..tasks {
        wg.go(move || {
            for _ in 0..n / tasks {
                gosched();
            }
        });
    }
    wg.wait();
}

/// All wait at the gate, which never opens, until the process ends.
fn park_all() {
    let (started, gate) = (WaitGroup::new(), WaitGroup::new());
    started.add(PARKED as i32);
    gate.add(1);
    for _ in 0..PARKED {
        let (started, gate) = (started.clone(), gate.clone());
        drop(go(move || wait_at(&started, &gate)));
    }
    started.wait();
}

#[inline(never)]
fn wait_at(started: &WaitGroup, gate: &WaitGroup) {
    let held = hold();
    started.done();
    gate.wait();
    drop(held);
}
