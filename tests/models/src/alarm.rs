//! Models of a goroutine's alarm (`timer/alarm.rs`), with what `timer/mod.rs` does around it, in functions
//! named as there. Times are small numbers; the heaps are those of two Ps.

use crate::base::atomic::Weak;
use crate::check::{holds, refuted, refuted_without};
use crate::g::wait::Ticket;
use crate::real::alarm::{Alarm, Due, Set};
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};

struct World {
    alarm: Alarm,
    /// The heaps of two Ps: times.
    heaps: [Mutex<Vec<u64>>; 2],
    /// The waits that were ended, and when.
    ended: std::sync::Mutex<Vec<(Ticket, u64)>>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            alarm: Alarm::new(),
            heaps: std::array::from_fn(|_| Mutex::new(Vec::new())),
            ended: std::sync::Mutex::new(Vec::new()),
        })
    }

    /// The goroutine, on the P number `p`. The number of a wait is the time it is to end.
    fn set(&self, p: usize, when: u64) {
        let set = self.alarm.set(when, Ticket(when));
        if set != Set::Standing {
            self.heaps[p].lock().unwrap().push(when);
        }
    }

    fn expire(&self, p: usize, now: u64) {
        let mut heap = self.heaps[p].lock().unwrap();
        while let Some(at) = heap.iter().position(|when| *when <= now) {
            let entry = heap.swap_remove(at);
            self.see_to(&mut heap, entry, now);
        }
    }

    fn see_to(&self, heap: &mut Vec<u64>, entry: u64, now: u64) {
        match self.alarm.take(entry, now) {
            Due::Stale | Due::Off => {}
            Due::Later(when) => heap.push(when),
            Due::Now(ticket) => self.ended.lock().unwrap().push((ticket, now)),
        }
    }

    fn expirer(this: &Arc<Self>, p: usize, now: u64) -> JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || world.expire(p, now))
    }

    /// At the end, with the alarm set for `when`: A1 and A2.
    fn check(&self, when: u64) {
        self.expire(0, when);
        self.expire(1, when);
        let ended = self.ended.lock().unwrap();
        assert!(ended.iter().any(|(ticket, _)| ticket.0 == when), "a set alarm was lost");
        for (ticket, now) in ended.iter() {
            assert!(ticket.0 <= *now, "a wait was ended before its time");
        }
    }
}

/// Set, taken back and set again for `second`, on P1, while the entry of the first time comes up on P0.
fn set_again(second: u64) -> impl Fn() + Send + Sync + 'static {
    set_again_at(second, 10)
}

/// The same; P0 is looked at at the time `now`.
fn set_again_at(second: u64, now: u64) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        world.set(0, 10);
        let other = World::expirer(&world, 0, now);
        world.alarm.clear();
        world.set(1, second);
        other.join().unwrap();
        world.check(second);
    }
}

/// Set for ever earlier times, so that there are stale entries on both Ps, which come up at once.
fn stale_entries() {
    let world = World::new();
    world.set(0, 10);
    world.alarm.clear();
    world.set(1, 5);
    let first = World::expirer(&world, 0, 10);
    let second = World::expirer(&world, 1, 10);
    world.alarm.clear();
    world.set(0, 20);
    first.join().unwrap();
    second.join().unwrap();
    world.check(20);
}

/// The same time once more, while its entry comes up.
fn same_time() {
    let world = World::new();
    world.set(0, 10);
    let other = World::expirer(&world, 0, 9);
    let second = World::expirer(&world, 0, 10);
    world.alarm.clear();
    world.set(1, 10);
    other.join().unwrap();
    second.join().unwrap();
    world.check(10);
}

#[test]
fn alarm_set_again_later() {
    holds(set_again(20));
}

#[test]
fn alarm_set_again_earlier() {
    holds(set_again(5));
}

#[test]
fn alarm_stale_entries() {
    holds(stale_entries);
}

#[test]
fn alarm_same_time() {
    holds(same_time);
}

#[test]
fn alarm_set_again_without_fences_is_refuted() {
    refuted(Weak::Fences, "a set alarm was lost", set_again(20));
}

#[test]
fn alarm_set_again_without_second_look_is_refuted() {
    refuted_without("the second look", "before its time", set_again(20));
}

#[test]
fn alarm_set_again_relaxed_is_refuted() {
    refuted(Weak::Orderings, "before its time", set_again(20));
}

#[test]
fn alarm_set_earlier_without_another_entry_is_refuted() {
    refuted_without("another entry", "a set alarm was lost", set_again_at(5, 4));
}

#[test]
fn alarm_set_again_without_what_is_put_back_is_refuted() {
    refuted_without("what is put back", "a set alarm was lost", set_again(20));
}
