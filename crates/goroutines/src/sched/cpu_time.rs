//! The CPU time that a goroutine has had: what `CLOCK_THREAD_CPUTIME_ID` is in one.
//!
//! The thread's own clock counts for all goroutines that run on it, and would go back for a
//! goroutine that goes on on another thread. So from the first question on, whichever goroutine
//! asks it, each switch charges the goroutine that leaves: one system call per switch, in programs
//! that ask.

use crate::base::sys;
use crate::g::G;
use crate::m::M;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether any goroutine has asked.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The goroutine on `mp`, if there is one, is about to leave it. In a section, or on g0.
#[inline]
pub(super) fn switches(mp: &M) {
    if ASKED.load(Ordering::Relaxed) {
        charge_if_known(mp);
    }
}

#[cold]
fn charge_if_known(mp: &M) {
    let (before, now) = look(mp);
    // Where no goroutine had asked when the slice began, it is not known whose time that was.
    if let Some(gp) = mp.curg()
        && before != 0
    {
        charge(gp, before, now);
    }
}

/// The clock of the thread of `mp`, when it was looked at before, and now.
fn look(mp: &M) -> (u64, u64) {
    let now = sys::own_cpu_ns();
    (mp.cpu_seen_ns.replace(now), now)
}

fn charge(gp: &G, before: u64, now: u64) {
    gp.cpu_ns.set(gp.cpu_ns.get() + now.saturating_sub(before));
}

/// The CPU time of `gp`, the caller, in ns. In a section. It is the thread's time where no
/// goroutine has asked before.
pub(crate) fn of(gp: &G) -> u64 {
    ASKED.store(true, Ordering::Relaxed);
    super::run::switches_are_looked_at();
    let (before, now) = look(gp.m());
    charge(gp, before, now);
    gp.cpu_ns.get()
}
