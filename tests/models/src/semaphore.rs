//! Models of semaphores (`sync/queue.rs`, `sync/semaphore.rs`): permits are handed over, to goroutines and to
//! ordinary threads, and neither lost nor doubled where a time is over in the same moment. Who sleeps beside what
//! he waits for is found by loom: a deadlock.

use crate::base::atomic::Weak;
use crate::check::{holds, refuted, refuted_without, starves};
use crate::g::{G, current, forever};
use crate::sync::semaphore::Semaphore;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::time::Duration;

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Goroutine,
    Thread,
}

use Kind::{Goroutine, Thread};

/// A semaphore, and what it guards.
struct World {
    semaphore: Semaphore,
    cell: UnsafeCell<u32>,
    gs: [G; 2],
}

// SAFETY: loom checks the use of the cell.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new(permits: u64) -> Arc<Self> {
        Arc::new(Self {
            semaphore: Semaphore::new(permits),
            cell: UnsafeCell::new(0),
            gs: std::array::from_fn(|_| G::new()),
        })
    }

    fn start<R: 'static>(
        this: &Arc<Self>,
        i: usize,
        kind: Kind,
        f: impl FnOnce(&'static World) -> R + 'static,
    ) -> JoinHandle<R> {
        let world = this.clone();
        thread::spawn(move || {
            let world = forever(&world);
            if kind == Goroutine {
                current::set_g(&world.gs[i]);
            }
            f(world)
        })
    }

    fn touch(&self) {
        // SAFETY: of who has all permits, or loom finds it.
        self.cell.with_mut(|at| unsafe { *at += 1 });
    }

    /// Takes `n` permits if the time is not over before, which it is at any moment; keeps them. Whether it has
    /// them.
    fn take_timeout(&self, n: u64) -> bool {
        let permit = self.semaphore.acquire_timeout(n, Duration::from_millis(1));
        let has = permit.is_some();
        if let Some(permit) = permit {
            permit.forget();
        }
        has
    }
}

/// One waits for a permit that is released.
fn one_waiter(kind: Kind) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(0);
        let waiter = World::start(&world, 0, kind, |world| {
            world.semaphore.acquire(1).forget();
            world.touch();
        });
        world.touch();
        world.semaphore.release(1);
        waiter.join().unwrap();
        assert_eq!(world.semaphore.available(), 0);
    }
}

/// The same, and its time is over at any moment: it has the permit, or the semaphore does.
fn one_timed(kind: Kind) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(0);
        let waiter = World::start(&world, 0, kind, |world| {
            let has = world.take_timeout(1);
            if has {
                world.touch();
            }
            has
        });
        world.touch();
        world.semaphore.release(1);
        let taken = u64::from(waiter.join().unwrap());
        assert_eq!(world.semaphore.available() + taken, 1, "a permit was lost or doubled");
    }
}

/// One gives up, at any moment, or passes on what it got; another waits behind it, or in front.
fn two_waiters(first: Kind, second: Kind) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(0);
        let timed = World::start(&world, 0, first, |world| {
            if world.take_timeout(1) {
                world.touch();
                world.semaphore.release(1);
            }
        });
        let other = World::start(&world, 1, second, |world| {
            world.semaphore.acquire(1).forget();
            world.touch();
        });
        world.semaphore.release(1);
        timed.join().unwrap();
        other.join().unwrap();
        assert_eq!(world.semaphore.available(), 0, "a permit was lost or doubled");
    }
}

/// There is one permit. A goroutine wants two, for a time; one that comes then wants one.
fn a_big_one_in_front(first: Kind, second: Kind) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(1);
        let big = World::start(&world, 0, first, |world| assert!(!world.take_timeout(2)));
        let small = World::start(&world, 1, second, |world| world.semaphore.acquire(1).forget());
        big.join().unwrap();
        small.join().unwrap();
        assert_eq!(world.semaphore.available(), 0);
    }
}

#[test]
fn semaphore_one_waiter() {
    holds(one_waiter(Goroutine));
}

#[test]
fn semaphore_one_waiting_thread() {
    holds(one_waiter(Thread));
}

#[test]
fn semaphore_one_timed() {
    holds(one_timed(Goroutine));
}

#[test]
fn semaphore_one_timed_thread() {
    holds(one_timed(Thread));
}

#[test]
fn semaphore_two_waiters() {
    holds(two_waiters(Goroutine, Goroutine));
}

#[test]
fn semaphore_two_waiting_threads() {
    holds(two_waiters(Thread, Thread));
}

#[test]
fn semaphore_a_thread_and_a_goroutine() {
    holds(two_waiters(Thread, Goroutine));
}

#[test]
fn semaphore_a_goroutine_and_a_thread() {
    holds(two_waiters(Goroutine, Thread));
}

#[test]
fn semaphore_a_big_one_in_front() {
    holds(a_big_one_in_front(Goroutine, Goroutine));
}

#[test]
fn semaphore_a_big_thread_in_front() {
    holds(a_big_one_in_front(Thread, Goroutine));
}

#[test]
fn semaphore_one_waiting_thread_relaxed_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", one_waiter(Thread));
}

#[test]
fn semaphore_one_waiter_relaxed_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", one_waiter(Goroutine));
}

#[test]
fn semaphore_one_timed_without_passing_over_who_is_late_is_refuted() {
    refuted_without("passing over who is late", "lost or doubled", one_timed(Goroutine));
}

#[test]
fn semaphore_two_waiters_without_passing_over_who_is_late_is_refuted() {
    starves(Weak::No, "passing over who is late", two_waiters(Goroutine, Goroutine));
}

#[test]
fn semaphore_one_timed_thread_without_the_last_look_is_refuted() {
    refuted_without("the last look", "lost or doubled", one_timed(Thread));
}

#[test]
fn semaphore_a_big_one_in_front_without_letting_in_those_behind_is_refuted() {
    starves(Weak::No, "letting in those behind", a_big_one_in_front(Goroutine, Goroutine));
}

#[test]
fn semaphore_a_big_thread_in_front_without_letting_in_those_behind_is_refuted() {
    starves(Weak::No, "letting in those behind", a_big_one_in_front(Thread, Goroutine));
}
