//! A list to which anybody adds, and all of which one thread takes.
//!
//! Things that are never freed tell of themselves: an M that was left without a P, an M about which
//! somebody has a question. A thing is in the list once, however often it is added before it is
//! taken.
//!
//! * GA1: what was done before a thing was added is seen by the thread that takes it afterwards,
//!   also where the thing was in the list already. So the flag is exchanged on both sides, never
//!   only stored.

use crate::base::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::ptr::null_mut;

/// A thing's part of a list.
#[derive(Debug)]
pub(crate) struct Hook<T> {
    next: AtomicPtr<T>,
    is_in: AtomicBool,
}

/// A list of things of which each has a [`Hook`] for it.
#[derive(Debug)]
pub(crate) struct Gather<T: 'static> {
    first: AtomicPtr<T>,
    hook: fn(&T) -> &Hook<T>,
}

impl<T> Hook<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { next: AtomicPtr::new(null_mut()), is_in: AtomicBool::new(false) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { next: AtomicPtr::new(null_mut()), is_in: AtomicBool::new(false) }
    }
}

impl<T> Gather<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(hook: fn(&T) -> &Hook<T>) -> Self {
        Self { first: AtomicPtr::new(null_mut()), hook }
    }

    #[cfg(loom)]
    pub(crate) fn new(hook: fn(&T) -> &Hook<T>) -> Self {
        Self { first: AtomicPtr::new(null_mut()), hook }
    }

    /// Adds `one`, unless it is in the list.
    pub(crate) fn add(&self, one: &'static T) {
        let hook = (self.hook)(one);
        // GA1: pairs with take().
        if hook.is_in.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = std::ptr::from_ref(one).cast_mut();
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            hook.next.store(first, Ordering::Relaxed);
            // Release: pairs with take().
            match self.first.compare_exchange(first, this, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => first = other,
            }
        }
    }

    /// Takes all that are in the list. By one thread.
    pub(crate) fn take(&self) -> impl Iterator<Item = &'static T> {
        let mut next = match self.first.load(Ordering::Relaxed) {
            first if first.is_null() => first,
            _ => self.first.swap(null_mut(), Ordering::Acquire),
        };
        let hook = self.hook;
        std::iter::from_fn(move || {
            // SAFETY: null, or a thing that was added, which is never freed.
            let one = unsafe { next.as_ref() }?;
            // Before it may be added again.
            next = hook(one).next.load(Ordering::Relaxed);
            // GA1: pairs with add().
            hook(one).is_in.swap(false, Ordering::AcqRel);
            Some(one)
        })
    }
}
