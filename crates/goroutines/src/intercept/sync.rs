//! What C's locks have in common: how a goroutine waits for one.
//!
//! **The problem.** A goroutine that waits for one of these must not hold its thread. The objects
//! are libc's, and stay so: threads wait in them as ever, and libc itself looks into them.
//!
//! **Chosen.** A goroutine *tries* (`trylock`, `trywait`); where it would wait, it waits in the
//! futexes' table, under the object's address, and tries again when woken. An unlock or a post, on
//! any thread, calls libc's function and then looks for goroutines in the table. While no goroutine
//! waits for anything of C's, that is one load.
//!
//! * PT1: a goroutine that waits is counted in [`WAITING`] before it tries for the last time; a
//!   thread that unlocks has unlocked before it looks: one of them sees the other.
//!
//! Objects shared between processes, robust ones and those with priority protocols are waited for
//! in libc, announced. How libc tells them from others is found out by making some (`known.rs`).
//!
//! Next: `mutex.rs`, `cond.rs`, `rwlock.rs`, `semaphore.rs`, `barrier.rs`; `bound.rs`.

use super::futex::{Woken, wait_at, wait_at_until_signal, wake_at};
use super::real::caller;
use super::time;
use crate::base::sys;
use crate::g::G;
use crate::g::reason::WaitReason;
use crate::sched::syscall::announced;
use crate::signals::deliver::Mark;
use crate::timer::alarm::NEVER;
use libc::{c_int, clockid_t, timespec};
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

/// All bits of a futex's mask.
pub(super) const ALL: u32 = u32::MAX;

/// Goroutines that wait for anything of C's, or are about to.
static WAITING: AtomicU32 = AtomicU32::new(0);

/// Whether goroutines may wait. After an unlock, which on x86 is a locked instruction and so the
/// barrier of PT1; elsewhere it would have to be made.
#[inline]
pub(super) fn anybody_waits() -> bool {
    const { assert!(cfg!(target_arch = "x86_64"), "PT1 needs a fence here") };
    compiler_fence(Ordering::SeqCst);
    WAITING.load(Ordering::Relaxed) != 0
}

/// While it lives, a goroutine waits for something of C's.
pub(super) struct WaitingForC;

impl WaitingForC {
    pub(super) fn new() -> Self {
        WAITING.fetch_add(1, Ordering::SeqCst); // PT1
        Self
    }
}

impl Drop for WaitingForC {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for the object at `address` until `attempt` says something other than `busy`. None: in
/// libc.
pub(super) fn wait_for(
    gp: &'static G,
    address: usize,
    until: u64,
    busy: c_int,
    attempt: impl Fn() -> c_int,
    in_libc: impl Fn() -> bool,
) -> Option<c_int> {
    let _counted = WaitingForC::new();
    let since = sys::nanotime();
    loop {
        let mut result = None;
        let mut gives_up = false;
        let woken = wait_at(gp, (address, ALL), until, (WaitReason::Pthread, since), || {
            match attempt() {
                error if error == busy => gives_up = in_libc(),
                other => result = Some(other),
            }
            result.is_some() || gives_up
        });
        if result.is_some() || gives_up {
            break result;
        }
        if woken == Woken::Timeout {
            break Some(libc::ETIMEDOUT);
        }
    }
}

/// The same for a semaphore, whose waits handlers interrupt: those with a time limit always. (Linux
/// does not restart them, whatever signal(7) says.)
pub(super) fn wait_for_post(
    gp: &'static G,
    address: usize,
    until: u64,
    attempt: impl Fn() -> c_int,
) -> c_int {
    let _counted = WaitingForC::new();
    let (since, mark) = (sys::nanotime(), Mark::now(gp));
    loop {
        let mut result = libc::EAGAIN;
        let why = (WaitReason::Pthread, since);
        let woken = wait_at_until_signal(gp, (address, ALL), until, why, || {
            result = attempt();
            result != libc::EAGAIN
        });
        if result != libc::EAGAIN {
            return result;
        }
        if mark.is_broken(gp, until != NEVER) {
            return libc::EINTR;
        }
        if woken == Woken::Timeout {
            return libc::ETIMEDOUT;
        }
    }
}

/// After an unlock: the first of those who wait, or all, may try again.
#[inline]
pub(super) fn unlocked(address: usize, most: usize) {
    if anybody_waits() {
        wake_at(address, most, ALL);
    }
}

/// Whether libc's objects can be waited for on `clock`; others are libc's to refuse.
pub(super) fn is_supported(clock: clockid_t) -> bool {
    matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC)
}

/// A timed call: `f` with the deadline, in a goroutine; `real` elsewhere, and to say what is wrong.
pub(super) fn timed(
    clock: clockid_t,
    time: *const timespec,
    real: impl Fn() -> c_int,
    f: impl FnOnce(&'static G, u64) -> c_int,
) -> c_int {
    match caller() {
        None => real(),
        Some(gp) if time.is_null() || !is_supported(clock) => announced(gp, real),
        Some(gp) => match time::deadline(clock, time) {
            Ok(until) => f(gp, until),
            Err(_) => announced(gp, real),
        },
    }
}
