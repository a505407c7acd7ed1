//! Preemption: ending a time slice at any instruction.
//!
//! Previous: `sysmon.rs` sends SIGURG to an M whose goroutine has had its slice while others wait.
//! Next: `find.rs`; later, the goroutine goes on inside the handler and returns from it.
//!
//! **Why it is sound.** A goroutine owns its stack and its thread pointer, so stopping it at an
//! arbitrary instruction is what the kernel does to a thread. The signal frame is put on its stack,
//! with all its registers; when it is resumed, maybe on another M, it returns from the handler.
//! What the kernel keeps per *thread* and restores from the frame, the alternate stack and the
//! signal mask, must then be the new thread's: the frame is corrected.
//!
//! **When it is not done.**
//! * PR1: inside a section. The wish is noted and done when the section ends.
//! * PR2: in `runtime::blocking`: the P can be taken without the goroutine.
//! * PR3: on the M's alternate signal stack. (A goroutine's own alternate stack goes with it.)
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
//! system calls more, and the M that goes on with another goroutine can be signalled.
//!
//! **Where the frame is.** The kernel puts it on the alternate stack, where there is room. The
//! handler moves it to the goroutine's stack before it does anything else ([`place`](Place)). It
//! does not where that is nearly used up, or where the goroutine runs on a stack of another library
//! (a coroutine's, Go's, which may be small): there the M leaves the goroutine its alternate stack
//! with the frame, and takes another (`m/altstack.rs`, AS5). Until one or the other is done, all
//! signals are blocked: the user's handler of another one would run on the alternate stack, and the
//! goroutine may leave at the end of it (seen: the frame written over by the next M's signals).

use super::boot::{install_handler, signals};
use super::{SCHED, locked, park, registers, syscall};
use crate::base::sys;
use crate::g::{G, current, pending};
use crate::m::{M, altstack, thread};
use crate::p::wanted;
use goroutines_switch::signal::{self, Placed};
use goroutines_switch::thread_pointer::facts;
use std::ffi::{c_int, c_void};
use std::io;
#[cfg(not(feature = "intercept"))]
use std::sync::atomic::AtomicI32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Go's choice too: debuggers pass it on, libc does not use it, and its default is to be ignored.
pub(crate) const SIGNAL: c_int = libc::SIGURG;

/// The handler that was there before. Where calls are taken over: our function that knows the
/// user's handler, for good.
static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// Its flags, where calls are not taken over.
#[cfg(not(feature = "intercept"))]
static FLAGS: AtomicI32 = AtomicI32::new(0);

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

/// Whether a signal was sent, and whether one has come, since the last look at the handler.
static SENT: AtomicBool = AtomicBool::new(false);
static HEARD: AtomicBool = AtomicBool::new(false);

/// How often to look, and how many looks in a row may find that signals are sent and none comes.
const LOOK_NS: u64 = 50_000_000;
const UNHEARD: u32 = 6;

/// Takes the signal again, if another library has installed a handler of its own by a raw system
/// call and keeps the runtime's signals to itself, as Go's runtime does. That handler is the user's
/// from then on. (Not one that passes them on: a second copy of this library would take the signal
/// again as well, and each would pass on to the other for ever.) On the monitor's thread.
pub(crate) fn keep(now: u64) {
    static NEXT_NS: AtomicU64 = AtomicU64::new(0);
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    if !SENT.load(Ordering::Relaxed) || now < NEXT_NS.load(Ordering::Relaxed) {
        return;
    }
    NEXT_NS.store(now + LOOK_NS, Ordering::Relaxed);
    SENT.store(false, Ordering::Relaxed);
    if HEARD.swap(false, Ordering::Relaxed) {
        return LOOKS.store(0, Ordering::Relaxed);
    }
    let looks = LOOKS.fetch_add(1, Ordering::Relaxed) + 1;
    if looks >= UNHEARD && sys::handler_of(SIGNAL) != address() {
        LOOKS.store(0, Ordering::Relaxed);
        let _ = install();
    }
}

/// Sends the signal to a thread.
pub(crate) fn signal_thread(tid: u32) {
    if tid == 0 {
        return;
    }
    SENT.store(true, Ordering::Relaxed);
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
pub(crate) fn address() -> usize {
    signal::entry::<Place>()
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
pub(crate) fn install() -> io::Result<()> {
    let flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: a handler that takes three arguments.
    let old = unsafe { install_handler(SIGNAL, address(), flags, &signals(true)) }?;
    #[cfg(feature = "intercept")]
    {
        crate::intercept::signal::adopt(&old);
        PREVIOUS.store(crate::intercept::signal::address(), Ordering::Relaxed);
    }
    #[cfg(not(feature = "intercept"))]
    {
        FLAGS.store(old.sa_flags, Ordering::Relaxed);
        PREVIOUS.store(old.sa_sigaction, Ordering::Relaxed);
    }
    Ok(())
}

/// The handler, in two steps.
#[derive(Debug)]
enum Place {}

/// The signal, as a bit of a mask.
const OWN: u64 = 1 << (SIGNAL - 1);

/// The word between them: the signal is the runtime's.
const OURS: u32 = 1;

/// Room that is left on a goroutine's stack below a frame: for the handler, and one of the user's.
const ROOM: usize = 16 << 10;

/// Where the frame at `frame` is to be, by what the interrupted code is.
fn place(context: &mut libc::ucontext_t, frame: usize, is_ours: bool) -> usize {
    let alternate = &context.uc_stack;
    let alternate = alternate.ss_sp as usize..alternate.ss_sp as usize + alternate.ss_size;
    let sp = stack_pointer(context);
    if !alternate.contains(&frame) || alternate.contains(&sp) {
        return frame; // It is where the kernel puts it for any handler.
    }
    let gp = current::g();
    // SAFETY: what the kernel has called the handler with.
    let needed = sp - signal::below(sp) + unsafe { signal::room(context, frame) };
    let has_room = |room: usize| {
        let own = gp.map(|gp| gp.carrier().stack());
        own.is_some_and(|own| own.contains(&sp) && sp - own.start >= needed + room)
    };
    let end = match is_ours {
        true if has_room(ROOM) => signal::below(sp),
        // (Outside sections, as the handler does nothing else inside.)
        true => match gp.filter(|gp| gp.nopreempt.load(Ordering::Relaxed) == 0) {
            // The goroutine's alternate stack may have room for the frame, and no more.
            Some(gp) => match altstack::unused(gp, gp.m()) {
                Some(end) => end,
                None => return frame,
            },
            None => return frame,
        },
        // As the kernel does it for the user's handler. (On a goroutine without room it stays.)
        false if !is_users_on_alternate() && (gp.is_none() || has_room(0)) => signal::below(sp),
        false => return frame,
    };
    // SAFETY: as above; below `end` there is room: on a thread, as much as the kernel asks for.
    unsafe { signal::copy(context, frame, end) }
}

/// Whether the user's handler is to run on the alternate stack.
fn is_users_on_alternate() -> bool {
    #[cfg(feature = "intercept")]
    let flags = crate::intercept::signal::flags(SIGNAL);
    #[cfg(not(feature = "intercept"))]
    let flags = FLAGS.load(Ordering::Relaxed);
    flags & libc::SA_ONSTACK != 0
}

fn stack_pointer(context: &libc::ucontext_t) -> usize {
    context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize
}

impl Placed for Place {
    extern "C" fn place(
        _: c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::ucontext_t,
        frame: usize,
    ) -> usize {
        // SAFETY: the kernel's siginfo and signal frame.
        let (is_ours, context) = unsafe { (is_ours(&*info), &mut *context) };
        if is_ours && !HEARD.load(Ordering::Relaxed) {
            HEARD.store(true, Ordering::Relaxed);
        }
        place(context, frame, is_ours) | if is_ours { OURS as usize } else { 0 }
    }

    extern "C" fn handle(
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::ucontext_t,
        word: u32,
    ) {
        // SAFETY: the kernel's signal frame.
        let context = unsafe { &mut *context };
        if word & OURS == 0 {
            sys::set_signals(thread::word_of(&context.uc_sigmask) | OWN);
            pass_on(signal, info, std::ptr::from_mut(context).cast());
            return;
        }
        let Some(gp) = current::g() else {
            #[cfg(feature = "intercept")]
            crate::signals::masks::refresh(context);
            return;
        };
        // SAFETY: errno is the goroutine's, and this handler runs on it.
        let errno = unsafe { *libc::__errno_location() };
        interrupted(gp, context);
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
    }
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

/// PR1: the end of the section sees to it. (In a section the M does not change, and between two
/// goroutines either's will do.)
fn note(gp: &'static G) {
    // The goroutine may be sending a signal of this number to itself (`signals/deliver.rs`), and
    // the kernel has taken the two for one.
    #[cfg(feature = "intercept")]
    gp.m().knocked.fetch_or(OWN, Ordering::Relaxed);
    if is_wanted(gp.m()) {
        gp.pending.fetch_or(pending::PREEMPT, Ordering::Relaxed);
    }
}

fn interrupted(gp: &'static G, frame: &mut libc::ucontext_t) {
    // It is of the runtime's own; or on its way to the M's own stack, and has looked at the
    // helpers' mask already.
    #[cfg(feature = "intercept")]
    crate::signals::masks::refresh_m(gp.m(), frame);
    let sp = stack_pointer(frame);
    if is_in_section(gp, sp, thread::word_of(&frame.uc_sigmask)) {
        return note(gp);
    }
    if gp.pending.load(Ordering::Relaxed) & pending::BLOCKING != 0 {
        #[cfg(feature = "intercept")]
        if has_signals(gp) {
            current::raise(gp);
            deliver(gp, thread::word_of(&frame.uc_sigmask));
            current::lower(gp);
        }
        return; // PR2
    }
    current::raise(gp);
    let mp = gp.m();
    altstack::check(gp, mp, &frame.uc_stack);
    let pc = frame.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    let mut stays = facts().in_libc(pc)
        || !thread::may_leave(mp, &frame.uc_sigmask)
        || altstack::is_on_own(mp, sp);
    let here = 0u8;
    // The frame has not been moved.
    let is_on_own = altstack::is_on_own(mp, &raw const here as usize);
    let leaves = !stays && (!mp.lease.is_owned() || is_wanted(mp));
    let lent = is_on_own && (leaves || has_signals(gp)) && altstack::lend(gp, mp); // AS5
    stays |= is_on_own && !lent;
    // Its frame can be returned from on this thread only.
    let bound = !stays && registers::are_bound_to_thread(frame);
    if bound {
        locked::lock(gp);
    }
    if stays {
        mp.in_libc.store(true, Ordering::Relaxed); // PR3, PR4, PR5
    } else if !mp.lease.is_owned() {
        // It runs without a P, or it is about to be taken.
        leave(gp, syscall::come_back);
    } else if is_wanted(mp) {
        leave(gp, park::preempted);
        gp.pending.fetch_and(!pending::PREEMPT, Ordering::Relaxed);
    }
    #[cfg(feature = "intercept")]
    if has_signals(gp) && (lent || !is_on_own) {
        let mask = if stays { thread::word_of(&frame.uc_sigmask) } else { mask_of(gp) };
        deliver(gp, mask);
        if !stays && !gp.m().lease.is_owned() {
            leave(gp, syscall::come_back); // the handlers' time was announced
        }
    }
    if bound {
        locked::unlock(gp);
    }
    let now = gp.m(); // SC2
    if lent {
        altstack::take_back(gp, now);
    }
    amend(frame, gp, now, stays);
    current::lower(gp);
}

/// The signal mask of the M of `gp`, as the kernel has it where there is no handler.
fn mask_of(gp: &'static G) -> u64 {
    gp.m().kernel_mask.mask()
}

/// Calls `f`, which may come back on another M: with the mask that the M is to have then, and the
/// next one has.
fn leave(gp: &'static G, f: fn(&'static G)) {
    sys::set_signals(mask_of(gp));
    f(gp);
    sys::block_signal(SIGNAL, true);
}

/// Runs the handlers of what is pending, with `mask` and the runtime's signal blocked.
#[cfg(feature = "intercept")]
fn deliver(gp: &'static G, mask: u64) {
    sys::set_signals(mask | OWN);
    crate::signals::deliver::deliver_here(gp);
}

/// The frame is about to be returned from on `mp`: what the kernel keeps per thread is made that
/// thread's.
fn amend(frame: &mut libc::ucontext_t, gp: &G, mp: &M, stayed: bool) {
    if let Some(stack) = altstack::restored(gp, mp) {
        frame.uc_stack = stack;
    }
    if !stayed {
        // The goroutine's own, which is the same; or that of the runtime's threads, which may have
        // changed.
        let mask = mp.kernel_mask.mask();
        // SAFETY: a sigset_t begins with the kernel's 64 bits.
        unsafe { (&raw mut frame.uc_sigmask).cast::<u64>().write(mask) };
    }
}

/// Whether handlers of the user's are to run on the goroutine.
fn has_signals(gp: &G) -> bool {
    #[cfg(feature = "intercept")]
    return gp.pending.load(Ordering::Relaxed) & pending::SIGNAL != 0;
    #[cfg(not(feature = "intercept"))]
    return {
        let _ = gp;
        false
    };
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
