//! Waits that end in one of several ways: what the goroutine does.
//!
//! Previous: a goroutine that wants to wait begins a wait (`g/wait.rs`), and hands the ticket to
//! all that may end it: enters it in lists, under their locks. Then it calls [`wait`], and
//! afterwards takes itself out of those lists that did not end it. All in one section. What ends
//! it: `timer`, `netpoll`, `intercept/futex.rs`; those return which goroutines are to be readied,
//! and their callers ready them, without the lock.

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
#[cfg(feature = "intercept")]
use crate::signals::deliver::{self, How};
use crate::timer::alarm::NEVER;
use std::time::Duration;

/// Parks `gp` until its wait `ticket` is ended, at the latest at the time `until` (monotonic ns;
/// [`NEVER`]: no time-out). Why it ended. In a section, in which the wait was begun.
///
/// A signal's handler is run meanwhile.
pub(crate) fn wait(gp: &'static G, reason: WaitReason, ticket: Ticket, until: u64) -> Cause {
    set_timer(gp, ticket, until);
    #[cfg(feature = "intercept")]
    while gp.wait.cause().is_none() {
        if deliver::publish(gp, ticket, How::Pause) {
            deliver::withdraw(gp);
            deliver::deliver(gp);
        } else {
            park::park(gp, reason, || gp.wait.park(ticket) && !deliver::is_to_look_up(gp, ticket));
        }
    }
    #[cfg(feature = "intercept")]
    deliver::withdraw(gp);
    #[cfg(not(feature = "intercept"))]
    if gp.wait.cause().is_none() {
        park::park(gp, reason, || gp.wait.park(ticket));
    }
    over(gp, until)
}

/// As [`wait`], but a signal ends it too: [`Cause::Signal`]. The end of the section runs the
/// handler.
#[cfg(feature = "intercept")]
pub(crate) fn wait_until_signal(
    gp: &'static G,
    reason: WaitReason,
    ticket: Ticket,
    until: u64,
) -> Cause {
    set_timer(gp, ticket, until);
    if deliver::publish(gp, ticket, How::Break) {
        // Not parked yet: the goroutine finds out at once.
        let _ = gp.wait.claim(ticket, Cause::Signal);
    }
    if gp.wait.cause().is_none() {
        park::park(gp, reason, || gp.wait.park(ticket));
    }
    deliver::withdraw(gp);
    over(gp, until)
}

#[inline]
fn set_timer(gp: &'static G, ticket: Ticket, until: u64) {
    if until != NEVER {
        let Some(pp) = gp.m().p() else { throw!("goroutine {} waits without a P", gp.id()) };
        if pp.timers.set(gp, until, ticket) {
            pp.new_timer.set(true);
        }
    }
}

#[inline]
fn over(gp: &'static G, until: u64) -> Cause {
    if until != NEVER {
        gp.alarm.clear();
    }
    match gp.wait.cause() {
        Some(cause) => cause,
        None => throw!("goroutine {} was woken, and its wait goes on", gp.id()),
    }
}

/// As [`wait`], but a context that is cancelled ends it too (`ambient.rs`), and a signal.
pub(crate) fn wait_unless_cancelled(
    gp: &'static G,
    reason: WaitReason,
    ticket: Ticket,
    until: u64,
) -> Cause {
    ambient::announce(gp, ticket);
    #[cfg(feature = "intercept")]
    return wait_until_signal(gp, reason, ticket, until);
    #[cfg(not(feature = "intercept"))]
    wait(gp, reason, ticket, until)
}

/// Calls `f` in a section with an empty list, and readies all that it puts there.
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

/// Parks `gp` until the time `until`, or until its context is cancelled. Outside a section. Signals
/// don't end it.
pub(crate) fn sleep_until(gp: &'static G, until: u64) {
    sleep_while(gp, until, || true);
}

/// The same, as long as `goes_on`, which is asked after handlers have run: false if it said no.
pub(crate) fn sleep_while(gp: &'static G, until: u64, goes_on: impl Fn() -> bool) -> bool {
    loop {
        let cause = {
            let _section = current::enter();
            let ticket = gp.wait.begin();
            wait_unless_cancelled(gp, WaitReason::Sleep, ticket, until)
            // The section's end runs handlers.
        };
        match cause {
            // AM3
            Cause::Cancelled if ambient::error(gp).is_none() => {}
            Cause::Signal if !goes_on() => return false,
            Cause::Signal => {}
            _ => return true,
        }
    }
}
