//! `fork` in a goroutine.
//!
//! The child has one thread: the one that called, which is the goroutine's. It goes on as that goroutine
//! alone. There is no scheduler any more (its threads are not in the child), so it is not preempted,
//! yields do nothing, and starting another goroutine is an error; it may `exec`, or exit.

use crate::g::current;
use crate::sched::SCHED;
use std::sync::atomic::Ordering;

/// Has libc call us in each child.
pub(crate) fn watch() {
    // SAFETY: three functions that may be called at any fork.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
}

/// No switch may come between the copy and what the child does first.
extern "C" fn before() {
    if let Some(gp) = current::g() {
        current::raise(gp);
    }
}

extern "C" fn parent() {
    if let Some(gp) = current::g() {
        current::leave(gp);
    }
}

extern "C" fn child() {
    // The count stays raised for good: nothing can preempt this goroutine.
    SCHED.forked.store(true, Ordering::Relaxed);
}
