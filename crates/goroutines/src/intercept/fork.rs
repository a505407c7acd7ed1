//! `fork` in a goroutine.
//!
//! The child has one thread: the one that called, which is the goroutine's. It goes on as that goroutine
//! alone, as an ordinary thread: the scheduler's threads are not in the child, so it is not preempted,
//! waiting blocks the thread, and starting another goroutine is an error. It may `exec`, or exit; when its
//! function returns the child ends with status 0.

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
    SCHED.forked.store(true, Ordering::Relaxed);
    // From here on the goroutine is what the kernel takes it for: the process's only thread. All that
    // asks for the current goroutine finds none, and does what it does on ordinary threads.
    current::unset_g();
}
