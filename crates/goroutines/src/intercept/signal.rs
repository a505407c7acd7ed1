//! Signal handlers: what they call goes straight through, and no goroutine is descheduled in one.
//!
//! **The problem.** A handler runs on whichever stack was interrupted, a goroutine's mostly, in the
//! middle of anything: of `malloc`, of the runtime. What it calls (`write` to a pipe, `sem_post`)
//! must not park that goroutine, nor take a lock that the interrupted code may hold; and as the
//! kernel blocks signals for the *thread* while it runs, the goroutine must not move meanwhile.
//!
//! **Chosen.** A handler that is installed through libc is kept in a table, and ours is installed
//! in its place: it decides what becomes of the signal (`signals/post.rs`: what meets a thread of
//! the runtime that runs no goroutine, or a section, is kept), raises the goroutine's no-preempt
//! count, calls the user's, and sets the count right. With the count raised, what is taken over
//! calls libc's own. A program that asks for the handler gets its own one back.
//!
//! * SH1: a handler may wait. Where the goroutine had its P, the handler's time is announced like a
//!   blocking call's: the P may be taken, and the goroutine goes on without it.
//! * SH2: a handler holds no lock of the runtime, and takes none: what it wakes is left to the
//!   monitor (`semaphore.rs`, `leave_word`).
//! * SH3: a handler may be left by `siglongjmp`. The outermost one notes where its frame is; code
//!   that finds the count raised looks whether that frame still lives, and sets the count right if
//!   not ([`set_right`]).
//!
//! Handlers of faults (`SIGSEGV` and its kin) run as other code does: they may never return, and
//! may come back on another M. Handlers installed by a raw system call are recognised by the
//! signals they block (`sched/preempt.rs`, PR5).

use super::mask;
use super::real::{Real, real, result};
use crate::base::sys;
use crate::g::{G, current, odd, pending};
use crate::m::altstack;
use crate::m::thread::word_of;
use crate::sched::{SCHED, fault, preempt, quit};
use crate::signals::{bit, deliver, masks, post};
use libc::{c_int, c_void, siginfo_t};
use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// Signals are numbered from 1 to 64.
pub(super) const SIGNALS: usize = 65;

/// The alternate stack is the goroutine's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaltstack(new: *const libc::stack_t, old: *mut libc::stack_t) -> c_int {
    static REAL: Real = Real::new(c"sigaltstack");
    let Some(gp) = current::g() else {
        // SAFETY: forwarded.
        return unsafe {
            real!(REAL as fn(*const libc::stack_t, *mut libc::stack_t) -> c_int)(new, old)
        };
    };
    // Not a section: a handler, which may call it, can't get a P.
    current::raise(gp);
    let word = altstack::call(gp, gp.m(), new, old);
    current::lower(gp);
    result(word) as c_int
}

/// The user's handler of a signal, its flags, and the signals that it blocks.
struct Slot {
    handler: AtomicUsize,
    flags: AtomicI32,
    mask: AtomicU64,
}

static SLOTS: [Slot; SIGNALS] = [const {
    Slot {
        handler: AtomicUsize::new(libc::SIG_DFL),
        flags: AtomicI32::new(0),
        mask: AtomicU64::new(0),
    }
}; SIGNALS];

thread_local! {
    /// How many handlers the calling flow is inside of. May count some that were left (SH3).
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The outermost of them.
    static OUTERMOST: Cell<Frame> = const { Cell::new(Frame::NONE) };
    /// The count after the innermost had raised it.
    static RAISED: Cell<u32> = const { Cell::new(0) };
}

/// What is remembered of a handler that runs.
#[derive(Clone, Copy)]
struct Frame {
    /// The stack pointer of what it interrupted.
    interrupted: usize,
    /// Where its [`Seal`] is.
    seal: usize,
    /// The thread's alternate stack at that time, on which the handler may run.
    alternate: (usize, usize),
}

/// Bytes in the frame of a running handler that other frames write over when it was left.
type Seal = [u64; 16];
const SEALED: u64 = 0x5e41_ed00_9e37_79b9;

impl Frame {
    const NONE: Self = Self { interrupted: 0, seal: 0, alternate: (0, 0) };

    fn of(context: &libc::ucontext_t, seal: &Seal) -> Self {
        let from = context.uc_stack.ss_sp as usize;
        Self {
            interrupted: stack_pointer(context),
            seal: std::ptr::from_ref(seal) as usize,
            alternate: (from, from + context.uc_stack.ss_size),
        }
    }

    /// Whether its handler was left. The caller, whose stack pointer is `sp`, runs on the thread or
    /// goroutine that the handler ran on; `own` is a goroutine's stack.
    ///
    /// Handlers stand below what they interrupt. So a caller above them has left them; a caller
    /// below is in them, or was called from where `siglongjmp` went to, and then the seal is
    /// written over.
    fn was_left(&self, sp: usize, own: Option<&Range<usize>>) -> bool {
        /// No stack is larger: a stack pointer that is further away is on another one.
        const FAR: usize = 8 << 20;
        let on_own = |at: usize| own.is_some_and(|own| own.contains(&at));
        let alternate = self.alternate.0..self.alternate.1;
        if alternate.contains(&sp) {
            return false;
        }
        if on_own(self.interrupted) != on_own(sp) {
            // The flow has gone from another library's stack to the goroutine's; or the handler
            // runs on a stack of its own.
            return on_own(sp);
        }
        if self.interrupted.abs_diff(sp) >= FAR {
            return false;
        }
        if alternate.contains(&self.seal) || sp > self.seal {
            return true;
        }
        // SAFETY: the frame of a handler on this very stack, below which the caller stands.
        let seal = unsafe { std::ptr::read_volatile(self.seal as *const Seal) };
        seal.iter().any(|word| *word != SEALED)
    }
}

fn stack_pointer(context: &libc::ucontext_t) -> usize {
    context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize
}

/// Looks whether the handler that the calling flow seems to be in was left by `siglongjmp` (SH3),
/// and if so forgets it: true. `sp` is the flow's stack pointer, `blocked` its signal mask; none:
/// the present one.
#[cold]
pub(crate) fn set_right(gp: Option<&'static G>, sp: usize, blocked: Option<u64>) -> bool {
    if DEPTH.get() == 0 {
        return false;
    }
    let own = gp.map(|gp| gp.carrier().stack());
    if !OUTERMOST.get().was_left(sp, own.as_ref()) {
        return false;
    }
    DEPTH.set(0);
    if let Some(gp) = gp {
        // The call that the handler interrupted was left with the handler: no announcement of
        // either lasts. What has been raised since belongs to sections that live.
        end_announcement(gp);
        let count = gp.nopreempt.load(Ordering::Relaxed);
        let now = count.saturating_sub(RAISED.get());
        current::set_count(gp, now + 1);
        mask::adopt(gp, blocked.unwrap_or_else(|| sys::block_signals(0)));
        current::set_count(gp, now);
    }
    true
}

/// Whether the calling flow is inside a handler.
pub(crate) fn in_handler() -> bool {
    if DEPTH.get() == 0 {
        return false;
    }
    let here = 0u8;
    !set_right(current::g(), &raw const here as usize, None)
}

/// Announces the time of a handler, if the goroutine has a P that could be taken (SH1). The count
/// is raised.
fn announce(gp: &'static G) -> bool {
    let mp = gp.m();
    let Some(pp) = mp.p().filter(|_| mp.lease.is_owned()) else { return false };
    mp.syscalltick.store(mp.syscalltick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    gp.in_call.store(true, Ordering::Relaxed);
    mp.lease.enter_syscall(pp.id);
    SCHED.sysmon.syscall_begins();
    true
}

/// Ends the announcement; the count is still raised. A goroutine whose P is gone looks for one when
/// it enters the runtime, not here, where the interrupted code may be libc's (PR4).
fn end_announcement(gp: &'static G) {
    gp.in_call.store(false, Ordering::Relaxed);
    let lease = &gp.m().lease;
    if !lease.is_owned() {
        let _ = lease.reclaim();
    }
}

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// What becomes of a signal that has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The handler runs here.
    Run,
    /// The same, at the end of a section of the runtime's, as if there were none.
    RunOutside,
    /// It is kept, or was meant for the runtime.
    Kept,
}

/// What the calling code, or the time it has had, has caused: the signal stays with the goroutine.
fn is_own(signal: c_int, info: &siginfo_t) -> bool {
    matches!(info.si_code, libc::SI_TKILL | libc::SI_TIMER)
        || matches!(
            signal,
            libc::SIGPROF | libc::SIGVTALRM | libc::SIGXCPU | libc::SIGXFSZ | libc::SIGPIPE
        )
}

/// Whether the calling thread is an M's, where it has no goroutine: on its own stack, or in a
/// goroutine's first instructions, which does not know itself yet.
fn is_on_m() -> bool {
    let is_one = || {
        let tid = sys::gettid();
        SCHED.all_ms().any(|mp| mp.tid.load(Ordering::Relaxed) == tid)
    };
    current::m_of_g0().is_some() || is_one()
}

/// Keeps a signal that has met a thread of the runtime's (SG2), for the process; or, if it was
/// directed at that thread, for the goroutine that is locked to it.
fn keep_for_another(info: &siginfo_t) {
    let mp = current::running().map(G::m).or_else(current::m_of_g0);
    // SAFETY: null, or a G, which is never freed.
    let locked = mp.and_then(|mp| unsafe { mp.lockedg.load(Ordering::Relaxed).as_ref() });
    match locked.filter(|_| info.si_code == libc::SI_TKILL) {
        Some(gp) => {
            let _ = post::keep_and_ring(gp, info);
        }
        None => post::accept(info),
    }
}

/// Decides on a signal for which the user has a handler.
fn fate(gp: Option<&'static G>, signal: c_int, info: &mut siginfo_t) -> Fate {
    let is_knock = post::is_knock(gp.map(G::m).or_else(current::m_of_g0), info);
    let Some(gp) = gp else {
        if is_knock {
            return Fate::Kept; // it was for a goroutine that is no longer here
        }
        if !masks::is_leader() && !is_on_m() {
            return Fate::Run;
        }
        keep_for_another(info);
        return Fate::Kept;
    };
    if deliver::is_again(gp, info) {
        return Fate::RunOutside;
    }
    if gp.odd.get() & odd::SYSTEM != 0 {
        if is_knock {
            gp.m().knocked.fetch_or(bit(signal), Ordering::Relaxed);
        } else {
            post::accept(info); // SG2
        }
        return Fate::Kept;
    }
    let in_call = gp.in_call.load(Ordering::Relaxed);
    let is_free = gp.nopreempt.load(Ordering::Relaxed) == 0 || in_call || DEPTH.get() > 0;
    if is_knock {
        gp.m().knocked.fetch_or(bit(signal), Ordering::Relaxed);
        let taken = is_free.then(|| {
            // The runtime's signal would have it deliver, and take a lock that this may hold.
            current::raise(gp);
            let taken = post::take_when_told(gp, signal);
            current::lower(gp);
            taken
        });
        return match taken {
            Some(Some(kept)) => {
                *info = kept;
                Fate::Run
            }
            Some(None) => Fate::Kept,
            None => {
                // The end of the section sees to it.
                gp.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
                Fate::Kept
            }
        };
    }
    let is_blocked = signal == preempt::SIGNAL && masks::of(gp) & bit(signal) != 0;
    if is_free && !is_blocked {
        return Fate::Run;
    }
    // On the way to another goroutine, or to the M's own stack, the kernel's mask is the next
    // one's.
    let is_anothers = !is_blocked && !post::lets(gp, signal);
    if is_anothers || !is_blocked && !is_own(signal, info) && post::main_takes(gp, signal) {
        keep_for_another(info);
    } else {
        let _ = post::keep_and_ring(gp, info); // too many: lost, as the kernel would lose it
    }
    Fate::Kept
}

/// What the kernel calls for the user's handlers.
extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(slot) = SLOTS.get(signal as usize) else { return };
    let user = slot.handler.load(Ordering::Acquire);
    if !is_function(user) {
        return; // taken back just now
    }
    let gp = current::g();
    // SAFETY: the kernel's signal frame.
    let frame = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    set_right(gp, stack_pointer(frame), Some(word_of(&frame.uc_sigmask)));
    // SAFETY: the kernel's siginfo.
    let fate = fate(gp, signal, unsafe { &mut *info });
    if fate == Fate::Kept {
        return masks::amend(frame);
    }
    if !once_if_wanted(signal, slot, user) {
        return;
    }
    // SAFETY: the user's handler; one that takes fewer arguments ignores the rest.
    let user = unsafe { std::mem::transmute::<usize, Handler>(user) };
    if let Some(gp) = gp {
        note_run(gp, slot);
    }
    let count = gp.map(|gp| (gp, gp.nopreempt.load(Ordering::Relaxed)));
    let mut announced = false;
    if let Some((gp, count)) = count {
        current::raise(gp);
        announced = (count == 0 || fate == Fate::RunOutside) && announce(gp);
    }
    let raised = RAISED.replace(count.map_or(0, |(_, count)| count + 1));
    let depth = DEPTH.get();
    let seal: Seal = std::hint::black_box([SEALED; 16]);
    if depth == 0 {
        OUTERMOST.set(Frame::of(frame, &seal));
    }
    DEPTH.set(depth + 1);
    let mask = word_of(&frame.uc_sigmask);
    if signal == preempt::SIGNAL && preempt::is_installed() {
        as_the_kernel_does(slot, || user(signal, info, context));
    } else {
        user(signal, info, context);
    }
    // Not one less: inner handlers may have been left by `siglongjmp`.
    DEPTH.set(depth);
    RAISED.set(raised);
    if let Some((gp, count)) = count {
        // SAFETY: as above; the user may have written it.
        let now = word_of(unsafe { &(*context.cast::<libc::ucontext_t>()).uc_sigmask });
        if depth == 0 && now != mask {
            mask::adopt(gp, now);
        }
        if announced {
            end_announcement(gp);
        }
        if count == 0 && slot.flags.load(Ordering::Relaxed) & libc::SA_NODEFER != 0 {
            // PR5 does not know this handler: no slice ends until it has returned, as its frame
            // names this thread's alternate stack.
            sys::block_signal(preempt::SIGNAL, true);
        }
        current::set_count(gp, count);
        if count == 0 {
            came_meanwhile(gp);
        }
        if gp.odd.get() & odd::SYSTEM != 0 {
            // SAFETY: the kernel's signal frame.
            masks::amend(unsafe { &mut *context.cast::<libc::ucontext_t>() });
        }
    }
    std::hint::black_box(&seal);
}

/// `SA_RESETHAND`: the action is the default one from now on. (The kernel would do so as the signal
/// comes, and one that is kept and sent again would find it.) False: another thread was faster.
fn once_if_wanted(signal: c_int, slot: &Slot, user: usize) -> bool {
    let flags = slot.flags.load(Ordering::Relaxed);
    if flags & libc::SA_RESETHAND == 0 {
        return true;
    }
    let default = libc::SIG_DFL;
    if slot.handler.compare_exchange(user, default, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return false;
    }
    if signal != preempt::SIGNAL {
        sys::set_default(signal, flags);
    }
    true
}

/// A handler is about to run.
fn note_run(gp: &G, slot: &Slot) {
    gp.signals.ran.set(gp.signals.ran.get().wrapping_add(1));
    if slot.flags.load(Ordering::Relaxed) & libc::SA_RESTART == 0 {
        gp.signals.broke.set(gp.signals.broke.get().wrapping_add(1));
    }
}

/// A handler is over, in ordinary code: signals that met its beginning or its end were kept. The
/// goroutine does not leave its M before the handler has returned: what the handler blocks would
/// stay blocked there, and its frame names the alternate stack there (AS3).
fn came_meanwhile(gp: &'static G) {
    if gp.pending.load(Ordering::Relaxed) & pending::SIGNAL != 0 {
        current::raise(gp);
        deliver::deliver_here(gp);
        current::lower(gp);
    }
}

/// Calls the user's handler of the runtime's own signal, which the kernel did not deliver for it:
/// with the signals blocked that it is to block, and only once where that was asked for. (It is on
/// the right stack: `sched/preempt.rs`.)
fn as_the_kernel_does(slot: &Slot, call: impl FnOnce()) {
    let flags = slot.flags.load(Ordering::Relaxed);
    let mut mask = slot.mask.load(Ordering::Relaxed);
    let own = 1 << (preempt::SIGNAL - 1);
    if flags & libc::SA_NODEFER != 0 && mask & own == 0 {
        crate::base::sys::block_signal(preempt::SIGNAL, false);
    }
    mask &= !own;
    let before = (mask != 0).then(|| crate::base::sys::block_signals(mask));
    call();
    if let Some(before) = before {
        crate::base::sys::set_signals(before);
    }
    crate::base::sys::block_signal(preempt::SIGNAL, true);
}

/// What the kernel calls for the user's handlers of faults: it may wait, and come back on another
/// M; but not from the M's own stack (AS4).
extern "C" fn fault_handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let here = 0u8;
    // SAFETY: the kernel's siginfo. One that was sent is no fault: no instruction would raise it
    // again.
    let is_sent = unsafe { (*info).si_code } <= 0;
    let is_on_own =
        || current::g().is_some_and(|gp| altstack::is_on_own(gp.m(), &raw const here as usize));
    if is_sent || is_on_own() {
        return handler(signal, info, context);
    }
    let Some(slot) = SLOTS.get(signal as usize) else { return };
    let user = slot.handler.load(Ordering::Acquire);
    if !is_function(user) {
        return; // as in `handler`; a fault comes again
    }
    // SAFETY: the user's handler; one that takes fewer arguments ignores the rest.
    let user = unsafe { std::mem::transmute::<usize, Handler>(user) };
    user(signal, info, context);
    // SAFETY: the kernel's signal frame.
    fault::amend(unsafe { &mut *context.cast::<libc::ucontext_t>() });
}

/// Our handler's address.
pub(crate) fn address() -> usize {
    handler as *const () as usize
}

/// The runtime takes its signal: the handler that was installed for it, even by a raw system call,
/// is kept as the user's.
pub(crate) fn adopt(before: &libc::sigaction) {
    store(&SLOTS[preempt::SIGNAL as usize], before);
}

/// The flags of the user's handler of `signal`.
pub(crate) fn flags(signal: c_int) -> c_int {
    SLOTS[signal as usize].flags.load(Ordering::Relaxed)
}

/// The user's handler of `signal`.
pub(crate) fn users(signal: c_int) -> usize {
    SLOTS[signal as usize].handler.load(Ordering::Relaxed)
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
    [preempt::address(), fault::address(), quit::address()].contains(&handler)
}

fn store(slot: &Slot, action: &libc::sigaction) {
    slot.flags.store(action.sa_flags, Ordering::Relaxed);
    slot.mask.store(word_of(&action.sa_mask), Ordering::Relaxed);
    // Release: the flags, for the handler.
    slot.handler.store(action.sa_sigaction, Ordering::Release);
}

/// The runtime's signal: the user's action is in the slot only, and never the kernel's.
fn virtual_action(
    slot: &Slot,
    new: Option<&libc::sigaction>,
    old: Option<&mut libc::sigaction>,
) -> c_int {
    // SAFETY: plain old data.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    before.sa_sigaction = slot.handler.load(Ordering::Acquire);
    before.sa_flags = slot.flags.load(Ordering::Relaxed);
    // SAFETY: a sigset_t begins with the kernel's 64 bits.
    unsafe {
        (&raw mut before.sa_mask).cast::<u64>().write(slot.mask.load(Ordering::Relaxed));
    }
    if let Some(new) = new {
        store(slot, new);
    }
    if let Some(old) = old {
        *old = before;
    }
    0
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    static REAL: Real = Real::new(c"sigaction");
    let real = real!(REAL as fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int);
    // SAFETY: null, or the user's action.
    let wanted = unsafe { new.as_ref() };
    let slot = usize::try_from(signal).ok().and_then(|signal| SLOTS.get(signal));
    let Some(slot) = slot else {
        // SAFETY: forwarded.
        return unsafe { real(signal, new, old) };
    };
    let by_us = wanted.is_some_and(|wanted| is_ours(wanted.sa_sigaction));
    let ours = if is_fault(signal) { fault_handler as *const () as usize } else { address() };
    if !by_us && signal == preempt::SIGNAL && preempt::is_installed() {
        // SAFETY: null, or the caller's action to fill in.
        return virtual_action(slot, wanted, unsafe { old.as_mut() });
    }
    let before = (slot.handler.load(Ordering::Acquire), slot.flags.load(Ordering::Relaxed));
    let mut action = wanted.copied();
    if let Some(action) = &mut action
        && is_function(action.sa_sigaction)
        && !by_us
    {
        store(slot, action);
        if !is_fault(signal) {
            deliver::want_taker();
        }
        action.sa_sigaction = ours;
        // A signal that is kept is sent again: SA_RESETHAND is done by our own handler then.
        action.sa_flags = (action.sa_flags | libc::SA_SIGINFO) & !libc::SA_RESETHAND;
    }
    let action = action.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: null, or an action to read; the caller's to write.
    let result = unsafe { real(signal, action, old) };
    // SAFETY: null, or what the call has filled in.
    if let Some(old) = unsafe { old.as_mut() }
        && result == 0
    {
        if old.sa_sigaction == ours {
            (old.sa_sigaction, old.sa_flags) = before;
        } else if old.sa_sigaction == quit::address() {
            // The runtime's, in the place of the default action.
            (old.sa_sigaction, old.sa_flags) = (libc::SIG_DFL, 0);
        }
    }
    result
}
