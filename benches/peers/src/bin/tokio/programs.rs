//! The cases that are small programs.

use crate::Latch;
use crate::load::{
    CALLS, CHILDREN, HASHES, LOCKERS, PREFIXES, check_fib, check_skynet, foreign_call, print_hashes,
};
use crate::measure::{MANY, hold};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::{runtime::Runtime, spawn};

/// A recursive `async fn` has no finite size.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) async fn skynet(leaves: u64) {
    let (sender, mut receiver) = channel(1);
    tree(sender, 0, leaves).await;
    check_skynet(receiver.recv().await.expect("it was sent"), leaves);
}

fn tree(parent: Sender<u64>, first: u64, leaves: u64) -> Boxed<()> {
    Box::pin(async move {
        let sum = if leaves == 1 { first } else { sum_of_children(first, leaves / CHILDREN).await };
        parent.send(sum).await.expect("it is received");
    })
}

async fn sum_of_children(first: u64, each: u64) -> u64 {
    let (sender, mut receiver) = channel(CHILDREN as usize);
    for i in 0..CHILDREN {
        spawn(tree(sender.clone(), first + i * each, each));
    }
    let mut sum = 0;
    for _ in 0..CHILDREN {
        sum += receiver.recv().await.expect("it is sent");
    }
    sum
}

pub(crate) async fn mutex(n: u64) {
    let count = Arc::new(Mutex::new(0));
    let latch = Latch::new(LOCKERS);
    for _ in 0..LOCKERS {
        let (count, latch) = (Arc::clone(&count), Arc::clone(&latch));
        spawn(async move {
            for _ in 0..n / LOCKERS {
                *count.lock().await += 1;
            }
            latch.done();
        });
    }
    latch.open.notified().await;
    assert_eq!(*count.lock().await, n);
}

pub(crate) async fn fib(n: u64) {
    check_fib(fork_join(n).await, n);
}

fn fork_join(n: u64) -> Boxed<u64> {
    Box::pin(async move {
        if n < 2 {
            return n;
        }
        let other = spawn(fork_join(n - 1));
        fork_join(n - 2).await + other.await.expect("it does not panic")
    })
}

pub(crate) async fn sha1() {
    for task in PREFIXES.map(|prefix| spawn(async { print_hashes(prefix, 1..=HASHES) })) {
        task.await.expect("it does not panic");
    }
}

pub(crate) async fn sha1_many() {
    let latch = Latch::new(HASHES);
    for i in 1..=HASHES {
        let latch = Arc::clone(&latch);
        spawn(async move {
            print_hashes("A", i..=i);
            latch.done();
        });
    }
    latch.open.notified().await;
}

pub(crate) async fn blocked() {
    for call in [(); CALLS].map(|()| spawn_blocking(foreign_call)) {
        call.await.expect("it does not panic");
    }
}

/// All wait until the gate is opened, and then end.
pub(crate) fn park_million(rt: &Runtime) -> impl FnOnce() {
    let (started, ended) = (Latch::new(MANY), Latch::new(MANY));
    let gate = Arc::new(Notify::new());
    let all = (Arc::clone(&gate), Arc::clone(&ended));
    crate::in_task(rt, async move {
        for _ in 0..MANY {
            let (started, gate, ended) = (Arc::clone(&started), gate.clone(), Arc::clone(&ended));
            spawn(async move { wait_for(&started, &gate, &ended).await });
        }
        started.open.notified().await;
    });
    move || {
        crate::in_task(rt, async {
            let (gate, ended) = all;
            gate.notify_waiters();
            ended.open.notified().await;
        });
    }
}

async fn wait_for(started: &Latch, gate: &Notify, ended: &Latch) {
    let held = hold();
    let opened = gate.notified(); // counts as waiting from now on
    started.done();
    opened.await;
    drop(held);
    ended.done();
}
