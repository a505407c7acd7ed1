//! The process's other threads: whether one of them could still wake a goroutine.
//!
//! **Chosen.** The kernel is asked what each of them does (`/proc/self/task/…/syscall`): a thread
//! that waits in a futex of the process's own, without a time-out, goes on only when another thread
//! of the process wakes it. Where all wait so, none can. Whatever else a thread does (computes,
//! sleeps, reads, waits with a time-out, or for a futex shared with another process), it may come
//! back and wake a goroutine.
//!
//! **Rejected.** Counting threads on their way in and out of the waits that are taken over: the
//! waits inside libc are not, and a thread that was woken, and was not run since, would be counted
//! as one that waits.
//!
//! * OT1: the threads are asked twice, and how often each was switched out is asked before the
//!   first answer and after the second. A thread whose count is the same, and that slept at both
//!   answers, has slept in between. So there is a moment at which all of them slept.
//!
//! On the monitor's thread: nothing here allocates. Where `/proc` does not answer, a thread may
//! wake one.

use super::trial::Trials;
use super::{SCHED, trial};
use crate::base::sys::{self, Text};
use goroutines_switch::sys::raw;
use std::sync::atomic::Ordering;

/// What the two looks have to agree on.
#[derive(PartialEq, Eq)]
struct Asleep {
    threads: u64,
    /// Of their numbers, and how often each was switched out.
    hash: u64,
}

/// Whether all threads that are not the runtime's slept for ever at one moment, unless one of them
/// or a goroutine wakes another. (Then nothing but a signal's handler, or a timer, could.)
#[cold]
pub(super) fn are_asleep() -> bool {
    let trials = trial::running();
    let look = |is_first| look(&trials, is_first);
    look(true).is_some_and(|first| look(false) == Some(first))
}

/// Asks each of them once. None if one of them may wake a goroutine.
fn look(trials: &Trials, is_first: bool) -> Option<Asleep> {
    let own = sys::gettid();
    let mut seen = Asleep { threads: 0, hash: 0xcbf2_9ce4_8422_2325 };
    each_thread(|tid| {
        if tid == own || SCHED.all_ms().any(|mp| mp.tid.load(Ordering::Relaxed) == tid) {
            return Some(());
        }
        let before = if is_first { switches(tid)? } else { 0 };
        if !is_asleep(tid, trials) {
            return None;
        }
        let switches = if is_first { before } else { switches(tid)? }; // OT1
        for word in [tid.into(), switches] {
            seen.hash = (seen.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        seen.threads += 1;
        Some(())
    })?;
    Some(seen)
}

/// Calls `f` for each thread of the process, until it says `None`. None too where they can't be
/// listed.
fn each_thread(mut f: impl FnMut(u32) -> Option<()>) -> Option<()> {
    /// An entry of a directory: its length is at 16, its name at 19.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let directory = sys::Directory::open(b"/proc/self/task\0")?;
    let mut entries = [0u8; 2048];
    loop {
        let mut entries = directory.read(&mut entries)?;
        if entries.is_empty() {
            return Some(());
        }
        while let Some(length) = entries.get(LENGTH..LENGTH + 2) {
            let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
            let entry = entries.get(..length)?;
            if let Some(tid) = number(entry.get(NAME..)?, 10) {
                f(u32::try_from(tid).ok()?)?;
            }
            entries = &entries[length..];
        }
    }
}

/// The number in front of a text; none if there is none.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let digits = text.iter().map_while(|byte| char::from(*byte).to_digit(radix));
    digits.fold(None, |n, digit| Some(n.unwrap_or(0) * u64::from(radix) + u64::from(digit)))
}

/// A file of one thread's, up to the size of `buf`.
fn file_of<'b>(tid: u32, name: &str, buf: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut path = Text::<64>::new();
    path.push("/proc/self/task/").push_number(tid.into()).push("/").push(name).push("\0");
    sys::read_file(path.bytes(), buf)
}

/// How often the thread was switched out.
fn switches(tid: u32) -> Option<u64> {
    let mut buf = [0; 4096];
    let status = file_of(tid, "status", &mut buf)?;
    let mut sum = None;
    for line in status.split(|byte| *byte == b'\n') {
        if let Some(at) = line.windows(15).position(|part| part == b"_ctxt_switches:") {
            let count = line[at + 15..].trim_ascii_start();
            sum = Some(sum.unwrap_or(0) + number(count, 10)?);
        }
    }
    sum
}

/// Whether the thread waits in a futex from which only this process's threads wake it, without a
/// time-out; or could not wake a goroutine when its time is over.
fn is_asleep(tid: u32, trials: &Trials) -> bool {
    let mut buf = [0; 256];
    let Some(text) = file_of(tid, "syscall", &mut buf) else { return false };
    let mut words = text.split(|byte| *byte == b' ');
    let is_futex = words.next().and_then(|n| number(n, 10)) == Some(libc::SYS_futex as u64);
    let mut argument = || words.next().and_then(|n| number(n.strip_prefix(b"0x")?, 16));
    let (Some(_), Some(op), Some(value), Some(timeout)) =
        (argument(), argument(), argument(), argument())
    else {
        return false;
    };
    let plain = op as i32 & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    if !is_futex || !matches!(plain, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) {
        return false;
    }
    let is_private = op as i32 & libc::FUTEX_PRIVATE_FLAG != 0;
    if timeout != 0 {
        return is_private && trials.only_look_on(tid);
    }
    // `pthread_join` waits until the kernel clears the word that holds the thread's number.
    is_private || u32::try_from(value).is_ok_and(is_thread)
}

fn is_thread(tid: u32) -> bool {
    // SAFETY: no memory is involved.
    let is_one = unsafe {
        let args = [sys::own_pid() as usize, tid as usize, 0, 0, 0, 0];
        raw(libc::SYS_tgkill, args) == 0
    };
    tid != 0 && is_one
}
