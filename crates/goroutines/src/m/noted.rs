//! What is noted of the signal mask of a thread of the runtime's, for other threads.
//!
//! Next: `signals/masks.rs`, which knows the helpers' mask and waits until threads have it. Models:
//! `tests/models/src/masks.rs`.

use crate::base::atomic::{AtomicU64, Ordering};

/// In what is noted of a thread's mask: the thread is about to take over the helpers'. (A bit of
/// libc's own signals, which no mask has.)
const IN_CHANGE: u64 = 1 << 32;

/// What is noted of a thread's mask, for others. Written on that thread.
pub(crate) struct Noted(AtomicU64);

impl Noted {
    pub(crate) const fn new(mask: u64) -> Self {
        Self(AtomicU64::new(mask))
    }

    /// The mask, where it doesn't change; on the thread itself.
    #[inline]
    pub(crate) fn mask(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & !IN_CHANGE
    }

    /// The thread has `mask`.
    pub(crate) fn set(&self, mask: u64) {
        self.0.store(mask, Ordering::SeqCst);
    }

    /// The thread is about to begin, or to begin again: it has nothing that others may count on.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether the thread, another one, blocks all of `wanted`, and goes on to.
    pub(crate) fn has(&self, wanted: u64) -> bool {
        let noted = self.0.load(Ordering::SeqCst);
        noted & IN_CHANGE == 0 && wanted & !noted == 0
    }

    /// Whether a handler has interrupted [`take_over`](Self::take_over), on the thread itself.
    pub(crate) fn is_in_change(&self) -> bool {
        self.0.load(Ordering::Relaxed) & IN_CHANGE != 0
    }

    /// The calling thread takes over `helpers`, the helpers' mask, which `install` gives to the
    /// kernel. In a handler that has interrupted just this, nothing is done: false.
    ///
    /// The thread may have another mask before, a goroutine's or the helpers' of a moment ago, and
    /// the code that adds to the helpers' mask must not take that for the one to come. So
    /// `IN_CHANGE` is noted before the helpers' mask is read; the other side adds to that first,
    /// and waits while the bit is noted.
    pub(crate) fn take_over(&self, helpers: &AtomicU64, install: impl Fn(u64)) -> bool {
        if self.is_in_change() {
            return false;
        }
        loop {
            let before = self.0.load(Ordering::Relaxed);
            self.0.store(before | IN_CHANGE, Ordering::SeqCst);
            let mask = helpers.load(Ordering::SeqCst);
            install(mask);
            self.set(mask);
            if helpers.load(Ordering::SeqCst) == mask {
                return true;
            }
        }
    }
}
