//! Signal masks: a goroutine's own (`signals/masks.rs`).
//!
//! * MA1: the runtime's signal is never really blocked, or no time slice would end on that thread.
//!   A goroutine that blocks it is told that it is blocked, and signals of the same number that are
//!   the program's wait until the goroutine unblocks it.
//! * MA2: what a handler changes ends with it: the kernel has it in the frame, and the goroutine
//!   stays on its M.

use super::real::{Real, errno, real, result, set_errno};
use super::signal;
use super::user_memory;
use crate::g::{G, current};
use crate::m::thread::word_of;
use crate::sched::preempt;
use crate::signals::{bit, deliver, masks, post};
use libc::{c_int, sigset_t};

type Call = unsafe extern "C" fn(c_int, *const sigset_t, *mut sigset_t) -> c_int;

const OWN: u64 = bit(preempt::SIGNAL);

/// Signals that can't be blocked, and libc's own.
const UNBLOCKABLE: u64 = bit(libc::SIGKILL) | bit(libc::SIGSTOP) | bit(32) | bit(33);

/// A set of the kernel's 64 bits.
pub(super) fn set_of(word: u64) -> sigset_t {
    // SAFETY: plain old data, which begins with them.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        (&raw mut set).cast::<u64>().write(word);
        set
    }
}

/// The mask `before`, changed as `how` says; none if it says nothing.
fn changed(before: u64, how: c_int, set: u64) -> Option<u64> {
    let wanted = match how {
        libc::SIG_BLOCK => before | set,
        libc::SIG_UNBLOCK => before & !set,
        libc::SIG_SETMASK => set,
        _ => return None,
    };
    Some(wanted & !UNBLOCKABLE)
}

/// `gp` has the mask `mask` from now on. In a section.
pub(super) fn change(gp: &'static G, mask: u64) {
    // A signal that comes before the kernel has the mask is kept, and judged by the new mask at the
    // section's end.
    masks::set(gp, mask, masks::real(mask));
    deliver::look(gp);
}

/// The kernel has got another mask for the thread of `gp` behind our back: by a frame, or by
/// `siglongjmp`. In a section.
pub(super) fn adopt(gp: &'static G, now: u64) {
    let urgent = masks::of(gp) & OWN;
    masks::set(gp, now & !OWN | urgent, masks::real(now));
    deliver::look(gp);
}

fn call(real: Call, how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // MA2. A goroutine of a section (which no caller of this is in) can't be told from a handler.
    let Some(gp) = current::g().filter(|_| !signal::in_handler()) else {
        if !set.is_null() {
            masks::set_by_thread();
        }
        // SAFETY: forwarded.
        return unsafe { real(how, set, old) };
    };
    // SAFETY: null, or the user's set.
    let wanted = unsafe { set.as_ref() }.map(word_of);
    let before = masks::of(gp);
    let new = match wanted.map(|set| changed(before, how, set)) {
        // SAFETY: forwarded, to be refused.
        Some(None) => return unsafe { real(how, set, old) },
        Some(new) => new,
        None => None,
    };
    if !old.is_null() {
        // The kernel writes it, or finds that it can't.
        // SAFETY: the user's set to write; no mask is changed.
        let written = unsafe { real(libc::SIG_BLOCK, std::ptr::null(), old) };
        if written != 0 {
            return written;
        }
        // SAFETY: the kernel could write there just now (UM1).
        unsafe { *old = set_of(before) };
    }
    if let Some(new) = new {
        let _section = current::enter();
        change(gp, new);
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    static REAL: Real = Real::new(c"pthread_sigmask");
    call(real!(REAL as fn(c_int, *const sigset_t, *mut sigset_t) -> c_int), how, set, old)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    static REAL: Real = Real::new(c"sigprocmask");
    call(real!(REAL as fn(c_int, *const sigset_t, *mut sigset_t) -> c_int), how, set, old)
}

fn one(how: c_int, signal: c_int) -> c_int {
    if !(1..=64).contains(&signal) {
        set_errno(libc::EINVAL);
        return -1;
    }
    let set = set_of(bit(signal));
    // SAFETY: a set to read.
    unsafe { sigprocmask(how, &raw const set, std::ptr::null_mut()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sighold(signal: c_int) -> c_int {
    one(libc::SIG_BLOCK, signal)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigrelse(signal: c_int) -> c_int {
    one(libc::SIG_UNBLOCK, signal)
}

/// BSD's masks of 32 signals.
fn bsd(how: c_int, mask: c_int) -> c_int {
    let (set, mut old) = (set_of(u64::from(mask.cast_unsigned())), set_of(0));
    // SAFETY: sets to read and to write.
    unsafe { sigprocmask(how, &raw const set, &raw mut old) };
    word_of(&old) as u32 as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigblock(mask: c_int) -> c_int {
    bsd(libc::SIG_BLOCK, mask)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigsetmask(mask: c_int) -> c_int {
    bsd(libc::SIG_SETMASK, mask)
}

/// What is pending: for the goroutine, for the process, and in the kernel.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigpending(set: *mut sigset_t) -> c_int {
    static REAL: Real = Real::new(c"sigpending");
    // SAFETY: forwarded.
    let word = unsafe { real!(REAL as fn(*mut sigset_t) -> c_int)(set) };
    let Some(gp) = current::g().filter(|_| word == 0) else { return word };
    let more = post::pending_for(gp) & masks::of(gp);
    if more != 0 {
        // SAFETY: the kernel could write there just now (UM1).
        unsafe { *set = set_of(word_of(&*set) | more) };
    }
    0
}

/// Calls `f` with `mask`, the goroutine's for the time of the call; none: its own. What came before
/// is delivered first. `None`: the mask can't be read.
pub(super) fn with_mask<R>(
    gp: &'static G,
    mask: *const sigset_t,
    f: impl FnOnce() -> R,
) -> Option<R> {
    if mask.is_null() {
        return Some(f());
    }
    // SAFETY: the kernel's 64 bits of a set.
    let mask = unsafe { user_memory::read(gp, mask.cast::<u64>()) }.ok()?;
    Some(with(gp, mask, f))
}

/// The same, with a mask that was read.
pub(super) fn with<R>(gp: &'static G, mask: u64, f: impl FnOnce() -> R) -> R {
    let before = masks::of(gp);
    {
        let _section = current::enter();
        change(gp, mask & !UNBLOCKABLE);
    }
    let result = f();
    let error = errno();
    {
        let _section = current::enter();
        change(gp, before);
    }
    set_errno(error);
    result
}

/// -1 and `EFAULT`.
pub(super) fn fault() -> c_int {
    result(-(libc::EFAULT as isize)) as c_int
}
