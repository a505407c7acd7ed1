//! How many Ms look for work, and which caller must wake one more.
//!
//! **The problem** (Go: proc.go, "Worker thread parking/unparking"). Threads must be parked when
//! there is nothing to do and woken when there is; both sides decide without a common lock. Waking
//! one for every goroutine readied would thrash (a wake-up costs microseconds, a goroutine may be
//! over in less); waking none would leave processors idle beside work.
//!
//! **Chosen, as Go.** An M without work *spins*: it goes round all queues before it parks. The
//! submitter of work wakes an M only if a P is idle and no M spins. A spinning M that finds work
//! wakes the next one: so wake-ups follow the work without a herd.
//!
//! **Protocol.** The submitter: (1) puts the work in a queue, (2) executes a full barrier, (3)
//! reads `spinning`. An M that stops spinning: (1) gives its P to the idle list, (2) takes itself
//! off `spinning`, (3) executes a full barrier, (4) looks at all queues once more. One of the two
//! sees the other.
//!
//! An M that does not spin and gives its P up, and one that submits and finds no idle P, miss each
//! other the same way: the submitter leaves `needed`, and the other takes its P back and spins if
//! it finds it.
//!
//! **Not every work is submitted.** Where the P will probably come round to it before another M
//! could, nobody is woken (`g/haste.rs`, `p/pace.rs`): the monitor looks whether that was right.
//!
//! * ID1: if work is in a queue and a P is idle, then an M spins, is being woken, or will look at
//!   that queue before it parks; or the queue is that of a running P, and the monitor will look at
//!   it.

use crate::base::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering, fence};

/// The counters of the protocol.
#[derive(Debug)]
pub(crate) struct Idle {
    /// Ps on the idle list. Written under the scheduler lock.
    pub(crate) procs: AtomicU32,
    /// Ms that spin, or are about to.
    pub(crate) spinning: AtomicI32,
    /// Somebody wanted to wake an M and found no idle P.
    needed: AtomicBool,
}

impl Idle {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            procs: AtomicU32::new(0),
            spinning: AtomicI32::new(0),
            needed: AtomicBool::new(false),
        }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            procs: AtomicU32::new(0),
            spinning: AtomicI32::new(0),
            needed: AtomicBool::new(false),
        }
    }

    /// After work was put in a queue: must the caller wake a spinning M? If so it has been counted,
    /// and the caller either starts it or calls [`stop_spinning`](Self::stop_spinning).
    #[inline]
    #[must_use]
    pub(crate) fn want_wake(&self) -> bool {
        // The submitter's barrier: pairs with the one in stop_spinning() and went_idle().
        fence(Ordering::SeqCst);
        if self.spinning.load(Ordering::Relaxed) != 0 {
            return false;
        }
        if self.procs.load(Ordering::Relaxed) == 0 && !self.ask() {
            return false;
        }
        self.spinning.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// No P is idle: leaves word. True if one has become idle meanwhile.
    fn ask(&self) -> bool {
        if self.needed.load(Ordering::Relaxed) {
            return false;
        }
        self.needed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.procs.load(Ordering::Relaxed) != 0
    }

    /// The caller was to wake an M and found no idle P after all, under the scheduler lock: it
    /// leaves word for the next P that goes idle. Others may have relied on the M that is not woken
    /// now.
    pub(crate) fn leave_word(&self) {
        self.needed.store(true, Ordering::SeqCst);
    }

    /// An M wants to spin: at most half as many as there are busy Ps. `gomaxprocs` Ps exist.
    pub(crate) fn may_spin(&self, gomaxprocs: u32) -> bool {
        let busy = gomaxprocs.saturating_sub(self.procs.load(Ordering::Relaxed));
        2 * self.spinning.load(Ordering::Relaxed).max(0) < busy as i32
    }

    /// The calling M spins from now on.
    pub(crate) fn start_spinning(&self) {
        self.spinning.fetch_add(1, Ordering::SeqCst);
        self.needed.store(false, Ordering::SeqCst);
    }

    /// The calling M does not spin any more. It must look at all queues again if it has no P; if it
    /// found work, it must call [`want_wake`](Self::want_wake). Returns how many still spin.
    pub(crate) fn stop_spinning(&self) -> i32 {
        let left = self.spinning.fetch_sub(1, Ordering::SeqCst) - 1;
        // The parker's barrier: pairs with the one in want_wake().
        fence(Ordering::SeqCst);
        left
    }

    /// A P went on the idle list (under the scheduler lock).
    pub(crate) fn proc_idle(&self) {
        self.procs.fetch_add(1, Ordering::SeqCst);
    }

    /// A P left the idle list (under the scheduler lock).
    pub(crate) fn proc_busy(&self) {
        self.procs.fetch_sub(1, Ordering::SeqCst);
    }

    /// After an M that did not spin put its P on the idle list: did somebody want it in that
    /// moment? Then the caller takes the P back and spins.
    #[must_use]
    pub(crate) fn was_needed(&self) -> bool {
        // Pairs with the barrier in ask().
        fence(Ordering::SeqCst);
        self.needed.load(Ordering::Relaxed) && self.needed.swap(false, Ordering::SeqCst)
    }
}
