//! Models of waits that several may end (`g/wait.rs`): W1, W2 and W3.

use crate::base::atomic::{AtomicU32, Ordering, Weak};
use crate::base::steps::lacks;
use crate::check::{holds, refuted, refuted_without, starves};
use crate::g::reason::WaitReason;
use crate::g::wait::{Cause, Claim, Ticket};
use crate::g::{G, current, forever};
use crate::sched::wait::{NEVER, end, wait};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

/// A goroutine, and how those fared who were to end its wait.
struct World {
    gp: G,
    awake: AtomicU32,
    parked: AtomicU32,
}

impl World {
    fn new() -> Arc<Self> {
        let world = Self { gp: G::new(), awake: AtomicU32::new(0), parked: AtomicU32::new(0) };
        let world = Arc::new(world);
        current::set_g(&forever(&world).gp);
        world
    }

    /// Starts a thread that ends the wait `ticket`.
    fn ender(this: &Arc<Self>, ticket: Ticket, cause: Cause) -> JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || {
            let count = match world.gp.wait.claim(ticket, cause) {
                Claim::Late => return,
                Claim::Awake => {
                    if lacks("telling who has parked") {
                        world.gp.ready();
                    }
                    &world.awake
                }
                Claim::Parked => {
                    world.gp.ready();
                    &world.parked
                }
            };
            count.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// Two end one wait.
fn two_enders() {
    let world = World::new();
    let gp = &forever(&world).gp;
    let ticket = gp.wait.begin();
    let first = World::ender(&world, ticket, Cause::Ready);
    let second = World::ender(&world, ticket, Cause::Timeout);
    wait(gp, WaitReason::Io, ticket, NEVER);
    first.join().unwrap();
    second.join().unwrap();
    let ended = world.awake.load(Ordering::Relaxed) + world.parked.load(Ordering::Relaxed);
    assert_eq!(ended, 1, "a wait is ended once");
}

/// Two end one wait, after which there is another.
fn the_next_wait() {
    let world = World::new();
    let gp = &forever(&world).gp;
    let ticket = gp.wait.begin();
    let first = World::ender(&world, ticket, Cause::Ready);
    let second = World::ender(&world, ticket, Cause::Timeout);
    wait(gp, WaitReason::Io, ticket, NEVER);
    let ticket = gp.wait.begin();
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(gp.wait.cause(), None, "a late one has ended the next wait");
    end(gp, ticket, Cause::Gone);
    assert_eq!(gp.wait.cause(), Some(Cause::Gone));
}

/// One ends it: it is ended, however the goroutine parks meanwhile.
fn one_ender() {
    let world = World::new();
    let gp = &forever(&world).gp;
    let ticket = gp.wait.begin();
    let first = World::ender(&world, ticket, Cause::Gone);
    assert_eq!(wait(gp, WaitReason::Io, ticket, NEVER), Cause::Gone);
    first.join().unwrap();
}

#[test]
fn wait_one_ender() {
    holds(one_ender);
}

#[test]
fn wait_two_enders() {
    holds(two_enders);
}

#[test]
fn wait_the_next_wait() {
    holds(the_next_wait);
}

#[test]
fn wait_one_ender_relaxed_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", one_ender);
}

#[test]
fn wait_one_ender_without_third_look_is_refuted() {
    starves(Weak::No, "the third look", one_ender);
}

#[test]
fn wait_two_enders_without_one_winner_is_refuted() {
    refuted_without("one winner", "", two_enders);
}

#[test]
fn wait_the_next_wait_without_numbers_is_refuted() {
    refuted_without("numbers", "has ended the next wait", the_next_wait);
}

#[test]
fn wait_one_ender_without_telling_who_has_parked_is_refuted() {
    refuted_without("telling who has parked", "which does not wait", one_ender);
}

#[test]
fn wait_one_ender_without_looking_whether_it_is_over_is_refuted() {
    starves(Weak::No, "looking whether it is over", one_ender);
}
