//! Signals, as threads have them.
//!
//! **The problem.** To the kernel a signal mask, a pending set and the choice of a signal's
//! receiver belong to OS threads. To a program they belong to goroutines, which move.
//!
//! **Chosen.** The kernel keeps what it does well: dispositions, default actions, the process's
//! pending set, the frames of handlers. The runtime adds what it can't know:
//!
//! ```text
//!   directed at a goroutine ──────────────> the goroutine's pending set ──┐
//!   (pthread_kill, raise while blocked)                                   │ deliver: sent to the own thread,
//!                                                                         ├──────> the kernel makes the frame
//!   to the process ─ kernel ─┬─ meets the thread that waits in `run`,     │
//!                            │  or an M without a goroutine ──> kept for ─┘
//!                            │                      the process; the monitor finds a goroutine: main first
//!                            └─ meets a goroutine that may run it: runs there
//! ```
//!
//! * SG1: a goroutine's mask is the kernel's while it runs ([`masks`]). Threads of the runtime that
//!   run no goroutine block what *every* goroutine blocks, so that a signal which all block waits
//!   in the kernel, for `sigwait` and its kin, and ends no process.
//! * SG2: users' handlers run on goroutines and on threads that are not the runtime's: never on an
//!   M's own stack, on the thread that waits in `run`, or on a helper. A signal that the kernel
//!   brings there is kept ([`post::accept`]).
//! * SG3: a goroutine that is told of a signal finds [`pending::SIGNAL`](crate::g::pending::SIGNAL)
//!   set; the bit is cleared *before* its pending sets are looked at. The code that sets it then
//!   looks where the goroutine is, with a heavy barrier between; a goroutine that is about to wait
//!   publishes its wait, then looks at the bit.
//! * SG4: a signal's bit in a pending set is cleared before its nodes are taken, and set after a
//!   node was put there. So a signal that is sent while its handler runs is not lost.
//! * SG5: nothing here that a handler may reach waits for a lock (it may try one, with the
//!   no-preempt count raised: [`post::take_when_told`]) or allocates, but by `mmap`.
//!
//! Next: [`nodes`], pending sets; [`masks`], and [`census`], what all goroutines block; [`post`],
//! which goroutine gets what; [`deliver`], and how calls are interrupted.

mod census;
mod chunks;
pub(crate) mod deliver;
pub(crate) mod masks;
mod nodes;
pub(crate) mod post;

use crate::base::sys;
use crate::g::G;
use nodes::{List, Queue};
use std::cell::{Cell, UnsafeCell};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// The bit of a signal in a set.
pub(crate) const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// What a goroutine has of signals, in its header.
pub(crate) struct State {
    /// Its mask as the program sees it, with [`masks::SET`]; 0: the usual one. Written by itself,
    /// or by its maker.
    pub(super) mask: AtomicU64,
    /// The number of the wait that a signal may end, or interrupt, and how ([`deliver::How`]); 0:
    /// none. Written by itself.
    pub(super) ticket: AtomicU64,
    /// The rest, made when it is first needed.
    side: AtomicPtr<Side>,
    /// How many handlers it has run; and how many of those end a call with `EINTR`. Its own.
    pub(crate) ran: Cell<u32>,
    pub(crate) broke: Cell<u32>,
}

/// What few goroutines need. It stays with the carrier.
pub(super) struct Side {
    posted: Queue,
    /// What was taken out of `posted`'s inbox. The goroutine's own.
    list: UnsafeCell<List>,
    /// A signal is being taken out of `posted`. A handler that interrupts just that leaves the rest
    /// to it. The goroutine's own.
    taking: AtomicBool,
    /// What it waits for in `sigwait` and its kin.
    pub(super) awaited: AtomicU64,
    /// It is on the list of those whom the monitor is to tell of a signal.
    rung: AtomicBool,
    next: AtomicPtr<G>,
}

// SAFETY: `list` is the goroutine's own, or of the handler that interrupts it; the rest is atomic.
unsafe impl Sync for Side {}

impl State {
    /// The side part, if there is one.
    pub(super) fn side(&self) -> Option<&'static Side> {
        // SAFETY: null, or one that is never freed. Acquire: pairs with make_side().
        unsafe { self.side.load(Ordering::Acquire).as_ref() }
    }

    /// The side part; none where there is no memory for it. May be called in a handler.
    pub(super) fn make_side(&self) -> Option<&'static Side> {
        static CHUNKS: chunks::Chunks = chunks::Chunks::new();
        if let Some(side) = self.side() {
            return Some(side);
        }
        let at: NonNull<Side> = CHUNKS.make()?;
        // SAFETY: fresh memory for one.
        unsafe {
            at.write(Side {
                posted: Queue::new(),
                list: UnsafeCell::new(List::new()),
                taking: AtomicBool::new(false),
                awaited: AtomicU64::new(0),
                rung: AtomicBool::new(false),
                next: AtomicPtr::new(null_mut()),
            });
        }
        // Release: what was written. A loser's memory is lost, once.
        let _ = self.side.compare_exchange(
            null_mut(),
            at.as_ptr(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        self.side()
    }
}

/// The goroutine has ended, in a section on its M: what was posted to it is dropped. Its mask, for
/// [`masks::gone`].
#[inline]
pub(crate) fn forget(gp: &'static G) -> u64 {
    let mask = masks::forget(gp);
    gp.signals.ticket.store(0, Ordering::Relaxed);
    if let Some(side) = gp.signals.side() {
        post::hand_on(gp);
        // SAFETY: the goroutine's own.
        side.posted.clear(unsafe { &mut *side.list.get() });
    }
    mask
}

/// The kernel's `siginfo_t`, as far as it is looked at here.
pub(crate) fn info_of(signal: i32, code: i32) -> libc::siginfo_t {
    // SAFETY: plain old data.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    (info.si_signo, info.si_code) = (signal, code);
    // SAFETY: the fields of a signal that was sent: the sender, and its user.
    unsafe {
        let sender = (&raw mut info).cast::<u32>().add(4);
        sender.write(sys::own_pid());
        sender.add(1).write(sys::own_uid());
    }
    info
}
