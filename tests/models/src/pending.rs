//! Models of pending signals (`signals/nodes.rs`) and of how they find a goroutine that waits: SG3 and SG4.
//!
//! Repeated here: `keep`, `send` and `tell` of `signals/post.rs`, `publish`, `look` and `deliver` of
//! `signals/deliver.rs`, `wait` and `wait_until_signal` of `sched/wait.rs`.

use crate::base::atomic::{
    AtomicU32, AtomicU64, Kernel, Ordering, Weak, entry_barrier, heavy_barrier, with_kernel,
    with_sequence,
};
use crate::base::steps::lacks;
use crate::check::{holds, refuted, refuted_without, starves};
use crate::g::wait::{Cause, Claim, Ticket};
use crate::g::{G, current, forever};
use crate::real::signals::{Pending, bit};
use crate::sched::wait::end;
use loom::sync::Arc;
use loom::thread;

/// A standard signal, and a real-time one: the first of `FIRST_REAL_TIME` in the model.
const STANDARD: i32 = 1;
const REAL_TIME: i32 = 3;
const ALL: u64 = u64::MAX;

// Pending sets.

/// Two send a real-time signal, one of them twice, while the consumer takes: each comes once, and those of one sender in
/// their order.
fn queued() {
    with_sequence(true);
    let shared = Arc::new(Pending::new());
    let pending = forever(&shared);
    let other = thread::spawn(move || {
        pending.push(REAL_TIME, 1);
        pending.push(REAL_TIME, 2);
    });
    pending.push(REAL_TIME, 10);
    let mut values: Vec<i32> = Vec::new();
    let mut take_all = || {
        while let Some((signal, value)) = pending.take(ALL) {
            assert_eq!(signal, REAL_TIME);
            values.push(value);
        }
    };
    take_all();
    other.join().unwrap();
    take_all();
    let of_other: Vec<i32> = values.iter().copied().filter(|value| *value < 10).collect();
    assert!(values.len() == 3 && of_other == [1, 2], "a queued signal is lost, or out of order");
}

/// A standard signal is sent twice, and taken meanwhile: what its senders have done before is seen by a handler. So is the
/// next one.
fn standard() {
    with_sequence(true);
    let shared = Arc::new((Pending::new(), AtomicU32::new(0)));
    let world = forever(&shared);
    let (pending, work) = (&world.0, &world.1);
    let other = thread::spawn(move || {
        work.store(1, Ordering::Relaxed);
        pending.push(STANDARD, 0);
    });
    pending.push(STANDARD, 0);
    let mut seen = 0;
    let mut take_all = || {
        while pending.take(ALL).is_some() {
            seen = work.load(Ordering::Relaxed);
        }
    };
    take_all();
    other.join().unwrap();
    take_all();
    assert_eq!(seen, 1, "a signal is lost");
    pending.push(STANDARD, 0);
    assert!(pending.take(ALL).is_some(), "a signal is lost");
}

/// Nodes are used again by two at once: none is in two sets.
fn used_again() {
    with_sequence(true);
    let shared = Arc::new([Pending::new(), Pending::new()]);
    let sets = forever(&shared);
    // Two nodes that are free.
    sets[0].push(REAL_TIME, 0);
    sets[0].push(REAL_TIME, 0);
    assert!(sets[0].take(ALL).is_some() && sets[0].take(ALL).is_some());
    let other = thread::spawn(move || {
        sets[1].push(REAL_TIME, 1);
        sets[1].push(REAL_TIME, 2);
        assert_eq!(sets[1].take(ALL), Some((REAL_TIME, 1)), "a node is in two sets");
        sets[1].push(REAL_TIME, 3);
    });
    sets[0].push(REAL_TIME, 10);
    other.join().unwrap();
    assert_eq!(sets[0].take(ALL), Some((REAL_TIME, 10)), "a node is in two sets");
    assert_eq!(sets[1].take(ALL), Some((REAL_TIME, 2)), "a node is in two sets");
    assert_eq!(sets[1].take(ALL), Some((REAL_TIME, 3)), "a node is in two sets");
}

#[test]
fn pending_queued() {
    holds(queued);
}

#[test]
fn pending_queued_relaxed_is_refuted() {
    refuted(Weak::Orderings, "", queued);
}

#[test]
fn pending_queued_with_the_bit_before_the_node_is_refuted() {
    refuted_without("the node first", "a queued signal is lost", queued);
}

#[test]
fn pending_queued_without_the_bit_of_the_rest_is_refuted() {
    refuted_without("the bit of the rest", "a queued signal is lost", queued);
}

#[test]
fn pending_standard() {
    holds(standard);
}

#[test]
fn pending_standard_with_the_bit_cleared_last_is_refuted() {
    refuted_without("the bit first", "a signal is lost", standard);
}

#[test]
fn pending_used_again() {
    holds(used_again);
}

#[test]
fn pending_used_again_uncounted_is_refuted() {
    refuted_without("counting", "", used_again);
}

// A goroutine, and signals for it.

struct World {
    gp: G,
    /// Of `g::pending`, the bit of signals.
    told: AtomicU64,
    mask: AtomicU64,
    ticket: AtomicU64,
    pending: Pending,
    /// How many handlers have run.
    ran: AtomicU32,
}

const BREAK: u64 = 1;
const PAUSE: u64 = 2;

impl World {
    /// The calling thread is the goroutine, which blocks `mask`.
    fn new(mask: u64) -> &'static Self {
        let world = Arc::new(Self {
            gp: G::new(),
            told: AtomicU64::new(0),
            mask: AtomicU64::new(mask),
            ticket: AtomicU64::new(0),
            pending: Pending::new(),
            ran: AtomicU32::new(0),
        });
        let world = forever(&world);
        current::set_g(&world.gp);
        world
    }

    fn send(&self, signal: i32) {
        self.pending.push(signal, 0);
        self.told.fetch_or(1, Ordering::SeqCst);
        self.tell();
    }

    fn tell(&self) {
        self.told.fetch_or(1, Ordering::SeqCst);
        heavy_barrier();
        let word = self.ticket.load(Ordering::SeqCst);
        let ticket = Ticket(word & !3);
        let is_parked = match word & 3 {
            BREAK => self.gp.wait.claim(ticket, Cause::Signal) == Claim::Parked,
            PAUSE => self.gp.wait.interrupt(ticket),
            _ => return, // it runs: the end of its section finds the bit
        };
        if is_parked {
            self.gp.ready();
        }
    }

    fn publish(&self, ticket: Ticket, how: u64) -> bool {
        self.ticket.store(ticket.0 | how, Ordering::Relaxed);
        entry_barrier();
        !lacks("looking after publishing") && self.told.load(Ordering::Relaxed) != 0
    }

    fn withdraw(&self) {
        self.ticket.store(0, Ordering::Relaxed);
    }

    fn deliver(&self, handler: impl Fn()) {
        loop {
            let late = lacks("the bit before the sets");
            if !late {
                self.told.fetch_and(0, Ordering::SeqCst);
            }
            let allowed = !self.mask.load(Ordering::SeqCst);
            let Some(_) = self.pending.take(allowed) else {
                if late {
                    self.told.fetch_and(0, Ordering::SeqCst);
                }
                return;
            };
            self.ran.fetch_add(1, Ordering::Relaxed);
            handler();
        }
    }

    /// The end of a section.
    fn leave(&self, handler: impl Fn()) {
        if self.told.load(Ordering::Relaxed) != 0 {
            self.deliver(handler);
        }
    }

    fn wait_until_signal(&'static self) -> Option<Cause> {
        let gp = &self.gp;
        let ticket = gp.wait.begin();
        if self.publish(ticket, BREAK) {
            let _ = gp.wait.claim(ticket, Cause::Signal);
        }
        if gp.wait.cause().is_none() {
            gp.park(|| gp.wait.park(ticket), || {});
        }
        self.withdraw();
        gp.wait.cause()
    }

    /// Waits for something that a handler brings about.
    fn wait_for_handler(&'static self) {
        let gp = &self.gp;
        let ticket = gp.wait.begin();
        let handler = || end(gp, ticket, Cause::Ready);
        while gp.wait.cause().is_none() {
            if self.publish(ticket, PAUSE) {
                self.withdraw();
                self.deliver(handler);
            } else {
                gp.park(|| gp.wait.park(ticket) && !self.is_to_look_up(ticket), || {});
            }
        }
        self.withdraw();
    }

    /// A signal that came before the goroutine had parked did not wake it.
    fn is_to_look_up(&self, ticket: Ticket) -> bool {
        entry_barrier();
        !lacks("looking once parked")
            && self.told.load(Ordering::Relaxed) != 0
            && self.gp.wait.interrupt(ticket)
    }

    fn set_mask(&self, mask: u64) {
        self.mask.store(mask, Ordering::SeqCst);
        let is_due = self.pending.bits() & !mask != 0;
        if is_due && !lacks("looking at what is due") {
            self.told.fetch_or(1, Ordering::SeqCst);
        }
    }

    fn has_run(&self) -> bool {
        self.ran.load(Ordering::Relaxed) != 0
    }
}

/// A signal is sent to a goroutine that waits for any, as in `pause`.
fn ends_a_wait(kernel: Kernel) {
    with_sequence(true);
    with_kernel(kernel);
    let world = World::new(0);
    let other = thread::spawn(move || world.send(STANDARD));
    while !world.has_run() {
        world.wait_until_signal();
        world.leave(|| {});
    }
    other.join().unwrap();
    assert_eq!(world.ran.load(Ordering::Relaxed), 1, "a handler runs once");
}

/// A goroutine waits for what the signal's handler does, on that goroutine.
fn pauses_a_wait(kernel: Kernel) {
    with_sequence(true);
    with_kernel(kernel);
    let world = World::new(0);
    let other = thread::spawn(move || world.send(STANDARD));
    world.wait_for_handler();
    world.leave(|| {});
    other.join().unwrap();
    assert_eq!(world.ran.load(Ordering::Relaxed), 1, "a handler runs once");
}

/// A signal that is blocked when it is sent, and let through while the goroutine goes on to wait.
fn is_let_through() {
    with_sequence(true);
    with_kernel(Kernel::Barriers);
    let world = World::new(bit(STANDARD));
    let other = thread::spawn(move || world.send(STANDARD));
    world.leave(|| {});
    assert!(!world.has_run(), "a handler of a blocked signal runs");
    world.set_mask(0);
    world.leave(|| {});
    while !world.has_run() {
        world.wait_until_signal();
        world.leave(|| {});
    }
    other.join().unwrap();
}

/// Two signals come, one after the other, to a goroutine that waits for both handlers.
fn two_come() {
    with_sequence(true);
    with_kernel(Kernel::Barriers);
    let world = World::new(0);
    let other = thread::spawn(move || {
        world.send(STANDARD);
        world.send(REAL_TIME);
    });
    while world.ran.load(Ordering::Relaxed) < 2 {
        world.wait_until_signal();
        world.leave(|| {});
    }
    other.join().unwrap();
}

#[test]
fn pending_ends_a_wait() {
    holds(|| ends_a_wait(Kernel::Barriers));
}

#[test]
fn pending_ends_a_wait_without_barriers() {
    holds(|| ends_a_wait(Kernel::Nothing));
}

#[test]
fn pending_ends_a_wait_unlooked_at_is_refuted() {
    starves(Weak::No, "looking after publishing", || ends_a_wait(Kernel::Barriers));
}

#[test]
fn pending_ends_a_wait_without_light_barrier_is_refuted() {
    starves(Weak::Light, "", || ends_a_wait(Kernel::Barriers));
}

#[test]
fn pending_ends_a_wait_unpaid_is_refuted() {
    starves(Weak::No, "paying for entries", || ends_a_wait(Kernel::Nothing));
}

#[test]
fn pending_pauses_a_wait() {
    holds(|| pauses_a_wait(Kernel::Barriers));
}

#[test]
fn pending_pauses_a_wait_without_barriers() {
    holds(|| pauses_a_wait(Kernel::Nothing));
}

#[test]
fn pending_pauses_a_wait_unlooked_at_once_parked_is_refuted() {
    starves(Weak::No, "looking once parked", || pauses_a_wait(Kernel::Barriers));
}

#[test]
fn pending_pauses_a_wait_unpaid_is_refuted() {
    starves(Weak::No, "paying for entries", || pauses_a_wait(Kernel::Nothing));
}

#[test]
fn pending_is_let_through() {
    holds(is_let_through);
}

#[test]
fn pending_is_let_through_unlooked_at_is_refuted() {
    starves(Weak::No, "looking at what is due", is_let_through);
}

#[test]
fn pending_two_come() {
    holds(two_come);
}

#[test]
fn pending_two_come_with_the_bit_cleared_last_is_refuted() {
    starves(Weak::No, "the bit before the sets", two_come);
}
