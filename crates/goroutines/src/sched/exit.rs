//! The end of a goroutine.
//!
//! Previous: the goroutine's function has returned. Next: the free list, and `go.rs`.
//!
//! In this order: destructors of `thread_local!`s (they may block, and be preempted), then joiners
//! are woken (a caller that has joined knows that the destructors have run), then the stack is left
//! for good.

use super::run::{leave_to, pick};
use super::{SCHED, go};
use crate::base::fatal::throw;
use crate::base::sys;
use crate::g::status::State;
use crate::g::{G, current};
use crate::m::altstack;
use crate::p::P;
use std::sync::atomic::Ordering;

/// Ends the running goroutine. Outside all sections.
pub(crate) fn exit(gp: &'static G) -> ! {
    let holds_robust = goroutines_switch::thread_pointer::leave();
    if SCHED.is_forked() {
        // The only thread of a forked child has ended.
        std::process::exit(0);
    }
    // In a section: the goroutine or thread that has stopped the world may be looking at this
    // goroutine.
    let section = current::enter();
    let is_system = gp.task().is_some_and(|task| task.is_system);
    let task = gp.task.replace(std::ptr::null());
    #[cfg(feature = "intercept")]
    gp.holds.set(0);
    if holds_robust {
        goroutines_switch::thread_pointer::leave_robust(gp.m().tid.load(Ordering::Relaxed));
    }
    drop(section);
    // Main has returned: the process is about to end, and nobody runs on this P until it does.
    let last = gp.is_last.get().then(current::enter);
    if !task.is_null() {
        // SAFETY: the goroutine's reference, given back here. Joiners are woken.
        unsafe { crate::thread::finish(task) };
    }
    while last.is_some() {
        sys::sleep(std::time::Duration::from_secs(3600));
    }
    let _never_left = std::mem::ManuallyDrop::new(current::enter());
    if !gp.lockedm.load(Ordering::Relaxed).is_null() {
        super::locked::end_with_thread(gp);
    }
    altstack::forget(gp);
    #[cfg(feature = "intercept")]
    let mask = crate::signals::forget(gp);
    let next = if gp.m().dying.get() { None } else { pick(gp) };
    leave_to(gp, next, move |gp, mp| {
        gp.status.set(State::Dead);
        let pp = mp.p();
        go::free(gp, pp);
        if !is_system {
            count_end(pp);
        }
        #[cfg(feature = "intercept")]
        crate::signals::masks::gone(mask);
    });
    throw!("goroutine {} goes on after its end", gp.id())
}

fn count_end(pp: Option<&'static P>) {
    match pp {
        Some(pp) => P::bump(&pp.ended),
        None => {
            SCHED.created.fetch_sub(1, Ordering::Relaxed);
        }
    }
    if SCHED.end_waiters.load(Ordering::SeqCst) > 0 {
        SCHED.end_events.fetch_add(1, Ordering::SeqCst);
        sys::futex_wake(&raw const *SCHED.end_events, i32::MAX);
    }
}

/// How many goroutines have ended, where there was a P to count on.
pub(crate) fn ended() -> u64 {
    super::ALLP.iter().map(|pp| pp.ended.load(Ordering::Acquire)).sum()
}

/// How many goroutines exist: begun and not ended.
pub(crate) fn alive() -> u64 {
    // Ended first: what is begun meanwhile may be counted too much, never too little.
    let ended = ended();
    let created: u64 = super::ALLP.iter().map(|pp| pp.created.load(Ordering::Acquire)).sum();
    (SCHED.created.load(Ordering::Acquire).wrapping_add(created)).wrapping_sub(ended)
}
