//! The cases that are small programs.

use crate::load::{
    CALLS, CHILDREN, HASHES, LOCKERS, PREFIXES, check_fib, check_skynet, foreign_call, print_hashes,
};
use crate::measure::{MANY, hold};
use crate::{Latch, in_task, spawn};
use smol::channel::{Sender, bounded};
use smol::future::{Boxed, FutureExt};
use smol::lock::Mutex;
use smol::unblock;
use std::sync::Arc;

pub(crate) async fn skynet(leaves: u64) {
    let (sender, receiver) = bounded(1);
    tree(sender, 0, leaves).await;
    check_skynet(receiver.recv().await.expect("it was sent"), leaves);
}

/// Boxed: a recursive `async fn` has no finite size.
fn tree(parent: Sender<u64>, first: u64, leaves: u64) -> Boxed<()> {
    let task = async move {
        let sum = if leaves == 1 { first } else { sum_of_children(first, leaves / CHILDREN).await };
        parent.send(sum).await.expect("it is received");
    };
    task.boxed()
}

async fn sum_of_children(first: u64, each: u64) -> u64 {
    let (sender, receiver) = bounded(CHILDREN as usize);
    for i in 0..CHILDREN {
        spawn(tree(sender.clone(), first + i * each, each)).detach();
    }
    let mut sum = 0;
    for _ in 0..CHILDREN {
        sum += receiver.recv().await.expect("it is sent");
    }
    sum
}

pub(crate) async fn mutex(n: u64) {
    let count = Arc::new(Mutex::new(0));
    let tasks = [(); LOCKERS as usize].map(|()| {
        let count = Arc::clone(&count);
        spawn(async move {
            for _ in 0..n / LOCKERS {
                *count.lock().await += 1;
            }
        })
    });
    for task in tasks {
        task.await;
    }
    assert_eq!(*count.lock().await, n);
}

pub(crate) async fn fib(n: u64) {
    check_fib(fork_join(n).await, n);
}

fn fork_join(n: u64) -> Boxed<u64> {
    let task = async move {
        if n < 2 {
            return n;
        }
        let other = spawn(fork_join(n - 1));
        fork_join(n - 2).await + other.await
    };
    task.boxed()
}

pub(crate) async fn sha1() {
    for task in PREFIXES.map(|prefix| spawn(async { print_hashes(prefix, 1..=HASHES) })) {
        task.await;
    }
}

pub(crate) async fn sha1_many() {
    let latch = Latch::new(HASHES);
    for i in 1..=HASHES {
        let latch = Arc::clone(&latch);
        let task = async move {
            print_hashes("A", i..=i);
            latch.done();
        };
        spawn(task).detach();
    }
    latch.wait().await;
}

pub(crate) async fn blocked() {
    for call in [(); CALLS].map(|()| unblock(foreign_call)) {
        call.await;
    }
}

/// All wait until the gate is closed, and then end.
pub(crate) fn park_million() -> impl FnOnce() {
    let (started, ended) = (Latch::new(MANY), Latch::new(MANY));
    let gate = Latch::new(1);
    let all = (Arc::clone(&gate), Arc::clone(&ended));
    in_task(async move {
        for _ in 0..MANY {
            let (started, gate, ended) = (started.clone(), gate.clone(), ended.clone());
            spawn(async move { wait_for(&started, &gate, &ended).await }).detach();
        }
        started.wait().await;
    });
    move || {
        in_task(async {
            let (gate, ended) = all;
            gate.open.close();
            ended.wait().await;
        });
    }
}

async fn wait_for(started: &Latch, gate: &Latch, ended: &Latch) {
    let held = hold();
    started.done();
    assert!(gate.opened.recv().await.is_err());
    drop(held);
    ended.done();
}
