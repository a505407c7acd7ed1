//! Goroutines locked to their thread. (Go: `LockOSThread`.)
//!
//! A locked goroutine runs on its M only, and that M runs nothing else. When it waits, its M hands
//! the P on and sleeps; an M that finds the goroutine in a queue gives its own P to the goroutine's
//! M and goes to sleep itself.

use super::run::Next;
use super::{SCHED, wake};
use crate::g::G;
use crate::m::M;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// Locks `gp` to its M, once more. In a section, on it.
pub(crate) fn lock(gp: &'static G) {
    gp.locks.set(gp.locks.get() + 1);
    let mp = gp.m();
    gp.lockedm.store(mp.as_ptr(), Ordering::Relaxed);
    mp.lockedg.store(gp.as_ptr(), Ordering::Relaxed);
}

/// Takes one lock back; false if there was none. In a section, on it.
pub(crate) fn unlock(gp: &'static G) -> bool {
    let Some(left) = gp.locks.get().checked_sub(1) else { return false };
    gp.locks.set(left);
    if left == 0 {
        gp.m().lockedg.store(null_mut(), Ordering::Relaxed);
        gp.lockedm.store(null_mut(), Ordering::Relaxed);
    }
    true
}

/// A locked goroutine ends: its thread, which it may have changed (that is what locking is for),
/// must not be used for others. (Go: TestLockOSThreadExit.)
pub(crate) fn end_with_thread(gp: &'static G) {
    let mp = gp.m();
    gp.locks.set(0);
    gp.lockedm.store(null_mut(), Ordering::Relaxed);
    mp.lockedg.store(null_mut(), Ordering::Relaxed);
    mp.dying.set(true);
}

/// Sleeps until the goroutine locked to `mp` may run. On g0.
pub(crate) fn wait_for_lockedg(mp: &'static M) -> Next {
    wake::give_up_p(mp);
    SCHED.lock().nmidle_locked += 1;
    while !mp.note.sleep(None) {}
    wake::take_nextp(mp);
    // SAFETY: only the goroutine itself changes it, and it is not running.
    let gp = unsafe { &*mp.lockedg.load(Ordering::Relaxed) };
    Next { gp, inherits: false }
}

/// Gives the P of `mp` to the M that `gp` is locked to, and sleeps. On g0.
pub(crate) fn start_lockedm(mp: &'static M, gp: &'static G) {
    // SAFETY: a locked goroutine's M, which is never freed.
    let locked = unsafe { &*gp.lockedm.load(Ordering::Relaxed) };
    let pp = wake::release_p(mp);
    SCHED.lock().nmidle_locked -= 1;
    locked.nextp.store(pp.as_ptr(), Ordering::Release);
    locked.note.wake();
}
