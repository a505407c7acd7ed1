//! The cases on may's coroutines.

mod chan;
#[path = "../../../../src/load.rs"]
mod load;
#[path = "../../../../src/measure.rs"]
mod measure;
mod programs;

use load::{FIB, LEAVES, fib_spawns, ms_to_null};
use may::coroutine::{self, JoinHandle, yield_now};
use may::sync::{Blocker, SyncFlag};
use measure::{LATER, MANY, PARKED, YIELDERS, hold, ms_once, ns_each, ns_of, ns_once, parked};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// may's stacks are two mappings each, and a process has 65,530: trees of 11,111 coroutines, and of 10,945
/// for the 20th number.
const FEWER_LEAVES: u64 = LEAVES / 100;
const LESSER_FIB: u64 = FIB - 10;

fn main() {
    let (case, procs) = measure::arguments();
    may::config().set_workers(procs);
    may::config().set_worker_pin(false); // nobody else is pinned
    match case.as_str() {
        "spawn_join" => ns_each(|n| join(spawn(move || spawn_join(n)))),
        "spawn_many" => ns_once(MANY, spawn_many),
        "yield_two" => ns_each(|n| join(spawn(move || yielding(2, n)))),
        "yield_many" => ns_each(|n| join(spawn(move || yielding(YIELDERS, n)))),
        "chan_rendezvous" => ns_each(|n| join(spawn(move || chan::rendezvous(n)))),
        "chan_one_one" | "chan_unbounded" => ns_each(|n| join(spawn(move || chan::one_to_one(n)))),
        "chan_four_four" => ns_each(|n| join(spawn(move || chan::four_to_four(n)))),
        "select_buffered" => ns_each(|n| join(spawn(move || chan::selecting(n)))),
        "after_func" => ns_each(|n| on_all(procs, n, call_later)),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED / 10, || join(spawn(park_all))),
        "skynet" => ns_of(FEWER_LEAVES, || join(spawn(|| programs::skynet(FEWER_LEAVES)))),
        "mutex_eight" => ns_each(|n| join(spawn(move || programs::mutex(n)))),
        "fib" => ns_of(fib_spawns(LESSER_FIB), || join(spawn(|| programs::fib(LESSER_FIB)))),
        "sha1" => ms_to_null(|| join(spawn(programs::sha1))),
        "sha1_many" => ms_to_null(programs::sha1_many),
        "blocking" => ms_once(|| join(spawn(programs::blocked))),
        _ => println!("none"),
    }
    std::process::exit(0); // don't wait for the coroutines that are parked
}

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: what runs here uses no thread-locals across a yield, and some hundred bytes of stack.
    unsafe { coroutine::spawn(f) }
}

fn join<T>(handle: JoinHandle<T>) -> T {
    handle.join().expect("no coroutine panics")
}

/// As a WaitGroup: may has none.
struct Latch {
    left: AtomicU64,
    open: Arc<Blocker>,
}

impl Latch {
    /// To be made by the one who waits.
    fn new(left: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(left), open: Blocker::current() })
    }

    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.unpark();
        }
    }

    fn wait(&self) {
        while self.left.load(Ordering::Acquire) != 0 {
            self.open.park(None).expect("nobody cancels it");
        }
    }
}

fn spawn_join(n: u64) {
    for _ in 0..n {
        join(spawn(|| {}));
    }
}

/// From an ordinary thread: a coroutine would not let the only worker run the others, and each keeps
/// its stack until it has run.
fn spawn_many() {
    let latch = Latch::new(MANY);
    for _ in 0..MANY {
        let latch = Arc::clone(&latch);
        spawn(move || latch.done());
    }
    latch.wait();
}

fn yielding(tasks: u64, n: u64) {
    let latch = Latch::new(tasks);
    for _ in 0..tasks {
        let latch = Arc::clone(&latch);
        spawn(move || {
            for _ in 0..n / tasks {
                yield_now();
            }
            latch.done();
        });
    }
    latch.wait();
}

/// Shares `n` calls among as many coroutines as there are processors.
fn on_all(procs: usize, n: u64, f: fn()) {
    let each = n / procs as u64;
    let all: Vec<_> = (0..procs).map(|_| spawn(move || (0..each).for_each(|_| f()))).collect();
    all.into_iter().for_each(join);
}

/// A coroutine that sleeps, and then would call something.
fn call_later() {
    let later = spawn(|| coroutine::sleep(LATER));
    yield_now(); // it begins to sleep
    // SAFETY: it sleeps, and holds nothing.
    unsafe { later.coroutine().cancel() };
    assert!(later.join().is_err());
}

/// A tenth of the others' number, for the same reason.
fn park_all() {
    let (started, gate) = (Latch::new(PARKED / 10), Arc::new(SyncFlag::new()));
    for _ in 0..PARKED / 10 {
        let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
        spawn(move || wait_at(&started, &gate));
    }
    started.wait();
}

#[inline(never)]
fn wait_at(started: &Latch, gate: &SyncFlag) {
    let held = hold();
    started.done();
    gate.wait();
    drop(held);
}
