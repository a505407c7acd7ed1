//! A queue of goroutines, linked through them.

use super::G;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// A first-in, first-out list of goroutines. A goroutine is in one list at the most.
#[derive(Debug)]
pub(crate) struct GList {
    head: *mut G,
    tail: *mut G,
    len: usize,
}

// SAFETY: an owner's list of pointers to goroutines, which are Sync.
unsafe impl Send for GList {}

impl GList {
    pub(crate) const fn new() -> Self {
        Self { head: null_mut(), tail: null_mut(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends.
    #[inline]
    pub(crate) fn push_back(&mut self, gp: &'static G) {
        gp.link.store(null_mut(), Ordering::Relaxed);
        if self.head.is_null() {
            self.head = gp.as_ptr();
        } else {
            // SAFETY: tail is a goroutine of this list.
            unsafe { &*self.tail }.link.store(gp.as_ptr(), Ordering::Relaxed);
        }
        self.tail = gp.as_ptr();
        self.len += 1;
    }

    /// Puts in front, as a free list does: the warmest is used first.
    #[inline]
    pub(crate) fn push_front(&mut self, gp: &'static G) {
        gp.link.store(self.head, Ordering::Relaxed);
        if self.head.is_null() {
            self.tail = gp.as_ptr();
        }
        self.head = gp.as_ptr();
        self.len += 1;
    }

    /// Appends the first of `other`, which is not empty.
    pub(crate) fn extend_by_first_of(&mut self, other: &mut Self) {
        if let Some(first) = other.pop_front() {
            self.push_back(first);
        }
    }

    /// The first.
    pub(crate) fn first(&self) -> Option<&'static G> {
        // SAFETY: null, or a goroutine of this list.
        unsafe { self.head.as_ref() }
    }

    /// Takes the first.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<&'static G> {
        // SAFETY: null, or a goroutine of this list.
        let gp = unsafe { self.head.as_ref() }?;
        self.head = gp.link.load(Ordering::Relaxed);
        self.len -= 1;
        Some(gp)
    }
}
