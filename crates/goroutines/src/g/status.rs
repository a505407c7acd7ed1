//! What a goroutine is doing, and what owns its stack then.
//!
//! ```text
//!            go               execute               exit
//!   Idle ---------> Runnable ---------> Running ---------> Dead --(go)--> Runnable
//!                      ^  ^                | |
//!                ready |  +--- yield ------+ | park: after the switch away, before the commit
//!                      |                     v
//!                      +----------------- Waiting
//! ```
//!
//! * `Idle`, `Dead` — a free list, or the goroutine or thread that took it from there, owns the
//!   carrier.
//! * `Runnable` — the run queue it is in owns it; the goroutine is off its stack.
//! * `Running` — the goroutine itself, on the M in `g.m`.
//! * `Waiting` — the one that will ready it: the wait queue it is in, guarded as that queue is. It
//!   is off its stack: the status is set by the context that came after it.
//!
//! **Invariant ST1.** Readying is a compare-and-swap from `Waiting` to `Runnable`: of two who try,
//! one wins, and nobody can ready a goroutine that has not left its stack.

use crate::base::atomic::{AtomicU32, Ordering};

/// The states above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Idle = 0,
    Runnable = 1,
    Running = 2,
    Waiting = 4,
    Dead = 6,
}

/// A goroutine's state word.
#[derive(Debug)]
pub(crate) struct Status(AtomicU32);

impl Status {
    #[cfg(loom)]
    pub(crate) fn new(state: State) -> Self {
        Self(AtomicU32::new(state as u32))
    }

    pub(crate) fn get(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Idle,
            1 => State::Runnable,
            2 => State::Running,
            4 => State::Waiting,
            _ => State::Dead,
        }
    }

    /// Sets the state; for the owner of the goroutine.
    #[inline]
    pub(crate) fn set(&self, state: State) {
        // Release: the saved context and all the goroutine did is visible to the thread that
        // acquires the state.
        self.0.store(state as u32, Ordering::Release);
    }

    /// `Waiting` → `Runnable`; false if it was not waiting (ST1).
    #[inline]
    #[must_use]
    pub(crate) fn ready(&self) -> bool {
        self.0
            .compare_exchange(
                State::Waiting as u32,
                State::Runnable as u32,
                Ordering::AcqRel, // Acquire: pairs with set(Waiting); Release: with the next execute
                Ordering::Relaxed,
            )
            .is_ok()
    }
}
