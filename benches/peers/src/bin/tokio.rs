//! The cases on tokio's multi-threaded runtime.

#[path = "../../../src/measure.rs"]
mod measure;

use measure::{MANY, PARKED, YIELDERS, hold, ns_each, ns_once, parked};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::yield_now;

fn main() {
    let (case, procs) = measure::arguments();
    let rt = Builder::new_multi_thread().worker_threads(procs).build().expect("a runtime");
    match case.as_str() {
        "spawn_join" => ns_each(|n| in_task(&rt, spawn_join(n))),
        "spawn_many" => ns_once(MANY, || in_task(&rt, spawn_many())),
        "yield_two" => ns_each(|n| in_task(&rt, yielding(2, n))),
        "yield_many" => ns_each(|n| in_task(&rt, yielding(YIELDERS, n))),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED, || in_task(&rt, park_all())),
        _ => println!("none"),
    }
    std::process::exit(0); // don't take down 100,000 tasks
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
