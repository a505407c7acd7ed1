//! Goroutines that wait, off the run queues, for memory for their stack.
//!
//! Previous: `go.rs`, where no stack could be made. Next: the global queue, when a goroutine has
//! ended and left its stack, or when the monitor tries again.
//!
//! A goroutine that ends looks at one word, as mostly no goroutine waits here. That word is written
//! under the list's lock only, with the list: were it set before the list is locked, a goroutine
//! that ends in between would find the list empty and take the word back, and the goroutine that is
//! entered then would never be found.
//!
//! * SV1: while the list's lock is free, the word says whether a goroutine is in the list.

use crate::base::atomic::{AtomicBool, Ordering};
use crate::base::lock::Lock;
use crate::g::task::{RunList, Runnable};

/// The goroutines that wait.
pub(crate) struct Starved {
    waits: AtomicBool,
    list: Lock<RunList>,
}

impl Starved {
    pub(crate) const fn new() -> Self {
        Self { waits: AtomicBool::new(false), list: Lock::new(RunList::new()) }
    }

    /// Whether a goroutine waits.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Enters a goroutine. In a section, on g0, or on an ordinary thread.
    pub(crate) fn push(&self, one: Runnable) {
        let mut list = self.list.lock();
        list.push_back(one);
        self.waits.store(true, Ordering::Relaxed); // SV1
    }

    /// Gives the first `count` to `ready`, with the list locked. Returns how many still wait.
    pub(crate) fn feed(&self, count: usize, mut ready: impl FnMut(Runnable)) -> usize {
        let mut list = self.list.lock();
        for _ in 0..count {
            let Some(one) = list.pop_front() else { break };
            ready(one);
        }
        let left = list.len();
        self.waits.store(left > 0, Ordering::Relaxed); // SV1
        left
    }

    /// Looks at all, first to last, with the list locked.
    #[cfg(not(loom))]
    pub(crate) fn each(&self, look: impl FnMut(Runnable)) {
        self.list.lock().iter().for_each(look);
    }
}
