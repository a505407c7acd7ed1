//! Stopping the world: no P runs while somebody changes their number, or looks at all goroutines.
//! (Go: `stopTheWorld`, `procresize`.)
//!
//! It stops *scheduling*: a goroutine that is blocked, or computing inside libc, has its P taken
//! and stops at its next step into the runtime. The caller that stops the world is in a section of
//! its own, or on an ordinary thread, and does not allocate meanwhile: a stopped goroutine may hold
//! an allocator's lock.

use super::park::ParkingLock;
use super::{ALLP, SCHED, Shared, current_m, go, preempt, sysmon, wake};
use crate::g::current;
use crate::g::task::Runnable;
use crate::m::M;
use crate::p::{MAX_PROCS, P, PStatus};
use std::ptr::null_mut;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One at a time stops the world.
static WORLD: ParkingLock = ParkingLock::new();

/// How long to wait before asking again.
const AGAIN: Duration = Duration::from_micros(100);

/// Calls `f` while no P runs; then there are `f`'s result's processors.
///
/// `f` returns the number of processors to go on with (none: as many as before), and a result. It
/// does not allocate, block or schedule.
pub(crate) fn stopped_world<R>(f: impl FnOnce() -> (Option<u32>, R)) -> R {
    WORLD.lock();
    let section = current::enter();
    stop();
    let (procs, result) = f();
    start(procs);
    drop(section);
    WORLD.unlock();
    result
}

fn stop() {
    let own = current_m().and_then(|mp| mp.p());
    let mut shared = SCHED.lock();
    shared.stopwait = SCHED.gomaxprocs.load(Ordering::Relaxed) as i32;
    SCHED.stopping.store(true, Ordering::SeqCst);
    if let Some(own) = own {
        stopped(&mut shared, own);
    }
    while let Some(pp) = wake::get_idle(&mut shared, None) {
        stopped(&mut shared, pp);
    }
    while let Some(pp) = wake::take_waiting(&mut shared) {
        if pp.wants_spinning.replace(false) {
            SCHED.idle.stop_spinning();
        }
        stopped(&mut shared, pp);
    }
    let mut left = shared.stopwait;
    drop(shared);
    let mut round = 0;
    while left > 0 {
        for pp in SCHED.procs() {
            press(pp, round);
        }
        SCHED.stopnote.sleep(Some(AGAIN));
        round += 1;
        left = SCHED.lock().stopwait;
    }
}

/// Asks a running P to stop; takes it where asking has not helped.
fn press(pp: &'static P, round: u32) {
    if pp.status() != PStatus::Running {
        return;
    }
    // SAFETY: null, or an M, which is never freed.
    let Some(mp) = (unsafe { pp.m.load(Ordering::Acquire).as_ref() }) else { return };
    if mp.lease.in_syscall() {
        if mp.lease.take_syscall(pp.id) {
            sysmon::left_without_p(mp);
            pp.m.store(null_mut(), Ordering::Release);
            stopped(&mut SCHED.lock(), pp);
        }
        return;
    }
    // A signal would show as EINTR in a call that nobody announced: a blocked M loses its P
    // silently.
    let is_blocked = sysmon::onlooker::is_blocked(mp) == Some(true);
    let take_now = is_blocked || round >= 2;
    if !(take_now && sysmon::take(pp, mp)) && (!is_blocked || round >= 10) {
        preempt::signal(mp);
    }
}

/// `pp` has stopped; the caller owned it. Under the scheduler lock.
pub(crate) fn stopped(shared: &mut Shared, pp: &'static P) {
    pp.set_status(PStatus::Stopped);
    shared.stopwait -= 1;
    if shared.stopwait == 0 {
        SCHED.stopnote.wake();
    }
}

/// An M gives its P to the stopped world. On g0.
pub(crate) fn stop_p(mp: &'static M) {
    if mp.spinning.replace(false) {
        SCHED.idle.stop_spinning();
    }
    let pp = wake::release_p(mp);
    let mut shared = SCHED.lock();
    // What this M was about to run: it may not be woken again.
    if let Some(one) = mp.stash.take() {
        shared.runq_push(one);
    }
    if SCHED.is_stopping() {
        stopped(&mut shared, pp);
    } else {
        drop(shared);
        wake::hand_off(pp);
    }
}

fn start(procs: Option<u32>) {
    let mut shared = SCHED.lock();
    let old = SCHED.gomaxprocs.load(Ordering::Relaxed);
    let new = procs.unwrap_or(old).clamp(1, MAX_PROCS as u32);
    ALLP.make(&mut shared, new);
    for pp in &ALLP[(new.min(old) as usize)..old as usize] {
        retire(&mut shared, pp);
    }
    SCHED.gomaxprocs.store(new, Ordering::Relaxed);
    let own = current_m().and_then(|mp| mp.p().map(|pp| (mp, pp)));
    let keep: Option<&'static P> = own.map(|(mp, pp)| {
        if pp.id < new {
            pp.set_status(PStatus::Running);
            return pp;
        }
        // Ours is gone: go on with the first.
        wake::release_p(mp);
        pp.set_status(PStatus::Dead);
        wake::acquire_p(mp, &ALLP[0]);
        &ALLP[0]
    });
    let mut with_work: *mut P = null_mut();
    for pp in ALLP[..new as usize].iter().rev() {
        if keep.is_some_and(|keep| std::ptr::eq(keep, pp)) {
            continue;
        }
        pp.set_status(PStatus::Idle);
        if pp.is_empty() {
            wake::put_idle(&mut shared, pp);
        } else {
            pp.link.store(with_work, Ordering::Relaxed);
            with_work = pp.as_ptr();
        }
    }
    SCHED.stopping.store(false, Ordering::SeqCst);
    SCHED.stopnote.take();
    drop(shared);
    // SAFETY: a list of static Ps that we own.
    while let Some(pp) = unsafe { with_work.as_ref() } {
        with_work = pp.link.load(Ordering::Relaxed);
        wake::startm(pp, false);
    }
    SCHED.sysmon.nudge();
    wake::wakep();
}

/// A P that is not needed any more: its goroutines and its free list go to all, its timers and the
/// memory of tasks to the first P.
fn retire(shared: &mut Shared, pp: &'static P) {
    // SAFETY: the P is stopped, so it is ours.
    unsafe {
        while let Some((one, _)) = pp.runq.get().or_else(|| pp.yieldq.get()) {
            shared.runq_push(Runnable::from_ptr(one));
        }
        pp.timers.move_to(&ALLP[0].timers);
        // The first P is stopped too, and so ours.
        pp.tasks.move_to(&ALLP[0].tasks);
        let free = &mut *pp.gfree.get();
        while let Some(gp) = free.pop() {
            shared.gfree_push(gp, go::default_class());
        }
    }
    if !current_m().and_then(|mp| mp.p()).is_some_and(|own| std::ptr::eq(own, pp)) {
        pp.set_status(PStatus::Dead);
    }
}
