//! Cancellation from outside: the context a goroutine runs in ends, and with it what the goroutine
//! waits for.
//!
//! Previous: `context/mod.rs`. Next: the waits that can be ended so (`wait.rs`, `chan/party.rs`).
//!
//! `Context::run` puts a [`Run`] on its stack and makes it the goroutine's innermost one. The
//! canceller of the context marks the `Run` and ends the wait the goroutine is in, if that is one
//! of those that can be ended so.
//!
//! * AM1: a wait that can be ended is announced in `G::cancel_ticket`, then the goroutine looks at
//!   the mark (Dekker); the canceller sets the mark, then looks at the ticket. So either the
//!   goroutine sees that it is cancelled, or its wait is ended.
//! * AM2: tickets are numbers of waits, which are never used again (`g/wait.rs`): an old one ends
//!   nothing.
//! * AM3: runs nest, and the canceller of an outer one may take the wait of an inner one for that
//!   of the outer one. So a wait that was ended so is begun anew if its own run was not cancelled.
//! * AM4: a `Run` is taken out of its context's list, under the context's lock, before it is gone;
//!   the canceller marks it under that lock. A goroutine with a `Run` has not ended.

use crate::g::wait::{Cause, Ticket};
use crate::g::{G, current};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering, fence};

/// A stretch of a goroutine's way that can be cancelled.
#[derive(Debug)]
pub(crate) struct Run {
    gp: &'static G,
    /// 0, or the `errno` that what is cancelled ends with.
    error: AtomicI32,
    outer: AtomicPtr<Run>,
    /// A [`Cut`]. The goroutine's own.
    #[cfg(feature = "intercept")]
    cut: AtomicI32,
}

/// What the next wait for a child is to come to, as std has read that child's pipes
/// (`intercept/unwraps.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(feature = "intercept")]
pub(crate) enum Cut {
    /// Nothing special.
    No,
    /// It fails: std has been told that the child's pipes are at their end, and they are not.
    Output,
    /// It is not ended: the child has told that it can't run its program, and ends.
    NotEnded,
}

impl Run {
    /// One for the calling goroutine; none on an ordinary thread.
    pub(crate) fn new() -> Option<Self> {
        let gp = current::g()?;
        Some(Self {
            gp,
            error: AtomicI32::new(0),
            outer: AtomicPtr::new(null_mut()),
            #[cfg(feature = "intercept")]
            cut: AtomicI32::new(Cut::No as i32),
        })
    }

    /// Makes it the innermost one. It stays where it is until [`leave`](Self::leave).
    pub(crate) fn enter(&self) {
        let this = std::ptr::from_ref(self).cast_mut();
        self.outer.store(self.gp.ambient.swap(this, Ordering::SeqCst), Ordering::Relaxed);
    }

    /// The one around it is the innermost again.
    pub(crate) fn leave(&self) {
        self.gp.ambient.store(self.outer.load(Ordering::Relaxed), Ordering::SeqCst);
    }

    /// Marks it, and ends what its goroutine waits for, if that can be. Under the context's lock
    /// (AM4).
    pub(crate) fn cancel(&self, error: i32) {
        self.error.store(error, Ordering::SeqCst);
        fence(Ordering::SeqCst); // AM1
        let innermost = self.gp.ambient.load(Ordering::SeqCst);
        if std::ptr::eq(innermost, self) {
            let ticket = self.gp.cancel_ticket.load(Ordering::SeqCst);
            if ticket != 0 {
                super::wait::end(self.gp, Ticket(ticket), Cause::Cancelled);
            }
        }
    }
}

/// Whether the goroutine is in a context that may be cancelled.
#[inline]
pub(crate) fn is_any(gp: &G) -> bool {
    !gp.ambient.load(Ordering::Relaxed).is_null()
}

/// The `errno` with which what the goroutine does is to end, if its context was cancelled.
#[inline]
pub(crate) fn error(gp: &G) -> Option<i32> {
    // SAFETY: the goroutine's own innermost run, which is on its stack.
    let run = unsafe { gp.ambient.load(Ordering::Relaxed).as_ref() }?;
    Some(run.error.load(Ordering::SeqCst)).filter(|error| *error != 0)
}

/// What was noted of the goroutine's innermost run.
#[cfg(feature = "intercept")]
pub(crate) fn cut(gp: &G) -> Cut {
    // SAFETY: the goroutine's own innermost run, which is on its stack.
    let run = unsafe { gp.ambient.load(Ordering::Relaxed).as_ref() };
    match run.map(|run| run.cut.load(Ordering::Relaxed)) {
        Some(cut) if cut == Cut::Output as i32 => Cut::Output,
        Some(cut) if cut == Cut::NotEnded as i32 => Cut::NotEnded,
        _ => Cut::No,
    }
}

/// Notes it.
#[cfg(feature = "intercept")]
pub(crate) fn set_cut(gp: &G, cut: Cut) {
    // SAFETY: as above.
    if let Some(run) = unsafe { gp.ambient.load(Ordering::Relaxed).as_ref() } {
        run.cut.store(cut as i32, Ordering::Relaxed);
    }
}

/// The wait `ticket`, which has begun, can be ended from now on; and is, if the context was
/// cancelled. In a section.
#[inline]
pub(crate) fn announce(gp: &'static G, ticket: Ticket) {
    if is_any(gp) {
        announce_run(gp, ticket);
    }
}

#[cold]
fn announce_run(gp: &'static G, ticket: Ticket) {
    gp.cancel_ticket.store(ticket.0, Ordering::SeqCst);
    fence(Ordering::SeqCst); // AM1
    if error(gp).is_some() {
        // Not parked yet: whatever this comes to, the goroutine finds out.
        let _ = gp.wait.claim(ticket, Cause::Cancelled);
    }
}
