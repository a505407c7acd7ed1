//! Models of `thread::park` and `unpark` (`thread/park.rs`): a token is neither lost nor doubled.

use crate::base::atomic::{AtomicBool, Ordering, Weak};
use crate::check::{holds, refuted, refuted_without};
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::g::{G, current, forever};
use crate::sched::park::{Without, without};
use crate::sched::wait::{NEVER, end, wait};
use crate::thread::id::{Inner, set_current};
use crate::thread::park;
use loom::sync::Arc;
use loom::thread;
use std::time::Duration;

/// What the unparkers say before they unpark.
struct World {
    inner: Inner,
    gp: G,
    said: [AtomicBool; 2],
}

impl World {
    fn new() -> Arc<Self> {
        let world = Arc::new(Self {
            inner: Inner::new(),
            gp: G::new(),
            said: std::array::from_fn(|_| AtomicBool::new(false)),
        });
        set_current(&raw const world.inner);
        current::set_g(&forever(&world).gp);
        world
    }

    fn say(this: &Arc<Self>, i: usize) -> thread::JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || {
            // Relaxed: `park` orders it.
            world.said[i].store(true, Ordering::Relaxed);
            world.inner.unpark();
        })
    }

    fn was_said(&self, i: usize) -> bool {
        self.said[i].load(Ordering::Relaxed)
    }
}

/// One parks, one unparks.
fn park_once() {
    let world = World::new();
    let other = World::say(&world, 0);
    park::park();
    assert!(world.was_said(0), "parked without a token");
    other.join().unwrap();
}

/// The second token is given after the first was taken.
fn second_token() {
    let world = World::new();
    let other = World::say(&world, 0);
    park::park();
    assert!(world.was_said(0), "parked without a token");
    let second = World::say(&world, 1);
    park::park();
    assert!(world.was_said(1), "the first token was taken twice");
    other.join().unwrap();
    second.join().unwrap();
}

/// A wait whose time is over at any moment does not lose the token.
fn timed() {
    let world = World::new();
    let other = World::say(&world, 0);
    park::park_timeout(Duration::from_millis(1));
    // If it has taken the token, it has been said.
    if !world.was_said(0) {
        park::park();
    }
    assert!(world.was_said(0), "parked without a token");
    other.join().unwrap();
}

/// The same, with two such waits: who ends the first may be late, and find the second.
fn timed_twice() {
    let world = World::new();
    let other = World::say(&world, 0);
    park::park_timeout(Duration::from_millis(1));
    park::park_timeout(Duration::from_millis(1));
    if !world.was_said(0) {
        park::park();
    }
    assert!(world.was_said(0), "parked without a token");
    other.join().unwrap();
}

/// After such a wait the goroutine waits for something else, which an unpark that comes late does not end.
fn then_another_wait() {
    let world = World::new();
    let other = World::say(&world, 0);
    park::park_timeout(Duration::from_millis(1));
    let gp = &forever(&world).gp;
    let ticket = gp.wait.begin();
    let second = {
        let world = world.clone();
        thread::spawn(move || {
            world.said[1].store(true, Ordering::Relaxed);
            end(gp, ticket, Cause::Ready);
        })
    };
    wait(gp, WaitReason::Io, ticket, NEVER);
    assert!(world.was_said(1), "an unpark has ended another wait");
    other.join().unwrap();
    second.join().unwrap();
}

/// Two unpark: who waits for both waits once or twice.
fn two_unparkers() {
    let world = World::new();
    let first = World::say(&world, 0);
    let second = World::say(&world, 1);
    while !(world.was_said(0) && world.was_said(1)) {
        park::park();
    }
    first.join().unwrap();
    second.join().unwrap();
}

fn with(left_out: Without, model: fn()) -> impl Fn() + Send + Sync + 'static {
    move || {
        without(left_out);
        model();
    }
}

#[test]
fn token_park_once() {
    holds(with(Without::Nothing, park_once));
}

#[test]
fn token_second() {
    holds(with(Without::Nothing, second_token));
}

#[test]
fn token_timed() {
    holds(with(Without::Nothing, timed));
}

#[test]
fn token_timed_twice() {
    holds(with(Without::Nothing, timed_twice));
}

#[test]
fn token_then_another_wait() {
    holds(with(Without::Nothing, then_another_wait));
}

#[test]
fn token_two_unparkers() {
    holds(with(Without::Nothing, two_unparkers));
}

#[test]
fn token_park_once_relaxed_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", with(Without::Nothing, park_once));
}

#[test]
fn token_timed_relaxed_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", with(Without::Nothing, timed));
}

#[test]
fn token_without_status_first_is_refuted() {
    refuted(Weak::No, "does not wait", with(Without::StatusFirst, park_once));
}

#[test]
fn token_then_another_wait_without_numbers_is_refuted() {
    refuted_without("numbers", "has ended another wait", with(Without::Nothing, then_another_wait));
}
