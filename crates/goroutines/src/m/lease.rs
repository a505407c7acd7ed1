//! Whether an M still has its P.
//!
//! **The problem.** A goroutine may block its thread in a way nobody announced: a raw system call,
//! a contended lock of foreign code, a page fault. Its P must go to another M, without a signal
//! (which would show as `EINTR`), and when the goroutine comes back to the runtime it must notice.
//! Coming back happens at every runtime operation, so noticing may cost no more than a load.
//!
//! **Rejected.** A compare-and-swap at each entry: 10 ns, half a context switch. A signal: `EINTR`.
//!
//! **Chosen**: Dekker's protocol with the cost on one side. The goroutine raises its no-preempt
//! count (plain store), then reads the lease (plain load). The monitor writes the lease, executes a
//! barrier on all threads (`membarrier`), then reads the count. Either the goroutine sees `TAKING`,
//! or the monitor sees the raised count; if each sees the other, a compare-and-swap on the lease
//! decides.
//!
//! ```text
//!                 enter_syscall                    take_syscall
//!        OWNED ------------------> SYSCALL ---------------------------+
//!         ^ ^ ^                       |                               |
//!         | | +------ reclaim --------+                               v
//!         | |                               seen in user code       TAKEN
//!         | +---- reclaim, or not in user code ---- TAKING ----------->^
//!         |        begin (monitor): OWNED ------------^                |
//!         +------------------------- grant (a P was found) ------------+
//! ```
//!
//! **Invariants.**
//! * LE1: while the lease is `OWNED` or `SYSCALL`, the P is this M's; it passes to the monitor
//!   exactly when a compare-and-swap makes the lease `TAKEN`.
//! * LE2: the monitor makes it `TAKEN` from `TAKING` only if it saw, after the barrier, this M's
//!   goroutine outside the runtime, and no switch on this M since before `TAKING`.
//!   One thread at a time tries that (two could mistake each other's `TAKING` for their own).
//! * LE3: in a section (count raised, `reclaim` done) the lease is `OWNED`, or `TAKING` for a
//!   moment, and never `TAKEN`.
//!
//! The caller that takes the P of an announced call names the P: the M may have come back, got
//! another one, and announced another call since it was looked at.
//!
//! Why LE3: once the count is raised and visible, the monitor does not finish; an attempt begun
//! before is ended by `reclaim`, one way or the other; one begun later sees the count.

use crate::base::atomic::{AtomicU32, Ordering};

/// None of these values is 0, the value that is unequal to all of them (`base/origin.rs`).
pub(crate) const OWNED: u32 = 1;
const SYSCALL: u32 = 2;
const TAKING: u32 = 3;
const TAKEN: u32 = 4;
/// The lowest bits hold the state; above, in `SYSCALL`, stands the number of the P.
const STATE: u32 = 7;
const SHIFT: u32 = 3;

/// The word. See the file's head.
#[derive(Debug)]
pub(crate) struct Lease(AtomicU32);

/// What coming back found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Reclaimed {
    /// The P is still there.
    Kept,
    /// It is gone: get one, then [`Lease::grant`].
    Lost,
}

impl Lease {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(OWNED))
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(OWNED))
    }

    /// Whether the P is this M's, and nothing is the matter; the count is raised already.
    #[inline]
    pub(crate) fn is_owned(&self) -> bool {
        self.is(OWNED)
    }

    /// The same at a section's beginning, where `owned` is [`OWNED`], or 0 if the caller is to look
    /// closer.
    #[inline]
    pub(crate) fn is(&self, owned: u32) -> bool {
        self.0.load(Ordering::Relaxed) == owned
    }

    /// Whether the goroutine is in an announced system call, with the P at hand.
    pub(crate) fn in_syscall(&self) -> bool {
        self.0.load(Ordering::Relaxed) & STATE == SYSCALL
    }

    /// Whether the P was taken.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed) == TAKEN
    }

    /// Coming back, with the count raised: ends an attempt to take the P, or learns that it is
    /// gone.
    pub(crate) fn reclaim(&self) -> Reclaimed {
        loop {
            let seen = self.0.load(Ordering::Acquire);
            match seen {
                OWNED => return Reclaimed::Kept,
                TAKEN => return Reclaimed::Lost,
                _ => {}
            }
            // AcqRel: what is done with the P next stays behind this.
            let won =
                self.0.compare_exchange(seen, OWNED, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if won {
                return Reclaimed::Kept;
            }
        }
    }

    /// A P was found for an M whose own was taken (or that had none).
    pub(crate) fn grant(&self) {
        self.0.store(OWNED, Ordering::Release);
    }

    /// Announces a blocking call, with the P number `p` at hand; in a section, which ends right
    /// after.
    pub(crate) fn enter_syscall(&self, p: u32) {
        // From OWNED, or from TAKING: then the attempt fails, and the monitor finds SYSCALL
        // instead. Release: all done with the P is visible to the thread that takes it.
        self.0.swap(SYSCALL | p << SHIFT, Ordering::AcqRel);
    }

    /// Takes the P number `p` of an announced call. True: it is the caller's.
    #[must_use]
    pub(crate) fn take_syscall(&self, p: u32) -> bool {
        self.0
            .compare_exchange(SYSCALL | p << SHIFT, TAKEN, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Tries to take the P of a goroutine in user code. True: it is the caller's.
    ///
    /// `barrier` is the heavy barrier (false: there is none just now, so nothing is taken).
    /// `in_user_code` is asked after it: is this M's goroutine still the one seen before, is its
    /// count 0, and is the P the one meant (LE2)? One thread at a time.
    #[must_use]
    pub(crate) fn take_from_user_code(
        &self,
        barrier: impl FnOnce() -> bool,
        in_user_code: impl FnOnce() -> bool,
    ) -> bool {
        if self.0.compare_exchange(OWNED, TAKING, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return false;
        }
        let to = if barrier() && in_user_code() { TAKEN } else { OWNED };
        // Fails if the goroutine came back meanwhile and ended the attempt.
        self.0.compare_exchange(TAKING, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            && to == TAKEN
    }
}
