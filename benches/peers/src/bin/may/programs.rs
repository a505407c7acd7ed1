//! The cases that are small programs.

use crate::load::{
    CALLS, CHILDREN, HASHES, LOCKERS, PREFIXES, check_fib, check_skynet, foreign_call, print_hashes,
};
use crate::{Latch, join, spawn};
use may::sync::Mutex;
use may::sync::mpsc::{Sender, channel};
use std::sync::Arc;
use std::thread;

pub(crate) fn skynet(leaves: u64) {
    let (sender, receiver) = channel();
    tree(&sender, 0, leaves);
    check_skynet(receiver.recv().expect("it was sent"), leaves);
}

fn tree(parent: &Sender<u64>, first: u64, leaves: u64) {
    let sum = if leaves == 1 { first } else { sum_of_children(first, leaves / CHILDREN) };
    parent.send(sum).expect("it is received");
}

fn sum_of_children(first: u64, each: u64) -> u64 {
    let (sender, receiver) = channel();
    for i in 0..CHILDREN {
        let sender = sender.clone();
        spawn(move || tree(&sender, first + i * each, each));
    }
    receiver.iter().take(CHILDREN as usize).sum()
}

pub(crate) fn mutex(n: u64) {
    let count = Arc::new(Mutex::new(0));
    let tasks = [(); LOCKERS as usize].map(|()| {
        let count = Arc::clone(&count);
        spawn(move || {
            for _ in 0..n / LOCKERS {
                *count.lock().expect("nobody panics") += 1;
            }
        })
    });
    tasks.into_iter().for_each(join);
    assert_eq!(*count.lock().expect("nobody panics"), n);
}

pub(crate) fn fib(n: u64) {
    check_fib(fork_join(n), n);
}

fn fork_join(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let other = spawn(move || fork_join(n - 1));
    fork_join(n - 2) + join(other)
}

pub(crate) fn sha1() {
    let tasks = PREFIXES.map(|prefix| spawn(move || print_hashes(prefix, 1..=HASHES)));
    tasks.into_iter().for_each(join);
}

/// From an ordinary thread, as `spawn_many`.
pub(crate) fn sha1_many() {
    let latch = Latch::new(HASHES);
    for i in 1..=HASHES {
        let latch = Arc::clone(&latch);
        spawn(move || {
            print_hashes("A", i..=i);
            latch.done();
        });
    }
    latch.wait();
}

/// may has no threads for calls that block: each is made on one of its own, and waited for.
pub(crate) fn blocked() {
    let tasks = [(); CALLS].map(|()| {
        spawn(|| {
            let (sender, receiver) = channel();
            thread::spawn(move || {
                foreign_call();
                sender.send(()).expect("it is received");
            });
            receiver.recv().expect("it is sent");
        })
    });
    tasks.into_iter().for_each(join);
}
