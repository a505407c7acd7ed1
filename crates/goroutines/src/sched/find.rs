//! Finding a goroutine to run. (Go: `findRunnable`.)
//!
//! Previous: `wake.rs` (somebody gave this M a P). Next: `run.rs`.
//!
//! The order: every 61st slice the global queue first (so that two goroutines which keep readying
//! each other can't starve it) → `runnext` and the local ring → a batch of the global queue → the
//! poller → stealing → giving the P up, looking once more, sleeping (`watch.rs`). Timers that are
//! due come first of all.
//!
//! **Yielding.** Go puts a goroutine that yields at the global queue's tail, under the scheduler
//! lock, which Ps that yield much then fight for. Here it goes to a second ring of its P, which
//! counts as this P's share of that tail: it is looked at where the global queue is, after it,
//! emptied into it whenever the lock is taken for a batch, and stolen from like the first.

use super::run::Next;
use super::sysmon::SHARE_NS;
use super::{SCHED, Shared, go, ready, steal, wake, watch};
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::task::{Kind, RunList, Runnable};
use crate::m::M;
use crate::p::runq::RING;
use crate::p::{P, wanted};
use std::sync::atomic::Ordering;

/// Every so many slices the global queue comes first. A prime, so that it does not beat with
/// anything.
const GLOBAL_EVERY: u32 = 61;

/// For longer than this nobody is made to wait in turn.
const LARGEST_DEBT_NS: u64 = 100_000_000;

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

/// The same as [`at_hand`], for a goroutine that leaves: none where timers are due, which take more
/// of a stack than a parked goroutine is to keep. They are g0's. In a section, owning `pp`.
#[inline(always)]
pub(crate) fn at_hand_of_goroutine(pp: &'static P) -> Option<Candidate> {
    if watch::are_timers_due(pp) {
        return None;
    }
    let found = in_queues(pp);
    if found.is_some() {
        watch::announce(pp);
    }
    found
}

/// What can be had without waiting, spinning or stealing. On g0, owning `pp`.
#[inline(always)]
fn at_hand(pp: &'static P) -> Option<Candidate> {
    watch::run_timers_in_passing(pp);
    let mut found = in_queues(pp);
    if found.is_none() && watch::run_timers(pp) {
        found = in_queues(pp);
    }
    if found.is_some() {
        watch::announce(pp);
    }
    found
}

#[inline]
fn in_queues(pp: &'static P) -> Option<Candidate> {
    if pp.wanted.load(Ordering::Relaxed) != 0 {
        see_to(pp);
    } else if pp.schedtick.load(Ordering::Relaxed).is_multiple_of(GLOBAL_EVERY)
        && let Some(found) = global_first(pp)
    {
        return Some(found);
    }
    // SAFETY: the caller owns pp; its queue holds Runnables.
    unsafe {
        if let Some((one, inherits)) = pp.runq.get() {
            return Some(Candidate { one: Runnable::from_ptr(one), inherits });
        }
    }
    if SCHED.runq_size.load(Ordering::Relaxed) > 0 { try_global(pp) } else { yielded(pp) }
}

/// Goroutines whose wait for a timer or a descriptor has ended while all Ps compute are put before
/// the goroutines in the ring that have used up a slice, as these have had more of the time; unless
/// those that went first before took longer than a slice, and that has not been made up for. (The
/// kernel lets a thread that wakes go first, too.)
fn let_first_ones_go(shared: &mut Shared, pp: &'static P) {
    let lead = &pp.lead;
    let now = sys::nanotime();
    let since = now - lead.looked_ns.replace(now);
    let debt = match lead.led.replace(false) {
        // The slice that has ended now is in it, and as much is theirs.
        true => {
            let fair = 2 * lead.slice_ns.load(Ordering::Relaxed) + SHARE_NS;
            lead.debt_ns.get() + since.saturating_sub(fair)
        }
        false => lead.debt_ns.get().saturating_sub(since),
    };
    lead.debt_ns.set(debt.min(LARGEST_DEBT_NS));
    if debt > 0 || !shared.runq.has_first_ones() {
        return;
    }
    lead.led.set(true);
    let mut first = shared.runq_take_first();
    let mut last = RunList::new();
    let mut put = |one: Runnable| {
        // SAFETY: we own pp.
        unsafe { pp.runq.put(one.as_ptr(), |overflow| ready::spill(shared, overflow)) };
    };
    for _ in 0..pp.runq.len().0 {
        // SAFETY: we own pp; its queue holds Runnables.
        let one = unsafe { pp.runq.get().map(|(one, _)| Runnable::from_ptr(one)) };
        match one {
            Some(one) if has_used_up_a_slice(one) => last.push_back(one),
            Some(one) => put(one),
            None => break,
        }
    }
    while let Some(one) = first.pop_front().or_else(|| last.pop_front()) {
        put(one);
    }
}

fn has_used_up_a_slice(one: Runnable) -> bool {
    matches!(one.kind(), Kind::G(gp) if gp.reason() == WaitReason::Preempted)
}

/// What the owner of `pp` is to do before it runs the next goroutine.
#[cold]
#[inline(never)]
fn see_to(pp: &'static P) {
    let bits = pp.wanted.swap(0, Ordering::Relaxed);
    if bits & wanted::UNUSED != 0 {
        // SAFETY: the caller owns pp.
        unsafe { go::give_unused(&mut SCHED.lock(), pp) };
    }
    if bits & wanted::SLICE != 0 {
        after_slice(pp);
    }
}

/// A slice was used up. What is in `runnext` would go on with it, and a chain of goroutines each of
/// which starts the next would never end: it goes to the tail of the ring. And as slices are long,
/// what waits in the global queue need not wait for the ring to become empty: this P's share goes
/// to the ring's tail. (Go does neither.)
fn after_slice(pp: &'static P) {
    // SAFETY: the caller owns pp.
    unsafe { pp.runq.demote_next(|overflow| ready::spill(&mut SCHED.lock(), overflow)) };
    let mut shared = SCHED.lock();
    merge_yielded(&mut shared, pp);
    let_first_ones_go(&mut shared, pp);
    let room = (RING as u32 - pp.runq.len().0) as usize;
    take_share(&mut shared, pp, room);
}

/// The first of those that yielded here.
#[inline]
fn yielded(pp: &'static P) -> Option<Candidate> {
    // SAFETY: the caller owns pp; its queue holds Runnables.
    unsafe { pp.yieldq.get().map(|(one, _)| Candidate::fresh(Runnable::from_ptr(one))) }
}

/// One of the global queue, or of this P's share of it.
#[cold]
#[inline(never)]
fn global_first(pp: &'static P) -> Option<Candidate> {
    if SCHED.runq_size.load(Ordering::Relaxed) == 0 {
        return yielded(pp);
    }
    let mut shared = SCHED.lock();
    merge_yielded(&mut shared, pp);
    shared.runq_pop().map(Candidate::fresh)
}

/// Those that yielded here go to the global queue's tail, where they would have gone at once, were
/// it not for the lock.
fn merge_yielded(shared: &mut Shared, pp: &'static P) {
    // SAFETY: the caller owns pp; its queue holds Runnables.
    unsafe {
        while let Some((one, _)) = pp.yieldq.get() {
            shared.runq_push(Runnable::from_ptr(one));
        }
    }
}

/// A batch of the global queue: the first to run, the rest for the ring.
#[cold]
#[inline(never)]
fn try_global(pp: &'static P) -> Option<Candidate> {
    let mut shared = SCHED.lock();
    merge_yielded(&mut shared, pp);
    take_batch(&mut shared, pp)
}

/// Go: `globrunqget`. This P's share of the queue, but no more than half a ring; the first to be
/// run.
fn take_batch(shared: &mut Shared, pp: &'static P) -> Option<Candidate> {
    let first = shared.runq_pop()?;
    take_share(shared, pp, RING / 2);
    Some(Candidate::fresh(first))
}

/// Moves this P's share of the global queue to the tail of its ring, up to `most`.
fn take_share(shared: &mut Shared, pp: &'static P, most: usize) {
    let procs = SCHED.gomaxprocs.load(Ordering::Relaxed).max(1) as usize;
    let share = shared.runq.len().div_ceil(procs).min(most).min(RING / 2);
    for _ in 0..share {
        let Some(more) = shared.runq_pop() else { break };
        // SAFETY: we own pp.
        unsafe { pp.runq.put(more.as_ptr(), |overflow| ready::spill(shared, overflow)) };
    }
}

/// The goroutine of what was found, if it can be switched to from another's stack; if it is locked
/// to another thread, or has no stack and none is at hand, g0 sees to it.
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
            mp.stash_inherits.set(found.inherits);
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
    if let Some(next) = watch::try_poller() {
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
    watch::sleep(mp)
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
    pp.new_timer.set(false);
    wake::release_p(mp);
    wake::put_idle(&mut shared, pp);
    // A submitter looked for an idle P just before this one was idle: take it back and spin for
    // that submitter.
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
    wake::settle(&mut shared, mp);
    None
}

/// The delicate part (ID1): after the P is idle and this M does not count as spinning any more, it
/// looks at all queues once more. A submitter that put work there before it saw this M gone counted
/// on this M.
fn was_spinning_and_missed(mp: &'static M) -> bool {
    if !mp.spinning.get() {
        return false;
    }
    mp.spinning.set(false);
    if SCHED.idle.stop_spinning() < 0 {
        crate::base::fatal::throw!("negative number of spinning Ms");
    }
    let work = SCHED.runq_size.load(Ordering::Relaxed) > 0
        || SCHED.procs().iter().any(|pp| !pp.is_empty());
    if !work {
        return false;
    }
    let mut shared = SCHED.lock();
    if wake::is_wanted(&mut shared, mp) {
        return true;
    }
    let Some(pp) = wake::get_idle(&mut shared, None) else {
        // All Ps are busy now; but the submitter of that work counted on this M, and so on
        // whichever P is idle next.
        SCHED.idle.leave_word();
        return false;
    };
    drop(shared);
    wake::acquire_p(mp, pp);
    mp.spinning.set(true);
    SCHED.idle.start_spinning();
    true
}
