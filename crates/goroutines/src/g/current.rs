//! Which goroutine is running, and the sections in which it stays on its M.

use super::{G, pending};
use crate::base::atomic::{entry_barrier, light_barrier};
use crate::base::origin;
use crate::m::M;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::null;
use std::sync::atomic::Ordering;

thread_local! {
    /// The goroutine whose thread-locals these are; null on ordinary threads and on an M's own
    /// stack. Right by construction: thread-locals are the goroutine's, wherever it runs.
    static CURRENT: Cell<*const G> = const { Cell::new(null()) };
    /// The M, on its own stack only.
    static CURRENT_M: Cell<*const M> = const { Cell::new(null()) };
}

/// The running goroutine; none on an ordinary thread and on an M's own stack, and none in a copy of
/// this process, where the flow that was a goroutine is an ordinary thread.
#[inline]
pub(crate) fn g() -> Option<&'static G> {
    let gp = running()?;
    if !origin::is_here() {
        crate::intercept::fork::is_copy(gp);
        return None;
    }
    Some(gp)
}

/// The same, without asking whether this is a copy: in a section, which has looked, and where
/// nothing but the goroutine's own memory is touched.
#[inline]
pub(crate) fn running() -> Option<&'static G> {
    // SAFETY: null, or a G, which is never freed.
    unsafe { CURRENT.get().as_ref() }
}

/// The M, when called on its own stack.
pub(crate) fn m_of_g0() -> Option<&'static M> {
    // SAFETY: null, or an M, which is never freed.
    unsafe { CURRENT_M.get().as_ref() }
}

/// Says whose thread-locals these are; first of all on a goroutine's carrier.
pub(crate) fn set_g(gp: &'static G) {
    CURRENT.set(gp);
}

/// The goroutine is an ordinary thread from now on: that of a forked child.
pub(crate) fn unset_g() {
    CURRENT.set(null());
}

/// Says whose own stack this is; null when its thread ends.
pub(crate) fn set_m(mp: *const M) {
    CURRENT_M.set(mp);
}

/// A stretch of the goroutine's way in which it can't be preempted, stays on its M, and has a P.
///
/// On an ordinary thread it is nothing. Sections nest.
///
/// **The rule inside**: no allocator, no lock but the runtime's own, nothing that could wait for a
/// goroutine that is not running. A goroutine that waits inside a section can't lose its P, and
/// with one P the other would never run.
#[must_use]
pub(crate) struct Section {
    gp: Option<&'static G>,
    /// Belongs to one flow of control.
    _not_send: PhantomData<*const ()>,
}

/// Begins a section.
#[inline]
pub(crate) fn enter() -> Section {
    let gp = running();
    if let Some(gp) = gp {
        raise_count(gp);
        // The lease is read after the count was raised: the other half is in m/lease.rs. In a copy
        // of the process, and where entries are dear, it compares as unequal to all there is.
        if !gp.m().lease.is(origin::owned()) {
            return enter_closely(gp);
        }
    }
    Section { gp, _not_send: PhantomData }
}

/// The count is raised.
#[cold]
fn enter_closely(gp: &'static G) -> Section {
    if !origin::is_here() {
        crate::intercept::fork::is_copy(gp);
        return Section { gp: None, _not_send: PhantomData };
    }
    entry_barrier();
    if !gp.m().lease.is_owned() {
        crate::sched::syscall::come_back(gp);
    }
    Section { gp: Some(gp), _not_send: PhantomData }
}

/// Raises the count: from the next instruction on `gp` stays on its M.
pub(crate) fn raise(gp: &G) {
    raise_count(gp);
    entry_barrier();
}

#[inline]
fn raise_count(gp: &G) {
    // Plain load and store: only this goroutine, and its signal handler, which leaves it as it was.
    gp.nopreempt.store(gp.nopreempt.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    light_barrier();
}

impl Section {
    /// The goroutine; none on an ordinary thread.
    #[inline]
    pub(crate) fn g(&self) -> Option<&'static G> {
        self.gp
    }
}

/// Lowers the count, without looking at what is pending.
#[inline]
pub(crate) fn lower(gp: &G) {
    light_barrier();
    // Release: the thread that sees 0 and takes the P sees what was done with it.
    gp.nopreempt.store(gp.nopreempt.load(Ordering::Relaxed) - 1, Ordering::Release);
    light_barrier();
}

/// Sets the count to what it was when a signal's handler began: inner sections may have been left
/// by `siglongjmp`.
#[cfg(feature = "intercept")]
pub(crate) fn set_count(gp: &G, count: u32) {
    light_barrier();
    gp.nopreempt.store(count, Ordering::Release); // as in lower()
    light_barrier();
}

/// Ends a section of `gp`, and does what has been put off for its sake.
#[inline]
pub(crate) fn leave(gp: &'static G) {
    // Pending work is looked at before and after the count falls: work that comes between is the
    // handler's own.
    if gp.nopreempt.load(Ordering::Relaxed) == 1 && gp.pending.load(Ordering::Relaxed) != 0 {
        leave_pending(gp);
    } else {
        lower(gp);
    }
    if gp.pending.load(Ordering::Relaxed) & pending::AT_ONCE != 0
        && gp.nopreempt.load(Ordering::Relaxed) == 0
    {
        drop(enter());
    }
}

#[cold]
fn leave_pending(gp: &'static G) {
    crate::sched::preempt::do_pending(gp);
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        if let Some(gp) = self.gp {
            leave(gp);
        }
    }
}
