//! Which goroutine gets which signal.
//!
//! What is directed at a goroutine goes to its pending set. What comes to the process and meets a
//! thread that may not run handlers (SG2) is kept for the process, and the monitor finds a
//! goroutine for it as Linux finds a thread: main, if its mask lets the signal through, else one
//! that runs, else any; where all are in waits that can't be interrupted, a goroutine of the
//! runtime's own. A goroutine that is *told* ([`tell`]) comes and takes.

use super::nodes::{List, Queue};
use super::{bit, deliver, masks};
use crate::base::atomic::heavy_barrier;
use crate::base::lock::Lock;
use crate::base::sys;
use crate::g::status::State;
use crate::g::wait::{Cause, Claim, Ticket};
use crate::g::{G, pending};
use crate::m::M;
use crate::observe::account::every_g;
use crate::sched::{SCHED, preempt, ready};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// What is pending for the process, beside what is in the kernel.
static PROCESS: Queue = Queue::new();
static TAKEN: Lock<List> = Lock::new(List::new());

/// The main goroutine, while it lives.
static MAIN: AtomicPtr<G> = AtomicPtr::new(null_mut());

/// The code of a signal that only tells a goroutine, in a call of the kernel's, to take what is
/// pending for it.
pub(crate) const KNOCK: i32 = -97;
/// Its address is the value that comes with it.
static COOKIE: AtomicBool = AtomicBool::new(false);

/// Goroutines that the monitor is to tell.
static RUNG: AtomicPtr<G> = AtomicPtr::new(null_mut());

/// A goroutine that was told and has not come after so many looks, a second or so, does not count
/// any more: another will do, then the runtime's own.
const PATIENCE: u32 = 1_000;
const LAST: u32 = 2_000;
/// How soon to look again where a signal was not taken.
pub(crate) const AGAIN_NS: u64 = 1_000_000;

pub(crate) fn set_main(gp: Option<&'static G>) {
    MAIN.store(gp.map_or(null_mut(), G::as_ptr), Ordering::SeqCst);
}

fn main() -> Option<&'static G> {
    // SAFETY: null, or a G, which is never freed.
    unsafe { MAIN.load(Ordering::SeqCst).as_ref() }
}

/// Whether `gp` would take `signal` now.
pub(crate) fn lets(gp: &G, signal: i32) -> bool {
    (masks::of(gp) & !awaited(gp)) & bit(signal) == 0
}

/// Whether main, if it is another goroutine than `gp`, takes `signal`.
pub(crate) fn main_takes(gp: &G, signal: i32) -> bool {
    main().is_some_and(|main| !std::ptr::eq(main, gp) && lets(main, signal))
}

/// Keeps a signal for the process; the monitor finds a goroutine. In a handler, or anywhere.
pub(crate) fn accept(info: &libc::siginfo_t) {
    // The kernel has counted it against the user's limit, and more than ours are not queued there.
    let _ = PROCESS.push(info);
    // Main may be on its way to code that relies on it: it finds out at the end of its section, or
    // before it waits.
    if let Some(main) = main().filter(|main| lets(main, info.si_signo)) {
        main.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
    }
    SCHED.sysmon.nudge();
}

/// Keeps a signal for `gp`, which finds it at the end of a section. In a handler, or anywhere.
/// False: too many are queued.
pub(crate) fn keep(gp: &'static G, info: &libc::siginfo_t) -> bool {
    let Some(side) = gp.signals.make_side() else { return false };
    let kept = side.posted.push(info).is_ok();
    if kept {
        gp.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
    }
    kept
}

/// The same, where `gp` may be about to wait, or waits: the monitor tells it.
pub(crate) fn keep_and_ring(gp: &'static G, info: &libc::siginfo_t) -> bool {
    let kept = keep(gp, info);
    ring(gp);
    kept
}

/// The monitor tells `gp`. In a handler, or anywhere.
fn ring(gp: &'static G) {
    let Some(side) = gp.signals.side() else { return };
    if side.rung.swap(true, Ordering::SeqCst) {
        return;
    }
    let mut head = RUNG.load(Ordering::Relaxed);
    loop {
        side.next.store(head, Ordering::Relaxed);
        // Release: the link.
        match RUNG.compare_exchange_weak(head, gp.as_ptr(), Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => break,
            Err(now) => head = now,
        }
    }
    SCHED.sysmon.nudge();
}

/// Sends a signal to `gp`, another goroutine. In a section, or on an ordinary thread. False: too
/// many are queued.
pub(crate) fn send(gp: &'static G, info: &libc::siginfo_t) -> bool {
    let kept = keep(gp, info);
    tell(gp);
    kept
}

/// `gp` is to look at what is pending: wherever it is. Not in a handler.
pub(crate) fn tell(gp: &'static G) {
    gp.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
    if !heavy_barrier() {
        ring(gp); // once more, when all threads know that there are no barriers
    }
    // SG3
    let Some((ticket, how)) = deliver::wait_of(gp) else {
        // SAFETY: null, or an M, which is never freed.
        let mp = unsafe { gp.m.load(Ordering::Relaxed).as_ref() };
        if let Some(mp) = mp.filter(|_| gp.status.get() == State::Running) {
            tell_running(gp, mp);
        }
        return;
    };
    let is_parked = match how {
        deliver::How::Break => gp.wait.claim(ticket, Cause::Signal) == Claim::Parked,
        deliver::How::Pause => gp.wait.interrupt(ticket),
    };
    if is_parked {
        ready::ready(gp);
    }
}

/// `gp` runs, or is in a call of the kernel's, on `mp`; or was a moment ago.
fn tell_running(gp: &'static G, mp: &M) {
    if !gp.in_call.load(Ordering::Relaxed) {
        return preempt::signal(mp);
    }
    let due = due(gp);
    let Some(signal) = (due != 0).then(|| due.trailing_zeros() as i32 + 1) else { return };
    if std::ptr::eq(mp.curg.load(Ordering::SeqCst), gp) {
        knock(mp, signal);
    }
}

/// True where signals can't be sent with a code.
static PLAIN: AtomicBool = AtomicBool::new(false);

fn knock(mp: &M, signal: i32) {
    let tid = mp.tid.load(Ordering::Relaxed);
    // The handler may get it without its code: see is_knock().
    mp.knocks.fetch_or(bit(signal), Ordering::SeqCst);
    if !PLAIN.load(Ordering::Relaxed) {
        match sys::tgsigqueue(tid, signal, KNOCK, &raw const COOKIE as usize) {
            Ok(()) => return,
            Err(libc::ESRCH | libc::EAGAIN) => {
                mp.knocks.fetch_and(!bit(signal), Ordering::SeqCst);
                return;
            }
            Err(_) => PLAIN.store(true, Ordering::Relaxed),
        }
    }
    sys::tgkill(tid, signal);
}

/// The kernel blocks `held` on the thread of `gp`, the caller, until a handler returns: what is
/// pending of that is taken then. In a section. (Sent again now, a signal would be taken for one
/// with a knock that waits there too.)
pub(crate) fn knock_afterwards(gp: &'static G, held: u64) {
    let mut left = if held == 0 { 0 } else { due(gp) & held };
    while left != 0 {
        knock(gp.m(), left.trailing_zeros() as i32 + 1);
        left &= left - 1;
    }
}

/// A call of the kernel's is about to be made, in a section, and signals are pending: their
/// handlers run now.
#[cold]
pub(crate) fn knock_here(gp: &'static G) {
    let mp = gp.m();
    while gp.pending.fetch_and(!pending::SIGNAL, Ordering::SeqCst) & pending::SIGNAL != 0 {
        let before = due(gp);
        tell_running(gp, mp);
        if before == 0 || due(gp) == before {
            return; // none that it lets through, or one that it waits for
        }
        gp.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
    }
}

/// Whether a signal, which has come on `mp`, only tells its thread to look.
///
/// Where a sandbox takes signals' codes away, or the kernel has lost this one's (a user may queue
/// only so many), it is one if its M was sent one and has not had it yet. The kernel may have taken
/// it and a user's of the same number for one; so that one, which came later, counts as the one
/// that is kept.
pub(crate) fn is_knock(mp: Option<&M>, info: &libc::siginfo_t) -> bool {
    // SAFETY: plain data of the kernel's: with a value if it was queued, and a sender, 0 if that
    // was lost.
    let (value, sender) = unsafe { (info.si_value().sival_ptr, info.si_pid()) };
    let may_be = match info.si_code {
        KNOCK if std::ptr::eq(value.cast(), &raw const COOKIE) => true,
        libc::SI_USER => sender == 0,
        libc::SI_TKILL => PLAIN.load(Ordering::Relaxed),
        _ => false,
    };
    let bit = bit(info.si_signo);
    let is_expected =
        || mp.is_some_and(|mp| mp.knocks.fetch_and(!bit, Ordering::SeqCst) & bit != 0);
    may_be && (is_expected() || info.si_code == KNOCK)
}

/// What `gp` waits for in `sigwait` or its kin: no handler runs for that.
pub(super) fn awaited(gp: &G) -> u64 {
    gp.signals.side().map_or(0, |side| side.awaited.load(Ordering::SeqCst))
}

/// What `gp` may take now.
fn due(gp: &'static G) -> u64 {
    let own = gp.signals.side().map_or(0, |side| side.posted.bits());
    (own | PROCESS.bits()) & (!masks::of(gp) | awaited(gp))
}

/// Whether a signal is pending that `gp` does not block.
pub(crate) fn is_due(gp: &'static G) -> bool {
    let own = gp.signals.side().map_or(0, |side| side.posted.bits());
    (own | PROCESS.bits()) & !masks::of(gp) != 0
}

/// What is pending for `gp` and the process, outside the kernel.
pub(crate) fn pending_for(gp: &'static G) -> u64 {
    gp.signals.side().map_or(0, |side| side.posted.bits()) | PROCESS.bits()
}

/// Takes a signal of `allowed`: of `gp`'s own, else of the process's. By `gp`, in a section.
pub(crate) fn take(gp: &'static G, allowed: u64) -> Option<libc::siginfo_t> {
    take_own(gp, allowed).or_else(|| take_of_process(allowed))
}

/// The same in a handler, the one of the signal that tells `gp` of `signal`. None: there is none,
/// or it can't be had just now; then `gp` is told again, or comes itself.
pub(crate) fn take_when_told(gp: &'static G, signal: i32) -> Option<libc::siginfo_t> {
    let allowed = bit(signal) & !awaited(gp);
    take_own(gp, allowed).or_else(|| {
        let is_there = PROCESS.bits() & allowed != 0;
        PROCESS.take(&mut *is_there.then(|| TAKEN.try_lock()).flatten()?, allowed)
    })
}

/// Takes one of `gp`'s own. By `gp`, or in a handler on it.
fn take_own(gp: &'static G, allowed: u64) -> Option<libc::siginfo_t> {
    let side = gp.signals.side()?;
    if side.taking.swap(true, Ordering::Relaxed) {
        // A handler has interrupted just this; after it, the goroutine looks again.
        gp.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
        return None;
    }
    // SAFETY: the goroutine's own list, of which `taking` makes one consumer at a time.
    let taken = side.posted.take(unsafe { &mut *side.list.get() }, allowed);
    side.taking.store(false, Ordering::Release);
    taken
}

/// `gp` ends, in a section on it: what had come to the process, and met it, is the process's.
pub(super) fn hand_on(gp: &'static G) {
    // (Of those that were directed at it, `raise` and `pthread_kill` say so. A call that has caused
    // one does not.)
    while let Some(info) = take_own(gp, u64::MAX) {
        // SAFETY: the sender, where there is one.
        let is_caused = bit(info.si_signo) & masks::CAUSED != 0
            && unsafe { info.si_pid() }.cast_unsigned() == sys::own_pid();
        if is_caused {
            continue;
        }
        if matches!(info.si_code, libc::SI_USER | libc::SI_KERNEL) || info.si_code > 0 {
            accept(&info);
        }
    }
}

fn take_of_process(allowed: u64) -> Option<libc::siginfo_t> {
    if PROCESS.bits() & allowed == 0 {
        return None;
    }
    PROCESS.take(&mut TAKEN.lock(), allowed)
}

/// `gp`, the caller, waits for signals of `set` in the kernel from now on; none: no more.
pub(crate) fn await_signals(gp: &'static G, set: u64) {
    if let Some(side) = gp.signals.make_side() {
        side.awaited.store(set, Ordering::SeqCst);
    }
}

/// Whether the monitor has to look again, as a signal was not taken yet that some goroutine lets
/// through.
static WAITS: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_waiting() -> bool {
    WAITS.load(Ordering::Relaxed)
}

/// What the monitor does in each of its rounds.
pub(crate) fn attend() {
    deliver::make_taker();
    masks::follow();
    let mut at = match RUNG.load(Ordering::Relaxed).is_null() {
        true => null_mut(),
        false => RUNG.swap(null_mut(), Ordering::AcqRel),
    };
    // SAFETY: a list of Gs, which are never freed.
    while let Some(gp) = unsafe { at.as_ref() } {
        let Some(side) = gp.signals.side() else { break };
        at = side.next.load(Ordering::Relaxed);
        side.rung.store(false, Ordering::SeqCst);
        tell(gp);
    }
    find_takers();
}

/// Finds goroutines for what is pending for the process.
fn find_takers() {
    /// What was pending at the look before, and for how many looks.
    static SEEN: AtomicU64 = AtomicU64::new(0);
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    let now = PROCESS.bits();
    if now == 0 && SEEN.load(Ordering::Relaxed) == 0 {
        return;
    }
    let looks = if now & SEEN.swap(now, Ordering::Relaxed) == 0 {
        0
    } else {
        LOOKS.load(Ordering::Relaxed).saturating_add(1)
    };
    LOOKS.store(looks, Ordering::Relaxed);
    let mut is_wanted = false;
    let mut told: Option<&'static G> = None;
    for signal in (1..=64).filter(|signal| now & bit(*signal) != 0) {
        if told.is_some_and(|gp| lets(gp, signal)) {
            continue;
        }
        if let Some(gp) = taker(signal, looks) {
            is_wanted = true;
            told = Some(gp);
            TOLD.store(gp.as_ptr(), Ordering::Relaxed);
            tell(gp);
        }
    }
    WAITS.store(is_wanted, Ordering::Relaxed);
}

/// The goroutine that was told last.
static TOLD: AtomicPtr<G> = AtomicPtr::new(null_mut());

/// The goroutine that is to take `signal`.
fn taker(signal: i32, looks: u32) -> Option<&'static G> {
    let fits = |gp: &G| {
        gp.id() != 0 && gp.odd.get() & crate::g::odd::SYSTEM == 0 && lets(gp, signal) && is_able(gp)
    };
    if let Some(main) = main().filter(|main| looks < PATIENCE && fits(main)) {
        return Some(main);
    }
    // SAFETY: null, or a G, which is never freed.
    let told = unsafe { TOLD.load(Ordering::Relaxed).as_ref() };
    if let Some(told) = told.filter(|told| looks > 0 && looks < PATIENCE && fits(told)) {
        return Some(told); // it is on its way
    }
    let own = || deliver::own_taker().filter(|_| masks::of_helpers() & bit(signal) == 0);
    if looks >= LAST
        && let Some(own) = own()
    {
        return Some(own);
    }
    let mut on_ms = SCHED.all_ms().filter_map(M::curg);
    on_ms.find(|gp| fits(gp)).or_else(|| every_g().find(|gp| fits(gp))).or_else(own)
}

/// Whether a goroutine that is told could come.
fn is_able(gp: &G) -> bool {
    match gp.status.get() {
        State::Running | State::Runnable => true,
        State::Waiting => deliver::wait_of(gp).is_some(),
        State::Idle | State::Dead => false,
    }
}

/// The ticket as [`deliver`] packs it.
pub(super) fn unpack(word: u64) -> Option<(Ticket, deliver::How)> {
    match word & 3 {
        1 => Some((Ticket(word & !3), deliver::How::Break)),
        2 => Some((Ticket(word & !3), deliver::How::Pause)),
        _ => None,
    }
}
