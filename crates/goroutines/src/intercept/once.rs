//! `pthread_once`.
//!
//! What is to be done once is the program's code: it may wait, so the call can't be announced. So
//! each call is noted before libc is asked ([`RUNNING`]). Goroutines that come meanwhile wait in
//! the futexes' table, under the control's address, and ask libc when the first call has returned,
//! or was unwound. Where too many calls are under way, goroutines wait in libc.
//!
//! * ON1: a call that has returned is taken out of the notes before it wakes the others; a
//!   goroutine that waits is in the table before it looks at the notes: one of them sees the other
//!   (FX1).

use super::futex::{wait_at, wake_at};
use super::real::{Real, caller, function};
use super::sync::ALL;
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::sched::SCHED;
use crate::timer::alarm::NEVER;
use libc::c_int;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// What is to be done once.
pub(super) type Routine = Option<unsafe extern "C-unwind" fn()>;
/// libc's function.
pub(super) type Once<R> = unsafe extern "C-unwind" fn(*mut c_int, Routine) -> R;

/// The controls of the calls that are under way, or wait in libc; 0: none.
static RUNNING: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];

fn is_running(control: usize) -> bool {
    RUNNING.iter().any(|one| one.load(Ordering::SeqCst) == control)
}

/// While it lives, a call for its control is under way.
struct Running(&'static AtomicUsize);

impl Running {
    fn new(control: usize) -> Option<Self> {
        let is_free = |one: &&AtomicUsize| {
            one.load(Ordering::Relaxed) == 0
                && one.compare_exchange(0, control, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        RUNNING.iter().find(is_free).map(Self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let control = self.0.swap(0, Ordering::SeqCst); // ON1
        wake_at(control, usize::MAX, ALL);
    }
}

/// Has something done once, for a goroutine or a thread. `real` is libc's call.
pub(super) fn once(control: *mut c_int, real: impl FnOnce() -> c_int) -> c_int {
    /// The value of a control that libc has done with, for which no call need be noted. (Were it
    /// another value, calls would be noted all the same.)
    const DONE: i32 = 2;
    // SAFETY: the user's control.
    let state = unsafe { &*control.cast::<AtomicI32>() };
    let at = control as usize;
    loop {
        if !SCHED.started.load(Ordering::Acquire) || state.load(Ordering::Acquire) == DONE {
            return real();
        }
        let Some(gp) = caller().filter(|_| is_running(at)) else { break };
        let why = (WaitReason::Pthread, sys::nanotime());
        wait_at(gp, (at, ALL), NEVER, why, || !is_running(at));
    }
    let _noted = Running::new(at);
    real()
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_once(control: *mut c_int, routine: Routine) -> c_int {
    static REAL: Real = Real::new(c"pthread_once");
    // SAFETY: forwarded.
    once(control, || unsafe { function::<Once<c_int>>(&REAL)(control, routine) })
}
