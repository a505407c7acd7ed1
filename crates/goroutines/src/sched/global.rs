//! The global run queue: first in, first out, in blocks of pointers.
//!
//! **The problem.** Where a million are queued, half a ring at a time comes here and goes again. A
//! list linked through them would have to touch each twice, long before and long after it is near:
//! two misses per goroutine, under the scheduler lock. (Go links them.)
//!
//! **Chosen.** Blocks of a page, mapped at need, as nothing may be allocated here. Where the system
//! has no memory for one, those that come are linked after all, behind the blocks. The scavenger
//! gives those back that are too many.
//!
//! **A few go first**: those whose wait for a timer or a descriptor has ended while all Ps compute
//! (`find.rs`).

use crate::g::task::{Opaque, RunList, Runnable};
use goroutines_switch::sys;
use std::ptr::null_mut;

const BLOCK_BYTES: usize = 4096;
const BLOCK: usize = BLOCK_BYTES / size_of::<usize>() - 1;
/// Free blocks that are kept for good.
const KEPT: usize = 8;
/// How many go first, at most: what they do before they wait again takes a share of the time, half
/// a millisecond or so.
const FEW: usize = 128;

#[repr(C)]
struct Block {
    /// The block behind it; of a free one, the next free one.
    next: *mut Block,
    all: [*mut Opaque; BLOCK],
}

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES);

/// See the file's head. Under the scheduler lock.
pub(crate) struct GlobalQueue {
    /// The block with the first, and where that is. Null: there was never any.
    head: *mut Block,
    first: usize,
    /// The block with the last, and the place behind it.
    tail: *mut Block,
    end: usize,
    in_blocks: usize,
    free: *mut Block,
    free_count: usize,
    /// Those that there was no block for: behind the others.
    linked: RunList,
    /// In front of all others.
    first_ones: RunList,
}

impl GlobalQueue {
    pub(crate) const fn new() -> Self {
        Self {
            head: null_mut(),
            first: 0,
            tail: null_mut(),
            end: 0,
            in_blocks: 0,
            free: null_mut(),
            free_count: 0,
            linked: RunList::new(),
            first_ones: RunList::new(),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.in_blocks + self.linked.len() + self.first_ones.len()
    }

    /// Whether some go before the others.
    #[inline]
    pub(crate) fn has_first_ones(&self) -> bool {
        !self.first_ones.is_empty()
    }

    /// Takes all of them.
    pub(crate) fn take_first_ones(&mut self) -> RunList {
        std::mem::replace(&mut self.first_ones, RunList::new())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts it before the others, if it is one of few: else appends.
    pub(crate) fn push_first(&mut self, one: Runnable) {
        if self.first_ones.len() < FEW {
            self.first_ones.push_back(one);
        } else {
            self.push(one);
        }
    }

    /// Appends.
    #[inline]
    pub(crate) fn push(&mut self, one: Runnable) {
        if !self.linked.is_empty() || (self.has_no_room() && !self.add_block()) {
            return self.linked.push_back(one);
        }
        // SAFETY: the last block, which has room; ours.
        unsafe { (*self.tail).all[self.end] = one.as_ptr() };
        self.end += 1;
        self.in_blocks += 1;
    }

    fn has_no_room(&self) -> bool {
        self.tail.is_null() || self.end == BLOCK
    }

    /// Takes the first.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Runnable> {
        if let Some(one) = self.first_ones.pop_front() {
            return Some(one);
        }
        if self.in_blocks == 0 {
            return self.linked.pop_front();
        }
        if self.first == BLOCK {
            self.drop_first_block();
        }
        // SAFETY: the first block, in which the first is at `first`; a Runnable was put there.
        let one = unsafe { Runnable::from_ptr((*self.head).all[self.first]) };
        self.first += 1;
        self.in_blocks -= 1;
        if self.in_blocks == 0 {
            // From the beginning of the one block that is left: a short queue stays in a few lines.
            (self.first, self.end) = (0, 0);
        }
        Some(one)
    }

    /// Puts an empty block behind the last.
    #[cold]
    fn add_block(&mut self) -> bool {
        let mut block = self.free;
        if block.is_null() {
            let Ok(new) = sys::map(BLOCK_BYTES) else { return false };
            block = new.cast();
        } else {
            // SAFETY: a free block is ours.
            self.free = unsafe { (*block).next };
            self.free_count -= 1;
        }
        // SAFETY: ours, as large as a block; a null pointer ends the list.
        unsafe { (*block).next = null_mut() };
        if self.tail.is_null() {
            (self.head, self.first) = (block, 0);
        } else {
            // SAFETY: the last block is ours.
            unsafe { (*self.tail).next = block };
        }
        (self.tail, self.end) = (block, 0);
        true
    }

    /// The first block, which is not the last, has been emptied.
    #[cold]
    fn drop_first_block(&mut self) {
        let old = self.head;
        // SAFETY: ours, and there is one behind it.
        self.head = unsafe { (*old).next };
        self.first = 0;
        if self.free_count >= KEPT {
            super::scavenge::soil();
        }
        // SAFETY: ours.
        unsafe { (*old).next = self.free };
        self.free = old;
        self.free_count += 1;
    }

    /// Free blocks that are too many: to be dropped when the scheduler lock is released.
    pub(crate) fn take_surplus(&mut self) -> Surplus {
        let mut surplus = null_mut();
        while self.free_count > KEPT {
            let block = self.free;
            // SAFETY: free blocks are ours.
            unsafe {
                self.free = (*block).next;
                (*block).next = surplus;
            }
            surplus = block;
            self.free_count -= 1;
        }
        Surplus(surplus)
    }

    /// Looks at all, first to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Runnable> {
        let (mut block, mut at, mut left) = (self.head, self.first, self.in_blocks);
        let in_blocks = std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            if at == BLOCK {
                // SAFETY: there are more, so there is a block behind it.
                (block, at) = (unsafe { (*block).next }, 0);
            }
            at += 1;
            // SAFETY: one of those between the first and the last.
            Some(unsafe { Runnable::from_ptr((*block).all[at - 1]) })
        });
        self.first_ones.iter().chain(in_blocks).chain(self.linked.iter())
    }
}

/// Blocks that nobody needs. Dropping it gives them back to the system.
pub(crate) struct Surplus(*mut Block);

impl Drop for Surplus {
    fn drop(&mut self) {
        while !self.0.is_null() {
            let block = self.0;
            // SAFETY: a mapping of that size, which nothing but this list points at.
            unsafe {
                self.0 = (*block).next;
                sys::unmap(block.cast(), BLOCK_BYTES);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, FEW, GlobalQueue, KEPT};
    use crate::g::task::{Opaque, Runnable, Task};
    use goroutines_switch::Class;
    use std::panic::Location;
    use std::ptr::without_provenance_mut;

    /// Never looked at.
    fn runnable(number: usize) -> Runnable {
        // SAFETY: the blocks only carry it.
        unsafe { Runnable::from_ptr(without_provenance_mut::<Opaque>(number * 64)) }
    }

    fn number(one: Runnable) -> usize {
        one.as_ptr().addr() / 64
    }

    #[test]
    fn a_few_go_first() {
        let mut queue = GlobalQueue::new();
        // Linked through, so they must be there; never run.
        let (class, here) = (Class::of(1).expect("a small one"), Location::caller());
        let tasks: Vec<Task> =
            (0..FEW + 2).map(|_| Task::new(class, here, false, |_| {}, |_| {})).collect();
        // SAFETY: nobody will take the reference.
        let ones: Vec<_> = tasks.iter().map(|task| unsafe { Runnable::of_task(task) }).collect();
        queue.push(runnable(1));
        for one in &ones {
            queue.push_first(*one);
        }
        assert_eq!(queue.len(), FEW + 3);
        assert_eq!(queue.pop().map(|one| one.as_ptr()), Some(ones[0].as_ptr()));
        let mut first = queue.take_first_ones();
        assert!(first.len() == FEW - 1 && !queue.has_first_ones());
        assert_eq!(first.pop_front().map(|one| one.as_ptr()), Some(ones[1].as_ptr()));
        // Behind those that were there, in order.
        assert_eq!(queue.pop().map(number), Some(1));
        for one in &ones[FEW..] {
            assert_eq!(queue.pop().map(|one| one.as_ptr()), Some(one.as_ptr()));
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn first_in_first_out_over_many_blocks() {
        let mut queue = GlobalQueue::new();
        assert!(queue.is_empty() && queue.pop().is_none());
        let (mut next_in, mut next_out) = (1, 1);
        // Fills and empties it, at first by little, then by far more than it keeps blocks for.
        for (more, fewer) in [
            (3, 3),
            (BLOCK, BLOCK - 1),
            (2, 3),
            (BLOCK + 7, 9),
            (40 * BLOCK, 3 * BLOCK),
            (5, 38 * BLOCK),
        ] {
            for _ in 0..more {
                queue.push(runnable(next_in));
                next_in += 1;
            }
            let all: Vec<usize> = queue.iter().map(number).collect();
            assert_eq!(all, (next_out..next_in).collect::<Vec<_>>());
            for _ in 0..fewer {
                assert_eq!(queue.pop().map(number), Some(next_out));
                next_out += 1;
            }
            assert_eq!(queue.len(), next_in - next_out);
        }
        while let Some(one) = queue.pop() {
            assert_eq!(number(one), next_out);
            next_out += 1;
        }
        assert_eq!(next_out, next_in);
        assert!(queue.free_count > KEPT && queue.is_empty());
        drop(queue.take_surplus());
        assert_eq!(queue.free_count, KEPT);
        assert_eq!((queue.first, queue.end), (0, 0), "from the beginning again");
    }
}
