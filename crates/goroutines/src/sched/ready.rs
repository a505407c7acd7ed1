//! Readying: the end of a wait.
//!
//! Previous: `park.rs`. Next: `p/runq.rs`, then `find.rs`.

use super::{SCHED, Shared, current_p, wake};
use crate::base::fatal::throw;
use crate::g::G;
use crate::g::current::running;
use crate::g::task::{Kind, Opaque, RunList, Runnable};
use crate::p::P;
use crate::p::runq::Overflow;

/// Makes a waiting goroutine runnable, next on this P (on an ordinary thread: last of all), and
/// wakes an M if one is needed. In a section, on g0, or on an ordinary thread.
pub(crate) fn ready(gp: &'static G) {
    if SCHED.is_forked() {
        return; // a goroutine of the parent's
    }
    if !gp.status.ready() {
        throw!("readying goroutine {}, which does not wait ({:?})", gp.id(), gp.status.get());
    }
    enqueue(Runnable::of_g(gp));
    announce(true);
}

/// After something was put in front of this P's queue, or in the global queue: wakes an M for it,
/// if one is needed and this P will not come round to it sooner. What the caller woke may wait for
/// it to park (`soon`), where it was all that is queued. In a section, on g0, or on an ordinary
/// thread.
#[inline]
pub(crate) fn announce(soon: bool) {
    let can_wait = current_p().is_some_and(|pp| {
        let (queued, patience) = (pp.queued(), pp.pace.patience());
        queued <= patience
            && (soon || patience > 0)
            && running().is_some_and(|by| by.haste.can_wait())
    });
    if can_wait {
        // If it should wait too long, the monitor wakes an M.
        SCHED.sysmon.work_waits();
    } else {
        wake::wakep();
    }
}

/// Makes all of `list`, whose waits were ended, runnable, behind what is in this P's queue (without
/// a P: in the global queue), and wakes an M if one is needed. In a section, on g0, or on an
/// ordinary thread.
pub(crate) fn ready_all(list: &mut RunList) {
    if !list.is_empty() {
        queue_all(list);
        wake::wakep();
    }
}

/// The same as [`ready_all`], by a thread that has no P, while all Ps compute: the first few go
/// before what is queued.
pub(crate) fn ready_first(list: &mut RunList) {
    if !list.is_empty() {
        let mut shared = SCHED.lock();
        while let Some(one) = pop_waiting(list) {
            shared.runq_push_first(one);
        }
        drop(shared);
        wake::wakep();
    }
}

/// The same as [`ready_all`], by an M that is about to run them itself. To wake another for a few
/// takes longer than to do them, mostly; if one of them goes on and on, the monitor wakes one
/// (`sysmon.rs`).
pub(crate) fn ready_soon(list: &mut RunList) {
    const FEW: usize = 4;
    match list.len() {
        0 => {}
        1..=FEW => {
            queue_all(list);
            SCHED.sysmon.work_waits();
        }
        _ => ready_all(list),
    }
}

fn queue_all(list: &mut RunList) {
    match current_p() {
        Some(pp) => {
            while let Some(one) = pop_waiting(list) {
                // SAFETY: the caller owns pp; it waited, so it is in no queue.
                unsafe { pp.runq.put(one.as_ptr(), |more| spill(&mut SCHED.lock(), more)) };
            }
        }
        None => {
            let mut shared = SCHED.lock();
            while let Some(one) = pop_waiting(list) {
                shared.runq_push(one);
            }
        }
    }
}

/// The first of a list of goroutines whose waits were ended, runnable now.
pub(crate) fn pop_waiting(list: &mut RunList) -> Option<Runnable> {
    let one = list.pop_front()?;
    if let Kind::G(gp) = one.kind()
        && !gp.status.ready()
    {
        throw!("goroutine {} was woken and does not wait ({:?})", gp.id(), gp.status.get());
    }
    Some(one)
}

/// Puts what can run in the slot in front of this P's queue; without a P, in the global queue.
#[inline]
pub(crate) fn enqueue(one: Runnable) {
    match current_p() {
        Some(pp) => put_next(pp, one),
        None => SCHED.lock().runq_push(one),
    }
}

/// Puts what can run in the slot in front of `pp`'s queue, which the caller owns.
#[inline]
fn put_next(pp: &'static P, one: Runnable) {
    // SAFETY: the caller owns pp; a goroutine just made runnable is in no queue.
    unsafe { pp.runq.put_next(one.as_ptr(), |overflow| spill(&mut SCHED.lock(), overflow)) };
}

/// Half of a full ring goes to the global queue, in order.
pub(crate) fn spill(shared: &mut Shared, overflow: &Overflow<Opaque>) {
    for one in overflow {
        // SAFETY: the ring holds Runnables.
        shared.runq_push(unsafe { Runnable::from_ptr(*one) });
    }
}
