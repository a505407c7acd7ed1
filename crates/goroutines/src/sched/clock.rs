//! The time for what is only told: when a goroutine began, and since when it waits.
//!
//! Each start of a goroutine and each park notes it, so it is a word of memory that the monitor
//! writes. (The kernel's coarse clock costs a call and some forty instructions: of the cycles of a
//! park and a wake a fifteenth.)
//!
//! While any P is busy the monitor looks at least every 10 ms; where it sleeps until one is, the
//! code that makes the P busy writes the word before it wakes it. Threads outside the runtime, for
//! which neither holds, ask the kernel.

use crate::base::sys;
use std::sync::atomic::{AtomicU64, Ordering};

/// Its readers do not mind as much.
const STEP_NS: u64 = 1_000_000;

/// Monotonic time in ns, as of some milliseconds ago.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// For a goroutine, or on g0 with a P.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// It is `now`. The word's line is not written for each of the monitor's looks, as all
    /// processors read it.
    pub(crate) fn set(&self, now: u64) {
        if now.saturating_sub(self.now()) >= STEP_NS {
            self.0.store(now, Ordering::Relaxed);
        }
    }

    /// Asks the kernel.
    pub(crate) fn refresh(&self) {
        self.set(sys::coarse_nanotime());
    }
}
