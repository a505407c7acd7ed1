//! Models of functions that are called later (`timer/call.rs`, `sched/later.rs`), over `timer/alarm.rs` and the
//! twin of a heap. Times are small numbers; the Ps are two.

use crate::base::atomic::Weak;
use crate::check::{falls, holds};
use crate::g::forever;
use crate::p::P;
use crate::sched::later::Later;
use crate::sched::{join_started, set_p, start_on};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::cell::Cell;
use std::panic::Location;
use std::sync::Mutex;
use std::time::Duration;

struct World {
    ps: [P; 2],
    /// The calls that were made, and when.
    made: std::sync::Arc<Mutex<Vec<(u32, u64)>>>,
}

loom::thread_local! {
    /// What the time is for who looks at a heap.
    static NOW: Cell<u64> = Cell::new(0);
}

impl World {
    /// The model's own thread is a goroutine on P0; those that are started are on P1.
    fn new() -> Arc<Self> {
        let ps = std::array::from_fn(|_| P::new());
        let world = Arc::new(Self { ps, made: std::sync::Arc::default() });
        start_on(&forever(&world).ps[1]);
        Self::goes_to(&world, 0);
        world
    }

    /// The calling goroutine goes to another P.
    fn goes_to(this: &Arc<Self>, p: usize) {
        set_p(Some(&forever(this).ps[p]));
    }

    /// Has number `id` called at the time `when`.
    fn arm(&self, later: &Later, id: u32, when: u64) -> bool {
        let made = self.made.clone();
        let call = move || made.lock().unwrap().push((id, NOW.with(Cell::get)));
        later.arm(Duration::from_nanos(when), Location::caller(), call)
    }

    fn expire(&self, p: usize, now: u64) {
        NOW.with(|at| at.set(now));
        self.ps[p].timers.expire(now);
    }

    fn expirer(this: &Arc<Self>, p: usize, now: u64) -> JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || world.expire(p, now))
    }

    /// Another goroutine, on P1.
    fn other(this: &Arc<Self>, f: impl FnOnce(&Self) + 'static) -> JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || {
            Self::goes_to(&world, 1);
            f(&world);
        })
    }

    /// How often number `id` was called when the time is `now`; not before `when`.
    fn calls(&self, id: u32, when: u64, now: u64) -> u32 {
        self.expire(0, now);
        self.expire(1, now);
        let made = self.made.lock().unwrap();
        let of_id = made.iter().filter(|one| one.0 == id);
        of_id.map(|one| assert!(one.1 >= when, "called before its time")).count() as u32
    }
}

/// The time comes while it is disarmed.
fn disarmed() {
    let world = World::new();
    let later = Later::new();
    assert!(!world.arm(&later, 1, 10), "there was nothing");
    let other = World::expirer(&world, 0, 10);
    let was_armed = later.disarm();
    other.join().unwrap();
    assert_eq!(world.calls(1, 10, 10) + u32::from(was_armed), 1, "called, or disarmed");
}

/// At the time `now` another call takes the place, which is due at the time `second`; on another P.
fn armed_again(second: u64, now: u64) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let later = Later::new();
        world.arm(&later, 1, 10);
        let other = World::expirer(&world, 0, now);
        World::goes_to(&world, 1);
        let was_armed = world.arm(&later, 2, second);
        other.join().unwrap();
        assert_eq!(world.calls(2, second, second), 1, "the second is called in time");
        assert_eq!(world.calls(1, 10, 20) + u32::from(was_armed), 1, "called, or replaced");
    }
}

/// Two arm it, for different times.
fn armed_by_two() {
    let world = World::new();
    let later = std::sync::Arc::new(Later::new());
    let first = later.clone();
    let replaced = std::sync::Arc::new(Mutex::new(Vec::new()));
    let by_first = replaced.clone();
    let other = World::other(&world, move |world| {
        if world.arm(&first, 1, 10) {
            by_first.lock().unwrap().push(2);
        }
    });
    if world.arm(&later, 2, 5) {
        replaced.lock().unwrap().push(1);
    }
    other.join().unwrap();
    let replaced = replaced.lock().unwrap();
    assert_eq!(replaced.len(), 1, "one is armed");
    assert_eq!(world.calls(2, 5, 5), u32::from(replaced[0] == 1), "called in time, or replaced");
    assert_eq!(world.calls(1, 10, 10), u32::from(replaced[0] == 2), "called in time, or replaced");
}

/// One arms it, another disarms it, and the time comes.
fn armed_and_disarmed() {
    let world = World::new();
    let later = std::sync::Arc::new(Later::new());
    let was_armed = std::sync::Arc::new(Mutex::new(false));
    let (second, flag) = (later.clone(), was_armed.clone());
    let other = World::other(&world, move |_| *flag.lock().unwrap() = second.disarm());
    let third = World::expirer(&world, 0, 10);
    world.arm(&later, 1, 10);
    other.join().unwrap();
    third.join().unwrap();
    let was_armed = *was_armed.lock().unwrap();
    assert_eq!(world.calls(1, 10, 10) + u32::from(was_armed), 1, "called, or disarmed");
}

/// A thread arms it, so that a goroutine sets its alarm; and disarms it, or gives it up.
fn armed_by_thread(disarms: bool) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        set_p(None);
        let later = Later::new();
        world.arm(&later, 1, 10);
        let other = World::expirer(&world, 1, 10);
        let was_armed = disarms && later.disarm();
        drop(later);
        join_started();
        other.join().unwrap();
        assert_eq!(world.calls(1, 10, 10) + u32::from(was_armed), 1, "called, or disarmed");
    }
}

/// Its owner has given it up, armed or not, and another has it, while the first one's time comes.
fn used_again(disarms: bool) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let first = Later::new();
        world.arm(&first, 1, 10);
        let other = World::expirer(&world, 0, 10);
        let was_armed = disarms && first.disarm();
        drop(first);
        let second = Later::new();
        World::goes_to(&world, 1);
        assert!(!world.arm(&second, 2, 20), "there was another owner's");
        other.join().unwrap();
        assert_eq!(world.calls(1, 10, 10) + u32::from(was_armed), 1, "called, or disarmed");
        assert_eq!(world.calls(2, 20, 20), 1, "the second is called in time");
    }
}

/// The same, with an entry of the first owner's that is stale, and of the time that the second one wants.
fn used_again_with_stale_entry() {
    let world = World::new();
    let first = Later::new();
    world.arm(&first, 1, 10);
    World::goes_to(&world, 1);
    assert!(world.arm(&first, 2, 5), "the first is replaced");
    assert!(first.disarm());
    drop(first);
    let early = World::expirer(&world, 1, 5);
    let late = World::expirer(&world, 0, 10);
    let second = Later::new();
    world.arm(&second, 3, 10);
    early.join().unwrap();
    late.join().unwrap();
    assert_eq!(world.calls(3, 10, 10), 1, "called in time");
    assert_eq!(world.calls(1, 0, 10) + world.calls(2, 0, 10), 0, "called though it was disarmed");
}

#[test]
fn call_used_again_with_stale_entry() {
    holds(used_again_with_stale_entry);
}

#[test]
fn call_disarmed() {
    holds(disarmed);
}

#[test]
fn call_armed_again_later() {
    holds(armed_again(20, 10));
}

#[test]
fn call_armed_again_earlier() {
    holds(armed_again(5, 10));
}

#[test]
fn call_armed_again_before_its_time() {
    holds(armed_again(5, 4));
}

#[test]
fn call_armed_again_same_time() {
    holds(armed_again(10, 10));
}

#[test]
fn call_armed_by_two() {
    holds(armed_by_two);
}

#[test]
fn call_armed_and_disarmed() {
    holds(armed_and_disarmed);
}

#[test]
fn call_armed_by_thread() {
    holds(armed_by_thread(true));
}

#[test]
fn call_armed_by_thread_and_given_up() {
    holds(armed_by_thread(false));
}

#[test]
fn call_used_again() {
    holds(used_again(true));
}

#[test]
fn call_used_again_armed() {
    holds(used_again(false));
}

#[test]
fn call_armed_again_without_looking_at_the_time_is_refuted() {
    falls(Weak::No, "looking at the time", "called before its time", armed_again(20, 10));
}

#[test]
fn call_armed_by_two_without_one_at_a_time_is_refuted() {
    falls(Weak::No, "one at a time", "in time, or replaced", armed_by_two);
}

#[test]
fn call_used_again_without_keeping_what_is_armed_is_refuted() {
    falls(Weak::No, "keeping what is armed", "another owner's", used_again(false));
}

#[test]
fn call_armed_again_without_fences_is_refuted() {
    falls(Weak::Fences, "", "called in time", armed_again(20, 10));
}
