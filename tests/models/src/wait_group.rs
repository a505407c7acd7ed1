//! Models of wait groups (`sync/count.rs`), with the queue of those who wait, in functions named as in
//! `sync/wait_group.rs`: who waits is released by the zero, once, and sees what was done before.

use crate::base::atomic::Weak;
use crate::check::{holds, refuted, starves};
use crate::real::count::Count;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What a weakened twin does otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Who waits is counted before it has the queue's lock.
    CountingUnderTheLock,
}

/// One who waits.
#[derive(Default)]
struct Parked(Mutex<bool>, Condvar);

impl Parked {
    fn wake(&self) {
        assert!(!std::mem::replace(&mut *self.0.lock().unwrap(), true), "released twice");
        self.1.notify_one();
    }

    fn sleep(&self) {
        let mut woken = self.0.lock().unwrap();
        while !*woken {
            woken = self.1.wait(woken).unwrap();
        }
    }
}

struct Group {
    without: Without,
    count: Count,
    waiters: Mutex<Vec<Arc<Parked>>>,
    /// What each of those who are waited for has done.
    done: [UnsafeCell<u32>; 2],
}

// SAFETY: loom checks the use of the cells.
unsafe impl Sync for Group {}
// SAFETY: as above.
unsafe impl Send for Group {}

impl Group {
    fn new(without: Without, count: i32) -> Arc<Self> {
        let done = std::array::from_fn(|_| UnsafeCell::new(0));
        let group = Self { without, count: Count::new(), waiters: Mutex::new(Vec::new()), done };
        assert_eq!(group.count.add(count), Some(0));
        Arc::new(group)
    }

    /// The `i`th does its part.
    fn finish(&self, i: usize) {
        // SAFETY: its own, until it is done; or loom finds it.
        self.done[i].with_mut(|at| unsafe { *at += 1 });
        match self.count.add(-1) {
            Some(0) => {}
            Some(n) => {
                let mut waiters = self.waiters.lock().unwrap();
                let there = (n as usize).min(waiters.len());
                waiters.drain(..there).for_each(|waiter| waiter.wake());
            }
            None => unreachable!("less than zero"),
        }
    }

    fn wait(&self, parts: usize) {
        if !self.count.is_zero() {
            let word = Arc::new(Parked::default());
            let early = self.without == Without::CountingUnderTheLock && self.count.join();
            let mut waiters = self.waiters.lock().unwrap();
            let waits = early || self.count.join();
            if waits {
                waiters.push(word.clone());
            }
            drop(waiters);
            if waits {
                word.sleep();
            }
        }
        for done in &self.done[..parts] {
            // SAFETY: all have done theirs; or loom finds it.
            assert_eq!(done.with(|at| unsafe { *at }), 1, "released too early");
        }
    }
}

/// Some are waited for by some.
fn group(without: Without, parts: usize, waiters: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let group = Group::new(without, parts as i32);
        let mut threads = Vec::new();
        for i in 0..parts {
            let group = group.clone();
            threads.push(thread::spawn(move || group.finish(i)));
        }
        for _ in 1..waiters {
            let group = group.clone();
            threads.push(thread::spawn(move || group.wait(parts)));
        }
        group.wait(parts);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(group.count.is_zero() && group.waiters.lock().unwrap().is_empty());
    }
}

#[test]
fn wait_group_of_one() {
    holds(group(Without::Nothing, 1, 1));
}

#[test]
fn wait_group_of_two() {
    holds(group(Without::Nothing, 2, 1));
}

#[test]
fn wait_group_for_two() {
    holds(group(Without::Nothing, 1, 2));
}

#[test]
fn wait_group_with_relaxed_orderings_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", group(Without::Nothing, 2, 1));
}

#[test]
fn wait_group_counting_before_the_lock_is_refuted() {
    starves(Weak::No, "", group(Without::CountingUnderTheLock, 1, 1));
}
