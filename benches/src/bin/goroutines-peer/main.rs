//! The cases on goroutines.

mod chan;
#[path = "../../load.rs"]
mod load;
#[path = "../../measure.rs"]
mod measure;
#[path = "../../million.rs"]
mod million;
mod programs;

use goroutines::runtime::{Builder, gosched};
use goroutines::time::{Timer, after_func};
use goroutines::{WaitGroup, go, thread};
use load::{FIB, LEAVES, fib_spawns, ms_to_null};
use measure::{
    CAPACITY, LATER, MANY, PARKED, YIELDERS, hold, ms_once, ns_each, ns_of, ns_once, parked,
};
use million::parked_million;

fn main() {
    let (case, procs) = measure::arguments();
    Builder::new().gomaxprocs(procs).run(|| match case.as_str() {
        "spawn_join" => ns_each(spawn_join),
        "spawn_many" => ns_once(MANY, spawn_many),
        "yield_two" => ns_each(|n| yielding(2, n)),
        "yield_many" => ns_each(|n| yielding(YIELDERS, n)),
        "park_ready" => ns_each(park_ready), // only its instructions are counted
        "chan_rendezvous" => ns_each(chan::rendezvous),
        "chan_one_one" => ns_each(chan::buffered),
        "chan_four_four" => ns_each(chan::four_to_four),
        "chan_unbounded" => ns_each(chan::endless),
        "select_rendezvous" => ns_each(|n| chan::selecting(0, n)),
        "select_buffered" => ns_each(|n| chan::selecting(CAPACITY, n)),
        "after_func" => ns_each(|n| on_all(procs, n, || assert!(after_func(LATER, || {}).stop()))),
        "timer_new" => ns_each(|n| on_all(procs, n, || assert!(Timer::new(LATER).stop()))),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED, park_all),
        "skynet" => ns_of(LEAVES, || programs::skynet(LEAVES)),
        "mutex_eight" => ns_each(programs::mutex),
        "fib" => ns_of(fib_spawns(FIB), || programs::fib(FIB)),
        "sha1" => ms_to_null(programs::sha1),
        "sha1_many" => ms_to_null(programs::sha1_many),
        "blocking" => ms_once(programs::blocked),
        "parked_million_bytes" | "parked_million_create" | "parked_million_wake" => {
            parked_million(&case, MANY, programs::park_million);
        }
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

/// Two goroutines wake each other and park, `n` times in all.
fn park_ready(n: u64) {
    let first = thread::current();
    let second = thread::spawn(move || {
        for _ in 0..n / 2 {
            thread::park();
            first.unpark();
        }
    });
    for _ in 0..n / 2 {
        second.thread().unpark();
        thread::park();
    }
    second.join().expect("it does not panic");
}

/// Shares `n` calls among as many goroutines as there are processors.
fn on_all(procs: usize, n: u64, f: impl Fn() + Copy + Send + 'static) {
    let wg = WaitGroup::new();
    for _ in 0..procs {
        wg.go(move || (0..n / procs as u64).for_each(|_| f()));
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
