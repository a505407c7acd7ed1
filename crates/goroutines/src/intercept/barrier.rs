//! C's barriers.
//!
//! **The problem.** libc has no "try" for a barrier: a call that arrives has to wait until all
//! have. Threads wait in the same barrier, and their calls are libc's.
//!
//! **Chosen.** A goroutine arrives by libc's own protocol, on libc's words, and waits in the
//! futexes' table instead of the kernel. Each call that arrives has a number; a round is over when
//! its last number is. The call that ends a round wakes both: threads by the kernel's futex,
//! goroutines by the table. A thread's call, which is libc's, ends a round without our knowing: so
//! the table is looked at after each of them.
//!
//! The words and what libc does with them are not guessed: `known.rs` tries them
//! ([`Words::are_libc_s`]). Where they are others, and where the barrier is shared between
//! processes, the call is announced.
//!
//! * BR1: a goroutine is in the table, or has seen the new round, before the waker of that round
//!   looks (FX1).
//! * BR2: after a goroutine has counted itself out it touches no word, unless it is the last before
//!   a reset, for which other calls, `pthread_barrier_destroy` among them, wait.

use super::futex::{wait_at, wake_at};
use super::known::known;
use super::real::{Real, caller, real};
use super::sync::{ALL, WaitingForC, unlocked};
use crate::base::sys;
use crate::g::G;
use crate::g::reason::WaitReason;
use crate::sched::syscall::announced;
use crate::sched::wait::after;
use crate::timer::alarm::NEVER;
use libc::{c_int, pthread_barrier_t};
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

/// Calls have numbers up to this one, or a little below, as a round has to be whole; then they
/// begin anew.
const NUMBERS: u32 = u32::MAX / 2;

/// A barrier, as libc uses it.
#[repr(C)]
pub(super) struct Words {
    /// The number of the call that arrived last.
    arrived: AtomicU32,
    /// The last number of the rounds that are over.
    over: AtomicU32,
    /// How many calls are a round.
    count: AtomicU32,
    /// 0: not shared between processes.
    shared: AtomicU32,
    /// How many calls have left.
    left: AtomicU32,
}

static REAL: Real = Real::new(c"pthread_barrier_wait");

fn in_libc(barrier: *mut pthread_barrier_t) -> c_int {
    // SAFETY: forwarded.
    unsafe { real!(REAL as fn(*mut pthread_barrier_t) -> c_int)(barrier) }
}

impl Words {
    /// Whether libc's barriers are such words: asked by making some, and by arriving at one at the
    /// end of its numbers.
    pub(super) fn are_libc_s() -> bool {
        const { assert!(size_of::<Self>() <= size_of::<pthread_barrier_t>()) };
        let made = |shared: c_int, count: u32| {
            let mut barrier = std::mem::MaybeUninit::<pthread_barrier_t>::zeroed();
            // SAFETY: attributes initialised before use, an object to initialise.
            unsafe {
                let mut attr = std::mem::zeroed();
                libc::pthread_barrierattr_init(&raw mut attr);
                libc::pthread_barrierattr_setpshared(&raw mut attr, shared);
                libc::pthread_barrier_init(barrier.as_mut_ptr(), &raw const attr, count);
            }
            barrier
        };
        let private = made(libc::PTHREAD_PROCESS_PRIVATE, 7);
        let shared = made(libc::PTHREAD_PROCESS_SHARED, 7);
        let mut one = made(libc::PTHREAD_PROCESS_PRIVATE, 1);
        let barrier = one.as_mut_ptr();
        // SAFETY: initialised over zeroes, and large enough.
        let [private, shared, words] = [private.as_ptr(), shared.as_ptr(), barrier.cast_const()]
            .map(|barrier| unsafe { &*barrier.cast::<Self>() });
        let is_private = private.all() == [0, 0, 7, 0, 0] && words.all() == [0, 0, 1, 0, 0];
        if !is_private || !matches!(shared.all(), [0, 0, 7, mark, 0] if mark != 0) {
            return false;
        }
        // A round of one never waits.
        let rounds = [in_libc(barrier), in_libc(barrier)];
        let after_two = words.all();
        for word in [&words.arrived, &words.over, &words.left] {
            word.store(NUMBERS - 1, Ordering::Relaxed);
        }
        let last = in_libc(barrier);
        rounds == [libc::PTHREAD_BARRIER_SERIAL_THREAD; 2]
            && after_two == [2, 2, 1, 0, 2]
            && last == libc::PTHREAD_BARRIER_SERIAL_THREAD
            && words.all() == [0, 0, 1, 0, 0]
    }

    fn all(&self) -> [u32; 5] {
        [&self.arrived, &self.over, &self.count, &self.shared, &self.left]
            .map(|word| word.load(Ordering::Relaxed))
    }

    /// The call's number. Where numbers begin anew, after all that came before have left.
    fn arrive(&self, gp: &'static G, count: u32) -> u32 {
        /// Once in 2³¹ calls, so the goroutine just looks again.
        const NOW_AND_THEN: Duration = Duration::from_micros(200);
        loop {
            // Acquire and release: what came before any call of a round is seen after the round.
            let number = self.arrived.fetch_add(1, Ordering::AcqRel) + 1;
            if number <= last_number(count) {
                return number;
            }
            let at = (&raw const self.arrived as usize, ALL);
            let has_begun = || self.arrived.load(Ordering::Relaxed) <= last_number(count);
            while !has_begun() {
                let why = (WaitReason::Pthread, sys::nanotime());
                wait_at(gp, at, after(NOW_AND_THEN), why, has_begun);
            }
        }
    }

    /// Ends the rounds that are complete with the call `number`, of which all before it have
    /// arrived. Returns the last number that is over.
    fn end_rounds(&self, number: u32, count: u32) -> u32 {
        let mut over = self.over.load(Ordering::Relaxed);
        while over + count <= number {
            let new = number - number % count;
            // Release: pairs with the fence of wait().
            match self.over.compare_exchange(over, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    sys::futex_wake(&raw const self.over, c_int::MAX);
                    wake_at(&raw const self.over as usize, usize::MAX, ALL);
                    return new;
                }
                Err(other) => over = other,
            }
        }
        over
    }

    /// Waits until the round of the call `number` is over.
    fn wait(&self, gp: &'static G, number: u32, mut over: u32) {
        let _counted = WaitingForC::new(); // BR1
        let why = (WaitReason::Pthread, sys::nanotime());
        let at = (&raw const self.over as usize, ALL);
        while number > over {
            wait_at(gp, at, NEVER, why, || self.over.load(Ordering::Relaxed) != over);
            over = self.over.load(Ordering::Relaxed);
        }
        // Pairs with end_rounds().
        fence(Ordering::Acquire);
    }

    /// The call has left.
    fn leave(&self, count: u32) {
        // Release: pairs with the fence of the last call, and with pthread_barrier_destroy().
        if self.left.fetch_add(1, Ordering::Release) + 1 != last_number(count) {
            return; // BR2
        }
        fence(Ordering::Acquire);
        self.over.store(0, Ordering::Relaxed);
        self.left.store(0, Ordering::Relaxed);
        let at = &raw const self.arrived;
        // Release: calls that arrive now find the other words so.
        self.arrived.store(0, Ordering::Release);
        sys::futex_wake(at, c_int::MAX);
    }
}

/// The last number before they begin anew: that of a whole round.
fn last_number(count: u32) -> u32 {
    NUMBERS - NUMBERS % count
}

/// A goroutine's call. None: it is to wait in libc.
fn wait(gp: &'static G, barrier: *mut pthread_barrier_t) -> Option<c_int> {
    if !known().barriers_are_words {
        return None;
    }
    // SAFETY: the user's barrier.
    let words = unsafe { &*barrier.cast::<Words>() };
    let count = words.count.load(Ordering::Relaxed);
    if count == 0 || words.shared.load(Ordering::Relaxed) != 0 {
        return None;
    }
    let number = words.arrive(gp, count);
    let over = words.end_rounds(number, count);
    if number > over {
        words.wait(gp, number, over);
    }
    words.leave(count);
    Some(if number.is_multiple_of(count) { libc::PTHREAD_BARRIER_SERIAL_THREAD } else { 0 })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int {
    let Some(gp) = caller() else {
        let result = in_libc(barrier);
        // Maybe it has ended a round.
        let over = barrier.wrapping_byte_add(std::mem::offset_of!(Words, over));
        unlocked(over as usize, usize::MAX);
        return result;
    };
    wait(gp, barrier).unwrap_or_else(|| announced(gp, || in_libc(barrier)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_destroy(barrier: *mut pthread_barrier_t) -> c_int {
    static REAL: Real = Real::new(c"pthread_barrier_destroy");
    // SAFETY: forwarded.
    let real = || unsafe { real!(REAL as fn(*mut pthread_barrier_t) -> c_int)(barrier) };
    match caller() {
        // It waits for goroutines that have been woken and have not left yet.
        Some(gp) => announced(gp, real),
        None => real(),
    }
}
