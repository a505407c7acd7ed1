//! Futexes: what std's locks, `thread::park`, parking_lot and crossbeam wait in.
//!
//! **The problem.** A goroutine that waits must not hold its thread; an ordinary thread that waits
//! is the kernel's; and either may wake either.
//!
//! **Chosen.** Goroutines wait in a table of ours, hashed by address, first come, first served;
//! threads wait in the kernel, as ever, and are counted. A waker looks into the table first, then
//! asks the kernel for as many as are still wanted, if threads wait. So that threads don't starve
//! beside goroutines that queue up again and again, the kernel is asked first every other time.
//!
//! * FX1: a goroutine that waits is counted in its bucket before it compares the word; a waker has
//!   changed the word before it looks at the count: one of them sees the other. Both are full
//!   barriers. The same holds for a thread, the count of threads, and the kernel's comparison.
//! * FX2: comparing the word and entering the list is one step under the bucket's lock, as is
//!   looking for waiters.
//! * FX3: the address at which a goroutine waits changes only under the locks of both buckets. So
//!   code that locks the bucket of the address that the goroutine names, and then finds the same
//!   address there, has found the goroutine.
//!
//! Next: `futex_call.rs`, the calls. Futexes shared with other processes, and those with priority
//! inheritance, are the kernel's; waiting there is announced. A goroutine that waits through
//! `syscall` and is woken by a raw system call, or the other way round, stays asleep: no program
//! does that, as std, libc and the crates each wake as they wait.

use super::futex_call::{self, Arguments};
use super::real::{Real, caller, real};
use crate::base::lock::Lock;
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::task::RunList;
use crate::g::wait::{Cause, Ticket};
use crate::g::wait_list::{WaitList, Waiting};
use crate::g::{G, current};
use crate::p::P;
use crate::sched::SCHED;
use crate::sched::park;
use crate::sched::wait::{wait, wait_until_signal, waking};
use libc::{c_int, c_long};
use std::sync::atomic::{AtomicU32, Ordering, fence};

const BUCKETS: usize = 1024;
/// A goroutine that has waited so long is let run before its waker goes on.
const STARVING_NS: u64 = 500_000;
/// What locks (std's, libc's; Drepper, "Futexes Are Tricky") hold while somebody waits for them.
pub(super) const LOCKED: u32 = 2;
/// A goroutine that waits for a lock again so soon after it was woken has not had the lock, unless
/// it has unlocked it since.
pub(super) const AT_ONCE_NS: u64 = 50_000;

/// The goroutines that wait for addresses with one hash.
#[repr(align(64))]
struct Bucket {
    waiting: AtomicU32,
    list: Lock<WaitList>,
}

static TABLE: [Bucket; BUCKETS] =
    [const { Bucket { waiting: AtomicU32::new(0), list: Lock::new(WaitList::new()) } }; BUCKETS];

/// Threads that wait in the kernel, or are about to.
pub(super) static THREADS: AtomicU32 = AtomicU32::new(0);

fn bucket(address: usize) -> &'static Bucket {
    let hash = (address >> 2).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (usize::BITS - 10);
    &TABLE[hash]
}

/// What a goroutine that may wait was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// It was woken.
    Yes,
    /// There was nothing to wait for.
    Changed,
    /// The time is over.
    Timeout,
    /// A signal is pending, or was.
    Signal,
}

/// Waits at `address` until woken by one of `bits`, unless `is_changed` by then.
pub(super) fn wait_at(
    gp: &'static G,
    (address, bits): (usize, u32),
    until: u64,
    why: (WaitReason, u64),
    is_changed: impl FnOnce() -> bool,
) -> Woken {
    wait_at_after(gp, (address, bits), until, why, is_changed, || true)
}

/// The same, but a signal ends the wait; its handler has run then.
pub(super) fn wait_at_until_signal(
    gp: &'static G,
    (address, bits): (usize, u32),
    until: u64,
    why: (WaitReason, u64),
    is_changed: impl FnOnce() -> bool,
) -> Woken {
    wait_at_as(gp, (address, bits), until, why, is_changed, || true, wait_until_signal)
}

/// The same; `then` is called when the goroutine is in the list. If it says no, there is no wait.
/// `why` is the reason of the wait, and the time that it counts from.
pub(super) fn wait_at_after(
    gp: &'static G,
    (address, bits): (usize, u32),
    until: u64,
    why: (WaitReason, u64),
    is_changed: impl FnOnce() -> bool,
    then: impl FnOnce() -> bool,
) -> Woken {
    wait_at_as(gp, (address, bits), until, why, is_changed, then, wait)
}

fn wait_at_as(
    gp: &'static G,
    (address, bits): (usize, u32),
    until: u64,
    (reason, since_ns): (WaitReason, u64),
    is_changed: impl FnOnce() -> bool,
    then: impl FnOnce() -> bool,
    wait: impl FnOnce(&'static G, WaitReason, Ticket, u64) -> Cause,
) -> Woken {
    let bucket = bucket(address);
    let _section = current::enter();
    bucket.waiting.fetch_add(1, Ordering::SeqCst); // FX1
    let ticket = gp.wait.begin();
    let mut one = Waiting::new(gp, ticket, address, bits);
    one.since_ns = since_ns;
    {
        let mut list = bucket.list.lock();
        if is_changed() {
            bucket.waiting.fetch_sub(1, Ordering::Relaxed);
            return Woken::Changed;
        }
        // SAFETY: it stays here until its wait has ended; then it is out, or taken out below.
        unsafe { list.push(&one) };
    }
    if !then() {
        if !take_out(&one) {
            // A waker has chosen this goroutine meanwhile, but meant one that waits: the wake-up is
            // passed on.
            wake_at(address, 1, bits);
        }
        return Woken::Changed;
    }
    match wait(gp, reason, ticket, until) {
        Cause::Timeout => {
            take_out(&one);
            Woken::Timeout
        }
        Cause::Signal => {
            take_out(&one);
            Woken::Signal
        }
        _ => Woken::Yes,
    }
}

/// Whether goroutines may wait at `address`. After the word was changed (FX1).
pub(super) fn may_wait_at(address: usize) -> bool {
    fence(Ordering::SeqCst); // FX1
    bucket(address).waiting.load(Ordering::Relaxed) != 0
}

/// Takes a goroutine whose wait is over out of the table; false if it is out already.
fn take_out(one: &Waiting) -> bool {
    loop {
        let at = one.key();
        let bucket = bucket(at);
        let mut list = bucket.list.lock();
        // FX3
        if one.key() == at {
            let removed = list.remove(one);
            if removed {
                bucket.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            return removed;
        }
    }
}

/// Wakes up to `wake` of the goroutines that wait at `from`, and has up to `most` of the others
/// wait at `to`. Returns how many were woken, and how many moved. None: `holds`, which is asked
/// when no other code can change the lists any more, said no.
pub(super) fn requeue_at(
    (from, to): (usize, usize),
    (wake, most): (usize, usize),
    holds: impl FnOnce() -> bool,
) -> Option<(usize, usize)> {
    fence(Ordering::SeqCst); // FX1
    let (source, target) = (bucket(from), bucket(to));
    if source.waiting.load(Ordering::Relaxed) == 0 || SCHED.is_forked() {
        return holds().then_some((0, 0));
    }
    if super::signal::in_handler() {
        // SH2, as in wake_at(): the monitor wakes them, and they look again.
        super::semaphore::leave_word(from);
        return holds().then_some((0, 0));
    }
    let is_one = std::ptr::eq(source, target);
    waking(|out: &mut RunList| {
        let first = if (source as *const Bucket) < target { source } else { target };
        let mut lock_first = first.list.lock();
        let other = if std::ptr::eq(first, source) { target } else { source };
        let mut lock_other = (!is_one).then(|| other.list.lock());
        if !holds() {
            return None;
        }
        let (list, into) = match &mut lock_other {
            Some(other) if std::ptr::eq(first, source) => (&mut *lock_first, Some(&mut **other)),
            Some(other) => (&mut **other, Some(&mut *lock_first)),
            None => (&mut *lock_first, None),
        };
        let (woken, taken) = list.end(Cause::Ready, wake, out, |one| one.key() == from);
        source.waiting.fetch_sub(taken as u32, Ordering::Relaxed);
        // SAFETY: FX3: those in a list stay where they are, in whichever list they are.
        let moved = unsafe { list.hand_over(into, (from, to), most) };
        if !is_one {
            target.waiting.fetch_add(moved as u32, Ordering::SeqCst);
            source.waiting.fetch_sub(moved as u32, Ordering::Relaxed);
        }
        Some((woken, moved))
    })
}

/// Wakes up to `most` of the goroutines that wait at `address` for one of `bits`; how many.
///
/// A goroutine that waits for a lock may find it taken again each time it is woken: the owner goes
/// on, takes the lock again, and is preempted in the middle of it. So a waker lets one that has
/// wanted the lock for [`STARVING_NS`] run first, while it is free (Go's mutexes hand themselves
/// over after a millisecond), and any other when the waker has had its share of the processor
/// itself (as the kernel does where it wakes a thread).
pub(super) fn wake_at(address: usize, most: usize, bits: u32) -> usize {
    fence(Ordering::SeqCst); // FX1
    let bucket = bucket(address);
    // A forked child has nobody in its lists, whatever they say, and their locks may be held for
    // ever.
    if bucket.waiting.load(Ordering::Relaxed) == 0 || SCHED.is_forked() {
        return 0;
    }
    if super::signal::in_handler() {
        // SH2: the handler may have interrupted the code that holds the bucket's lock.
        super::semaphore::leave_word(address);
        return 0;
    }
    let mut is_starving = false;
    let woken = waking(|out: &mut RunList| {
        let mut list = bucket.list.lock();
        let (woken, taken) = list.end(Cause::Ready, most, out, |one| {
            let wanted = one.key() == address && one.bits & bits != 0;
            is_starving |= wanted && sys::nanotime().saturating_sub(one.since_ns) >= STARVING_NS;
            wanted
        });
        bucket.waiting.fetch_sub(taken as u32, Ordering::Relaxed);
        woken
    });
    if woken == 1
        && let Some(gp) = caller()
    {
        let _section = current::enter();
        let had_share = |pp: &P| pp.had_share.load(Ordering::Relaxed);
        if is_starving || gp.m().p().is_some_and(had_share) {
            park::yield_now(gp);
        }
    }
    woken
}

/// Wakes all goroutines that wait for anything, for no reason that they know of: they look again.
pub(super) fn wake_everybody() {
    for bucket in TABLE.iter().filter(|bucket| bucket.waiting.load(Ordering::SeqCst) > 0) {
        waking(|out: &mut RunList| {
            let mut list = bucket.list.lock();
            let (_, taken) = list.end(Cause::Ready, usize::MAX, out, |_| true);
            bucket.waiting.fetch_sub(taken as u32, Ordering::Relaxed);
        });
    }
}

/// libc's `syscall`.
pub(super) fn forward(number: c_long, a: Arguments) -> c_long {
    static REAL: Real = Real::new(c"syscall");
    // SAFETY: forwarded.
    unsafe {
        real!(REAL as fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long)(
            number, a[0], a[1], a[2], a[3], a[4], a[5],
        )
    }
}

/// The calls that block, or give out or take back descriptors, in other ways than through functions
/// of their own.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    let arguments = [a, b, c, d, e, f];
    match number {
        libc::SYS_futex => futex_call::futex(arguments),
        futex_call::WAITV | futex_call::WAKE | futex_call::WAIT | futex_call::REQUEUE => {
            futex_call::newer(number, arguments)
        }
        libc::SYS_close => super::fd::close_by_number(a as c_int, || forward(number, arguments)),
        libc::SYS_close_range => {
            super::fd::close_range_by((a as u32, b as u32), c as c_int, |first, last| {
                forward(number, [first as usize, last as usize, c, d, e, f])
            })
        }
        libc::SYS_dup2 | libc::SYS_dup3 => {
            super::fd::duplicated(a as c_int, b as c_int, || forward(number, arguments))
        }
        libc::SYS_epoll_ctl => {
            let epoll = (a as c_int, b as c_int, c as c_int);
            super::epoll_ctl::control(epoll, d as *const _, || forward(number, arguments))
        }
        libc::SYS_pidfd_open | libc::SYS_pidfd_getfd | libc::SYS_socket | libc::SYS_openat2 => {
            super::fd::given_out(forward(number, arguments) as c_int).into()
        }
        _ => super::pinned::by_number(number, &arguments, || forward(number, arguments)),
    }
}
