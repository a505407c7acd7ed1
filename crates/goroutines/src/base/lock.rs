//! The runtime's lock: spun on for a moment, then slept on (`lock_word.rs`).
//!
//! **Invariant L1.** The holder of a [`Lock`] can't be descheduled by us: it runs on an M's own
//! stack, on an ordinary thread, or on a goroutine whose no-preempt count is raised. So a holder is
//! always a running thread, and waiting for it in the kernel can't deadlock. It is also why
//! `std::sync::Mutex` has no place inside the scheduler.

use super::lock_word::LockWord;
use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::ops::{Deref, DerefMut};

/// A value behind a lock, which stands before it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Lock<T> {
    word: LockWord,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: moves with its value.
unsafe impl<T: Send> Send for Lock<T> {}

impl<T> Lock<T> {
    /// Where in it the value is.
    pub(crate) const OFFSET: usize = offset_of!(Self, value);

    pub(crate) const fn new(value: T) -> Self {
        Self { word: LockWord::new(), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock. The caller satisfies L1.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.word.lock();
        Guard { lock: self }
    }

    /// The lock, if it can be had at once. In a handler too: what it has interrupted may hold the
    /// lock.
    #[cfg(feature = "intercept")]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.word.try_lock().then_some(Guard { lock: self })
    }

    /// The same as [`lock`](Self::lock), of a lock that is never gone: cheaper to unlock.
    #[inline]
    pub(crate) fn lock_static(&'static self) -> StaticGuard<T> {
        self.word.lock();
        Guard { lock: self }
    }

    /// The same as [`lock`](Self::lock), where many short turns are taken by a few
    /// ([`LockWord::lock_in_bursts`]).
    #[inline]
    pub(crate) fn lock_in_bursts(&self) -> Guard<'_, T> {
        self.word.lock_in_bursts();
        Guard { lock: self }
    }

    /// The right to the value, for a caller that has taken the lock and forgotten its guard.
    ///
    /// # Safety
    /// * The calling thread holds the lock, and has no guard of it.
    #[inline]
    pub(crate) unsafe fn locked(&self) -> Guard<'_, T> {
        Guard { lock: self }
    }
}

/// The right to the value, until dropped.
#[must_use]
pub(crate) struct Guard<'l, T, const STATIC: bool = false> {
    lock: &'l Lock<T>,
}

/// That to the value of a lock that is never gone.
pub(crate) type StaticGuard<T> = Guard<'static, T, true>;

impl<T, const STATIC: bool> Guard<'_, T, STATIC> {
    /// Ends the guard and keeps the lock, for [`Lock::locked`].
    #[inline]
    pub(crate) fn leave_locked(self) {
        let _ = std::mem::ManuallyDrop::new(self);
    }

    /// Ends the guard; cheaper, for a caller that keeps the lock alive until this returns.
    #[inline]
    pub(crate) fn unlock_plainly(self) {
        self.lock.word.unlock_plainly();
        self.leave_locked();
    }
}

impl<T, const STATIC: bool> Deref for Guard<'_, T, STATIC> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, const STATIC: bool> DerefMut for Guard<'_, T, STATIC> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, const STATIC: bool> Drop for Guard<'_, T, STATIC> {
    #[inline]
    fn drop(&mut self) {
        if STATIC {
            self.lock.word.unlock_plainly();
        } else {
            self.lock.word.unlock();
        }
    }
}
