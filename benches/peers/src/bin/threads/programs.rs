//! The cases that are small programs.

use crate::load::{
    CALLS, CHILDREN, HASHES, LOCKERS, PREFIXES, check_fib, check_skynet, foreign_call, print_hashes,
};
use crossbeam_channel::{Sender, bounded};
use std::sync::Mutex;
use std::thread;

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
        thread::spawn(move || tree(&sender, first + i * each, each));
    }
    receiver.iter().take(CHILDREN as usize).sum()
}

pub(crate) fn mutex(n: u64) {
    let count = Mutex::new(0);
    thread::scope(|s| {
        for _ in 0..LOCKERS {
            s.spawn(|| {
                for _ in 0..n / LOCKERS {
                    *count.lock().expect("nobody panics") += 1;
                }
            });
        }
    });
    assert_eq!(count.into_inner().expect("nobody panics"), n);
}

pub(crate) fn fib(n: u64) {
    check_fib(fork_join(n), n);
}

fn fork_join(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let other = thread::spawn(move || fork_join(n - 1));
    fork_join(n - 2) + other.join().expect("it does not panic")
}

pub(crate) fn sha1() {
    thread::scope(|s| {
        for prefix in PREFIXES {
            s.spawn(|| print_hashes(prefix, 1..=HASHES));
        }
    });
}

pub(crate) fn sha1_many() {
    thread::scope(|s| {
        for i in 1..=HASHES {
            s.spawn(move || print_hashes("A", i..=i));
        }
    });
}

pub(crate) fn blocked() {
    thread::scope(|s| {
        for _ in 0..CALLS {
            s.spawn(foreign_call);
        }
    });
}
