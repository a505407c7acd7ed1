//! `wait-timeout`: its handler of `SIGCHLD` writes to a pipe of its own, and aborts the process if it can't.

use crate::{at_each, beside_others};
use goroutines::{WaitGroup, go};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wait_timeout::ChildExt;

/// At each number of processors.
const CHILDREN: usize = if cfg!(debug_assertions) { 300 } else { 1_000 };
const BURST: usize = 50;

/// Children that end when `gate` is closed, and a goroutine that waits for each.
fn burst() {
    let (gate, keep) = std::io::pipe().unwrap();
    let make = || {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::from(gate.try_clone().unwrap())).stdout(Stdio::null());
        cat.spawn().unwrap()
    };
    let children: Vec<_> = (0..BURST).map(|_| make()).collect();
    let all_wait = Arc::new(WaitGroup::new());
    all_wait.add(BURST as i32);
    let wait = |mut child: Child| {
        let all_wait = Arc::clone(&all_wait);
        go(move || {
            let early = child.wait_timeout(Duration::from_millis(1));
            all_wait.done();
            assert_eq!(early.unwrap(), None, "before its input ends");
            child.wait_timeout(Duration::from_secs(60)).unwrap()
        })
    };
    let waiters: Vec<_> = children.into_iter().map(wait).collect();
    all_wait.wait();
    let begun = Instant::now();
    drop(keep);
    for waiter in waiters {
        let status = waiter.join().unwrap();
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(50), "a child's end was not told");
}

#[test]
fn children_that_end_together_are_all_told() {
    at_each(|procs| {
        let begun = Instant::now();
        beside_others(|| (0..CHILDREN / BURST).for_each(|_| burst()));
        println!("{CHILDREN} at {procs}: {:?}", begun.elapsed());
    });
}
