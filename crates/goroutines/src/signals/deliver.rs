//! Delivering what is pending, and what that does to the call that it interrupts.
//!
//! **A true frame.** A pending signal is sent again, to the own thread, with the information that
//! it came with: the kernel makes the frame before that call returns, with the handler's mask, on
//! the stack that it asked for. It is the only way to have all that exactly as the kernel does it.
//! The copy is told by a number in `si_errno`, and by the M's [`resent`](M::resent), as the kernel
//! may lose the rest where the user has queued too many.
//!
//! **Interrupted calls.** A goroutine that waits publishes its wait ([`publish`]). A signal ends a
//! wait that can be *broken* (descriptors, sleeps, futexes): the goroutine runs the handler,
//! outside the section, and the call then ends with `EINTR` or goes on, as signal(7) has it for
//! that call ([`Mark::is_broken`]). Other waits (locks, conditions, barriers) are *paused*: the
//! goroutine is woken, runs the handler, and waits on.

use super::{bit, masks, post};
use crate::base::atomic::entry_barrier;
use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::task::Task;
use crate::g::wait::Ticket;
use crate::g::{G, current, pending};
use crate::sched::{SCHED, go, syscall, wait};
use crate::timer::alarm::NEVER;
use std::panic::Location;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

/// In `si_errno` of a signal that is sent again; below it stands a number, that of the sending.
const AGAIN: i32 = 0x5e41 << 16;
const NUMBER: i32 = 0xffff;

/// What a signal does to a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It ends it.
    Break,
    /// The goroutine runs the handler, and waits on.
    Pause,
}

/// How many handlers a goroutine had run at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    ran: u32,
    broke: u32,
}

impl Mark {
    #[inline]
    pub(crate) fn now(gp: &G) -> Self {
        Self { ran: gp.signals.ran.get(), broke: gp.signals.broke.get() }
    }

    /// Whether a handler has run since.
    pub(crate) fn has_run(self, gp: &G) -> bool {
        gp.signals.ran.get() != self.ran
    }

    /// Whether a call that has begun then ends with `EINTR` now: one that is `never_restarted`
    /// after any handler, others after one without `SA_RESTART`.
    #[inline]
    pub(crate) fn is_broken(self, gp: &G, never_restarted: bool) -> bool {
        gp.signals.broke.get() != self.broke || never_restarted && self.has_run(gp)
    }
}

/// The wait that a signal may end or pause.
pub(super) fn wait_of(gp: &G) -> Option<(Ticket, How)> {
    post::unpack(gp.signals.ticket.load(Ordering::SeqCst))
}

/// `gp` is about to wait: from now on a signal finds the wait. True: there is one already. In the
/// section in which the wait was begun.
#[inline]
pub(crate) fn publish(gp: &G, ticket: Ticket, how: How) -> bool {
    let how = match how {
        How::Break => 1,
        How::Pause => 2,
    };
    gp.signals.ticket.store(ticket.0 | how, Ordering::Relaxed);
    entry_barrier(); // SG3: the other half is in `tell`
    gp.pending.load(Ordering::Relaxed) & pending::SIGNAL != 0
}

/// `gp` has parked in a wait that a signal only pauses. True: one came before, and did not find it
/// parked; it goes on.
#[inline]
pub(crate) fn is_to_look_up(gp: &G, ticket: Ticket) -> bool {
    entry_barrier(); // SG3, as above
    gp.pending.load(Ordering::Relaxed) & pending::SIGNAL != 0 && gp.wait.interrupt(ticket)
}

/// That wait is over.
#[inline]
pub(crate) fn withdraw(gp: &G) {
    gp.signals.ticket.store(0, Ordering::Relaxed);
}

/// The mask of `gp` has changed: signals that were blocked may be due. In a section.
pub(crate) fn look(gp: &'static G) {
    if post::is_due(gp) {
        gp.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
    }
}

/// Runs the handlers of what is pending for `gp`, the calling goroutine. In a section; in a nested
/// one they wait for the outer one's end. May come back on another M.
pub(crate) fn deliver(gp: &'static G) {
    run_handlers(gp, true);
}

/// The same, in code whose frame can be returned from on this M only: at the end of a handler, or
/// where libc was interrupted. A goroutine that has no P afterwards goes on without.
pub(crate) fn deliver_here(gp: &'static G) {
    run_handlers(gp, false);
    if post::is_due(gp) {
        // A SIGURG of the user's, in its handler or the runtime's, is to come when that returns.
        // The kernel may take it and one of the runtime's for one: the goroutine looks again.
        gp.pending.fetch_or(pending::SIGNAL, Ordering::SeqCst);
    }
}

#[cold]
fn run_handlers(gp: &'static G, may_leave: bool) {
    if gp.nopreempt.load(Ordering::Relaxed) != 1 {
        return;
    }
    loop {
        gp.pending.fetch_and(!pending::SIGNAL, Ordering::SeqCst); // SG3
        let mask = masks::of(gp) | post::awaited(gp);
        if post::pending_for(gp) & !mask == 0 {
            return;
        }
        // In a handler the kernel blocks more. (And one may have been interrupted before it knew of
        // itself.)
        let held = sys::block_signals(0) & !mask;
        let Some(info) = post::take(gp, !(mask | held)) else {
            return post::knock_afterwards(gp, held);
        };
        let had_p = gp.m().lease.is_owned();
        send_again(gp, &info);
        // The handler's time was announced.
        if may_leave && had_p && !gp.m().lease.is_owned() {
            syscall::come_back(gp);
        }
    }
}

/// Has the kernel call the handler of `info`'s signal, here and now.
fn send_again(gp: &'static G, info: &libc::siginfo_t) {
    static SENT: AtomicU32 = AtomicU32::new(0);
    let mp = gp.m();
    let signal = info.si_signo;
    loop {
        let number = SENT.fetch_add(1, Ordering::Relaxed) as i32 & NUMBER;
        let kept = Resent { info: *info, number };
        mp.knocked.store(0, Ordering::Relaxed);
        mp.resent.store(std::ptr::from_ref(&kept).cast_mut(), Ordering::Relaxed);
        let mut copy = *info;
        copy.si_errno = AGAIN | number;
        // The kernel refuses a real-time one beyond the user's limit, but for a code of `kill`'s.
        let mut plain = copy;
        plain.si_code = libc::SI_USER;
        let send = |copy| sys::tgsigqueue_info(sys::gettid(), signal, copy).is_ok();
        if !send(&copy) && !send(&plain) {
            sys::tgkill(sys::gettid(), signal);
        }
        let is_called = mp.resent.swap(null_mut(), Ordering::Relaxed).is_null();
        // Where another thread has told this one by a signal of the same number just now, the
        // kernel has taken the two for one, and the handler has seen the first.
        if is_called || mp.knocked.load(Ordering::Relaxed) & bit(signal) == 0 {
            // Not called: its action is another by now; or the kernel holds it back, as this is a
            // handler of it.
            return;
        }
    }
}

/// Whether the signal that has come is the one that was sent again: then `info` is made what it
/// was, true.
pub(crate) fn is_again(gp: &G, info: &mut libc::siginfo_t) -> bool {
    let mp = gp.m();
    let is_sent_again = info.si_errno & !NUMBER == AGAIN;
    let is_lost = matches!(info.si_code, libc::SI_USER | libc::SI_TKILL);
    // SAFETY: null, or what send_again() has on its stack, which waits for this.
    let kept = unsafe { mp.resent.load(Ordering::Relaxed).as_ref() };
    let is_it = |kept: &&Resent| {
        kept.info.si_signo == info.si_signo
            && (info.si_errno == AGAIN | kept.number || is_lost && info.si_errno == 0)
    };
    match kept.filter(is_it) {
        Some(kept) => {
            mp.resent.store(null_mut(), Ordering::Relaxed);
            *info = kept.info;
            true
        }
        None => {
            if is_sent_again {
                info.si_errno = 0; // one that the kernel has held back
            }
            false
        }
    }
}

/// A signal that an M is sending to itself.
pub(crate) struct Resent {
    info: libc::siginfo_t,
    number: i32,
}

/// Waits until a handler has run on `gp`, since `mark`.
pub(crate) fn until_handled(gp: &'static G, mark: Mark) {
    while !mark.has_run(gp) {
        wait_for_signal(gp);
    }
}

/// Waits for a signal, whose handler has run on return; or for no reason.
pub(crate) fn wait_for_signal(gp: &'static G) {
    let _section = current::enter();
    let ticket = gp.wait.begin();
    wait::wait_until_signal(gp, WaitReason::Signal, ticket, NEVER);
    // The section's end delivers.
}

// The runtime's own taker.

/// It, once it waits.
static TAKER: AtomicPtr<G> = AtomicPtr::new(null_mut());

pub(super) fn own_taker() -> Option<&'static G> {
    // SAFETY: null, or a G, which is never freed.
    unsafe { TAKER.load(Ordering::Acquire).as_ref() }
}

/// The program has a handler: there is to be a goroutine that runs it where no other can. In a
/// handler, or anywhere.
pub(crate) fn want_taker() {
    if WANTED.load(Ordering::Relaxed) {
        return;
    }
    WANTED.store(true, Ordering::Relaxed);
    if SCHED.started.load(Ordering::Acquire) {
        SCHED.sysmon.nudge();
    }
}

static WANTED: AtomicBool = AtomicBool::new(false);

/// Makes that goroutine. On the monitor's thread, which may not allocate.
pub(super) fn make_taker() {
    unsafe fn nothing(_: *const Task) {}
    unsafe fn main(_: *const Task) {
        let Some(gp) = current::g() else { return };
        TAKER.store(gp.as_ptr(), Ordering::Release);
        loop {
            wait_for_signal(gp);
        }
    }
    static TASK: OnceLock<Task> = OnceLock::new();
    if !WANTED.load(Ordering::Relaxed) || TASK.get().is_some() {
        return;
    }
    let made = Task::new(go::default_class(), Location::caller(), true, main, nothing);
    let task = TASK.get_or_init(|| made);
    // SAFETY: a task that is never freed, in no queue.
    unsafe { go::spawn(task) };
}
