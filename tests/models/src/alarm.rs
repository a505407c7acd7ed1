//! Models of a goroutine's alarm (`timer/alarm.rs`), with what `timer/mod.rs` does around it: an alarm that is
//! set rings, and none rings for the wait after the one it was set for.

use crate::base::atomic::Weak;
use crate::check::{holds, refuted};
use crate::g::wait::Ticket;
use crate::real::alarm::{Alarm, Due, Set};
use loom::sync::{Arc, Mutex};
use loom::thread;

const EARLY: u64 = 10;
const LATE: u64 = 20;

struct World {
    alarm: Alarm,
    /// The heap: entries of this one alarm.
    heap: Mutex<Vec<u64>>,
    /// What rang, as (ticket, time it was).
    rang: Mutex<Vec<(u64, u64)>>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            alarm: Alarm::new(),
            heap: Mutex::new(Vec::new()),
            rang: Mutex::new(Vec::new()),
        })
    }

    /// `Timers::set`.
    fn set(&self, when: u64, ticket: u64) {
        if self.alarm.set(when, Ticket(ticket)) != Set::Standing {
            self.heap.lock().unwrap().push(when);
        }
    }

    /// `Timers::expire`.
    fn expire(&self, now: u64) {
        let mut heap = self.heap.lock().unwrap();
        while let Some(at) = heap.iter().position(|when| *when <= now) {
            let entry = heap.swap_remove(at);
            match self.alarm.take(entry, now) {
                Due::Stale | Due::Off => {}
                Due::Later(when) => heap.push(when),
                Due::Now(ticket) => self.rang.lock().unwrap().push((ticket.0, now)),
            }
        }
    }
}

/// Set for an early time, taken back and set for a later one, while the heap comes to the first: the second
/// rings, in its time.
fn set_again() {
    let world = World::new();
    world.set(EARLY, 1);
    let heap = world.clone();
    let expires = thread::spawn(move || heap.expire(EARLY));
    world.alarm.clear();
    world.set(LATE, 2);
    expires.join().unwrap();
    world.expire(LATE);
    let rang = world.rang.lock().unwrap();
    assert!(rang.contains(&(2, LATE)), "it did not ring: {rang:?}");
    assert!(!rang.contains(&(2, EARLY)), "it rang too early: {rang:?}");
}

/// The other way round: set for an earlier time than the entry that is there.
fn set_earlier() {
    let world = World::new();
    world.set(LATE, 1);
    let heap = world.clone();
    let expires = thread::spawn(move || heap.expire(LATE));
    world.alarm.clear();
    world.set(EARLY, 2);
    expires.join().unwrap();
    world.expire(LATE);
    let rang = world.rang.lock().unwrap();
    assert!(rang.iter().any(|(ticket, _)| *ticket == 2), "it did not ring: {rang:?}");
}

/// The heap's side as it would be without the second look at the time (A2).
fn one_look() {
    let world = World::new();
    world.set(EARLY, 1);
    let heap = world.clone();
    let expires = thread::spawn(move || {
        heap.heap.lock().unwrap().clear();
        heap.alarm.take_with_one_look(EARLY, EARLY)
    });
    world.alarm.clear();
    world.set(LATE, 2);
    if let Due::Now(ticket) = expires.join().unwrap() {
        assert_eq!(ticket, Ticket(1), "the next wait's alarm rang too early");
    }
}

#[test]
fn alarm_set_again() {
    holds(set_again);
}

#[test]
fn alarm_set_earlier() {
    holds(set_earlier);
}

#[test]
fn alarm_set_again_relaxed_is_refuted() {
    refuted(Weak::Orderings, "", set_again);
}

#[test]
fn alarm_set_again_without_fences_is_refuted() {
    refuted(Weak::Fences, "did not ring", set_again);
}

#[test]
fn alarm_with_one_look_is_refuted() {
    refuted(Weak::No, "too early", one_look);
}
