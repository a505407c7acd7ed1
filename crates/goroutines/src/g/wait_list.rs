//! Goroutines that wait in a queue and may leave it early.
//!
//! A [`Waiting`] stands on the stack of the goroutine that waits, in one [`WaitList`], under that
//! list's lock. The waker that takes it out under the lock, and claims its goroutine there
//! (`wait.rs`), has ended the wait; a goroutine whose wait was ended otherwise takes it out itself.
//! So nobody looks at it after the goroutine has gone on.

use super::G;
use super::wait::{Cause, Claim, Ticket};
use crate::g::task::{RunList, Runnable};
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ptr::null;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    gp: &'static G,
    ticket: Ticket,
    /// What it waits for, in a list that is shared by several things. Changed under the list's lock
    /// only.
    key: AtomicUsize,
    /// Which kind of it; as the list's owner says.
    pub(crate) bits: u32,
    /// Since when, where that matters to the list's owner.
    pub(crate) since_ns: u64,
    next: Cell<*const Waiting>,
    prev: Cell<*const Waiting>,
    queued: Cell<bool>,
    _pinned: PhantomPinned,
}

// SAFETY: cells are touched under the lock of the list it is for; the rest is not changed.
unsafe impl Sync for Waiting {}

impl Waiting {
    pub(crate) fn new(gp: &'static G, ticket: Ticket, key: usize, bits: u32) -> Self {
        Self {
            gp,
            ticket,
            key: AtomicUsize::new(key),
            bits,
            since_ns: 0,
            next: Cell::new(null()),
            prev: Cell::new(null()),
            queued: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }

    /// What it waits for.
    pub(crate) fn key(&self) -> usize {
        self.key.load(Ordering::Relaxed)
    }
}

/// A first-in, first-out list of them.
#[derive(Debug)]
pub(crate) struct WaitList {
    head: *const Waiting,
    tail: *const Waiting,
}

// SAFETY: those in it are Sync, and stay where they are.
unsafe impl Send for WaitList {}

impl WaitList {
    pub(crate) const fn new() -> Self {
        Self { head: null(), tail: null() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Appends.
    ///
    /// # Safety
    /// * It stays where it is until it was taken out, and is in no list.
    pub(crate) unsafe fn push(&mut self, one: &Waiting) {
        one.queued.set(true);
        one.next.set(null());
        one.prev.set(self.tail);
        // SAFETY: those in the list stay where they are.
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail.next.set(one),
            None => self.head = one,
        }
        self.tail = one;
    }

    /// Takes it out; false if somebody has.
    pub(crate) fn remove(&mut self, one: &Waiting) -> bool {
        if !one.queued.replace(false) {
            return false;
        }
        // SAFETY: neighbours in the list, which stay where they are.
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

    /// Has up to `most` of those that wait for `from` wait for `to`, first to last: in the list
    /// `into`, or where they are. Returns how many.
    ///
    /// # Safety
    /// * The caller has the locks of both lists.
    pub(crate) unsafe fn hand_over(
        &mut self,
        mut into: Option<&mut Self>,
        (from, to): (usize, usize),
        most: usize,
    ) -> usize {
        let mut moved = 0;
        let mut at = self.head;
        while moved < most {
            // SAFETY: in the list, under its lock.
            let Some(one) = (unsafe { at.as_ref() }) else { break };
            at = one.next.get();
            if one.key() != from || one.gp.wait.is_over(one.ticket) {
                continue;
            }
            one.key.store(to, Ordering::Relaxed);
            if let Some(into) = &mut into {
                self.remove(one);
                // SAFETY: it stays where it is, as before, and is in no list now.
                unsafe { into.push(one) };
            }
            moved += 1;
        }
        moved
    }

    /// Ends the waits of up to `most` of those that `want` chooses, first to last, and takes them
    /// out; the goroutines that are to be readied go to `out`. How many were ended, and how many
    /// taken out.
    pub(crate) fn end(
        &mut self,
        cause: Cause,
        most: usize,
        out: &mut RunList,
        mut want: impl FnMut(&Waiting) -> bool,
    ) -> (usize, usize) {
        let (mut ended, mut taken) = (0, 0);
        let mut at = self.head;
        while ended < most {
            // SAFETY: in the list, under its lock.
            let Some(one) = (unsafe { at.as_ref() }) else { break };
            at = one.next.get();
            if !want(one) {
                continue;
            }
            let gp = one.gp;
            self.remove(one);
            taken += 1;
            match gp.wait.claim(one.ticket, cause) {
                Claim::Late => continue,
                Claim::Awake => {}
                Claim::Parked => out.push_back(Runnable::of_g(gp)),
            }
            ended += 1;
        }
        (ended, taken)
    }
}
