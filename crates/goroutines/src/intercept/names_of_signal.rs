//! `signal` and the other names under which a program installs a handler: each is `sigaction` with
//! flags of its own.

use super::real::set_errno;
use super::signal::{SIGNALS, sigaction};
use crate::m::thread::word_of;
use crate::signals::bit;
use libc::{c_int, sighandler_t};
use std::sync::atomic::{AtomicU64, Ordering};

/// The signals of which `siginterrupt` says that they interrupt calls.
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);

fn is_signal(signal: c_int) -> bool {
    (1..SIGNALS as c_int).contains(&signal)
}

/// Installs `handler` with `flags`, and returns the handler before; where that fails, `SIG_ERR`
/// with `errno` set.
fn exchange(signal: c_int, handler: sighandler_t, flags: c_int, mask: u64) -> sighandler_t {
    if handler == libc::SIG_ERR || !is_signal(signal) {
        set_errno(libc::EINVAL);
        return libc::SIG_ERR;
    }
    // SAFETY: zeroes are a valid start.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = handler;
    new.sa_flags = flags;
    // SAFETY: a sigset_t begins with the kernel's 64 bits.
    unsafe { (&raw mut new.sa_mask).cast::<u64>().write(mask) };
    // SAFETY: as above.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the handler is the caller's; as libc's own does it.
    match unsafe { sigaction(signal, &raw const new, &raw mut old) } {
        0 => old.sa_sigaction,
        _ => libc::SIG_ERR,
    }
}

/// BSD's `signal`: the signal is blocked while the handler runs, and interrupted calls go on,
/// unless `siginterrupt` says otherwise.
fn bsd(number: c_int, handler: sighandler_t) -> sighandler_t {
    let interrupts = is_signal(number) && INTERRUPTS.load(Ordering::Relaxed) & bit(number) != 0;
    let flags = if interrupts { 0 } else { libc::SA_RESTART };
    exchange(number, handler, flags, if is_signal(number) { bit(number) } else { 0 })
}

/// System V's `signal`: the handler runs once, and no signal is blocked meanwhile.
fn sysv(number: c_int, handler: sighandler_t) -> sighandler_t {
    exchange(number, handler, libc::SA_RESETHAND | libc::SA_NODEFER, 0)
}

/// Other names of `signal`: what C calls depends on the standard that it is compiled for.
macro_rules! signals {
    ($($name:ident = $like:ident;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(number: c_int, handler: sighandler_t) -> sighandler_t {
            $like(number, handler)
        }
    )*};
}

signals! {
    signal = bsd;
    bsd_signal = bsd;
    ssignal = bsd;
    sysv_signal = sysv;
    __sysv_signal = sysv;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    // SAFETY: the caller's arguments.
    unsafe { sigaction(signal, new, old) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigignore(signal: c_int) -> c_int {
    if exchange(signal, libc::SIG_IGN, 0, 0) == libc::SIG_ERR { -1 } else { 0 }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn siginterrupt(signal: c_int, interrupts: c_int) -> c_int {
    // SAFETY: zeroes are a valid start.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: an action to write.
    if unsafe { sigaction(signal, std::ptr::null(), &raw mut action) } != 0 {
        return -1;
    }
    if interrupts != 0 {
        INTERRUPTS.fetch_or(bit(signal), Ordering::Relaxed);
        action.sa_flags &= !libc::SA_RESTART;
    } else {
        INTERRUPTS.fetch_and(!bit(signal), Ordering::Relaxed);
        action.sa_flags |= libc::SA_RESTART;
    }
    // SAFETY: an action to read.
    unsafe { sigaction(signal, &raw const action, std::ptr::null_mut()) }
}

/// X/Open's: `SIG_HOLD` (2) blocks the signal, anything else unblocks it. The handler before counts
/// as `SIG_HOLD` if the signal was blocked.
#[expect(clippy::disallowed_methods, reason = "what the program would call")]
#[unsafe(no_mangle)]
unsafe extern "C" fn sigset(signal: c_int, disposition: sighandler_t) -> sighandler_t {
    const SIG_HOLD: sighandler_t = 2;
    if disposition == libc::SIG_ERR || !is_signal(signal) {
        set_errno(libc::EINVAL);
        return libc::SIG_ERR;
    }
    let mask = |how: c_int| {
        // SAFETY: zeroes are a valid start; sets to read and to write.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, signal);
            (libc::sigprocmask(how, &raw const set, &raw mut before) == 0).then_some(before)
        }
    };
    let how = if disposition == SIG_HOLD { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    let before = if disposition == SIG_HOLD {
        // SAFETY: as in `siginterrupt`.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: an action to write.
        match unsafe { sigaction(signal, std::ptr::null(), &raw mut action) } {
            0 => action.sa_sigaction,
            _ => libc::SIG_ERR,
        }
    } else {
        exchange(signal, disposition, 0, 0)
    };
    if before == libc::SIG_ERR {
        return libc::SIG_ERR;
    }
    match mask(how) {
        None => libc::SIG_ERR,
        Some(set) if word_of(&set) & bit(signal) != 0 => SIG_HOLD,
        Some(_) => before,
    }
}
