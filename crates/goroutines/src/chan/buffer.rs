//! What a channel holds: a ring of its capacity, or a list of blocks without end.
//!
//! All calls are made under the channel's lock, where nothing is allocated or freed: a list is
//! given its next block ([`Buffer::feed`]) and gives empty ones back ([`Buffer::take_empty`]).

use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

/// Messages in a block.
const BLOCK: usize = 32;

/// Part of a list.
pub(super) struct Block<T> {
    messages: [MaybeUninit<T>; BLOCK],
    next: *mut Block<T>,
}

impl<T> Block<T> {
    /// A new one. Allocates.
    pub(super) fn new() -> Box<Self> {
        let mut block = Box::<Self>::new_uninit();
        // SAFETY: the messages need no initialising, and `next` is written.
        unsafe {
            (&raw mut (*block.as_mut_ptr()).next).write(null_mut());
            block.assume_init()
        }
    }
}

/// First in, first out.
pub(super) enum Buffer<T> {
    Ring { slots: Box<[MaybeUninit<T>]>, head: usize, len: usize },
    List(Box<List<T>>),
}

pub(super) struct List<T> {
    /// The block the next to be taken is in; null: none yet.
    head: *mut Block<T>,
    head_at: usize,
    tail: *mut Block<T>,
    tail_at: usize,
    len: usize,
    /// An empty one at hand.
    spare: Option<Box<Block<T>>>,
    empty: Empty<T>,
}

/// Blocks to be freed.
pub(super) struct Empty<T>(*mut Block<T>);

impl<T> Empty<T> {
    fn add(&mut self, mut block: Box<Block<T>>) {
        block.next = self.0;
        self.0 = Box::into_raw(block);
    }
}

impl<T> Drop for Empty<T> {
    fn drop(&mut self) {
        while !self.0.is_null() {
            // SAFETY: made by Box::into_raw; there are no messages in it.
            self.0 = unsafe { Box::from_raw(self.0) }.next;
        }
    }
}

// SAFETY: it owns its messages and blocks.
unsafe impl<T: Send> Send for Buffer<T> {}

impl<T> Buffer<T> {
    pub(super) fn ring(capacity: usize) -> Self {
        Self::Ring { slots: Box::new_uninit_slice(capacity), head: 0, len: 0 }
    }

    pub(super) fn list() -> Self {
        Self::List(Box::new(List {
            head: null_mut(),
            head_at: 0,
            tail: null_mut(),
            tail_at: BLOCK,
            len: 0,
            spare: None,
            empty: Empty(null_mut()),
        }))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ring { len, .. } => *len,
            Self::List(list) => list.len,
        }
    }

    /// Whether a block must be fed before the next push.
    #[inline]
    pub(super) fn is_hungry(&self) -> bool {
        matches!(self, Self::List(list) if list.tail_at == BLOCK && list.spare.is_none())
    }

    pub(super) fn feed(&mut self, block: Box<Block<T>>) {
        if let Self::List(list) = self {
            list.keep(block);
        }
    }

    /// What is to be freed, after unlocking.
    #[inline]
    pub(super) fn take_empty(&mut self) -> Empty<T> {
        match self {
            Self::Ring { .. } => Empty(null_mut()),
            Self::List(list) => std::mem::replace(&mut list.empty, Empty(null_mut())),
        }
    }

    #[inline]
    pub(super) fn has_empty(&self) -> bool {
        matches!(self, Self::List(list) if !list.empty.0.is_null())
    }

    /// Appends the message at `from`, which moves.
    ///
    /// # Safety
    /// * There is room: `len` below the capacity, or not hungry.
    #[inline]
    pub(super) unsafe fn push(&mut self, from: *const T) {
        match self {
            Self::Ring { slots, head, len } => {
                let mut at = *head + *len;
                if at >= slots.len() {
                    at -= slots.len();
                }
                // SAFETY: a message, which the caller gives away; the slot is free, as there is
                // room.
                unsafe {
                    slots.get_unchecked_mut(at).as_mut_ptr().copy_from_nonoverlapping(from, 1);
                }
                *len += 1;
            }
            // SAFETY: as the caller says.
            Self::List(list) => unsafe { list.push(from) },
        }
    }

    /// Moves the first to `to`; false if there is none.
    ///
    /// # Safety
    /// * `to` can be written.
    #[inline]
    pub(super) unsafe fn pop(&mut self, to: *mut T) -> bool {
        match self {
            Self::Ring { slots, head, len } => {
                if *len == 0 {
                    return false;
                }
                // SAFETY: the slot holds a message.
                unsafe {
                    to.copy_from_nonoverlapping(slots.get_unchecked(*head).as_ptr(), 1);
                }
                *head += 1;
                if *head == slots.len() {
                    *head = 0;
                }
                *len -= 1;
                true
            }
            // SAFETY: as the caller says.
            Self::List(list) => unsafe { list.pop(to) },
        }
    }
}

impl<T> List<T> {
    unsafe fn push(&mut self, from: *const T) {
        if self.tail_at == BLOCK {
            let block = self.spare.take().map_or(null_mut(), Box::into_raw);
            debug_assert!(!block.is_null(), "a hungry list was pushed to");
            // SAFETY: the old tail is a block of ours.
            match unsafe { self.tail.as_mut() } {
                Some(tail) => tail.next = block,
                None => (self.head, self.head_at) = (block, 0),
            }
            (self.tail, self.tail_at) = (block, 0);
        }
        // SAFETY: a block of ours, with room at tail_at.
        unsafe {
            (*self.tail).messages[self.tail_at].as_mut_ptr().copy_from_nonoverlapping(from, 1);
        }
        self.tail_at += 1;
        self.len += 1;
    }

    unsafe fn pop(&mut self, to: *mut T) -> bool {
        if self.len == 0 {
            return false;
        }
        // SAFETY: there is a message, and it is at head_at of the first block.
        unsafe { to.copy_from_nonoverlapping((*self.head).messages[self.head_at].as_ptr(), 1) };
        self.head_at += 1;
        self.len -= 1;
        if self.head_at == BLOCK {
            // SAFETY: the block was made by Box::into_raw, and all in it were taken.
            let mut done = unsafe { Box::from_raw(self.head) };
            self.head = std::mem::replace(&mut done.next, null_mut());
            self.head_at = 0;
            if self.head.is_null() {
                (self.tail, self.tail_at) = (null_mut(), BLOCK);
            }
            self.keep(done);
        }
        true
    }

    /// One block is kept at hand.
    fn keep(&mut self, block: Box<Block<T>>) {
        if self.spare.is_none() {
            self.spare = Some(block);
        } else {
            self.empty.add(block);
        }
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // A block that is emptied is freed as soon as the next one is.
        let mut message = MaybeUninit::<T>::uninit();
        // SAFETY: what was popped is ours.
        while unsafe { self.pop(message.as_mut_ptr()) } {
            drop(self.take_empty());
            // SAFETY: just written.
            unsafe { message.assume_init_drop() };
        }
        if let Self::List(list) = self
            && let Some(head) = NonNull::new(list.head)
        {
            // SAFETY: made by Box::into_raw; empty.
            drop(unsafe { Box::from_raw(head.as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Block, Buffer};
    use std::mem::MaybeUninit;
    use std::rc::Rc;

    fn push<T>(buffer: &mut Buffer<T>, message: T) {
        if buffer.is_hungry() {
            buffer.feed(Block::new());
        }
        let message = MaybeUninit::new(message);
        // SAFETY: fed, or with room; moved.
        unsafe { buffer.push(message.as_ptr()) };
    }

    fn pop<T>(buffer: &mut Buffer<T>) -> Option<T> {
        let mut message = MaybeUninit::uninit();
        // SAFETY: read only if written.
        let popped = unsafe { buffer.pop(message.as_mut_ptr()) };
        drop(buffer.take_empty());
        // SAFETY: as above.
        popped.then(|| unsafe { message.assume_init() })
    }

    #[test]
    fn comes_out_in_order_and_is_dropped_once() {
        let all = Rc::new(());
        for make in [|| Buffer::ring(7), || Buffer::<(usize, Rc<()>)>::list()] {
            for ahead in [1, 3, 7] {
                let mut buffer = make();
                let (mut pushed, mut popped) = (0, 0);
                for _ in 0..5 * BLOCK {
                    while buffer.len() < ahead {
                        push(&mut buffer, (pushed, Rc::clone(&all)));
                        pushed += 1;
                    }
                    assert_eq!(pop(&mut buffer).map(|(n, _)| n), Some(popped));
                    popped += 1;
                }
                assert_eq!(Rc::strong_count(&all), 1 + buffer.len());
            }
            assert_eq!(Rc::strong_count(&all), 1);
        }
    }

    #[test]
    fn a_list_grows() {
        let mut buffer = Buffer::list();
        for n in 0..10 * BLOCK {
            push(&mut buffer, n);
        }
        for n in 0..4 * BLOCK + 5 {
            assert_eq!(pop(&mut buffer), Some(n));
        }
        for n in 10 * BLOCK..30 * BLOCK {
            push(&mut buffer, n);
        }
        for n in 4 * BLOCK + 5..30 * BLOCK {
            assert_eq!(pop(&mut buffer), Some(n));
        }
        assert_eq!(pop(&mut buffer), None);
    }

    #[test]
    fn of_nothing() {
        let mut buffer = Buffer::list();
        (0..1_000).for_each(|_| push(&mut buffer, ()));
        assert_eq!(std::iter::from_fn(|| pop(&mut buffer)).count(), 1_000);
    }
}
