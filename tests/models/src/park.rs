//! Models of parking and readying (`g/status.rs`), with what `sched/park.rs`, `sched/ready.rs` and
//! `sched/run.rs` do around it, in functions named as there.
//!
//! A goroutine's context is a cell: the M that leaves it writes it, the M that runs it next does too.

use crate::base::atomic::{AtomicBool, AtomicU32, Ordering, Weak};
use crate::check::{holds, refuted};
use crate::real::runq::LocalQueue;
use crate::real::status::{State, Status};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

/// What a weakened twin leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The commit does not look again whether there is anything to wait for.
    Commit,
    /// The status is set after the commit, not before it.
    StatusFirst,
    /// The status is set, and the commit runs, before the context is saved.
    Parting,
    /// Readying does not look whether the goroutine waits.
    OneWinner,
}

/// A goroutine.
struct G {
    context: UnsafeCell<u32>,
    status: Status,
    /// How often it was run since it parked.
    runs: AtomicU32,
}

/// One goroutine that waits for `done`, its M, and two who set it.
struct World {
    without: Without,
    gp: G,
    /// What it waits for, and the wait queue.
    queue: Mutex<(bool, bool)>,
    /// The queue of each M: of the goroutine's own first.
    runq: [LocalQueue<G>; 3],
    /// The goroutine, to whoever finds it here, without any order.
    slot: AtomicBool,
}

// SAFETY: the cell is that of the M that runs the goroutine, which is what is checked.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new(without: Without) -> Arc<Self> {
        Arc::new(Self {
            without,
            gp: G {
                context: UnsafeCell::new(0),
                status: Status::new(State::Running),
                runs: AtomicU32::new(0),
            },
            queue: Mutex::new((false, false)),
            runq: std::array::from_fn(|_| LocalQueue::new()),
            slot: AtomicBool::new(false),
        })
    }

    fn switch(&self) {
        // SAFETY: the goroutine's M, or loom finds it.
        self.gp.context.with_mut(|at| unsafe { *at += 1 });
    }

    /// park.rs: on M `m`; `commit` enters the goroutine in the wait queue.
    fn park(&self, m: usize, commit: impl FnOnce() -> bool) {
        if self.without != Without::Parting {
            self.switch();
        }
        let goes_on = if self.without == Without::StatusFirst {
            let goes_on = !commit();
            self.gp.status.set(State::Waiting);
            goes_on
        } else {
            self.gp.status.set(State::Waiting);
            !commit()
        };
        if self.without == Without::Parting {
            self.switch();
        }
        if goes_on {
            self.ready(m);
        }
    }

    /// The commit of one who waits for `done`.
    fn enlist(&self) -> bool {
        let mut queue = self.queue.lock().unwrap();
        if queue.0 && self.without != Without::Commit {
            return false;
        }
        queue.1 = true;
        true
    }

    /// What is waited for has come: decide under the lock, wake after it.
    fn finish(&self, m: usize) {
        let waits = {
            let mut queue = self.queue.lock().unwrap();
            queue.0 = true;
            std::mem::take(&mut queue.1)
        };
        if waits {
            self.ready(m);
        }
    }

    /// ready.rs: on M `m`.
    fn ready(&self, m: usize) {
        let won = self.gp.status.ready();
        assert!(won, "readying a goroutine which does not wait");
        self.enqueue(m);
    }

    fn enqueue(&self, m: usize) {
        let gp = std::ptr::from_ref(&self.gp).cast_mut();
        // SAFETY: the queue is the M's own; a goroutine just made runnable is in no queue.
        unsafe { self.runq[m].put_next(gp, |_| unreachable!("it has room")) };
    }

    /// run.rs: what M `m` has in its queue.
    fn run_own(&self, m: usize) {
        // SAFETY: the queue is the M's own.
        if let Some((gp, _)) = unsafe { self.runq[m].get() } {
            self.execute(gp);
        }
    }

    /// run.rs: what another M has in its queue.
    fn run_stolen(&self, victim: usize) {
        if let Some(gp) = LocalQueue::steal_next(&self.runq[victim]) {
            self.execute(gp);
        }
    }

    fn execute(&self, gp: *mut G) {
        // SAFETY: the world outlives its queues.
        let gp = unsafe { &*gp };
        assert_eq!(gp.status.get(), State::Runnable, "a goroutine in a queue is not runnable");
        gp.status.set(State::Running);
        self.switch();
        gp.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// At the end: all Ms run what they have; the goroutine has gone on once.
    fn check(&self) {
        (0..self.runq.len()).for_each(|m| self.run_own(m));
        assert_eq!(self.gp.runs.load(Ordering::Relaxed), 1, "a wake-up was lost");
    }
}

fn in_thread(world: &Arc<World>, f: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || f(&world))
}

/// The goroutine parks on M 0 while M 1 and M 2 set what it waits for; M 0 then looks for work.
fn two_readiers(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without);
        let first = in_thread(&world, |world| {
            world.finish(1);
            world.run_own(1);
        });
        let second = in_thread(&world, |world| {
            world.finish(2);
            world.run_stolen(1);
        });
        world.park(0, || world.enlist());
        world.run_own(0);
        world.run_stolen(1);
        first.join().unwrap();
        second.join().unwrap();
        world.check();
    }
}

/// Two ready the same goroutine by its status alone: one wins, and sees its context.
fn by_status_alone(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without);
        let try_ready = |m: usize| {
            move |world: &World| {
                if !world.slot.load(Ordering::Relaxed) {
                    return;
                }
                if world.gp.status.ready() || world.without == Without::OneWinner {
                    world.enqueue(m);
                    world.run_own(m);
                }
            }
        };
        let first = in_thread(&world, try_ready(1));
        let second = in_thread(&world, try_ready(2));
        world.park(0, || {
            world.slot.store(true, Ordering::Relaxed);
            true
        });
        first.join().unwrap();
        second.join().unwrap();
        if world.gp.status.get() == State::Waiting {
            world.ready(0);
        }
        world.check();
    }
}

#[test]
fn park_two_readiers() {
    holds(two_readiers(Without::Nothing));
}

#[test]
fn park_by_status_alone() {
    holds(by_status_alone(Without::Nothing));
}

#[test]
fn park_without_commit_is_refuted() {
    refuted(Weak::No, "a wake-up was lost", two_readiers(Without::Commit));
}

#[test]
fn park_without_status_first_is_refuted() {
    refuted(Weak::No, "which does not wait", two_readiers(Without::StatusFirst));
}

#[test]
fn park_without_parting_is_refuted() {
    refuted(Weak::No, "Causality violation", two_readiers(Without::Parting));
}

#[test]
fn park_without_one_winner_is_refuted() {
    refuted(Weak::No, "", by_status_alone(Without::OneWinner));
}

#[test]
fn park_by_status_alone_relaxed_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", by_status_alone(Without::Nothing));
}
