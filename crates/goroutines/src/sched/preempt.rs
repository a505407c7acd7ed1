//! Preemption: ending a time slice at any instruction.
//!
//! Previous: `sysmon.rs` sends SIGURG to an M whose goroutine has had its slice while others wait.
//! Next: `find.rs`; later, the goroutine goes on inside the handler and returns from it.
//!
//! **Why it is sound.** A goroutine owns its stack and its thread pointer, so stopping it at an
//! arbitrary instruction is what the kernel does to a thread. The signal frame stays on its stack,
//! with all its registers; when it is resumed, maybe on another M, it returns from the handler.
//! What the kernel keeps per *thread* and restores from the frame, the alternate stack and the
//! signal mask, must then be the new thread's: the frame is corrected.
//!
//! **When it is not done.**
//! * PR1: inside a section. The wish is noted and done when the section ends.
//! * PR2: in `runtime::blocking`: the P can be taken without the goroutine.
//! * PR3: on the M's alternate signal stack. (A goroutine's own alternate stack goes with it. And
//!   another library's coroutine is a part of the goroutine that resumed it: its stack holds the
//!   frame as well as any.)
//! * PR4: inside libc, ld.so or a shared allocator. A goroutine that is stopped there may hold the
//!   lock that the next `malloc` on any thread waits for, the monitor's `pthread_create` included.
//!   The monitor asks again in 100 µs; after a few times it takes the *P* instead (`m/lease.rs`):
//!   others run, and the goroutine goes on, without a P, until it leaves libc and is stopped then.
//!   So no goroutine is ever descheduled inside libc, and libc's locks are always held by running
//!   threads.
//! * PR5: inside another signal's handler, which may have interrupted libc: those installed through
//!   libc run with the count raised (`intercept/signal.rs`), others are known by the signals they
//!   block. (One installed by a raw system call, with `SA_NODEFER` and an empty mask, can't be told
//!   from other code.) A goroutine's own mask is the kernel's while it runs, and goes with it.
//!
//! **Whose signal it is.** SIGURG is the program's too. Ours carries a code and a value of its own.
//! Where a sandbox refuses that, or the kernel has lost both (a user may queue only so many
//! signals), a signal is taken for ours if its M was sent one and has not had it yet.
//!
//! Past that point the handler is a runtime entry like any other: the interrupted code holds no
//! runtime lock (PR1), so the scheduler's may be taken; nothing allocates.
//!
//! **The signal in the handler.** The kernel blocks SIGURG while the handler runs, from before its
//! first instruction: a second signal there would find our own code interrupted, outside libc,
//! while the frame below may be inside (seen: a goroutine descheduled with the arena's lock). Only
//! around the switch is it unblocked, with the count raised; so a handler that switches makes two
//! system calls more, and the M that goes on with another goroutine can be signalled. The handler
//! runs on the goroutine's stack (no `SA_ONSTACK`).

use super::{SCHED, locked, park, registers, syscall};
use crate::base::sys;
use crate::g::{G, current, pending};
use crate::m::{M, altstack, thread};
use crate::p::wanted;
use goroutines_switch::thread_pointer::facts;
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Go's choice too: debuggers pass it on, libc does not use it, and its default is to be ignored.
pub(crate) const SIGNAL: c_int = libc::SIGURG;

/// The handler that was there before. Where calls are taken over: our function that knows the
/// user's handler, for good.
static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// The code of a signal that the runtime has sent: none of the kernel's or libc's.
const CODE: c_int = -96;

/// Its address is the signal's value.
static COOKIE: AtomicBool = AtomicBool::new(false);

/// True where signals can't be sent with a code.
static PLAIN: AtomicBool = AtomicBool::new(false);

/// Asks `mp` to end the slice `tick`.
pub(crate) fn ask(mp: &M, tick: u32) {
    mp.preempt_tick.store(tick.wrapping_add(1), Ordering::Release);
    signal(mp);
}

/// Sends the signal to the thread of `mp`.
pub(crate) fn signal(mp: &M) {
    // Pairs with has_been_sent(). What is asked for was stored before.
    mp.signals_begun.fetch_add(1, Ordering::SeqCst);
    signal_thread(mp.tid.load(Ordering::Relaxed));
    mp.signals_done.fetch_add(1, Ordering::SeqCst);
}

/// Whether `mp`, the calling one, was sent the signal and has not had it yet, as far as can be
/// told. One that is being sent, or was sent since this one was taken and waits until its handler
/// returns, is still to come.
fn has_been_sent(mp: &M) -> bool {
    let done = mp.signals_done.load(Ordering::SeqCst);
    let is_expected =
        mp.signals_begun.load(Ordering::SeqCst) != mp.signals_seen.load(Ordering::Relaxed);
    if is_expected {
        let waits = sys::pending_signals() >> (SIGNAL - 1) & 1;
        mp.signals_seen.store(done.wrapping_sub(waits as u32), Ordering::Relaxed);
    }
    is_expected
}

/// Sends the signal to a thread.
pub(crate) fn signal_thread(tid: u32) {
    if tid == 0 {
        return;
    }
    if !PLAIN.load(Ordering::Relaxed) {
        match sys::tgsigqueue(tid, SIGNAL, CODE, &raw const COOKIE as usize) {
            Ok(()) | Err(libc::ESRCH | libc::EAGAIN) => return,
            Err(_) => PLAIN.store(true, Ordering::Relaxed),
        }
    }
    sys::tgkill(tid, SIGNAL);
}

/// Whether the signal is one that the runtime has sent to this thread.
fn is_ours(info: &libc::siginfo_t) -> bool {
    // SAFETY: plain data of the kernel's: with a value if it was queued, and a sender, 0 if that
    // was lost.
    let (value, sender) = unsafe { (info.si_value().sival_ptr, info.si_pid()) };
    let is_expected = || {
        // In its first instructions a goroutine does not know itself yet.
        let by_thread = || {
            let tid = sys::gettid();
            SCHED.all_ms().find(|mp| mp.tid.load(Ordering::Relaxed) == tid)
        };
        let mp = current::g().map(G::m).or_else(current::m_of_g0).or_else(by_thread);
        #[cfg(feature = "intercept")]
        let is_leader = crate::signals::masks::is_leader();
        #[cfg(not(feature = "intercept"))]
        let is_leader = false;
        mp.map_or(is_leader, has_been_sent)
    };
    match info.si_code {
        CODE => std::ptr::eq(value.cast_const().cast(), &raw const COOKIE),
        libc::SI_TKILL => PLAIN.load(Ordering::Relaxed) && is_expected(),
        libc::SI_USER => sender == 0 && is_expected(),
        _ => false,
    }
}

/// Whether the goroutine on `mp` is to stop: its slice is over (noted at the P), or the world is to
/// stop.
fn is_wanted(mp: &M) -> bool {
    let Some(pp) = mp.p() else { return false };
    let tick = pp.schedtick.load(Ordering::Relaxed).wrapping_add(1);
    if mp.preempt_tick.load(Ordering::Acquire) == tick {
        // Noted where the next scheduling decision is made: the goroutine may be about to park, or
        // to end, and never look itself.
        pp.wanted.fetch_or(wanted::SLICE, Ordering::Relaxed);
        return true;
    }
    SCHED.is_stopping()
}

/// The handler's address.
#[cfg(feature = "intercept")]
pub(crate) fn address() -> usize {
    handler as *const () as usize
}

/// Whether the signal is the runtime's by now.
#[cfg(feature = "intercept")]
pub(crate) fn is_installed() -> bool {
    SCHED.started.load(Ordering::Acquire)
}

/// Whether the user has a handler for the signal as well.
pub(crate) fn is_users_too() -> bool {
    #[cfg(feature = "intercept")]
    let handler = crate::intercept::signal::users(SIGNAL);
    #[cfg(not(feature = "intercept"))]
    let handler = PREVIOUS.load(Ordering::Relaxed);
    handler != libc::SIG_DFL && handler != libc::SIG_IGN
}

/// Installs the handler.
///
/// # Errors
/// The kernel's.
#[expect(
    clippy::disallowed_methods,
    reason = "what is taken over must know of it, and passes it on"
)]
pub(crate) fn install() -> io::Result<()> {
    // SAFETY: a zeroed sigaction is a valid start; the handler has the right signature.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        let mut old: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(SIGNAL, &raw const action, &raw mut old) != 0 {
            return Err(io::Error::last_os_error());
        }
        #[cfg(feature = "intercept")]
        crate::intercept::signal::adopt(&old);
        #[cfg(feature = "intercept")]
        PREVIOUS.store(crate::intercept::signal::address(), Ordering::Relaxed);
        #[cfg(not(feature = "intercept"))]
        PREVIOUS.store(old.sa_sigaction, Ordering::Relaxed);
    }
    Ok(())
}

extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's siginfo.
    if !is_ours(unsafe { &*info }) {
        pass_on(signal, info, context);
        return;
    }
    let Some(gp) = current::g() else {
        #[cfg(feature = "intercept")]
        // SAFETY: the kernel's signal frame, on this stack.
        crate::signals::masks::refresh(unsafe { &mut *context.cast::<libc::ucontext_t>() });
        return;
    };
    // SAFETY: errno is the goroutine's, and this handler runs on it.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel's signal frame, on this stack.
    interrupted(gp, unsafe { &mut *context.cast::<libc::ucontext_t>() });
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Passes a SIGURG that is not the runtime's (out-of-band data, `raise`) on to the user's handler.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.load(Ordering::Relaxed);
    if previous != libc::SIG_DFL && previous != libc::SIG_IGN {
        // SAFETY: a handler; one that takes fewer arguments ignores the rest.
        let f: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(previous) };
        f(signal, info, context);
    }
}

/// Whether the raised count is right. It is not where a handler that raised it was left.
fn is_in_section(gp: &'static G, sp: usize, blocked: u64) -> bool {
    #[cfg(feature = "intercept")]
    if gp.nopreempt.load(Ordering::Relaxed) != 0 {
        crate::intercept::signal::set_right(Some(gp), sp, Some(blocked));
    }
    let _ = (sp, blocked);
    gp.nopreempt.load(Ordering::Relaxed) != 0
}

fn interrupted(gp: &'static G, frame: &mut libc::ucontext_t) {
    // It is of the runtime's own; or on its way to the M's own stack, and has looked at the
    // helpers' mask already.
    #[cfg(feature = "intercept")]
    crate::signals::masks::refresh_m(gp.m(), frame);
    let sp = frame.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    if is_in_section(gp, sp, thread::word_of(&frame.uc_sigmask)) {
        // PR1. In a section the M does not change, and between two goroutines either's will do.
        if is_wanted(gp.m()) {
            gp.pending.fetch_or(pending::PREEMPT, Ordering::Relaxed);
        }
        return;
    }
    if gp.pending.load(Ordering::Relaxed) & pending::BLOCKING != 0 {
        #[cfg(feature = "intercept")]
        if gp.pending.load(Ordering::Relaxed) & pending::SIGNAL != 0 {
            current::raise(gp);
            crate::signals::deliver::deliver(gp);
            current::lower(gp);
        }
        return; // PR2
    }
    current::raise(gp);
    let mp = gp.m();
    let pc = frame.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    let stays = facts().in_libc(pc)
        || !thread::may_leave(mp, &frame.uc_sigmask)
        || altstack::is_on_own(mp, sp);
    // Its frame can be returned from on this thread only.
    let bound = !stays && registers::are_bound_to_thread(frame);
    if bound {
        locked::lock(gp);
    }
    if stays {
        mp.in_libc.store(true, Ordering::Relaxed); // PR3, PR4, PR5
    } else if !mp.lease.is_owned() {
        // It runs without a P, or it is about to be taken.
        sys::block_signal(SIGNAL, false);
        syscall::come_back(gp);
        sys::block_signal(SIGNAL, true);
    } else if is_wanted(mp) {
        sys::block_signal(SIGNAL, false);
        park::preempted(gp);
        sys::block_signal(SIGNAL, true);
        gp.pending.fetch_and(!pending::PREEMPT, Ordering::Relaxed);
    }
    if bound {
        locked::unlock(gp);
    }
    let now = gp.m(); // SC2
    if let Some(stack) = altstack::restored(gp, now) {
        frame.uc_stack = stack;
    }
    if !stays {
        // The goroutine's own, which is the same; or that of the runtime's threads, which may have
        // changed.
        let mask = now.kernel_mask.mask();
        // SAFETY: a sigset_t begins with the kernel's 64 bits.
        unsafe { (&raw mut frame.uc_sigmask).cast::<u64>().write(mask) };
    }
    #[cfg(feature = "intercept")]
    if gp.pending.load(Ordering::Relaxed) & pending::SIGNAL != 0 {
        crate::signals::deliver::deliver(gp);
    }
    current::lower(gp);
}

/// At the end of a goroutine's outermost section, with the count at 1: what has been put off.
#[cold]
#[inline(never)]
pub(crate) fn do_pending(gp: &'static G) {
    let bits = gp.pending.fetch_and(!pending::PREEMPT, Ordering::Relaxed);
    if bits & pending::PREEMPT != 0 {
        park::preempted(gp);
    }
    #[cfg(feature = "intercept")]
    if bits & pending::SIGNAL != 0 {
        crate::signals::deliver::deliver(gp);
    }
    if bits & pending::BLOCKING != 0 {
        let mp = gp.m();
        mp.syscalltick
            .store(mp.syscalltick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        if let Some(pp) = mp.p() {
            mp.lease.enter_syscall(pp.id);
        }
        SCHED.sysmon.syscall_begins();
    }
    current::lower(gp);
}
