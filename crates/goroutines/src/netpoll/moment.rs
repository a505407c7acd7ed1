//! `O_NONBLOCK` for the moment of a call: a few calls (`connect`) have no flag that says "don't
//! block".
//!
//! The flag belongs to the open file, so every other part of the process sees it meanwhile. One
//! moment at a time is there for a file, and code of ours that asks whether the flag is *the
//! user's* ([`is_nonblocking`]) asks again where a moment may have been amid its question. Two
//! numbers tell: of moments that have begun, and of those that have ended. If all that had begun by
//! the answer had ended before the question, the flag was nobody's but the user's.
//!
//! Known and left: threads that run no goroutine, handlers of signals, and other processes that
//! share the file may see the flag, and what they set amid a moment is undone at its end. (They
//! can't take the lock: a handler may interrupt its holder.)

use crate::base::lock::Lock;
use crate::base::sys::file_of;
use crate::g::current;
use goroutines_switch::sys::raw;
use std::sync::atomic::{AtomicU32, Ordering, fence};

const O_NONBLOCK: usize = libc::O_NONBLOCK as usize;

/// By the number of the file.
static MOMENTS: [Lock<()>; 64] = [const { Lock::new(()) }; 64];
static BEGUN: AtomicU32 = AtomicU32::new(0);
static ENDED: AtomicU32 = AtomicU32::new(0);

fn control(fd: i32, command: i32, value: usize) -> isize {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_fcntl, [fd as isize as usize, command as usize, value, 0, 0, 0]) }
}

/// `F_GETFL`: flags, or `-errno`.
fn flags_now(fd: i32) -> isize {
    control(fd, libc::F_GETFL, 0)
}

fn has_flag(flags: isize) -> bool {
    flags >= 0 && flags as usize & O_NONBLOCK != 0
}

/// Makes `call`, one of the kernel's that does not wait, where no moment of the file is.
fn alone<R>(fd: i32, call: impl FnOnce() -> R) -> R {
    let lock = &MOMENTS[file_of(fd).1 as usize % MOMENTS.len()];
    let _section = current::enter();
    let _moment = lock.lock();
    call()
}

/// `F_SETFL` for a goroutine: 0, or `-errno`.
#[cfg(feature = "intercept")]
pub(crate) fn set_flags(fd: i32, flags: usize) -> isize {
    alone(fd, || control(fd, libc::F_SETFL, flags))
}

/// `FIONBIO` for a goroutine: 0, or `-errno`.
#[cfg(feature = "intercept")]
pub(crate) fn set_by_ioctl(fd: i32, argument: usize) -> isize {
    let args = [fd as isize as usize, libc::FIONBIO as usize, argument, 0, 0, 0];
    // SAFETY: the kernel reads a number; a bad address is EFAULT.
    alone(fd, || unsafe { raw(libc::SYS_ioctl, args) })
}

/// Makes `call` with `O_NONBLOCK` set. None where the flag was set already, or can't be set.
#[cfg(feature = "intercept")]
pub(crate) fn without_blocking<R>(fd: i32, call: impl FnOnce() -> R) -> Option<R> {
    alone(fd, || {
        let flags = flags_now(fd);
        if flags < 0 || has_flag(flags) {
            return None;
        }
        BEGUN.fetch_add(1, Ordering::SeqCst);
        // Before the flag is set: pairs with the fence in flags().
        fence(Ordering::SeqCst);
        control(fd, libc::F_SETFL, flags as usize | O_NONBLOCK);
        let word = call();
        control(fd, libc::F_SETFL, flags as usize);
        // SeqCst: after the flag is gone; pairs with the first load in flags().
        ENDED.fetch_add(1, Ordering::SeqCst);
        Some(word)
    })
}

/// `F_GETFL` without the flag of a moment.
pub(crate) fn flags(fd: i32) -> isize {
    let ended = ENDED.load(Ordering::SeqCst);
    let flags = flags_now(fd);
    // If the flag of a moment was seen, its beginning is seen too.
    fence(Ordering::SeqCst);
    if !has_flag(flags) || BEGUN.load(Ordering::SeqCst) == ended {
        return flags;
    }
    alone(fd, || flags_now(fd))
}

/// Whether the user has set `O_NONBLOCK`.
pub(crate) fn is_nonblocking(fd: i32) -> bool {
    has_flag(flags(fd))
}
