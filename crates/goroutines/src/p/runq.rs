//! The local run queue: a ring of 256 and one slot in front of it.
//!
//! Previous: `sched/go.rs` and `sched/ready.rs` put goroutines here. Next: `sched/find.rs` takes
//! them.
//!
//! **Protocol** (Go: `runqput`, `runqget`, `runqgrab`). The owner alone writes `tail` and the slots
//! between `tail` and `head + N`; owner and thieves alike move `head`, by compare-and-swap. A
//! slot's content counts only if the compare-and-swap on `head` that follows its reading succeeds,
//! so slots are atomics read relaxed: a thief may read a slot that is being overwritten, and then
//! fails.
//!
//! **`runnext`** is a slot before the ring's front, for the goroutine readied last: what was just
//! written is still in the cache, and a pair that talks to each other stays together. It inherits
//! the time slice of the one that readied it, so such a pair can't starve the ring.
//!
//! * R1: `tail − head ≤ N` always (wrapping).
//! * R2: an element is returned by exactly one of: `get`, a thief's `steal`, an overflow batch.
//! * R3: an element is never in the ring twice.

use crate::base::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::ptr::null_mut;

/// Slots of the ring; few under the model checker, so that it can fill it.
pub(crate) const RING: usize = if cfg!(loom) { 4 } else { 256 };

/// What a full ring gives up: half of it, and the element that found it full.
pub(crate) type Overflow<T> = [*mut T; RING / 2 + 1];

/// The queue of one processor.
#[derive(Debug)]
pub(crate) struct LocalQueue<T> {
    head: AtomicU32,
    tail: AtomicU32,
    runnext: AtomicPtr<T>,
    ring: [AtomicPtr<T>; RING],
}

impl<T> LocalQueue<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            runnext: AtomicPtr::new(null_mut()),
            ring: [const { AtomicPtr::new(null_mut()) }; RING],
        }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            runnext: AtomicPtr::new(null_mut()),
            ring: std::array::from_fn(|_| AtomicPtr::new(null_mut())),
        }
    }

    fn slot(&self, index: u32) -> &AtomicPtr<T> {
        &self.ring[index as usize % RING]
    }

    /// Elements in the ring, and whether `runnext` holds one. A snapshot.
    pub(crate) fn len(&self) -> (u32, bool) {
        let next = !self.runnext.load(Ordering::Relaxed).is_null();
        let head = self.head.load(Ordering::Acquire);
        (self.tail.load(Ordering::Acquire).wrapping_sub(head).min(RING as u32), next)
    }

    /// Looks at all that is here, while nobody changes it (the world is stopped).
    pub(crate) fn each(&self, mut f: impl FnMut(*mut T)) {
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Acquire);
        let next = self.runnext.load(Ordering::Acquire);
        if !next.is_null() {
            f(next);
        }
        (0..tail.wrapping_sub(head))
            .for_each(|i| f(self.slot(head.wrapping_add(i)).load(Ordering::Relaxed)));
    }

    /// Whether nothing is here, at one moment between call and return. (Go: `runqempty`.)
    pub(crate) fn is_empty(&self) -> bool {
        // `put` moves the old runnext into the ring: looking at tail before and after tells whether
        // that happened between looking at the ring and at runnext.
        loop {
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Acquire);
            let next = self.runnext.load(Ordering::Acquire);
            if tail == self.tail.load(Ordering::Acquire) {
                return head == tail && next.is_null();
            }
        }
    }

    /// Puts an element in the slot in front; the one that was there goes to the tail. If the ring
    /// is full, `spill` gets the overflow.
    ///
    /// # Safety
    /// * The caller owns this queue. R3 for `element`.
    #[inline]
    pub(crate) unsafe fn put_next(&self, element: *mut T, spill: impl FnOnce(&Overflow<T>)) {
        // AcqRel: hands what `element` points at to a thief, and takes over what the old one does.
        let old = self.runnext.swap(element, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: the owner (caller); `old` has just left the slot.
            unsafe { self.put(old, spill) };
        }
    }

    /// Puts what is in the slot in front at the tail. If the ring is full, `spill` gets the
    /// overflow.
    ///
    /// # Safety
    /// * The caller owns this queue.
    pub(crate) unsafe fn demote_next(&self, spill: impl FnOnce(&Overflow<T>)) {
        // AcqRel: as in put_next().
        let old = self.runnext.swap(null_mut(), Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: the owner (caller); `old` has just left the slot.
            unsafe { self.put(old, spill) };
        }
    }

    /// Puts an element at the tail. If the ring is full, `spill` gets the overflow.
    ///
    /// # Safety
    /// * The caller owns this queue. R3 for `element`.
    #[inline]
    pub(crate) unsafe fn put(&self, element: *mut T, spill: impl FnOnce(&Overflow<T>)) {
        if !self.try_put(element) {
            self.put_full(element, spill);
        }
    }

    #[inline]
    fn try_put(&self, element: *mut T) -> bool {
        // Acquire: pairs with the thieves' Release on head; they are done with the slot.
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Relaxed);
        if tail.wrapping_sub(head) == RING as u32 {
            return false;
        }
        self.slot(tail).store(element, Ordering::Relaxed);
        // Release: pairs with the Acquire on tail in grab().
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        true
    }

    /// Takes half of a full ring out, unless a thief was faster (then there is room). Apart, for
    /// the kilobyte of stack it needs.
    #[cold]
    #[inline(never)]
    fn put_full(&self, element: *mut T, spill: impl FnOnce(&Overflow<T>)) {
        const HALF: u32 = RING as u32 / 2;
        loop {
            let mut batch = [null_mut(); RING / 2 + 1];
            let head = self.head.load(Ordering::Acquire);
            for i in 0..HALF {
                batch[i as usize] = self.slot(head.wrapping_add(i)).load(Ordering::Relaxed);
            }
            batch[HALF as usize] = element;
            let is_full = self.tail.load(Ordering::Relaxed).wrapping_sub(head) == RING as u32;
            let next = head.wrapping_add(HALF);
            // Release: our reads of the slots stay before it.
            let took = is_full
                && self
                    .head
                    .compare_exchange(head, next, Ordering::Release, Ordering::Relaxed)
                    .is_ok();
            if took {
                return spill(&batch);
            }
            if self.try_put(element) {
                return;
            }
        }
    }

    /// Takes what is in the slot in front (true), else the ring's head (false).
    ///
    /// # Safety
    /// * The caller owns this queue.
    #[inline]
    pub(crate) unsafe fn get(&self) -> Option<(*mut T, bool)> {
        let next = self.runnext.load(Ordering::Relaxed);
        // Only the owner fills the slot, thieves only empty it: if the swap fails, it is empty.
        if !next.is_null()
            && self
                .runnext
                // Release: a thread that finds the slot empty (is_empty) sees what went from it to
                // the ring.
                .compare_exchange(next, null_mut(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            return Some((next, true));
        }
        loop {
            // Acquire: pairs with the Release of thieves.
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Relaxed);
            if tail == head {
                return None;
            }
            let element = self.slot(head).load(Ordering::Relaxed);
            let next = head.wrapping_add(1);
            // Release: the read of the slot stays before it.
            if self.head.compare_exchange(head, next, Ordering::Release, Ordering::Relaxed).is_ok()
            {
                return Some((element, false));
            }
        }
    }

    /// Copies half of the ring (rounded up) into `to`, from its index `at` on; how many.
    fn grab(&self, to: &Self, at: u32) -> u32 {
        loop {
            // Acquire: pairs with Release on head and tail: the slots between them are written.
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Acquire);
            let available = tail.wrapping_sub(head);
            let n = available - available / 2;
            if n == 0 {
                return 0;
            }
            if n > RING as u32 / 2 {
                continue; // head and tail of different moments
            }
            for i in 0..n {
                let element = self.slot(head.wrapping_add(i)).load(Ordering::Relaxed);
                to.slot(at.wrapping_add(i)).store(element, Ordering::Relaxed);
            }
            let next = head.wrapping_add(n);
            // Release: the reads stay before it; pairs with the owner's Acquire. Acquire: what the
            // elements point at.
            if self.head.compare_exchange(head, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return n;
            }
        }
    }

    /// Steals half of `victim`'s ring into this one, and returns one of them to run at once.
    ///
    /// # Safety
    /// * The caller owns this queue, and it is empty.
    pub(crate) unsafe fn steal(&self, victim: &Self) -> Option<*mut T> {
        let tail = self.tail.load(Ordering::Relaxed);
        let n = victim.grab(self, tail).checked_sub(1)?;
        let element = self.slot(tail.wrapping_add(n)).load(Ordering::Relaxed);
        if n > 0 {
            // Release: pairs with the Acquire on tail in grab().
            self.tail.store(tail.wrapping_add(n), Ordering::Release);
        }
        Some(element)
    }

    /// Steals what is in `victim`'s slot in front. Last resort: its owner is about to run it.
    pub(crate) fn steal_next(victim: &Self) -> Option<*mut T> {
        let next = victim.runnext.load(Ordering::Relaxed);
        let won = !next.is_null()
            && victim
                .runnext
                .compare_exchange(next, null_mut(), Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        won.then_some(next)
    }
}
