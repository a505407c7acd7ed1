//! The cases that are small programs.

use crate::load::{
    CALLS, CHILDREN, HASHES, LOCKERS, PREFIXES, check_fib, check_skynet, foreign_call, print_hashes,
};
use crate::measure::{MANY, hold};
use goroutines::chan::{Receiver, Sender, bounded};
use goroutines::runtime::blocking;
use goroutines::{WaitGroup, go};
use std::sync::{Arc, Mutex};

pub(crate) fn skynet(leaves: u64) {
    let (sender, receiver) = bounded(1);
    tree(&sender, 0, leaves);
    check_skynet(receiver.recv().expect("it was sent"), leaves);
}

fn tree(parent: &Sender<u64>, first: u64, leaves: u64) {
    let sum = if leaves == 1 { first } else { sum_of_children(first, leaves / CHILDREN) };
    parent.send(sum).expect("it is received");
}

fn sum_of_children(first: u64, each: u64) -> u64 {
    let (sender, receiver) = bounded(CHILDREN as usize);
    for i in 0..CHILDREN {
        let sender = sender.clone();
        drop(go(move || tree(&sender, first + i * each, each)));
    }
    receiver.iter().take(CHILDREN as usize).sum()
}

pub(crate) fn mutex(n: u64) {
    let count = Arc::new(Mutex::new(0));
    let wg = WaitGroup::new();
    for _ in 0..LOCKERS {
        let count = Arc::clone(&count);
        wg.go(move || {
            for _ in 0..n / LOCKERS {
                *count.lock().expect("nobody panics") += 1;
            }
        });
    }
    wg.wait();
    assert_eq!(*count.lock().expect("nobody panics"), n);
}

pub(crate) fn fib(n: u64) {
    check_fib(fork_join(n), n);
}

fn fork_join(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let other = go(move || fork_join(n - 1));
    fork_join(n - 2) + other.join().expect("it does not panic")
}

pub(crate) fn sha1() {
    let wg = WaitGroup::new();
    for prefix in PREFIXES {
        wg.go(move || print_hashes(prefix, 1..=HASHES));
    }
    wg.wait();
}

pub(crate) fn sha1_many() {
    let wg = WaitGroup::new();
    for i in 1..=HASHES {
        wg.go(move || print_hashes("A", i..=i));
    }
    wg.wait();
}

pub(crate) fn blocked() {
    let wg = WaitGroup::new();
    for _ in 0..CALLS {
        wg.go(|| blocking(foreign_call));
    }
    wg.wait();
}

/// All wait until the gate is closed, and then end.
pub(crate) fn park_million() -> impl FnOnce() {
    let (gate, closed) = bounded(0);
    let (started, ended) = (WaitGroup::new(), WaitGroup::new());
    started.add(MANY as i32);
    for _ in 0..MANY {
        let (started, closed) = (started.clone(), closed.clone());
        ended.go(move || wait_for(&started, &closed));
    }
    started.wait();
    move || {
        drop::<Sender<()>>(gate);
        ended.wait();
    }
}

#[inline(never)]
fn wait_for(started: &WaitGroup, closed: &Receiver<()>) {
    let held = hold();
    started.done();
    assert!(closed.recv().is_err());
    drop(held);
}
