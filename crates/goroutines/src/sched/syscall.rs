//! Blocking calls, and coming back from them.
//!
//! A goroutine that announces a blocking call ([`blocking`]) keeps its P until the monitor has seen
//! it there twice (20 µs or more), then the P goes to another M (Go: `entersyscall`, `retake`). One
//! that blocks without a word loses its P within about 10 ms, see `sysmon.rs` and `m/lease.rs`.
//!
//! Either way, what comes back goes on without a P until it enters the runtime. Then it needs one:
//! the one it had, any idle one, or it waits in the global queue for its turn. (Go: `exitsyscall`.)

#[cfg(feature = "intercept")]
use super::preempt;
use super::run::leave_to;
#[cfg(feature = "intercept")]
use super::sysmon;
use super::{SCHED, wake};
#[cfg(feature = "intercept")]
use crate::base::sys;
use crate::g::status::State;
use crate::g::task::Runnable;
use crate::g::{G, current, pending};
#[cfg(feature = "intercept")]
use crate::m::M;
use crate::m::lease::Reclaimed;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// The slow path of entering the runtime: an attempt to take the P is under way, or it is gone.
/// With the count raised; may come back on another M.
#[cold]
#[inline(never)]
pub(crate) fn come_back(gp: &'static G) {
    let mp = gp.m();
    if mp.lease.reclaim() == Reclaimed::Kept {
        return;
    }
    mp.oldp.set(mp.p.swap(null_mut(), Ordering::Relaxed));
    #[cfg(feature = "intercept")]
    if crate::intercept::signal::in_handler() {
        // The goroutine can't move, and the code that the handler interrupted may be libc's (PR4).
        // So the goroutine does what it may do without a P, as an ordinary thread would.
        return;
    }
    let mut shared = SCHED.lock();
    let found =
        if SCHED.is_stopping() { None } else { wake::get_idle(&mut shared, Some(mp.oldp.get())) };
    drop(shared);
    if let Some(pp) = found {
        wake::acquire_p(mp, pp);
        return;
    }
    // No P to be had: wait in the global queue. What comes next may have found one meanwhile.
    leave_to(gp, None, |gp, mp| {
        gp.status.set(State::Runnable);
        let mut shared = SCHED.lock();
        if !gp.is_locked()
            && !SCHED.is_stopping()
            && let Some(pp) = wake::get_idle(&mut shared, None)
        {
            drop(shared);
            wake::acquire_p(mp, pp);
            mp.stash.set(Some(Runnable::of_g(gp)));
            return;
        }
        shared.runq_push(Runnable::of_g(gp));
        drop(shared);
        wake::wakep();
    });
}

/// Makes a call that may block the thread, and is not to be interrupted by us: announced from its
/// first instruction to its last, without user code in it. Costs some 30 ns; the P may run others
/// meanwhile.
#[cfg(feature = "intercept")]
#[inline]
pub(crate) fn announced<R>(gp: &'static G, call: impl FnOnce() -> R) -> R {
    let _section = current::enter();
    call_begins(gp);
    let result = call();
    call_ends(gp);
    result
}

/// The same, for a call that mostly waits. Where the P is the only one and goroutines are queued,
/// it is handed on at once, not when the monitor has seen the call. That costs waking a thread, and
/// waiting for the P afterwards, which is more than it brings where other Ps come by. (Go:
/// `entersyscallblock`.)
#[cfg(feature = "intercept")]
pub(crate) fn announced_to_wait<R>(gp: &'static G, call: impl FnOnce() -> R) -> R {
    let _section = current::enter();
    call_begins(gp);
    hand_on(gp.m());
    let result = call();
    call_ends(gp);
    result
}

/// Hands the P of `mp`, which is in an announced call, to another M, if it is the only one and
/// there is something to run. In a section, on `mp`.
#[cfg(feature = "intercept")]
fn hand_on(mp: &'static M) {
    let Some(pp) = mp.p() else { return };
    let is_wanted = !pp.is_empty() || SCHED.runq_size.load(Ordering::Relaxed) > 0;
    let is_only = SCHED.gomaxprocs.load(Ordering::Relaxed) == 1;
    // The monitor may take it just now.
    if is_wanted && is_only && mp.lease.take_syscall(pp.id) {
        sysmon::taken(pp, mp);
    }
}

/// Announces a call. In a section, which lasts until after [`call_ends`].
#[inline]
pub(crate) fn call_begins(gp: &'static G) {
    let mp = gp.m();
    mp.syscalltick.store(mp.syscalltick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    gp.in_call.store(true, Ordering::Relaxed);
    if let Some(pp) = mp.p() {
        mp.lease.enter_syscall(pp.id);
    }
    SCHED.sysmon.syscall_begins();
    // The lease's exchange is a barrier: `signals::post::tell` sees the call, or this sees the
    // signal.
    #[cfg(feature = "intercept")]
    if gp.pending.load(Ordering::Relaxed) & pending::SIGNAL != 0 {
        crate::signals::post::knock_here(gp);
    }
}

/// An announced call is over. May come back on another M.
#[inline]
pub(crate) fn call_ends(gp: &'static G) {
    gp.in_call.store(false, Ordering::Relaxed);
    if !gp.m().lease.is_owned() {
        come_back(gp);
    }
}

/// The same, for a call that Linux does not restart after a signal handler: the runtime's own
/// signal waits until it is over, or would show as `EINTR`.
#[cfg(feature = "intercept")]
pub(crate) fn announced_undisturbed<R>(gp: &'static G, call: impl FnOnce() -> R) -> R {
    announced(gp, || {
        sys::block_signal(preempt::SIGNAL, true);
        let result = call();
        sys::block_signal(preempt::SIGNAL, false);
        result
    })
}

/// Calls `f`, which may block its thread: meanwhile the P may run others.
pub(crate) fn blocking<R>(f: impl FnOnce() -> R) -> R {
    /// Ends the region also when `f` unwinds.
    struct Region(&'static G);
    impl Drop for Region {
        fn drop(&mut self) {
            let _section = current::enter();
            let gp = self.0;
            gp.blocking.set(gp.blocking.get() - 1);
            if gp.blocking.get() == 0 {
                gp.pending.fetch_and(!pending::BLOCKING, Ordering::Relaxed);
            }
        }
    }
    let section = current::enter();
    let Some(gp) = section.g() else { return f() };
    gp.blocking.set(gp.blocking.get() + 1);
    gp.pending.fetch_or(pending::BLOCKING, Ordering::Relaxed);
    // The end of the section announces the call: see `preempt::do_pending`.
    drop(section);
    let _region = Region(gp);
    f()
}
