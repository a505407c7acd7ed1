//! Models of `sched/starved.rs`: a goroutine that waits for a stack is found by those that end, with what
//! `sched/go.rs` does around it, in functions named as there.

use crate::base::lock::Lock;
use crate::check::{holds, refuted_without};
use crate::g::task::{RunList, Runnable};
use crate::g::{G, forever};
use crate::sched::starved::Starved;
use loom::sync::Arc;
use loom::thread;

struct World {
    starved: Starved,
    /// The global queue.
    runq: Lock<RunList>,
    goroutines: [G; 2],
}

// SAFETY: loom checks the use of the cells.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            starved: Starved::new(),
            runq: Lock::new(RunList::new()),
            goroutines: [G::new(), G::new()],
        })
    }

    /// No stack can be made for goroutine `number`.
    fn starve(&self, number: usize) {
        // SAFETY: the model holds its world until all its threads have ended.
        let gp = unsafe { &*std::ptr::from_ref(&self.goroutines[number]) };
        self.starved.push(Runnable::of_g(gp));
    }

    fn feed(&self, count: usize) -> usize {
        let mut shared = self.runq.lock();
        self.starved.feed(count, |one| shared.push_back(one))
    }

    /// A goroutine ends, and leaves its stack.
    fn free(&self) {
        if self.starved.any() {
            self.feed(1);
        }
    }

    /// All is quiet, and goroutines end one after another: no goroutine may wait after that.
    fn check(&self) {
        for _ in 0..self.goroutines.len() {
            self.free();
        }
        let run = self.runq.lock().len();
        assert_eq!(run, self.goroutines.len(), "a goroutine is forgotten");
    }
}

/// One waits for a stack while another, for which one did wait or none did, ends, and a third begins to wait.
fn comes_and_goes() {
    let world = World::new();
    let ends = {
        let world = forever(&world);
        thread::spawn(move || world.free())
    };
    let other = {
        let world = forever(&world);
        thread::spawn(move || world.starve(1))
    };
    world.starve(0);
    ends.join().unwrap();
    other.join().unwrap();
    world.check();
}

/// As `comes_and_goes`, with the monitor, which feeds all.
fn with_the_monitor() {
    let world = World::new();
    let monitor = {
        let world = forever(&world);
        thread::spawn(move || {
            if world.starved.any() {
                world.feed(usize::MAX);
            }
        })
    };
    let other = {
        let world = forever(&world);
        thread::spawn(move || {
            world.starve(1);
            world.free();
        })
    };
    world.starve(0);
    monitor.join().unwrap();
    other.join().unwrap();
    world.check();
}

#[test]
fn starved_comes_and_goes() {
    holds(comes_and_goes);
}

#[test]
fn starved_with_the_monitor() {
    holds(with_the_monitor);
}

#[test]
fn starved_with_the_word_before_the_lock_is_refuted() {
    refuted_without("the word under the lock", "a goroutine is forgotten", comes_and_goes);
}
