//! A P's free list: goroutines that ended on it, to be used again, the warmest first.
//!
//! Between two looks of the scavenger some of them are not used at all: the coldest, as many as
//! have always been in the list. Those are given to all Ps, and their pages to the kernel.
//! (Bonwick's working set, as in `memory.rs`.)

use crate::g::{G, GList};

/// The list. It belongs to the owner of its P.
#[derive(Debug)]
pub(crate) struct FreeList {
    list: GList,
    /// The fewest goroutines that it has had since the scavenger looked.
    least: usize,
}

impl FreeList {
    pub(crate) const fn new() -> Self {
        Self { list: GList::new(), least: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Takes the warmest goroutine.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<&'static G> {
        let first = self.list.pop_front()?;
        if self.list.len() < self.least {
            self.least = self.list.len();
        }
        Some(first)
    }

    /// Puts a goroutine in front, which has just ended.
    #[inline]
    pub(crate) fn push(&mut self, gp: &'static G) {
        self.list.push_front(gp);
    }

    /// Puts a goroutine behind, which is cold.
    pub(crate) fn push_cold(&mut self, gp: &'static G) {
        self.list.push_back(gp);
    }

    /// Takes those that were not used since this was called last; what is left is counted anew.
    pub(crate) fn take_unused(&mut self) -> GList {
        let mut used = GList::new();
        for _ in self.least..self.list.len() {
            used.extend_by_first_of(&mut self.list);
        }
        self.least = used.len();
        std::mem::replace(&mut self.list, used)
    }
}
