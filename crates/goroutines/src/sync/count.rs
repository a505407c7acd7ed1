//! The word of a `WaitGroup`: how many are still to be done, and how many wait for that. (Go:
//! `WaitGroup.state`.)
//!
//! A waiter counts itself and enters the queue under one lock; the caller that makes the count zero
//! takes the waiters' number with the same exchange, and then, under that lock, so many out of the
//! queue's front.
//!
//! * WG1: the word's waiters are the last in the queue, behind those that are being released. (Each
//!   is counted and entered under the lock, and those of an earlier zero were counted before.)
//! * WG2: nobody is counted while the count is zero.

use crate::base::atomic::{AtomicU64, Ordering};

const ONE: u64 = 1 << 32;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds to the count; how many wait, if it is zero now: for the caller to release. None if it
    /// would be less than zero, or more than an `i32` holds: it is left as it was.
    #[inline]
    pub(crate) fn add(&self, delta: i32) -> Option<u32> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let count = ((word / ONE) as i32).checked_add(delta).filter(|count| *count >= 0)?;
            let (next, released) = match count {
                0 => (0, word as u32),
                _ => ((count as u64 * ONE) | u64::from(word as u32), 0),
            };
            // Release: what was done, for the caller that finds zero. Acquire: what others did, for
            // the waiters that we release.
            match self.0.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(released),
                Err(now) => word = now,
            }
        }
    }

    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        // Acquire: what was done.
        self.0.load(Ordering::Acquire) < ONE
    }

    /// Counts one who waits; false if there is nothing to wait for. Under the queue's lock.
    pub(crate) fn join(&self) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        while word >= ONE {
            match self.0.compare_exchange(word, word + 1, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Count;

    #[test]
    fn counts_and_releases() {
        let count = Count::new();
        assert!(count.is_zero() && !count.join());
        assert_eq!(count.add(-1), None);
        assert_eq!(count.add(2), Some(0));
        assert!(count.join() && count.join() && !count.is_zero());
        assert_eq!(count.add(i32::MAX), None);
        assert_eq!(count.add(-3), None);
        assert_eq!(count.add(-1), Some(0));
        assert_eq!(count.add(-1), Some(2));
        assert!(count.is_zero() && !count.join());
        assert_eq!(count.add(i32::MAX), Some(0));
        assert_eq!(count.add(-i32::MAX), Some(0));
    }
}
