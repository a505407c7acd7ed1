//! Which M runs a P: waking Ms, putting them to sleep, handing Ps from one to another.
//!
//! (Go: `wakep`, `startm`, `stopm`, `handoffp`, `acquirep`, `releasep`, `pidleget`, `pidleput`.)

use super::{SCHED, Shared};
use crate::base::fatal::throw;
use crate::base::sys;
use crate::m::M;
use crate::p::{P, PStatus};
use crate::timer::alarm::NEVER;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After work was put in a queue: wakes an M to look for it, if a P is idle and nobody looks
/// already.
#[inline]
pub(crate) fn wakep() {
    if SCHED.idle.want_wake() {
        wake_spinning();
    } else {
        SCHED.sysmon.work_waits();
    }
}

#[cold]
#[inline(never)]
fn wake_spinning() {
    let mut shared = SCHED.lock();
    match get_idle(&mut shared, None) {
        Some(pp) => start_with(shared, pp, true),
        None => {
            // Both under the lock: a spinner that comes now clears the word, and must not find us
            // counted beside it when it goes.
            SCHED.idle.leave_word();
            SCHED.idle.stop_spinning();
            drop(shared);
        }
    }
}

/// An M that spun has found work: the next one may look now.
pub(crate) fn reset_spinning(mp: &M) {
    mp.spinning.set(false);
    if SCHED.idle.stop_spinning() < 0 {
        throw!("negative number of spinning Ms");
    }
    wakep();
}

/// Starts an M on `pp`, which the caller owns. If it is to spin, it has been counted.
pub(crate) fn startm(pp: &'static P, spinning: bool) {
    start_with(SCHED.lock(), pp, spinning);
}

fn start_with(mut shared: super::StaticGuard<Shared>, pp: &'static P, spinning: bool) {
    pp.set_status(PStatus::Idle);
    if shared.settling > 0 {
        (shared.settling, shared.expected) = (shared.settling - 1, shared.expected + 1);
        wait_for_m(&mut shared, pp, spinning);
        return;
    }
    if let Some(mp) = get_idle_m(&mut shared) {
        drop(shared);
        mp.spinning.set(spinning);
        mp.nextp.store(pp.as_ptr(), Ordering::Release);
        mp.note.wake();
        return;
    }
    // SAFETY: null, or an M, which is never freed.
    if let Some(mp) = unsafe { shared.polling.as_ref() } {
        shared.polling = null_mut();
        drop(shared);
        mp.spinning.set(spinning);
        mp.nextp.store(pp.as_ptr(), Ordering::Release);
        mp.note.wake();
        crate::netpoll::interrupt();
        return;
    }
    // No M is idle: the monitor makes a thread.
    wait_for_m(&mut shared, pp, spinning);
    drop(shared);
    SCHED.sysmon.make_thread();
}

/// An M is idle after all (or still is, where `pp` waited for one that was on its way to sleep): it
/// runs `pp`, which was taken off the list of those that wait. Whether there was one.
pub(crate) fn start_idle(shared: &mut Shared, pp: &'static P) -> bool {
    let Some(mp) = get_idle_m(shared) else { return false };
    shared.mcount -= 1;
    mp.spinning.set(pp.wants_spinning.get());
    mp.nextp.store(pp.as_ptr(), Ordering::Release);
    mp.note.wake();
    true
}

/// `pp` waits for a thread that is to be made, or for an M that is about to go to sleep. Until then
/// that M counts as one that is not idle.
fn wait_for_m(shared: &mut Shared, pp: &'static P, spinning: bool) {
    pp.wants_spinning.set(spinning);
    pp.link.store(shared.pwaiting, Ordering::Relaxed);
    shared.pwaiting = pp.as_ptr();
    shared.mcount += 1;
}

/// The M has given its P up, and looks at all queues once more before it goes to sleep. A caller
/// that needs an M from here on, until [`settled`], leaves the P with [`wait_for_m`]: another M,
/// woken now, would find this one on its CPU, and be put on that of a third, which works.
pub(crate) fn settle(shared: &mut Shared, mp: &M) {
    mp.settling.set(true);
    shared.settling += 1;
}

/// That is over, under the lock under which it goes to sleep or takes a P: true if it was expected,
/// and is to take one that waits for it (if there still is: it may have got a thread of its own
/// meanwhile).
fn settled(shared: &mut Shared, mp: &M) -> bool {
    if !mp.settling.replace(false) {
        return false;
    }
    let expected = shared.expected > 0;
    *if expected { &mut shared.expected } else { &mut shared.settling } -= 1;
    expected
}

/// An M without a P takes one that waited for a thread.
fn acquire_waiting(mp: &'static M, pp: &'static P) {
    mp.spinning.set(pp.wants_spinning.get());
    acquire_p(mp, pp);
}

/// The M, which has settled, is wanted: takes the P that waits for it.
pub(crate) fn is_wanted(shared: &mut Shared, mp: &'static M) -> bool {
    if !settled(shared, mp) {
        return false;
    }
    let waiting = take_waiting(shared);
    if let Some(pp) = waiting {
        acquire_waiting(mp, pp);
    }
    waiting.is_some()
}

/// How an M's sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Stop {
    /// It was given a P.
    Given,
    /// The time has come; it has no P.
    Time,
    /// It has waited too long: its thread is to end, and it is not on any list.
    End,
}

/// Puts the M to sleep until it is given a P, at the latest until the time `until`.
pub(crate) fn stopm(mp: &'static M, until: u64) -> Stop {
    if mp.p().is_some() || mp.spinning.get() {
        throw!("m{}: stopping with a P, or spinning", mp.id);
    }
    let mut shared = SCHED.lock();
    settled(&mut shared, mp);
    // A P waits for a thread that is still to be made (or can't be): here is one.
    if let Some(pp) = take_waiting(&mut shared) {
        drop(shared);
        acquire_waiting(mp, pp);
        return Stop::Given;
    }
    mp.is_idle.set(true);
    mp.link.store(shared.midle, Ordering::Relaxed);
    shared.midle = mp.as_ptr();
    shared.nmidle += 1;
    drop(shared);
    let keep = match mp.is_parent.get() {
        true => NEVER,
        false => SCHED.thread_keep_ns.load(Ordering::Relaxed),
    };
    let now = sys::nanotime();
    // An M that sleeps for a timer does so until the timer is due: nobody else would.
    let for_timer = until != NEVER;
    let end = if for_timer { until } else { now.saturating_add(keep) };
    let mut left = Duration::from_nanos(end.saturating_sub(now));
    loop {
        if mp.note.sleep(Some(left)) {
            take_nextp(mp);
            return Stop::Given;
        }
        let mut shared = SCHED.lock();
        if mp.is_idle.get() {
            remove_idle_m(&mut shared, mp);
            return if for_timer { Stop::Time } else { Stop::End };
        }
        // It was taken off the list just now.
        left = Duration::from_secs(1);
    }
}

/// Takes a P that waits for a thread; its M is not to be made any more.
pub(crate) fn take_waiting(shared: &mut Shared) -> Option<&'static P> {
    // SAFETY: null, or a static P.
    let pp = unsafe { shared.pwaiting.as_ref() }?;
    shared.pwaiting = pp.link.load(Ordering::Relaxed);
    shared.mcount -= 1;
    Some(pp)
}

/// Takes the P that came with a wake-up.
pub(crate) fn take_nextp(mp: &'static M) {
    // SAFETY: null, or one of the static Ps.
    match unsafe { mp.nextp.swap(null_mut(), Ordering::Acquire).as_ref() } {
        Some(pp) => acquire_p(mp, pp),
        None => throw!("m{}: woken without a P", mp.id),
    }
}

fn get_idle_m(shared: &mut Shared) -> Option<&'static M> {
    // SAFETY: null, or an M, which is never freed.
    let mp = unsafe { shared.midle.as_ref() }?;
    shared.midle = mp.link.load(Ordering::Relaxed);
    shared.nmidle -= 1;
    mp.is_idle.set(false);
    Some(mp)
}

fn remove_idle_m(shared: &mut Shared, mp: &'static M) {
    let mut at: *mut M = shared.midle;
    if std::ptr::eq(at, mp) {
        shared.midle = mp.link.load(Ordering::Relaxed);
    }
    // SAFETY: the list is of Ms, which are never freed.
    while let Some(here) = unsafe { at.as_ref() } {
        if std::ptr::eq(here.link.load(Ordering::Relaxed), mp) {
            here.link.store(mp.link.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        at = here.link.load(Ordering::Relaxed);
    }
    shared.nmidle -= 1;
    mp.is_idle.set(false);
}

/// Makes `pp` the P of `mp`: on its own stack or on its goroutine's, in a section.
pub(crate) fn acquire_p(mp: &'static M, pp: &'static P) {
    if !mp.p.load(Ordering::Relaxed).is_null() {
        throw!("m{}: acquiring p{} beside another", mp.id, pp.id);
    }
    pp.m.store(mp.as_ptr(), Ordering::Release);
    mp.p.store(pp.as_ptr(), Ordering::Relaxed);
    pp.set_status(PStatus::Running);
    mp.lease.grant();
}

/// Takes the P from `mp`: on its own stack.
pub(crate) fn release_p(mp: &'static M) -> &'static P {
    // SAFETY: null, or one of the static Ps.
    let Some(pp) = (unsafe { mp.p.swap(null_mut(), Ordering::Relaxed).as_ref() }) else {
        throw!("m{}: releasing no P", mp.id);
    };
    mp.oldp.set(pp.as_ptr());
    pp.m.store(null_mut(), Ordering::Release);
    pp.set_status(PStatus::Idle);
    pp
}

/// Hands the M's P on, if it has one. The goroutine of this M may have set a timer, and nobody
/// looks at it on this M.
pub(crate) fn give_up_p(mp: &'static M) {
    if let Some(pp) = mp.p() {
        let new_timer = pp.new_timer.get();
        super::watch::announce(pp);
        release_p(mp);
        hand_off_watched(pp, new_timer);
    }
}

/// Puts a P on the idle list.
pub(crate) fn put_idle(shared: &mut Shared, pp: &'static P) {
    if !pp.is_empty() {
        throw!("p{} goes idle with goroutines in its queue", pp.id);
    }
    // SAFETY: the caller owns it.
    unsafe { super::go::give_if_wanted(shared, pp) };
    pp.set_status(PStatus::Idle);
    pp.link.store(shared.pidle, Ordering::Relaxed);
    shared.pidle = pp.as_ptr();
    SCHED.idle.proc_idle();
}

/// Takes a P off the idle list: `wanted` if it is there.
pub(crate) fn get_idle(shared: &mut Shared, wanted: Option<*mut P>) -> Option<&'static P> {
    let mut at: *mut P = shared.pidle;
    let mut before: Option<&'static P> = None;
    if let Some(wanted) = wanted {
        // SAFETY: the list is of static Ps.
        while let Some(here) = unsafe { at.as_ref() } {
            if at == wanted {
                break;
            }
            before = Some(here);
            at = here.link.load(Ordering::Relaxed);
        }
        if at.is_null() {
            (at, before) = (shared.pidle, None);
        }
    }
    // SAFETY: null, or a static P.
    let pp = unsafe { at.as_ref() }?;
    let next = pp.link.load(Ordering::Relaxed);
    match before {
        Some(before) => before.link.store(next, Ordering::Relaxed),
        None => shared.pidle = next,
    }
    shared.starts += 1;
    SCHED.idle.proc_busy();
    SCHED.sysmon.wake_from_deep_sleep();
    Some(pp)
}

/// Finds somebody to run a P that the caller owns and can't run itself; or makes it idle.
pub(crate) fn hand_off(pp: &'static P) {
    hand_off_watched(pp, false);
}

/// The same. `new_timer`: there is a timer that may be earlier than what others sleep for, so
/// somebody is to watch for it where other Ps are busy, too.
fn hand_off_watched(pp: &'static P, new_timer: bool) {
    let work = |pp: &P| !pp.is_empty() || SCHED.runq_size.load(Ordering::Relaxed) > 0;
    if work(pp) {
        return startm(pp, false);
    }
    // No P is idle and no M looks for work: keep one M looking, or work made now would wait.
    let idle = &SCHED.idle;
    let nobody = idle.spinning.load(Ordering::SeqCst) == 0
        && idle.procs.load(Ordering::SeqCst) == 0
        && SCHED.gomaxprocs.load(Ordering::Relaxed) > 1;
    if nobody && idle.spinning.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
        return startm(pp, true);
    }
    let mut shared = SCHED.lock();
    if SCHED.is_stopping() {
        super::stw::stopped(&mut shared, pp);
        return;
    }
    // Under the lock: a watcher that leaves and finds no P has left before, or finds this one.
    let is_last =
        SCHED.idle.procs.load(Ordering::Relaxed) + 1 >= SCHED.gomaxprocs.load(Ordering::Relaxed);
    let unwatched = (is_last || new_timer) && super::watch::needs_watcher(super::watch::earliest());
    if SCHED.runq_size.load(Ordering::Relaxed) > 0 || unwatched {
        return start_with(shared, pp, false);
    }
    put_idle(&mut shared, pp);
    if SCHED.idle.was_needed()
        && let Some(pp) = get_idle(&mut shared, None)
    {
        start_with(shared, pp, false);
    }
}
