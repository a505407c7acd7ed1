//! Many smol tasks that sleep.

#[path = "../../../src/sleeps.rs"]
mod sleeps;

use sleeps::{Late, SLEEPS, duration};
use smol::{Executor, Timer, block_on, future};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

fn main() {
    let (tasks, procs) = sleeps::arguments();
    let executor = Arc::new(Executor::new());
    for _ in 0..procs {
        let executor = Arc::clone(&executor);
        thread::spawn(move || block_on(executor.run(future::pending::<()>())));
    }
    let spawner = Arc::clone(&executor);
    let all = executor.spawn(async move {
        let start = Instant::now();
        let running: Vec<_> = (0..tasks).map(|task| spawner.spawn(sleep_often(task))).collect();
        for task in running {
            task.await;
        }
        sleeps::report(tasks, start);
    });
    block_on(all);
}

async fn sleep_often(task: u64) {
    let mut late = Late::default();
    for sleep in 0..SLEEPS {
        let (start, wanted) = (Instant::now(), duration(task, sleep));
        Timer::after(wanted).await;
        late.add(start, wanted);
    }
}
