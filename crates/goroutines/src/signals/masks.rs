//! Masks: each goroutine's, and that of the threads that run none (SG1).
//!
//! **A goroutine's mask** is given to the kernel when it is switched to on an M that has another:
//! in a program that sets no mask that never happens. The runtime's own signal is only noted in it,
//! and never really blocked.
//!
//! **The helpers' mask** is what all goroutines block. Were a signal open on a thread of the
//! runtime that every goroutine blocks, the kernel would take that thread for its receiver: its
//! default action would end the process, and `sigwait` would miss it. So masks other than the usual
//! one are counted, and where a goroutine makes a signal one that all block, it waits until all
//! threads of the runtime have blocked it ([`grow`]). The other way round there is no hurry: the
//! monitor opens it a moment later.
//!
//! **A blocked SIGPIPE** that a write has caused lies in the kernel's set of the *thread*: it is
//! taken from there before the goroutine leaves the M.

use super::census::{Blocked, Census};
use super::{bit, post};
use crate::base::atomic::heavy_barrier;
use crate::base::lock::Lock;
use crate::base::sys;
use crate::g::task::Task;
use crate::g::{G, current, odd};
use crate::m::M;
use crate::m::noted::Noted;
use crate::m::thread::word_of;
use crate::sched::{SCHED, exit, preempt};
use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Says that a mask is there: the bit of a signal that is libc's own, which no program's mask has.
pub(crate) const SET: u64 = bit(32);
/// The mask of a goroutine of the runtime's own: the helpers', whatever that is. The other bit that
/// no program's mask has.
const HELPER: u64 = bit(33);
/// The mask of a goroutine that has ended.
const ENDED: u64 = u64::MAX;
/// libc's own signals, 32 and 33.
const LIBCS: u64 = bit(32) | bit(33);
const OWN: u64 = bit(preempt::SIGNAL);
/// Signals of faults are open everywhere: handlers of faults block them, often and for a moment.
const FAULTS: u64 = bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGILL)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGSYS);
/// Signals that a call causes, and that lie in the thread's set then.
pub(super) const CAUSED: u64 = bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);

/// The mask of goroutines that have set none: that of the thread that has started the runtime.
static USUAL: AtomicU64 = AtomicU64::new(0);
/// What threads of the runtime block that run no goroutine.
static HELPERS: AtomicU64 = AtomicU64::new(0);
/// Guards the change of [`HELPERS`].
static CHANGING: Lock<()> = Lock::new(());

/// At the start, with the calling thread's mask.
pub(crate) fn begin(usual: u64) {
    USUAL.store(real(usual), Ordering::Relaxed);
    HELPERS.store(real(usual), Ordering::SeqCst);
}

pub(crate) fn usual() -> u64 {
    USUAL.load(Ordering::Relaxed)
}

/// What threads of the runtime are to block that run no goroutine.
#[inline]
pub(crate) fn of_helpers() -> u64 {
    HELPERS.load(Ordering::SeqCst)
}

/// A mask as the kernel is to have it.
pub(crate) const fn real(mask: u64) -> u64 {
    mask & !(LIBCS | OWN)
}

/// The mask that the program sees.
#[inline]
pub(crate) fn of(gp: &G) -> u64 {
    match gp.signals.mask.load(Ordering::SeqCst) {
        0 => usual(),
        HELPER => of_helpers(),
        set => set & !SET,
    }
}

static CENSUS: Census = Census::new();

fn count(mask: u64) {
    if mask != 0 {
        crate::sched::run::switches_are_looked_at();
        CENSUS.add(mask);
    }
}

fn count_out(mask: u64) {
    if mask != 0 {
        CENSUS.remove(mask);
    }
}

fn blocked_by_all() -> Blocked {
    let blocked = CENSUS.blocked_by_all(usual(), exit::alive);
    Blocked { mask: real(blocked.mask) & !FAULTS, ..blocked }
}

/// A mask as it is noted.
fn noted(mask: u64) -> u64 {
    let mask = mask & !LIBCS;
    if mask == usual() { 0 } else { mask | SET }
}

/// `gp` has the mask `mask` from now on, and the kernel has `kernels` for its thread. In a section,
/// on it.
pub(crate) fn set(gp: &'static G, mask: u64, kernels: u64) {
    let new = noted(mask);
    let old = gp.signals.mask.load(Ordering::Relaxed);
    if new == old {
        // In a handler of a fault the kernel has another.
        return install(gp.m(), kernels);
    }
    let before = of(gp);
    count(new);
    count_out(old);
    gp.signals.mask.store(new, Ordering::SeqCst);
    gp.odd.set(gp.odd.get() & !odd::MASK | if new == 0 { 0 } else { odd::MASK });
    // Before `grow`: two goroutines in it may wait for each other's masks.
    install(gp.m(), kernels);
    let more = real(mask) & !real(before);
    if more != 0 {
        grow(more);
    }
    if real(before) & !real(mask) & of_helpers() != 0 {
        // The monitor opens it for the other threads.
        SCHED.sysmon.nudge();
    }
}

/// `gp`, which is made and has not begun, has the mask that its task brings.
#[inline]
pub(crate) fn attach(gp: &'static G, task: &Task) {
    let mask = task.mask.get();
    gp.signals.mask.store(if task.is_system { HELPER } else { mask }, Ordering::Relaxed);
    if mask != 0 || task.is_system {
        gp.odd.set(
            if mask == 0 { 0 } else { odd::MASK } | if task.is_system { odd::SYSTEM } else { 0 },
        );
    }
}

/// A goroutine is made by `creator`, or by an ordinary thread: it inherits the maker's mask.
#[inline]
pub(crate) fn inherit(task: &Task, creator: Option<&'static G>) {
    let is_odd = match creator {
        Some(gp) => gp.odd.get() & odd::MASK != 0,
        None => THREADS_TOO.load(Ordering::Relaxed),
    };
    if is_odd && !task.is_system {
        inherit_odd(task, creator);
    }
}

/// An ordinary thread has set a mask.
static THREADS_TOO: AtomicBool = AtomicBool::new(false);

/// An ordinary thread sets a mask.
pub(crate) fn set_by_thread() {
    if !THREADS_TOO.load(Ordering::Relaxed) {
        THREADS_TOO.store(true, Ordering::Relaxed);
    }
}

/// Main is about to be made, by the calling thread: it inherits that one's mask, however it was
/// set.
pub(crate) fn main_inherits() {
    if real(sys::block_signals(0)) != usual() {
        set_by_thread();
    }
}

#[cold]
fn inherit_odd(task: &Task, creator: Option<&'static G>) {
    let mask = match creator {
        Some(gp) => gp.signals.mask.load(Ordering::Relaxed),
        None => noted(sys::block_signals(0) & !OWN),
    };
    count(mask);
    task.mask.set(mask);
}

/// The goroutine has ended, and takes no signal. Its mask, which counts until [`gone`].
#[inline]
pub(super) fn forget(gp: &'static G) -> u64 {
    if real(of(gp)) & CAUSED != 0 {
        take_caused(gp);
    }
    let mask = gp.signals.mask.load(Ordering::Relaxed);
    // A plain store: another thread that still reads the mask of before tells a goroutine that does
    // not come, and tells the next one then.
    gp.signals.mask.store(ENDED, Ordering::Release);
    gp.odd.set(gp.odd.get() & !(odd::MASK | odd::SYSTEM));
    mask
}

/// A goroutine that had `mask` is not counted as alive any more. (Not before: one that is alive and
/// has no such mask is one with the usual mask, for which the helpers would open what all others
/// block.)
#[inline]
pub(crate) fn gone(mask: u64) {
    if mask != HELPER {
        count_out(mask);
    }
}

/// Gives the kernel `wanted` for the thread of `mp`, the calling one.
pub(crate) fn install(mp: &M, wanted: u64) {
    sys::set_signals(wanted);
    note(mp, wanted);
}

/// The kernel has `mask` for the thread of `mp`.
fn note(mp: &M, mask: u64) {
    mp.kernel_mask.set(mask);
}

/// `mp` is for `next` (none: its own stack). In the section, before the switch; after others see
/// that the M has no goroutine, if it has none (the other half is in [`grow`]), and after
/// [`take_caused`].
pub(crate) fn switch(mp: &'static M, next: Option<&'static G>) {
    match next {
        Some(gp) if gp.odd.get() & odd::SYSTEM == 0 => {
            let wanted = real(of(gp));
            if mp.kernel_mask.mask() != wanted {
                install(mp, wanted);
            }
        }
        _ => {
            if mp.kernel_mask.mask() != of_helpers() {
                take_over(&mp.kernel_mask, 0);
            }
        }
    }
}

/// The calling thread, which runs no goroutine of the program's, takes over the helpers' mask and
/// `more`; `noted` says to others which mask it has. False: a handler has interrupted just this,
/// which goes on afterwards.
fn take_over(noted: &Noted, more: u64) -> bool {
    noted.take_over(&HELPERS, |mask| sys::set_signals(mask | more))
}

/// Takes signals out of the thread's set that belong to `gp`, which is about to leave it. Others
/// still see it there: the thread has its mask until this is done.
#[cold]
pub(crate) fn take_caused(gp: &'static G) {
    if gp.signals.mask.load(Ordering::Relaxed) == ENDED {
        return; // what was there has gone with it, in `forget`
    }
    let blocked = real(of(gp)) & CAUSED;
    if blocked == 0 || sys::pending_signals() & blocked == 0 {
        return;
    }
    while let Some(info) = sys::take_signal(blocked) {
        if !post::is_knock(Some(gp.m()), &info) {
            post::keep(gp, &info);
        }
    }
}

// Threads that wait in `run`.

/// A thread that waits in `run`. To it the kernel brings most signals to the process.
pub(crate) struct Leader {
    tid: AtomicU32,
    mask: Noted,
    before: u64,
}

thread_local! {
    /// The calling thread, while it waits in `run`.
    static LEADER: Cell<*const Leader> = const { Cell::new(null()) };
}

static LEADERS: [AtomicPtr<Leader>; 16] = [const { AtomicPtr::new(null_mut()) }; 16];

/// Whether the calling thread waits in `run`.
pub(crate) fn is_leader() -> bool {
    !LEADER.get().is_null()
}

/// Calls `wait`, in which the calling thread, an ordinary one, waits for main.
pub(crate) fn leading<R>(wait: impl FnOnce() -> R) -> R {
    /// Ends it also when `wait` unwinds.
    struct Leading<'l>(&'l Leader, Option<&'static AtomicPtr<Leader>>);
    impl Drop for Leading<'_> {
        fn drop(&mut self) {
            if let Some(place) = self.1 {
                place.store(null_mut(), Ordering::SeqCst);
            }
            // A thread that has seen it there may look once more.
            drop(CHANGING.lock());
            LEADER.set(null());
            sys::set_signals(self.0.before);
        }
    }
    let leader = Leader {
        tid: AtomicU32::new(sys::gettid()),
        mask: Noted::new(0),
        before: sys::block_signals(0),
    };
    let at = std::ptr::from_ref(&leader).cast_mut();
    let place = LEADERS.iter().find(|place| {
        place.compare_exchange(null_mut(), at, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    });
    let leading = Leading(&leader, place);
    LEADER.set(&raw const leader);
    if place.is_some() {
        take_over(&leader.mask, 0);
    } else {
        // It would not be told of changes: it takes none.
        sys::set_signals(!OWN);
        leader.mask.set(!OWN);
    }
    let result = wait();
    drop(leading);
    result
}

/// Writes the mask that a frame returns with.
pub(crate) fn write(frame: &mut libc::ucontext_t, mask: u64) {
    // SAFETY: a sigset_t begins with the kernel's 64 bits, which are all that a frame has of it.
    unsafe { (&raw mut frame.uc_sigmask).cast::<u64>().write(mask) };
}

/// The runtime's signal has met a thread without a goroutine: it may have been sent as the helpers'
/// mask has changed.
pub(crate) fn refresh(frame: &mut libc::ucontext_t) {
    // SAFETY: null, or the calling thread's.
    if let Some(leader) = unsafe { LEADER.get().as_ref() } {
        refresh_noted(&leader.mask, frame);
    } else if let Some(mp) = current::m_of_g0() {
        refresh_m(mp, frame);
    }
}

/// As [`refresh`], on an M: if it runs no goroutine of the program's, by what others see.
pub(crate) fn refresh_m(mp: &M, frame: &mut libc::ucontext_t) {
    if !has_goroutine(mp) {
        refresh_noted(&mp.kernel_mask, frame);
    }
}

/// Both the frame and the kernel are told: from the frame the mask would come into effect only
/// after the thread has said that it has. What a handler blocks that was interrupted (on the
/// runtime's own taker) stays blocked.
fn refresh_noted(noted: &Noted, frame: &mut libc::ucontext_t) {
    let before = noted.mask();
    if before == of_helpers() {
        return;
    }
    let more = word_of(&frame.uc_sigmask) & !before;
    if take_over(noted, OWN | more) {
        write(frame, noted.mask() | more);
    }
}

/// Whether a goroutine of the program's is on `mp`, whose mask the M has, or will have in a moment.
fn has_goroutine(mp: &M) -> bool {
    goroutine(mp).is_some()
}

fn goroutine(mp: &M) -> Option<&'static G> {
    // SAFETY: null, or a G, which is never freed.
    let gp = unsafe { mp.curg.load(Ordering::SeqCst).as_ref() };
    gp.filter(|gp| gp.signals.mask.load(Ordering::SeqCst) != HELPER)
}

/// A handler is about to return. If its thread runs no goroutine of the program's: not to a mask
/// that is no longer the helpers'.
pub(crate) fn amend(frame: &mut libc::ucontext_t) {
    // SAFETY: null, or the calling thread's.
    let leader = unsafe { LEADER.get().as_ref() };
    let noted = match leader {
        Some(leader) => Some(&leader.mask),
        None => {
            let mp = current::m_of_g0().or_else(|| current::running().map(G::m));
            mp.filter(|mp| !has_goroutine(mp)).map(|mp| &mp.kernel_mask)
        }
    };
    let Some(noted) = noted else { return };
    // From here to the return no other handler changes it.
    sys::block_signals(OWN);
    if !noted.is_in_change() {
        write(frame, noted.mask());
    }
}

/// A thread begins to be an M.
pub(crate) fn settle(mp: &M) {
    mp.kernel_mask.forget(); // of its last thread, perhaps amid a change
    take_over(&mp.kernel_mask, 0);
}

/// All goroutines may block more than before, as one of them blocks `added`. Returns when all
/// threads of the runtime block that too: what another thread has just put into the helpers' mask,
/// the others may not have yet.
#[cold]
fn grow(added: u64) {
    let (new, more) = {
        let _changing = CHANGING.lock();
        let new = blocked_by_all().mask & !of_helpers();
        HELPERS.fetch_or(new, Ordering::SeqCst);
        (new, new | added & of_helpers())
    };
    if more == 0 {
        return;
    }
    if new != 0 {
        // A goroutine that began or ended just now may have been counted wrongly: the monitor looks
        // again.
        SCHED.sysmon.nudge();
    }
    // Not what has been opened again meanwhile.
    let wanted = || more & of_helpers();
    for mp in SCHED.all_ms() {
        let mut asked = false;
        wait_until(|| {
            let gp = goroutine(mp);
            // A goroutine that has opened the signal meanwhile has it open.
            let is_done = mp.tid.load(Ordering::SeqCst) == 0
                || mp.kernel_mask.has(wanted())
                || gp.is_some_and(|gp| wanted() & !of(gp) != 0);
            if !is_done && gp.is_none() && !std::mem::replace(&mut asked, true) {
                preempt::signal(mp);
            }
            is_done
        });
    }
    for place in &LEADERS {
        let asked = Cell::new(false);
        let with = |f: &dyn Fn(&Leader) -> bool| {
            let _here = CHANGING.lock(); // it stays until `leading` has had the lock
            // SAFETY: null, or a leader that is there while the lock is held.
            unsafe { place.load(Ordering::SeqCst).as_ref() }.is_none_or(f)
        };
        wait_until(|| {
            with(&|leader| {
                let is_done = leader.mask.has(wanted());
                if !is_done && !asked.replace(true) {
                    preempt::signal_thread(leader.tid.load(Ordering::Relaxed));
                }
                is_done
            })
        });
    }
}

/// Waits until `is_so`; not for ever, as a debugger may hold a thread.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    /// Some seconds.
    const LOOKS: u32 = 50_000;
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        sys::sleep(Duration::from_micros(20));
    }
}

/// By the monitor: the helpers' mask follows what goroutines block.
pub(super) fn follow() {
    if CENSUS.is_empty() && of_helpers() == usual() {
        return;
    }
    grow(0);
    let less = {
        let _changing = CHANGING.lock();
        let blocked = blocked_by_all();
        if !blocked.is_sure {
            SCHED.sysmon.nudge(); // another look
        }
        // What is not blocked although it may have too much is open.
        let less = of_helpers() & !blocked.mask;
        HELPERS.fetch_and(!less, Ordering::SeqCst);
        less
    };
    if less == 0 {
        return;
    }
    heavy_barrier();
    for mp in SCHED.all_ms() {
        if !has_goroutine(mp) && mp.kernel_mask.mask() & less != 0 {
            preempt::signal(mp);
        }
    }
    let _here = CHANGING.lock();
    for place in &LEADERS {
        // SAFETY: null, or a leader that is there while the lock is held.
        if let Some(leader) = unsafe { place.load(Ordering::SeqCst).as_ref() } {
            preempt::signal_thread(leader.tid.load(Ordering::Relaxed));
        }
    }
}
