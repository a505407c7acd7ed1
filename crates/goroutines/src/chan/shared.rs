//! Which senders and receivers there are: the count of each side, and the end of the channel.

use super::core::Chan;
use super::receiver::Receiver;
use super::sender::Sender;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A channel and its counts.
pub(super) struct Shared<T> {
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// One side is gone: the other frees.
    half_gone: AtomicBool,
    chan: Chan<T>,
}

/// Makes one.
pub(super) fn pair<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Box::new(Shared {
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        half_gone: AtomicBool::new(false),
        chan: Chan::new(capacity),
    });
    let at = NonNull::from(Box::leak(shared));
    (Sender::new(End { shared: at }), Receiver::of_chan(End { shared: at }))
}

/// One side's reference.
pub(super) struct End<T, const SENDS: bool> {
    shared: NonNull<Shared<T>>,
}

// SAFETY: messages are sent, never shared.
unsafe impl<T: Send, const SENDS: bool> Send for End<T, SENDS> {}
// SAFETY: as above.
unsafe impl<T: Send, const SENDS: bool> Sync for End<T, SENDS> {}

impl<T, const SENDS: bool> End<T, SENDS> {
    fn shared(&self) -> &Shared<T> {
        // SAFETY: freed by the last reference of the side that goes last.
        unsafe { self.shared.as_ref() }
    }

    fn count(&self) -> &AtomicUsize {
        if SENDS { &self.shared().senders } else { &self.shared().receivers }
    }

    #[inline]
    pub(super) fn chan(&self) -> &Chan<T> {
        &self.shared().chan
    }

    /// Whether the other side is there. A snapshot.
    pub(super) fn has_others(&self) -> bool {
        let others = if SENDS { &self.shared().receivers } else { &self.shared().senders };
        others.load(Ordering::Acquire) > 0
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.shared == other.shared
    }
}

impl<T, const SENDS: bool> Clone for End<T, SENDS> {
    fn clone(&self) -> Self {
        // Relaxed: as an Arc's.
        let count = self.count().fetch_add(1, Ordering::Relaxed);
        if count > isize::MAX as usize {
            // As an Arc's: the count is not to wrap around.
            std::process::abort();
        }
        Self { shared: self.shared }
    }
}

impl<T, const SENDS: bool> End<T, SENDS> {
    /// Gives the reference up. The last of a side ends the channel for the other, if `ends`.
    ///
    /// # Safety
    /// * The end is not used any more.
    unsafe fn give_up(&mut self, ends: bool) {
        // Release and Acquire: as an Arc's.
        if self.count().fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        match (ends, SENDS) {
            (false, _) => {}
            (true, true) => {
                self.chan().close();
            }
            (true, false) => self.chan().discard(),
        }
        if self.shared().half_gone.swap(true, Ordering::AcqRel) {
            // SAFETY: both sides are gone, and this one was last.
            drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
        }
    }

    /// Drops it, and if it was the last of its side, the channel seems to have another.
    pub(super) fn leave_open(self) {
        // SAFETY: it is not dropped, and not used.
        unsafe { ManuallyDrop::new(self).give_up(false) };
    }
}

impl<T, const SENDS: bool> Drop for End<T, SENDS> {
    fn drop(&mut self) {
        // SAFETY: it is dropped.
        unsafe { self.give_up(true) };
    }
}
