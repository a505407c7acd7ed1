//! The cases on smol's executor, run by as many threads as there are processors.

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
use smol::channel::{Receiver, Sender, bounded};
use smol::future::{pending, poll_once, yield_now};
use smol::{Executor, Task, Timer, block_on};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

static EXECUTOR: Executor<'static> = Executor::new();

fn main() {
    let (case, procs) = measure::arguments();
    for _ in 0..procs {
        thread::spawn(|| block_on(EXECUTOR.run(pending::<()>())));
    }
    match case.as_str() {
        "spawn_join" => ns_each(|n| in_task(spawn_join(n))),
        "spawn_many" => ns_once(MANY, || in_task(spawn_many())),
        "yield_two" => ns_each(|n| in_task(yielding(2, n))),
        "yield_many" => ns_each(|n| in_task(yielding(YIELDERS, n))),
        "chan_rendezvous" => ns_each(|n| in_task(chan::rendezvous(n))),
        "chan_one_one" => ns_each(|n| in_task(chan::buffered(n))),
        "chan_four_four" => ns_each(|n| in_task(chan::four_to_four(n))),
        "chan_unbounded" => ns_each(|n| in_task(chan::endless(n))),
        "select_rendezvous" => ns_each(|n| in_task(chan::selecting(LEAST, n))),
        "select_buffered" => ns_each(|n| in_task(chan::selecting(CAPACITY, n))),
        "after_func" => ns_each(|n| in_task(on_all(procs as u64, n, call_later))),
        "timer_new" => ns_each(|n| in_task(on_all(procs as u64, n, arm))),
        "parked_bytes" | "parked_ns" => parked(&case, PARKED, || in_task(park_all())),
        "skynet" => ns_of(LEAVES, || in_task(programs::skynet(LEAVES))),
        "mutex_eight" => ns_each(|n| in_task(programs::mutex(n))),
        "fib" => ns_of(fib_spawns(FIB), || in_task(programs::fib(FIB))),
        "sha1" => ms_to_null(|| in_task(programs::sha1())),
        "sha1_many" => ms_to_null(|| in_task(programs::sha1_many())),
        "blocking" => ms_once(|| in_task(programs::blocked())),
        "parked_million_bytes" | "parked_million_create" | "parked_million_wake" => {
            parked_million(&case, MANY, programs::park_million);
        }
        _ => println!("none"),
    }
    std::process::exit(0);
}

fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    EXECUTOR.spawn(work)
}

/// Runs it on one of the executor's threads.
fn in_task(work: impl Future<Output = ()> + Send + 'static) {
    block_on(spawn(work));
}

async fn spawn_join(n: u64) {
    for _ in 0..n {
        spawn(async {}).await;
    }
}

/// As a WaitGroup: smol has none.
struct Latch {
    left: AtomicU64,
    open: Sender<()>,
    opened: Receiver<()>,
}

impl Latch {
    fn new(left: u64) -> Arc<Self> {
        let (open, opened) = bounded(1);
        Arc::new(Self { left: AtomicU64::new(left), open, opened })
    }

    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.try_send(()).expect("there is room, and it is received");
        }
    }

    async fn wait(&self) {
        self.opened.recv().await.expect("the sender is not dropped");
    }
}

async fn spawn_many() {
    let latch = Latch::new(MANY);
    for _ in 0..MANY {
        let latch = Arc::clone(&latch);
        spawn(async move { latch.done() }).detach();
    }
    latch.wait().await;
}

async fn yielding(tasks: u64, n: u64) {
    on_all(tasks, n, yield_now).await;
}

/// Shares `n` calls among as many tasks.
async fn on_all<F>(tasks: u64, n: u64, f: impl Fn() -> F + Copy + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let latch = Latch::new(tasks);
    for _ in 0..tasks {
        let latch = Arc::clone(&latch);
        let work = async move {
            for _ in 0..n / tasks {
                f().await;
            }
            latch.done();
        };
        spawn(work).detach();
    }
    latch.wait().await;
}

/// A task that sleeps, and then would call something.
async fn call_later() {
    let task = spawn(async { Timer::after(LATER).await });
    yield_now().await; // it begins to sleep
    assert!(task.cancel().await.is_none());
}

/// A timer is armed by the first poll.
async fn arm() {
    let mut timer = Timer::after(LATER);
    assert!(poll_once(&mut timer).await.is_none());
}

/// All wait at the gate, which never opens, until the process ends.
async fn park_all() {
    let (started, gate) = (Latch::new(PARKED), Latch::new(1));
    for _ in 0..PARKED {
        let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
        spawn(async move { wait_at(&started, &gate).await }).detach();
    }
    started.wait().await;
}

async fn wait_at(started: &Latch, gate: &Latch) {
    let held = hold();
    started.done();
    gate.wait().await;
    drop(held);
}
