//! Many tokio tasks that sleep.

#[path = "../../../src/sleeps.rs"]
mod sleeps;

use sleeps::{Late, SLEEPS, duration};
use std::time::Instant;
use tokio::runtime::Builder;

fn main() {
    let (tasks, procs) = sleeps::arguments();
    let mut builder = Builder::new_multi_thread();
    let rt = builder.worker_threads(procs).enable_time().build().expect("a runtime");
    let all = async move {
        let start = Instant::now();
        let running: Vec<_> = (0..tasks).map(|task| tokio::spawn(sleep_often(task))).collect();
        for task in running {
            task.await.expect("no task panics");
        }
        sleeps::report(tasks, start);
    };
    // On a worker: `block_on` alone would run it on this thread, which is none.
    rt.block_on(rt.spawn(all)).expect("it does not panic");
}

async fn sleep_often(task: u64) {
    let mut late = Late::default();
    for sleep in 0..SLEEPS {
        let (start, wanted) = (Instant::now(), duration(task, sleep));
        tokio::time::sleep(wanted).await;
        late.add(start, wanted);
    }
}
