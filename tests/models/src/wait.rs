//! Models of a wait that several may end (`g/wait.rs`), with what `sched/wait.rs` does around it: one ends it,
//! the goroutine goes on once, and what comes late does not end the next one.

use crate::base::atomic::{AtomicU32, Ordering, Weak};
use crate::check::{holds, refuted};
use crate::g::G;
use crate::g::wait::{Cause, Claim, Ticket};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

/// What a weakened twin leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Who claims one that has not parked readies it too.
    Awake,
    /// The goroutine parks without looking whether the wait is over.
    Commit,
    /// A claim takes the word as it is, whichever wait it is of.
    Number,
}

struct World {
    gp: G,
    /// What was said before the wait was ended, by cause.
    said: [AtomicU32; 2],
    /// How many waits were ended, by whoever ended them.
    ended: AtomicU32,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gp: G::new(),
            said: std::array::from_fn(|_| AtomicU32::new(0)),
            ended: AtomicU32::new(0),
        })
    }

    fn wait(&self, without: Without, ticket: Ticket) -> Cause {
        if self.gp.wait.cause().is_none() {
            self.gp.park(|| {
                let parked = self.gp.wait.park(ticket);
                parked || without == Without::Commit
            });
        }
        self.gp.wait.cause().unwrap()
    }

    fn end(&self, without: Without, ticket: Ticket, cause: Cause) {
        self.said[cause as usize - 1].store(1, Ordering::Relaxed);
        let claim = self.gp.wait.claim(ticket, cause);
        if claim != Claim::Late {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        if claim == Claim::Parked || (claim == Claim::Awake && without == Without::Awake) {
            self.gp.ready();
        }
    }
}

fn ender(world: &Arc<World>, without: Without, ticket: Ticket, cause: Cause) -> JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || world.end(without, ticket, cause))
}

/// Two want to end it. Who did, has said so before.
fn two_end_it(without: Without) {
    let world = World::new();
    let ticket = world.gp.wait.begin();
    let ready = ender(&world, without, ticket, Cause::Ready);
    let timeout = ender(&world, without, ticket, Cause::Timeout);
    let cause = world.wait(without, ticket);
    let said = world.said[cause as usize - 1].load(Ordering::Relaxed);
    assert_eq!(said, 1, "what happened before the end is not seen");
    ready.join().unwrap();
    timeout.join().unwrap();
    assert_eq!(world.ended.load(Ordering::Relaxed), 1, "ended twice, or not at all");
}

/// A late one of the first wait does not end the second.
fn stale_only(without: Without) {
    let world = World::new();
    let first = world.gp.wait.begin();
    let end = ender(&world, without, first, Cause::Ready);
    world.wait(without, first);
    end.join().unwrap();
    late_of(&world, without, first);
}

/// The rest of [`stale_only`]: three threads are enough.
fn late_of(world: &Arc<World>, without: Without, first: Ticket) {
    let second = world.gp.wait.begin();
    let late = if without == Without::Number { second } else { first };
    let stale = ender(world, without, late, Cause::Timeout);
    let end = ender(world, without, second, Cause::Ready);
    assert_eq!(world.wait(without, second), Cause::Ready, "ended by one of the wait before");
    stale.join().unwrap();
    end.join().unwrap();
}

#[test]
fn wait_two_end_it() {
    holds(|| two_end_it(Without::Nothing));
}

#[test]
fn wait_stale() {
    holds(|| stale_only(Without::Nothing));
}

#[test]
fn wait_two_end_it_relaxed_is_refuted() {
    refuted(Weak::Orderings, "", || two_end_it(Without::Nothing));
}

#[test]
fn wait_readied_while_awake_is_refuted() {
    refuted(Weak::No, "does not wait", || two_end_it(Without::Awake));
}

#[test]
fn wait_parked_without_a_look_is_refuted() {
    refuted(Weak::No, "deadlock", || two_end_it(Without::Commit));
}

#[test]
fn wait_without_numbers_is_refuted() {
    refuted(Weak::No, "wait before", || stale_only(Without::Number));
}
