//! Futexes: what std's locks, `thread::park`, parking_lot and crossbeam wait in.
//!
//! **The problem.** A goroutine that waits must not hold its thread; an ordinary thread that waits is the
//! kernel's; and either may wake either.
//!
//! **Chosen.** Goroutines wait in a table of ours, hashed by address, first come, first served; threads wait in
//! the kernel, as ever, and are counted. Who wakes looks into the table first, then asks the kernel for as many
//! as are still wanted, if threads wait. So that those don't starve beside goroutines that queue up again and
//! again, the kernel is asked first every other time.
//!
//! * FX1: who waits is counted in its bucket before it compares the word; who wakes has changed the word
//!   before he looks at the count: one of them sees the other. Both are full barriers.
//!   The same holds for a thread, the count of threads, and the kernel's comparison.
//! * FX2: comparing the word and entering the list is one step under the bucket's lock, as is looking for
//!   waiters.
//!
//! Futexes shared with other processes, and those with priority inheritance, are the kernel's; waiting there
//! is announced. Who waits through `syscall` and is woken by a raw system call, or the other way round, stays
//! asleep: nobody does that, as std, libc and the crates each wake as they wait.

use super::real::{Real, caller, errno, real, result};
use super::time;
use crate::base::lock::Lock;
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::task::RunList;
use crate::g::wait::Cause;
use crate::g::wait_list::{WaitList, Waiting};
use crate::g::{G, Losing, current};
use crate::p::P;
use crate::sched::SCHED;
use crate::sched::park;
use crate::sched::syscall::announced;
use crate::sched::wait::{after, wait, waking};
use crate::timer::alarm::NEVER;
use libc::{c_int, c_long, timespec};
use std::sync::atomic::{AtomicU32, Ordering, fence};

const BUCKETS: usize = 1024;
const ALL: u32 = u32::MAX;
/// Who has waited so long is let run before its waker goes on.
const STARVING_NS: u64 = 500_000;
/// What locks (std's, libc's; Drepper, "Futexes Are Tricky") hold while somebody waits for them.
const LOCKED: u32 = 2;
/// Who waits for a lock again so soon after it was woken has not had it, unless it has unlocked it since.
const AT_ONCE_NS: u64 = 50_000;

/// Those who wait for addresses with one hash.
#[repr(align(64))]
struct Bucket {
    waiting: AtomicU32,
    list: Lock<WaitList>,
}

static TABLE: [Bucket; BUCKETS] =
    [const { Bucket { waiting: AtomicU32::new(0), list: Lock::new(WaitList::new()) } }; BUCKETS];

/// Threads that wait in the kernel, or are about to.
static THREADS: AtomicU32 = AtomicU32::new(0);

fn bucket(address: usize) -> &'static Bucket {
    let hash = (address >> 2).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (usize::BITS - 10);
    &TABLE[hash]
}

/// Newer calls for the same thing: waiting there is left to the kernel.
const FUTEX_WAITV: c_long = 449;
const FUTEX_WAKE2: c_long = 454;
const FUTEX_WAIT2: c_long = 455;

/// What a goroutine that may wait was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// It was woken.
    Yes,
    /// There was nothing to wait for.
    Changed,
    /// The time is over.
    Timeout,
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

/// The same; `then` is called when the goroutine is in the list. If it says no, there is no wait. `why` is the reason for it, and since when.
pub(super) fn wait_at_after(
    gp: &'static G,
    (address, bits): (usize, u32),
    until: u64,
    (reason, since_ns): (WaitReason, u64),
    is_changed: impl FnOnce() -> bool,
    then: impl FnOnce() -> bool,
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
        if bucket.list.lock().remove(&one) {
            bucket.waiting.fetch_sub(1, Ordering::Relaxed);
        } else {
            // Who has woken it meanwhile meant one that waits.
            wake_at(address, 1, bits);
        }
        return Woken::Changed;
    }
    if wait(gp, reason, ticket, until) == Cause::Timeout {
        if bucket.list.lock().remove(&one) {
            bucket.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        return Woken::Timeout;
    }
    Woken::Yes
}

/// Wakes up to `most` of the goroutines that wait at `address` for one of `bits`; how many.
///
/// Who waits for a lock may find it taken again each time it is woken: its owner goes on, takes it again, and
/// is preempted in the middle of it. So a waker lets one that has wanted the lock for [`STARVING_NS`] run
/// first, while it is free (Go's mutexes hand themselves over after a millisecond), and any other when it has
/// had its share of the processor itself (as the kernel does where it wakes a thread).
pub(super) fn wake_at(address: usize, most: usize, bits: u32) -> usize {
    fence(Ordering::SeqCst); // FX1
    let bucket = bucket(address);
    // A forked child has nobody in its lists, whatever they say, and their locks may be held for ever.
    if bucket.waiting.load(Ordering::Relaxed) == 0 || SCHED.is_forked() {
        return 0;
    }
    if super::signal::in_handler() {
        // SH2: it may have interrupted who holds the bucket's lock.
        super::semaphore::leave_word(address);
        return 0;
    }
    let mut is_starving = false;
    let woken = waking(|out: &mut RunList| {
        let mut list = bucket.list.lock();
        let (woken, taken) = list.end(Cause::Ready, most, out, |one| {
            let wanted = one.key == address && one.bits & bits != 0;
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

/// Wakes all who wait for anything, for no reason that they know of: they look again.
pub(super) fn wake_everybody() {
    for bucket in TABLE.iter().filter(|bucket| bucket.waiting.load(Ordering::SeqCst) > 0) {
        waking(|out: &mut RunList| {
            let mut list = bucket.list.lock();
            let (_, taken) = list.end(Cause::Ready, usize::MAX, out, |_| true);
            bucket.waiting.fetch_sub(taken as u32, Ordering::Relaxed);
        });
    }
}

/// A call of `futex`, as its arguments stand.
#[derive(Clone, Copy)]
struct Call {
    word: *const AtomicU32,
    op: c_int,
    value: u32,
    timeout: usize,
    word2: usize,
    value3: u32,
}

/// Since when `gp` has wanted what it waits for at the word `at`: since before it was woken for it in vain,
/// if it was.
fn since_when(gp: &G, at: usize, value: u32) -> u64 {
    let now = sys::nanotime();
    let before = gp.losing.get();
    let in_vain =
        value == LOCKED && before.at == at && now.saturating_sub(before.woken_ns) < AT_ONCE_NS;
    if in_vain { before.since_ns } else { now }
}

/// `FUTEX_WAIT` and `FUTEX_WAIT_BITSET` of a goroutine. The kernel's word.
fn wait_call(gp: &'static G, call: Call) -> isize {
    let command = call.op & libc::FUTEX_CMD_MASK;
    let time = call.timeout as *const timespec;
    let (until, bits) = if command == libc::FUTEX_WAIT {
        // SAFETY: null, or the user's time.
        let until = match unsafe { time.as_ref() } {
            None => NEVER,
            Some(time) => match time::duration(time) {
                Some(time) => after(time),
                None => return -(libc::EINVAL as isize),
            },
        };
        (until, ALL)
    } else {
        let realtime = call.op & libc::FUTEX_CLOCK_REALTIME != 0;
        let clock = if realtime { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
        match time::deadline(clock, time) {
            Ok(until) => (until, call.value3),
            Err(error) => return -(error as isize),
        }
    };
    if bits == 0 {
        return -(libc::EINVAL as isize);
    }
    // SAFETY: the user's futex.
    let word = unsafe { &*call.word };
    let is_changed = || word.load(Ordering::SeqCst) != call.value;
    let at = call.word as usize;
    let since = since_when(gp, at, call.value);
    match wait_at(gp, (at, bits), until, (WaitReason::Futex, since), is_changed) {
        Woken::Yes => {
            if call.value == LOCKED {
                gp.losing.set(Losing { at, since_ns: since, woken_ns: sys::nanotime() });
            }
            0
        }
        Woken::Changed => -(libc::EAGAIN as isize),
        Woken::Timeout => -(libc::ETIMEDOUT as isize),
    }
}

/// `FUTEX_WAKE` and `FUTEX_WAKE_BITSET`, of anybody: how many were woken, or -1 and `errno`.
fn wake_call(call: Call, in_kernel: impl Fn(usize) -> isize) -> isize {
    let is_bitset = call.op & libc::FUTEX_CMD_MASK == libc::FUTEX_WAKE_BITSET;
    let bits = if is_bitset { call.value3 } else { ALL };
    // The kernel takes a count of 0 or less for one.
    let wanted = usize::try_from(call.value as i32).unwrap_or(0).max(1);
    let address = call.word as usize;
    if let Some(gp) = caller()
        && gp.losing.get().at == address
    {
        // It has had the lock.
        gp.losing.set(Losing::default());
    }
    if THREADS.load(Ordering::Relaxed) > 0 && is_their_turn() {
        let threads = in_kernel(wanted);
        if threads < 0 || threads as usize >= wanted {
            return threads;
        }
        return threads + wake_at(address, wanted - threads as usize, bits) as isize;
    }
    let goroutines = wake_at(address, wanted, bits);
    // FX1: the barrier is in wake_at().
    if goroutines >= wanted || THREADS.load(Ordering::Relaxed) == 0 {
        return goroutines as isize;
    }
    match in_kernel(wanted - goroutines) {
        error if error < 0 && goroutines == 0 => error,
        threads => goroutines as isize + threads.max(0),
    }
}

/// Every other time.
fn is_their_turn() -> bool {
    static TURN: AtomicU32 = AtomicU32::new(0);
    TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
}

/// All of `syscall`'s arguments: it takes as many as the call has, and others are whatever was there.
type Arguments = [usize; 6];

fn forward(number: c_long, a: Arguments) -> c_long {
    static REAL: Real = Real::new(c"syscall");
    // SAFETY: forwarded.
    unsafe {
        real!(REAL as fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long)(
            number, a[0], a[1], a[2], a[3], a[4], a[5],
        )
    }
}

/// `futex`, through `syscall`.
fn futex(a: Arguments) -> c_long {
    let call = Call {
        word: a[0] as *const AtomicU32,
        op: a[1] as c_int,
        value: a[2] as u32,
        timeout: a[3],
        word2: a[4],
        value3: a[5] as u32,
    };
    let is_private = call.op & libc::FUTEX_PRIVATE_FLAG != 0;
    let forwarded = || forward(libc::SYS_futex, a);
    match call.op & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => match caller() {
            Some(gp) if is_private => result(wait_call(gp, call)) as c_long,
            Some(gp) => announced(gp, forwarded),
            None => {
                THREADS.fetch_add(1, Ordering::SeqCst); // FX1
                let result = forwarded();
                THREADS.fetch_sub(1, Ordering::Relaxed);
                result
            }
        },
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET if is_private => {
            let in_kernel = |n: usize| {
                let mut a = a;
                a[2] = n;
                forward(libc::SYS_futex, a) as isize
            };
            let before = errno();
            let woken = wake_call(call, in_kernel);
            if woken >= 0 {
                super::real::set_errno(before);
            }
            woken as c_long
        }
        libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE | libc::FUTEX_WAKE_OP if is_private => {
            // Goroutines that were to move to another word, or to wait on, are woken: they look again.
            let woken = wake_at(a[0], usize::MAX, ALL)
                + if call.op & libc::FUTEX_CMD_MASK == libc::FUTEX_WAKE_OP {
                    wake_at(call.word2, usize::MAX, ALL)
                } else {
                    0
                };
            match forwarded() {
                -1 => -1,
                n => n + woken as c_long,
            }
        }
        libc::FUTEX_LOCK_PI | libc::FUTEX_WAIT_REQUEUE_PI => match caller() {
            Some(gp) => announced(gp, forwarded),
            None => forwarded(),
        },
        _ => forwarded(),
    }
}

/// The calls that block, or give out or take back descriptors, in other ways than through functions of
/// their own.
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
        libc::SYS_futex => futex(arguments),
        FUTEX_WAITV | FUTEX_WAIT2 => {
            THREADS.fetch_add(1, Ordering::SeqCst); // FX1
            let forwarded = || forward(number, arguments);
            let result = match caller() {
                Some(gp) => announced(gp, forwarded),
                None => forwarded(),
            };
            THREADS.fetch_sub(1, Ordering::Relaxed);
            result
        }
        FUTEX_WAKE2 => {
            wake_at(a, usize::MAX, ALL);
            forward(number, arguments)
        }
        libc::SYS_close => super::fd::close_by_number(a as c_int, || forward(number, arguments)),
        libc::SYS_pidfd_open | libc::SYS_pidfd_getfd | libc::SYS_socket | libc::SYS_openat2 => {
            super::fd::given_out(forward(number, arguments) as c_int).into()
        }
        _ => forward(number, arguments),
    }
}
