//! Models of the local run queue (`p/runq.rs`).
//!
//! An element is a cell that its taker writes: taking one twice, or without seeing what was written
//! before it was put, is a data race that loom reports.

use crate::base::atomic::Weak;
use crate::check::{holds, refuted, within};
use crate::real::runq::LocalQueue;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// How often the element was put and taken.
type Element = UnsafeCell<(u32, u32)>;

struct World<const N: usize> {
    elements: [Element; N],
    queues: [LocalQueue<Element>; 3],
}

// SAFETY: the cells are the takers', by R2, which is what is checked.
unsafe impl<const N: usize> Sync for World<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Send for World<N> {}

impl<const N: usize> World<N> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            elements: std::array::from_fn(|_| UnsafeCell::new((0, 0))),
            queues: std::array::from_fn(|_| LocalQueue::new()),
        })
    }

    /// The element, with what its maker wrote in it.
    fn make(&self, i: usize) -> *mut Element {
        // SAFETY: not put yet.
        self.elements[i].with_mut(|at| unsafe { (*at).0 += 1 });
        std::ptr::from_ref(&self.elements[i]).cast_mut()
    }

    /// At the tail of the first queue; the overflow is taken.
    fn put(&self, i: usize) {
        // SAFETY: the caller owns the first queue; each element is put once.
        unsafe { self.queues[0].put(self.make(i), |batch| batch.iter().copied().for_each(take)) };
    }

    /// In front of the first queue; the overflow is taken.
    fn put_next(&self, i: usize) {
        // SAFETY: as above.
        unsafe {
            self.queues[0].put_next(self.make(i), |batch| batch.iter().copied().for_each(take))
        };
    }

    /// Takes one of queue `of`, which the caller owns.
    fn get(&self, of: usize) -> bool {
        // SAFETY: the caller owns the queue.
        let got = unsafe { self.queues[of].get() };
        got.map(|(element, _)| take(element)).is_some()
    }

    /// Steals from `victim` into `to`, which the caller owns and which is empty.
    fn steal(&self, victim: usize, to: usize) -> bool {
        // SAFETY: the caller owns the queue, which is empty.
        unsafe { self.queues[to].steal(&self.queues[victim]) }.map(take).is_some()
    }

    /// At the end: each element was put and taken once.
    fn check(&self) {
        for queue in 0..self.queues.len() {
            while self.get(queue) {}
        }
        for element in &self.elements {
            // SAFETY: all threads have ended.
            let counts = element.with(|at| unsafe { *at });
            assert_eq!(counts, (1, 1), "an element was lost");
        }
    }
}

/// The one who got it writes it.
fn take(element: *mut Element) {
    assert!(!element.is_null(), "a slot was read before it was written");
    // SAFETY: the elements outlive the queues; R2.
    unsafe { (*element).with_mut(|at| (*at).1 += 1) };
}

/// The owner finds its queue full while a thief steals.
fn overflow() {
    let world = World::<6>::new();
    (0..4).for_each(|i| world.put(i));
    let thief = {
        let world = world.clone();
        thread::spawn(move || {
            if world.steal(0, 1) {
                world.get(1);
                world.steal(0, 1);
            }
        })
    };
    world.put(4);
    world.put_next(5);
    world.get(0);
    thief.join().unwrap();
    world.check();
}

/// The owner puts in front and takes, a thief takes from the ring, one takes the slot in front.
fn two_thieves() {
    let world = World::<4>::new();
    world.put(0);
    world.put_next(1);
    let ring = {
        let world = world.clone();
        thread::spawn(move || world.steal(0, 1))
    };
    let front = {
        let world = world.clone();
        thread::spawn(move || LocalQueue::steal_next(&world.queues[0]).map(take))
    };
    world.put_next(2);
    world.put(3);
    world.get(0);
    world.get(0);
    ring.join().unwrap();
    front.join().unwrap();
    world.check();
}

/// A thief's thief.
fn chain() {
    let world = World::<4>::new();
    (0..3).for_each(|i| world.put(i));
    let first = {
        let world = world.clone();
        thread::spawn(move || {
            world.steal(0, 1);
            world.get(1);
        })
    };
    let second = {
        let world = world.clone();
        thread::spawn(move || world.steal(1, 2))
    };
    world.get(0);
    world.put(3);
    first.join().unwrap();
    second.join().unwrap();
    world.check();
}

/// The ring goes round: slots are written again that a thief may still read.
fn round_again() {
    let world = World::<7>::new();
    (0..3).for_each(|i| world.put(i));
    let thief = {
        let world = world.clone();
        thread::spawn(move || {
            if world.steal(0, 1) {
                world.get(1);
            }
        })
    };
    world.get(0);
    world.get(0);
    (3..7).for_each(|i| world.put(i));
    thief.join().unwrap();
    world.check();
}

/// The first element is in the queue all the time: nobody finds it empty.
fn never_empty() {
    let world = World::<2>::new();
    world.put_next(0);
    let looker = {
        let world = world.clone();
        thread::spawn(move || {
            assert!(!world.queues[0].is_empty(), "empty, with an element in it");
        })
    };
    world.put_next(1);
    world.get(0); // the second
    looker.join().unwrap();
    world.check();
}

#[test]
fn runq_overflow() {
    holds(overflow);
}

#[test]
fn runq_two_thieves() {
    within(2, two_thieves);
}

#[test]
fn runq_chain() {
    within(2, chain);
}

#[test]
fn runq_round_again() {
    holds(round_again);
}

#[test]
fn runq_never_empty() {
    holds(never_empty);
}

#[test]
fn runq_two_thieves_relaxed_is_refuted() {
    refuted(Weak::Orderings, "", two_thieves);
}

#[test]
fn runq_chain_relaxed_is_refuted() {
    refuted(Weak::Orderings, "", chain);
}

#[test]
fn runq_round_again_relaxed_is_refuted() {
    refuted(Weak::Orderings, "", round_again);
}

#[test]
fn runq_never_empty_relaxed_is_refuted() {
    refuted(Weak::Orderings, "empty, with an element", never_empty);
}
