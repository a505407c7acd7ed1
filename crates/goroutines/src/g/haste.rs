//! Whether the goroutine that another wakes can wait for its waker to park.
//!
//! **The problem.** A goroutine that wakes another mostly parks at once: a message and its answer,
//! a lock and its next holder. To wake a second M for the one that was woken takes longer than to
//! let it run next here, and two processors that take turns get in each other's way. But some go on
//! for long after they have woken another, which should run elsewhere meanwhile. (Go wakes an M
//! each time, which then leaves the one that was woken alone for some 50 µs.)
//!
//! **Chosen.** Each goroutine is taken at its past. At first its wakes wait. If one had to be
//! fetched by another M, or by the monitor (`sched/sysmon.rs`), since the goroutine went on and on,
//! the next 32 of its wakes wake an M at once; if the one after those is in vain again, the next
//! 64, and so on. Many in a row that were right make up for one that was wrong.

use std::sync::atomic::{AtomicU32, Ordering};

/// The fewest wakes that don't wait after one that waited too long, and how often that may double.
const FEW: u32 = 32;
const MOST_DOUBLINGS: u32 = 10;

// Fields: how many wakes are not to wait (16 bits), right guesses (8), doublings (8).
const OWED: u32 = 0xffff;
const RIGHT: u32 = 1 << 16;
const RIGHTS: u32 = 0xff << 16;
const DOUBLING: u32 = 1 << 24;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Haste(AtomicU32);

impl Haste {
    #[cfg(test)]
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Another goroutine begins.
    #[inline]
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The goroutine wakes another: whether that one can wait. By the goroutine.
    #[inline]
    pub(crate) fn can_wait(&self) -> bool {
        // A count that waited_in_vain() sets at the same time may be lost: it is a guess.
        let word = self.0.load(Ordering::Relaxed);
        if word & OWED != 0 {
            self.0.store(word - 1, Ordering::Relaxed);
            return false;
        }
        let next = if word < DOUBLING {
            return true;
        } else if word & RIGHTS == RIGHTS {
            (word & !RIGHTS) - DOUBLING
        } else {
            word + RIGHT
        };
        self.0.store(next, Ordering::Relaxed);
        true
    }

    /// One that it woke has waited too long. By others.
    #[cold]
    pub(crate) fn waited_in_vain(&self) {
        let doublings = self.0.load(Ordering::Relaxed) / DOUBLING;
        let doublings = doublings.min(MOST_DOUBLINGS - 1);
        self.0.store(((doublings + 1) * DOUBLING) | (FEW << doublings), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Haste;

    fn hasty(haste: &Haste) -> usize {
        std::iter::repeat_with(|| haste.can_wait()).take_while(|can| !can).count()
    }

    #[test]
    fn wakes_wait_at_first() {
        let haste = Haste::new();
        assert!((0..10_000).all(|_| haste.can_wait()));
    }

    #[test]
    fn who_goes_on_and_on_wakes_at_once() {
        let haste = Haste::new();
        for doubled in [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 16384, 16384] {
            haste.waited_in_vain();
            assert_eq!(hasty(&haste), doubled);
        }
        haste.reset();
        assert!(haste.can_wait());
    }

    #[test]
    fn right_guesses_make_up_for_wrong_ones() {
        let haste = Haste::new();
        (0..3).for_each(|_| haste.waited_in_vain());
        assert_eq!(hasty(&haste), 128);
        for _ in 0..300 {
            assert!(haste.can_wait());
        }
        haste.waited_in_vain();
        assert_eq!(hasty(&haste), 128);
        assert!((0..2_000).all(|_| haste.can_wait()));
        haste.waited_in_vain();
        assert_eq!(hasty(&haste), 32);
    }
}
