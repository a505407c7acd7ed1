//! Stealing from other processors. (Go: `stealWork`.)

use super::SCHED;
use crate::base::sys;
use crate::g::task::{Opaque, Runnable};
use crate::m::M;
use crate::p::runq::LocalQueue;
use crate::p::{P, PStatus};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often to go round all processors. In the last round their `runnext` too.
const ROUNDS: usize = 4;

/// What a victim that runs is given to run its `runnext` itself: it has just readied it, and is
/// probably about to park. (Go: 3 µs, which with the kernel's slack are 50.)
const GRACE: Duration = Duration::from_micros(20);
/// How often to look meanwhile: between two looks are so many pauses, of 10 to 50 ns each.
const LOOK_EVERY: u32 = 16;

/// Steals half of some P's queue. On g0, owning `pp`, whose queue is empty.
pub(super) fn steal(mp: &'static M, pp: &'static P) -> Option<Runnable> {
    let procs = SCHED.procs();
    for round in 0..ROUNDS {
        for victim in order(procs.len(), mp.rand.next() as usize, mp.rand.next() as usize) {
            let victim = &procs[victim];
            if SCHED.is_stopping() {
                return None;
            }
            // Idle ones too: a P on its way to an M, or waiting for a thread, may hold work.
            if std::ptr::eq(victim, pp) {
                continue;
            }
            // SAFETY: we own pp, and its queue is empty.
            let steal = |from| unsafe { pp.runq.steal(from) };
            let mut got = steal(&victim.runq).or_else(|| steal(&victim.yieldq));
            if got.is_none() && round == ROUNDS - 1 && victim.runq.len().1 {
                got = steal_next(victim);
            }
            if let Some(one) = got {
                // SAFETY: queues hold Runnables.
                return Some(unsafe { Runnable::from_ptr(one) });
            }
            if round == ROUNDS - 1
                && let Some(one) = super::watch::run_timers_of(victim)
            {
                return Some(one);
            }
        }
    }
    None
}

/// Steals what is in front of a queue, where its owner does not come to it.
fn steal_next(victim: &P) -> Option<*mut Opaque> {
    // SAFETY: null, or an M, which is never freed.
    let owner = unsafe { victim.m.load(Ordering::Acquire).as_ref() };
    let running = owner.filter(|mp| !mp.lease.in_syscall() && victim.status() == PStatus::Running);
    if let Some(mp) = running {
        let switches = mp.switches.load(Ordering::Relaxed);
        let until = sys::nanotime() + GRACE.as_nanos() as u64;
        while sys::nanotime() < until {
            // Looking takes the line from the M that is about to write it.
            (0..LOOK_EVERY).for_each(|_| std::hint::spin_loop());
            if mp.switches.load(Ordering::Relaxed) != switches || !victim.runq.len().1 {
                return None;
            }
        }
    }
    let next = LocalQueue::steal_next(&victim.runq)?;
    if let Some(waker) = running.and_then(|mp| mp.curg()) {
        waker.haste.waited_in_vain();
    }
    Some(next)
}

/// All numbers below `n` once, in an order that two random numbers choose: a start, and a stride
/// that has no factor in common with `n`: the first such from the chosen one on. (Go,
/// `randomOrder`, has a list of all such strides, and chooses one. A list would have to be made
/// anew with each change of `GOMAXPROCS`; of few numbers in a row one is a stride.)
pub(super) fn order(n: usize, start: usize, stride: usize) -> impl Iterator<Item = usize> {
    let stride = stride_for(n, stride % n.max(1) + 1);
    let mut at = start % n.max(1);
    (0..n).map(move |_| {
        let this = at;
        at += stride;
        if at >= n {
            at -= n;
        }
        this
    })
}

/// The first number from `wanted` on (from 1 to `n`, then again from 1 on) that has no factor in
/// common with `n`.
fn stride_for(n: usize, wanted: usize) -> usize {
    (wanted..n).find(|stride| gcd(*stride, n) == 1).unwrap_or(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::order;

    /// Go: `TestStealOrder` (runtime/proc_test.go, 1.27; BSD-3-Clause): each order visits all.
    #[test]
    fn every_order_visits_every_processor_once() {
        for n in 1..=64 {
            for start in 0..n {
                for stride in 0..n {
                    let mut seen = vec![false; n];
                    for i in order(n, start, stride) {
                        assert!(!std::mem::replace(&mut seen[i], true), "{i} twice of {n}");
                    }
                    assert!(seen.iter().all(|s| *s), "not all of {n} from {start} by {stride}");
                }
            }
        }
    }
}
