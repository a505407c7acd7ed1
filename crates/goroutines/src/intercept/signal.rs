//! Signal handlers: what they call goes straight through, and nobody is descheduled in one.
//!
//! **The problem.** A handler runs on whichever stack was interrupted, a goroutine's mostly, in the middle of
//! anything: of `malloc`, of the runtime. What it calls (`write` to a pipe, `sem_post`) must not park that
//! goroutine, nor take a lock that the interrupted code may hold; and as the kernel blocks signals for the
//! *thread* while it runs, the goroutine must not move meanwhile.
//!
//! **Chosen.** A handler that is installed through libc is kept in a table, and ours is installed in its place:
//! it raises the goroutine's no-preempt count, calls the user's, and lowers it. With the count raised, what is
//! taken over calls libc's own. Who asks for the handler gets his own back.
//!
//! Handlers of faults (`SIGSEGV` and its kin) are left alone: they may never return. A handler that leaves by
//! `siglongjmp` leaves the count raised: its goroutine is not preempted any more. Handlers installed by a raw
//! system call are told by the signals they block (`sched/preempt.rs`, PR5).

use super::real::{Real, real};
use crate::g::current;
use crate::sched::{fault, preempt};
use libc::{c_int, c_void, sighandler_t, siginfo_t};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// Signals are numbered from 1 to 64.
const SIGNALS: usize = 65;

/// The user's handler of a signal, and its flags.
struct Slot {
    handler: AtomicUsize,
    flags: AtomicI32,
}

static SLOTS: [Slot; SIGNALS] =
    [const { Slot { handler: AtomicUsize::new(libc::SIG_DFL), flags: AtomicI32::new(0) } };
        SIGNALS];

thread_local! {
    /// How many handlers the calling flow is inside of.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// The user has installed one.
static ANY: AtomicBool = AtomicBool::new(false);

/// Whether the user has installed a handler.
pub(super) fn is_any_installed() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Whether the calling flow is inside a handler.
pub(super) fn in_handler() -> bool {
    DEPTH.get() > 0
}

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// What the kernel calls for the user's handlers.
extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(slot) = SLOTS.get(signal as usize) else { return };
    let user = slot.handler.load(Ordering::Acquire);
    if user == libc::SIG_DFL || user == libc::SIG_IGN {
        return; // taken back just now
    }
    // SAFETY: the user's handler; one that takes fewer arguments ignores the rest.
    let user = unsafe { std::mem::transmute::<usize, Handler>(user) };
    let gp = current::g();
    if let Some(gp) = gp {
        current::raise(gp);
    }
    DEPTH.set(DEPTH.get() + 1);
    user(signal, info, context);
    DEPTH.set(DEPTH.get() - 1);
    if let Some(gp) = gp {
        current::lower(gp);
    }
}

fn is_fault(signal: c_int) -> bool {
    matches!(
        signal,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP | libc::SIGSYS
    )
}

fn is_function(handler: usize) -> bool {
    handler != libc::SIG_DFL && handler != libc::SIG_IGN
}

/// The runtime's own.
fn is_ours(handler: usize) -> bool {
    [preempt::address(), fault::address()].contains(&handler)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    static REAL: Real = Real::new(c"sigaction");
    let real = real!(REAL as fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int);
    // SAFETY: null, or the user's action.
    let wanted = unsafe { new.as_ref() };
    let slot = usize::try_from(signal).ok().and_then(|signal| SLOTS.get(signal));
    let (Some(slot), false) = (slot, is_fault(signal)) else {
        // SAFETY: forwarded.
        return unsafe { real(signal, new, old) };
    };
    if wanted.is_some_and(|wanted| is_ours(wanted.sa_sigaction)) {
        // SAFETY: forwarded.
        return unsafe { real(signal, new, old) };
    }
    if signal == preempt::SIGNAL && preempt::is_installed() {
        // SAFETY: the caller's actions. Ours stays, and passes on what is not of the runtime.
        return unsafe { preempt::chain(wanted, old.as_mut()) };
    }
    let before = (slot.handler.load(Ordering::Acquire), slot.flags.load(Ordering::Relaxed));
    let mut action = wanted.copied();
    if let Some(action) = &mut action
        && is_function(action.sa_sigaction)
    {
        slot.flags.store(action.sa_flags, Ordering::Relaxed);
        slot.handler.store(action.sa_sigaction, Ordering::Release);
        ANY.store(true, Ordering::Relaxed);
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags |= libc::SA_SIGINFO;
    }
    let action = action.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: null, or an action to read; the caller's to write.
    let result = unsafe { real(signal, action, old) };
    // SAFETY: null, or what the call has filled in.
    if let Some(old) = unsafe { old.as_mut() }
        && result == 0
        && old.sa_sigaction == handler as *const () as usize
    {
        (old.sa_sigaction, old.sa_flags) = before;
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn signal(number: c_int, handler: sighandler_t) -> sighandler_t {
    // SAFETY: zeroes are a valid start.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = handler;
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: as above.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the handler is the caller's; as libc's own does it.
    match unsafe { sigaction(number, &raw const new, &raw mut old) } {
        0 => old.sa_sigaction,
        _ => libc::SIG_ERR,
    }
}
