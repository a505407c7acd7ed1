//! Models of `base/gather.rs`: what was done before a thing was added is seen by the thread that takes it.

use crate::base::atomic::{AtomicU32, Ordering};
use crate::check::holds;
use crate::g::forever;
use crate::real::gather::{Gather, Hook};
use loom::sync::Arc;
use loom::thread;
use std::cell::Cell;

struct Thing {
    hook: Hook<Thing>,
    /// How often something was done.
    done: AtomicU32,
    /// How much of that the thread that takes has seen.
    seen: Cell<u32>,
}

struct World {
    list: Gather<Thing>,
    things: [Thing; 2],
}

// SAFETY: the cells are the taking thread's.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        let thing = || Thing { hook: Hook::new(), done: AtomicU32::new(0), seen: Cell::new(0) };
        Arc::new(Self { list: Gather::new(|thing| &thing.hook), things: [thing(), thing()] })
    }

    /// Something is done to a thing, which is to be seen.
    fn tell(&'static self, number: usize) {
        self.things[number].done.fetch_add(1, Ordering::Relaxed);
        self.list.add(&self.things[number]);
    }

    fn take(&self) {
        for thing in self.list.take() {
            thing.seen.set(thing.done.load(Ordering::Relaxed));
        }
    }
}

fn tells(world: &'static World, number: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || world.tell(number))
}

/// Two threads tell of the things `first` and `second`, while the main thread takes.
fn beside_one_that_takes(first: usize, second: usize) {
    let shared = World::new();
    let world = forever(&shared);
    let both = [tells(world, first), tells(world, second)];
    world.take();
    for one in both {
        one.join().unwrap();
    }
    world.take();
    let seen: u32 = world.things.iter().map(|thing| thing.seen.get()).sum();
    assert_eq!(seen, 2, "something was not seen");
}

#[test]
fn gather_of_one_thing() {
    holds(|| beside_one_that_takes(0, 0));
}

#[test]
fn gather_of_two_things() {
    holds(|| beside_one_that_takes(0, 1));
}
