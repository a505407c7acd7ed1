//! The words of a lock: whether it is held, and how many sleep until it is not.
//!
//! **The problem.** The unlocker must either see the sleeper, or be seen by the thread that is
//! about to sleep. Drepper's "Futexes Are Tricky" has one word for both (0 free, 1 held, 2 held and
//! somebody may sleep), swapped by the unlocker: a locked instruction, as dear as all else that a
//! short turn does. A plain store, followed by a load of the sleepers' count, is cheaper; but
//! processors let the load go first.
//!
//! **Chosen.** Both. A thread that goes to sleep, which is rare and takes microseconds anyway,
//! marks the word, and counts itself, and then has the kernel execute a barrier on all processors
//! that run this process (`membarrier`) before it looks once more. So an unlocker that has unlocked
//! plainly before the barrier is seen, and one that does so afterwards sees the count. Where there
//! is no such call, each plain unlock has a barrier of its own (`base/atomic.rs`).
//!
//! A plain [`unlock_plainly`](LockWord::unlock_plainly) reads the count after the lock is free: it
//! is only for a caller that keeps the lock alive. In the commit of a park no caller does: the
//! goroutine may have gone on, and dropped it. [`unlock`](LockWord::unlock) touches nothing
//! afterwards.
//!
//! * LW1: `held` is changed from 0 to another value by the thread that takes the lock, and back by
//!   the holder.
//! * LW2: a thread that sleeps has set `held` to 2 and raised `sleepers` before; the unlocker sees
//!   one or the other and wakes one sleeper, which looks for itself, or sleeps again.

use crate::base::atomic::{AtomicU32, Ordering, entry_barrier, heavy_barrier};
use crate::base::sys::{cycles, futex_wait, futex_wake};
use std::time::Duration;

/// How often to look before sleeping.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// What a turn takes, in pauses; how long a burst is (2 to 5 µs), and how many are waited for.
const MOMENT: u32 = 2;
const BURST_CYCLES: u64 = 10_000;
const BURSTS: u32 = if cfg!(loom) { 1 } else { 8 };

/// How long to sleep where unlocking may not be noticed.
const DOZE: Duration = Duration::from_millis(1);

/// See the file's head.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct LockWord {
    held: AtomicU32,
    sleepers: AtomicU32,
}

impl LockWord {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { held: AtomicU32::new(0), sleepers: AtomicU32::new(0) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { held: AtomicU32::new(0), sleepers: AtomicU32::new(0) }
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        // Acquire: pairs with the unlockers' Releases.
        self.held.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Waits for the lock.
    #[inline]
    pub(crate) fn lock(&self) {
        if !self.try_lock() {
            self.lock_contended();
        }
    }

    /// The same, where many short turns are taken by a few: each look of a thread that waits takes
    /// the lock's cache line from the holder, and a turn that begins with a cache miss takes
    /// several times as long. So a thread that finds the lock held, and held again a moment later,
    /// looks every few microseconds only, and then has its own go.
    #[inline]
    pub(crate) fn lock_in_bursts(&self) {
        if !self.try_lock() {
            self.lock_after_burst();
        }
    }

    /// Gives the lock back, which may be gone from then on. By the holder.
    #[inline]
    pub(crate) fn unlock(&self) {
        let held = &raw const self.held;
        // Release: pairs with the Acquires of the threads that take it.
        if self.held.swap(0, Ordering::Release) == 2 {
            wake_one(held);
        }
    }

    /// Gives the lock back, which stays alive until this returns. By the holder.
    #[inline]
    pub(crate) fn unlock_plainly(&self) {
        // Release: as above. (loom would let others' swaps pass a plain store.)
        #[cfg(not(loom))]
        self.held.store(0, Ordering::Release);
        #[cfg(loom)]
        self.held.swap(0, Ordering::Release);
        // The other half is in sleep().
        entry_barrier();
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            wake_one(&raw const self.held);
        }
    }

    #[cold]
    fn lock_contended(&self) {
        for _ in 0..SPINS {
            if self.held.load(Ordering::Relaxed) == 0 && self.try_lock() {
                return;
            }
            std::hint::spin_loop();
        }
        self.sleep();
    }

    #[cold]
    fn lock_after_burst(&self) {
        (0..MOMENT).for_each(|_| std::hint::spin_loop());
        for _ in 0..BURSTS {
            if self.held.load(Ordering::Relaxed) == 0 && self.try_lock() {
                return;
            }
            let begun = cycles();
            while cycles().wrapping_sub(begun) < BURST_CYCLES {
                std::hint::spin_loop();
            }
        }
        self.sleep();
    }

    fn sleep(&self) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        loop {
            let is_ordered = heavy_barrier();
            // Acquire: pairs with the unlockers' Releases. A thread that gets the lock this way
            // leaves the mark: others may sleep.
            if self.held.swap(2, Ordering::Acquire) == 0 {
                break;
            }
            futex_wait(&self.held, 2, (!is_ordered).then_some(DOZE));
        }
        // Relaxed: an unlocker that still sees the old count wakes one in vain.
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cold]
fn wake_one(held: *const AtomicU32) {
    futex_wake(held, 1);
}
