//! Parking: a goroutine waits for something.
//!
//! Previous: user code, through a wait queue (`sync`, `thread`). Next: `ready.rs`, called by the
//! code that ends the wait.
//!
//! The caller decides what to wait for and passes a *commit* closure. It runs once the goroutine is
//! off its stack and its status is `Waiting`; it enters the goroutine in the wait queue, under the
//! queue's lock, or finds that there is nothing to wait for any more and returns false: then the
//! goroutine goes on. The commit may take runtime locks; it may not allocate, park or switch (RU2).

use super::run::{leave_to, pick};
use super::{SCHED, ready, wake};
use crate::base::lock::Lock;
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::status::State;
use crate::g::task::Runnable;
use crate::g::{G, current};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Parks `gp`, the running goroutine, in a section; returns in it when the goroutine was readied.
#[inline]
pub(crate) fn park(gp: &'static G, reason: WaitReason, commit: impl FnOnce() -> bool) {
    gp.set_reason(reason);
    gp.waiting_since_ns.set(SCHED.clock.now());
    leave_to(gp, pick(gp), move |gp, _| {
        gp.status.set(State::Waiting);
        if !commit() {
            ready::ready(gp);
        }
    });
    gp.set_reason(WaitReason::None);
}

/// Lets others run first: behind all that waits in the global queue. (Go: `Gosched`.) In a section.
/// Where nobody else is at hand it returns at once, and false.
#[inline]
pub(crate) fn yield_now(gp: &'static G) -> bool {
    let next = pick(gp);
    if next.is_none() && may_go_on(gp) {
        return false;
    }
    leave_to(gp, next, |gp, mp| {
        gp.status.set(State::Runnable);
        let one = Runnable::of_g(gp);
        match mp.p() {
            Some(pp) => {
                let spill = |overflow: &_| ready::spill(&mut SCHED.lock(), overflow);
                // SAFETY: this M owns the P; the goroutine is in no queue.
                unsafe { pp.yieldq.put(one.as_ptr(), spill) };
            }
            None => SCHED.lock().runq_push(one),
        }
        wake::wakep();
    });
    true
}

/// Ends the slice of `gp`: to the tail of the global queue, where any P may take it. In a section.
#[cold]
pub(crate) fn preempted(gp: &'static G) {
    gp.set_reason(WaitReason::Preempted);
    let next = pick(gp);
    if next.is_some() || !may_go_on(gp) {
        leave_to(gp, next, |gp, _| {
            gp.status.set(State::Runnable);
            SCHED.lock().runq_push(Runnable::of_g(gp));
            wake::wakep();
        });
    }
    gp.set_reason(WaitReason::None);
}

/// Nobody is at hand, and nobody asks for g0 either: the goroutine may as well go on.
fn may_go_on(gp: &'static G) -> bool {
    let mp = gp.m();
    mp.p().is_some() && mp.stash.get().is_none() && !SCHED.is_stopping() && !gp.is_locked()
}

/// Somebody who waits: a goroutine or an ordinary thread. Lives on the waiter's stack while it
/// waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    gp: Option<&'static G>,
    /// For a thread: 0 waiting, 1 woken.
    word: AtomicU32,
    /// Link of the wait queue it is in; guarded as that queue is.
    pub(crate) link: AtomicPtr<Waiter>,
}

// SAFETY: atomics, and a pointer that is not changed.
unsafe impl Sync for Waiter {}

impl Waiter {
    /// Ends the wait.
    ///
    /// # Safety
    /// * `this` is waiting, has been taken out of its queue by the caller, and is woken once.
    #[inline]
    pub(crate) unsafe fn wake(this: *const Self) {
        // SAFETY: the waiter is on the stack of somebody who waits, until we wake it.
        let gp = unsafe { (*this).gp };
        match gp {
            Some(gp) => ready::ready(gp),
            None => {
                // SAFETY: as above; after the store the waiter may be gone, the address is only
                // looked up.
                unsafe {
                    let word = &raw const (*this).word;
                    (*word).store(1, Ordering::Release);
                    sys::futex_wake(word, 1);
                }
            }
        }
    }
}

/// Blocks the calling goroutine or thread until woken. `enlist` enters the waiter in a queue, under
/// its lock, or returns false if there is nothing to wait for (any more); the rules of a commit
/// apply to it.
///
/// Look first whether there is anything to wait for: a goroutine that finds out here that there is
/// not has given its turn away.
pub(crate) fn block(reason: WaitReason, enlist: impl FnOnce(&Waiter) -> bool) {
    let section = current::enter();
    let waiter =
        Waiter { gp: section.g(), word: AtomicU32::new(0), link: AtomicPtr::new(null_mut()) };
    match section.g() {
        Some(gp) => park(gp, reason, || enlist(&waiter)),
        None => {
            if enlist(&waiter) {
                while waiter.word.load(Ordering::Acquire) == 0 {
                    sys::futex_wait(&waiter.word, 0, None);
                }
            }
        }
    }
}

/// A first-in, first-out queue of waiters.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    head: *const Waiter,
    tail: *const Waiter,
}

// SAFETY: waiters are Sync, and on the stacks of those who wait.
unsafe impl Send for WaitQueue {}

impl WaitQueue {
    pub(crate) const fn new() -> Self {
        Self { head: std::ptr::null(), tail: std::ptr::null() }
    }

    /// Appends. The waiter must stay where it is until it is woken.
    pub(crate) fn push(&mut self, waiter: &Waiter) {
        let at = std::ptr::from_ref(waiter);
        waiter.link.store(null_mut(), Ordering::Relaxed);
        // SAFETY: those in the queue wait.
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail.link.store(at.cast_mut(), Ordering::Relaxed),
            None => self.head = at,
        }
        self.tail = at;
    }

    /// Takes the first.
    pub(crate) fn pop(&mut self) -> Option<*const Waiter> {
        // SAFETY: those in the queue wait.
        let first = unsafe { self.head.as_ref() }?;
        self.head = first.link.load(Ordering::Relaxed);
        if self.head.is_null() {
            self.tail = std::ptr::null();
        }
        Some(first)
    }

    /// Wakes all, in order.
    ///
    /// # Safety
    /// * The queue was taken out of reach of others.
    pub(crate) unsafe fn wake_all(mut self) {
        while let Some(first) = self.pop() {
            // SAFETY: taken out of its queue just now.
            unsafe { Waiter::wake(first) };
        }
    }
}

/// A lock that parks a goroutine or thread that waits for it, and may be held across anything.
/// First in, first out.
#[derive(Debug)]
pub(crate) struct ParkingLock(Lock<(bool, WaitQueue)>);

impl ParkingLock {
    pub(crate) const fn new() -> Self {
        Self(Lock::new((false, WaitQueue::new())))
    }

    fn try_lock(&self) -> bool {
        let _section = current::enter();
        !std::mem::replace(&mut self.0.lock().0, true)
    }

    /// Waits for it.
    pub(crate) fn lock(&self) {
        if self.try_lock() {
            return;
        }
        block(WaitReason::Semacquire, |waiter| {
            let mut state = self.0.lock();
            if !state.0 {
                state.0 = true;
                return false;
            }
            state.1.push(waiter);
            true
        });
    }

    /// Gives it to the one who has waited longest.
    pub(crate) fn unlock(&self) {
        let _section = current::enter();
        let next = {
            let mut state = self.0.lock();
            let next = state.1.pop();
            state.0 = next.is_some();
            next
        };
        if let Some(next) = next {
            // SAFETY: taken out of the queue; it has the lock now.
            unsafe { Waiter::wake(next) };
        }
    }
}
