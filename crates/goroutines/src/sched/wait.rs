//! Waits that end in one of several ways: what the goroutine does.
//!
//! Previous: whoever wants to wait begins a wait (`g/wait.rs`), and hands the ticket to all that may end it:
//! enters it in lists, under their locks. Then it calls [`wait`], and afterwards takes itself out of those
//! lists that did not end it. All in one section. Who ends it: `timer`, `netpoll`, `intercept/futex.rs`;
//! those return who is to be readied, and their callers ready them, without the lock.

#[cfg(feature = "intercept")]
use super::ready::{pop_waiting, ready_all};
use super::{ambient, park};
use crate::base::fatal::throw;
use crate::base::sys;
use crate::g::reason::WaitReason;
#[cfg(feature = "intercept")]
use crate::g::task::RunList;
use crate::g::wait::{Cause, Claim, Ticket};
use crate::g::{G, current};
use crate::timer::alarm::NEVER;
use std::time::Duration;

/// Parks `gp` until its wait `ticket` is ended, at the latest at the time `until` (monotonic ns;
/// [`NEVER`]: no time-out). Why it ended. In a section, in which the wait was begun.
pub(crate) fn wait(gp: &'static G, reason: WaitReason, ticket: Ticket, until: u64) -> Cause {
    if until != NEVER {
        let Some(pp) = gp.m().p() else { throw!("goroutine {} waits without a P", gp.id()) };
        if pp.timers.set(gp, until, ticket) {
            pp.new_timer.set(true);
        }
    }
    if gp.wait.cause().is_none() {
        park::park(gp, reason, || gp.wait.park(ticket));
    }
    if until != NEVER {
        gp.alarm.clear();
    }
    match gp.wait.cause() {
        Some(cause) => cause,
        None => throw!("goroutine {} was woken, and its wait goes on", gp.id()),
    }
}

/// As [`wait`], but a context that is cancelled ends it too (`ambient.rs`).
pub(crate) fn wait_unless_cancelled(
    gp: &'static G,
    reason: WaitReason,
    ticket: Ticket,
    until: u64,
) -> Cause {
    ambient::announce(gp, ticket);
    wait(gp, reason, ticket, until)
}

/// Calls `f` in a section with an empty list, and readies whoever it puts there.
#[cfg(feature = "intercept")]
pub(crate) fn waking<R>(f: impl FnOnce(&mut RunList) -> R) -> R {
    let _section = current::enter();
    let mut list = RunList::new();
    let result = f(&mut list);
    match list.len() {
        0 => {}
        1 => {
            // Just one: next on this P.
            if let Some(one) = pop_waiting(&mut list) {
                super::ready::enqueue(one);
                super::wake::wakep();
            }
        }
        _ => ready_all(&mut list),
    }
    result
}

/// Ends the wait `ticket` of `gp`, if nobody has, and readies it.
pub(crate) fn end(gp: &'static G, ticket: Ticket, cause: Cause) {
    let _section = current::enter();
    if gp.wait.claim(ticket, cause) == Claim::Parked {
        super::ready::ready(gp);
    }
}

/// The time `d` from now on.
pub(crate) fn after(d: Duration) -> u64 {
    let ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    sys::nanotime().saturating_add(ns).min(NEVER - 1)
}

/// Parks `gp` until the time `until`, or until its context is cancelled. Outside a section.
pub(crate) fn sleep_until(gp: &'static G, until: u64) {
    loop {
        let _section = current::enter();
        let ticket = gp.wait.begin();
        let cause = wait_unless_cancelled(gp, WaitReason::Sleep, ticket, until);
        // AM3
        if cause != Cause::Cancelled || ambient::error(gp).is_some() {
            return;
        }
    }
}
