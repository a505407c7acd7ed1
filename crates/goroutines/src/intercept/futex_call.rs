//! The calls of `futex`, through `syscall`: `SYS_futex`, and its successors (Linux 5.16, 6.7).
//!
//! Goroutines are asked or parked in the table of `futex.rs`; whatever is not in order is left to
//! the kernel to refuse: addresses that can't be read or are no multiple of four, invalid times and
//! masks, flags that the kernel does not know. So the caller gets the kernel's answer.
//!
//! A word is read to see whether to wait, and must not lie where no memory is: the kernel is asked
//! about its page, once a second ([`is_there`]). A word that goes away within that second is a
//! crash (UM1 in `user_memory.rs`).
//!
//! **Moving** (`REQUEUE`): the kernel moves threads, then goroutines are moved in the table, as
//! many as the counts leave. **`WAKE_OP`** is carried out here where goroutines may wait for its
//! words, as the kernel does not say what it has found.

use super::futex::{
    AT_ONCE_NS, LOCKED, THREADS, Woken, forward, may_wait_at, requeue_at, wait_at_until_signal,
    wake_at,
};
use super::real::{caller, errno, result, set_errno};
use super::sync::{ALL, is_supported};
use super::time;
use super::user_memory::{is_readable, read};
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::{G, Losing};
use crate::sched::syscall::announced;
use crate::sched::wait::after;
use crate::signals::deliver::Mark;
use crate::timer::alarm::NEVER;
use goroutines_switch::sys::raw;
use libc::{c_int, c_long, timespec};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// `futex_waitv`: for several words at once.
pub(super) const WAITV: c_long = 449;
/// `futex_wake`, `futex_wait`, `futex_requeue`.
pub(super) const WAKE: c_long = 454;
pub(super) const WAIT: c_long = 455;
pub(super) const REQUEUE: c_long = 456;

/// Flags of the newer calls: a word of 32 bits, of this process only.
const PRIVATE_U32: usize = 0x82;
/// The bits of an operation that are no flags; the kernel knows no operation that uses others than
/// the lowest of them.
const COMMAND: c_int = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
/// `FUTEX_LOCK_PI2`.
const LOCK_PI2: c_int = 13;
/// No word of a program's lies above this address.
const LAST_WORD: usize = (1 << 47) - 4096 - 4;

/// All of `syscall`'s arguments: the kernel takes as many as the call has, and the others are
/// whatever was there.
pub(super) type Arguments = [usize; 6];

/// Whether an address can be a futex's; if not, the kernel says why.
fn is_word(at: usize) -> bool {
    at.is_multiple_of(4) && at <= LAST_WORD
}

/// Whether the word at `at` can be read, or could be within the last second.
fn is_there(gp: &'static G, at: usize, now_ns: u64) -> bool {
    const PAGE: usize = 4095;
    /// Pages, and in their low bits the time at which they were there.
    static SEEN: [AtomicUsize; 64] = [const { AtomicUsize::new(usize::MAX) }; 64];
    let slot = (at >> 12).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (usize::BITS - 6);
    let entry = (at & !PAGE) | ((now_ns >> 30) as usize & PAGE);
    if SEEN[slot].load(Ordering::Relaxed) == entry {
        return true;
    }
    let is_there = is_readable(gp, at, 4).is_ok();
    if is_there {
        SEEN[slot].store(entry, Ordering::Relaxed);
    }
    is_there
}

/// A wait.
struct Wait {
    at: usize,
    value: u32,
    bits: u32,
    until: u64,
}

/// What `SYS_futex` is asked to wait for. None where the kernel is to say what is wrong.
fn wait_of(gp: &'static G, a: Arguments) -> Option<Wait> {
    let op = a[1] as c_int;
    let realtime = op & libc::FUTEX_CLOCK_REALTIME != 0;
    let is_bitset = op & COMMAND == libc::FUTEX_WAIT_BITSET;
    let time = a[3] as *const timespec;
    let until = if is_bitset {
        let clock = if realtime { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
        deadline(gp, clock, time)?
    } else if realtime {
        return None;
    } else if time.is_null() {
        NEVER
    } else {
        // SAFETY: numbers.
        after(time::duration(&unsafe { read(gp, time) }.ok()?)?)
    };
    let bits = if is_bitset { a[5] as u32 } else { ALL };
    Some(Wait { at: a[0], value: a[2] as u32, bits, until })
}

/// What `futex_wait` is asked to wait for. None where the kernel is to say what is wrong.
fn newer_wait_of(gp: &'static G, a: Arguments) -> Option<Wait> {
    let (value, bits) = (u32::try_from(a[1]).ok()?, u32::try_from(a[2]).ok()?);
    let time = a[4] as *const timespec;
    let clock = a[5] as libc::clockid_t;
    if a[3] as u32 as usize != PRIVATE_U32 || !(time.is_null() || is_supported(clock)) {
        return None;
    }
    Some(Wait { at: a[0], value, bits, until: deadline(gp, clock, time)? })
}

/// `time` on `clock`, as a time of the runtime's clock. None if it can't be read, or is invalid.
fn deadline(gp: &'static G, clock: libc::clockid_t, time: *const timespec) -> Option<u64> {
    if time.is_null() {
        return Some(NEVER);
    }
    // SAFETY: numbers.
    let time = unsafe { read(gp, time) }.ok()?;
    time::deadline(clock, &raw const time).ok()
}

/// Waits as a goroutine. Returns the word that the kernel would; none where the kernel is to say
/// what is wrong.
fn wait(gp: &'static G, wanted: Option<Wait>) -> Option<isize> {
    let Wait { at, value, bits, until } = wanted?;
    let now = sys::nanotime();
    if bits == 0 || !is_word(at) || !is_there(gp, at, now) {
        return None;
    }
    // SAFETY: the user's futex, which is there.
    let word = unsafe { &*(at as *const AtomicU32) };
    let is_changed = || word.load(Ordering::SeqCst) != value;
    let since = since_when(gp, at, value, now);
    let mark = Mark::now(gp);
    loop {
        let why = (WaitReason::Futex, since);
        break Some(match wait_at_until_signal(gp, (at, bits), until, why, is_changed) {
            Woken::Yes => {
                if value == LOCKED {
                    gp.losing.set(Losing { at, since_ns: since, woken_ns: sys::nanotime() });
                }
                0
            }
            Woken::Changed => -(libc::EAGAIN as isize),
            Woken::Timeout => -(libc::ETIMEDOUT as isize),
            // Linux does not restart one with a time-out, whatever signal(7) says.
            Woken::Signal if mark.is_broken(gp, until != NEVER) => -(libc::EINTR as isize),
            Woken::Signal => continue,
        });
    }
}

/// The time since which `gp` has wanted what it waits for at the word `at`. If it was woken there
/// in vain just now, that is a time before that wake-up.
fn since_when(gp: &G, at: usize, value: u32, now: u64) -> u64 {
    let before = gp.losing.get();
    let in_vain =
        value == LOCKED && before.at == at && now.saturating_sub(before.woken_ns) < AT_ONCE_NS;
    if in_vain { before.since_ns } else { now }
}

/// Waits in the kernel: a thread, or a goroutine announced.
fn wait_in_kernel(gp: Option<&'static G>, number: c_long, a: Arguments) -> c_long {
    THREADS.fetch_add(1, Ordering::SeqCst); // FX1
    let result = match gp {
        Some(gp) => announced(gp, || forward(number, a)),
        None => forward(number, a),
    };
    THREADS.fetch_sub(1, Ordering::Relaxed);
    result
}

/// Wakes up to `wanted` goroutines and threads that wait at `address`; the caller may be either.
/// Returns how many, or -1 and `errno`.
fn wake(address: usize, wanted: usize, bits: u32, in_kernel: impl Fn(usize) -> isize) -> isize {
    if let Some(gp) = caller()
        && gp.losing.get().at == address
    {
        // The caller has had the lock.
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

/// Whether threads come first: every other time.
fn is_their_turn() -> bool {
    static TURN: AtomicU32 = AtomicU32::new(0);
    TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
}

/// Calls `f`, and leaves `errno` as it was if `f` returns no error.
fn keeping_errno(f: impl FnOnce() -> isize) -> c_long {
    let before = errno();
    let result = f();
    if result >= 0 {
        set_errno(before);
    }
    result as c_long
}

/// The arguments with another count.
fn with(mut a: Arguments, index: usize, count: usize) -> Arguments {
    a[index] = count;
    a
}

/// `FUTEX_REQUEUE`, `FUTEX_CMP_REQUEUE`: threads first, as the kernel says what is wrong. Returns
/// how many were woken or moved.
fn requeue(a: Arguments, expected: Option<u32>) -> isize {
    let threads = forward(libc::SYS_futex, a) as isize;
    if threads < 0 {
        return threads;
    }
    move_rest((a[0], a[4]), (a[2], a[3]), threads as usize, expected)
}

/// Wakes and moves goroutines, as many as the counts leave after `threads` threads. Returns how
/// many were woken or moved in all.
fn move_rest(
    (from, to): (usize, usize),
    (wake, most): (usize, usize),
    threads: usize,
    expected: Option<u32>,
) -> isize {
    let (wake, most) =
        (wake.saturating_sub(threads), most.saturating_sub(threads.saturating_sub(wake)));
    // SAFETY: the kernel has read it just now (UM1).
    let word = || unsafe { &*(from as *const AtomicU32) }.load(Ordering::SeqCst);
    let holds = || expected.is_none_or(|expected| word() == expected);
    match requeue_at((from, to), (wake, most), holds) {
        Some((woken, moved)) => (threads + woken + moved) as isize,
        None if threads == 0 => result(-(libc::EAGAIN as isize)),
        None => threads as isize,
    }
}

/// What `FUTEX_WAKE_OP` is to do to its second word, and what to compare the old value with.
#[derive(Clone, Copy)]
struct Operation {
    op: u32,
    operand: i32,
    comparison: u32,
    value: i32,
}

impl Operation {
    /// None where the kernel is to say what is wrong.
    fn of(encoded: u32) -> Option<Self> {
        let signed = |at: u32| ((encoded << at) as i32) >> 20;
        let (op, comparison) = (encoded >> 28, encoded >> 24 & 15);
        let operand = if op & 8 != 0 { 1 << (signed(8) & 31) } else { signed(8) };
        (op & 7 <= 4 && comparison <= 5).then_some(Self {
            op: op & 7,
            operand,
            comparison,
            value: signed(20),
        })
    }

    /// Changes the word, and says whether the comparison holds.
    fn apply(self, word: &AtomicU32) -> bool {
        let by = self.operand.cast_unsigned();
        let before = match self.op {
            0 => word.swap(by, Ordering::SeqCst),
            1 => word.fetch_add(by, Ordering::SeqCst),
            2 => word.fetch_or(by, Ordering::SeqCst),
            3 => word.fetch_and(!by, Ordering::SeqCst),
            _ => word.fetch_xor(by, Ordering::SeqCst),
        };
        let before = before.cast_signed();
        match self.comparison {
            0 => before == self.value,
            1 => before != self.value,
            2 => before < self.value,
            3 => before <= self.value,
            4 => before > self.value,
            _ => before >= self.value,
        }
    }
}

/// `FUTEX_WAKE_OP`.
fn wake_op(a: Arguments) -> isize {
    let (first, second) = (a[0], a[4]);
    let are_words = is_word(first) && is_word(second);
    let operation = Operation::of(a[5] as u32).filter(|_| are_words);
    let goroutines_wait = may_wait_at(first) || may_wait_at(second);
    let Some(operation) = operation.filter(|_| goroutines_wait && is_writable(second)) else {
        return forward(libc::SYS_futex, a) as isize;
    };
    // SAFETY: the user's futex, which can be written (UM1).
    let holds = operation.apply(unsafe { &*(second as *const AtomicU32) });
    let wake = |at: usize, wanted: usize| {
        let op = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
        let in_kernel = |n: usize| forward(libc::SYS_futex, [at, op, n, 0, 0, 0]) as isize;
        wake(at, (wanted as c_int).max(1) as usize, ALL, in_kernel).max(0)
    };
    wake(first, a[2]) + if holds { wake(second, a[3]) } else { 0 }
}

/// Whether the kernel can write a word, which it does not change.
fn is_writable(at: usize) -> bool {
    static NOBODY: AtomicU32 = AtomicU32::new(0);
    const ADD_NOTHING: usize = 1 << 28 | 0x7ff;
    let op = (libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: nothing waits at the first word; nothing is added to the second, or the kernel can't
    // write it.
    unsafe { raw(libc::SYS_futex, [NOBODY.as_ptr() as usize, op, 1, 0, at, ADD_NOTHING]) >= 0 }
}

/// `SYS_futex`.
pub(super) fn futex(a: Arguments) -> c_long {
    let op = a[1] as c_int;
    let is_private = op & libc::FUTEX_PRIVATE_FLAG != 0;
    let is_plain = is_private && op & libc::FUTEX_CLOCK_REALTIME == 0;
    let command = op & COMMAND;
    match command {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            let gp = caller();
            match gp.filter(|_| is_private).and_then(|gp| wait(gp, wait_of(gp, a))) {
                Some(word) => result(word) as c_long,
                None => wait_in_kernel(gp, libc::SYS_futex, a),
            }
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET if is_plain && is_word(a[0]) => {
            let bits = if command == libc::FUTEX_WAKE { ALL } else { a[5] as u32 };
            if bits == 0 {
                return forward(libc::SYS_futex, a);
            }
            let in_kernel = |n: usize| forward(libc::SYS_futex, with(a, 2, n)) as isize;
            // The kernel takes a count of 0 or less for one.
            keeping_errno(|| wake(a[0], (a[2] as c_int).max(1) as usize, bits, in_kernel))
        }
        libc::FUTEX_REQUEUE if is_plain => keeping_errno(|| requeue(counts(a), None)),
        libc::FUTEX_CMP_REQUEUE if is_plain => {
            keeping_errno(|| requeue(counts(a), Some(a[5] as u32)))
        }
        libc::FUTEX_WAKE_OP if is_plain => keeping_errno(|| wake_op(a)),
        libc::FUTEX_LOCK_PI | LOCK_PI2 | libc::FUTEX_WAIT_REQUEUE_PI => match caller() {
            Some(gp) => announced(gp, || forward(libc::SYS_futex, a)),
            None => forward(libc::SYS_futex, a),
        },
        _ => forward(libc::SYS_futex, a),
    }
}

/// The arguments with counts of 32 bits, as the kernel takes them. (It refuses negative ones.)
fn counts(mut a: Arguments) -> Arguments {
    for count in &mut a[2..4] {
        *count = *count as u32 as usize;
    }
    a
}

/// One of the newer calls.
pub(super) fn newer(number: c_long, a: Arguments) -> c_long {
    match number {
        WAIT => {
            let gp = caller();
            match gp.and_then(|gp| wait(gp, newer_wait_of(gp, a))) {
                Some(word) => result(word) as c_long,
                None => wait_in_kernel(gp, number, a),
            }
        }
        WAKE => {
            let (bits, n) = (a[1], a[2] as c_int);
            let in_order = is_word(a[0]) && a[3] as u32 as usize == PRIVATE_U32 && n > 0;
            match u32::try_from(bits) {
                Ok(bits) if in_order && bits != 0 => {
                    let in_kernel = |n: usize| forward(number, with(a, 2, n)) as isize;
                    keeping_errno(|| wake(a[0], n as usize, bits, in_kernel))
                }
                _ => forward(number, a),
            }
        }
        REQUEUE => keeping_errno(|| newer_requeue(a)),
        _ => wait_in_kernel(caller(), number, a),
    }
}

/// `struct futex_waitv`.
#[repr(C)]
#[derive(Clone, Copy)]
struct WaitV {
    value: u64,
    at: u64,
    flags: u32,
    reserved: u32,
}

/// `futex_requeue`.
fn newer_requeue(a: Arguments) -> isize {
    let threads = forward(REQUEUE, a) as isize;
    if threads < 0 {
        return threads;
    }
    // SAFETY: the kernel has read both just now (UM1).
    let [from, to] = unsafe { (a[0] as *const [WaitV; 2]).read_unaligned() };
    if [from.flags, to.flags] != [PRIVATE_U32 as u32; 2] {
        return threads;
    }
    let counts = (a[2] as u32 as usize, a[3] as u32 as usize);
    let words = (from.at as usize, to.at as usize);
    move_rest(words, counts, threads as usize, Some(from.value as u32))
}
