//! Many goroutines that sleep with `std::thread::sleep`.

#[path = "../sleeps.rs"]
mod sleeps;

use goroutines::WaitGroup;
use goroutines::runtime::Builder;
use sleeps::{Late, SLEEPS, duration};
use std::time::Instant;

fn main() {
    let (tasks, procs) = sleeps::arguments();
    Builder::new().gomaxprocs(procs).run(|| {
        let (start, ended) = (Instant::now(), WaitGroup::new());
        for task in 0..tasks {
            ended.go(move || {
                let mut late = Late::default();
                for sleep in 0..SLEEPS {
                    let (start, wanted) = (Instant::now(), duration(task, sleep));
                    std::thread::sleep(wanted);
                    late.add(start, wanted);
                }
            });
        }
        ended.wait();
        sleeps::report(tasks, start);
    });
}
