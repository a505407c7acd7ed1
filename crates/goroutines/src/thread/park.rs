//! `park` and `unpark`: one token per goroutine.
//!
//! One word: [`EMPTY`], [`NOTIFIED`], [`TIMED`] (parked with a time-out: the wait `ticket`), or the
//! address of a waiter. The `unpark` that changes it from a waiter to `NOTIFIED` has the right, and
//! the duty, to wake that waiter; the `unpark` that changes it from `TIMED` has to end that wait if
//! the time has not ended it. (By then the goroutine may have begun its next timed wait here: then
//! `unpark` ends that wait for no reason, which `park_timeout` allows.)

use super::id;
use crate::g::reason::WaitReason;
use crate::g::wait::{Cause, Ticket};
use crate::g::{G, current};
use crate::sched::park::{Waiter, block};
use crate::sched::wait;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

const EMPTY: *mut Waiter = std::ptr::null_mut();
const NOTIFIED: *mut Waiter = std::ptr::without_provenance_mut(1);
const TIMED: *mut Waiter = std::ptr::without_provenance_mut(2);

pub(crate) struct ParkState {
    state: AtomicPtr<Waiter>,
    /// Whose timed wait it is, and which.
    gp: AtomicPtr<G>,
    ticket: AtomicU64,
}

impl ParkState {
    pub(crate) const fn new() -> Self {
        Self {
            state: AtomicPtr::new(EMPTY),
            gp: AtomicPtr::new(std::ptr::null_mut()),
            ticket: AtomicU64::new(0),
        }
    }

    fn swap_from(&self, from: *mut Waiter, to: *mut Waiter) -> bool {
        // Acquire: what came before the unpark. Release: the waiter, and what came before ours.
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn park(&self, reason: WaitReason) {
        if self.swap_from(NOTIFIED, EMPTY) {
            return;
        }
        block(reason, |waiter| self.swap_from(EMPTY, std::ptr::from_ref(waiter).cast_mut()));
        // Woken, or notified before: the token is taken either way.
        self.state.swap(EMPTY, Ordering::Acquire);
    }

    fn park_timeout(&self, gp: &'static G, timeout: Duration) {
        if self.swap_from(NOTIFIED, EMPTY) {
            return;
        }
        let _section = current::enter();
        let ticket = gp.wait.begin();
        self.gp.store(gp.as_ptr(), Ordering::Relaxed);
        self.ticket.store(ticket.0, Ordering::Relaxed);
        // Release: both are there for the `unpark` that finds TIMED.
        if self.swap_from(EMPTY, TIMED) {
            wait::wait(gp, WaitReason::Park, ticket, wait::after(timeout));
        }
        self.state.swap(EMPTY, Ordering::Acquire);
    }

    pub(crate) fn unpark(&self) {
        let before = self.state.swap(NOTIFIED, Ordering::AcqRel);
        match before {
            EMPTY | NOTIFIED => {}
            TIMED => {
                let ticket = Ticket(self.ticket.load(Ordering::Relaxed));
                // SAFETY: written before TIMED was; Gs are never freed.
                if let Some(gp) = unsafe { self.gp.load(Ordering::Relaxed).as_ref() } {
                    wait::end(gp, ticket, Cause::Ready);
                }
            }
            waiter => {
                let _section = current::enter();
                // SAFETY: it waits; the swap gave us the right to wake it.
                unsafe { Waiter::wake(waiter) };
            }
        }
    }
}

/// Blocks until the calling goroutine's token is available, and takes it. Like
/// [`std::thread::park`], also on ordinary threads.
///
/// # Examples
/// ```
/// use goroutines::thread;
/// let parked = goroutines::go(|| thread::park());
/// parked.thread().unpark();
/// parked.join().unwrap();
/// ```
pub fn park() {
    match id::current().inner() {
        Some(inner) => inner.park.park(WaitReason::Park),
        None => std::thread::park(),
    }
}

/// Blocks until the token is available or `timeout` has passed. Like [`std::thread::park_timeout`].
pub fn park_timeout(timeout: Duration) {
    match id::current().inner() {
        Some(inner) => match current::g() {
            Some(gp) => inner.park.park_timeout(gp, timeout),
            None => std::thread::park_timeout(timeout),
        },
        None => std::thread::park_timeout(timeout),
    }
}
