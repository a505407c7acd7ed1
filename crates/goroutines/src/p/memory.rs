//! The memory of tasks: magazines.
//!
//! **The problem.** A task is freed where its goroutine ran, not where it was made, and by a
//! goroutine, whose libc cache (a thread's) is cold and soon full: where one processor makes
//! goroutines and others run them, both are in libc's arena all the time, and fight for its lock.
//!
//! **Chosen** (Bonwick and Adams, "Magazines and Vmem", 2001). Blocks of a few sizes, from the
//! program's allocator. A P keeps up to two magazines of each size, and exchanges full ones with
//! all others at a depot; so it is there once for [`MAGAZINE`] goroutines. Blocks go back to the
//! allocator when the depot has too many, by one processor at a time, and a second or two after
//! they were last used: the scavenger takes as many as the depot never was without since it last
//! looked (the paper's working set).
//!
//! * ME1: a block is the caller's, in one magazine, or the allocator's.

use crate::base::lock::Lock;
use crate::g::current;
use crate::sched::{current_p, scavenge};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

/// Blocks are a multiple of this, from the least on.
const STEP: usize = 32;
const LEAST: usize = 128;
const SIZES: usize = 12;
const ALIGN: usize = 16;
const MAGAZINE: usize = 32;
/// Magazines that the depot has of a size before it gives some back.
const MANY: usize = 1024;

/// The number of the size for a type; none: it is to be allocated by itself.
pub(crate) const fn size_for<T>() -> Option<usize> {
    let size = size_of::<T>();
    if align_of::<T>() > ALIGN || size > LEAST + (SIZES - 1) * STEP {
        return None;
    }
    if size <= LEAST { Some(0) } else { Some((size - LEAST).div_ceil(STEP)) }
}

fn layout(size: usize) -> Layout {
    // SAFETY: a power of two, and far from overflow.
    unsafe { Layout::from_size_align_unchecked(LEAST + size * STEP, ALIGN) }
}

/// A free block.
struct Block {
    next: *mut Block,
    /// Of the first block of a magazine in the depot: the next magazine.
    next_full: *mut Block,
}

#[derive(Clone, Copy)]
struct Magazine {
    top: *mut Block,
    count: usize,
}

impl Magazine {
    const EMPTY: Self = Self { top: null_mut(), count: 0 };

    #[inline]
    fn pop(&mut self) -> Option<NonNull<Block>> {
        let top = NonNull::new(self.top)?;
        // SAFETY: ME1: it is in this magazine, which is ours.
        self.top = unsafe { top.as_ref().next };
        self.count -= 1;
        Some(top)
    }

    #[inline]
    fn push(&mut self, block: NonNull<Block>) {
        // SAFETY: the caller's block, larger than this.
        unsafe { (*block.as_ptr()).next = self.top };
        self.top = block.as_ptr();
        self.count += 1;
    }

    /// Gives its blocks back to the allocator. Outside a section.
    fn free(mut self, size: usize) {
        while let Some(block) = self.pop() {
            // SAFETY: ME1: from alloc() with this layout, and nobody's.
            unsafe { dealloc(block.as_ptr().cast(), layout(size)) };
        }
    }
}

/// A P's blocks of one size.
#[derive(Clone, Copy)]
struct Shelf {
    /// Taken from, and put back to.
    open: Magazine,
    /// Full, or empty.
    other: Magazine,
}

impl Shelf {
    /// Puts a block of that size in. Whether the depot has too many then. In a section, or with the
    /// world stopped.
    #[inline]
    fn push(&mut self, block: NonNull<Block>, size: usize) -> bool {
        let mut are_many = false;
        if self.open.count == MAGAZINE {
            if self.other.count > 0 {
                are_many = DEPOT[size].put(self.other) > MANY;
            }
            self.other = std::mem::replace(&mut self.open, Magazine::EMPTY);
        }
        self.open.push(block);
        are_many
    }
}

/// A P's blocks. Its owner's.
pub(crate) struct Store(UnsafeCell<[Shelf; SIZES]>);

impl Store {
    pub(crate) const fn new() -> Self {
        let empty = Shelf { open: Magazine::EMPTY, other: Magazine::EMPTY };
        Self(UnsafeCell::new([empty; SIZES]))
    }

    /// Gives all blocks to `other`, and to the depot what `other` has no room for. With the world
    /// stopped: nothing is given to the allocator here.
    ///
    /// # Safety
    /// * They are of two Ps, which the caller owns.
    pub(crate) unsafe fn move_to(&self, other: &Self) {
        // SAFETY: the caller's.
        let (from, to) = unsafe { (&mut *self.0.get(), &mut *other.0.get()) };
        for (size, (from, to)) in from.iter_mut().zip(to).enumerate() {
            for magazine in [&mut from.open, &mut from.other] {
                while let Some(block) = magazine.pop() {
                    to.push(block, size);
                }
            }
        }
    }
}

/// The full magazines of one size.
struct Full {
    top: *mut Block,
    count: usize,
    /// The fewest there were since the scavenger looked.
    least: usize,
}

// SAFETY: blocks are nobody's while they are here.
unsafe impl Send for Full {}

#[repr(align(128))]
struct Depot(Lock<Full>);

static DEPOT: [Depot; SIZES] =
    [const { Depot(Lock::new(Full { top: null_mut(), count: 0, least: 0 })) }; SIZES];

/// Somebody gives blocks back.
static FREEING: AtomicBool = AtomicBool::new(false);

impl Depot {
    fn take(&'static self) -> Option<Magazine> {
        let mut full = self.0.lock_static();
        let top = NonNull::new(full.top)?;
        // SAFETY: in the depot, whose lock we have.
        full.top = unsafe { top.as_ref().next_full };
        full.count -= 1;
        full.least = full.least.min(full.count);
        Some(Magazine { top: top.as_ptr(), count: MAGAZINE })
    }

    /// How many there are with `magazine`, which is full.
    fn put(&'static self, magazine: Magazine) -> usize {
        scavenge::soil();
        let mut full = self.0.lock_static();
        // SAFETY: the caller's, and not empty.
        unsafe { (*magazine.top).next_full = full.top };
        full.top = magazine.top;
        full.count += 1;
        full.count
    }
}

/// Memory for what [`size_for`] gave that size. Outside a section.
pub(crate) fn take(size: usize) -> NonNull<u8> {
    if let Some(block) = take_from_store(size) {
        return block.cast();
    }
    let layout = layout(size);
    // SAFETY: a layout of some size.
    let new = unsafe { alloc(layout) };
    NonNull::new(new).unwrap_or_else(|| handle_alloc_error(layout))
}

#[inline]
fn take_from_store(size: usize) -> Option<NonNull<Block>> {
    let _section = current::enter();
    let pp = current_p()?;
    // SAFETY: we own pp, and stay its owner in the section.
    let shelf = unsafe { &mut (*pp.tasks.0.get())[size] };
    if let Some(block) = shelf.open.pop() {
        return Some(block);
    }
    if shelf.other.count > 0 {
        std::mem::swap(&mut shelf.open, &mut shelf.other);
    } else {
        shelf.open = DEPOT[size].take()?;
    }
    shelf.open.pop()
}

/// Gives memory back. Outside a section.
///
/// # Safety
/// * It came from [`take`] with the same size, and nobody uses it any more.
pub(crate) unsafe fn give(block: NonNull<u8>, size: usize) {
    let block = block.cast::<Block>();
    let section = current::enter();
    let Some(pp) = current_p() else {
        // SAFETY: caller.
        return unsafe { dealloc(block.as_ptr().cast(), layout(size)) };
    };
    // SAFETY: we own pp, and stay its owner in the section.
    let are_many = unsafe { &mut (*pp.tasks.0.get())[size] }.push(block, size);
    drop(section);
    if are_many && !FREEING.swap(true, Ordering::Acquire) {
        for _ in 0..2 {
            free_one(size);
        }
        FREEING.store(false, Ordering::Release);
    }
}

/// Gives a full magazine of the depot back to the allocator, if there is one.
fn free_one(size: usize) {
    let section = current::enter();
    let taken = DEPOT[size].take();
    drop(section);
    if let Some(magazine) = taken {
        magazine.free(size);
    }
}

/// Gives what was not used since the last time back to the allocator; whether there is more. By the
/// scavenger.
pub(crate) fn trim() -> bool {
    let mut are_left = false;
    for (size, depot) in DEPOT.iter().enumerate() {
        let unused = {
            let _section = current::enter();
            depot.0.lock_static().least
        };
        for _ in 0..unused {
            free_one(size);
        }
        let _section = current::enter();
        let mut full = depot.0.lock_static();
        full.least = full.count;
        are_left |= full.count > 0;
    }
    are_left
}
