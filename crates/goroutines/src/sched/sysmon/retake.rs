//! What is done about an M that was looked at: ending its slice, taking its P, waking another beside it. (Go: `retake`.)
//!
//! Previous: `sched/sysmon.rs`. Next: `sched/preempt.rs`, or `sched/wake.rs`, which finds another M for the P.

use super::onlooker::{self, Answer};
use super::{IDLE_RETAKE_NS, LIBC_TRIES, LOOK_NS, Look, SHARE_NS, SLOW_NS};
use crate::base::lock::Lock;
use crate::base::sys;
use crate::m::{M, Seen};
use crate::p::{P, PStatus};
use crate::sched::{SCHED, preempt, wake};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An M that does not heed the signal for this long does not get it: a sandbox refuses it, or it is blocked by a raw
/// call.
const UNHEARD_NS: u64 = 50_000_000;

/// Goroutines that no M was woken for, as the one that runs seemed likely to leave at once (`g/haste.rs`,
/// `p/pace.rs`), and that have waited since the look before, are to run elsewhere.
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
    if now - seen.syscall_since_ns < IDLE_RETAKE_NS && thread_of(mp, seen, now) == Thread::Waits {
        // Nor would the kernel run whoever had its P instead.
        look.off_cpu = true;
        return;
    }
    if mp.lease.take_syscall(pp.id) {
        (look.acted, look.taken) = (true, true);
        taken(pp);
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
    if for_ns >= patience && thread_of(mp, seen, now) == Thread::Blocked {
        if take(pp, mp) {
            look.acted = true;
        }
        return;
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

/// Whether the kernel has given the thread less than half of the slice's time: then its slice is not
/// over, and whoever came next would run on the same thread.
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
}

/// What it does; the monitor waits a moment for the answer.
fn thread_of(mp: &M, seen: &mut Seen, now: u64) -> Thread {
    const PATIENCE: Duration = Duration::from_micros(200);
    let cpu = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed));
    let before = std::mem::replace(&mut seen.cpu_ns, cpu);
    let elapsed = now.saturating_sub(std::mem::replace(&mut seen.cpu_at_ns, now));
    let asked = seen.asked_cpu_ns.take();
    // (An M may have got another thread meanwhile, whose clock is young.)
    let (Some(cpu), Some(before)) = (cpu, before) else { return Thread::Runs };
    if cpu.saturating_sub(before) >= elapsed / 8 {
        return Thread::Runs;
    }
    let answer = if asked == Some(cpu) {
        onlooker::answer(mp)
    } else {
        onlooker::ask(mp);
        onlooker::await_answer(mp, Some(PATIENCE))
    };
    // It takes a while, and who waits for a CPU gets one meanwhile: it may be of a later sleep.
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
    // LE2: one at a time. (Others: who stops the world.)
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
        taken(pp);
    }
    taken_now
}

/// The caller has taken `pp` from an M: somebody else is to run it.
fn taken(pp: &'static P) {
    pp.m.store(null_mut(), Ordering::Release);
    pp.set_status(PStatus::Idle);
    wake::hand_off(pp);
}

/// It runs (or blocks) a goroutine without a P, unannounced.
fn is_detached(mp: &M) -> bool {
    mp.lease.is_taken()
        && mp.curg().is_some_and(|gp| {
            gp.pending.load(Ordering::Relaxed) & crate::g::pending::BLOCKING == 0
                && !gp.in_call.load(Ordering::Relaxed)
        })
}

/// Goroutines whose P was taken and that burn CPU now: they are to get a P, or wait for one.
pub(super) fn look_at_detached(now: u64, waiting: bool) {
    static NEXT_NS: AtomicU64 = AtomicU64::new(0);
    if now < NEXT_NS.load(Ordering::Relaxed) {
        return;
    }
    let slice = SCHED.slice_ns.load(Ordering::Relaxed);
    NEXT_NS.store(now + if waiting { LOOK_NS } else { SLOW_NS }.min(slice), Ordering::Relaxed);
    for mp in SCHED.all_ms().filter(|mp| is_detached(mp)) {
        // SAFETY: only this thread looks at it.
        let seen = unsafe { &mut *mp.seen.get() };
        let Some(cpu) = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed)) else { continue };
        let before = seen.cpu_ns.replace(cpu);
        let elapsed = now.saturating_sub(std::mem::replace(&mut seen.cpu_at_ns, now));
        if before.is_some_and(|before| cpu.saturating_sub(before) > elapsed / 4) {
            preempt::signal(mp);
        }
    }
}
