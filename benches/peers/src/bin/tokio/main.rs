//! The cases on tokio's multi-threaded runtime; where there is one processor, those that are quicker so
//! on its current-thread runtime.

mod chan;
#[path = "../../../../src/load.rs"]
mod load;
#[path = "../../../../src/measure.rs"]
mod measure;
#[path = "../../../../src/million.rs"]
mod million;
mod programs;

use chan::LEAST;
use load::{FIB, LEAVES, fib_spawns, ms_to_null};
use measure::{
    CAPACITY, LATER, MANY, PARKED, YIELDERS, hold, ms_once, ns_each, ns_of, ns_once, parked,
};
use million::parked_million;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{coop, yield_now};
use tokio::time::sleep;

/// How the cases' names begin that are quicker on one thread.
const ALONE: [&str; 8] =
    ["chan", "select", "after", "timer", "skynet", "mutex", "sha1", "parked_million"];

fn main() {
    let (case, procs) = measure::arguments();
    let alone = procs == 1 && ALONE.iter().any(|prefix| case.starts_with(prefix));
    let mut rt = if alone { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let rt = rt.worker_threads(procs).enable_time().build().expect("a runtime");
    match case.as_str() {
        "spawn_join" => ns_each(|n| in_task(&rt, spawn_join(n))),
        "spawn_many" => ns_once(MANY, || in_task(&rt, spawn_many())),
        "yield_two" => ns_each(|n| in_task(&rt, yielding(2, n))),
        "yield_many" => ns_each(|n| in_task(&rt, yielding(YIELDERS, n))),
        "chan_rendezvous" => ns_each(|n| in_task(&rt, chan::rendezvous(n))),
        "chan_one_one" => ns_each(|n| in_task(&rt, chan::buffered(n))),
        "chan_four_four" => ns_each(|n| in_task(&rt, chan::four_to_four(n))),
        "chan_unbounded" => ns_each(|n| in_task(&rt, chan::endless(n))),
        "select_rendezvous" => ns_each(|n| in_task(&rt, chan::selecting(LEAST, n))),
        "select_buffered" => ns_each(|n| in_task(&rt, chan::selecting(CAPACITY, n))),
        "after_func" => ns_each(|n| in_task(&rt, on_all(procs, n, call_later))),
        "timer_new" => ns_each(|n| in_task(&rt, on_all(procs, n, arm))),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED, || in_task(&rt, park_all())),
        "skynet" => ns_of(LEAVES, || in_task(&rt, programs::skynet(LEAVES))),
        "mutex_eight" => ns_each(|n| in_task(&rt, programs::mutex(n))),
        "fib" => ns_of(fib_spawns(FIB), || in_task(&rt, programs::fib(FIB))),
        "sha1" => ms_to_null(|| in_task(&rt, programs::sha1())),
        "sha1_many" => ms_to_null(|| in_task(&rt, programs::sha1_many())),
        "blocking" => ms_once(|| in_task(&rt, programs::blocked())),
        "parked_million_bytes" | "parked_million_create" | "parked_million_wake" => {
            parked_million(&case, MANY, || programs::park_million(&rt));
        }
        _ => println!("none"),
    }
    std::process::exit(0); // don't take down the tasks that are parked
}

/// Runs it on a worker: `block_on` alone would run it on this thread, which is none.
fn in_task(rt: &Runtime, work: impl Future<Output = ()> + Send + 'static) {
    rt.block_on(rt.spawn(work)).expect("the work does not panic");
}

/// As a WaitGroup: tokio has none.
struct Latch {
    left: AtomicU64,
    open: Notify,
}

impl Latch {
    fn new(left: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(left), open: Notify::new() })
    }

    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.notify_one();
        }
    }
}

async fn spawn_join(n: u64) {
    for _ in 0..n {
        tokio::spawn(async {}).await.expect("an empty task does not panic");
    }
}

async fn spawn_many() {
    let latch = Latch::new(MANY);
    for _ in 0..MANY {
        let latch = Arc::clone(&latch);
        tokio::spawn(async move { latch.done() });
    }
    latch.open.notified().await;
}

async fn yielding(tasks: u64, n: u64) {
    let latch = Latch::new(tasks);
    for _ in 0..tasks {
        let latch = Arc::clone(&latch);
        tokio::spawn(async move {
            for _ in 0..n / tasks {
                yield_now().await;
            }
            latch.done();
        });
    }
    latch.open.notified().await;
}

/// Shares `n` calls among as many tasks as there are processors.
async fn on_all<F>(procs: usize, n: u64, f: impl Fn() -> F + Copy + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let latch = Latch::new(procs as u64);
    for _ in 0..procs {
        let latch = Arc::clone(&latch);
        // The budget of a task that never waits would end, and nothing be armed any more.
        tokio::spawn(coop::unconstrained(async move {
            for _ in 0..n / procs as u64 {
                f().await;
            }
            latch.done();
        }));
    }
    latch.open.notified().await;
}

/// A task that sleeps, and then would call something.
async fn call_later() {
    let task = tokio::spawn(sleep(LATER));
    yield_now().await; // it begins to sleep
    task.abort();
    assert!(task.await.is_err());
}

/// A timer is armed by the first poll.
async fn arm() {
    let mut timer = pin!(sleep(LATER));
    assert!(poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx))).await.is_pending());
}

/// All wait at the gate, which never opens, until the process ends.
async fn park_all() {
    let (started, gate) = (Latch::new(PARKED), Arc::new(Notify::new()));
    for _ in 0..PARKED {
        let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
        tokio::spawn(async move { wait_at(&started, &gate).await });
    }
    started.open.notified().await;
}

async fn wait_at(started: &Latch, gate: &Notify) {
    let held = hold();
    started.done();
    gate.notified().await;
    drop(held);
}
