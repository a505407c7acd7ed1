//! The runtime's lock: a futex word, spun on for a moment.
//!
//! States as in Drepper's "Futexes Are Tricky" and std's futex mutex: 0 free, 1 held, 2 held and
//! somebody may sleep.
//!
//! **Invariant L1.** Who holds a [`Lock`] can't be descheduled by us: it runs on an M's own stack, on
//! an ordinary thread, or on a goroutine whose no-preempt count is raised. So a holder is always a
//! running thread, and waiting for it in the kernel can't deadlock. It is also why `std::sync::Mutex`
//! has no place inside the scheduler.

use super::sys::{futex_wait, futex_wake};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

/// A value behind a lock.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: moves with its value.
unsafe impl<T: Send> Send for Lock<T> {}

const SPINS: u32 = 100;

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { word: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock. The caller satisfies L1.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        // Acquire: pairs with the Release in unlock().
        if self.word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_contended();
        }
        Guard { lock: self }
    }

    /// The right to the value, for who has taken the lock and forgotten its guard.
    ///
    /// # Safety
    /// * The calling thread holds the lock, and has no guard of it.
    #[inline]
    pub(crate) unsafe fn locked(&self) -> Guard<'_, T> {
        Guard { lock: self }
    }

    #[cold]
    fn lock_contended(&self) {
        for _ in 0..SPINS {
            if self.word.load(Ordering::Relaxed) == 0
                && self.word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
            std::hint::spin_loop();
        }
        while self.word.swap(2, Ordering::Acquire) != 0 {
            futex_wait(&self.word, 2, None);
        }
    }

    #[inline]
    fn unlock(&self) {
        // Release: pairs with the Acquires above.
        if self.word.swap(0, Ordering::Release) == 2 {
            futex_wake(&self.word, 1);
        }
    }
}

/// The right to the value, until dropped.
#[must_use]
pub(crate) struct Guard<'l, T> {
    lock: &'l Lock<T>,
}

impl<T> Guard<'_, T> {
    /// Ends the guard and keeps the lock, for [`Lock::locked`].
    #[inline]
    pub(crate) fn leave_locked(self) {
        let _ = std::mem::ManuallyDrop::new(self);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.unlock();
    }
}
