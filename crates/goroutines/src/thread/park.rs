//! `park` and `unpark`: a token a goroutine.
//!
//! One word: [`EMPTY`], [`NOTIFIED`], [`TIMED`] (parked with a time-out, on `word`), or the address of a
//! waiter. Who changes it from a waiter to `NOTIFIED` has the right, and the duty, to wake it.

use super::id;
use crate::base::sys;
use crate::g::current;
use crate::g::reason::WaitReason;
use crate::sched::park::{Waiter, block};
use crate::sched::syscall;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

const EMPTY: *mut Waiter = std::ptr::null_mut();
const NOTIFIED: *mut Waiter = std::ptr::without_provenance_mut(1);
const TIMED: *mut Waiter = std::ptr::without_provenance_mut(2);

pub(crate) struct ParkState {
    state: AtomicPtr<Waiter>,
    /// What a timed wait sleeps on: 1 when notified.
    word: AtomicU32,
}

impl ParkState {
    pub(super) const fn new() -> Self {
        Self { state: AtomicPtr::new(EMPTY), word: AtomicU32::new(0) }
    }

    fn swap_from(&self, from: *mut Waiter, to: *mut Waiter) -> bool {
        // Acquire: what came before the unpark. Release: the waiter, and what came before ours.
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn park(&self) {
        if self.swap_from(NOTIFIED, EMPTY) {
            return;
        }
        block(WaitReason::Park, |waiter| {
            self.swap_from(EMPTY, std::ptr::from_ref(waiter).cast_mut())
        });
        // Woken, or notified before: the token is taken either way.
        self.state.swap(EMPTY, Ordering::Acquire);
    }

    fn park_timeout(&self, timeout: Duration) {
        if self.swap_from(NOTIFIED, EMPTY) {
            return;
        }
        self.word.store(0, Ordering::Relaxed);
        if self.swap_from(EMPTY, TIMED) {
            sys::futex_wait(&self.word, 0, Some(timeout));
        }
        self.state.swap(EMPTY, Ordering::Acquire);
    }

    pub(super) fn unpark(&self) {
        let before = self.state.swap(NOTIFIED, Ordering::AcqRel);
        match before {
            EMPTY | NOTIFIED => {}
            TIMED => {
                self.word.store(1, Ordering::Release);
                sys::futex_wake(&raw const self.word, 1);
            }
            waiter => {
                let _section = current::enter();
                // SAFETY: it waits; the swap gave us the right to wake it.
                unsafe { Waiter::wake(waiter) };
            }
        }
    }
}

/// Blocks until the calling goroutine's token is available, and takes it. Like [`std::thread::park`],
/// also on ordinary threads.
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
        Some(inner) => inner.park.park(),
        None => std::thread::park(),
    }
}

/// Blocks until the token is available or `timeout` has passed. Like [`std::thread::park_timeout`].
///
/// Blocks an OS thread for the time; its processor runs others meanwhile.
pub fn park_timeout(timeout: Duration) {
    match id::current().inner() {
        Some(inner) => syscall::blocking(|| inner.park.park_timeout(timeout)),
        None => std::thread::park_timeout(timeout),
    }
}
