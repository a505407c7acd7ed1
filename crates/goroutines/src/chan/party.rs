//! What waits for a channel: goroutines and ordinary threads, for one operation or for several.
//!
//! A [`Party`] is one waiter; a [`Sudog`] (Go's name) is one of the operations it waits for, and
//! stands in a queue of that operation's channel, under the channel's lock. Both are on the
//! waiter's stack.
//!
//! The party's wait is a [`WaitWord`] (`g/wait.rs`), a goroutine's own or, for a thread, one in the
//! party: the peer that claims the word ends the wait, does the operation on the waiter's behalf,
//! still under the channel's lock, and wakes the waiter afterwards. Time-outs claim the word too.
//!
//! * P1: the word is `Parked` before any lock is released under which a sudog of it was enlisted:
//!   the commit of the park unlocks. So a peer finds it parked, or ended, and never in between.
//! * P2: the peer that claims takes the sudog out of its queue; the waiter that was woken takes its
//!   others out before it returns. So a queue holds no sudog whose party is gone.
//! * P3: `value`, `outcome`, `partner` and `winner` are written under the channel's lock by the
//!   peer that claimed, before the wake, and read after it.

use crate::base::fatal::throw;
use crate::base::sys;
use crate::g::G;
use crate::g::current::Section;
use crate::g::reason::WaitReason;
use crate::g::task::{RunList, Runnable};
use crate::g::wait::{Cause, Claim, Ticket, WaitWord};
use crate::sched::{ambient, park, ready};
use crate::timer::alarm::NEVER;
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ptr::{NonNull, null};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// One waiter.
pub(crate) struct Party {
    gp: Option<&'static G>,
    ticket: Cell<Ticket>,
    /// The sudog whose operation was done.
    winner: Cell<*const Sudog>,
    /// A thread's word, and whether it may go on.
    word: WaitWord,
    woken: AtomicU32,
    /// The next in a list of those to wake.
    next: Cell<*const Party>,
}

impl Party {
    /// The calling goroutine or thread, in its section.
    #[inline]
    pub(crate) fn new(section: &Section) -> Self {
        Self {
            gp: section.g(),
            ticket: Cell::new(Ticket(0)),
            winner: Cell::new(null()),
            word: WaitWord::new(),
            woken: AtomicU32::new(0),
            next: Cell::new(null()),
        }
    }

    #[inline]
    fn word(&self) -> &WaitWord {
        self.gp.map_or(&self.word, |gp| &gp.wait)
    }

    /// Begins a wait: before a sudog of it is enlisted.
    #[inline]
    pub(crate) fn begin(&self) {
        self.winner.set(null());
        self.ticket.set(self.word().begin());
    }

    /// The operation that was done, if that is what ended the wait.
    #[inline]
    pub(crate) fn winner(&self) -> Option<&Sudog> {
        // SAFETY: one of the party's own, which is alive as long as the party waits for it.
        unsafe { self.winner.get().as_ref() }
    }

    /// Ends the wait on behalf of `sudog`. False if it is over. Under the lock of its channel.
    #[inline]
    fn claim(&self, sudog: &Sudog) -> bool {
        match self.word().claim(self.ticket.get(), Cause::Ready) {
            Claim::Late => false,
            Claim::Parked => {
                self.winner.set(sudog);
                true
            }
            Claim::Awake => throw!("a waiter of a channel had not parked"),
        }
    }

    /// Waits until somebody ends the wait, at the latest until the time `until` (monotonic ns), and
    /// runs `unlock` once the word is parked (P1). In the section, holding what `unlock` unlocks.
    /// Where `can_end`, it ends when the goroutine's context is cancelled.
    pub(crate) fn park(
        &self,
        reason: WaitReason,
        until: u64,
        can_end: bool,
        unlock: impl FnOnce(),
    ) -> Cause {
        match self.gp {
            Some(gp) => self.park_goroutine(gp, reason, until, can_end, unlock),
            None => self.park_thread(until, unlock),
        }
    }

    /// Whether the waiter's context was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.gp.is_some_and(|gp| ambient::error(gp).is_some())
    }

    #[inline]
    fn park_goroutine(
        &self,
        gp: &'static G,
        reason: WaitReason,
        until: u64,
        can_end: bool,
        unlock: impl FnOnce(),
    ) -> Cause {
        let ticket = self.ticket.get();
        if until != NEVER {
            let Some(pp) = gp.m().p() else { throw!("goroutine {} waits without a P", gp.id()) };
            if pp.timers.set(gp, until, ticket) {
                pp.new_timer.set(true);
            }
        }
        if can_end {
            ambient::announce(gp, ticket);
        }
        park::park(gp, reason, || {
            let parked = gp.wait.park(ticket);
            unlock();
            parked
        });
        if until != NEVER {
            gp.alarm.clear();
        }
        match gp.wait.cause() {
            Some(cause) => cause,
            None => throw!("goroutine {} was woken, and its wait goes on", gp.id()),
        }
    }

    #[cold]
    fn park_thread(&self, until: u64, unlock: impl FnOnce()) -> Cause {
        self.woken.store(0, Ordering::Relaxed);
        if !self.word.park(self.ticket.get()) {
            throw!("a thread's wait was over before it began");
        }
        unlock();
        loop {
            // Acquire: pairs with the Release in wake().
            if self.woken.load(Ordering::Acquire) != 0 {
                return Cause::Ready;
            }
            if until == NEVER {
                sys::futex_wait(&self.woken, 0, None);
                continue;
            }
            let left = until.saturating_sub(sys::nanotime());
            if left > 0 {
                sys::futex_wait(&self.woken, 0, Some(Duration::from_nanos(left)));
            } else if self.word.claim(self.ticket.get(), Cause::Timeout) != Claim::Late {
                return Cause::Timeout;
            } else {
                // Somebody is about to wake us.
                while self.woken.load(Ordering::Acquire) == 0 {
                    sys::futex_wait(&self.woken, 0, None);
                }
                return Cause::Ready;
            }
        }
    }
}

/// What became of an operation that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Waiting,
    /// Done: the value was moved.
    Done,
    /// The channel was closed, or its other side is gone.
    Closed,
    /// There is room for the value, which comes later: in the channel, or at the partner's.
    Promised,
    /// A promise was taken back: begin anew.
    Again,
}

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To move the value, at once.
    Value,
    /// To be promised room for a value.
    Promise,
    /// To be told that the operation could be done.
    Look,
}

/// An operation that is waited for.
pub(crate) struct Sudog {
    party: Cell<*const Party>,
    /// Where the value comes from or goes to.
    pub(crate) value: Cell<*mut ()>,
    pub(crate) kind: Cell<Kind>,
    pub(crate) outcome: Cell<Outcome>,
    /// The receiver that a promised value goes to.
    pub(crate) partner: Cell<*const Sudog>,
    next: Cell<*const Sudog>,
    prev: Cell<*const Sudog>,
    queued: Cell<bool>,
    _pinned: PhantomPinned,
}

impl Sudog {
    #[inline]
    pub(crate) fn new(kind: Kind, value: *mut ()) -> Self {
        Self {
            party: Cell::new(null()),
            value: Cell::new(value),
            kind: Cell::new(kind),
            outcome: Cell::new(Outcome::Waiting),
            partner: Cell::new(null()),
            next: Cell::new(null()),
            prev: Cell::new(null()),
            queued: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }

    /// Makes it one of `party`'s, for a wait that has begun.
    #[inline]
    pub(crate) fn join(&self, party: &Party) {
        self.party.set(party);
        self.outcome.set(Outcome::Waiting);
        self.partner.set(null());
    }

    /// The waiter it belongs to.
    fn party(&self) -> &Party {
        // SAFETY: join() was called before it is enlisted or claimed, and the party waits.
        unsafe { &*self.party.get() }
    }

    /// Ends the wait of one that may not be claimed yet: it waits for a promise, and for nothing
    /// else. Under the channel's lock.
    pub(crate) fn claim_promised(&self) {
        // False: it was claimed out of its queue.
        let _ = self.party().claim(self);
    }

    /// Ends the wait with `outcome`; the waiter is to be woken by `wakes`. Under the channel's
    /// lock; claimed.
    #[inline]
    pub(crate) fn end(&self, outcome: Outcome, wakes: &mut Wakes) {
        self.outcome.set(outcome);
        wakes.push(self.party());
    }
}

/// A queue of a channel: first in, first out. Touched under the channel's lock.
pub(crate) struct Queue {
    head: *const Sudog,
    tail: *const Sudog,
}

// SAFETY: what is in it is touched under the channel's lock only, and stays where it is.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { head: null(), tail: null() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Whether a waiter is in it that still waits: not one whose wait was ended by another of its
    /// operations, or by the time, and that has not come to take itself out yet.
    pub(crate) fn has_waiter(&self) -> bool {
        let mut at = self.head;
        // SAFETY: what is in the queue is alive (P2).
        while let Some(sudog) = unsafe { at.as_ref() } {
            let party = sudog.party();
            if !party.word().is_over(party.ticket.get()) {
                return true;
            }
            at = sudog.next.get();
        }
        false
    }

    /// Appends.
    ///
    /// # Safety
    /// * It has joined a party, is in no queue, and stays where it is until it was taken out.
    pub(crate) unsafe fn push(&mut self, sudog: &Sudog) {
        sudog.queued.set(true);
        sudog.next.set(null());
        sudog.prev.set(self.tail);
        // SAFETY: what is in the queue is alive (P2).
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail.next.set(sudog),
            None => self.head = sudog,
        }
        self.tail = sudog;
    }

    /// Takes it out, if it is in.
    pub(crate) fn remove(&mut self, sudog: &Sudog) {
        if !sudog.queued.replace(false) {
            return;
        }
        // SAFETY: what is in the queue is alive (P2).
        unsafe {
            match sudog.prev.get().as_ref() {
                Some(prev) => prev.next.set(sudog.next.get()),
                None => self.head = sudog.next.get(),
            }
            match sudog.next.get().as_ref() {
                Some(next) => next.prev.set(sudog.prev.get()),
                None => self.tail = sudog.prev.get(),
            }
        }
    }

    /// Takes the first out whose wait is not over, and ends it: it is the caller's until it is
    /// woken.
    #[inline]
    pub(crate) fn claim(&mut self) -> Option<NonNull<Sudog>> {
        loop {
            // SAFETY: what is in the queue is alive (P2).
            let first = unsafe { self.head.as_ref() }?;
            self.head = first.next.get();
            // SAFETY: as above.
            match unsafe { self.head.as_ref() } {
                Some(head) => head.prev.set(null()),
                None => self.tail = null(),
            }
            first.queued.set(false);
            if first.party().claim(first) {
                return Some(NonNull::from(first));
            }
        }
    }

    /// Ends up to `most` waits with `outcome`, and counts them off. Whether that were all.
    pub(crate) fn end_some(
        &mut self,
        outcome: Outcome,
        most: &mut usize,
        wakes: &mut Wakes,
    ) -> bool {
        while *most > 0 {
            let Some(sudog) = self.claim() else { return true };
            // SAFETY: claimed, and not woken yet.
            unsafe { sudog.as_ref() }.end(outcome, wakes);
            *most -= 1;
        }
        self.is_empty()
    }

    /// Ends all waits with `outcome`.
    pub(crate) fn end_all(&mut self, outcome: Outcome, wakes: &mut Wakes) {
        while let Some(sudog) = self.claim() {
            // SAFETY: claimed, and not woken yet.
            unsafe { sudog.as_ref() }.end(outcome, wakes);
        }
    }
}

/// The waiters whose waits were ended, to be woken after the lock was released.
pub(crate) struct Wakes {
    one: Option<&'static G>,
    more: RunList,
    threads: *const Party,
}

impl Wakes {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { one: None, more: RunList::new(), threads: null() }
    }

    #[inline]
    fn push(&mut self, party: &Party) {
        match party.gp {
            Some(gp) if self.one.is_none() && self.more.is_empty() => self.one = Some(gp),
            Some(gp) => self.push_more(gp),
            None => {
                party.next.set(self.threads);
                self.threads = party;
            }
        }
    }

    #[cold]
    fn push_more(&mut self, gp: &'static G) {
        if let Some(one) = self.one.take() {
            self.more.push_back(Runnable::of_g(one));
        }
        self.more.push_back(Runnable::of_g(gp));
    }

    /// Wakes them: one goroutine runs next, many go behind what is queued. In a section, without a
    /// channel's lock.
    #[inline]
    pub(crate) fn wake(mut self) {
        if let Some(gp) = self.one {
            ready::ready(gp);
        } else if !self.more.is_empty() {
            ready::ready_all(&mut self.more);
        }
        if !self.threads.is_null() {
            self.wake_threads();
        }
    }

    #[cold]
    fn wake_threads(&mut self) {
        let mut at = self.threads;
        while !at.is_null() {
            // SAFETY: it waits until `woken` is stored; after that only its address is looked up.
            unsafe {
                let next = (*at).next.get();
                let woken = &raw const (*at).woken;
                // Release: what was done for it.
                (*woken).store(1, Ordering::Release);
                sys::futex_wake(woken, 1);
                at = next;
            }
        }
    }
}
