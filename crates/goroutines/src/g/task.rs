//! A goroutine before and beside its stack.
//!
//! `go` makes a [`Task`]: what the goroutine is known by, and (behind it, in the same allocation)
//! its closure and the place of its result. That is all a goroutine is until it first runs: it
//! needs no stack while it waits in a queue, so a million of them cost a hundred-odd bytes each,
//! and those that are over in a moment take turns on the same few warm stacks. With its first run
//! it gets a [`G`].
//!
//! * TA1: a task is a [`Runnable`] in a queue, or has a G, or is over.
//! * TA2: the goroutine holds one reference, from its making to its end.

use super::G;
use goroutines_switch::Class;
use std::cell::Cell;
use std::panic::Location;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

/// What a goroutine is known by; the head of a larger allocation.
#[repr(C, align(8))]
pub(crate) struct Task {
    refs: AtomicUsize,
    /// Frees the whole allocation.
    free: unsafe fn(*const Task),
    /// The goroutine's function: takes the closure, leaves the result, does not unwind.
    pub(crate) run: unsafe fn(*const Task),
    pub(crate) goid: AtomicU64,
    /// The next in a queue, before it has a G.
    link: AtomicPtr<Opaque>,
    pub(crate) class: &'static Class,
    /// The goroutine that started it (0: an ordinary thread), where and when.
    pub(crate) creator: Cell<u64>,
    pub(crate) location: &'static Location<'static>,
    pub(crate) created_ns: Cell<u64>,
    /// The floating-point environment that it begins with: that of the goroutine or thread that
    /// started it.
    pub(crate) float: Cell<u64>,
    /// The signal mask that it begins with, as `signals/masks.rs` notes it; 0: the usual one.
    #[cfg(feature = "intercept")]
    pub(crate) mask: Cell<u64>,
    /// The runtime's own: not counted.
    pub(crate) is_system: bool,
    /// The test that it was started in, directly or not; 0: in none.
    pub(crate) family: Cell<u32>,
    /// For `thread/join.rs`: the waiter for its end; the handle that names it.
    pub(crate) joiner: AtomicPtr<()>,
    pub(crate) thread: AtomicPtr<()>,
}

// SAFETY: cells are written before the task is in a queue.
unsafe impl Sync for Task {}

impl Task {
    /// A task with two references: the goroutine's, and the maker's.
    pub(crate) fn new(
        class: &'static Class,
        location: &'static Location<'static>,
        is_system: bool,
        run: unsafe fn(*const Task),
        free: unsafe fn(*const Task),
    ) -> Self {
        Self {
            refs: AtomicUsize::new(2),
            free,
            run,
            goid: AtomicU64::new(0),
            link: AtomicPtr::new(null_mut()),
            class,
            creator: Cell::new(0),
            location,
            created_ns: Cell::new(0),
            float: Cell::new(goroutines_switch::FLOAT_DEFAULT),
            #[cfg(feature = "intercept")]
            mask: Cell::new(0),
            is_system,
            family: Cell::new(0),
            joiner: AtomicPtr::new(null_mut()),
            thread: AtomicPtr::new(null_mut()),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.goid.load(Ordering::Relaxed)
    }

    /// Gives a reference back.
    ///
    /// # Safety
    /// * The caller has one.
    pub(crate) unsafe fn release(this: *const Self) {
        // SAFETY: alive, as the caller has a reference. Release: what we did to it.
        if unsafe { (*this).refs.fetch_sub(1, Ordering::Release) } == 1 {
            fence(Ordering::Acquire); // pairs with the other's Release
            // SAFETY: that was the last; `free` is that of its allocation.
            unsafe { ((*this).free)(this) };
        }
    }
}

/// What a [`Runnable`] points at, seen from a queue.
pub(crate) struct Opaque(());

/// What a run queue holds: a goroutine, or one that has not begun. One word; the lowest bit tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Runnable(NonNull<Opaque>);

// SAFETY: a queue's element passes from one thread to another; both kinds are Sync.
unsafe impl Send for Runnable {}

const TASK: usize = 1;

/// A [`Runnable`], told apart.
pub(crate) enum Kind {
    /// It has a stack.
    G(&'static G),
    /// It has none yet. The thread that takes it from the queue owns the goroutine's reference.
    Task(*const Task),
}

impl Runnable {
    #[inline]
    pub(crate) fn of_g(gp: &'static G) -> Self {
        Self(NonNull::from(gp).cast())
    }

    /// # Safety
    /// * The caller passes the goroutine's reference on (TA2).
    #[inline]
    pub(crate) unsafe fn of_task(task: *const Task) -> Self {
        let tagged = task.cast_mut().cast::<Opaque>().map_addr(|at| at | TASK);
        // SAFETY: not null, as it has the tag.
        Self(unsafe { NonNull::new_unchecked(tagged) })
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut Opaque {
        self.0.as_ptr()
    }

    /// # Safety
    /// * `ptr` came from [`as_ptr`](Self::as_ptr), through a queue.
    #[inline]
    pub(crate) unsafe fn from_ptr(ptr: *mut Opaque) -> Self {
        // SAFETY: as_ptr gives no null pointer.
        Self(unsafe { NonNull::new_unchecked(ptr) })
    }

    #[inline]
    pub(crate) fn kind(self) -> Kind {
        let at = self.as_ptr();
        if at.addr() & TASK == 0 {
            // SAFETY: of_g made it; Gs are never freed.
            Kind::G(unsafe { &*at.cast() })
        } else {
            Kind::Task(at.map_addr(|at| at & !TASK).cast())
        }
    }

    fn link(&self) -> &AtomicPtr<Opaque> {
        match self.kind() {
            Kind::G(gp) => &gp.runlink,
            // SAFETY: alive: the holder of the Runnable holds the goroutine's reference.
            Kind::Task(task) => unsafe { &(*task).link },
        }
    }
}

/// A first-in, first-out list of what can run, linked through it.
#[derive(Debug)]
pub(crate) struct RunList {
    head: *mut Opaque,
    tail: *mut Opaque,
    len: usize,
}

// SAFETY: an owner's list of Runnables, which are Send.
unsafe impl Send for RunList {}

impl RunList {
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
    pub(crate) fn push_back(&mut self, one: Runnable) {
        one.link().store(null_mut(), Ordering::Relaxed);
        if self.head.is_null() {
            self.head = one.as_ptr();
        } else {
            // SAFETY: tail is an element of this list.
            unsafe { Runnable::from_ptr(self.tail) }.link().store(one.as_ptr(), Ordering::Relaxed);
        }
        self.tail = one.as_ptr();
        self.len += 1;
    }

    /// Takes the first.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Runnable> {
        if self.head.is_null() {
            return None;
        }
        // SAFETY: an element of this list.
        let first = unsafe { Runnable::from_ptr(self.head) };
        self.head = first.link().load(Ordering::Relaxed);
        self.len -= 1;
        Some(first)
    }

    /// Looks at all, first to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Runnable> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            if at.is_null() {
                return None;
            }
            // SAFETY: an element of this list.
            let one = unsafe { Runnable::from_ptr(at) };
            at = one.link().load(Ordering::Relaxed);
            Some(one)
        })
    }
}
