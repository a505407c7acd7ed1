//! Mutexes whose owner is a thread to the kernel, or to another process: robust ones, those with
//! `PTHREAD_PRIO_INHERIT` or `PTHREAD_PRIO_PROTECT`, and those that several processes share and
//! that know their owner (recursive, error-checking).
//!
//! **The problem.** libc writes the owner's thread id into such a mutex. It takes the id from the
//! thread block; in a goroutine that is its carrier's id, which the kernel does not know. The
//! kernel lends priority to the thread of that id, and marks a robust mutex when that thread ends;
//! two processes may have carriers with the same id.
//!
//! **Chosen.** Each call of libc on such a mutex is made with the M's thread id in the goroutine's
//! block, and the goroutine is locked to its M from a successful lock to its unlock. So the id is
//! right whenever libc or the kernel looks at it. The kernel is told of the goroutine's robust
//! list, too.
//!
//! Rejected: leaving the M's id in the block while the mutex is held. A recursive mutex that the
//! goroutine has locked before under its own id would no longer be its own.
//!
//! * BM1: the block bears the M's id only inside a section in which the goroutine can't move.
//! * BM2: a goroutine that holds `n` such locks is locked to its M `n` times for them
//!   ([`G::holds`]).
//! * BM3: the mutexes that a goroutine holds at its end are marked before joiners are told
//!   (`sched/exit.rs`). Its M's thread ends with it, as the goroutine is locked to that thread; the
//!   kernel then wakes the threads that wait for a mutex with priority inheritance.
//!
//! A goroutine that waits for such a mutex waits in the kernel, announced.

use crate::g::{G, current};
use crate::m::M;
use crate::sched::locked;
use crate::sched::syscall::announced;
use goroutines_switch::sys::raw;
use goroutines_switch::thread_pointer::facts;
use libc::c_int;
use std::sync::atomic::Ordering;

/// Set in a mutex's kind where several processes share it (and it has no other protocol).
const SHARED: c_int = 0x80;
/// Set where the kernel marks the mutex when its owner ends.
const ROBUST: c_int = 0x10;
/// The two bits of a mutex's type.
const TYPE: c_int = 3;
const ADAPTIVE: c_int = 3;

/// Whether a mutex of this kind knows its owner as a thread. True for a value that is no kind, too.
#[inline]
pub(super) fn is_bound(kind: c_int) -> bool {
    kind & !TYPE != 0 && !matches!(kind ^ SHARED, libc::PTHREAD_MUTEX_NORMAL | ADAPTIVE)
}

/// Whether a call that locks says that the caller has the lock now.
fn is_held(result: c_int) -> bool {
    matches!(result, 0 | libc::EOWNERDEAD)
}

/// Calls libc with the M's thread id in the block of `gp`. In a section (BM1).
fn as_thread(gp: &'static G, kind: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let (mp, tp, facts) = (gp.m(), gp.carrier().thread_pointer(), facts());
    if kind & ROBUST != 0
        && let Some(head) = facts.robust_head(tp)
    {
        register(mp, head);
    }
    // SAFETY: BM1: the running goroutine's own block.
    let own = unsafe { facts.swap_tid(tp, mp.tid.load(Ordering::Relaxed)) };
    let result = call();
    // SAFETY: as above.
    unsafe { facts.swap_tid(tp, own) };
    result
}

/// Tells the kernel which robust list the calling thread, that of `mp`, works on from now on. The
/// list before is empty, or belongs to a goroutine that is on another M by now: the kernel passes
/// over locks that bear another thread's id.
fn register(mp: &M, head: usize) {
    if mp.robust_list.replace(head) != head {
        // SAFETY: a head in memory that is never unmapped.
        unsafe { raw(libc::SYS_set_robust_list, [head, 3 * size_of::<usize>(), 0, 0, 0, 0]) };
    }
}

/// Makes a call that may wait. It is announced, unless the no-preempt count is raised.
fn may_wait(gp: &'static G, call: impl FnOnce() -> c_int) -> c_int {
    if gp.nopreempt.load(Ordering::Relaxed) == 0 { announced(gp, call) } else { call() }
}

/// Makes a call that does not wait, where the goroutine can't move.
fn in_section(gp: &'static G, call: impl FnOnce() -> c_int) -> c_int {
    if gp.nopreempt.load(Ordering::Relaxed) == 0 {
        let _section = current::enter();
        call()
    } else {
        call()
    }
}

/// Locks by `call`, which may wait.
pub(super) fn lock(gp: &'static G, kind: c_int, call: impl FnOnce() -> c_int) -> c_int {
    may_wait(gp, || locked_by(gp, kind, call))
}

/// Locks by `call`, which does not wait.
pub(super) fn try_lock(gp: &'static G, kind: c_int, call: impl FnOnce() -> c_int) -> c_int {
    in_section(gp, || locked_by(gp, kind, call))
}

fn locked_by(gp: &'static G, kind: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let result = as_thread(gp, kind, call);
    if is_held(result) {
        locked::lock(gp); // BM2
        gp.holds.set(gp.holds.get() + 1);
    }
    result
}

/// Unlocks by `call`.
pub(super) fn unlock(gp: &'static G, kind: c_int, call: impl FnOnce() -> c_int) -> c_int {
    in_section(gp, || {
        let result = as_thread(gp, kind, call);
        // A recursive mutex whose state was not mended returns ENOTRECOVERABLE from each of its
        // unlocks.
        if matches!(result, 0 | libc::ENOTRECOVERABLE) {
            let_go(gp);
        }
        result
    })
}

/// Waits for a condition by `call`, which unlocks the mutex and locks it again.
pub(super) fn wait(gp: &'static G, kind: c_int, call: impl FnOnce() -> c_int) -> c_int {
    may_wait(gp, || {
        let result = as_thread(gp, kind, call);
        if result == libc::ENOTRECOVERABLE {
            let_go(gp);
        }
        result
    })
}

/// Counts one lock less (BM2). There is none to count where the goroutine unlocks a mutex that
/// another has locked.
fn let_go(gp: &'static G) {
    if let Some(left) = gp.holds.get().checked_sub(1) {
        gp.holds.set(left);
        locked::unlock(gp);
    }
}

/// Makes another libc call on such a mutex, one that may wait and that leaves the mutex locked or
/// unlocked, as it was.
pub(super) fn other(gp: &'static G, kind: c_int, call: impl FnOnce() -> c_int) -> c_int {
    may_wait(gp, || as_thread(gp, kind, call))
}
