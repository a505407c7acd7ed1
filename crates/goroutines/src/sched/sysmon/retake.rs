//! What is done about an M that was looked at: ending its slice, taking its P, waking another
//! beside it. (Go: `retake`.)
//!
//! Previous: `sched/sysmon.rs`. Next: `sched/preempt.rs`, or `sched/wake.rs`, which finds another M
//! for the P.

use super::onlooker::{self, Answer};
use super::{IDLE_RETAKE_NS, LIBC_TRIES, LOOK_NS, Look, SHARE_NS, SLOW_NS};
use crate::base::gather::Gather;
use crate::base::lock::Lock;
use crate::base::sys;
use crate::m::{M, Seen};
use crate::p::{P, PStatus};
use crate::sched::{SCHED, preempt, wake};
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// An M that does not heed the signal for this long does not get it: a sandbox refuses it, or it is
/// blocked by a raw call.
const UNHEARD_NS: u64 = 50_000_000;

/// Goroutines that no M was woken for, as the one that runs seemed likely to leave at once
/// (`g/haste.rs`, `p/pace.rs`), and that have waited since the look before, are to run elsewhere.
pub(super) fn look_at_queued(pp: &P, mp: &M, seen: &mut Seen, now: u64, look: &mut Look) {
    let switches = mp.switches.load(Ordering::Acquire);
    let waits = !pp.is_empty() && SCHED.idle.procs.load(Ordering::Relaxed) > 0;
    if waits && seen.queued && seen.switches == switches {
        if let Some(waker) = mp.curg() {
            waker.haste.waited_in_vain();
        }
        pp.pace.was_wrong();
        wake::wakep();
    }
    pp.pace.look(now, mp.id, switches);
    look.queued |= waits;
    (seen.switches, seen.queued) = (switches, waits);
}

/// Go: `retake`, the part about system calls.
pub(super) fn look_at_syscall(
    pp: &'static P,
    mp: &'static M,
    seen: &mut Seen,
    now: u64,
    look: &mut Look,
) {
    let tick = mp.syscalltick.load(Ordering::Relaxed);
    let waiting = !pp.is_empty() || SCHED.runq_size.load(Ordering::Relaxed) > 0;
    let slice = SCHED.slice_ns.load(Ordering::Relaxed);
    // One call after the other, none of them long: its slice ends all the same.
    let is_over = waiting && now - seen.since_ns >= slice;
    if !seen.in_syscall || seen.syscall_tick != tick {
        (seen.in_syscall, seen.syscall_tick, seen.syscall_since_ns) = (true, tick, now);
        seen.cpu_ns = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed));
        seen.cpu_at_ns = now;
        look.syscall = true;
        if !is_over {
            return;
        }
    }
    let idle = &SCHED.idle;
    let others =
        idle.spinning.load(Ordering::Relaxed) > 0 || idle.procs.load(Ordering::Relaxed) > 0;
    if !waiting && others && now - seen.syscall_since_ns < IDLE_RETAKE_NS {
        return;
    }
    if now - seen.syscall_since_ns < IDLE_RETAKE_NS {
        match thread_of(mp, seen, now) {
            Thread::Asked => {
                look.asked = true;
                return;
            }
            Thread::Waits => {
                // Nor would the kernel run another thread that had its P instead.
                look.off_cpu = true;
                return;
            }
            Thread::Runs | Thread::Blocked => {}
        }
    }
    if mp.lease.take_syscall(pp.id) {
        (look.acted, look.taken) = (true, true);
        taken(pp, mp);
    }
}

pub(super) fn look_at_running(
    pp: &'static P,
    mp: &'static M,
    seen: &mut Seen,
    now: u64,
    look: &mut Look,
) {
    seen.in_syscall = false;
    let waiting = !pp.is_empty() || SCHED.runq_size.load(Ordering::Relaxed) > 0;
    let for_ns = now - seen.since_ns;
    let slice = SCHED.slice_ns.load(Ordering::Relaxed);
    let slice = if look.urgent { slice.min(SHARE_NS) } else { slice };
    let patience = if waiting { LOOK_NS.min(slice) } else { IDLE_RETAKE_NS };
    if for_ns >= patience {
        match thread_of(mp, seen, now) {
            Thread::Asked => {
                look.asked = true;
                return;
            }
            Thread::Blocked => {
                look.acted |= take(pp, mp);
                return;
            }
            Thread::Runs | Thread::Waits => {}
        }
    }
    if for_ns < slice || !waiting {
        look.slice_ends(seen.since_ns);
        return;
    }
    if is_starved(mp, seen, slice) {
        return;
    }
    look.acted = true;
    if mp.in_libc.swap(false, Ordering::Relaxed) {
        seen.signals += 1;
        look.in_libc = true;
        if seen.signals > LIBC_TRIES && take(pp, mp) {
            return;
        }
    }
    if seen.asked_ns == 0 {
        seen.asked_ns = now;
    }
    if now - seen.asked_ns > UNHEARD_NS.max(5 * slice) && take(pp, mp) {
        return; // no signal reaches it
    }
    pp.lead.slice_ns.store(for_ns, Ordering::Relaxed);
    preempt::ask(mp, seen.tick);
}

/// Whether the kernel has given the thread less than half of the slice's time: then its slice is
/// not over, and the next goroutine would run on the same thread.
fn is_starved(mp: &M, seen: &Seen, slice: u64) -> bool {
    let now = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed));
    match (seen.slice_cpu_ns, now) {
        (Some(before), Some(now)) => now.saturating_sub(before) < slice / 2,
        _ => false,
    }
}

/// What is known of a thread that an M is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thread {
    /// It has run since the look before.
    Runs,
    /// It could run, and was not let; or nobody was there to tell.
    Waits,
    /// It is blocked in the kernel, and has been since it was seen to stand.
    Blocked,
    /// It stands; the onlooker was asked why.
    Asked,
}

/// What it does. Where the onlooker has to be asked, the look at other Ms goes on meanwhile, and
/// comes back to this one (`Monitor::look_again`).
fn thread_of(mp: &'static M, seen: &mut Seen, now: u64) -> Thread {
    let cpu = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed));
    let before = std::mem::replace(&mut seen.cpu_ns, cpu);
    let elapsed = now.saturating_sub(std::mem::replace(&mut seen.cpu_at_ns, now));
    let asked = seen.asked_cpu_ns.take();
    // (An M may have got another thread meanwhile, whose clock is young.)
    let (Some(cpu), Some(before)) = (cpu, before) else { return Thread::Runs };
    if asked != Some(cpu) {
        if cpu.saturating_sub(before) >= elapsed / 8 {
            return Thread::Runs;
        }
        onlooker::ask(mp);
        (seen.asked_cpu_ns, seen.asked_at_ns) = (Some(cpu), now);
        return Thread::Asked;
    }
    let answer = onlooker::answer(mp);
    // The answer takes a while, and a thread that waits for a CPU gets one meanwhile: the answer
    // may be of a later sleep.
    let stands = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed)) == Some(cpu);
    match answer {
        Answer::Told(blocked) if stands && blocked.unwrap_or(true) => Thread::Blocked,
        Answer::NotYet if stands => {
            seen.asked_cpu_ns = Some(cpu);
            Thread::Waits
        }
        _ => Thread::Waits,
    }
}

/// Takes the P of a goroutine in user code, without a word to it (`m/lease.rs`).
pub(in crate::sched) fn take(pp: &'static P, mp: &'static M) -> bool {
    // LE2: one thread at a time. (Besides the monitor: the thread that stops the world.)
    static TAKER: Lock<()> = Lock::new(());
    let one = TAKER.lock();
    let switches = mp.switches.load(Ordering::Acquire);
    let taken_now = mp.lease.take_from_user_code(crate::base::atomic::heavy_barrier, || {
        let in_user_code = mp.curg().is_some_and(|gp| gp.nopreempt.load(Ordering::Acquire) == 0);
        // LE2: the goroutine looked at is still the one, and the P still this M's.
        in_user_code
            && std::ptr::eq(mp.p.load(Ordering::Acquire), pp)
            && mp.switches.load(Ordering::Acquire) == switches
    });
    drop(one);
    if taken_now {
        taken(pp, mp);
    }
    taken_now
}

/// The caller has taken `pp` from `mp`: another M is to run it.
pub(in crate::sched) fn taken(pp: &'static P, mp: &'static M) {
    left_without_p(mp);
    pp.m.store(null_mut(), Ordering::Release);
    pp.set_status(PStatus::Idle);
    wake::hand_off(pp);
}

/// Ms whose P was taken since the monitor has looked.
static BEREFT: Gather<M> = Gather::new(|mp| &mp.bereft);

/// The P of `mp` was taken: what it goes on with without one is to be looked at.
pub(in crate::sched) fn left_without_p(mp: &'static M) {
    BEREFT.add(mp);
}

/// How many Ms a look visits, and how many threads' clocks it reads.
const VISITS: usize = 256;
const CLOCKS: usize = 64;

/// The Ms that have no P, in the order in which they are looked at.
pub(super) struct Detached {
    first: *mut M,
    last: *mut M,
    count: usize,
    next_ns: u64,
}

impl Detached {
    pub(super) const fn new() -> Self {
        Self { first: null_mut(), last: null_mut(), count: 0, next_ns: 0 }
    }

    fn push(&mut self, mp: &'static M) {
        mp.next_detached.set(null_mut());
        // SAFETY: null, or an M, which is never freed.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next_detached.set(mp.as_ptr()),
            None => self.first = mp.as_ptr(),
        }
        self.last = mp.as_ptr();
        self.count += 1;
    }

    fn pop(&mut self) -> Option<&'static M> {
        // SAFETY: null, or an M, which is never freed.
        let mp = unsafe { self.first.as_ref() }?;
        self.first = mp.next_detached.get();
        if self.first.is_null() {
            self.last = null_mut();
        }
        self.count -= 1;
        Some(mp)
    }

    /// Goroutines whose P was taken and that burn CPU now: they are to get a P, or wait for one.
    /// Where there are many that block, a part of them is looked at, and the next part in the next
    /// look.
    pub(super) fn look(&mut self, now: u64, waiting: bool) {
        if now < self.next_ns {
            return;
        }
        let slice = SCHED.slice_ns.load(Ordering::Relaxed);
        self.next_ns = now + if waiting { LOOK_NS } else { SLOW_NS }.min(slice);
        for mp in BEREFT.take() {
            if !mp.is_queued.replace(true) {
                self.push(mp);
            }
        }
        let mut clocks = 0;
        for _ in 0..self.count.min(VISITS) {
            let Some(mp) = self.pop() else { return };
            if !mp.lease.is_taken() {
                // (If it is left without a P after this, it comes back through BEREFT.)
                mp.is_queued.set(false);
                continue;
            }
            self.push(mp);
            if is_detached(mp) {
                end_if_it_computes(mp, now);
                clocks += 1;
            }
            if clocks == CLOCKS {
                return;
            }
        }
    }
}

/// Whether an M without a P runs (or blocks) a goroutine, unannounced.
fn is_detached(mp: &M) -> bool {
    mp.curg().is_some_and(|gp| {
        gp.pending.load(Ordering::Relaxed) & crate::g::pending::BLOCKING == 0
            && !gp.in_call.load(Ordering::Relaxed)
    })
}

fn end_if_it_computes(mp: &'static M, now: u64) {
    // SAFETY: only this thread looks at it.
    let seen = unsafe { &mut *mp.seen.get() };
    let Some(cpu) = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed)) else { return };
    let before = seen.cpu_ns.replace(cpu);
    let elapsed = now.saturating_sub(std::mem::replace(&mut seen.cpu_at_ns, now));
    if before.is_some_and(|before| cpu.saturating_sub(before) > elapsed / 4) {
        preempt::signal(mp);
    }
}
