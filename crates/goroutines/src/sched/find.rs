//! Finding a goroutine to run. (Go: `findRunnable`.)
//!
//! Previous: `wake.rs` (somebody gave this M a P). Next: `run.rs`.
//!
//! The order: every 61st slice the global queue first (so that two goroutines which keep readying each
//! other can't starve it) → `runnext` and the local ring → a batch of the global queue → stealing →
//! giving the P up, looking once more, sleeping.

use super::run::Next;
use super::{Guard, SCHED, Shared, go, ready, steal, wake};
use crate::g::G;
use crate::g::task::{Kind, Runnable};
use crate::m::M;
use crate::p::P;
use crate::p::runq::RING;
use std::sync::atomic::Ordering;

/// Every so many slices the global queue comes first. A prime, so that it does not beat with anything.
const GLOBAL_EVERY: u32 = 61;

/// What was found in a queue, and whether it goes on with the time slice of the one before.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) one: Runnable,
    pub(crate) inherits: bool,
}

impl Candidate {
    fn fresh(one: Runnable) -> Self {
        Self { one, inherits: false }
    }
}

/// What looking for work came to.
pub(crate) enum Found {
    Work(Candidate),
    /// Something changed: begin anew.
    Again,
    /// The M's thread is to end.
    End,
}

/// What can be had without waiting, spinning or stealing. In a section, owning `pp`.
#[inline]
pub(crate) fn at_hand(pp: &'static P) -> Option<Candidate> {
    let waiting = SCHED.runq_size.load(Ordering::Relaxed);
    if waiting > 0
        && is_global_first(pp)
        && let Some(one) = SCHED.lock().runq_pop()
    {
        return Some(Candidate::fresh(one));
    }
    if let Some(found) = local(pp) {
        return Some(found);
    }
    if waiting > 0 { try_global(pp) } else { None }
}

#[inline]
fn is_global_first(pp: &'static P) -> bool {
    pp.schedtick.load(Ordering::Relaxed).is_multiple_of(GLOBAL_EVERY)
}

#[inline]
fn local(pp: &'static P) -> Option<Candidate> {
    // SAFETY: the caller owns pp; its queue holds Runnables.
    unsafe {
        let (one, inherits) = pp.runq.get()?;
        Some(Candidate { one: Runnable::from_ptr(one), inherits })
    }
}

/// A batch of the global queue: the first to run, the rest for the ring.
#[cold]
#[inline(never)]
fn try_global(pp: &'static P) -> Option<Candidate> {
    let mut shared = SCHED.lock();
    take_batch(&mut shared, pp)
}

/// Go: `globrunqget`. This P's share of the queue, but no more than half a ring.
fn take_batch(shared: &mut Shared, pp: &'static P) -> Option<Candidate> {
    let share = shared.runq.len() / SCHED.gomaxprocs.load(Ordering::Relaxed).max(1) as usize + 1;
    let n = share.min(shared.runq.len()).min(RING / 2);
    let first = shared.runq_pop()?;
    for _ in 1..n {
        let Some(more) = shared.runq_pop() else { break };
        // SAFETY: we own pp.
        unsafe { pp.runq.put(more.as_ptr(), |overflow| ready::spill(shared, overflow)) };
    }
    Some(Candidate::fresh(first))
}

/// Who runs instead of a goroutine that yields; `None` for whoever g0 finds.
pub(crate) enum Instead {
    /// One that needs no lock.
    Local(Option<Next>),
    /// One of the global queue, with the lock held.
    Global(Option<Next>, Guard<'static, Shared>),
    /// There is nobody else.
    Nobody,
}

/// Finds who runs instead of `gp`. In a section.
#[inline]
pub(crate) fn for_yield(gp: &'static G) -> Instead {
    let mp = gp.m();
    let Some(pp) = mp.p() else { return Instead::Local(None) };
    if SCHED.is_stopping() || gp.is_locked() {
        return Instead::Local(None);
    }
    let waiting = SCHED.runq_size.load(Ordering::Relaxed);
    let global_first = is_global_first(pp) && waiting > 0;
    if !global_first && let Some(found) = local(pp) {
        return Instead::Local(ready_made(mp, pp, found));
    }
    if waiting == 0 {
        return Instead::Nobody;
    }
    let mut shared = SCHED.lock();
    let found = if global_first {
        shared.runq_pop().map(Candidate::fresh)
    } else {
        take_batch(&mut shared, pp)
    };
    match found {
        Some(found) => Instead::Global(ready_made(mp, pp, found), shared),
        None => Instead::Nobody,
    }
}

/// The goroutine of what was found, if it can be switched to from another's stack; if it is locked to
/// another thread, or has no stack and none is at hand, g0 sees to it.
#[inline]
pub(crate) fn ready_made(mp: &'static M, pp: &'static P, found: Candidate) -> Option<Next> {
    let gp = match found.one.kind() {
        Kind::G(gp) if !gp.is_locked() => Some(gp),
        Kind::G(_) => None,
        // SAFETY: taken from a queue.
        Kind::Task(task) => unsafe { go::attach_local(pp, task) },
    };
    match gp {
        Some(gp) => Some(Next { gp, inherits: found.inherits }),
        None => {
            mp.stash.set(Some(found.one));
            None
        }
    }
}

/// Looks everywhere, and sleeps if there is nothing. On g0, with a P.
pub(crate) fn find_runnable(mp: &'static M) -> Found {
    let Some(pp) = mp.p() else { return Found::Again };
    if let Some(next) = at_hand(pp) {
        return Found::Work(next);
    }
    if let Some(next) = try_steal(mp, pp) {
        return Found::Work(next);
    }
    if let Some(found) = give_up(mp, pp) {
        return found;
    }
    if was_spinning_and_missed(mp) {
        return Found::Again;
    }
    if wake::stopm(mp) { Found::Again } else { Found::End }
}

fn try_steal(mp: &'static M, pp: &'static P) -> Option<Candidate> {
    let procs = SCHED.gomaxprocs.load(Ordering::Relaxed);
    if !mp.spinning.get() {
        if procs == 1 || !SCHED.idle.may_spin(procs) {
            return None;
        }
        mp.spinning.set(true);
        SCHED.idle.start_spinning();
    }
    steal::steal(mp, pp).map(Candidate::fresh)
}

/// Puts the P on the idle list, unless something has come up; then what.
fn give_up(mp: &'static M, pp: &'static P) -> Option<Found> {
    let mut shared = SCHED.lock();
    if SCHED.is_stopping() {
        return Some(Found::Again);
    }
    if let Some(next) = take_batch(&mut shared, pp) {
        return Some(Found::Work(next));
    }
    wake::release_p(mp);
    wake::put_idle(&mut shared, pp);
    // Somebody looked for an idle P just before this one was: take it back and spin for him.
    if !mp.spinning.get()
        && SCHED.idle.was_needed()
        && let Some(pp) = wake::get_idle(&mut shared, None)
    {
        drop(shared);
        wake::acquire_p(mp, pp);
        if SCHED.gomaxprocs.load(Ordering::Relaxed) > 1 {
            mp.spinning.set(true);
            SCHED.idle.start_spinning();
        }
        return Some(Found::Again);
    }
    None
}

/// The delicate part (ID1): after the P is idle and we don't count as spinning any more, look at all
/// queues once more. Who put work there before seeing us gone counted on us.
fn was_spinning_and_missed(mp: &'static M) -> bool {
    if !mp.spinning.get() {
        return false;
    }
    mp.spinning.set(false);
    if SCHED.idle.stop_spinning() < 0 {
        crate::base::fatal::throw!("negative number of spinning Ms");
    }
    let work = SCHED.runq_size.load(Ordering::Relaxed) > 0
        || SCHED.procs().iter().any(|pp| !pp.runq.is_empty());
    if !work {
        return false;
    }
    let mut shared = SCHED.lock();
    let Some(pp) = wake::get_idle(&mut shared, None) else { return false };
    drop(shared);
    wake::acquire_p(mp, pp);
    mp.spinning.set(true);
    SCHED.idle.start_spinning();
    true
}
