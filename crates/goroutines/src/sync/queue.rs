//! Those who wait for their turn, and may give up: goroutines and ordinary threads in one queue.
//!
//! Previous: `semaphore.rs` decides, under its lock, whose turn has come. Next: `sched/ready.rs`.
//!
//! **The problem.** A `WaitQueue` (`sched/park.rs`) has both kinds in it, but no waiter leaves it
//! before it is woken; a `WaitList` (`g/wait_list.rs`) can be left, but has goroutines only. A
//! waiter with a time-out here must be able to leave from the middle, and what it was given in the
//! same moment must not be lost.
//!
//! **Chosen.** One [`Waiter`] on the stack of the goroutine or thread that waits, in one doubly
//! linked [`Queue`], under the lock of its owner. The caller that ends a wait takes the waiter out
//! under the lock, and wakes it without the lock ([`Woken`]).
//!
//! * Q1: of a turn that comes and a time that is over, one wins. For a goroutine the claim of its
//!   wait (`g/wait.rs`) decides, which is made under the lock: a goroutine that is found to be late
//!   gets nothing, and the turn is the next one's. For a thread, the side that takes it out of the
//!   queue decides.
//! * Q2: nobody looks at a goroutine's waiter after the lock was released, as it may be gone. A
//!   thread that was taken out stays until its word is set, also if its time is over meanwhile
//!   ([`Waiter::is_served`]).
//! * Q3: a waiter that has given up is out of the queue before it returns.

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::task::{RunList, Runnable};
use crate::g::wait::{Cause, Claim, Ticket};
use crate::g::{G, current};
use crate::sched::{SCHED, ready, wait, wake};
use crate::timer::alarm::NEVER;
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ptr::null;
use std::time::Duration;

const WAITING: u32 = 0;
const SERVED: u32 = 1;

/// One who waits.
pub(super) struct Waiter {
    who: Who,
    /// How much it waits for.
    wanted: u64,
    is_queued: Cell<bool>,
    /// The links of its queue; `next` is that of [`Woken`] afterwards.
    next: Cell<*const Waiter>,
    prev: Cell<*const Waiter>,
    _pinned: PhantomPinned,
}

enum Who {
    /// A goroutine, in a wait that it has begun.
    Goroutine(&'static G, Ticket),
    /// An ordinary thread, which sleeps while its word is [`WAITING`].
    Thread(AtomicU32),
}

// SAFETY: cells are touched under the lock of the queue, and by the caller that has taken the
// waiter out (Q2).
unsafe impl Sync for Waiter {}

impl Waiter {
    /// That of the caller, which is about to wait for `wanted`. In a section, to the end of the
    /// wait.
    pub(super) fn new(wanted: u64) -> Self {
        let who = match current::running() {
            Some(gp) => Who::Goroutine(gp, gp.wait.begin()),
            None => Who::Thread(AtomicU32::new(WAITING)),
        };
        Self {
            who,
            wanted,
            is_queued: Cell::new(false),
            next: Cell::new(null()),
            prev: Cell::new(null()),
            _pinned: PhantomPinned,
        }
    }

    /// Waits until it was served, at the latest until `until` (monotonic ns, or [`NEVER`]). False:
    /// the time is over, and the waiter is to be taken out of its queue.
    pub(super) fn wait(&self, reason: WaitReason, until: u64) -> bool {
        match &self.who {
            Who::Goroutine(gp, ticket) => wait::wait(gp, reason, *ticket, until) == Cause::Ready,
            Who::Thread(word) => sleep(word, until),
        }
    }

    /// Whether it was served, where its time was over and it was no longer in its queue.
    #[cold]
    pub(super) fn is_served(&self) -> bool {
        match &self.who {
            // Q1: it was found to be late.
            Who::Goroutine(..) => false,
            // Q2: the caller that has taken it out is about to set the word.
            Who::Thread(word) => sleep(word, NEVER),
        }
    }
}

fn sleep(word: &AtomicU32, until: u64) -> bool {
    // Acquire: pairs with serve().
    while word.load(Ordering::Acquire) == WAITING {
        let left = match until {
            NEVER => None,
            until => match until.saturating_sub(sys::nanotime()) {
                0 => return false,
                ns => Some(Duration::from_nanos(ns)),
            },
        };
        sys::futex_wait(word, WAITING, left);
    }
    true
}

/// A first-in, first-out queue of those who wait.
pub(super) struct Queue {
    head: *const Waiter,
    tail: *const Waiter,
}

// SAFETY: those in it are Sync, and stay where they are.
unsafe impl Send for Queue {}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { head: null(), tail: null() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Appends.
    ///
    /// # Safety
    /// * It stays where it is until it was served or removed, and is in no queue.
    pub(super) unsafe fn push(&mut self, one: &Waiter) {
        one.is_queued.set(true);
        one.next.set(null());
        one.prev.set(self.tail);
        // SAFETY: those in the queue stay where they are.
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail.next.set(one),
            None => self.head = one,
        }
        self.tail = one;
    }

    /// Takes it out; false if somebody has.
    pub(super) fn remove(&mut self, one: &Waiter) -> bool {
        if !one.is_queued.replace(false) {
            return false;
        }
        // SAFETY: neighbours in the queue, which stay where they are.
        unsafe {
            match one.prev.get().as_ref() {
                Some(prev) => prev.next.set(one.next.get()),
                None => self.head = one.next.get(),
            }
            match one.next.get().as_ref() {
                Some(next) => next.prev.set(one.prev.get()),
                None => self.tail = one.prev.get(),
            }
        }
        true
    }

    /// How much the first waits for.
    pub(super) fn first_wants(&self) -> Option<u64> {
        // SAFETY: in the queue, so it stays where it is.
        unsafe { self.head.as_ref() }.map(|first| first.wanted)
    }

    /// Takes the first out, and ends its wait: it is to be woken with `woken`. False if its time
    /// was over before: it gets nothing.
    pub(super) fn serve_first(&mut self, woken: &mut Woken) -> bool {
        let at = self.head;
        // SAFETY: in the queue, so it stays where it is.
        let Some(first) = (unsafe { at.as_ref() }) else { return false };
        self.remove(first);
        match first.who {
            Who::Goroutine(gp, ticket) => match gp.wait.claim(ticket, Cause::Ready) {
                Claim::Late => return false, // Q1
                Claim::Awake => {}
                Claim::Parked => woken.goroutines.push_back(Runnable::of_g(gp)),
            },
            Who::Thread(_) => woken.push_thread(at),
        }
        true
    }
}

/// Waiters whose waits were ended under a lock, and that are to be woken without it.
#[must_use]
pub(super) struct Woken {
    goroutines: RunList,
    /// Threads, linked through `next`.
    first: *const Waiter,
    last: *const Waiter,
}

impl Woken {
    pub(super) fn new() -> Self {
        Self { goroutines: RunList::new(), first: null(), last: null() }
    }

    fn push_thread(&mut self, at: *const Waiter) {
        // SAFETY: threads that were taken out stay until they are woken (Q2).
        unsafe {
            (*at).next.set(null());
            match self.last.as_ref() {
                Some(last) => last.next.set(at),
                None => self.first = at,
            }
        }
        self.last = at;
    }

    /// Wakes them, first to last. In a section, without the lock.
    pub(super) fn wake(mut self) {
        match self.goroutines.len() {
            0 => {}
            // A forked child has its own goroutine only, whichever goroutines waited in the parent.
            _ if SCHED.is_forked() => {}
            // Just one: next on this P.
            1 => {
                if let Some(one) = ready::pop_waiting(&mut self.goroutines) {
                    ready::enqueue(one);
                    wake::wakep();
                }
            }
            _ => ready::ready_all(&mut self.goroutines),
        }
        let mut at = self.first;
        while !at.is_null() {
            // SAFETY: as in push_thread(); with its word it may be gone, so it was looked at
            // before.
            unsafe {
                let next = (*at).next.get();
                if let Who::Thread(word) = &(*at).who {
                    serve(word);
                }
                at = next;
            }
        }
    }
}

/// Sets a thread's word, which may be gone with it then, and wakes it.
fn serve(word: *const AtomicU32) {
    // SAFETY: the thread stays until its word is set (Q2). Release: pairs with sleep().
    unsafe { (*word).store(SERVED, Ordering::Release) };
    sys::futex_wake(word, 1);
}
